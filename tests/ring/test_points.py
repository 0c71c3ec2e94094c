"""Point functions: vectors, the whole of small domains, the edges of large ones, twins, arguments.

The vectors come from another implementation, written from the formulas alone: one element at a
time, nodes as Python integers of 128 bits, AES of single blocks.
"""

import hashlib

import numpy as np
import pytest

from tacita.ring import kernels, points, points_twin

U64 = np.uint64
SIZES = (0, 1, 15, 16, 17, 33, 1000)
ALIKE = (points.greater, points_twin.greater), (points.equal, points_twin.equal)

PERMUTATION = np.frombuffer(bytes(range(16)), "<u8").astype(U64)
ROOTS = np.frombuffer(bytes([*range(0x10, 0x20), *range(0xA0, 0xB0)]), "<u8").astype(U64)
# (bits, α, the leaf's correction, SHA-256 of all corrections from the top down, shares of [α > p],
# shares of [α = p]); shares of the first party and of the other, for the points of `around`.
VECTORS = (
    (
        5,
        19,
        "f6aa94d642659ffa6db70da780558bca",
        "7fbd5bfc99eec516a52813a28f93126e6aab871f0810bdd4efc1be77bb5aa27b",
        ("1111010", "0011001"),
        ("0000110", "0010110"),
    ),
    (
        7,
        100,
        "f6aa9cd642659ffa6db70da790558bca",
        "9d3229bd98e51652d20f6685df601143369042f2b443d7cc740c95dd1a6b7651",
        ("1011000", "0111011"),
        ("0110100", "0100100"),
    ),
    (
        9,
        333,
        "ddaf64f01a9c253b4889122bb5106ca9",
        "6b4f00c34129521464c5b6e770d49491d96fa4fa802ac325115739ae03f7d50e",
        ("0000000", "1100011"),
        ("0100001", "0110001"),
    ),
    (
        32,
        0x92345678,
        "52d9ad9c26f3fc0a78424f98b8f0748e",
        "544528edee10ae5332de5c198b46c5c5d2b75d5220e69717bee3efc04101150f",
        ("1111001", "0011010"),
        ("1100010", "1110010"),
    ),
    (
        63,
        0x7FFFFFFFFFFFCFC6,
        "0d80ad2af484bfcf4fc79079d56cac52",
        "260b1729ec8dac25fbf34715a303f20e2953075363ef6659dac711bf2e7444f9",
        ("0110011", "1010000"),
        ("0101010", "0111010"),
    ),
)


@pytest.fixture(params=kernels.aes_paths())
def aes(request):
    return request.param


def low(bits):
    return U64((1 << bits) - 1)


