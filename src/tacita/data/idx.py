"""The IDX format of MNIST, gzip-compressed, read with every length checked.

An IDX file is: two zero bytes, one byte for the element type (8: unsigned byte), one byte for the
number of dimensions, each dimension as a big-endian 32-bit count, then the elements, row-major.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt

from tacita.errors import DataError

UNSIGNED_BYTE = 0x08
GZIP = 16 + zlib.MAX_WBITS


def parse_gzipped_idx(content: bytes, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The array in `content`, a gzip-compressed IDX file of unsigned bytes.

    Never inflates more than one byte past what `shape` needs, whatever the file claims.

    Args:
        content: the compressed file.
        name: what error messages call the file.
        shape: the shape that the file must declare.

    Returns:
        A read-only array, uint8 [*shape].

    Raises:
        DataError: not gzip, cut, followed by other bytes, or not this type and shape.
    """
    header_length = 4 + 4 * len(shape)
    inflater = zlib.decompressobj(GZIP)
    length = header_length + math.prod(shape)
    try:
        # Room for one byte more: it shows excess data, and lets zlib reach the stream's checksum.
        inflated = inflater.decompress(content, length + 1)
    except zlib.error as error:
        raise DataError(f"{name}: not a sound gzip file: {error}") from error

    _check_header(inflated[:header_length], name, shape)
    if len(inflated) > length:
        raise DataError(f"{name}: has data after the {length} bytes that its header declares")
    if len(inflated) < length or not inflater.eof:
        raise DataError(f"{name}: cut short, {len(inflated)} of {length} bytes when unpacked")
    if inflater.unused_data:
        raise DataError(f"{name}: {len(inflater.unused_data)} bytes follow the gzip stream")
    return np.frombuffer(inflated, np.uint8, offset=header_length).reshape(shape)


def _check_header(header: bytes, name: str, shape: tuple[int, ...]) -> None:
    if len(header) < 4:
        raise DataError(f"{name}: cut short, {len(header)} bytes when unpacked")
    wanted = bytes((0, 0, UNSIGNED_BYTE, len(shape)))
    if header[:4] != wanted:
        raise DataError(
            f"{name}: not an IDX file of unsigned bytes in {len(shape)} dimensions: it starts "
            f"with {header[:4].hex()} instead of {wanted.hex()}"
        )
    if len(header) < 4 + 4 * len(shape):
        raise DataError(f"{name}: cut short inside its header of {4 + 4 * len(shape)} bytes")
    declared = tuple(np.frombuffer(header, ">u4", offset=4).tolist())
    if declared != shape:
        raise DataError(f"{name}: declares shape {declared} where {shape} was expected")
