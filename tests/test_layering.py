"""Imports point downwards only, and no module keeps state that changes.

Files are parsed, not imported, so that imports inside functions count as well.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "tacita"
PACKAGE = "tacita"

# The order of design: each may import what stands in a line above its own, and its own package.
# Those of the last line may import one another as well.
LAYERS = (
    ("errors",),
    ("ring",),
    ("program",),
    ("protocols",),
    ("compiler",),
    ("runtime",),
    ("network",),
    ("service",),
    ("torch",),
    ("client",),
    ("data", "zoo", "cli", "__main__", "__init__"),
)
# Plain PyTorch on the top line: nobody below may lean on it, and it leans on nothing of ours.
PLAIN = {"zoo"}
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
TOP = len(LAYERS) - 1

CONTAINERS = {
    "dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict",
    "ChainMap", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "count", "Queue",
    "SimpleQueue",
}  # fmt: skip
DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
MUTATORS = {
    "append", "appendleft", "add", "clear", "discard", "extend", "insert", "pop", "popitem",
    "popleft", "remove", "reverse", "setdefault", "sort", "update",
}  # fmt: skip
DECLARED = {"__all__", "__slots__", "__match_args__"}


@dataclass(frozen=True)
class Violation:
    file: str
    line: int
    what: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.what}"


def module_of(path, root):
    """a/b.py as ("tacita", "a", "b"); a package's own module without its __init__."""
    parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def layer_of(parts):
    """The part of the package that a module belongs to; its root is the last line's __init__."""
    return parts[1] if len(parts) > 1 else "__init__"


