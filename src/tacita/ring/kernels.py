"""The native kernels: what a party or a dealer computes on arrays, as fast as the machine allows.

**Numbers** are C-contiguous `numpy.uint64` arrays; arithmetic wraps around at 2^64.

**Bit planes**: Boolean values of n elements are an array [blocks, planes, W], W in {1, 2, 4, 8}.
Element e is bit p % 64 of word p // 64 of block e // (64·W), where p = e % (64·W); there are
⌈n / (64·W)⌉ blocks. Bits past the last element are 0 where planes are made from values, and mean
nothing elsewhere.

Every function is constant-time: no branch, index or early exit depends on data, only on shapes,
sizes, divisors and roles, all of them public. Every function releases the interpreter lock, and
raises ValueError, naming the argument, where a shape, type or layout does not fit. `path` forces
one of `paths()`; without it the best one runs, or the one that the environment variable
TACITA_KERNELS named when this module was imported.

`twins` has the same functions, slow and readable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tacita.ring import _kernels, angles, exponents

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

WIDTHS = (1, 2, 4, 8)
MAX_CHUNK = 8  # bits of a one-hot chunk
MAX_FAN = 9  # inputs of an AND
MOST_WAVE = 1 << 30  # of a wave's coefficients, in size

_OPENSSL = "cryptography"
_PATHS: tuple[str, ...] = tuple(_kernels.paths())
_CIPHERS: tuple[str, ...] = (*_kernels.aes_paths(), _OPENSSL)
# The ciphers that belong to a path, the best first.
_CIPHERS_OF = {
    "avx512": _CIPHERS,
    "avx2": tuple(c for c in _CIPHERS if c != "vaes512"),
    "portable": (_OPENSSL,),
}


def _default_path() -> str:
    wanted = os.environ.get("TACITA_KERNELS", "") or _PATHS[0]
    if wanted not in _PATHS:
        raise ValueError(f"TACITA_KERNELS: {wanted!r} is none of this machine's {list(_PATHS)}")
    return wanted


_DEFAULT = _default_path()
_DEFAULT_CIPHER = _CIPHERS_OF[_DEFAULT][0]
_CIPHER_NUMBERS = {name: i for i, name in enumerate(_CIPHERS)}
_NUMBERS = {None: _PATHS.index(_DEFAULT)} | {name: i for i, name in enumerate(_PATHS)}


def paths() -> list[str]:
    """The dispatch paths that this machine has, the best first."""
    return list(_PATHS)


def aes_paths() -> list[str]:
    """The AES implementations that this machine has, the best first.

    `path` of the aes functions takes one of these names, or one of `paths()`.
    """
    return list(_CIPHERS)


def _number(path: str | None) -> int:
    number = _NUMBERS.get(path)
    if number is None:
        raise ValueError(f"path: {path!r} is none of this machine's {list(_PATHS)}")
    return number


def path_number(path: str | None) -> int:
    """The number of a dispatch path, for other modules that call the extension."""
    return _number(path)


def _width(width: int) -> int:
    if width not in WIDTHS:
        raise ValueError(f"width: must be 1, 2, 4 or 8, got {width!r}")
    return width


def _length(array: object, name: str) -> int:
    """The length of a vector; the extension checks everything else about it."""
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise ValueError(f"{name}: expected a one-dimensional numpy array")
    return int(array.shape[0])


def _planes_like(array: object, name: str, planes: int) -> U64:
    if not isinstance(array, np.ndarray) or array.ndim != 3:
        raise ValueError(f"{name}: expected bit planes, [blocks, planes, width]")
    return np.empty((array.shape[0], planes, array.shape[2]), dtype=np.uint64)


# ---- memory --------------------------------------------------------------------------------------


def pool_arrays() -> None:
    """Has the calling thread's new NumPy arrays take large blocks from a pool that keeps them.

    Fresh pages cost more than the arithmetic on them; at most 1 GiB is kept for reuse.
    """
    _kernels.pool_arrays()


# ---- ring arithmetic ---------------------------------------------------------------------------


def matmul_add(out: U64, a: U64, b: U64, *, negate: bool = False, path: str | None = None) -> None:
    """out += a @ b, or out -= a @ b, mod 2^64.

    out is [..., M, N], a [..., M, K], b [..., K, N]. a and b may have any strides (transposed,
    sliced, broadcast), and their leading axes broadcast to those of out. out overlaps neither.
    """
    _kernels.matmul_add(_number(path), out, a, b, negate)


def product_add(out: U64, a: U64, b: U64, *, negate: bool = False, path: str | None = None) -> None:
    """out += a * b, or out -= a * b, element by element; all three of one shape."""
    _kernels.product_add(_number(path), out, a, b, negate)


def convolve_add(
    out: U64,
    x: U64,
    w: U64,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    negate: bool = False,
    path: str | None = None,
) -> None:
    """out += conv2d(x, w), or out -= conv2d(x, w), mod 2^64; cross-correlation, as in PyTorch.

    out is [N, O, OH, OW], x [N, C, H, W], w [O, C / groups, KH, KW]; x and w may have any strides,
    and out overlaps neither. `stride`, `padding` (zeros on both sides) and `dilation` are (height,
    width), and OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1, OW alike.

    N·O·OH·OW·(C / groups)·KH·KW multiply-adds. 3×3 filters with stride and dilation 1 in one group
    take 4/9 of them, where the shapes make it pay: minimal filtering (Winograd 1980) in a form that
    divides by 3 alone, which is invertible, so that the result is the same to the bit.
    """
    _kernels.convolve_add(_number(path), out, x, w, stride, padding, dilation, groups, negate)


# ---- AES-128 in counter mode -------------------------------------------------------------------

_FILL, _ADD, _XOR = 0, 1, 2


def _aes_path(path: str | None) -> str:
    if path is None:
        return _DEFAULT_CIPHER
    if path in _CIPHERS:
        return path
    return _CIPHERS_OF[_PATHS[_number(path)]][0]


def native_cipher(path: str | None) -> int | None:
    """The number of the AES kernel that `path` stands for; None where another library does it."""
    cipher = _aes_path(path)
    return None if cipher == _OPENSSL else _CIPHER_NUMBERS[cipher]


_CHUNK = 1 << 16  # bytes that OpenSSL encrypts at a time: no second copy of a long stream
_ZEROS = bytes(_CHUNK)


def _aes_ctr(use: int, key: bytes, nonce: int, block: int, out: U64, path: str | None) -> None:
    cipher = _aes_path(path)
    if cipher == _OPENSSL:
        _openssl_ctr(use, key, nonce, block, out)
    else:
        _kernels.aes_ctr(_CIPHER_NUMBERS[cipher], use, key, nonce, block, out)


def _openssl_ctr(use: int, key: bytes, nonce: int, block: int, out: U64) -> None:
    if not isinstance(key, bytes) or len(key) != 16:
        raise ValueError("key: must be 16 bytes")
    for name, word in (("nonce", nonce), ("block", block)):
        if not 0 <= word < 2**64:
            raise ValueError(f"{name}: must lie in 0 … 2^64 − 1")
    if not isinstance(out, np.ndarray) or out.dtype != np.uint64 or not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous numpy array of uint64")
    if not out.flags.writeable:
        raise ValueError("out: is read-only")
    if block + (out.size + 1) // 2 > 2**64:
        raise ValueError("block: the counter runs past 2^64 − 1")
    start = int(nonce).to_bytes(8, "big") + int(block).to_bytes(8, "big")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()
    stream = np.empty(_CHUNK // 8 + 2, dtype=np.uint64)  # with the room that update_into asks for
    flat = out.reshape(-1)
    for at in range(0, flat.size, _CHUNK // 8):
        target = flat[at : at + _CHUNK // 8]
        encryptor.update_into(_ZEROS, stream.view(np.uint8).data)
        words = stream.view("<u8")[: target.size]
        if use == _FILL:
            target[...] = words
        elif use == _ADD:
            target += words
        else:
            target ^= words


def aes_ctr(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """Fill `out` with AES-128 keystream, read as little-endian words.

    Counter block i is nonce ‖ (block + i), each as 8 big-endian bytes; the block number may not
    run past 2^64 − 1.
    """
    _aes_ctr(_FILL, key, nonce, block, out, path)


def aes_ctr_add(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """out += the keystream of `aes_ctr`, mod 2^64."""
    _aes_ctr(_ADD, key, nonce, block, out, path)


def aes_ctr_xor(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """out ^= the keystream of `aes_ctr`."""
    _aes_ctr(_XOR, key, nonce, block, out, path)


# ---- bit planes --------------------------------------------------------------------------------


def to_planes(values: U64, low: int, count: int, width: int, *, path: str | None = None) -> U64:
    """[blocks, count, width]: plane c holds bit low + c of each of the values; low + count ≤ 64."""
    blocks = -(-_length(values, "values") // (64 * _width(width)))
    if not 1 <= count <= 64:
        raise ValueError(f"count: must lie in 1 … 64, got {count!r}")
    planes = np.empty((blocks, count, width), dtype=np.uint64)
    _kernels.to_planes(_number(path), values, low, count, planes)
    return planes


def pack_bits(bits: U8, width: int, *, path: str | None = None) -> U64:
    """n bytes (their lowest bits) to one plane, [blocks, 1, width]."""
    blocks = -(-_length(bits, "bits") // (64 * _width(width)))
    planes = np.empty((blocks, 1, width), dtype=np.uint64)
    _kernels.pack_bits(_number(path), bits, planes)
    return planes


def unpack_bits(planes: U64, n: int, *, path: str | None = None) -> U8:
    """The n elements of one plane, [blocks, 1, width], as bytes 0 or 1."""
    if not 0 <= n < 2**62:
        raise ValueError(f"n: must lie in 0 … 2^62, got {n!r}")
    _planes_like(planes, "planes", 0)
    if n > planes.size * 64:
        raise ValueError(f"n: {n} elements are more than the {planes.size * 64} of the plane")
    bits = np.empty(n, dtype=np.uint8)
    _kernels.unpack_bits(_number(path), planes, bits)
    return bits


# ---- one-hot tables ----------------------------------------------------------------------------


def xor_one_hot(planes: U64, chunks: Sequence[int], into: U64, *, path: str | None = None) -> None:
    """into[:, offset + v] ^= [chunk's value == v], for every chunk and each of its 2^c values v.

    planes is [blocks, Σc, W], the bits from the least significant up; into is [blocks, Σ2^c, W].
    `chunks` lists the chunks' bits c in 1 … 8 from the most significant chunk (the top planes) to
    the least; `into` has their tables in the same order.
    """
    _kernels.xor_one_hot(_number(path), planes, chunks, into)


def lookup(
    index_planes: U64, hot: U64, chunks: Sequence[int], *, order: bool, path: str | None = None
) -> U64:
    """Shares of comparisons, chunk by chunk, of a public x with an r whose one-hots are shared.

    index_planes, [blocks, Σc, W], are x's bits; hot, [blocks, Σ2^c, W], is an XOR share of what
    `xor_one_hot` makes of r. Chunk i gives e_i = share of [x_i = r_i] and l_i = share of
    [x_i < r_i]. Planes: e_0 … e_{m-1} without `order`; e_0 … e_{m-2}, l_0 … l_{m-1} with it.
    """
    m = len(chunks)
    nodes = _planes_like(index_planes, "index_planes", max(0, 2 * m - 1 if order else m))
    _kernels.lookup(_number(path), index_planes, hot, chunks, order, nodes)
    return nodes


def lookup_many(
    index_planes: U64,
    hot: U64,
    chunks: Sequence[int],
    numbers: U64,
    *,
    path: str | None = None,
) -> tuple[U64, U64]:
    """`lookup` with order, of x + number for each of T public numbers, in the same one-hots.

    index_planes, [blocks, Σc + 1, W], are x's bits and one above them, Σc ≤ 63; numbers is [T],
    T ≤ 64, of which the Σc + 1 low bits count. Two arrays: [blocks, T·(2m − 1), W], number after
    number what `lookup` gives of the Σc low bits of the sum; and [blocks, T, W], its bit above.
    """
    _planes_like(hot, "hot", 0)
    blocks, _, width = hot.shape
    count = _length(numbers, "numbers")
    nodes = np.empty((blocks, count * max(0, 2 * len(chunks) - 1), width), dtype=np.uint64)
    tops = np.empty((blocks, count, width), dtype=np.uint64)
    _kernels.lookup_many(_number(path), index_planes, hot, chunks, numbers, nodes, tops)
    return nodes, tops


# ---- ANDs of many inputs -----------------------------------------------------------------------


def product_count(fan: Sequence[int], order: bool) -> int:
    """Q: how many products of masks one level of the tree needs."""
    count: int = _kernels.product_count(fan, order)
    return count


def xor_products(
    masks: U64, fan: Sequence[int], *, order: bool, into: U64, path: str | None = None
) -> None:
    """XOR the products of the masks that `fan_in` needs into `into`, [blocks, Q, W].

    m = Σ fan nodes come in, as planes e_0 … e_{m-1}, or with `order` e_0 … e_{m-2}, l_0 … l_{m-1};
    α_i is the mask plane of e_i and λ_j that of l_j. Consecutive nodes form groups of fan[q] in
    1 … 9. A group of g uses g of the e, but the last group with `order` only g − 1. The products,
    group by group: A_S = AND of α_i over S, for the subsets S of the used e with |S| ≥ 2, as
    increasing bit masks; then, with `order`, for j = 1 … g − 1, λ_j ∧ A_S for the nonempty S of
    the group's first j nodes, as increasing bit masks.
    """
    _kernels.xor_products(_number(path), masks, fan, order, into)


def fan_in(
    opened: U64,
    masks: U64,
    products: U64,
    fan: Sequence[int],
    *,
    order: bool,
    first: bool,
    path: str | None = None,
) -> U64:
    """One level of a tree of ANDs.

    Shares of each group's E' = Π e_i and, with `order`, of L' = ⊕_j (Π_{i<j} e_i)·l_j.

    opened are the public ê = e ⊕ α and l̂ = l ⊕ λ; masks and products are XOR shares of what
    `xor_products` takes and makes. Exactly one party is `first`: it adds the constants. Planes as
    in `lookup`: E'_0 … E'_{G-1}, or with `order` E'_0 … E'_{G-2}, L'_0 … L'_{G-1}.
    """
    groups = len(fan)
    nodes = _planes_like(opened, "opened", max(0, 2 * groups - 1 if order else groups))
    _kernels.fan_in(_number(path), opened, masks, products, fan, order, first, nodes)
    return nodes


# ---- truncation, ReLU and gates ----------------------------------------------------------------


def truncation_correction(r: U64, divisor: int, into: U64, *, path: str | None = None) -> None:
    """into ← (T, D) − into, [2, n]: T = r div d, D = msb(r)·(⌊(r − 2^64)/d⌋ − ⌊r/d⌋).

    `into` comes with the sum of the other parties' shares, and leaves as the last party's.
    """
    _kernels.truncation_correction(_number(path), r, divisor, into)


def truncate_share(
    opened: U64, dealt: U64, divisor: int, offset: int, first: bool, *, path: str | None = None
) -> U64:
    """A share of x div d: [first]·(x̂ div d − offset) − T_i − (1 − msb x̂)·D_i.

    x̂ = x + 2^(k−1) + r was opened, |x| < 2^(k−1), k ≤ 62, and offset is 2^(k−1) div d. The
    result is ⌊x/d⌋ or one more, where d divides 2^(k−1).
    """
    out = np.empty(_length(opened, "opened"), dtype=np.uint64)
    _kernels.truncate_share(_number(path), opened, dealt, divisor, offset, first, out)
    return out


def relu_correction(
    r: U64, s_planes: U64, divisor: int, into: U64, *, path: str | None = None
) -> None:
    """into ← (T, D, s, s·T, s·D) − into, [5, n], with T and D of `truncation_correction`."""
    _kernels.relu_correction(_number(path), r, s_planes, divisor, into)


def relu_share(
    opened: U64,
    flipped_planes: U64,
    dealt: U64,
    divisor: int,
    offset: int,
    first: bool,
    *,
    path: str | None = None,
) -> U64:
    """A share of b·(x div d), where b̂ = b ⊕ s was opened (`flipped_planes`).

    t_i is what `truncate_share` gives; u_i, the share of s·t, is linear in the dealt s, s·T and
    s·D, as everything it multiplies is public. b·t = u where b̂ = 0, and t − u where b̂ = 1.
    """
    out = np.empty(_length(opened, "opened"), dtype=np.uint64)
    _kernels.relu_share(_number(path), opened, flipped_planes, dealt, divisor, offset, first, out)
    return out


def gate_correction(r: U64, s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← (s, s·r) − into, [2, n]."""
    _kernels.gate_correction(_number(path), r, s_planes, into)


def gate_share(
    opened: U64, x_share: U64, flipped_planes: U64, dealt: U64, *, path: str | None = None
) -> U64:
    """A share of b·x, where x̂ = x + r and b̂ = b ⊕ s were opened."""
    out = np.empty(_length(opened, "opened"), dtype=np.uint64)
    _kernels.gate_share(_number(path), opened, x_share, flipped_planes, dealt, out)
    return out


def bit_correction(s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← s − into, [n]."""
    _kernels.bit_correction(_number(path), s_planes, into)


def bit_share(flipped_planes: U64, dealt: U64, first: bool, *, path: str | None = None) -> U64:
    """A ring share of the bit b, where b̂ = b ⊕ s was opened and dealt is a share of s."""
    out = np.empty(_length(dealt, "dealt"), dtype=np.uint64)
    _kernels.bit_share(_number(path), flipped_planes, dealt, first, out)
    return out


# ---- staircases --------------------------------------------------------------------------------


def bits_correction(s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← s − into for T bits of each of n elements: planes [blocks, T, W], into [T, n]."""
    _kernels.bits_correction(_number(path), s_planes, into)


def stairs_share(
    flipped_planes: U64, dealt: U64, base: U64, steps: U64, first: bool, *, path: str | None = None
) -> U64:
    """Shares of base_m + Σ_t steps_mt·b_t for T bits of each of n elements: [M, n].

    b̂ = b ⊕ s was opened (`flipped_planes`, [blocks, T, W]), and dealt, [T, n], is a share of s;
    base is [M] and steps [M, T], both public; T ≤ 64.
    """
    if not isinstance(dealt, np.ndarray) or dealt.ndim != 2:
        raise ValueError("dealt: expected a two-dimensional numpy array")
    out = np.empty((_length(base, "base"), dealt.shape[1]), dtype=np.uint64)
    _kernels.stairs_share(_number(path), flipped_planes, dealt, base, steps, first, out)
    return out


# ---- waves and exponentials --------------------------------------------------------------------


def wave_correction(r: U64, turn: int, into: U64, *, path: str | None = None) -> None:
    """into ← (cos, sin of 2πj·turn·r/2^64, for j = 1 … J) − into, [2J, n], cosines and sines in
    turn, at angles.WAVE_BITS after the point, as angles.py has them; r is [n]."""
    _kernels.wave_correction(_number(path), r, turn, angles.series(), into)


def wave_share(
    opened: U64,
    dealt: U64,
    turn: int,
    waves: Sequence[tuple[int, int]],
    *,
    path: str | None = None,
) -> U64:
    """A share of Σ_j C_j·cos + S_j·sin of 2πj·turn·x/2^64, times 2^angles.WAVE_BITS.

    x̂ = x + r was opened, dealt is a share of what `wave_correction` deals, [2J, n], and waves are
    the J pairs (C_j, S_j), at most 2^30 in size. For the cosines, α_j = C_j·cos + S_j·sin of
    2πj·turn·x̂/2^64 is rounded to an integer; for the sines, β_j = C_j·sin − S_j·cos.
    """
    if any(abs(each) > MOST_WAVE for pair in waves for each in pair):
        raise ValueError(f"waves: must lie within ±{MOST_WAVE}")
    table = np.array(waves, np.int64).reshape(-1, 2).view(np.uint64)
    out = np.empty(_length(opened, "opened"), dtype=np.uint64)
    _kernels.wave_share(_number(path), opened, dealt, turn, angles.series(), table, out)
    return out


def exponential_correction(
    r: U64, scale: int, segment_bits: int, b: int, into: U64, *, path: str | None = None
) -> None:
    """into ← (B_0 … B_{M−1}) − into, [M, n], M a power of two; r is [n].

    r mod M·2^segment_bits is j·2^segment_bits + ρ. B_j = 2^b·e^(−ρ/scale), rounded to an integer
    as exponents.py has it, and the other B are 0.
    """
    rate = exponents.rate(scale, segment_bits)
    _kernels.exponential_correction(
        _number(path), r, segment_bits, rate, exponents.series(), b, into
    )


def exponential_share(
    opened: U64,
    dealt: U64,
    low: int,
    scale: int,
    segment_bits: int,
    a: int,
    *,
    path: str | None = None,
) -> U64:
    """A share of 2^(a+b)·e^(x/scale), for low ≤ x ≤ low + (M − 1)·2^segment_bits.

    x̂ = x + r was opened, and dealt is a share of what `exponential_correction` deals, [M, n].
    A_j = 2^a·e^((low + u_j)/scale), u_j = x̂ − low − j·2^segment_bits mod M·2^segment_bits, is
    rounded to an integer as exponents.py has it; whatever it meets but one is a share of 0.
    """
    rows = dealt.shape[0] if isinstance(dealt, np.ndarray) and dealt.ndim == 2 else 0
    index_bits = max(1, rows - 1).bit_length()
    mantissas, shifts = exponents.factors(low, scale, segment_bits, index_bits, a)
    rate = exponents.rate(scale, segment_bits + index_bits)
    out = np.empty(_length(opened, "opened"), dtype=np.uint64)
    _kernels.exponential_share(
        _number(path),
        opened,
        dealt,
        low % 2**64,
        segment_bits,
        rate,
        exponents.series(),
        mantissas,
        shifts,
        out,
    )
    return out
