"""Changed programs and publications for whoever has to refuse them.

    python -m bench.fuzz_programs [cases] [seed] [record.json]

Each case is one of

    bytes         a program's file with bytes changed: cut, altered, of another version
    body          the same within, under a digest that fits, which any attacker can make
    structure     parts of a program exchanged, left out, repeated, or of absurd size
    invention     an instruction made up from its fields' types, put into a program
    publication   the HTTP body in which an owner publishes, with any of these in it
    model file    a published model on a party's disk, changed under the seal or in it

and has to end in the error that is documented for it, or be accepted; what is accepted has to
encode to the same again, to be deployable where its runs are small, and to run then. Any other
exception, and more time or memory than such small inputs may take, ends everything with the case's
number; `--only N` repeats that one, and `--first N` begins with it.
"""

import contextlib
import hashlib
import json
import math
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.fuzz_frames import spoilt
from tacita import export
from tacita.compiler import archive
from tacita.errors import MaterialError, ProgramError, UsageError
from tacita.network.identity import Principal
from tacita.network.tensors import Tensor, TensorLimits, decode_request, encode_request
from tacita.program.schedule import cost_of
from tacita.program.text import text
from tacita.protocols import AnyInstruction, sign, tables
from tacita.ring.fixed_point import Precision
from tacita.service import weights
from tacita.service.models import deployed, new_published, require_weights, restored
from tacita.service.weights import Published, WeightParts

SMALL = 1 << 20  # bytes: of runs that are carried out
SECONDS = 2.0  # of the processor, for one case; what is refused takes milliseconds
MEMORY = 1 << 30  # bytes of address space, beyond what is there at the start
LONGEST_WORD = 4000  # characters of an error
REPORT = 10.0  # seconds between two lines of progress
REPEATED = 100_000  # bytes of what is repeated within a case
SECRET = bytes(32)
MODEL = bytes(range(16))
OWNER = Principal("owner", "acme", "f" * 64)
NUMBERS = (
    0, 0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 31, 62, 63, 64, 65, 255, 256, 511, -1, -2, -128,
    1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 40, (1 << 62) + 1, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, -(1 << 63),
)  # fmt: skip
READS = {"x", "w", "public"}  # fields that name a wire
USUAL = {  # values of fields that fit in small programs
    "width": [msgspec.to_builtins(sign.width(bits, 8)) for bits in (9, 33, 64)],
    "plan": [msgspec.to_builtins(tables.plan(bits, 8, order=False)) for bits in (8, 33, 64)],
    "divisor": [1, 2, 10],
    "bits": [30, 62],
    "dim": [0, 1],
    "dims": [[0], [1, 0], [0, 2, 1]],
}
TEXTS = ("", "x", "fc.weight", "\x1b[2J", "\0", "é" * 300, "Reshape", "MaskWires", "Product")


class TookTooLong(Exception):
    """A case had the processor for longer than SECONDS."""


# ---- programs to begin with ----------------------------------------------------------------------


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=(1, 2), padding=1, groups=2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        return x.flatten(1).argmax(1)


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 4))

    def forward(self, x):
        y = torch.cat([x, x.flip(1) * 0.5], 1)[:, 1:5]
        z = F.linear(y, self.weight).abs()
        largest = z.max(1).values
        return F.pad(z, (1, 0)).sum(0), largest >= 0.25, z[:, [2, 0]] == 1


@lru_cache(maxsize=1)
def subjects():
    torch.manual_seed(1)
    dense = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    cases = [
        (dense, torch.rand(2, 4), {"largest": 1.0}),
        (dense, torch.rand(1, 4), {"largest": 1.0, "checked": True, "precision": Precision(10, 3)}),
        (Windows(), torch.rand(1, 2, 4, 6), {"samples": torch.rand(3, 2, 4, 6)}),
        (Mixture(), torch.rand(2, 4), {"samples": torch.rand(3, 4)}),
    ]
    return tuple(_subject(*case) for case in cases)


def _subject(module, example, options):
    model = export(module.eval(), example, **options)
    return Subject(archive.encode(model.program), tuple(model.weights))


@dataclass(frozen=True, eq=False)
class Subject:
    """program: encoded. weights: ring elements, in the order of its ports."""

    program: bytes
    weights: tuple

    @property
    def body(self):
        return self.program[archive._HEAD.size : -archive.DIGEST_BYTES]


def sealed(body):
    """An archive of any body, whose digest fits."""
    framed = archive._HEAD.pack(archive.MAGIC, archive.VERSION, len(body)) + body
    return framed + hashlib.sha256(framed).digest()


