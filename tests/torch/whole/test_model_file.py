"""Models in files: what is read is what was written, and nothing else is read."""

import hashlib
import stat

import msgspec
import pytest
import torch
from networks import Function, mlp
from torch import nn

from tacita.errors import ProgramError, UsageError
from tacita.torch.whole import model_file
from tacita.torch.whole.explain import explain
from tacita.torch.whole.model import Model, export
from tacita.torch.whole.model_file import Results, read, results_of

X = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) - 0.5
HEAD = model_file._HEAD


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return export(mlp(6, 8, 3), X, samples=X)


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "network.tacita"
    model.save(path)
    return path


def resealed(data):
    """A file whose digest fits what stands before it."""
    framed = data[: -model_file.DIGEST_BYTES]
    return framed + hashlib.sha256(framed).digest()


def parts(data):
    """The header, the program and the weights."""
    _, _, *lengths = HEAD.unpack_from(data)
    found, at = [], HEAD.size
    for length in lengths:
        found.append(data[at : at + length])
        at += length
    return found


def joined(header, program, weights, version=model_file.VERSION):
    lengths = map(len, (header, program, weights))
    head = HEAD.pack(model_file.MAGIC, version, *lengths)
    return resealed(head + header + program + weights + bytes(model_file.DIGEST_BYTES))


def test_what_is_loaded_is_what_was_saved(model, file):
    loaded = Model.load(file)
    assert loaded.program == model.program
    assert loaded.precision == model.precision
    assert (loaded.public, loaded.checked) == (model.public, model.checked)
    assert loaded.structure == model.structure
    assert [w.tolist() for w in loaded.weights] == [w.tolist() for w in model.weights]
    assert torch.equal(loaded.preview(X), model.preview(X))
    assert str(loaded.report()) == str(model.report())


def test_a_loaded_model_runs(model, file, share):
    scores = share(Model.load(file))(X).get().float_precision()
    assert (scores - model.preview(X)).abs().max() < 2.0**-12


def test_saving_what_was_loaded_gives_the_same_file(file, tmp_path):
    again = tmp_path / "again"
    Model.load(file).save(again)
    assert again.read_bytes() == file.read_bytes()


def test_checked_and_public_are_kept(tmp_path):
    model = export(mlp(6, 8, 3), X, samples=X, checked=True, public_weights=True)
    model.save(tmp_path / "file")
    loaded = Model.load(tmp_path / "file")
    assert loaded.checked
    assert loaded.public == model.public != ()


def test_its_owner_alone_can_read_it(model, file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    model.save(file)  # replaced, not written into
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_save_that_fails_leaves_what_was_there(model, file, monkeypatch):
    before = file.read_bytes()

    def interrupted(*_):
        yield b"something"
        raise KeyboardInterrupt

    monkeypatch.setattr(model_file, "pieces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.save(file)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written(model, tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        model.save(tmp_path / "missing" / "file")


def test_a_loaded_model_has_no_graph(file):
    with pytest.raises(UsageError, match="explain it where it was exported"):
        explain(Model.load(file), X)


# ---- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "returned",
    [
        lambda x: x + 1,
        lambda x: (x + 1,),
        lambda x: (x + 1, x * 2),
        lambda x: [x + 1, x * 2],
        lambda x: {"last": x + 1, "first": x * 2},
    ],
    ids=["tensor", "one", "tuple", "list", "dict"],
)
def test_results_are_put_together_as_the_module_does(returned, tmp_path):
    model = export(Function(lambda _, x: returned(x)), X)
    model.save(tmp_path / "file")
    loaded, expected = Model.load(tmp_path / "file").preview(X), model.preview(X)
    assert type(loaded) is type(expected)
    if isinstance(expected, dict):
        assert list(loaded) == list(expected)
        loaded, expected = list(loaded.values()), list(expected.values())
    if isinstance(expected, torch.Tensor):
        loaded, expected = [loaded], [expected]
    assert all(torch.equal(a, b) for a, b in zip(loaded, expected, strict=True))


@pytest.mark.parametrize(
    "returned", [lambda x: (x + 1, [x * 2]), lambda x: {1: x + 1}], ids=["nested", "numbered"]
)
def test_other_results_are_refused_at_save(returned, tmp_path):
    model = export(Function(lambda _, x: returned(x)), X)
    with pytest.raises(UsageError, match="returns one tensor, or a flat tuple, list or dict"):
        model.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "results",
    [
        Results("tensor", 2),
        Results("tuple", 1, ("a",)),
        Results("dict", 2, ("a",)),
        Results("dict", 2, ("a", "a")),
    ],
)
def test_results_that_contradict_themselves_are_refused(results):
    with pytest.raises(ProgramError, match="cannot be put together"):
        results.structure()


