"""Runs out of a stock: what is dealt ahead, taken, prepared and used, each of it once."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from error_bounds import agree_with_preview
from meddling import openings
from networks import Function, mlp
from torch import nn

from tacita.errors import (
    MaterialError,
    MaterialMismatch,
    PeerFailed,
    SessionClosed,
    UsageError,
)
from tacita.runtime.serving import USER
from tacita.runtime.traffic import measured
from tacita.torch.whole.model import export


@pytest.fixture(scope="module")
def x():
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def model(x):
    torch.manual_seed(1)
    return export(mlp(5, 7, 6, 3), x, samples=x)


@pytest.fixture(scope="module")
def twin(model):
    """The same program with other weights."""
    other = copy.copy(model)
    other.weights = [np.negative(weight) for weight in model.weights]
    return other


def files(folder, stage="stock"):
    return sorted(folder.glob(f"*/*.{stage}"))


def of(folder, party):
    return sorted((folder / party).glob("*.stock"))


def goes_on(shared, model, x):
    """The session is usable, and runs beyond the stock are right."""
    agree_with_preview(model, shared(x), x)
    return True


# ---- dealing, preparing, running -----------------------------------------------------------------


@pytest.mark.parametrize("parties", [2, 3])
def test_runs_from_dealt_and_from_prepared_batches(model, deploy, x, parties, tmp_path):
    shared = deploy(model, parties)
    shared.deal(3, tmp_path)
    assert len(files(tmp_path)) == 3 * parties
    assert shared.stock == 3
    shared.prepare(2)
    assert shared.stock == 3
    assert len(files(tmp_path)) == parties
    assert len(files(tmp_path, "spent")) == 2 * parties
    for left in (2, 1, 0, 0, 0):  # two prepared, one prepared as it goes, two live
        with measured(shared.session) as traffic:
            scores = shared(x)
        assert shared.stock == left
        assert traffic.rounds == model.cost.rounds
        agree_with_preview(model, scores, x)
    assert files(tmp_path) == files(tmp_path, "taken") == []
    shared.deal(1, tmp_path)
    with measured(shared.session) as traffic:
        agree_with_preview(model, shared(x), x)
    assert traffic.dealt_bytes == 0


def test_what_cannot_be_dealt_or_prepared(model, deploy, x):
    shared = deploy(model)
    for runs in (0, -1):
        with pytest.raises(UsageError, match="deal for 1 run or more"):
            shared.deal(runs)
    with pytest.raises(UsageError, match="1 runs cannot be prepared, 0 wait"):
        shared.prepare(1)
    shared.deal(1)
    for runs in (2, -1):
        with pytest.raises(UsageError, match="cannot be prepared, 1 wait"):
            shared.prepare(runs)
    assert shared.stock == 1
    shared.prepare()
    shared.prepare()
    assert goes_on(shared, model, x)


def test_progress_is_reported_for_every_piece(model, deploy):
    shared = deploy(model)
    seen = []
    shared.deal(2, progress=lambda *told: seen.append(told))
    pieces = sum(1 for each in model.program.instructions if each.cost().dealt_bytes)
    assert seen == [("dealing ahead", done, 2 * pieces) for done in range(1, 2 * pieces + 1)]


def test_a_stock_without_a_folder_goes_with_its_model(model, deploy, x):
    shared = deploy(model)
    shared.deal(1)
    folder = Path(shared._folder.name)
    assert len(files(folder)) == 2
    assert goes_on(shared, model, x)
    del shared
    assert not folder.exists()


def test_a_wrong_input_costs_no_batch(model, deploy, x, tmp_path):
    shared = deploy(model)
    shared.deal(1, tmp_path)
    with pytest.raises(UsageError):
        shared(x[:2])
    assert shared.stock == 1
    assert len(files(tmp_path)) == 2
    assert goes_on(shared, model, x)


def test_stock_of_two_models_in_one_folder(model, twin, deploy, x, tmp_path):
    one = deploy(model)
    other = type(one)(twin, one.session)
    one.deal(1, tmp_path)
    other.deal(1, tmp_path)
    assert goes_on(other, twin, x)
    assert goes_on(one, model, x)


def test_every_kind_of_instruction_out_of_the_stock(deploy):
    def forward(self, x, y):
        kept = torch.relu(torch.cat([x, y * self.w], 1)).reshape(2, 3, 2)
        return {
            "between private": (kept.amax(2) @ self.v) * y[:, :1],
            "compared": torch.where(x > y, x, -y),
            "where": kept.argmax(2),
            "public": (x @ torch.ones(3, 2)) / 3,
        }

    weights = {"w": nn.Parameter(torch.randn(3)), "v": nn.Parameter(torch.randn(3, 2))}
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    for checked in (False, True):
        model = export(Function(forward, **weights), x, y, largest=8.0, checked=checked)
        shared = deploy(model, 3)
        shared.deal(2)
        expected = model.preview(x, y)
        for got in (shared(x, y), shared(x, y), shared(x, y)):
            for name, values in got.items():
                # Far below what would flip one of these comparisons, and above all roundings.
                assert ((values.decrypt() - expected[name]).abs() < 0.01).all(), name
        assert shared.stock == 0


# ---- files that do not fit -----------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def emptied(path):
    path.write_bytes(b"")


def altered_at(place):
    def alter(path):
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return alter


def missing(path):
    path.unlink()


FILES = {
    "cut": cut,
    "longer": longer,
    "emptied": emptied,
    "altered in its header": altered_at(0.0),
    "altered at its end": altered_at(1.0),
    "missing": missing,
}


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_a_file_that_is_not_as_it_was_is_refused(model, deploy, x, tmp_path, change):
    shared = deploy(model)
    shared.deal(2, tmp_path)
    first, _ = shared._waiting[0]
    path = tmp_path / "bob" / f"{first.hex()}.1.stock"
    change(path)
    with pytest.raises(MaterialMismatch, match=f"bob: .*{first.hex()}"):
        shared.prepare(1)
    # Alice took hers; it is of no further use.
    assert (tmp_path / "alice" / f"{first.hex()}.0.spent").exists()
    assert shared.stock == 1
    assert goes_on(shared, model, x)
    assert shared.stock == 0
    assert goes_on(shared, model, x)


@pytest.mark.parametrize("place", [0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
def test_a_file_altered_within_never_gives_a_result(model, deploy, x, tmp_path, place):
    # Corrections are verified as they are read: some when a run is prepared, some by the run.
    shared = deploy(model)
    shared.deal(1, tmp_path)
    (path,) = of(tmp_path, "bob")
    altered_at(place)(path)
    with pytest.raises((MaterialMismatch, PeerFailed), match=f"{path.stem}.*altered"):
        shared(x).get()


def test_a_batch_of_the_other_model_is_refused(model, twin, deploy, x, tmp_path):
    one = deploy(model)
    other = type(one)(twin, one.session)
    other.deal(1, tmp_path)
    one._waiting.extend(other._waiting)
    with pytest.raises(MaterialMismatch, match="dealt for another model"):
        one.prepare(1)
    assert goes_on(one, model, x)
    assert goes_on(other, twin, x)  # refused by both, so that neither has taken it


def test_the_other_partys_file_is_refused(model, deploy, x, tmp_path):
    shared = deploy(model)
    shared.deal(1, tmp_path)
    (mine,), (theirs,) = of(tmp_path, "alice"), of(tmp_path, "bob")
    shutil.copy(theirs, mine)
    with pytest.raises(MaterialMismatch, match=r"alice: .*dealt for another party"):
        shared.prepare(1)
    assert goes_on(shared, model, x)


def test_a_batch_of_another_session_is_refused(model, deploy, x, tmp_path):
    one, other = deploy(model), deploy(model)
    one.deal(1, tmp_path)
    other._waiting.extend(one._waiting)
    with pytest.raises(MaterialMismatch, match="dealt for another model"):
        other.prepare(1)
    assert goes_on(other, model, x)
    assert goes_on(one, model, x)


def test_a_batch_is_taken_once(model, deploy, x, tmp_path):
    shared = deploy(model)
    shared.deal(1, tmp_path)
    batch = shared._waiting[0]
    kept = {path: path.read_bytes() for path in files(tmp_path)}
    assert goes_on(shared, model, x)
    for path, data in kept.items():  # put back, as from a copy
        path.write_bytes(data)
    shared._waiting.append(batch)
    with pytest.raises(MaterialError, match="was taken before"):
        shared.prepare(1)
    assert goes_on(shared, model, x)


def test_a_batch_that_one_party_refused_is_not_used_by_the_other(model, deploy, x, tmp_path):
    shared = deploy(model)
    shared.deal(1, tmp_path)
    batch = shared._waiting[0]
    (path,) = of(tmp_path, "bob")
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(MaterialMismatch):
        shared.prepare(1)
    path.write_bytes(data)
    shared._waiting.append(batch)
    with pytest.raises(MaterialMismatch, match=r"alice: .*was taken before"):
        shared.prepare(1)
    assert goes_on(shared, model, x)


def test_a_prepared_batch_runs_once(model, deploy, x):
    shared = deploy(model)
    shared.deal(1)
    shared.prepare(1)
    shared._prepared.append(shared._prepared[0])
    assert goes_on(shared, model, x)
    with pytest.raises(PeerFailed, match=r"batch .* was not prepared, or is used"):
        shared(x).get()


@pytest.mark.parametrize("what", ["deployment", "batch"])
def test_a_run_of_what_nobody_knows_is_an_error(model, deploy, x, what):
    shared = deploy(model)
    if what == "batch":
        shared._prepared.append(bytes(16))
    else:
        shared.session._deployed[shared._number + 999] = 1
        shared._number += 999
    shared.session.settle()
    opened = openings(shared.session)
    with pytest.raises(PeerFailed):
        shared(x).get()
    assert opened == []
    with pytest.raises(SessionClosed):
        shared(x)


def test_no_share_goes_to_the_user_beyond_those_of_results(model, deploy, x):
    shared = deploy(model)
    shared.deal(1)
    shared(x).get()
    shared(x).get()
    for holder in shared.session.holders:
        assert shared.session.network.channel(holder, USER).sent_bytes == 2 * 8 * 4 * 3
