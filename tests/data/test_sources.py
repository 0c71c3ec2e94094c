"""Where MNIST comes from, in order, and what happens when a source is damaged."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tacita.data import MEAN, MNIST, STD, mnist, transforms
from tacita.data.sources import MNIST_FILES, cache_folder
from tacita.errors import DataError

REAL = os.environ.get("TACITA_DATA")
needs_mnist = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "mnist").is_dir()), reason="TACITA_DATA names no folder with mnist/"
)


def put(contents, folder, **changed):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(changed.get(name[:5], content))
    return folder


silent = pytest.mark.filterwarnings("error")


class TestTheRealFiles:
    @needs_mnist
    @silent
    def test_counts_of_every_digit_are_the_published_ones(self):
        train, test = mnist(train=True), mnist(train=False)
        assert train.images.shape == (60_000, 28, 28)
        assert test.images.shape == (10_000, 28, 28)
        assert train.images.dtype == torch.uint8
        assert train.labels.dtype == torch.int64
        assert train.labels.bincount().tolist() == [
            5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
        ]  # fmt: skip
        assert test.labels.bincount().tolist() == [
            980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
        ]  # fmt: skip
        assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
        assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
        assert train.is_mnist
        assert train.source.startswith("MNIST, ")

    @needs_mnist
    def test_mean_and_deviation_are_the_constants_of_the_transform(self):
        share = mnist(train=True).images.flatten().bincount(minlength=256).double()
        share /= share.sum()
        grey = torch.arange(256).double() / 255
        mean = (share * grey).sum()
        assert abs(mean - MEAN) < 0.00005
        assert abs((share * (grey - mean) ** 2).sum().sqrt() - STD) < 0.00005

    @needs_mnist
    def test_the_dataset_and_the_loader_agree_to_the_bit(self):
        dataset = MNIST(
            train=False,
            transform=transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
            ),
        )
        slow = torch.utils.data.DataLoader(dataset, batch_size=300)
        fast = mnist(train=False).loader(batch_size=300)
        assert len(slow) == len(fast) == 34
        for (images, labels), (same_images, same_labels) in zip(slow, fast, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)

    @needs_mnist
    @pytest.mark.parametrize("damage", ["cut", "altered", "longer"])
    def test_a_damaged_copy_is_refused(self, monkeypatch, tmp_path, damage):
        name = "t10k-labels-idx1-ubyte.gz"
        sound = (Path(REAL) / "mnist" / name).read_bytes()
        contents = {
            "cut": sound[:-1],
            "altered": sound[:100] + bytes([sound[100] ^ 1]) + sound[101:],
            "longer": sound + b"\0",
        }
        folder = tmp_path / "mnist"
        folder.mkdir()
        (folder / "t10k-images-idx3-ubyte.gz").symlink_to(
            Path(REAL) / "mnist" / "t10k-images-idx3-ubyte.gz"
        )
        (folder / name).write_bytes(contents[damage])
        monkeypatch.setenv("TACITA_DATA", str(tmp_path))
        with pytest.raises(DataError, match=f"{name}: {damage}"):
            mnist(train=False)


@pytest.mark.usefixtures("nothing_set")
class TestTheFolderNamed:
    @silent
    def test_comes_first_and_nobody_is_asked(
        self, published, nothing_set, lying, monkeypatch, tmp_path
    ):
        put(published, tmp_path / "named" / "mnist")
        put(published, nothing_set, **{"t10k-": b"altered"})
        monkeypatch.setenv("TACITA_DATA", str(tmp_path / "named"))
        digits = mnist(train=False, downloader=lying)
        assert len(digits) == 10_000
        assert digits.source == f"MNIST, {tmp_path / 'named' / 'mnist'}"

    def test_may_be_in_the_home_folder(self, published, monkeypatch, tmp_path):
        put(published, tmp_path / "named" / "mnist")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("TACITA_DATA", "~/named")
        assert len(mnist(train=False, download=False)) == 10_000

    @pytest.mark.parametrize("train", [True, False])
    def test_without_mnist_is_an_error_not_a_fallback(self, train, online, monkeypatch, tmp_path):
        monkeypatch.setenv("TACITA_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(DataError, match=r"TACITA_DATA is .*nowhere.* no folder.*must hold"):
            mnist(train, downloader=online)

    def test_with_a_file_missing_is_an_error_naming_it(
        self, published, online, monkeypatch, tmp_path
    ):
        (put(published, tmp_path / "mnist") / "train-labels-idx1-ubyte.gz").unlink()
        monkeypatch.setenv("TACITA_DATA", str(tmp_path))
        with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: no such file"):
            mnist(train=True, downloader=online)
        assert len(mnist(train=False, downloader=online)) == 10_000

    def test_with_altered_files_is_an_error_not_a_download(
        self, published, nothing_set, online, monkeypatch, tmp_path
    ):
        put(published, tmp_path / "mnist", train=b"altered")
        monkeypatch.setenv("TACITA_DATA", str(tmp_path))
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cut short"):
            mnist(train=True, downloader=online)
        assert not nothing_set.exists()

    @silent
    def test_set_to_nothing_counts_as_unset(self, published, nothing_set, offline, monkeypatch):
        put(published, nothing_set)
        monkeypatch.setenv("TACITA_DATA", "")
        assert mnist(train=False, downloader=offline).is_mnist


class TestCacheAndDownload:
    @silent
    def test_the_first_use_downloads_all_and_the_second_nothing(
        self, published, nothing_set, online, lying
    ):
        assert len(mnist(train=False, downloader=online)) == 10_000
        kept = {path.name: path.read_bytes() for path in nothing_set.iterdir()}
        assert kept == published
        assert len(mnist(train=True, downloader=lying)) == 60_000

    @silent
    def test_an_altered_file_in_the_cache_is_fetched_again(self, published, nothing_set, online):
        put(published, nothing_set, **{"t10k-": b"altered"})
        assert len(mnist(train=False, downloader=online)) == 10_000
        name = "t10k-images-idx3-ubyte.gz"
        assert (nothing_set / name).read_bytes() == published[name]

    @pytest.mark.usefixtures("published")
    def test_a_mirror_that_sends_something_else_is_an_error_not_a_fallback(
        self, nothing_set, lying
    ):
        with pytest.raises(DataError, match="sends 14 of"):
            mnist(train=False, downloader=lying)
        assert list(nothing_set.iterdir()) == []

    def test_the_user_s_cache_is_where_the_system_wants_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder().name == "mnist"
        assert "tacita" in cache_folder().parts


@pytest.mark.usefixtures("nothing_set")
class TestTheStandIn:
    @pytest.mark.parametrize(("train", "count"), [(True, 1447), (False, 350)])
    def test_offline_it_is_used_and_said(self, train, count, nothing_set, offline):
        with pytest.warns(UserWarning, match=r"not at hand.*scikit-learn.*network is unreachable"):
            digits = mnist(train, downloader=offline)
        assert not digits.is_mnist
        assert digits.source.startswith("scikit-learn's bundled digits")
        assert digits.images.shape == (count, 28, 28)
        assert digits.images.dtype == torch.uint8
        assert digits.labels.dtype == torch.int64
        assert sorted(set(digits.labels.tolist())) == list(range(10))
        assert not nothing_set.exists()

    def test_download_can_be_declined(self, online):
        with pytest.warns(UserWarning, match="download=False"):
            assert not mnist(train=False, download=False, downloader=online).is_mnist

    def test_a_damaged_cache_is_told_of(self, published, nothing_set, offline):
        put(published, nothing_set, **{"t10k-": b"altered"})
        with pytest.warns(UserWarning, match=r"t10k-images-idx3-ubyte\.gz: cut short"):
            assert not mnist(train=False, downloader=offline).is_mnist

    def test_without_scikit_learn_says_what_to_do(self, offline, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(DataError, match=r"pip install 'tacita\[digits\]'.*TACITA_DATA"):
            mnist(train=False, downloader=offline)


def test_the_published_digests_are_those_of_mnist():
    """Typed again from the data's own page: a slip in the table would make every copy 'altered'."""
    assert {file.name: (file.size, file.sha256[:8]) for file in MNIST_FILES} == {
        "train-images-idx3-ubyte.gz": (9_912_422, "440fcabf"),
        "train-labels-idx1-ubyte.gz": (28_881, "3552534a"),
        "t10k-images-idx3-ubyte.gz": (1_648_877, "8d422c7b"),
        "t10k-labels-idx1-ubyte.gz": (4_542, "f7ae60f9"),
    }
