"""Public data files: what they are called, how long they are, and what they hash to.

A file is believed because of its SHA-256, never because of where it came from: a folder of the
user's, the cache and a download all pass through `read_verified`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tacita.errors import DataError


@dataclass(frozen=True)
class PublicFile:
    """One published file; `size` is in bytes, `sha256` in lower-case hex."""

    name: str
    size: int
    sha256: str


def read_verified(path: Path, file: PublicFile) -> bytes:
    """The bytes of `path`, which must be exactly those of `file`.

    Raises:
        DataError: the file is missing, unreadable, too short, too long or altered.
    """
    try:
        with path.open("rb") as stream:
            # One byte past the end is enough to tell that a file is too long.
            content = stream.read(file.size + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected {file.name}, {file.size} bytes") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) < file.size:
        raise DataError(f"{path}: cut short, {len(content)} of {file.size} bytes; fetch it again")
    if len(content) > file.size:
        raise DataError(f"{path}: longer than the {file.size} bytes published; fetch it again")
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise DataError(
            f"{path}: altered, its SHA-256 is {digest} instead of {file.sha256}; fetch it again"
        )
    return content
