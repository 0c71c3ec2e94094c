"""Trained weights: the published bytes or an error, and what they are worth."""

import hashlib
import io
import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import httpx
import pytest
import torch

from tacita import zoo
from tacita.data import cifar, cifar10, lookup, resnet20_weights, weights
from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile
from tacita.errors import DataError

NAME = "resnet20-12fca82f.th"
REAL = os.environ.get("TACITA_DATA")
needs_weights = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "weights" / NAME).is_file()),
    reason="TACITA_DATA names no folder with trained weights",
)
needs_cifar = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "cifar10" / "test_first2000.bin").is_file()),
    reason="TACITA_DATA names no folder with CIFAR-10",
)
MIRRORS = ("https://mirror.test/models/",)


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


STATE = OrderedDict({"module.conv.weight": torch.arange(6.0).view(2, 3)})
SOUND = saved({"best_prec1": 91.5, "state_dict": STATE}, _use_new_zipfile_serialization=False)


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """publish(content): these bytes are the published ones; nothing is set and the cache empty."""
    monkeypatch.delenv("TACITA_DATA", raising=False)
    monkeypatch.setattr(lookup, "cache_folder", lambda name: tmp_path / "cache" / name)

    def listed(content):
        file = PublicFile(NAME, len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(weights, "RESNET20", file)

        def respond(request):
            assert request.url.path == f"/models/{NAME}"
            return httpx.Response(200, stream=httpx.ByteStream(content))

        return Downloader(MIRRORS, httpx.MockTransport(respond))

    return listed


@pytest.fixture
def offline():
    def respond(request):
        raise httpx.ConnectError("network is unreachable")

    return Downloader(MIRRORS, httpx.MockTransport(respond))


class TestTheRealWeights:
    @needs_weights
    def test_they_are_exactly_the_network_s(self):
        network = zoo.resnet20()
        state = resnet20_weights()
        wanted = network.state_dict()
        # Newer versions of torch count the batches as well, which changes nothing in eval mode.
        counts = {name for name in wanted if name.endswith("num_batches_tracked")}
        assert set(state) == set(wanted) - counts
        assert all(state[name].dtype == torch.float32 for name in state)
        network.load_state_dict(state, strict=True)
        assert all(torch.equal(network.state_dict()[name], state[name]) for name in state)

    @needs_weights
    @needs_cifar
    def test_1833_of_the_first_2000_images_are_right(self):
        """Exactly, on any machine: the two best scores of an image are never closer than 0.006, and
        float32 is within 0.00002 of float64 here.

        Wrong parts show: with CIFAR's own mean and deviation it is 1,830, with blue for red 1,662,
        with all of a shortcut's zeros after the old channels 444.
        """
        network = zoo.resnet20().eval()
        network.load_state_dict(resnet20_weights())
        images, labels = cifar10(2000)
        right = 0
        with torch.inference_mode():
            for start in range(0, len(images), 500):
                scores = network(cifar.normalised(images[start : start + 500]))
                right += int((scores.argmax(dim=1) == labels[start : start + 500]).sum())
        assert right == 1833

    @needs_weights
    @pytest.mark.parametrize("damage", ["cut short", "altered", "longer"])
    def test_a_damaged_copy_is_refused_before_it_is_opened(self, monkeypatch, tmp_path, damage):
        sound = (Path(REAL) / "weights" / NAME).read_bytes()
        contents = {
            "cut short": sound[:-1],
            "altered": sound[:70_000] + bytes([sound[70_000] ^ 1]) + sound[70_001:],
            "longer": sound + b"\0",
        }
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / NAME).write_bytes(contents[damage])
        monkeypatch.setenv("TACITA_DATA", str(tmp_path))
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
        with pytest.raises(DataError, match=rf"{NAME}: {damage}"):
            resnet20_weights()