@pytest.mark.parametrize("results", [Results("tensor", 1), Results("list", 3), Results("tuple", 0)])
def test_results_are_written_as_they_are(results):
    assert results_of(results.structure()) == results


# ---- files that are refused ----------------------------------------------------------------------


def refused(path, data, match):
    path.write_bytes(data)
    with pytest.raises(ProgramError, match=match) as found:
        Model.load(path)
    assert str(path) in str(found.value)


def test_cut_files(file):
    data = file.read_bytes()
    for length in (0, 3, 8, HEAD.size, HEAD.size + 40, len(data) // 2, len(data) - 1):
        refused(file, data[:length], "cut")
    refused(file, data + b"\0", "longer than it says")


def test_every_part_of_a_file_is_covered_by_the_digest(file):
    data = file.read_bytes()
    at = HEAD.size
    for part in parts(data):
        place = at + len(part) // 2
        altered = bytearray(data)
        altered[place] ^= 1
        refused(file, bytes(altered), "altered")
        at += len(part)
    refused(file, data[:-1] + bytes([data[-1] ^ 1]), "altered")


def test_something_else_and_other_versions(file):
    data = file.read_bytes()
    refused(file, b"\x89Tacita\n" + data[8:], "no file of a model")
    version = model_file.VERSION + 1
    refused(file, joined(*parts(data), version=version), f"version {version}, and this release")


@pytest.mark.parametrize("place", [0, 1, 2], ids=["header", "program", "weights"])
def test_a_file_that_says_it_is_too_large(file, place):
    # What it says of its sizes is refused before anything of that size is made.
    lengths = [1, 1, 1]
    lengths[place] = 1 << 62
    head = HEAD.pack(model_file.MAGIC, model_file.VERSION, *lengths)
    refused(file, head + bytes(100), "the most are")


def test_what_is_too_large_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "LARGEST_WEIGHTS", 8)
    with pytest.raises(ProgramError, match=r"weights takes .* bytes; the most are 8"):
        model.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_malformed_files_with_a_digest_that_fits(file, model):
    header, program, weights = parts(file.read_bytes())
    refused(file, joined(b"\xc1", program, weights), "malformed")
    refused(file, joined(header[:-1], program, weights), "malformed")
    refused(file, joined(header, program[:-1], weights), "cut")
    refused(file, joined(header, program, weights[:-8]), "not those of its program")
    refused(file, joined(header, program, weights[:-1]), "not those of its program")
    for results in (Results("tuple", 2), Results("dict", 1)):
        other = model_file._Header(model.checked, model.public, results)
        refused(file, joined(msgspec.msgpack.encode(other), program, weights), "malformed")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ProgramError, match="cannot be read"):
        Model.load(tmp_path / "missing")


def test_a_network_without_weights(tmp_path):
    model = export(nn.Sequential(nn.ReLU()).eval(), X)
    model.save(tmp_path / "file")
    assert read(tmp_path / "file").weights == []
    assert torch.equal(Model.load(tmp_path / "file").preview(X), model.preview(X))
