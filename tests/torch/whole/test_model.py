"""A network shared and called: its results, what it refuses, what it costs and what it leaves."""

import gc
from math import ceil, log2

import pytest
import torch
from error_bounds import agree_with_module, agree_with_preview
from networks import Function, mlp
from torch import nn

import tacita
from tacita.errors import (
    BoundExceeded,
    EncodingError,
    HoldersError,
    MissingDealerError,
    ShapeError,
    UsageError,
)
from tacita.ring.fixed_point import Precision
from tacita.runtime.deployment import Deployment
from tacita.runtime.traffic import measured
from tacita.torch.whole.model import SharedModel, export

PRECISION = Precision(2, 16)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(1)
    return mlp(5, 7, 6, 3)


@pytest.fixture(scope="module")
def x():
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def model(module, x):
    return export(module, x, samples=x)


@pytest.fixture(scope="module")
def adder():
    """Two inputs, and results of several kinds."""

    def forward(self, a, b):
        scaled = a * self.w
        return {"sum": scaled + b, "input": b, "larger": torch.relu(scaled - b)}

    weight = nn.Parameter(torch.tensor([0.5, -2.0, 3.0]))
    return export(Function(forward, w=weight), torch.zeros(2, 3), torch.zeros(2, 3))


A, B = torch.tensor([[1.0, 2.5, -3.0], [0.0, -1.5, 4.0]]), torch.tensor([[2.0, -1.0, 0.5]] * 2)


# ---- results -----------------------------------------------------------------------------------


def test_the_preview_agrees_with_the_module(model, module, x):
    agree_with_module(model, model.preview(x), module, x)


def test_a_run_agrees_with_the_preview_and_with_the_module(model, module, share, x):
    shared = share(model)
    for _ in range(2):
        scores = shared(x)
        assert isinstance(scores, tacita.PrivateTensor)
        agree_with_preview(model, scores, x)
    agree_with_module(model, shared(x).decrypt(), module, x)


def test_results_come_in_the_modules_structure(adder, share):
    got = share(adder)(A, B)
    assert sorted(got) == ["input", "larger", "sum"]
    agree_with_preview(adder, got, A, B)


def test_public_weights_give_the_same_results(module, deploy, x):
    model = export(module, x, public_weights=True)
    agree_with_preview(model, deploy(model)(x), x)


@pytest.mark.parametrize("precision", [Precision(10, 3), Precision(2, 8)])
def test_other_precisions(module, deploy, x, precision):
    model = export(module, x, precision=precision)
    agree_with_preview(model, deploy(model)(x), x)
    agree_with_module(model, model.preview(x), module, x)


def test_an_empty_batch_and_a_scalar(deploy):
    empty = export(mlp(4, 3, 2), torch.zeros(0, 4))
    assert deploy(empty)(torch.zeros(0, 4)).decrypt().shape == (0, 2)
    scalar = export(Function(lambda self, x: x * self.w, w=torch.tensor(3.0)), torch.tensor(0.0))
    assert deploy(scalar)(torch.tensor(1.5)).decrypt().item() == 4.5


# ---- inputs --------------------------------------------------------------------------------------


def private(tensor, group, precision=PRECISION):
    holders, dealer = group
    return tensor.fix_precision(precision).share(*holders, crypto_provider=dealer)


def test_inputs_that_are_private_already(adder, share, group):
    shared = share(adder)
    a, b = private(A, group), private(B, group)
    agree_with_preview(adder, shared(a, b), A, B)
    agree_with_preview(adder, shared(a, B), A, B)  # an input serves many runs
    agree_with_preview(adder, shared(a, a), A, A)


def test_inputs_of_other_scales(adder, share, group):
    # What private tensors came from may have left them at another scale than a program takes.
    shared = share(adder)
    a = private(A, group)
    for given, values in [
        (a * 0.5 * a, A * 0.5 * A),  # above: a product that is not truncated yet
        (a > 0, (A > 0).float()),  # below: 0 and 1 as they are
        (a.argmax(1, keepdim=True).expand(2, 3), A.argmax(1, keepdim=True).expand(2, 3).float()),
        ((a > 0) / 4, (A > 0) / 4),
        (a / 3, A / 3),
    ]:
        got = shared(given, B)["sum"].decrypt()
        expected = values * torch.tensor([0.5, -2.0, 3.0]) + B
        # Truncated once (a unit), from values that are a unit from these, times at most 3.
        assert ((got - expected).abs() <= 3 * 2 / PRECISION.scale + 2.0**-20).all()


