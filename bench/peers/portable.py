"""A network and a batch of images as one file that needs nothing but NumPy to be read.

An .npz without pickles: arrays by name, and the steps as JSON. The steps, on values by name:

    convolution  x, weight, bias; stride, padding
    linear       x, weight, bias
    relu         x
    max_pool     x; kernel, stride, padding
    mean         x               over height and width, which stay as 1×1
    add          x, y
    flatten      x               all but the first dimension
    subsample    x               every other row and column
    channels     x; before, after   zeros in front of and behind the channels
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
STEPS = "steps as JSON"
INPUT = "the images"
EXPECTED = "the scores in the clear"


@dataclass(frozen=True)
class Portable:
    """steps: in order; each has "kind", "out" and the entries above.
    weights: float32, by the names that steps use. output: the name of the last value.
    images, expected: the batch, and what the network makes of it in the clear.
    """

    steps: list[dict[str, Any]]
    weights: Arrays
    output: str
    images: NDArray[np.float32]
    expected: NDArray[np.float32]


def write(path: Path, network: Portable) -> None:
    words = json.dumps({"steps": network.steps, "output": network.output}).encode()
    arrays = network.weights | {INPUT: network.images, EXPECTED: network.expected}
    np.savez(path, **arrays, **{STEPS: np.frombuffer(words, np.uint8)})  # type: ignore[arg-type]


def read(path: Path) -> Portable:
    with np.load(path, allow_pickle=False) as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    about = json.loads(weights.pop(STEPS).tobytes())
    images, expected = weights.pop(INPUT), weights.pop(EXPECTED)
    return Portable(about["steps"], weights, about["output"], images, expected)


def agreement(scores: NDArray[Any], expected: NDArray[Any]) -> dict[str, float]:
    """How far a peer's scores are from the plaintext's."""
    return {
        "largest_difference": float(np.abs(scores - expected).max()),
        "equal_argmax": float((scores.argmax(1) == expected.argmax(1)).mean()),
    }
