"""The extension module. `path` and `cipher` are indices into paths() and aes_paths()."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

def pool_arrays() -> None: ...
def paths() -> list[str]: ...
def aes_paths() -> list[str]: ...
def matmul_add(path: int, out: U64, a: U64, b: U64, negate: bool) -> None: ...
def convolve_add(
    path: int,
    out: U64,
    x: U64,
    w: U64,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    negate: bool,
) -> None: ...
def product_add(path: int, out: U64, a: U64, b: U64, negate: bool) -> None: ...
def multiply_peak(path: int, steps: int) -> int:
    """Run the matmul's innermost step on registers alone; the number of multiply-adds done."""

def aes_ctr(cipher: int, use: int, key: bytes, nonce: int, block: int, out: U64) -> None: ...
def generate_points(
    cipher: int, alpha: U64, roots: U64, bits: int, permutation: U64, into: U64
) -> None: ...
def walk_points(
    cipher: int,
    order: bool,
    points: U64,
    root: U64,
    keys: U64,
    bits: int,
    permutation: U64,
    first: bool,
    out: U8,
) -> None: ...
def to_planes(path: int, values: U64, low: int, count: int, planes: U64) -> None: ...
def pack_bits(path: int, bits: U8, planes: U64) -> None: ...
def unpack_bits(path: int, planes: U64, bits: U8) -> None: ...
def xor_one_hot(path: int, planes: U64, chunks: Sequence[int], into: U64) -> None: ...
def lookup(
    path: int, index_planes: U64, hot: U64, chunks: Sequence[int], order: bool, nodes: U64
) -> None: ...
def lookup_many(
    path: int,
    index_planes: U64,
    hot: U64,
    chunks: Sequence[int],
    numbers: U64,
    nodes: U64,
    tops: U64,
) -> None: ...
def xor_products(path: int, masks: U64, fan: Sequence[int], order: bool, into: U64) -> None: ...
def fan_in(
    path: int,
    opened: U64,
    masks: U64,
    products: U64,
    fan: Sequence[int],
    order: bool,
    first: bool,
    nodes: U64,
) -> None: ...
def product_count(fan: Sequence[int], order: bool) -> int: ...
def truncation_correction(path: int, r: U64, divisor: int, into: U64) -> None: ...
def truncate_share(
    path: int, opened: U64, dealt: U64, divisor: int, offset: int, first: bool, out: U64
) -> None: ...
def relu_correction(path: int, r: U64, s_planes: U64, divisor: int, into: U64) -> None: ...
def relu_share(
    path: int,
    opened: U64,
    flipped_planes: U64,
    dealt: U64,
    divisor: int,
    offset: int,
    first: bool,
    out: U64,
) -> None: ...
def gate_correction(path: int, r: U64, s_planes: U64, into: U64) -> None: ...
def gate_share(
    path: int, opened: U64, x_share: U64, flipped_planes: U64, dealt: U64, out: U64
) -> None: ...
def bit_correction(path: int, s_planes: U64, into: U64) -> None: ...
def bit_share(path: int, flipped_planes: U64, dealt: U64, first: bool, out: U64) -> None: ...
def bits_correction(path: int, s_planes: U64, into: U64) -> None: ...
def stairs_share(
    path: int, flipped_planes: U64, dealt: U64, base: U64, steps: U64, first: bool, out: U64
) -> None: ...
def draw_digits(path: int, seeds: U64, into: U64) -> None: ...
def lack_digits(path: int, seeds: U64, r: U64, into: U64) -> None: ...
def hide_digits(
    path: int,
    order: bool,
    places: U64,
    share: U64,
    flips: U8,
    factors: U64,
    summands: U64,
    turns: U64,
    bits: int,
    first: bool,
    into: U64,
) -> None: ...
def find_zeros(path: int, one: U64, other: U64, digits: int, found: U8) -> None: ...
def wave_correction(path: int, r: U64, turn: int, series: U64, into: U64) -> None: ...
def wave_share(
    path: int, opened: U64, dealt: U64, turn: int, series: U64, waves: U64, out: U64
) -> None: ...
def exponential_correction(
    path: int, r: U64, segment_bits: int, rate: int, series: U64, b: int, into: U64
) -> None: ...
def exponential_share(
    path: int,
    opened: U64,
    dealt: U64,
    low: int,
    segment_bits: int,
    rate: int,
    series: U64,
    mantissas: U64,
    shifts: U64,
    out: U64,
) -> None: ...