def test_wrong_inputs_are_refused_and_the_model_stays_usable(adder, share, group):
    shared = share(adder)
    with pytest.raises(ShapeError, match="takes 2 inputs, not 1"):
        shared(A)
    with pytest.raises(ShapeError, match=r"input 'inputs_1' has shape \(3, 3\)"):
        shared(A, torch.zeros(3, 3))
    with pytest.raises(ShapeError, match=r"input 'inputs_0' has shape \(3,\)"):
        shared(private(A[0], group), B)
    with pytest.raises(UsageError, match=r"'inputs_1' has precision base 10, 3 digits.*base 2, 16"):
        shared(A, private(B, group, Precision(10, 3)))
    integers = A.long().share(*group[0], crypto_provider=group[1])
    with pytest.raises(UsageError, match="'inputs_0' has precision None"):
        shared(integers, B)
    with pytest.raises(EncodingError, match=r"input 'inputs_1': .*not finite"):
        shared(A, B / 0)
    agree_with_preview(adder, shared(A, B), A, B)


@pytest.mark.parametrize("given", [B.numpy(), B.tolist(), 3.0])
def test_inputs_that_are_no_tensors_are_refused(adder, share, given):
    says = f"input 'inputs_1' is a {type(given).__name__}: give a tensor"
    for run in (share(adder), adder.preview):
        with pytest.raises(UsageError, match=says):
            run(A, given)


def test_inputs_in_fixed_precision_keep_their_ring_elements(adder, share):
    a, b = A.fix_precision(PRECISION), B.fix_precision(PRECISION)
    agree_with_preview(adder, share(adder)(a, b), A, B)
    fine = torch.full((2, 3), 2.0**20 + 2.0**-16, dtype=torch.float64)  # too fine for float32
    big = fine.fix_precision(PRECISION)
    assert (adder.encode([big, b])[0] == big._ring()).all()
    product = adder.encode([a * a, b])[0]  # at another scale: a unit of truncation, or rounding
    assert abs(product.view("int64") - (A * A * PRECISION.scale).long().numpy()).max() <= 1


def test_inputs_of_another_fixed_precision_are_refused(adder, share):
    for run in (share(adder), adder.preview):
        with pytest.raises(UsageError, match=r"'inputs_1' has precision base 10, 3 digits"):
            run(A, B.fix_precision())


@pytest.mark.parametrize("precision", [16, "2^16", None])
def test_the_precision_is_a_precision(module, x, precision):
    with pytest.raises(UsageError, match="precision= is a Precision, as in"):
        export(module, x, precision=precision)


@pytest.mark.parametrize("runs", ["a", 1.5, True])
def test_runs_are_counted_in_whole_numbers(adder, share, runs):
    shared = share(adder)
    with pytest.raises(UsageError, match=r"deal\(\) takes a number of runs, not"):
        shared.deal(runs)
    with pytest.raises(UsageError, match=r"prepare\(\) takes a number of runs, not"):
        shared.prepare(runs)


def test_inputs_of_another_session_are_refused(adder, share, group):
    shared = share(adder)
    elsewhere = B.fix_precision(PRECISION).share(*group[0])
    with pytest.raises(HoldersError, match="'inputs_1' is shared among"):
        shared(A, elsewhere)


def test_without_a_dealer(adder, group):
    with pytest.raises(MissingDealerError, match="crypto_provider"):
        adder.share(*group[0])


# ---- what becomes of results ---------------------------------------------------------------------


def test_results_can_be_computed_with(model, share, group, x):
    scores = share(model)(x)
    expected = model.preview(x)
    assert torch.equal(scores.argmax(dim=1).decrypt().long(), expected.argmax(dim=1))
    offset = torch.randn(4, 3)
    total = (scores + private(offset, group)).get().float_precision()
    # Both are rounded, and each of two layers' truncations is a unit, times weights below 1.
    assert ((total - expected - offset).abs() < 0.01).all()


def test_results_of_one_model_are_inputs_of_another(deploy, x):
    first, second = export(mlp(5, 4), x), export(mlp(4, 2), torch.zeros(4, 4))
    before = deploy(first)
    middle = before(x)
    got = SharedModel(second, before.session)(middle).decrypt()
    seen = middle.decrypt()
    # What stands between them is truncated, to a unit, before weights of at most 1 take it.
    weights = sum(abs(w.view("int64")).sum() for w in second.weights[:1]) / PRECISION.scale
    assert ((got - second.preview(seen)).abs() <= (1 + 2 * weights) / PRECISION.scale).all()


def test_a_result_is_kept_when_its_model_is_gone(model, share, x):
    shared = share(model)
    scores = shared(x)
    del shared
    gc.collect()
    agree_with_preview(model, scores, x)


# ---- several models and sessions -----------------------------------------------------------------


def test_two_models_in_one_session(model, adder, share, x):
    one, other = share(model), share(adder)
    assert one.session is other.session
    for _ in range(2):
        agree_with_preview(model, one(x), x)
        agree_with_preview(adder, other(A, B), A, B)


def test_one_model_in_two_sessions(model, deploy, x):
    one, other = deploy(model), deploy(model, 3)
    results = [one(x), other(x)]
    for scores in results:
        agree_with_preview(model, scores, x)


# ---- costs ---------------------------------------------------------------------------------------


