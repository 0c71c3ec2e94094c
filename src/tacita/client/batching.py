"""Inputs of any number of rows, as queries of the number that a program takes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.client.published import Field, PublishedModel
from tacita.errors import EncodingError, ShapeError, UsageError
from tacita.ring.fixed_point import Array, encode_at
from tacita.torch.encoding import array_of
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.private_tensor import PrivateTensor


@dataclass(frozen=True)
class Batches:
    """Encoded inputs of as many queries as `count`; the last is filled up with zeros.

    rows: of all of them together; None where the inputs have the program's own shapes.
    """

    inputs: tuple[Array, ...]
    size: int
    count: int
    rows: int | None

    def __repr__(self) -> str:
        return f"Batches({self.count} of {self.size} rows)"

    def of(self, number: int) -> list[Array]:
        """The inputs of one query."""
        if self.rows is None:
            return list(self.inputs)
        start = number * self.size
        return [_filled(each[start : start + self.size], self.size) for each in self.inputs]


def batches(model: PublishedModel, inputs: Sequence[object]) -> Batches:
    """Inputs, encoded and split. Raises ShapeError, EncodingError, UsageError, naming the input."""
    if len(inputs) != len(model.inputs):
        raise ShapeError(f"{model.name!r} takes {len(model.inputs)} inputs, not {len(inputs)}")
    arrays = [_array(each, field.name) for each, field in zip(inputs, model.inputs, strict=True)]
    pairs = list(zip(arrays, model.inputs, strict=True))
    encoded = tuple(_encoded(array, field) for array, field in pairs)
    if all(array.shape == field.shape for array, field in pairs):
        return Batches(encoded, 0, 1, None)
    size = _size(model)
    for array, field in pairs:
        if not array.shape or array.shape[1:] != field.shape[1:] or not field.shape:
            raise _misfit(model, array.shape, field)
    counts = {array.shape[0] for array in arrays}
    if len(counts) > 1:
        raise ShapeError(
            f"the inputs of {model.name!r} have {sorted(counts)} rows: give all the same number"
        )
    if size is None:
        raise _misfit(model, *next((a.shape, f) for a, f in pairs if a.shape != f.shape))
    (rows,) = counts
    if rows == 0:
        raise ShapeError(f"the inputs of {model.name!r} have no rows")
    return Batches(encoded, size, -(-rows // size), rows)


def joined(parts: Sequence[Sequence[torch.Tensor]], rows: int | None) -> list[torch.Tensor]:
    """The outputs of all queries, without what the last was filled up with."""
    if rows is None:
        return list(parts[0])
    return [torch.cat(list(each))[:rows] for each in zip(*parts, strict=True)]


def _size(model: PublishedModel) -> int | None:
    """How many rows a query has; None where not all inputs and outputs have as many."""
    fields = (*model.inputs, *model.outputs)
    sizes = {field.shape[0] if field.shape else 0 for field in fields}
    return sizes.pop() if len(sizes) == 1 and 0 not in sizes else None


def _misfit(model: PublishedModel, shape: tuple[int, ...], field: Field) -> ShapeError:
    rest = " with any number of rows" if field.shape and _size(model) else ""
    return ShapeError(
        f"input '{field.name}' has shape {shape}, and {model.name!r} takes {field.shape}{rest}"
    )


def _array(given: object, name: str) -> NDArray[Any]:
    try:
        if isinstance(given, FixedPrecisionTensor):
            given = given.float_precision()
        if isinstance(given, np.ndarray):
            return given
        if isinstance(given, torch.Tensor) and not isinstance(given, PrivateTensor):
            return array_of(given)
    except EncodingError as error:
        raise EncodingError(f"input '{name}': {error}") from None
    raise UsageError(f"input '{name}' is a {type(given).__name__}: give a tensor or an array")


def _encoded(array: NDArray[Any], field: Field) -> Array:
    try:
        stored = encode_at(array, field.scale, f"a fixed point of scale {field.scale}")
    except EncodingError as error:
        raise EncodingError(f"input '{field.name}': {error}") from None
    return np.asarray(stored, np.uint64).reshape(array.shape)  # of a scalar NumPy makes a number


def _filled(rows: Array, size: int) -> Array:
    if len(rows) == size:
        return rows
    whole = np.zeros((size, *rows.shape[1:]), np.uint64)
    whole[: len(rows)] = rows
    return whole
