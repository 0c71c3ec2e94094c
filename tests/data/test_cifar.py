"""CIFAR-10's test images: the right bytes, in the right places, from the right source."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from tacita.data import cifar, cifar10
from tacita.data.cifar import RECORD, normalised, parse_records
from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile
from tacita.errors import DataError, ShapeError

REAL = os.environ.get("TACITA_DATA")
needs_cifar = pytest.mark.skipif(
    not (
        REAL
        and (
            (Path(REAL) / "cifar10" / "test_first2000.bin").is_file()
            or (Path(REAL) / "cifar-10-batches-bin" / "test_batch.bin").is_file()
        )
    ),
    reason="TACITA_DATA names no folder with CIFAR-10",
)
MIRRORS = ("https://mirror.test/kriz/",)
COUNT, FIRST_COUNT = 7, 3
MEMBER = "cifar-10-batches-bin/test_batch.bin"


def records(count):
    """Records with bytes of every kind, reproducible."""
    content = np.random.default_rng(0).integers(0, 256, (count, RECORD), dtype=np.uint8)
    content[:, 0] %= 10
    return content


BATCH = records(COUNT).tobytes()
FIRST = BATCH[: FIRST_COUNT * RECORD]


def packed(members):
    """An archive of (TarInfo, content) pairs, gzip-compressed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def member(name, content, **attributes):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for attribute, value in attributes.items():
        setattr(entry, attribute, value)
    return entry, content


def public(name, content):
    return PublicFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """No TACITA_DATA, an empty cache of the test's own, and small files in place of CIFAR-10's."""
    monkeypatch.delenv("TACITA_DATA", raising=False)
    monkeypatch.setattr(cifar, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(cifar, "TEST_BATCH", public("test_batch.bin", BATCH))
    monkeypatch.setattr(cifar, "FIRST_2000", public("test_first2000.bin", FIRST))
    return tmp_path / "cache" / "cifar10"


@pytest.fixture
def named(cache, monkeypatch, tmp_path):
    """put(content of the whole batch, of its first records): TACITA_DATA names what has them."""

    def put(batch=None, first=None):
        root = tmp_path / "named"
        for name, content in ((MEMBER, batch), ("cifar10/test_first2000.bin", first)):
            if content is not None:
                (root / name).parent.mkdir(parents=True)
                (root / name).write_bytes(content)
        monkeypatch.setenv("TACITA_DATA", str(root))

    return put


@pytest.fixture
def mirror(cache, monkeypatch):
    """serve(content): a way to a mirror that has these bytes as the archive, which is published."""

    def serve(content):
        monkeypatch.setattr(cifar, "ARCHIVE", public("cifar-10-binary.tar.gz", content))

        def respond(request):
            assert request.url.path == "/kriz/cifar-10-binary.tar.gz"
            return httpx.Response(200, stream=httpx.ByteStream(content))

        return Downloader(MIRRORS, httpx.MockTransport(respond))

    return serve


@pytest.fixture
def offline():
    def respond(request):
        raise httpx.ConnectError("network is unreachable")

    return Downloader(MIRRORS, httpx.MockTransport(respond))


def assert_is_made_up(images, labels, count):
    content = records(COUNT)[:count]
    assert labels.tolist() == content[:, 0].tolist()
    bytes_again = (images * 255).round().to(torch.uint8)
    assert bytes_again.numpy().tobytes() == content[:, 1:].tobytes()


class TestTheRealImages:
    @needs_cifar
    def test_the_first_ones_are_the_published_ones(self):
        images, labels = cifar10(2000)
        assert images.shape == (2000, 3, 32, 32)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.min() == 0
        assert images.max() == 1
        # Cat, ship, ship, plane, frog: the ones that every tutorial shows first.
        assert labels[:5].tolist() == [3, 8, 8, 0, 6]
        # The sky and sea of planes and ships are blue, and nothing else is more so: had the colours
        # been in another order, or the pixels between them, this would be another class's.
        blue = torch.stack(
            [(images[:, 2] - images[:, 0])[labels == each].mean() for each in range(10)]
        )
        assert sorted(blue.topk(2).indices.tolist()) == [0, 8]

    @needs_cifar
    def test_fewer_are_the_first_of_them(self):
        images, labels = cifar10(2000)
        some, of_those = cifar10(11)
        assert torch.equal(some, images[:11])
        assert torch.equal(of_those, labels[:11])


class TestRecords:
    def test_a_record_is_its_label_then_planes_row_by_row(self):
        content = bytes([9]) + bytes(i % 251 for i in range(3072))
        images, labels = parse_records(content, "made up")
        assert labels.tolist() == [9]
        assert images.dtype == labels.dtype == torch.uint8
        for channel, row, column in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31)]:
            place = channel * 1024 + row * 32 + column
            assert images[0, channel, row, column] == place % 251

    def test_no_records_are_no_images(self):
        images, labels = parse_records(b"", "empty")
        assert images.shape == (0, 3, 32, 32)
        assert labels.shape == (0,)

    @pytest.mark.parametrize("length", [1, RECORD - 1, RECORD + 1, COUNT * RECORD - 1])
    def test_a_cut_record_is_refused(self, length):
        with pytest.raises(DataError, match=rf"^some/file: cut short, {length} bytes"):
            parse_records(BATCH[:length], "some/file")

    @pytest.mark.parametrize("label", [10, 255])
    def test_a_label_that_is_no_class_is_refused(self, label):
        content = records(5)
        content[3, 0] = label
        with pytest.raises(DataError, match=r"^some/file: the label of record 3 "):
            parse_records(content.tobytes(), "some/file")


