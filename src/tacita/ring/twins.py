"""Slow, readable twins of every function in `kernels`: same signatures, same results.

They are what the tests compare the native code with, and the shortest exact statement of what each
kernel computes. They check nothing: bad arguments are the fast kernels' business. `path` is taken
and ignored, so that a twin can stand in for its kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tacita.ring import angles, exponents

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


# ---- ring arithmetic ---------------------------------------------------------------------------


def matmul_add(out: U64, a: U64, b: U64, *, negate: bool = False, path: str | None = None) -> None:
    """out += a @ b, or out -= a @ b, mod 2^64; the last two axes are the matrices."""
    product = (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2, dtype=np.uint64)
    out += -product if negate else product


def product_add(out: U64, a: U64, b: U64, *, negate: bool = False, path: str | None = None) -> None:
    """out += a * b, or out -= a * b, element by element."""
    product = a * b
    out += -product if negate else product


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
    """out += conv2d(x, w), or out -= conv2d(x, w), mod 2^64: one tap of the filter at a time."""
    pad_h, pad_w = padding
    padded = np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    images, outputs, out_h, out_w = out.shape
    inputs = w.shape[1]
    for g in range(groups):
        channels = slice(g * inputs, (g + 1) * inputs)
        filters = slice(g * outputs // groups, (g + 1) * outputs // groups)
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                top, left = i * dilation[0], j * dilation[1]
                seen = padded[:, channels, top :: stride[0], left :: stride[1]]
                seen = seen[:, :, :out_h, :out_w].reshape(images, inputs, out_h * out_w)
                product = np.matmul(w[filters, :, i, j], seen)
                product = product.reshape(images, outputs // groups, out_h, out_w)
                out[:, filters] += -product if negate else product


# ---- AES-128 in counter mode -------------------------------------------------------------------


def _keystream(key: bytes, nonce: int, block: int, words: int) -> U64:
    start = nonce.to_bytes(8, "big") + block.to_bytes(8, "big")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()
    stream = encryptor.update(bytes(-(-words // 2) * 16))
    return np.frombuffer(stream, dtype="<u8")[:words].astype(np.uint64)


def aes_ctr(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """Fill `out` with the keystream; its first counter block is nonce ‖ block, both big-endian."""
    out[...] = _keystream(key, nonce, block, out.size).reshape(out.shape)


def aes_ctr_add(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """out += keystream, mod 2^64."""
    out += _keystream(key, nonce, block, out.size).reshape(out.shape)


def aes_ctr_xor(key: bytes, nonce: int, block: int, out: U64, *, path: str | None = None) -> None:
    """out ^= keystream."""
    out ^= _keystream(key, nonce, block, out.size).reshape(out.shape)


# ---- bit planes --------------------------------------------------------------------------------


def pack_bits(bits: U8, width: int, *, path: str | None = None) -> U64:
    """n bytes (their lowest bits) to one plane, [blocks, 1, width]; padding bits are 0."""
    blocks = -(-bits.size // (64 * width))
    padded = np.zeros(blocks * width * 64, dtype=np.uint8)
    padded[: bits.size] = bits & 1
    words = np.packbits(padded, bitorder="little").view("<u8").astype(np.uint64)
    return words.reshape(blocks, 1, width)


def unpack_bits(planes: U64, n: int, *, path: str | None = None) -> U8:
    """The first n elements of one plane as bytes 0 or 1."""
    octets = np.ascontiguousarray(planes).astype("<u8").reshape(-1).view(np.uint8)
    return np.unpackbits(octets, bitorder="little")[:n]


def to_planes(values: U64, low: int, count: int, width: int, *, path: str | None = None) -> U64:
    """Plane c holds bit low + c of each value."""
    blocks = -(-values.size // (64 * width))
    planes = np.zeros((blocks, count, width), dtype=np.uint64)
    for c in range(count):
        bits = (values >> np.uint64(low + c)) & np.uint64(1)
        planes[:, c : c + 1] = pack_bits(bits.astype(np.uint8), width)
    return planes


# ---- one-hot tables ----------------------------------------------------------------------------


def _places(chunks: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(bits, first plane, first table entry) of each chunk, the most significant first."""
    plane, entry = sum(chunks), 0
    for bits in chunks:
        plane -= bits
        yield bits, plane, entry
        entry += 1 << bits