# ---- changes -------------------------------------------------------------------------------------


def changed_bytes(source):
    return spoilt(source.choice(subjects()).program, source)


def changed_body(source):
    return sealed(spoilt(source.choice(subjects()).body, source))


def changed_structure(source):
    parts = msgspec.msgpack.decode(source.choice(subjects()).body)
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        change_somewhere(parts, source)
    return sealed(msgspec.msgpack.encode(parts))


def invented(source):
    parts = msgspec.msgpack.decode(source.choice(subjects()).body)
    wires, places, instructions = parts[2], parts[8], parts[9]
    instruction = made_up(msgspec.inspect.type_info(source.choice(AnyInstruction.__args__)), source)
    at = source.randrange(len(instructions) + 1)
    made = []
    for name in READS & instruction.keys():
        instruction[name] = read = source.randrange(len(wires))
        if source.random() < 0.5:
            made.append({"type": "MaskWires", "wires": [read], "shapes": [wires[read][0]]})
    for name in USUAL.keys() & instruction.keys():
        if source.random() < 0.7:
            instruction[name] = source.choice(USUAL[name])
    if "shape" in instruction and source.random() < 0.7:
        instruction["shape"] = wires[instruction.get("x", 0)][0]
    if "out" in instruction and source.random() < 0.9:
        instruction["out"] = len(wires)
        wires.append([instruction.get("shape", source.choice(wires)[0]), 1, None, False])
    made.append(instruction)
    instructions[at:at] = made
    places[at:at] = [0] * len(made)
    if source.random() < 0.1:
        change_somewhere(parts, source)
    return sealed(msgspec.msgpack.encode(parts))


def change_somewhere(parts, source):
    """Changes one part of nested lists and maps, found by going down at random."""
    inside = parts
    while True:
        keys = list(inside) if isinstance(inside, dict) else range(len(inside))
        if not keys:
            return
        key = source.choice(keys)
        deeper = inside[key]
        if isinstance(deeper, list | dict) and deeper and source.random() < 0.9:
            inside = deeper
            continue
        change(inside, key, source)
        return


def change(inside, key, source):
    way = source.randrange(8)
    if way == 0:
        del inside[key]
    elif way == 1 and isinstance(inside, list):
        inside.insert(key, deepcopy(inside[source.randrange(len(inside))]))
    elif way == 2 and isinstance(inside, list):
        times = source.choice((2, 3, 9, 300, 5000))
        small = times * len(msgspec.msgpack.encode(inside[key])) < REPEATED
        # Copies: a change to one that was there thousands of times would multiply.
        inside[key:key] = [deepcopy(inside[key]) for _ in range(times - 1 if small else 1)]
    elif way == 3:
        other = source.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        inside[key], inside[other] = inside[other], inside[key]
    else:
        inside[key] = another(inside[key], source)


def another(value, source):
    """Something else, most often of the same type."""
    if source.random() < 0.1:
        return source.choice((None, True, 1.5, float("nan"), "x", b"x", [], {}, [[]], -1))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = value + source.choice((-2, -1, 1, 2, 64))
        fits = -(1 << 63) <= near < 1 << 64  # else msgpack has no form for it
        return near if fits and source.random() < 0.5 else source.choice(NUMBERS)
    if isinstance(value, str):
        return source.choice(TEXTS)
    if isinstance(value, bytes):
        return spoilt(value, source) + source.choice((b"", bytes(8), b"\xff" * 8))
    return source.choice((None, 0, "", [], [1], [1] * 9, {"type": "Zero"}))


def made_up(kind, source):
    """A value of a type, as msgpack has it."""
    match kind:
        case msgspec.inspect.StructType():
            fields = {
                each.encode_name: made_up(each.type, source)
                for each in kind.fields
                if each.required or source.random() < 0.8
            }
            if kind.array_like:
                return list(fields.values())
            return fields if kind.tag_field is None else {kind.tag_field: kind.tag, **fields}
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return [made_up(kind.item_type, source) for _ in range(source.choice((0, 1, 1, 2, 3)))]
        case msgspec.inspect.TupleType():
            return [made_up(each, source) for each in kind.item_types]
        case msgspec.inspect.UnionType():
            return made_up(source.choice(kind.types), source)
        case msgspec.inspect.IntType():
            return source.choice(NUMBERS) if source.random() < 0.4 else source.randrange(12)
        case msgspec.inspect.BoolType():
            return source.random() < 0.5
        case msgspec.inspect.BytesType():
            return source.randbytes(8 * source.randrange(4))
        case msgspec.inspect.StrType():
            return source.choice(TEXTS)
        case msgspec.inspect.FloatType():
            return source.choice((0.0, 1.5, -1e300, float("inf"), float("nan")))
        case msgspec.inspect.LiteralType():
            return source.choice(kind.values)
        case _:
            return None


