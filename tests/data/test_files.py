"""A file is believed for its length and SHA-256 alone."""

import hashlib

import pytest

from tacita.data.files import PublicFile, read_verified
from tacita.errors import DataError

CONTENT = b"the published bytes"
FILE = PublicFile("published.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_the_published_bytes_are_returned(tmp_path):
    path = tmp_path / "published.bin"
    path.write_bytes(CONTENT)
    assert read_verified(path, FILE) == CONTENT


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cut short, 0 of 19 bytes"),
        (CONTENT[:-1], "cut short, 18 of 19 bytes"),
        (CONTENT + b"!", "longer than the 19 bytes"),
        (CONTENT.replace(b"p", b"q", 1), "altered, its SHA-256 is"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, content, complaint):
    path = tmp_path / "published.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_verified(path, FILE)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"published\.bin: no such file"):
        read_verified(tmp_path / "published.bin", FILE)


def test_a_folder_in_the_file_s_place_is_an_error_of_the_tree(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_verified(tmp_path, FILE)