def _minterm(planes: U64, first: int, bits: int, value: int) -> U64:
    """One plane, [blocks, width]: is the chunk at planes first … first+bits-1 equal to `value`?"""
    equal = np.full_like(planes[:, 0], ONES)
    for b in range(bits):
        plane = planes[:, first + b]
        equal &= plane if value >> b & 1 else ~plane
    return equal


def xor_one_hot(planes: U64, chunks: Sequence[int], into: U64, *, path: str | None = None) -> None:
    """into[:, offset of chunk + v] ^= [chunk's value == v], for every chunk and every v."""
    for bits, first, entry in _places(chunks):
        for value in range(1 << bits):
            into[:, entry + value] ^= _minterm(planes, first, bits, value)


def lookup(
    index_planes: U64, hot: U64, chunks: Sequence[int], *, order: bool, path: str | None = None
) -> U64:
    """A share of e_i = hot_i[x_i], and with `order` of l_i = XOR of hot_i[v] over v > x_i.

    Planes e_0 … e_{m-1} without `order`; e_0 … e_{m-2}, l_0 … l_{m-1} with it.
    """
    equal, less = [], []
    for bits, first, entry in _places(chunks):
        e, lt = np.zeros_like(hot[:, 0]), np.zeros_like(hot[:, 0])
        for x in range(1 << bits):
            here = _minterm(index_planes, first, bits, x)
            e ^= here & hot[:, entry + x]
            for v in range(x + 1, 1 << bits):
                lt ^= here & hot[:, entry + v]
        equal.append(e)
        less.append(lt)
    return np.stack(equal[:-1] + less if order else equal, axis=1)


def add_public(planes: U64, number: int) -> U64:
    """The planes of x + number, as many as there are of x: ripple carry."""
    out, carry = np.empty_like(planes), np.zeros_like(planes[:, 0])
    for i in range(planes.shape[1]):
        bit, added = planes[:, i], ONES * np.uint64(number >> i & 1)
        out[:, i] = bit ^ carry ^ added
        carry = (bit & carry) | ((bit ^ carry) & added)
    return out


def lookup_many(
    index_planes: U64, hot: U64, chunks: Sequence[int], numbers: U64, *, path: str | None = None
) -> tuple[U64, U64]:
    """`lookup` of the low planes of each sum, and the plane above them."""
    sums = [add_public(index_planes, int(number)) for number in numbers]
    looked_up = [lookup(planes[:, :-1], hot, chunks, order=True) for planes in sums]
    return np.concatenate(looked_up, axis=1), np.stack([p[:, -1] for p in sums], axis=1)


# ---- ANDs of many inputs -----------------------------------------------------------------------


def _groups(fan: Sequence[int], order: bool) -> Iterator[tuple[range, list[int]]]:
    """(nodes, those of them whose e is used) of each group."""
    start = 0
    for q, size in enumerate(fan):
        nodes = range(start, start + size)
        last = order and q == len(fan) - 1
        yield nodes, list(nodes)[: size - 1 if last else size]
        start += size


def _terms(fan: Sequence[int], order: bool) -> Iterator[tuple[int | None, list[int]]]:
    """The products in their order: (j or None, S) stands for [λ_j ∧] the AND of α_i over S."""
    for nodes, used in _groups(fan, order):
        for subset in range(1 << len(used)):
            if subset.bit_count() >= 2:
                yield None, [i for b, i in enumerate(used) if subset >> b & 1]
        if order:
            for j in range(1, len(nodes)):
                for subset in range(1, 1 << j):
                    yield nodes[j], [i for b, i in enumerate(nodes[:j]) if subset >> b & 1]


def product_count(fan: Sequence[int], order: bool) -> int:
    """How many products `xor_products` makes: Q."""
    return sum(1 for _ in _terms(fan, order))


