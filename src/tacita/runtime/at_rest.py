"""The secret under which a role seals the files of its own data folder.

It protects disks and backups that leave the machine without it, not against whoever runs the role.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from tacita.errors import CredentialError
from tacita.runtime.stock_folder import on_disk, sync

SECRET_BYTES = 32
AT_REST = "at_rest.secret"


def own_secret(folder: Path) -> bytes:
    """The 32 random bytes under which a party seals its own files; made when there are none.

    folder: made if it is not there. The file is readable by its owner alone.

    Raises CredentialError for a file that others can read, that is another user's or has another
    length; MaterialError where the disk refuses. Without the secret what it sealed is lost.
    """
    path = folder / AT_REST
    with on_disk(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_secret(folder, path)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            secret = file.read(SECRET_BYTES + 1)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid != os.geteuid():
        raise CredentialError(
            f"{path} is open to others than this party's user; if nobody has read it, chown and "
            "chmod 600 it, else begin with an empty data folder"
        )
    if len(secret) != SECRET_BYTES:
        raise CredentialError(
            f"{path} has {status.st_size} bytes instead of {SECRET_BYTES}; restore it, or begin "
            "with an empty data folder"
        )
    return secret


def _make_secret(folder: Path, path: Path) -> None:
    """Appears under its name when it is whole; of several processes that make one, one wins."""
    draft = folder / f"{AT_REST}.{os.urandom(8).hex()}"
    made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(made, "wb") as file:
            file.write(os.urandom(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync(folder)
