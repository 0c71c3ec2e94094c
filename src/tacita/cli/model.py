"""From what is typed on a command line to modules, shapes and precisions."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from tacita import zoo
from tacita.errors import DataError, ShapeError, UsageError
from tacita.ring.fixed_point import Precision

ARCHIVE = ".pt2"
MOST_ELEMENTS = 1 << 31  # of an input


def module_and_shapes(name: str, given: Sequence[str]) -> tuple[nn.Module, list[tuple[int, ...]]]:
    """A module as `module_named` finds it, and the shapes of its inputs, as given or known.

    Raises UsageError where shapes are neither, and ShapeError where an archive takes no such.
    """
    if name not in zoo.names() and name.endswith(ARCHIVE):
        program = _archive(Path(name))
        return _module_in(program), _archived_shapes(name, program, given)
    return module_named(name), input_shapes(name, given)


def module_named(name: str) -> nn.Module:
    """A network of the zoo, `package.module:attribute`, or a `.pt2` archive of torch.export.

    The attribute is a module, or takes no arguments and makes one. Networks of the zoo come in
    eval mode. Raises UsageError, naming what could not be found.
    """
    if name in zoo.names():
        return zoo.network(name).eval()
    if name.endswith(ARCHIVE):
        return _module_in(_archive(Path(name)))
    if ":" in name:
        return _imported(*name.split(":", 1))
    raise UsageError(
        f"no model {name!r}: give a name of the zoo ({', '.join(zoo.names())}), "
        f"package.module:attribute, a {ARCHIVE} file, or, to publish it, a file of Model.save"
    )


def _archive(path: Path) -> ExportedProgram:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        return torch.export.load(path)
    except Exception as error:  # whatever torch raises for a file that is none of its own
        raise UsageError(
            f"{path} is no archive that torch.export.load takes: {_first_line(error)}"
        ) from None


def _module_in(program: ExportedProgram) -> nn.Module:
    module: nn.Module = program.module()
    # Modes were decided when the archive was made: what torch hands out refuses eval().
    for each in module.modules():
        each.training = False
    return module


def _archived_shapes(
    name: str, program: ExportedProgram, given: Sequence[str]
) -> list[tuple[int, ...]]:
    """Those that were given, if the archive takes them, else those of its example inputs."""
    inputs = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    taken = [value.shape for each in inputs if (value := values.get(str(each))) is not None]
    if not given:
        if all(isinstance(size, int) for sizes in taken for size in sizes):
            return [tuple(sizes) for sizes in taken]
        # Sizes that were left open have the values that they had in the example.
        examples, named = program.example_inputs or ((), {})
        shapes = [tuple(each.shape) for each in examples if isinstance(each, torch.Tensor)]
        if named or len(shapes) != len(taken):
            raise UsageError(f"{name} leaves sizes open: give every input's shape with --input")
        return shapes
    shapes = [shape(each) for each in given]
    if len(shapes) != len(taken):
        raise UsageError(f"{name} takes {len(taken)} inputs: give --input for each or for none")
    for text, sizes, exported in zip(given, shapes, taken, strict=True):
        if not _fits(sizes, exported):
            rows_alone = _fits(sizes[1:], exported[1:]) and len(sizes) == len(exported)
            instead = "x".join(str(size) if isinstance(size, int) else "N" for size in exported)
            what = f"{exported[0]} rows" if rows_alone else f"an input of {instead}"
            raise ShapeError(
                f"{name} was exported for {what}, not {text}: --input {instead}, or export it "
                f"with a dynamic {'batch' if rows_alone else 'shape'}"
            )
    return shapes


def _fits(sizes: Sequence[int], exported: Sequence[int | torch.SymInt]) -> bool:
    return len(sizes) == len(exported) and all(
        not isinstance(theirs, int) or own == theirs
        for own, theirs in zip(sizes, exported, strict=True)
    )


def _imported(package: str, attribute: str) -> nn.Module:
    with _from_here():
        try:
            found = import_module(package)
        except Exception as error:  # the module is somebody's code, which may raise anything
            raise UsageError(f"cannot import {package!r}: {_first_line(error)}") from None
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise UsageError(f"{package} has no attribute {attribute!r}")
            found = getattr(found, part)
        made: object = found
        if not isinstance(made, nn.Module) and callable(made):
            try:
                made = made()
            except Exception as error:
                raise UsageError(f"{package}:{attribute}() failed: {_first_line(error)}") from None
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"{package}:{attribute} is no torch.nn.Module, and makes none when it is called "
            f"without arguments: it is a {type(made).__name__}"
        )
    return made


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _from_here() -> Iterator[None]:
    """Lets modules of the current directory be imported, as `python -m` does."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def input_shapes(name: str, given: Sequence[str]) -> list[tuple[int, ...]]:
    """The shapes as they were typed; for a network of the zoo, one image where none was."""
    if given:
        return [shape(each) for each in given]
    if name in zoo.names():
        return [(1, *zoo.input_shape(name))]
    raise UsageError("give the shape of every input, batch first: --input 1x3x32x32")


def shape(text: str) -> tuple[int, ...]:
    """1x3x32x32 as (1, 3, 32, 32); raises ShapeError."""
    if not re.fullmatch(r"[0-9]{1,10}([x×,][0-9]{1,10})*", text):
        raise ShapeError(f"{text!r} is no shape: write sizes with x between, as in 1x3x32x32")
    sizes = tuple(int(size) for size in re.split("[x×,]", text))
    if 0 in sizes or np.prod(sizes, dtype=object) > MOST_ELEMENTS:
        raise ShapeError(
            f"an input cannot have the shape {text}: sizes are 1 or more, and not huge"
        )
    return sizes


def precision(text: str) -> Precision:
    """2^16 is base 2 with 16 digits after the point; raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,3})\^([0-9]{1,3})", text)
    if match is None:
        raise UsageError(f"{text!r} is no precision: write base^digits, as in 2^16 or 10^3")
    return Precision(base=int(match[1]), digits=int(match[2]))


def samples(paths: Sequence[str], inputs: int) -> list[torch.Tensor] | None:
    """Arrays of sample inputs, one file for each input; None without files.

    Raises DataError for a file that is no plain array of numbers.
    """
    if not paths:
        return None
    if len(paths) != inputs:
        raise UsageError(f"give --samples once for each of {inputs} inputs, not {len(paths)} times")
    return [_array(Path(each)) for each in paths]


def _array(path: Path) -> torch.Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array that np.save wrote: {_first_line(error)}") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DataError(f"{path} does not hold one array of numbers")
    return torch.from_numpy(values.astype(np.float32))
