"""The IDX parser, on sound files and on every way to break one."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.data.idx import parse_gzipped_idx
from tacita.errors import DataError

SHAPE = (3, 2, 4)
ELEMENTS = bytes(range(24))


def header(magic=(0, 0, 8, 3), shape=SHAPE):
    return bytes(magic) + struct.pack(f">{len(shape)}I", *shape)


SOUND = gzip.compress(header() + ELEMENTS)


def test_reads_a_sound_file_row_major():
    array = parse_gzipped_idx(SOUND, "sound", SHAPE)
    assert array.dtype == np.uint8
    assert array.tolist() == np.arange(24).reshape(SHAPE).tolist()


def test_reads_an_empty_dimension():
    content = gzip.compress(header(shape=(0, 2, 4)))
    assert parse_gzipped_idx(content, "empty", (0, 2, 4)).shape == (0, 2, 4)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple),
    st.binary(min_size=625, max_size=625),
)
def test_round_trip(shape, noise):
    elements = noise[: int(np.prod(shape))]
    content = gzip.compress(header((0, 0, 8, len(shape)), shape) + elements)
    assert parse_gzipped_idx(content, "any", shape).tobytes() == elements


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cut short, 0 bytes"),
        (b"<html>not found</html>", "not a sound gzip file"),
        (header() + ELEMENTS, "not a sound gzip file"),
        (gzip.compress(b"\0\0"), "cut short, 2 bytes"),
        (
            gzip.compress(header((0, 0, 8, 1)) + ELEMENTS),
            "starts with 00000801 instead of 00000803",
        ),
        (gzip.compress(header((0, 0, 9, 3)) + ELEMENTS), "starts with 00000903"),
        (gzip.compress(header((1, 0, 8, 3)) + ELEMENTS), "starts with 01000803"),
        (gzip.compress(header()[:9]), "inside its header of 16 bytes"),
        (gzip.compress(header(shape=(3, 4, 2)) + ELEMENTS), r"declares shape \(3, 4, 2\)"),
        (gzip.compress(header(shape=(2**32 - 1,) * 3)), "declares shape"),
        (gzip.compress(header() + ELEMENTS[:-1]), "cut short, 39 of 40 bytes"),
        (gzip.compress(header() + ELEMENTS + b"x"), "has data after the 40 bytes"),
        (gzip.compress(header() + ELEMENTS + b"x" * 10_000_000), "has data after the 40 bytes"),
        (SOUND + b"trailing", "8 bytes follow the gzip stream"),
        (SOUND + SOUND, "bytes follow the gzip stream"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(content, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        parse_gzipped_idx(content, "some/file.gz", SHAPE)
    assert str(caught.value).startswith("some/file.gz: ")


def test_every_cut_is_noticed():
    for length in range(len(SOUND)):
        with pytest.raises(DataError):
            parse_gzipped_idx(SOUND[:length], "cut", SHAPE)


def test_every_altered_byte_of_the_content_is_noticed():
    """From byte 10 on: before it stand gzip's time stamp and flags, which mean nothing here."""
    for place in range(10, len(SOUND)):
        altered = bytearray(SOUND)
        altered[place] ^= 0x41
        with pytest.raises(DataError):
            parse_gzipped_idx(bytes(altered), "altered", SHAPE)
