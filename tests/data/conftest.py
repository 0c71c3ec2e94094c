"""MNIST in small: files of the published form, listed in place of the published ones."""

import gzip
import hashlib
import struct

import httpx
import numpy as np
import pytest

from tacita.data import sources
from tacita.data.download import Downloader
from tacita.data.files import PublicFile

MIRRORS = ("https://mirror.test/mnist/",)


@pytest.fixture
def nothing_set(monkeypatch, tmp_path):
    """No TACITA_DATA, and an empty cache of the test's own."""
    monkeypatch.delenv("TACITA_DATA", raising=False)
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def published(monkeypatch):
    """Contents by name of four small files that stand for MNIST's; `sources` expects these."""
    random = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images = random.integers(0, 256, (count, 1, 1), dtype=np.uint8).repeat(28, 1).repeat(28, 2)
        labels = random.integers(0, 10, count, dtype=np.uint8)
        contents[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(
            bytes((0, 0, 8, 3)) + struct.pack(">3I", *images.shape) + images.tobytes(), 1
        )
        contents[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(
            bytes((0, 0, 8, 1)) + struct.pack(">I", count) + labels.tobytes(), 1
        )
    files = tuple(
        PublicFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    monkeypatch.setattr(sources, "MNIST_FILES", files)
    return contents


@pytest.fixture
def online(published):
    """A way to a mirror that has the published files."""

    def respond(request):
        return httpx.Response(
            200, stream=httpx.ByteStream(published[request.url.path.rsplit("/", 1)[1]])
        )

    return Downloader(MIRRORS, httpx.MockTransport(respond))


@pytest.fixture
def offline():
    """A way to nowhere."""

    def respond(request):
        raise httpx.ConnectError("network is unreachable")

    return Downloader(MIRRORS, httpx.MockTransport(respond))


@pytest.fixture
def lying():
    """A way to a mirror that sends something else."""

    def respond(request):
        return httpx.Response(200, stream=httpx.ByteStream(b"something else"))

    return Downloader(MIRRORS, httpx.MockTransport(respond))
