"""Order along a dimension: as torch has it, with the lower index first among equals."""

from __future__ import annotations

import pytest
import torch
from agreement import close, reals, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tacita import export
from tacita.errors import BoundExceeded, ShapeError, UnsupportedOperation
from tacita.protocols import Extremum, Ranks, ReLU
from tacita.protocols.one_hot import bits_of
from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering import merging, ranking, sorting
from tacita.torch.lowering.extrema import difference_bits
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor

SHAPES = [(), (1,), (2,), (3,), (10,), (1, 3), (3, 4), (4, 3, 5), (40, 2), (5, 0)]
BITS = Precision(2, 16)


def few(shape):
    """Values with many ties among them."""
    return torch.randint(-4, 4, shape).double() / 8


def plain(values, precision=BITS, bound=None):
    run = PlainRun()
    encoded = (values.double() * precision.scale).round().to(torch.int64).numpy().view("uint64")
    handle = run.input(encoded, tuple(values.shape), precision.scale, bound)
    return PrivateTensor(handle, Lowering(run, precision))


def dims(shape):
    return range(max(1, len(shape)))


@pytest.fixture
def networks_only(monkeypatch):
    monkeypatch.setattr(sorting, "MOST_PAIRS", 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("descending", [False, True])
def test_sort(group, shape, descending):
    a = few(shape)
    x, ra = group.share(a), stored(a)
    for dim in dims(shape):
        values, indices = torch.sort(x, dim, descending)
        expected = torch.sort(ra, dim=dim, descending=descending, stable=True)
        close(values, expected.values)
        close(indices, expected.indices)
        close(torch.argsort(x, dim, descending), expected.indices)
        named = torch.argsort(x, dim=dim, descending=descending, stable=True)
        close(named, expected.indices)
        stable = torch.sort(x, dim=dim, descending=descending, stable=True)
        close(stable.values, expected.values)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape])
