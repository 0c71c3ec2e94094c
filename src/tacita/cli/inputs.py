"""From the files that `tacita predict` is given to arrays for a model's inputs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tacita.client.published import Field
from tacita.errors import DataError, ShapeError, UsageError

Values = NDArray[Any]

ARRAY, ARRAYS = ".npy", ".npz"
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
DAMAGE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)
MODES = {1: "L", 3: "RGB"}  # by an input's channels


def arrays_from(paths: Sequence[Path], fields: Sequence[Field]) -> list[Values]:
    """One array for each input of a model, in order.

    A .npy file is one input; a .npz file is all of them, by name; images are rows of the only
    input. Raises DataError for what cannot be read, ShapeError and UsageError for what
    does not fit.
    """
    kinds = {path.suffix.lower() for path in paths}
    if kinds and kinds <= set(IMAGES):
        if len(fields) != 1:
            raise UsageError(f"images are rows of one input, and this model takes {len(fields)}")
        return [np.stack([_image(path, fields[0]) for path in paths])]
    if kinds == {ARRAYS} and len(paths) == 1:
        return _named(paths[0], fields)
    if kinds != {ARRAY}:
        raise UsageError(
            f"give .npy files, one .npz file, or images ({', '.join(IMAGES)}), not "
            f"{', '.join(str(path) for path in paths)}"
        )
    if len(paths) != len(fields):
        raise UsageError(
            f"the model takes {len(fields)} inputs ({', '.join(map(str, fields))}): give a .npy "
            f"file for each, in this order, not {len(paths)}"
        )
    return [_numbers(_loaded(path), str(path)) for path in paths]


def _named(path: Path, fields: Sequence[Field]) -> list[Values]:
    held = _loaded(path)
    names = [field.name for field in fields]
    with held:
        if sorted(names) != sorted(held.files):
            raise DataError(
                f"{path} has the arrays {', '.join(held.files) or '(none)'}, and the model takes "
                f"{', '.join(names)}: save them as np.savez(file, {names[0]}=…)"
                + (", or the only input as .npy" if len(names) == 1 else "")
            )
        try:
            return [_numbers(held[name], f"{path}, {name}") for name in names]
        except DAMAGE as error:
            raise DataError(f"{path} is damaged: {type(error).__name__}") from None


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except DAMAGE as error:
        raise DataError(f"{path} is no file of NumPy's arrays: {type(error).__name__}") from None


def _numbers(values: object, what: str) -> Values:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise DataError(f"{what} does not hold one array of numbers")
    return values


def _image(path: Path, field: Field) -> Values:
    """Float32 [channels, height, width], 0 to 1; never resized. Raises DataError, ShapeError."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UsageError(
            f"reading {path} needs Pillow: pip install 'tacita[images]', or give arrays as .npy"
        ) from None
    if len(field.shape) != 4 or field.shape[1] not in MODES:
        raise ShapeError(
            f"the model takes {field}, which is no batch of grey or RGB images: give arrays as .npy"
        )
    _, channels, height, width = field.shape
    try:
        with Image.open(path) as image:
            if image.size != (width, height):
                raise ShapeError(
                    f"{path} is {image.size[0]}×{image.size[1]} pixels, and the model takes "
                    f"{width}×{height}: images are not resized here, since how matters"
                )
            if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
                raise DataError(
                    f"{path} has transparent pixels ({image.mode}), and the model knows none: put "
                    "the image on a background first, since which matters"
                )
            pixels = np.asarray(image.convert(MODES[channels]), np.float32) / 255
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no image that can be read: {type(error).__name__}") from None
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)