PROGRAMS = (changed_bytes, changed_body, changed_structure, invented)


# ---- what takes them -----------------------------------------------------------------------------


def take_program(data, _source):
    """What a party does with a program that it is sent; raises ProgramError."""
    require_right(archive.decode(data), data)


def require_right(program, data):
    """Of a program that was accepted."""
    assert archive.encode(program) == data
    assert text(program)
    assert cost_of(program.instructions).rounds >= 0
    deployed(data, MODEL, SMALL)  # a ProgramError where a run is larger than that
    run_plain(program)


class Machine:
    """Runs instructions in the clear; a bound that does not hold is no mistake of the program's."""

    def __init__(self):
        self.values = {}

    def value(self, wire):
        return self.values[wire]

    def write(self, wire, value):
        self.values[wire] = value

    def fail(self, _wire, _message):
        """The values stay, so that everything after it is run as well."""


def run_plain(program):
    machine = Machine()
    for port in (*program.inputs, *program.weights):
        wire = program.wires[port.wire]
        machine.write(port.wire, np.arange(wire.size, dtype=np.uint64).reshape(wire.shape))
    for literal in program.constants:
        machine.write(literal.wire, literal.array(program.wires[literal.wire].shape))
    for number, instruction in enumerate(program.instructions):
        instruction.plain(machine)
        for wire in instruction.writes:
            found = machine.value(wire).shape
            assert found == program.wires[wire].shape, f"instruction {number} wrote {found}"


def publication(source):
    """Headers and body of a request."""
    subject = source.choice(subjects())
    program = source.choice(PROGRAMS)(source) if source.random() < 0.5 else subject.program
    decoded = archive.decode(subject.program)
    tensors = [
        Tensor(port.name, values.shape, values, decoded.wires[port.wire].scale, 0, 2)
        for port, values in zip(decoded.weights, subject.weights, strict=True)
    ]
    headers, buffers = encode_request(MODEL, tensors, {"audience": ""}, {"program": program})
    body = b"".join(buffers)
    length = next(name for name, value in headers.items() if name.lower().startswith("inference"))
    head, rest = body[: int(headers[length])], body[int(headers[length]) :]
    way = source.randrange(4)
    if way == 0:
        body = spoilt(head, source) + rest
    elif way == 1:
        parts = msgspec.json.decode(head)
        for _ in range(source.choice((1, 1, 2, 4))):
            change_somewhere(parts, source)
        with contextlib.suppress(UnicodeEncodeError):
            head = msgspec.json.encode(parts)
        body, headers[length] = head + rest, str(len(head))
    elif way == 2:
        headers[length] = source.choice(
            ("", "-1", "1e3", "٣", str(1 << 70), str(len(body) + 1), "7")
        )
    return headers, body


def take_publication(request, _source):
    """What a party does with an owner's request; raises UsageError."""
    headers, body = request
    asked = decode_request(headers, body, TensorLimits(), attachments=("program",))
    program = asked.attachments.get("program")
    if program is None:
        raise UsageError("no program")
    new_published(
        name="small",
        model=asked.query,
        owner=OWNER,
        audience=(),
        program=program,
        parties=2,
        index=0,
    )
    deployment = deployed(program, asked.query, SMALL)
    require_weights(deployment.program, [tensor.values for tensor in asked.tensors])
    require_right(deployment.program, program)


def model_file(source):
    """What is written about a model, and its weights; and what happens to the file then."""
    subject = source.choice(subjects())
    program = source.choice(PROGRAMS)(source) if source.random() < 0.3 else subject.program
    shapes = [list(values.shape) for values in subject.weights]
    if source.random() < 0.5 and shapes:
        change_somewhere(shapes, source)
    about = msgspec.to_builtins(published(program), builtin_types=(bytes,))
    if source.random() < 0.5:
        change_somewhere(about, source)
    return about, shapes, program


def published(program):
    return Published(
        name="small", model=MODEL, owner=str(OWNER), fingerprint=OWNER.fingerprint, audience=(),
        program=program, parties=2, index=0, made=1.0,
    )  # fmt: skip