class TestNormalised:
    def test_by_channel(self):
        images = torch.stack([torch.full((3, 2, 2), grey) for grey in (0.0, 0.5, 1.0)])
        result = normalised(images)
        assert result.shape == images.shape
        assert result.dtype == torch.float32
        for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
            for image, grey in enumerate((0.0, 0.5, 1.0)):
                # One rounding each of mean, difference, deviation and quotient, of numbers below 3.
                error = (result[image, channel] - (grey - mean) / std).abs().max()
                assert error < 4 * 3 * torch.finfo(torch.float32).eps

    def test_a_single_image_in_double(self):
        image = torch.rand(3, 32, 32, dtype=torch.float64)
        result = normalised(image)
        assert result.dtype == torch.float64
        assert torch.equal(result, normalised(image.unsqueeze(0))[0])

    @pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32), (2, 32, 32, 3), (3,)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ShapeError, match=r"\[\.\.\., 3, H, W\]"):
            normalised(torch.zeros(shape))


class TestTheFolderNamed:
    def test_the_whole_batch_comes_first(self, named, offline):
        named(BATCH, b"altered")
        assert_is_made_up(*cifar10(downloader=offline), COUNT)

    def test_the_first_records_will_do(self, named, offline):
        named(first=FIRST)
        assert_is_made_up(*cifar10(downloader=offline), FIRST_COUNT)
        assert_is_made_up(*cifar10(2, downloader=offline), 2)

    @pytest.mark.parametrize("count", [0, -1])
    def test_a_count_below_one_is_refused(self, named, count):
        named(BATCH)
        with pytest.raises(ShapeError, match=f"count must be at least 1, got {count}"):
            cifar10(count)

    def test_more_than_there_are_is_an_error_saying_where_they_are(self, named):
        named(first=FIRST)
        with pytest.raises(DataError, match=r"has 3 images, 4 were asked for.*test_batch\.bin"):
            cifar10(4)

    def test_without_either_file_is_an_error_not_a_download(self, named, mirror):
        named()
        with pytest.raises(DataError, match=r"neither .*test_batch\.bin nor .*first2000\.bin"):
            cifar10(downloader=mirror(packed([member(MEMBER, BATCH)])))

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (BATCH[:-1], "cut short"),
            (BATCH + b"\0", "longer"),
            (BATCH[:5000] + bytes([BATCH[5000] ^ 1]) + BATCH[5001:], "altered"),
        ],
    )
    def test_a_damaged_file_is_refused_by_name(self, named, content, complaint):
        named(content, FIRST)
        with pytest.raises(DataError, match=rf"test_batch\.bin: {complaint}"):
            cifar10()