def around(alpha, bits):
    top = 1 << bits
    numbers = [0, alpha - 1, alpha, alpha + 1, top - 1, alpha ^ top >> 1, alpha // 2]
    return np.array([[number % top] for number in numbers], U64)


def key_of(alpha, roots, bits, permutation, **how):
    into = np.full(points.key_words(alpha.size, bits), 0xABAD, U64)
    points.generate(alpha, roots, bits, permutation, into, **how)
    return into


def opened(compare, numbers, roots, keys, bits, permutation, **how):
    """The two parties' shares put together."""
    shares = [
        compare(numbers, roots[party], keys, bits, permutation, party == 0, **how)
        for party in (0, 1)
    ]
    assert all(share.dtype == np.uint8 and share.max(initial=0) <= 1 for share in shares)
    return shares[0] ^ shares[1]


# ---- vectors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector[0]} bits")
def test_vectors(aes, vector):
    bits, alpha, leaf, digest, greater, equal = vector
    roots = ROOTS.reshape(2, 1, 2)
    keys = key_of(np.array([alpha], U64), roots, bits, PERMUTATION, path=aes)
    octets = keys.astype("<u8").tobytes()
    assert octets[-16:].hex() == leaf
    assert hashlib.sha256(octets).hexdigest() == digest
    for compare, expected in ((points.greater, greater), (points.equal, equal)):
        for party, shares in enumerate(expected):
            got = compare(
                around(alpha, bits), roots[party], keys, bits, PERMUTATION, party == 0, path=aes
            )
            assert "".join(map(str, got[:, 0])) == shares


def test_another_leaf_changes_its_point_alone(aes, words):
    """The corrections count on α's path only: elsewhere the parties' nodes are the same."""
    bits, n, every = 9, 17, np.arange(512, dtype=U64)
    alpha, roots, permutation = words(n) & low(bits), words(2, n, 2), words(2)
    keys = key_of(alpha, roots, bits, permutation, path=aes)
    altered = points_twin.in_levels(keys, n, points.levels(bits) + 1)
    altered[-1, :, 1] ^= U64(1 << 6)  # bit 70 of each leaf
    altered = points_twin.in_blocks(altered)
    numbers = np.repeat(every[:, None], n, axis=1)
    before, after = (
        opened(points.equal, numbers, roots, key, bits, permutation, path=aes)
        for key in (keys, altered)
    )
    flipped = numbers == (alpha & ~U64(127)) + U64(70)
    np.testing.assert_array_equal(before ^ after, flipped)


def test_another_level_changes_the_path(aes, words):
    """The expected failure of everything here that comes out right."""
    bits, n = 16, 100
    alpha, roots, permutation = words(n) & low(bits), words(2, n, 2), words(2)
    keys = key_of(alpha, roots, bits, permutation, path=aes)
    altered = points_twin.in_levels(keys, n, points.levels(bits) + 1)
    altered[3, :, 0] ^= U64(1 << 5)
    altered = points_twin.in_blocks(altered)
    for key, right in ((keys, n), (altered, None)):
        found = opened(points.equal, alpha[None], roots, key, bits, permutation, path=aes)
        assert found.sum() == right if right is not None else 0 < found.sum() < n


# ---- what comes out is right -------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 10))
def test_every_number_against_every_point(aes, words, bits):
    alpha = np.arange(1 << bits, dtype=U64)
    numbers = np.repeat(alpha[:, None], alpha.size, axis=1)
    roots, permutation = words(2, alpha.size, 2), words(2)
    keys = key_of(alpha, roots, bits, permutation, path=aes)
    greater = opened(points.greater, numbers, roots, keys, bits, permutation, path=aes)
    np.testing.assert_array_equal(greater, alpha > numbers)
    equal = opened(points.equal, numbers, roots, keys, bits, permutation, path=aes)
    np.testing.assert_array_equal(equal, alpha == numbers)


@pytest.mark.parametrize("bits", [16, 31, 32, 63, 64])
@pytest.mark.parametrize("size", SIZES)
def test_the_edges_of_large_domains(words, bits, size):
    alpha = words(size) & low(bits)
    alpha[:2] = [0, low(bits)][: alpha.size]
    numbers = np.stack(
        [words(size), alpha, alpha - U64(1), alpha + U64(1), words(size) & U64(1), ~words(size)]
    ) & low(bits)
    roots, permutation = words(2, size, 2), words(2)
    keys = key_of(alpha, roots, bits, permutation)
    greater = opened(points.greater, numbers, roots, keys, bits, permutation)
    np.testing.assert_array_equal(greater, alpha > numbers)
    equal = opened(points.equal, numbers, roots, keys, bits, permutation)
    np.testing.assert_array_equal(equal, alpha == numbers)


def test_what_lies_above_the_bits_means_nothing(aes, words):
    bits, n = 13, 40
    alpha, numbers, roots, permutation = words(n), words(3, n), words(2, n, 2), words(2)
    numbers[1] = alpha
    keys = key_of(alpha, roots, bits, permutation, path=aes)
    greater = opened(points.greater, numbers, roots, keys, bits, permutation, path=aes)
    np.testing.assert_array_equal(greater, (alpha & low(bits)) > (numbers & low(bits)))
    same = key_of(alpha & low(bits), roots, bits, permutation, path=aes)
    np.testing.assert_array_equal(keys, same)


def test_control_bits_are_set_here(aes, words):
    """Roots are raw words: their lowest bits do not count."""
    alpha, numbers, roots, permutation = words(20), words(1, 20), words(2, 20, 2), words(2)
    other = roots.copy()
    other[:, :, 0] ^= U64(1)
    keys = key_of(alpha, roots, 20, permutation, path=aes)
    np.testing.assert_array_equal(keys, key_of(alpha, other, 20, permutation, path=aes))
    for first in (True, False):
        shares = [
            points.greater(numbers, root[1], keys, 20, permutation, first, path=aes)
            for root in (roots, other)
        ]
        np.testing.assert_array_equal(*shares)


# ---- kernels and their twins -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 6, 7, 8, 16, 31, 32, 63, 64])
@pytest.mark.parametrize("size", [*SIZES, 31, 32, 64, 79])
def test_equals_twin(aes, words, bits, size):
    alpha, roots, permutation = words(size), words(2, size, 2), words(2)
    expected = np.zeros(points.key_words(size, bits), U64)
    points_twin.generate(alpha, roots, bits, permutation, expected)
    keys = key_of(alpha, roots, bits, permutation, path=aes)
    np.testing.assert_array_equal(keys, expected)
    for thresholds in (0, 1, 3):
        numbers = words(thresholds, size)
        for compare, twin in ALIKE:
            for first in (True, False):
                root = roots[0 if first else 1]
                np.testing.assert_array_equal(
                    compare(numbers, root, keys, bits, permutation, first, path=aes),
                    twin(numbers, root, keys, bits, permutation, first),
                )


def test_dispatch_paths_stand_for_a_cipher(path, words):
    alpha, roots, permutation = words(33), words(2, 33, 2), words(2)
    np.testing.assert_array_equal(
        key_of(alpha, roots, 24, permutation, path=path), key_of(alpha, roots, 24, permutation)
    )


def test_words_of_a_key():
    assert [points.levels(bits) for bits in (1, 7, 8, 32, 64)] == [0, 0, 1, 25, 57]
    assert points.key_words(0, 32) == 0
    assert 8 * points.key_words(1, 32) == 416  # bytes


def test_blocks_of_a_key(words):
    """[levels + 1, elements, 2] for each 16 elements, and for what is left of them."""
    rows = words(3, 37, 2)
    flat = points_twin.in_blocks(rows)
    whole = flat[: 2 * 3 * 32].reshape(2, 3, 16, 2)
    np.testing.assert_array_equal(whole[1, 2], rows[2, 16:32])
    np.testing.assert_array_equal(flat[2 * 3 * 32 :].reshape(3, 5, 2), rows[:, 32:])
    np.testing.assert_array_equal(points_twin.in_levels(flat, 37, 3), rows)


# ---- arguments ---------------------------------------------------------------------------------

z = lambda *shape: np.zeros(shape, U64)  # noqa: E731
GENERATE = {
    "alpha": z(5),
    "roots": z(2, 5, 2),
    "bits": 9,
    "permutation": z(2),
    "into": z(2 * 3 * 5),
}
WALK = {
    "points": z(3, 5),
    "root": z(5, 2),
    "keys": z(2 * 3 * 5),
    "bits": 9,
    "permutation": z(2),
    "first": True,
}
SHARED = z(30)
READ_ONLY = z(30)
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("alpha", z(1, 5)),
        ("alpha", np.zeros(5, np.int64)),
        ("alpha", z(10)[::2]),
        ("alpha", [0] * 5),
        ("roots", z(2, 4, 2)),
        ("roots", z(10, 2)),
        ("bits", 0),
        ("bits", points.MAX_BITS + 1),
        ("bits", 9.0),
        ("permutation", z(3)),
        ("permutation", bytes(16)),
        ("into", z(29)),
        ("into", z(31)),
        ("into", z(3, 5, 2)),
        ("into", np.zeros(30)),
        ("into", READ_ONLY),
    ],
)
def test_generate_refuses(aes, name, bad):
    arguments = GENERATE | {"into": z(30), name: bad}
    with pytest.raises(ValueError, match=f"^{name}: "):
        points.generate(**arguments, path=aes)
    assert name == "into" or not arguments["into"].any()


def test_generate_refuses_to_overwrite_its_arguments(aes):
    with pytest.raises(ValueError, match=r"^into: shares memory with alpha"):
        points.generate(**(GENERATE | {"alpha": SHARED[:5], "into": SHARED}), path=aes)


@pytest.mark.parametrize("compare", [points.greater, points.equal])
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("points", z(5)),
        ("points", np.zeros((3, 5), np.uint32)),
        ("points", z(5, 3).T),
        ("points", [[0] * 5] * 3),
        ("root", z(2, 5, 2)),
        ("root", z(4, 2)),
        ("keys", z(28)),
        ("keys", z(32)),
        ("keys", np.zeros(30, np.int64)),
        ("bits", 0),
        ("bits", points.MAX_BITS + 1),
        ("permutation", z(1)),
    ],
)
def test_a_comparison_refuses(aes, compare, name, bad):
    with pytest.raises(ValueError, match=f"^{name}: "):
        compare(**(WALK | {name: bad}), path=aes)


def test_an_unknown_path():
    with pytest.raises(ValueError, match=r"^path: 'sse9'"):
        points.equal(**WALK, path="sse9")
