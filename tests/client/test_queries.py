"""predict(): what goes to the parties, what comes back, and how much of it at once."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import tacita
from tacita.client import AsyncClient
from tacita.errors import EncodingError, PeerFailed, ShapeError, UsageError
from tacita.service.front.engine import TensorInfo

from .fronts import SCALE, WAIT, X, Y, info

ONE = torch.tensor([[1.5, -2.0, 0.25], [0.0, 3.0, -7.125]])  # exact at 2^-16, and so its double


def inputs_at(engine):
    return [inputs for _, inputs in engine.queries]


# ---- one query -----------------------------------------------------------------------------------


def test_the_result_is_what_the_shares_add_up_to(client):
    assert torch.equal(client.predict("doubling", ONE), 2 * ONE)


def test_arrays_are_taken_as_tensors_are(client):
    assert torch.equal(client.predict("doubling", ONE.numpy()), 2 * ONE)


def test_what_has_fixed_precision_already_is_taken_as_well(client):
    tacita.TorchHook(torch)
    fixed = ONE.fix_precision(base=2, precision_fractional=16)
    assert torch.equal(client.predict("doubling", fixed), 2 * ONE)


def test_integers_are_encoded_exactly(client, engines):
    large = torch.full((2, 3), (1 << 44) + 1)  # as float32 it would lose the one
    client.predict("doubling", large)
    sent = sum(inputs[0].values for inputs in (inputs_at(each)[0] for each in engines))
    assert (sent == np.uint64(((1 << 44) + 1) * SCALE)).all()


def test_each_party_gets_its_share_of_the_input_and_no_more(client, engines):
    client.predict("doubling", ONE)
    (first,), (second,) = (inputs_at(each)[0] for each in engines)
    encoded = np.rint(ONE.numpy().astype(np.float64) * SCALE).astype(np.int64).view(np.uint64)
    assert np.array_equal(first.values + second.values, encoded)
    assert [(each.share, each.parties, each.scale) for each in (first, second)] == [
        (0, 2, SCALE),
        (1, 2, SCALE),
    ]
    # Six words that agree with the input by chance: one in 2^64 for each.
    assert not (first.values == encoded).any()
    assert not (second.values == encoded).any()


def test_the_same_input_is_shared_anew_under_a_new_id(client, engines):
    for _ in range(2):
        client.predict("doubling", ONE)
    (id_1, (share_1,)), (id_2, (share_2,)) = engines[0].queries
    assert id_1 != id_2
    assert not (share_1.values == share_2.values).any()
    assert [each for each, _ in engines[0].queries] == [each for each, _ in engines[1].queries]


def test_two_inputs_and_two_outputs(setting, client):
    for index, engine in enumerate(setting.engines):
        outputs = (Y, replace(Y, name="z"))
        engine.models_["two"] = info("two", index, (X, replace(X, name="w")), outputs)
    y, z = client.predict("two", ONE, -3 * ONE)
    assert torch.equal(y, -4 * ONE)
    assert torch.equal(z, -4 * ONE)


def test_a_scalar_is_an_input_too(setting, client):
    for index, engine in enumerate(setting.engines):
        ports = (TensorInfo("x", (), SCALE),), (TensorInfo("y", (), SCALE),)
        engine.models_["scalar"] = info("scalar", index, *ports)
    assert client.predict("scalar", torch.tensor(1.5)) == torch.tensor(3.0)


def test_the_same_from_an_event_loop(setting):
    async def ask():
        async with AsyncClient(setting.config()) as client:
            many = await asyncio.gather(*(client.predict("doubling", n * ONE) for n in range(5)))
            return many, [each.name for each in await client.models()]

    results, names = asyncio.run(ask())
    assert all(torch.equal(result, 2 * n * ONE) for n, result in enumerate(results))
    assert names == ["doubling"]


# ---- more rows than a query has ------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
def test_any_number_of_rows_becomes_queries_of_the_programs_size(client, engines, rows):
    images = torch.arange(rows * 3).reshape(rows, 3) / 8
    assert torch.equal(client.predict("doubling", images), 2 * images)
    assert len(engines[0].queries) == -(-rows // 2)


def test_the_last_query_is_filled_up_with_zeros_that_are_shared_too(client, engines):
    client.predict("doubling", ONE[:1])
    (first,), (second,) = (inputs_at(each)[0] for each in engines)
    assert first.shape == (2, 3)
    assert not (first.values + second.values)[1].any()
    assert first.values[1].any()


def test_queries_under_way_are_bounded_and_still_several(setting, client):
    for engine in setting.engines:
        engine.gate = threading.Event()
    images = torch.ones(20, 3)
    done = []
    worker = threading.Thread(
        target=lambda: done.append(client.predict("doubling", images, at_once=3))
    )
    worker.start()
    for engine in setting.engines:
        deadline = threading.Event()
        for _ in range(int(WAIT / 0.02)):
            if engine.running == 3:
                break
            deadline.wait(0.02)
        assert engine.running == 3
        engine.gate.set()
    worker.join(WAIT)
    assert torch.equal(done[0], 2 * images)
    assert [engine.most for engine in setting.engines] == [3, 3]


def test_progress_is_told_of_every_query(client):
    told = []
    client.predict("doubling", torch.ones(5, 3), progress=lambda *each: told.append(each))
    assert told[0] == ("queries", 0, 3)
    assert [done for _, done, _ in told] == [0, 1, 2, 3]


# ---- what never leaves ---------------------------------------------------------------------------

BAD = {
    "no input": ([], ShapeError, "takes 1 inputs, not 0"),
    "two inputs": ([ONE, ONE], ShapeError, "takes 1 inputs, not 2"),
    "wrong columns": ([torch.ones(2, 4)], ShapeError, "input 'x' has shape (2, 4)"),
    "no rows": ([torch.ones(0, 3)], ShapeError, "no rows"),
    "no dimension": ([torch.tensor(1.0)], ShapeError, "input 'x' has shape ()"),
    "not finite": ([ONE / 0], EncodingError, "input 'x': "),
    "too large": ([ONE * 2.0**60], EncodingError, "input 'x': "),
    "complex": ([ONE.to(torch.complex64)], EncodingError, "input 'x': "),
    "a list": ([[1.0]], UsageError, "input 'x' is a list"),
}


@pytest.mark.parametrize(("inputs", "kind", "words"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_before_anything_is_sent(client, engines, inputs, kind, words):
    with pytest.raises(kind) as caught:
        client.predict("doubling", *inputs)
    assert words in str(caught.value)
    assert engines[0].queries == engines[1].queries == []


def test_rows_cannot_be_split_where_an_output_has_none(setting, client):
    for index, engine in enumerate(setting.engines):
        engine.models_["mean"] = info("mean", index, (X,), (replace(Y, shape=()),))
    with pytest.raises(ShapeError, match=r"takes \(2, 3\)$"):
        client.predict("mean", torch.ones(4, 3))


def test_no_share_is_in_a_repr_or_an_error(client, engines):
    def say(error):
        engines[1].fails_with = error
        with pytest.raises(tacita.TacitaError) as caught:
            client.predict("doubling", ONE)
        return str(caught.value)

    client.predict("doubling", ONE)
    texts = [repr(client), say(ShapeError("it does not fit")), say(ValueError("12345678901"))]
    assert "12345678901" not in texts[-1]
    shares = [value for _, (x,) in engines[0].queries for value in x.values.ravel().tolist()]
    assert not [share for share in shares for text in texts if str(share) in text]


# ---- results that do not fit ---------------------------------------------------------------------


def altered(**fields):
    return lambda tensors: [replace(each, **fields) for each in tensors]


WRONG = {
    "scale": (altered(scale=SCALE * 2), ShapeError, "bob sent output 'y'"),
    "shape": (
        lambda ts: [replace(t, shape=(3, 2), values=t.values.reshape(3, 2)) for t in ts],
        ShapeError,
        "bob sent output 'y' of shape (3, 2)",
    ),
    "name": (altered(name="z"), PeerFailed, "bob sent the outputs ['z']"),
    "share": (altered(share=0), PeerFailed, "bob sent share 0 of 2"),
    "nothing": (lambda _: [], PeerFailed, "bob sent the outputs []"),
    "far too much": (
        lambda ts: [replace(ts[0], shape=(1 << 18,), values=np.zeros(1 << 18, np.uint64))],
        PeerFailed,
        "bob sent an answer of more than",
    ),
}


@pytest.mark.parametrize(("change", "kind", "words"), WRONG.values(), ids=WRONG)
def test_a_result_that_does_not_fit_is_no_result(client, engines, change, kind, words):
    engines[1].changed = change
    with pytest.raises(kind) as caught:
        client.predict("doubling", ONE)
    assert words in str(caught.value)
    engines[1].changed = lambda tensors: tensors
    assert torch.equal(client.predict("doubling", ONE), 2 * ONE)
