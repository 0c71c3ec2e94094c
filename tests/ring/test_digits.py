"""Digits of private comparisons: the kernels are their twins, and what they say is what holds."""

import numpy as np
import pytest

from tacita.ring import digits, digits_twin

U64 = np.uint64
BITS = (1, 2, 7, 8, 15, 16, 31, 32, 63, 64)  # digits at both sides of words and vectors
FEW = (0, 1, 3, 15, 16, 17, 33)
GUARD = U64(0xABAD)


def room(n, count):
    """Words for the packed digits of n elements, and a row that has to stay as it is."""
    return np.full((n + 1, digits.words(count)), GUARD, U64)


def both(name, shape, *arguments, **how):
    """What a kernel writes, after its twin was found to write the same."""
    path = how.pop("path")
    written, expected = (room(*shape) for _ in range(2))
    getattr(digits, name)(*arguments, into=written[:-1], path=path, **how)
    getattr(digits_twin, name)(*arguments, into=expected[:-1], **how)
    np.testing.assert_array_equal(written, expected)
    return written[:-1]


@pytest.mark.parametrize("bits", BITS)
def test_shares_of_digits(path, words, bits):
    for n in FEW:
        seeds, r = words(n, bits), words(n)
        own = both("drawn", (n, bits), seeds, path=path)
        lacking = both("lacking", (n, bits), seeds, r, path=path)
        sums = digits_twin.unpacked(own, bits) + digits_twin.unpacked(lacking, bits)
        np.testing.assert_array_equal(sums % 67, digits_twin.bits_of(r, bits))


def test_shares_of_many(path, words, size):
    seeds, r = words(size, 21), words(size)
    both("drawn", (size, 21), seeds, path=path)
    both("lacking", (size, 21), seeds, r, path=path)


def said(path, words, places, r, flips, bits, order):
    """What both parties tell the dealer."""
    n = len(r)
    seeds = words(n, bits)
    own, lacking = (np.empty((n, digits.words(bits)), U64) for _ in range(2))
    digits.drawn(seeds, own)
    digits.lacking(seeds, r, lacking)
    common = words(n, bits + 1), words(n, bits + 1), words(n)
    return [
        both(
            "hidden",
            (n, bits + 1),
            *(places, share, flips, *common, bits),
            first=first,
            order=order,
            path=path,
        )
        for share, first in ((own, True), (lacking, False))
    ]


@pytest.mark.parametrize("order", [True, False], ids=["order", "equality"])
@pytest.mark.parametrize("bits", BITS)
def test_what_is_said_and_found(path, words, bits, order):
    low = U64((1 << bits) - 1)
    for n in FEW:
        places, r = words(n), words(n)
        r[::3] = places[::3]
        flips = np.arange(n, dtype=np.uint8) // 3 & 1
        one, other = said(path, words, places, r, flips, bits, order)
        zero = digits.found(one, other, bits + 1, path=path)
        np.testing.assert_array_equal(zero, digits_twin.found(one, other, bits + 1))
        p, r = places & low, r & low
        np.testing.assert_array_equal(zero, ((r > p) if order else (r == p)) ^ flips)


@pytest.mark.parametrize("order", [True, False], ids=["order", "equality"])
def test_what_is_said_of_many(path, words, size, order):
    flips = words(size).astype(np.uint8) & 1
    one, other = said(path, words, words(size), words(size), flips, 21, order)
    np.testing.assert_array_equal(
        digits.found(one, other, 22, path=path), digits_twin.found(one, other, 22)
    )


@pytest.mark.parametrize("bits", BITS)
def test_every_rotation(path, words, bits):
    """Each of them twice, with the least and the greatest word that stand for it."""
    count = bits + 1
    least = [-(-(turn << 64) // count) for turn in range(count)]
    turns = np.array([*least, *(each - 1 for each in least[1:]), (1 << 64) - 1], U64)
    n = len(turns)
    share, flips = words(n, digits.words(bits)), np.zeros(n, np.uint8)
    factors, summands = words(1, count).repeat(n, axis=0), words(1, count).repeat(n, axis=0)
    share[:] = share[0]
    arguments = (np.zeros(n, U64), share, flips, factors, summands, turns, bits)
    told = both("hidden", (n, count), *arguments, first=True, order=True, path=path)
    told = digits_twin.unpacked(told, count)
    expected = [np.roll(told[0], -turn) for turn in [*range(count), *range(count - 1), bits]]
    np.testing.assert_array_equal(told, expected)


def test_bytes_that_are_no_digits(path, words):
    """A sender's bytes are anything: they count modulo 67, and none after the last digit counts."""
    for bits in (1, 7, 8, 20, 64):
        n, count = 37, bits + 1
        share, flips = words(n, digits.words(bits)), np.ones(n, np.uint8)
        common = words(n, count), words(n, count), words(n)
        for order in (True, False):
            arguments = (words(n), share, flips, *common, bits)
            both("hidden", (n, count), *arguments, first=False, order=order, path=path)
        one, other = words(n, digits.words(count)), words(n, digits.words(count))
        one[::2], other[::2] = U64(0x0102030405060708), U64(0)  # nothing here is 0
        zero = digits.found(one, other, count, path=path)
        np.testing.assert_array_equal(zero, digits_twin.found(one, other, count))
        assert not zero[::2].any()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 65])