def take_model_file(made, source, folder):
    """What a party does at its start; raises MaterialError, or ProgramError of an older release."""
    about, shapes, program = made
    path = folder / MODEL.hex()
    path.unlink(missing_ok=True)
    with weights.writing(folder, published(program), SECRET, weights.HELD) as file:
        if source.random() < 0.5:  # a second beginning, which is in the place of a weight
            file.write(weights.ABOUT, msgspec.msgpack.encode(about))
        for shape in shapes:
            file.write(weights.SHAPE, msgspec.msgpack.encode(shape))
            with contextlib.suppress(TypeError, ValueError, OverflowError, MemoryError):
                size = min(math.prod(shape), 1000)
                file.write(weights.WORDS, bytes(8 * weights.ARRAYS * max(size, 0)))
    if source.random() < 0.5:
        path.write_bytes(spoilt(path.read_bytes(), source))
    found, parts = weights.load(path, SECRET)
    model = restored("alice", found, parts)
    assert model.program.weights or not parts
    assert all(isinstance(each, WeightParts) for each in parts)


KINDS = (
    ("bytes", 10, changed_bytes, take_program, ProgramError),
    ("body", 20, changed_body, take_program, ProgramError),
    ("structure", 34, changed_structure, take_program, ProgramError),
    ("invention", 20, invented, take_program, ProgramError),
    ("publication", 14, publication, take_publication, UsageError),
    ("model file", 2, model_file, take_model_file, (MaterialError, UsageError)),
)


# ---- the run -------------------------------------------------------------------------------------


class Run:
    """All cases of a seed: what came of them, by kind. watched: whether their time is limited,
    which takes `limited` before."""

    def __init__(self, seed, folder, *, watched=False):
        self.seed = seed
        self.folder = folder
        self.watched = watched
        self.outcomes = Counter()
        self.slowest = (0.0, None)

    def case(self, number):
        """One case, which depends on the seed and its number alone."""
        source = random.Random(f"{self.seed} {number}")
        weighted = [each for each in KINDS for _ in range(each[1])]
        name, _, make, take, documented = source.choice(weighted)
        made = make(source)
        options = (self.folder,) if take is take_model_file else ()
        outcome = said = "accepted"
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS if self.watched else 0)
        try:
            take(made, source, *options)
        except documented as error:
            outcome, said = type(error).__name__, str(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - began
        assert 0 < len(said) < LONGEST_WORD, "an error says what is wrong, briefly"
        if self.watched and took > SECONDS:
            raise TookTooLong
        self.outcomes[name, outcome] += 1
        self.slowest = max(self.slowest, (took, number), key=lambda each: each[0])

    def summary(self, seconds):
        kinds = {}
        for (name, outcome), count in sorted(self.outcomes.items()):
            kinds.setdefault(name, {})[outcome] = count
        return {
            "cases": sum(self.outcomes.values()),
            "seed": self.seed,
            "kinds": kinds,
            "seconds": round(seconds, 1),
            "slowest_case_cpu_seconds": round(self.slowest[0], 4),
            "slowest_case": self.slowest[1],
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        }


def limited():
    """From here on, what asks for too much memory or time gets an exception."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))

    def alarm(_signal, _frame):
        raise TookTooLong

    signal.signal(signal.SIGPROF, alarm)


def fuzz(numbers, seed, progress=lambda _: None):
    """Runs these cases; raises what the first bad one raised, with its number noted."""
    subjects()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(seed, Path(folder), watched=True)
        began = reported = time.perf_counter()
        for number in numbers:
            try:
                run.case(number)
            except BaseException as error:
                error.add_note(f"case {number} of seed {seed}")
                raise
            if time.perf_counter() - reported > REPORT:
                reported = time.perf_counter()
                progress(f"case {number} of {numbers[-1]} after {reported - began:.0f} s")
        return run.summary(time.perf_counter() - began)


def taken_out(arguments, option):
    """The number that follows an option, which is left out then; None without it."""
    if option not in arguments:
        return None
    at = arguments.index(option)
    number = int(arguments[at + 1])
    del arguments[at : at + 2]
    return number


def main(arguments):
    only, first = (taken_out(arguments, option) for option in ("--only", "--first"))
    cases, seed = [*map(int, arguments[:2]), *(100_000, 1)[len(arguments[:2]) :]]
    numbers = range(first or 0, cases) if only is None else range(only, only + 1)
    subjects()
    limited()
    found = fuzz(numbers, seed, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=1))
    if len(arguments) > 2:
        Path(arguments[2]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
