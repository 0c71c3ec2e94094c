"""Files of records that only the holders of a secret can read, and that nobody changes unnoticed.

    header    magic ‖ version ‖ length of the label ‖ salt ‖ label, all in the clear
    record    kind ‖ final ‖ length ‖ counter, in the clear ‖ the sealed payload and its tag
    …
    the last  the same with kind 0 and final 1; its payload is the size of the whole file

Payloads are sealed with AES-256-GCM. The key is HKDF-SHA256 of the secret, salted with 32 random
bytes of the header, with the label in its info: each file has a key of its own, so the record's
counter can be the nonce. The additional data are the header's SHA-256 and the record's clear part.
A record therefore opens in its own file, in its own place, and as what it was written as.

The last record lies at a known distance from the file's end. It is looked at first: a file that was
cut or added to is refused before anything is read from it. The others are verified one by one as
they are read, each before it is handed out, so memory is bounded by one record.

Sources: RFC 5869 (HKDF), NIST SP 800-38D (GCM); a mark on the last record against cutting is the
idea of STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015).
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacita.errors import MaterialMismatch, UsageError
from tacita.ring.randomness import OneTime

VERSION = 1
PREAMBLE = struct.Struct("<16sHH32s")  # magic, version, length of the label, salt
CLEAR = struct.Struct("<BBIQ")  # kind, final, length of what is sealed, counter
SIZE = struct.Struct("<Q")

LARGEST_PAYLOAD = 1 << 20  # bytes of a record
LARGEST_LABEL = 1 << 10
LEAST_SECRET = 16
TAG_BYTES = 16
NONCE_BYTES = 12
KEY_BYTES = 32
END = 0
END_BYTES = CLEAR.size + SIZE.size + TAG_BYTES


class Form(NamedTuple):
    """What a sealed file holds; one form's keys open nothing of another.

    magic: 16 bytes that it begins with. info: goes into its key, with the label. name, remedy: what
    errors call it, and say is to be done.
    """

    magic: bytes
    info: bytes
    name: str
    remedy: str


# Whatever changes bytes on the way, line ends or end-of-file marks, changes the magic too.
MAGIC = b"tacita stock\r\n\x1a\n"
STOCK = Form(MAGIC, b"tacita stock", "stock file", "copy it again, or have another batch dealt")


class Header(NamedTuple):
    """What a file begins with. Nothing in it is to be believed before a record has opened."""

    salt: bytes
    label: bytes
    raw: bytes
    form: Form = STOCK


def read_header(file: BinaryIO, path: Path, form: Form = STOCK) -> Header:
    """The header of `file`, which is at its beginning; `path` is what errors call it.

    Raises MaterialMismatch for what is no such file, of another version, or cut.
    """
    preamble = file.read(PREAMBLE.size)
    if preamble[: len(form.magic)] != form.magic[: len(preamble)]:
        raise MaterialMismatch(f"{path} is no {form.name}; give the path of one")
    if len(preamble) < PREAMBLE.size:
        raise cut(path, form)
    _, version, length, salt = PREAMBLE.unpack(preamble)
    if version != VERSION:
        raise MaterialMismatch(
            f"{path} has format version {version}, and this Tacita reads version {VERSION}; "
            "let who writes and who reads run the same release"
        )
    if length > LARGEST_LABEL:
        raise altered(path, "a label longer than any", form)
    label = file.read(length)
    if len(label) < length:
        raise cut(path, form)
    return Header(salt, label, preamble + label, form)


def cut(path: Path, form: Form = STOCK) -> MaterialMismatch:
    return MaterialMismatch(f"{path} is cut off; {form.remedy}")


def altered(path: Path, what: str, form: Form = STOCK) -> MaterialMismatch:
    return MaterialMismatch(f"{path} was altered: {what}; {form.remedy}")


def check_secret(secret: bytes) -> None:
    """Raises UsageError for what is too short to be one. It is a random key, not a passphrase."""
    if len(secret) < LEAST_SECRET:
        raise UsageError(
            f"the secret of a sealed file has {len(secret)} bytes; "
            f"use at least {LEAST_SECRET} random ones"
        )


class Clear(NamedTuple):
    """What stands before a sealed payload."""

    kind: int
    final: int
    length: int
    counter: int


class Seal:
    """The key of one file, and what its records are bound to."""

    __slots__ = ("_cipher", "_header_digest")

    def __init__(self, header: Header, secret: bytes) -> None:
        check_secret(secret)
        key = HKDF(SHA256(), KEY_BYTES, header.salt, header.form.info + header.label).derive(secret)
        self._cipher = AESGCM(key)
        self._header_digest = hashlib.sha256(header.raw).digest()

    def close(self, clear: Clear, payload: bytes | bytearray) -> bytes:
        return self._cipher.encrypt(self._nonce(clear), payload, self._bound_to(clear))

    def open(self, clear: Clear, sealed: bytes) -> bytes:
        """Raises InvalidTag."""
        return self._cipher.decrypt(self._nonce(clear), sealed, self._bound_to(clear))

    @staticmethod
    def _nonce(clear: Clear) -> bytes:
        return clear.counter.to_bytes(NONCE_BYTES, "big")

    def _bound_to(self, clear: Clear) -> bytes:
        return self._header_digest + CLEAR.pack(*clear)


class SealedWriter(OneTime):
    """Writes the header and records of a new file; a copy would use its nonces again.

    file: empty, open for writing. label: at most 1 KiB, readable by anybody.
    Flushing and closing the file is the caller's.
    """

    __slots__ = ("_counter", "_file", "_seal", "_written")

    def __init__(self, file: BinaryIO, label: bytes, secret: bytes, form: Form = STOCK) -> None:
        if len(label) > LARGEST_LABEL:
            raise UsageError(f"a label has at most {LARGEST_LABEL} bytes, not {len(label)}")
        salt = os.urandom(32)
        raw = PREAMBLE.pack(form.magic, VERSION, len(label), salt) + label
        self._seal = Seal(Header(salt, label, raw, form), secret)
        self._file = file
        self._counter = 0
        self._written = len(raw)
        file.write(raw)

    def write(self, kind: int, payload: bytes | bytearray) -> None:
        """One record. kind: 1 to 255. payload: at most LARGEST_PAYLOAD bytes."""
        if not END < kind < 256 or len(payload) > LARGEST_PAYLOAD:
            raise UsageError(f"no record has kind {kind} and {len(payload)} bytes")
        self._append(kind, 0, payload)

    def write_whole(self, kind: int, payload: bytes) -> None:
        """Any number of bytes, in full records and one that is not full; see `read_whole`."""
        for start in range(0, len(payload) + 1, LARGEST_PAYLOAD):
            self.write(kind, payload[start : start + LARGEST_PAYLOAD])

    def end(self) -> None:
        """The last record, without which the file counts as cut."""
        self._append(END, 1, SIZE.pack(self._written + END_BYTES))

    def _append(self, kind: int, final: int, payload: bytes | bytearray) -> None:
        clear = Clear(kind, final, len(payload) + TAG_BYTES, self._counter)
        # Before writing: a write that fails halfway must not leave the nonce for another payload.
        self._counter += 1
        self._file.write(CLEAR.pack(*clear))
        self._file.write(self._seal.close(clear, payload))
        self._written += CLEAR.size + clear.length


class SealedReader:
    """Reads the records of a file in order.

    file: at the end of its header. path: what errors call it. Making one verifies that the secret
    is right and that the file ends where it was ended; it reads no other record.

    Raises MaterialMismatch, here and from `read`, for a file that is cut, added to or altered.
    """

    __slots__ = ("_at", "_counter", "_ended", "_file", "_form", "_path", "_seal", "_size")

    def __init__(self, file: BinaryIO, path: Path, header: Header, secret: bytes) -> None:
        self._file = file
        self._path = path
        self._form = header.form
        self._seal = Seal(header, secret)
        self._size = os.fstat(file.fileno()).st_size
        self._at = len(header.raw)
        self._counter = 0
        self._ended = False
        self._check_end()

    @property
    def bytes_left(self) -> int:
        """How much of the file has not been read: no honest record speaks of more than that."""
        return self._size - self._at

    def read(self) -> tuple[int, bytes] | None:
        """The next record's kind and payload, or None where the file ends as it should."""
        if self._ended:
            return None
        clear = Clear(*CLEAR.unpack(self._exactly(CLEAR.size)))
        if clear.counter != self._counter:
            raise self._altered(f"record {clear.counter} stands where {self._counter} was")
        if clear.length < TAG_BYTES or clear.length > LARGEST_PAYLOAD + TAG_BYTES:
            raise self._altered(f"record {clear.counter} has an impossible length")
        payload = self._open(clear, self._exactly(clear.length))
        self._counter += 1
        if not clear.final:
            return clear.kind, payload
        if self._at != self._size:
            raise self._altered("it goes on after its end")
        self._ended = True
        return None

    def read_whole(self, kind: int, most: int) -> bytearray | None:
        """What `write_whole` wrote next, or None for another kind or for more than `most` bytes and
        a record."""
        whole = bytearray()
        while True:
            record = self.read()
            if record is None or record[0] != kind or len(whole) > most:
                return None
            whole += record[1]
            if len(record[1]) < LARGEST_PAYLOAD:
                return whole

    def _check_end(self) -> None:
        """The last record opens, is one, and names the size that the file has."""
        if self.bytes_left < END_BYTES:
            raise cut(self._path, self._form)
        self._file.seek(self._size - END_BYTES)
        last = self._file.read(END_BYTES)
        self._file.seek(self._at)
        if len(last) < END_BYTES:
            raise cut(self._path, self._form)
        clear = Clear(*CLEAR.unpack_from(last))
        if (clear.kind, clear.final, clear.length) != (END, 1, SIZE.size + TAG_BYTES):
            raise self._altered("it does not end where it was ended, so it is cut or added to")
        (size,) = SIZE.unpack(self._open(clear, last[CLEAR.size :]))
        if size != self._size:
            raise self._altered(f"it was written with {size} bytes and has {self._size}")

    def _altered(self, what: str) -> MaterialMismatch:
        return altered(self._path, what, self._form)

    def _exactly(self, length: int) -> bytes:
        found = self._file.read(length)
        if len(found) != length:
            raise cut(self._path, self._form)
        self._at += length
        return found

    def _open(self, clear: Clear, sealed: bytes) -> bytes:
        try:
            return self._seal.open(clear, sealed)
        except InvalidTag:
            raise self._altered(
                f"the seal of record {clear.counter} does not open (or the secret is not the one "
                "that it was sealed with)",
            ) from None