def xor_products(
    masks: U64, fan: Sequence[int], *, order: bool, into: U64, path: str | None = None
) -> None:
    """into[:, q] ^= the q-th product of the masks that one level of the tree needs."""
    nodes = sum(fan)
    for q, (j, subset) in enumerate(_terms(fan, order)):
        factors = subset if j is None else [*subset, nodes - 1 + j]
        into[:, q] ^= np.bitwise_and.reduce(masks[:, factors], axis=1)


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
    """One level of a tree of ANDs, from opened inputs and shares of masks and their products.

    A group's E' is the AND of its e; its L' is the XOR over j of l_j AND the e before it.
    """
    nodes = sum(fan)
    one = np.full_like(opened[:, 0], ONES if first else 0)
    shares: dict[tuple[int | None, tuple[int, ...]], U64] = {(None, ()): one}
    for i in range(nodes - 1 if order else nodes):
        shares[None, (i,)] = masks[:, i]
    if order:
        for j in range(nodes):
            shares[j, ()] = masks[:, nodes - 1 + j]
    for q, (factor, subset) in enumerate(_terms(fan, order)):
        shares[factor, tuple(subset)] = products[:, q]

    def expand(j: int | None, used: Sequence[int]) -> U64:
        """Share of (λ_j or 1) ∧ AND of (ê_i ⊕ α_i) over `used`, multiplied out."""
        total = np.zeros_like(opened[:, 0])
        for pick in range(1 << len(used)):
            term = shares[j, tuple(i for b, i in enumerate(used) if pick >> b & 1)].copy()
            for b, i in enumerate(used):
                if not pick >> b & 1:
                    term &= opened[:, i]
            total ^= term
        return total

    equal, less = [], []
    for group, used in _groups(fan, order):
        if len(used) == len(group):
            equal.append(expand(None, used))
        if order:
            lt = np.zeros_like(opened[:, 0])
            for position, j in enumerate(group):
                before = list(group[:position])
                lt ^= opened[:, nodes - 1 + j] & expand(None, before)
                lt ^= expand(j, before)
            less.append(lt)
    return np.stack(equal + less, axis=1)


# ---- truncation, ReLU and gates ----------------------------------------------------------------