def imported(node, package, known):
    """The modules that an import statement or a call of importlib names, as tuples of parts."""
    if isinstance(node, ast.Import):
        return [tuple(alias.name.split(".")) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else ()
        base = (*base, *(node.module.split(".") if node.module else ()))
        # `from tacita import ring` names a module, `from tacita import __version__` the root.
        return [
            (*base, alias.name) if (*base, alias.name) in known else base for alias in node.names
        ]
    if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
        name = node.args[0] if node.args else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            text = name.value
            if text.startswith("."):
                level = len(text) - len(text.lstrip("."))
                return [(*package[: len(package) - level + 1], *text.lstrip(".").split("."))]
            return [tuple(text.split("."))]
        return [(PACKAGE, "?")]
    return []


def called(call):
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def upward_imports(root):
    files = sorted(root.rglob("*.py"))
    known = {module_of(path, root) for path in files}
    known |= {parts[:length] for parts in known for length in range(1, len(parts))}
    found = []
    for path in files:
        name = module_of(path, root)
        package = name if path.name == "__init__.py" else name[:-1]
        own = layer_of(name)
        if own not in RANKS:
            found.append(Violation(str(path), 1, f"the package {own!r} has no place in the order"))
            continue
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            for parts in imported(node, package, known):
                if parts[:1] == (PACKAGE,) and not allowed(own, layer_of(parts)):
                    what = f"{own} must not import {'.'.join(parts)}"
                    found.append(Violation(str(path), node.lineno, what))
    return found


def allowed(own, other):
    if own == other or other == "errors":
        return True
    if own in PLAIN:
        return False
    if RANKS[own] == TOP:
        return other == "?" or other in RANKS
    return other in RANKS and RANKS[other] < RANKS[own]


def mutable(value):
    if isinstance(value, ast.Call):
        return called(value) in CONTAINERS
    return isinstance(value, DISPLAYS)


def named(node):
    """(name, value) for each name that a statement binds."""
    if isinstance(node, ast.Assign):
        return [(t.id, node.value) for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return [(node.target.id, node.value)]
    return []


def constant(name):
    return name in DECLARED or name.lstrip("_").isupper()


def statements(body):
    """Those that run at import, conditional ones and those of class bodies included."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from statements(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)


def module_state(root):
    """Containers at module or class level that are variables, and constants that are changed."""
    found = []
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        bound = [
            (name, value, node.lineno)
            for node in statements(tree.body)
            for name, value in named(node)
        ]
        for name, value, line in bound:
            if mutable(value) and not constant(name):
                what = f"{name} is a container that every session shares; pass it as an argument"
                found.append(Violation(str(path), line, what))
        constants = {name for name, value, _ in bound if mutable(value) and name not in DECLARED}
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                what = f"global {', '.join(node.names)}"
                found.append(Violation(str(path), node.lineno, what))
            elif (changed := changes(node)) in constants:
                found.append(Violation(str(path), node.lineno, f"{changed} is changed"))
    return found


def changes(node):
    """The name of the container that a statement or call changes in place, if it does."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if node.func.attr in MUTATORS and isinstance(owner, ast.Name):
            return owner.id
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value.id if isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def report(violations):
    return "\n" + "\n".join(map(str, violations))


def test_imports_point_downwards():
    found = upward_imports(ROOT)
    assert not found, report(found)


def test_modules_keep_no_state():
    found = module_state(ROOT)
    assert not found, report(found)


def test_there_is_something_to_check():
    layers = {layer_of(module_of(path, ROOT)) for path in ROOT.rglob("*.py")}
    assert {"errors", "ring", "program", "protocols", "runtime", "__init__"} <= layers


# ---- violations that the checks have to find ---------------------------------------------------


@pytest.fixture
def planted(tmp_path):
    """planted({"ring/a.py": source, …}): a package with just these files and what they need."""

    def plant(sources):
        for name in ("errors.py", "ring/__init__.py", "runtime/__init__.py", "__init__.py"):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        for name, source in sources.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return tmp_path

    return plant


UPWARD = {
    "at the top": "import tacita.runtime",
    "by name": "from tacita.runtime.session import Session",
    "from the root": "from tacita import runtime",
    "the root itself": "import tacita",
    "a name of the root": "from tacita import VirtualWorker",
    "under another name": "import tacita.runtime.session as s",
    "relatively": "from ..runtime import session",
    "relatively, a module": "from .. import runtime",
    "in a function": "def f():\n    from tacita.runtime import session\n    return session",
    "for types alone": "if TYPE_CHECKING:\n    from tacita.runtime import session",
    "if it is there": "try:\n    import tacita.runtime\nexcept ImportError:\n    pass",
    "with importlib": "def f():\n    return importlib.import_module('tacita.runtime.session')",
    "relatively with importlib": "import_module('..runtime', __package__)",
    "with __import__": "__import__('tacita.runtime')",
    "under a computed name": "def f(name):\n    return importlib.import_module(name)",
}


@pytest.mark.parametrize("source", UPWARD.values(), ids=UPWARD)
def test_an_upward_import_is_found(planted, source):
    root = planted({"ring/planted.py": source, "runtime/session.py": ""})
    (found,) = upward_imports(root)
    line = 1 + source[: source.index("import")].count("\n")
    text = str(found)
    assert text.startswith(f"{root / 'ring' / 'planted.py'}:{found.line}: ring must not import")
    assert found.line >= line
    assert "tacita" in text


def test_the_message_names_file_line_and_import(planted):
    root = planted({"ring/planted.py": "import os\n\nfrom tacita.runtime.session import Session"})
    assert [str(each) for each in upward_imports(root)] == [
        f"{root / 'ring' / 'planted.py'}:3: ring must not import tacita.runtime.session"
    ]


DOWNWARD = {
    "errors": "from tacita.errors import TacitaError",
    "errors of the root": "from tacita import errors",
    "a layer below": "from tacita.ring import kernels",
    "its own package": "from tacita.runtime import session\nfrom . import session\nimport os",
    "something else": "import torch\nfrom importlib import metadata\nimport numpy.random",
}


@pytest.mark.parametrize("source", DOWNWARD.values(), ids=DOWNWARD)
def test_other_imports_are_fine(planted, source):
    assert upward_imports(planted({"runtime/fine.py": source, "runtime/session.py": ""})) == []


def test_the_root_may_import_everything(planted):
    assert upward_imports(planted({"__init__.py": "from tacita.runtime import session"})) == []


def test_errors_import_nothing_of_ours(planted):
    (found,) = upward_imports(planted({"errors.py": "from tacita.ring import kernels"}))
    assert "errors must not import tacita.ring" in str(found)


@pytest.mark.parametrize("name", ["runtime", "data", "ring.kernels"])
def test_plain_networks_import_nothing_of_ours_but_errors(planted, name):
    planted({"data/__init__.py": "", "ring/kernels.py": "", "zoo/fine.py": "import tacita.errors"})
    (found,) = upward_imports(planted({"zoo/net.py": f"import torch\nimport tacita.{name}"}))
    assert f"zoo must not import tacita.{name}" in str(found)


def test_a_package_without_a_place_is_found(planted):
    (found,) = upward_imports(planted({"utils/text.py": ""}))
    assert "'utils' has no place" in str(found)


STATE = {
    "a dict": "cache = {}",
    "a list": "seen: list[int] = []",
    "a set": "names = {1, 2}",
    "a call": "cache = dict()",
    "a queue": "waiting = collections.deque()",
    "a counter": "ids = itertools.count()",
    "under a condition": "if True:\n    cache = {}",
    "of a class": "class A:\n    cache = {}",
    "a global": "TOTAL = 0\ndef f():\n    global TOTAL\n    TOTAL = 1",
    "a constant that is filled": "CACHE = {}\ndef f(k, v):\n    CACHE[k] = v",
    "a constant that grows": "_SEEN = []\ndef f(v):\n    _SEEN.append(v)",
    "a constant that shrinks": "CACHE = {}\ndef f(k):\n    del CACHE[k]",
}


@pytest.mark.parametrize("source", STATE.values(), ids=STATE)
def test_module_state_is_found(planted, source):
    root = planted({"ring/planted.py": source})
    found = module_state(root)
    assert len(found) == 1
    assert str(found[0]).startswith(f"{root / 'ring' / 'planted.py'}:")


NO_STATE = {
    "a constant": "_TABLE = {1: 2}\nNAMES = ['a']\ndef f(k):\n    return _TABLE[k]",
    "exports": "__all__ = ['a', 'b']",
    "slots": "class A:\n    __slots__ = ['a']",
    "of a function": "def f():\n    cache = {}\n    cache[1] = 2\n    return cache",
    "a tuple": "names = (1, 2)",
    "of an object": "class A:\n    def __init__(self):\n        self.cache = {}",
}


@pytest.mark.parametrize("source", NO_STATE.values(), ids=NO_STATE)
def test_what_does_not_change_is_fine(planted, source):
    assert module_state(planted({"ring/fine.py": source})) == []
