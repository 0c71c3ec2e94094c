"""Public files over HTTPS into a folder, whole and verified or not at all."""

from __future__ import annotations

import hashlib
import os
import queue
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tacita.data.files import PublicFile
from tacita.errors import DataError

ANSWER_WITHIN = 2.4
"""Seconds in which some mirror must answer: name look-up, connection, TLS and all."""
SILENCE_LIMIT = httpx.Timeout(10.0)
"""How long a transfer may stand still."""
TRANSFER_LIMIT = 600.0
"""Seconds for one file; a mirror that drips is given up."""


class OfflineError(DataError):
    """No mirror delivered, and none delivered anything wrong: as good as offline."""


class Downloader:
    """Fetches public files from mirrors, the first that delivers.

    Args:
        mirrors: base addresses, ending in a slash, in order of preference.
        transport: what carries the requests; None for the network.
        answer_within: seconds that the mirrors have to answer; later ones are not used.

    Raises:
        DataError: a mirror's address is not HTTPS.
    """

    def __init__(
        self,
        mirrors: Sequence[str],
        transport: httpx.BaseTransport | None = None,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        for mirror in mirrors:
            if not mirror.startswith("https://"):
                raise DataError(f"{mirror}: mirrors are asked over HTTPS only")
        self.mirrors = tuple(mirrors)
        self._transport = transport
        self._answer_within = answer_within

    def fetch(self, files: Iterable[PublicFile], folder: Path) -> None:
        """Put every one of `files` that is missing or altered there into `folder`.

        A file appears under its name only when all of it is there and its SHA-256 is right.

        Raises:
            OfflineError: no mirror answered or had the file.
            DataError: what a mirror sent is not the file, or `folder` cannot be written.
        """
        files = tuple(files)
        if not files:
            return
        mirrors = self._answering(files[0])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._client() as client, _progress() as bar:
                for file in files:
                    self._fetch_one(client, mirrors, file, folder, bar)
        except OSError as error:
            raise DataError(
                f"{folder}: downloads cannot be kept there: {error.strerror or error}"
            ) from error

    def _client(self) -> httpx.Client:
        # Mirrors store the compressed file as such: ask for these bytes and no coding above them.
        return httpx.Client(
            transport=self._transport,
            timeout=SILENCE_LIMIT,
            headers={"Accept-Encoding": "identity"},
        )

    def _answering(self, file: PublicFile) -> list[str]:
        """The mirrors that answer at all, in order; the others are not tried again.

        A name look-up may hang for longer than any timeout of a socket, hence threads that are
        left behind at the deadline.
        """
        answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()

        def ask(mirror: str) -> None:
            try:
                with self._client() as client:
                    client.head(mirror + file.name)
                answers.put((mirror, None))
            except Exception as error:  # a broken proxy setting, say: silence like any other
                answers.put((mirror, f"{type(error).__name__}: {error}"))

        for mirror in self.mirrors:
            threading.Thread(target=ask, args=(mirror,), daemon=True).start()
        deadline = time.monotonic() + self._answer_within
        silent = dict.fromkeys(self.mirrors, f"no answer in {self._answer_within} s")
        answered = set()
        for _ in self.mirrors:
            try:
                mirror, failure = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if failure is None:
                answered.add(mirror)
            else:
                silent[mirror] = failure
        if not answered:
            raise OfflineError(
                "no mirror can be reached: "
                + "; ".join(f"{mirror} ({why})" for mirror, why in silent.items())
            )
        return [mirror for mirror in self.mirrors if mirror in answered]

    def _fetch_one(
        self,
        client: httpx.Client,
        mirrors: Sequence[str],
        file: PublicFile,
        folder: Path,
        bar: Progress,
    ) -> None:
        task = bar.add_task(file.name, total=file.size)
        failures: list[DataError] = []
        for mirror in mirrors:
            descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=folder)
            partial = Path(name)
            bar.reset(task)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    for chunk in _verified_chunks(client, mirror + file.name, file):
                        stream.write(chunk)
                        bar.advance(task, len(chunk))
                    stream.flush()
                    os.fsync(stream.fileno())
                partial.replace(folder / file.name)
                return
            except DataError as failure:
                failures.append(failure)
            finally:
                partial.unlink(missing_ok=True)
        # A mirror that sends wrong bytes is a different matter from one that sends none.
        kind = OfflineError if all(isinstance(f, OfflineError) for f in failures) else DataError
        raise kind(f"{file.name} cannot be fetched: " + "; ".join(map(str, failures)))


def _verified_chunks(client: httpx.Client, url: str, file: PublicFile) -> Iterator[bytes]:
    """The content at `url`; ends without an error only if it was exactly `file`."""
    digest = hashlib.sha256()
    received = 0
    deadline = time.monotonic() + TRANSFER_LIMIT
    try:
        with client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise OfflineError(f"{url}: HTTP status {response.status_code}")
            for chunk in response.iter_raw():
                received += len(chunk)
                if received > file.size:
                    raise DataError(f"{url}: sends more than the {file.size} bytes published")
                if time.monotonic() > deadline:
                    raise OfflineError(f"{url}: not done after {TRANSFER_LIMIT:.0f} s")
                digest.update(chunk)
                yield chunk
    except httpx.HTTPError as error:
        raise OfflineError(f"{url}: {type(error).__name__}: {error}") from error
    if received < file.size:
        # A connection that breaks off is an HTTPError above; this answer was complete.
        raise DataError(f"{url}: sends {received} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        raise DataError(f"{url}: SHA-256 {digest.hexdigest()} instead of {file.sha256}")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