class TestCacheAndDownload:
    def test_the_first_use_downloads_and_keeps_the_batch_alone(self, cache, mirror, offline):
        archive = packed(
            [
                member("cifar-10-batches-bin/data_batch_1.bin", b"1" * 100),
                member(MEMBER, BATCH, mode=0o7777),
                member("cifar-10-batches-bin/readme.html", b"read"),
            ]
        )
        assert_is_made_up(*cifar10(downloader=mirror(archive)), COUNT)
        assert [path.name for path in cache.iterdir()] == ["test_batch.bin"]
        assert_is_made_up(*cifar10(5, downloader=offline), 5)

    def test_an_altered_file_in_the_cache_is_fetched_again(self, cache, mirror):
        cache.mkdir(parents=True)
        (cache / "test_batch.bin").write_bytes(b"altered")
        assert_is_made_up(*cifar10(downloader=mirror(packed([member(MEMBER, BATCH)]))), COUNT)
        assert (cache / "test_batch.bin").read_bytes() == BATCH

    @pytest.mark.parametrize(
        ("archive", "complaint"),
        [
            (b"<html>moved</html>", "not a sound archive"),
            (packed([member(MEMBER, BATCH)])[:-100], "not a sound archive"),
            (gzip.compress(b"\0" * 10_240), "has no file"),
            (packed([member("test_batch.bin", BATCH)]), f"has no file {MEMBER}"),
            (packed([member("../" + MEMBER, BATCH)]), f"has no file {MEMBER}"),
            (
                packed([member(MEMBER, b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")]),
                f"has no file {MEMBER}",
            ),
            (packed([member(MEMBER, BATCH[:-1])]), "cut short"),
            (packed([member(MEMBER, BATCH + bytes(10_000_000))]), "longer"),
            (packed([member(MEMBER, BATCH[:-1] + b"!")]), "altered"),
        ],
    )
    def test_an_archive_with_something_else_in_it_leaves_nothing(
        self, cache, mirror, archive, complaint
    ):
        with pytest.raises(DataError, match=complaint):
            cifar10(downloader=mirror(archive))
        assert list(cache.iterdir()) == []

    def test_an_archive_that_is_not_the_published_one_is_not_opened(
        self, cache, mirror, monkeypatch
    ):
        archive = packed([member(MEMBER, BATCH)])
        way = mirror(archive)
        monkeypatch.setattr(cifar, "ARCHIVE", public(cifar.ARCHIVE.name, archive[:-1] + b"!"))
        with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: SHA-256"):
            cifar10(downloader=way)
        assert list(cache.iterdir()) == []

    def test_offline_the_error_says_why_and_what_to_do(self, cache, offline):
        with pytest.raises(OfflineError, match=r"no such file.*unreachable.*TACITA_DATA"):
            cifar10(downloader=offline)

    def test_download_can_be_declined(self, cache, mirror):
        with pytest.raises(OfflineError, match="download=False"):
            cifar10(download=False, downloader=mirror(packed([member(MEMBER, BATCH)])))
        assert not cache.exists()

    def test_a_cache_that_cannot_be_written_is_named(self, cache, mirror):
        cache.parent.write_bytes(b"a file where the folder should be")
        with pytest.raises(DataError, match=r"cache.*(cannot be kept there|cannot be read)"):
            cifar10(downloader=mirror(packed([member(MEMBER, BATCH)])))


def test_the_published_files_are_those_of_cifar():
    """Typed again from the data's own page and other projects' lists of digests."""
    assert {
        file.name: (file.size, file.sha256[:8]) for file in (cifar.ARCHIVE, cifar.TEST_BATCH)
    } == {
        "cifar-10-binary.tar.gz": (170_052_171, "c4a38c50"),
        "test_batch.bin": (30_730_000, "8e2eb146"),
    }
    assert cifar.FIRST_2000.size == 6_146_000