def test_one_rank(group, shape):
    a = few(shape)
    x, ra = group.share(a), stored(a)
    for dim in dims(shape):
        ordered = torch.sort(ra, dim=dim, stable=True)
        size = shape[dim] if shape else 1
        for k in {1, (size + 1) // 2, size}:
            values, indices = torch.kthvalue(x, k, dim)
            close(values, ordered.values.select(dim, k - 1) if shape else ra)
            close(indices, ordered.indices.select(dim, k - 1) if shape else ordered.indices)
        kept = torch.kthvalue(x, 1, dim, keepdim=True)
        assert kept.values.shape == torch.kthvalue(ra, 1, dim, keepdim=True).values.shape
        close(torch.median(x, dim).values, torch.median(ra, dim).values)
    close(torch.median(x), torch.median(ra))
    if shape:
        close(torch.msort(x), torch.msort(ra))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("largest", [False, True])
def test_topk(group, shape, largest):
    a = few(shape)
    x, ra = group.share(a), stored(a)
    for dim in dims(shape):
        size = shape[dim] if shape else 1
        ordered = torch.sort(ra, dim=dim, descending=largest, stable=True)
        for k in {0, 1, size // 2, size} if shape else {1}:
            values, indices = torch.topk(x, min(k, size), dim, largest)
            close(values, ordered.values.narrow(dim, 0, min(k, size)) if shape else ra)
            close(
                indices, ordered.indices.narrow(dim, 0, min(k, size)) if shape else torch.tensor(0)
            )


@settings(max_examples=40)
@given(
    n=st.integers(2, 300),
    columns=st.integers(1, 3),
    k=st.integers(1, 6),
    reach=st.sampled_from([1, 30, 1 << 20]),
    seed=st.integers(0, 1 << 30),
)
def test_the_first_of_many_in_groups(n, columns, k, reach, seed):
    k = min(k, n)
    draw = torch.Generator().manual_seed(seed)
    a = torch.randint(-reach, reach, (n, columns), generator=draw).double()
    values, indices = torch.topk(plain(a), k, 0)
    expected = torch.sort(a, dim=0, descending=True, stable=True)
    close(values, expected.values[:k], precision=BITS)
    close(indices, expected.indices[:k], precision=BITS)


def test_levels_of_groups(group):
    a = few((700, 2))
    sizes, _ = ranking.plan(700, 2, 0, 3, 64)
    assert len(sizes) > 1
    values, indices = torch.topk(group.share(a), 3, 0)
    expected = torch.sort(stored(a), dim=0, descending=True, stable=True)
    close(values, expected.values[:3])
    close(indices, expected.indices[:3])


def recorded(size, bound, run):
    """What `run` emits for zeros of a size."""
    low, found = Lowering(PlainRun(), BITS), []
    emit = low.builder.emit
    zeros = torch.zeros(size, dtype=torch.int64).numpy().view("uint64")
    x = low.builder.input(zeros, size, BITS.scale, bound)

    def keep(instruction):
        found.append(instruction)
        emit(instruction)

    low.builder.emit = keep
    run(low, x)
    return found


@pytest.mark.parametrize(("n", "m", "k"), [(5, 3, 5), (60, 1, 2), (700, 2, 3), (3000, 1, 1)])
def test_a_plan_costs_what_its_instructions_do(n, m, k):
    instructions = recorded((n, m), 1 << 20, lambda low, x: sorting.topk(low, x, k, 0))
    _, declared = ranking.plan(n, m, 0, k, difference_bits(1 << 20))
    assert any(isinstance(each, Ranks) for each in instructions)
    assert sum(each.cost().dealt_bytes for each in instructions) == declared.dealt_bytes


@pytest.mark.parametrize(("n", "m"), [(9, 4), (70, 1)])
def test_a_network_costs_little_more_than_its_levels(n, m, networks_only):
    instructions = recorded((n, m), 1 << 20, lambda low, x: sorting.sort(low, x, 0))
    bits = difference_bits(((1 << 20) + 1) << bits_of(n))
    dealt = sum(each.cost().dealt_bytes for each in instructions if isinstance(each, ReLU))
    assert dealt == merging.cost(n, m, bits).dealt_bytes


# ---- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 13, 16, 33])
def test_a_network_sorts_whatever_is_0_or_1(n):
    # By the 0-1 principle it then sorts everything (Knuth, TAOCP 3, 5.3.4, theorem Z).
    count = min(1 << n, 1 << 12)
    draws = torch.arange(count) if 1 << n == count else torch.randint(0, 1 << n, (count,))
    rows = (draws[:, None] >> torch.arange(n)) & 1
    for pairs in merging.levels(n):
        assert len({place for pair in pairs for place in pair}) == 2 * len(pairs)
        first, second = (torch.tensor([pair[i] for pair in pairs]) for i in (0, 1))
        a, b = rows[:, first], rows[:, second]
        rows[:, first], rows[:, second] = torch.maximum(a, b), torch.minimum(a, b)
    assert (rows[:, 1:] <= rows[:, :-1]).all()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("bound", [None, 4])
def test_sorting_by_a_network(group, networks_only, descending, bound):
    a = few((21, 2))
    values, indices = torch.sort(group.share(a, bound=bound), 0, descending)
    expected = torch.sort(stored(a), dim=0, descending=descending, stable=True)
    close(values, expected.values)
    close(indices, expected.indices)
    close(torch.msort(group.share(a, bound=bound)), torch.msort(stored(a)))


@settings(max_examples=20)
@given(
    n=st.integers(2, 70),
    reach=st.sampled_from([2, 1000, 1 << 30]),
    k=st.integers(1, 70),
    seed=st.integers(0, 1 << 30),
)
def test_ranks_by_a_network(n, reach, k, seed):
    draw = torch.Generator().manual_seed(seed)
    a = torch.randint(-reach, reach, (n,), generator=draw).double()
    x = plain(a)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "MOST_PAIRS", 0)
        values, indices = torch.kthvalue(x, min(k, n), 0)
    expected = torch.sort(a, stable=True)
    close(values, expected.values[min(k, n) - 1], precision=BITS)
    close(indices, expected.indices[min(k, n) - 1], precision=BITS)


def test_the_ends_of_what_a_network_takes(networks_only):
    # Keys of 60 bits: with five for the index, 55 are left for a value.
    most = (1 << 55) - 1
    a = torch.tensor([most, -most, 0, most, 1, -1, -most, 3, most - 1] * 2)
    run = PlainRun()
    x = PrivateTensor(run.input(a.numpy().view("uint64"), (18,), 1, None), Lowering(run, None))
    values, indices = torch.sort(x, descending=True)
    expected = torch.sort(a, descending=True, stable=True)
    assert torch.equal(reals(values), expected.values)
    assert torch.equal(reals(indices), expected.indices)


def test_checked_mode_finds_what_is_too_wide_for_a_network(pair, networks_only):
    x = pair.share(torch.tensor([1, 1 << 59, 3]), checked=True)
    with pytest.raises(BoundExceeded, match="sort"):
        torch.sort(x).values.get()


@pytest.mark.parametrize(("m", "kind"), [(1, Ranks), (400, ReLU)])
def test_the_cheaper_way_is_taken(m, kind):
    kinds = set(map(type, recorded((200, m), 1 << 20, lambda low, x: sorting.sort(low, x, 0))))
    assert kinds & {Ranks, ReLU} == {kind}


# ---- many elements, refusals -------------------------------------------------------------------


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_the_largest_of_many(pair, n):
    a = torch.randperm(n).double() / 8
    x = pair.share(a)
    close(x.argmax(), a.argmax())
    values, indices = torch.topk(x, 3)
    expected = torch.topk(a, 3)
    close(values, expected.values)
    close(indices, expected.indices)


def test_too_many_for_all_pairs_and_for_a_network():
    with pytest.raises(
        UnsupportedOperation, match=r"sort of 20000 elements .* topk with a small k"
    ):
        torch.sort(plain(torch.zeros(20_000)))
    with pytest.raises(UnsupportedOperation, match="kthvalue of 300000 elements"):
        torch.kthvalue(plain(torch.zeros(300_000)), 7)
    wide = plain(torch.zeros(5000), bound=1 << 59)
    with pytest.raises(UnsupportedOperation, match=r"bounded\(\)"):
        torch.sort(wide)
    with pytest.raises(UnsupportedOperation, match="fewer columns"):
        torch.topk(plain(torch.zeros(100, 100_000)), 90, 0)


def test_wrong_ranks_are_refused():
    x = plain(torch.zeros(3))
    with pytest.raises(ShapeError, match="k = 4"):
        torch.topk(x, 4)
    for k in (0, 4):
        with pytest.raises(ShapeError, match=f"k = {k}"):
            torch.kthvalue(x, k)
    with pytest.raises(ShapeError, match="no elements"):
        torch.median(plain(torch.zeros(0)))


# ---- gradients and whole networks --------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.sort(x, 0).values * torch.arange(6.0)[:, None],
        lambda x: torch.sort(x, 1, descending=True).values * torch.arange(3.0),
        lambda x: torch.topk(x, 2, 0).values * torch.tensor([[3.0], [5.0]]),
        lambda x: torch.kthvalue(x, 2, 0).values,
        lambda x: torch.median(x, 1).values,
    ],
    ids=["sort", "descending", "topk", "kthvalue", "median"],
)
def test_gradients(group, operation):
    a = (torch.randperm(18).view(6, 3) - 9).double() / 8
    clear = stored(a, BITS).float().requires_grad_()
    operation(clear).sum().backward()
    x = group.share(a, BITS)
    x.requires_grad_()
    operation(x).sum().backward()
    close(x.grad, clear.grad, precision=BITS)


class Best(nn.Module):
    """The two best classes and their scores' sum."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(4, 6)

    def forward(self, x):
        scores = self.scores(x)
        values, indices = torch.topk(scores, 2)
        return values, indices, torch.sort(scores, 1).values, torch.median(scores, 1).values


def test_in_a_whole_network(workers):
    module, x = Best().eval(), torch.rand(3, 4)
    model = export(module, x, samples=torch.rand(20, 4))
    assert not any(isinstance(each, Extremum) for each in model.program.instructions)
    shared = model.share(workers["alice"], workers["bob"], crypto_provider=workers["dan"])
    results = shared(x)
    with torch.no_grad():
        values, indices, ordered, middle = module(x)
    # The scores are sums of four products, truncated once: five roundings of half a unit, at
    # weights and inputs of at most 1, and one unit of the truncation.
    units = 2 * 4 * 0.5 + 0.5 + 1
    close(results[0], values, units, BITS)
    close(results[2], ordered, units, BITS)
    close(results[3], middle, units, BITS)
    gaps = ordered.diff(dim=1).min()
    assert gaps > 2 * units / BITS.scale  # so that the order is that of the exact scores
    assert torch.equal(results[1].get().float_precision().long(), indices)