def test_the_declared_cost_is_what_a_run_costs(model, share, group, x):
    holders, dealer = group
    shared = share(model)
    given = private(x, group)
    shared.deal(2)
    for stock in (2, 1, 0):
        if stock == 2:
            shared.prepare(1)
        with tacita.measure(*holders, crypto_provider=dealer) as traffic:
            shared(given)
        assert traffic.rounds == shared.cost.rounds
        assert traffic.online_bytes == shared.cost.online_bytes(len(holders))
        assert traffic.dealt_bytes == (0 if stock else shared.cost.dealt_bytes)
        assert traffic.seed_bytes == (0 if stock else shared.cost.published_bytes)
        assert traffic.input_bytes == 0
    assert shared.cost.rounds > 2
    assert shared.cost.dealt_bytes > 0


def test_weights_are_opened_once_and_not_again(model, deploy, x):
    shared = deploy(model)
    size = sum(8 * weight.size for weight in model.weights)
    with measured(shared.session) as traffic:
        again = type(shared)(model, shared.session)
    assert traffic.rounds == 1
    assert traffic.online_bytes == size
    with measured(shared.session) as traffic:
        again(x)
    assert traffic.online_bytes == model.cost.opened_bytes


# ---- what is left --------------------------------------------------------------------------------


def held(session):
    """How many wires each role keeps."""
    session.settle()
    session.settle()  # what was forgotten with the first is gone with the second
    return [len(role._store.wires) for role in session._roles]


def test_a_run_leaves_its_results_and_nothing_else(model, deploy, x):
    shared = deploy(model)
    shared(x).get()
    before = held(shared.session)
    shared.deal(1)
    kept = [shared(x) for _ in range(3)]
    after = held(shared.session)
    parties = len(shared.session.parties)
    assert after == [size + 3 * (role < parties) for role, size in enumerate(before)]
    del kept
    assert held(shared.session) == before


def test_wires_of_a_run_go_as_soon_as_nothing_needs_them(model, deploy, x, monkeypatch):
    stores = []
    for name in ("bound_store", "bound_masks"):
        monkeypatch.setattr(Deployment, name, noting(getattr(Deployment, name), stores))
    shared = deploy(model)
    shared(x)
    shared.deal(1)
    shared(x)
    shared.session.settle()
    outputs = {port.wire for port in model.program.outputs}
    # Two parties twice, and what each prepared; the dealer once live and once ahead.
    assert len(stores) == 2 * (2 + 1) + 2
    left = sorted(len(store.wires) for store in stores)
    bound = len(model.weights)  # what is prepared takes nothing away from its store
    assert left == sorted([0] * 2 + [len(outputs)] * 4 + [bound] * 2)


def noting(make, made):
    def noted(*arguments):
        made.append(make(*arguments))
        return made[-1]

    return noted


def test_a_model_that_goes_leaves_nothing(adder, model, deploy, x):
    shared = deploy(model)
    session = shared.session
    other = type(shared)(adder, session)
    shared.deal(2)
    shared.prepare(1)
    shared(x).get()
    del shared
    gc.collect()
    other(A, B)
    session.settle()
    for role in session._roles:
        assert len(role._deployments) == 1
    for party in session.parties:
        assert party._prepared == {}
    weights, inputs, results = len(adder.weights), 2, 3
    assert all(size <= weights + inputs + results for size in held(session))


# ---- checked mode --------------------------------------------------------------------------------


def test_bounds_that_hold_are_verified(module, deploy, x):
    model = export(module, x, samples=x, checked=True)
    agree_with_preview(model, deploy(model)(x), x)


@pytest.mark.parametrize("ahead", [False, True], ids=["live", "stock"])
def test_a_bound_that_does_not_hold_is_found(module, deploy, x, ahead):
    model = export(module, x, samples=x / 100, margin=1.0, checked=True)
    shared = deploy(model)
    if ahead:
        shared.deal(2)
    scores = shared(x * 100)
    # The first comparison comes after the first layer; its bound is told as the module knows it.
    bound = max(abs(module[0](x / 100)).max().item(), 256 / PRECISION.scale)
    told = f"{2.0 ** ceil(log2(bound)):.6g}"
    with pytest.raises(BoundExceeded, match=rf"^1: relu: .* bound of {told}; export with more"):
        scores.get()
    with pytest.raises(BoundExceeded):
        (scores + 1).get()
    with pytest.raises(BoundExceeded):
        model.preview(x * 100)
    # The session goes on, and so do its streams.
    agree_with_preview(model, shared(x / 100), x / 100)
    assert shared.stock == 0


def test_what_was_refused_is_refused_as_an_input_too(adder, share, group):
    holders, dealer = group
    shared = share(adder, checked=True)
    given = A.fix_precision(PRECISION).share(*holders, crypto_provider=dealer, checked=True)
    refused = torch.relu(given.bounded(1.0))
    results = shared(refused, B)
    with pytest.raises(BoundExceeded):
        results["sum"].get()
    with pytest.raises(BoundExceeded):
        results["larger"].get()
    assert torch.equal(results["input"].decrypt(), B)
    agree_with_preview(adder, shared(given, B), A, B)
