"""Randomness of whole runs is used once: live, dealt ahead on several threads, prepared, used."""

import os
import threading
import time
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from networks import Function, mlp
from torch import nn

from tacita.compiler import archive
from tacita.errors import MaskReused
from tacita.program.readings import BitMask, Mask
from tacita.ring import kernels
from tacita.ring.randomness import StreamKey, fresh_key
from tacita.runtime import dealing as dealing_module
from tacita.runtime.dealing import DealingOrder, deal_batch, deal_run
from tacita.runtime.deployment import Deployment
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.orders import Deploy
from tacita.runtime.reading import Prepared
from tacita.runtime.store import Known, MaskStore
from tacita.torch.whole.model import SharedModel, export

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
NAMES = ("alice", "bob", "carol")
DEALER, USER = "dealer", "user"
BATCHES = 3


def role():
    """The role whose thread this is; those that deal ahead are the dealer's."""
    name = threading.current_thread().name
    if name.startswith("tacita dealing"):
        return DEALER
    return name.removeprefix("tacita ") if name.startswith("tacita ") else USER


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def flow(request):
    """Draws by (role, key), and the words that masks hid, of live runs between runs of a stock. The
    keys are those that the operating system gave; those of streams follow from them."""
    draws, hidden, dealing, roots = defaultdict(list), [], set(), {}
    torch.manual_seed(0)
    model = export(mlp(3, 9, 5, 2), X, samples=X)

    def recording(draw):
        def recorded(key, nonce, block, out, **options):
            draw(key, nonce, block, out, **options)
            blocks = range(block, block + -(-out.size // 2))
            draws[role(), roots.get(key, key)].extend((nonce, each, key) for each in blocks)
            if (name := threading.current_thread().name).startswith("tacita dealing"):
                dealing.add(name)
                time.sleep(0.002)  # so that others of the pool have something to do

        return recorded

    def hiding(hide):
        def recorded(mask, value):
            hidden.append(mask.share.copy().reshape(-1))
            return hide(mask, value)

        return recorded

    def binding(bind):
        def recorded(stream_key, told):
            bind(stream_key, told)
            roots[stream_key._key] = stream_key._root

        return recorded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamKey, "bind", binding(StreamKey.bind))
        for name in ("aes_ctr", "aes_ctr_add", "aes_ctr_xor"):
            patch.setattr(kernels, name, recording(getattr(kernels, name)))
        for kind in (Mask, BitMask):
            patch.setattr(kind, "hide", hiding(kind.hide))
        patch.setattr(os, "cpu_count", lambda: 4)
        session = EmbeddedSession(NAMES[: request.param], DEALER, limit=10.0)
        try:
            shared = SharedModel(model, session)
            shared(X)
            shared.deal(BATCHES)
            shared(X)
            shared.prepare(1)
            for _ in range(BATCHES + 1):
                (shared(X) + 1).get()
            session.settle()
        finally:
            session.close()
    return session.holders, draws, np.concatenate(hidden), dealing


def test_the_flow_draws_and_hides(flow):
    # Otherwise the tests below would pass on an empty record.
    _, draws, hidden, dealing = flow
    assert hidden.size > 500
    assert sum(map(len, draws.values())) > 2000
    assert len(dealing) > 1


def test_no_block_is_drawn_twice(flow):
    _, draws, _, _ = flow
    for (name, _), drawn in draws.items():
        assert [block for block, count in Counter(drawn).items() if count > 1] == [], name


def test_every_batch_has_keys_of_its_own(flow):
    holders, draws, _, _ = flow
    for name in holders:
        assert sum(owner == name for owner, _ in draws) == 1 + BATCHES
    owners = defaultdict(set)
    for name, key in draws:
        owners[key].add(name)
    # A key is one party's and the dealer's; the user's side has one for the shares of inputs.
    assert all(len(names) == 2 and DEALER in names for names in owners.values() if names != {USER})
    assert sum(names == {USER} for names in owners.values()) == 1


def test_parties_and_dealer_draw_the_same_blocks(flow):
    holders, draws, _, _ = flow
    for (name, key), drawn in draws.items():
        if name in holders:
            assert set(drawn) == set(draws[DEALER, key]), name


def test_no_mask_hides_two_values(flow):
    # Words of 64 bits: two of a few thousand uniform ones are equal with probability 2^-40.
    _, _, hidden, _ = flow
    assert np.unique(hidden).size == hidden.size


def test_what_is_prepared_is_not_copied():
    with pytest.raises(MaskReused, match="cannot be copied"):
        Prepared().__reduce_ex__(4)


# ---- dealing on several threads ------------------------------------------------------------------


def everything(self, x):
    h = torch.relu(x @ self.w)
    h = torch.cat([h, torch.relu(h - self.b)], 1)
    return h.amax(1, keepdim=True) * h, h.argmax(1)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def deployment(request):
    parts = {"w": nn.Parameter(torch.randn(3, 4)), "b": nn.Parameter(torch.randn(4))}
    model = export(Function(everything, **parts), X, largest=4.0, checked=request.param)
    weights = tuple(range(len(model.weights)))
    order = Deploy(0, archive.encode(model.program), weights, bytes(16))
    return Deployment(order, checked=request.param)


def known(deployment):
    """The dealer's store of a session, with masks of the weights."""
    store = MaskStore()
    stream = StreamKey(fresh_key()).open(0)
    for wire, port in enumerate(deployment.program.weights):
        store.know(wire, Known(stream.draw(deployment.program.wires[port.wire].shape)))
    return store


def flat(written):
    return [
        (number, branch, array.reshape(-1).tolist())
        for number, handout in written
        for branch, arrays in handout.last.items()
        for array in arrays
    ]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_batch_is_what_a_run_would_be_dealt(deployment, workers, monkeypatch):
    alias = DealingOrder.alias

    def late(order, *arguments):
        time.sleep(0.005)  # whoever does not wait for a view's mask finds none
        alias(order, *arguments)

    monkeypatch.setattr(DealingOrder, "alias", late)
    keys = [fresh_key() for _ in range(3)]
    session, batch, run = known(deployment), [], []
    deal_batch(
        deployment, session, keys, lambda n, dealt: batch.append((n, dealt)), workers=workers
    )
    streams = [StreamKey(key).reserve(0, deployment.size) for key in keys]
    deal_run(
        deployment,
        session,
        lambda number, branch: [each.open(number, branch) for each in streams],
        lambda n, dealt: run.append((n, dealt)),
    )
    assert flat(batch) == flat(run)
    assert [number for number, _ in batch] == deployment.dealt
    assert len(session.wires) == len(deployment.program.weights)


def test_an_error_in_the_pool_is_the_callers(deployment, monkeypatch):
    def failing(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(DealingOrder, "deal", failing)
    with pytest.raises(MemoryError, match="no room"):
        deal_batch(deployment, known(deployment), [fresh_key()] * 2, lambda *_: None)


def test_what_waits_to_be_written_is_bounded(deployment, monkeypatch):
    written = []
    monkeypatch.setattr(dealing_module, "LARGEST_AHEAD", 1)
    deal_batch(
        deployment, known(deployment), [fresh_key()] * 2, lambda n, _: written.append(n), workers=3
    )
    assert written == deployment.dealt