def test_a_zero_in_any_place_is_found(path, count):
    """And a pair that adds up to 67 in any place, but nothing in the places after the last."""
    n = 2 * count + 1
    one, other = (np.ones((n, count), np.uint8) for _ in range(2))
    for place in range(count):
        one[place, place] = other[place, place] = 0
        one[count + place, place], other[count + place, place] = 66, 1
    one, other = digits_twin.packed(one), digits_twin.packed(other)
    zero = digits.found(one, other, count, path=path)
    np.testing.assert_array_equal(zero, [1] * (2 * count) + [0])


# ---- arguments ---------------------------------------------------------------------------------

z = lambda *shape: np.zeros(shape, U64)  # noqa: E731
READ_ONLY = z(5, 2)
READ_ONLY.setflags(write=False)
HIDDEN = {
    "places": z(5),
    "share": z(5, 2),
    "flips": np.zeros(5, np.uint8),
    "factors": z(5, 10),
    "summands": z(5, 10),
    "turns": z(5),
    "bits": 9,
    "into": z(5, 2),
    "first": True,
    "order": True,
}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("places", z(1, 5)),
        ("places", np.zeros(5, np.int64)),
        ("places", z(10)[::2]),
        ("share", z(5, 1)),
        ("share", z(4, 2)),
        ("flips", z(5)),
        ("flips", np.zeros(4, np.uint8)),
        ("factors", z(5, 9)),
        ("factors", z(10, 5).T),
        ("summands", z(4, 10)),
        ("turns", z(6)),
        ("bits", 0),
        ("bits", 65),
        ("into", z(5, 3)),
        ("into", READ_ONLY),
    ],
)
def test_hidden_refuses(name, bad):
    with pytest.raises(ValueError, match=f"^{name}: "):
        digits.hidden(**(HIDDEN | {name: bad}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("seeds", z(5)),
        ("seeds", z(5, 0)),
        ("seeds", z(5, 65)),
        ("seeds", z(4, 9)),
        ("r", z(5, 1)),
        ("into", z(5, 1)),
        ("into", READ_ONLY),
    ],
)
def test_shares_refuse(name, bad):
    arguments = {"seeds": z(5, 9), "r": z(5), "into": z(5, 2)} | {name: bad}
    with pytest.raises(ValueError, match=f"^{name}: "):
        digits.lacking(**arguments)
    if name != "r" and bad.shape != (4, 9):
        del arguments["r"]
        with pytest.raises(ValueError, match=f"^{name}: "):
            digits.drawn(**arguments)


@pytest.mark.parametrize("name", ["seeds", "r"])
def test_nothing_is_written_over_what_is_read(name):
    both_in = z(5)
    arguments = {"seeds": z(5, 1), "r": z(5)} | {
        name: both_in.reshape(5, 1) if name == "seeds" else both_in
    }
    with pytest.raises(ValueError, match=f"^into: shares memory with {name}"):
        digits.lacking(**arguments, into=both_in.reshape(5, 1))


@pytest.mark.parametrize(
    ("name", "bad"),
    [("one", z(5)), ("one", z(5, 3)), ("other", z(4, 2)), ("digits", 0), ("digits", 66)],
)
def test_found_refuses(name, bad):
    arguments = {"one": z(5, 2), "other": z(5, 2), "digits": 10} | {name: bad}
    with pytest.raises(ValueError, match=f"^{name}: "):
        digits.found(arguments["one"], arguments["other"], arguments["digits"])


def test_an_unknown_path():
    with pytest.raises(ValueError, match=r"^path: 'sse9'"):
        digits.found(z(5, 2), z(5, 2), 10, path="sse9")
