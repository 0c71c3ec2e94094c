"""Where a single public file is found: the folder that TACITA_DATA names, the cache, its home."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile, read_verified
from tacita.data.sources import FOLDER_VARIABLE, cache_folder
from tacita.errors import DataError


def lookup(
    file: PublicFile,
    folder: str,
    mirrors: Sequence[str],
    *,
    download: bool,
    downloader: Downloader | None,
) -> Path:
    """Where `file` is to be read; fetched into the cache if that has none that is sound.

    folder: under which the file lies, both in the folder that TACITA_DATA names and in the cache.

    Raises:
        OfflineError: neither has it, and its home is not reached, or is not to be asked.
        DataError: TACITA_DATA names a folder without it; its home sent something else.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        path = Path(named).expanduser() / folder / file.name
        if not path.is_file():
            raise DataError(
                f"{FOLDER_VARIABLE} is {named!r}, and there is no {path}; put the file there, or "
                f"unset {FOLDER_VARIABLE} to have it fetched"
            )
        return path
    cache = cache_folder(folder)
    path = cache / file.name
    try:
        read_verified(path, file)
    except DataError as lack:
        try:
            if not download:
                raise OfflineError("downloads were declined (download=False)")
            (downloader or Downloader(tuple(mirrors))).fetch([file], cache)
        except OfflineError as reason:
            raise OfflineError(
                f"{lack}. It cannot be fetched: {reason}. Let {FOLDER_VARIABLE} name a folder with "
                f"{folder}/{file.name}"
            ) from reason
    return path