class TestSources:
    def test_the_first_use_downloads_and_the_second_does_not(self, publish, offline, tmp_path):
        online = publish(SOUND)
        state = resnet20_weights(downloader=online)
        assert list(state) == ["conv.weight"]
        assert torch.equal(state["conv.weight"], STATE["module.conv.weight"])
        assert (tmp_path / "cache" / "weights" / NAME).read_bytes() == SOUND
        assert list(resnet20_weights(downloader=offline)) == ["conv.weight"]

    def test_the_folder_named_comes_first(self, publish, offline, monkeypatch, tmp_path):
        publish(SOUND)
        (tmp_path / "named" / "weights").mkdir(parents=True)
        (tmp_path / "named" / "weights" / NAME).write_bytes(SOUND)
        monkeypatch.setenv("TACITA_DATA", str(tmp_path / "named"))
        assert list(resnet20_weights(downloader=offline)) == ["conv.weight"]
        shutil.rmtree(tmp_path / "named")
        with pytest.raises(DataError, match=rf"there is no .*{NAME}; put the file there, or unset"):
            resnet20_weights(downloader=offline)

    def test_an_altered_file_in_the_cache_is_fetched_again(self, publish, tmp_path):
        online = publish(SOUND)
        folder = tmp_path / "cache" / "weights"
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(b"altered")
        assert list(resnet20_weights(downloader=online)) == ["conv.weight"]
        assert (folder / NAME).read_bytes() == SOUND

    def test_a_mirror_that_sends_something_else_is_an_error(self, publish):
        lying = publish(b"something else")
        publish(SOUND)
        with pytest.raises(DataError, match="sends 14 of") as caught:
            resnet20_weights(downloader=lying)
        assert not isinstance(caught.value, OfflineError)

    def test_offline_the_error_says_why_and_what_to_do(self, publish, offline):
        publish(SOUND)
        with pytest.raises(OfflineError, match=r"no such file.*unreachable.*TACITA_DATA"):
            resnet20_weights(downloader=offline)

    def test_download_can_be_declined(self, publish):
        with pytest.raises(OfflineError, match="download=False"):
            resnet20_weights(download=False, downloader=publish(SOUND))


class Acting:
    """A pickle of this creates a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestContents:
    """Of files that have the published digest: what a publisher might have got wrong, or meant."""

    @pytest.mark.parametrize("new_format", [True, False])
    def test_a_pickle_that_acts_is_refused_and_does_not_act(self, publish, tmp_path, new_format):
        trace = tmp_path / "trace"
        content = saved(
            {"state_dict": {"module.a": Acting(trace)}}, _use_new_zipfile_serialization=new_format
        )
        torch.load(io.BytesIO(content), weights_only=False)
        assert trace.exists(), "opened without care, it does act"
        trace.unlink()
        with pytest.raises(DataError, match=rf"{NAME}: not a checkpoint of plain weights"):
            resnet20_weights(downloader=publish(content))
        assert not trace.exists()

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "not a checkpoint"),
            (b"<html>not found</html>", "not a checkpoint"),
            (SOUND[: len(SOUND) // 2], "not a checkpoint"),
            (pickle.dumps({"state_dict": {}}, protocol=2), "not a checkpoint"),
            (saved(torch.zeros(3)), "has no state_dict"),
            (saved({"best_prec1": 91.5}), "has no state_dict"),
            (saved({"state_dict": [torch.zeros(3)]}), "has no state_dict"),
            (saved({"state_dict": {"conv.weight": torch.zeros(3)}}), "'conv.weight' in its state"),
            (saved({"state_dict": {"module.conv.weight": 3.0}}), "'module.conv.weight' in its"),
            (saved({"state_dict": {7: torch.zeros(3)}}), "7 in its state_dict"),
        ],
    )
    def test_anything_but_named_tensors_is_refused_by_name(
        self, publish, offline, tmp_path, content, complaint
    ):
        publish(content)
        folder = tmp_path / "cache" / "weights"
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(content)
        with pytest.raises(DataError, match=complaint) as caught:
            resnet20_weights(downloader=offline)
        assert str(caught.value).startswith(f"{folder / NAME}: ")


def test_the_published_digest_begins_with_the_name_s_end():
    """As the publisher names his files: the check that needs no other source."""
    assert weights.RESNET20.sha256.startswith(weights.RESNET20.name[len("resnet20-") : -len(".th")])