def _carry(r: U64, divisor: int) -> tuple[U64, U64]:
    """T = r div d and D = msb(r)·(⌊(r − 2^64)/d⌋ − ⌊r/d⌋)."""
    t = [int(v) // divisor for v in r]
    d = [((int(v) - 2**64) // divisor - q) * (int(v) >> 63) for v, q in zip(r, t, strict=True)]
    return (
        np.array(t, dtype=np.uint64).reshape(r.shape),
        np.array([v % 2**64 for v in d], dtype=np.uint64).reshape(r.shape),
    )


def _spread(planes: U64, n: int) -> U64:
    return unpack_bits(planes, n).astype(np.uint64)


def _choose(bits: U64, one: U64, zero: U64) -> U64:
    return np.where(bits == 1, one, zero)


def _public(opened: U64, divisor: int, offset: int) -> tuple[U64, U64]:
    """(x̂ div d − offset, 1 − msb(x̂))."""
    quotient = np.array([int(v) // divisor for v in opened], dtype=np.uint64)
    return quotient - np.uint64(offset), np.uint64(1) - (opened >> np.uint64(63))


def truncation_correction(r: U64, divisor: int, into: U64, *, path: str | None = None) -> None:
    """into ← (T, D) − into."""
    t, d = _carry(r, divisor)
    into[0], into[1] = t - into[0], d - into[1]


def truncate_share(
    opened: U64, dealt: U64, divisor: int, offset: int, first: bool, *, path: str | None = None
) -> U64:
    """[first]·(x̂ div d − offset) − T_i − (1 − msb x̂)·D_i."""
    public, m = _public(opened, divisor, offset)
    share: U64 = np.uint64(first) * public - dealt[0] - m * dealt[1]
    return share


def relu_correction(
    r: U64, s_planes: U64, divisor: int, into: U64, *, path: str | None = None
) -> None:
    """into ← (T, D, s, s·T, s·D) − into."""
    t, d = _carry(r, divisor)
    s = _spread(s_planes, r.size)
    for row, value in enumerate((t, d, s, s * t, s * d)):
        into[row] = value - into[row]


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
    """A share of (b̂ ⊕ s)·trunc(x): b̂ is public, and s·trunc(x) is linear in what was dealt."""
    public, m = _public(opened, divisor, offset)
    flipped = _spread(flipped_planes, opened.size)
    t = np.uint64(first) * public - dealt[0] - m * dealt[1]
    u: U64 = dealt[2] * public - dealt[3] - m * dealt[4]
    return _choose(flipped, t - u, u)


def gate_correction(r: U64, s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← (s, s·r) − into."""
    s = _spread(s_planes, r.size)
    into[0], into[1] = s - into[0], s * r - into[1]


def gate_share(
    opened: U64, x_share: U64, flipped_planes: U64, dealt: U64, *, path: str | None = None
) -> U64:
    """A share of (b̂ ⊕ s)·x, with x̂ = x + r opened."""
    flipped = _spread(flipped_planes, opened.size)
    u: U64 = dealt[0] * opened - dealt[1]
    return _choose(flipped, x_share - u, u)


def bit_correction(s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← s − into."""
    into[...] = _spread(s_planes, into.size) - into


def bit_share(flipped_planes: U64, dealt: U64, first: bool, *, path: str | None = None) -> U64:
    """A ring share of b̂ ⊕ s."""
    flipped = _spread(flipped_planes, dealt.size)
    return _choose(flipped, np.uint64(first) - dealt, dealt)


# ---- staircases --------------------------------------------------------------------------------


def bits_correction(s_planes: U64, into: U64, *, path: str | None = None) -> None:
    """into ← s − into, row by row."""
    for t in range(into.shape[0]):
        bit_correction(s_planes[:, t : t + 1], into[t])


def stairs_share(
    flipped_planes: U64, dealt: U64, base: U64, steps: U64, first: bool, *, path: str | None = None
) -> U64:
    """[first]·base + steps @ bits, where the bits are shares as `bit_share` makes them."""
    out = np.repeat(base[:, None] * np.uint64(first), dealt.shape[1], axis=1)
    for t, row in enumerate(dealt):
        out += steps[:, t, None] * bit_share(flipped_planes[:, t : t + 1], row, first)
    return out


# ---- waves and exponentials --------------------------------------------------------------------

I64 = NDArray[np.int64]


def _rounded(values: I64, bits: int) -> I64:
    """values / 2^bits, to the nearest integer, halves upwards."""
    return (values + np.int64(1 << (bits - 1))) >> np.int64(bits)


def _horner(coefficients: Sequence[int], bits: Sequence[int], x: I64, x_bits: int) -> I64:
    """Σ coefficients[k]·x^k, where coefficient k has bits[k] bits after the point and x x_bits."""
    total = np.full(x.shape, coefficients[-1], np.int64)
    for k in reversed(range(len(coefficients) - 1)):
        shift = x_bits + bits[k + 1] - bits[k]
        total = _rounded(total * x, shift) + np.int64(coefficients[k])
    return total


def _circle(angle: U64) -> tuple[I64, I64]:
    """Cosine and sine of angle/2^64 turns, at 30 bits: see angles.py."""
    f = (angle >> np.uint64(30)).astype(np.uint32).view(np.int32).astype(np.int64)
    z = _rounded(f * f, 32)
    cosines, sines = angles.series().view(np.int64).tolist()
    c = _horner(cosines, angles.SERIES_BITS, z, 30)
    s = _rounded(f * _horner(sines, angles.SERIES_BITS, z, 30), 31)
    quarters = ((angle >> np.uint64(62)) + (angle >> np.uint64(61) & np.uint64(1))) % np.uint64(4)
    for k in range(1, 4):
        turned = quarters >= np.uint64(k)
        c, s = np.where(turned, -s, c), np.where(turned, c, s)
    return c, s


def _rotations(angle: U64, count: int) -> Iterator[tuple[tuple[I64, I64], tuple[I64, I64]]]:
    """For j = 1 … count, cosine and sine of j·angle: at 60 bits, and rounded to 30 bits."""
    c1, s1 = _circle(angle)
    one = np.int64(1 << 30)
    exact = c1 * one, s1 * one
    for _ in range(count):
        c, s = _rounded(exact[0], 30), _rounded(exact[1], 30)
        yield exact, (c, s)
        exact = c * c1 - s * s1, s * c1 + c * s1


def wave_correction(r: U64, turn: int, into: U64, *, path: str | None = None) -> None:
    """into ← (cos, sin of j·turn·r, at 24 bits, for j = 1, 2, …) − into."""
    for j, (exact, _) in enumerate(_rotations(r * np.uint64(turn), into.shape[0] // 2)):
        for row, value in enumerate(exact):
            into[2 * j + row] = _rounded(value, 36).view(np.uint64) - into[2 * j + row]


def wave_share(
    opened: U64,
    dealt: U64,
    turn: int,
    waves: Sequence[tuple[int, int]],
    *,
    path: str | None = None,
) -> U64:
    """Σ_j α_j·cosines + β_j·sines, where α_j − iβ_j = (C_j + iS_j)·(cos − i·sin)(j·turn·x̂)."""
    share = np.zeros_like(opened)
    for j, (_, (c, s)) in enumerate(_rotations(opened * np.uint64(turn), len(waves))):
        wave_c, wave_s = map(np.int64, waves[j])
        share += _rounded(wave_c * c + wave_s * s, 30).view(np.uint64) * dealt[2 * j]
        share += _rounded(wave_c * s - wave_s * c, 30).view(np.uint64) * dealt[2 * j + 1]
    return share


def _shifted(values: U64, count: U64) -> U64:
    """values >> count, 0 where the count is no less than 64."""
    shifted: U64 = np.where(count < np.uint64(64), values >> (count & np.uint64(63)), np.uint64(0))
    return shifted


def _rounded_shift(values: U64, count: U64) -> U64:
    """values / 2^count to the nearest integer, halves upwards; count is 1 or more."""
    return (_shifted(values, count - np.uint64(1)) + np.uint64(1)) >> np.uint64(1)


def _exponent(fraction: U64, rate: int) -> U64:
    """fraction/2^64 · rate, by partial products of 32 bits; up to 3 too small."""
    low = np.uint64(0xFFFF_FFFF)
    a, b = fraction >> np.uint64(32), fraction & low
    c, d = np.uint64(rate >> 32), np.uint64(rate) & low
    exponent: U64 = a * c + (a * d >> np.uint64(32)) + (b * c >> np.uint64(32))
    return exponent


def _power(exponent: U64) -> U64:
    """2^(the fraction of an exponent that has 58 bits after the point), at 30 bits."""
    f = (exponent >> np.uint64(26)) & np.uint64(0xFFFF_FFFF)
    v = f.astype(np.int64) - np.int64(1 << 31)
    coefficients = exponents.series().tolist()
    power: U64 = _horner(coefficients, exponents.SERIES_BITS, v, 31).view(np.uint64)
    return power


def exponential_correction(
    r: U64, scale: int, segment_bits: int, b: int, into: U64, *, path: str | None = None
) -> None:
    """into ← ([r_hi = j]·2^b·e^(−r_lo/scale) for j = 0 … M−1) − into."""
    index_bits = into.shape[0].bit_length() - 1
    low = r << np.uint64(64 - segment_bits)
    high = (r << np.uint64(64 - segment_bits - index_bits)) >> np.uint64(64 - index_bits)
    exponent = np.uint64(0) - _exponent(low, exponents.rate(scale, segment_bits))
    octaves = (np.uint64(0) - (exponent >> np.uint64(58))) & np.uint64(63)
    power = _rounded_shift(_power(exponent) << np.uint64(32), octaves + np.uint64(62 - b))
    for j in range(into.shape[0]):
        into[j] = _choose((high == np.uint64(j)).astype(np.uint64), power, power * 0) - into[j]


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
    """Σ_j A_j·dealt_j, A_j = 2^a·e^((low + (x̂ − low − j·2^l mod M·2^l))/scale), rounded."""
    index_bits = dealt.shape[0].bit_length() - 1
    bits = segment_bits + index_bits
    mantissas, shifts = exponents.factors(low, scale, segment_bits, index_bits, a)
    fraction = (opened - np.uint64(low % 2**64)) << np.uint64(64 - bits)
    exponent = _exponent(fraction, exponents.rate(scale, bits))
    power, octaves = _power(exponent), exponent >> np.uint64(58)
    high = fraction >> np.uint64(64 - index_bits)
    share = np.zeros_like(opened)
    for j in range(dealt.shape[0]):
        below = (high < np.uint64(j)).astype(np.uint64)
        mantissa = _choose(below, mantissas[j, 1], mantissas[j, 0])
        shift = _choose(below, shifts[j, 1], shifts[j, 0])
        share += _rounded_shift(power * mantissa, shift - octaves) * dealt[j]
    return share
