"""Private indices: rows of tables, one-hot columns and elements at private places, as in torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from agreement import close, reals, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tacita import export
from tacita.errors import BoundExceeded, PrecisionError, ShapeError, UnsupportedOperation
from tacita.protocols import OneHot
from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun
from tacita.torch.encoding import integers_of
from tacita.torch.lowering import lookup
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor

BITS = Precision(2, 16)
ROWS = [1, 2, 3, 8, 10, 100]


def table_of(rows, width=3):
    return torch.randint(-64, 64, (rows, width)).double() / 8


def plain(values):
    """Private integers, in the clear."""
    run = PlainRun()
    handle = run.input(integers_of(values), tuple(values.shape), 1, None)
    return PrivateTensor(handle, Lowering(run, None))


# ---- rows of tables ----------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,)])
def test_rows_of_a_private_table(group, rows, shape):
    table, index = table_of(rows), torch.randint(0, rows, shape)
    close(F.embedding(group.share(index), group.share(table)), stored(table)[index])


@pytest.mark.parametrize("rows", ROWS)
def test_rows_of_a_public_table(group, rows):
    table, index = table_of(rows).float(), torch.randint(0, rows, (2, 3))
    close(F.embedding(group.fixed(index), table), stored(table)[index])
    numbers = torch.randint(-99, 99, (rows, 2))
    found = F.embedding(group.share(index), numbers)
    assert torch.equal(reals(found), numbers[index])


@pytest.mark.parametrize("precision", [BITS, Precision(10, 3)])
def test_an_index_in_fixed_point(group, precision):
    table, index = table_of(7), torch.arange(7).flip(0)
    x = group.fixed(index, precision)
    close(F.embedding(x, group.share(table, precision)), stored(table, precision)[index])


def test_a_row_that_was_computed(group):
    scores, table = torch.rand(6, 4), table_of(4)
    best = group.share(scores, BITS).argmax(1)
    found = F.embedding(best, group.share(table, BITS))
    close(found, stored(table, BITS)[stored(scores, BITS).argmax(1)], precision=BITS)


@settings(max_examples=30)
@given(
    rows=st.integers(1, 300),
    index=st.lists(st.integers(0, 299), max_size=20),
    width=st.integers(1, 4),
)
def test_any_index_of_any_table(rows, index, width):
    places = torch.tensor([i % rows for i in index], dtype=torch.long)
    table = torch.randint(-(1 << 40), 1 << 40, (rows, width))
    run = PlainRun()
    low = Lowering(run, None)
    x, t = (PrivateTensor(run.input(integers_of(each), tuple(each.shape), 1, None), low)
            for each in (places, table))  # fmt: skip
    assert torch.equal(reals(F.embedding(x, t)), table[places])


def test_a_table_of_a_vocabulary(pair):
    rows = 30_522
    table = torch.randn(rows, 4)
    index = torch.tensor([0, rows - 1, 101, 16_384])
    close(F.embedding(pair.share(index), pair.share(table, BITS)), stored(table, BITS)[index],
          precision=BITS)  # fmt: skip


def test_a_row_costs_what_is_documented():
    low, dealt = Lowering(PlainRun(), BITS), []
    emit = low.builder.emit

    def keep(instruction):
        dealt.append(instruction.cost())
        emit(instruction)

    low.builder.emit = keep
    index = low.builder.input(integers_of(torch.arange(5)), (5,), 1, None)
    table = low.builder.input(integers_of(torch.zeros(10, 3).long()), (10, 3), BITS.scale, None)
    lookup.rows(low, table, index, "test")
    # One table of 16 words an index, and the product's result.
    assert sum(each.dealt_bytes for each in dealt) == 8 * 5 * 16 + 8 * 5 * 3
    assert sum(each.rounds for each in dealt) == 0  # but for masks


@pytest.mark.parametrize("padding", [None, 0, 2, 4])
def test_the_gradient_of_a_table(group, padding):
    table, index = table_of(5), torch.tensor([[2, 0, 2], [4, 2, 1]])
    weights = torch.arange(1, 7).view(2, 3, 1) / 2
    clear = stored(table, BITS).float().requires_grad_()
    (F.embedding(index, clear, padding) * weights).sum().backward()
    x = group.share(table, BITS)
    x.requires_grad_()
    (F.embedding(group.share(index), x, padding) * weights).sum().backward()
    close(x.grad, clear.grad, precision=BITS)


def test_one_table_of_one_hot_columns_serves_both_ways():
    run, dealt = PlainRun(), []
    emit = run.emit

    def keep(instruction):
        dealt.append(instruction)
        emit(instruction)

    run.emit = keep
    low = Lowering(run, BITS)
    values = integers_of(torch.arange(15).view(5, 3) << 16)
    table = PrivateTensor(run.input(values, (5, 3), BITS.scale, None), low)
    table.requires_grad_()
    index = PrivateTensor(run.input(integers_of(torch.tensor([1, 3])), (2,), 1, None), low)
    F.embedding(index, table).sum().backward()
    assert sum(isinstance(each, OneHot) for each in dealt) == 1


def test_frequencies_of_private_indices_are_refused(group):
    table = group.share(table_of(5), BITS)
    table.requires_grad_()
    found = F.embedding(group.share(torch.tensor([1])), table, scale_grad_by_freq=True)
    with pytest.raises(UnsupportedOperation, match="scale_grad_by_freq"):
        found.sum().backward()


def test_checked_mode_finds_an_index_outside(pair):
    table = pair.share(table_of(5), checked=True)
    inside = F.embedding(pair.share(torch.tensor([0, 4]), checked=True), table)
    assert reals(inside).shape == (2, 3)
    outside = F.embedding(pair.share(torch.tensor([0, 5]), checked=True), table)
    with pytest.raises(BoundExceeded, match="embedding"):
        outside.get()


def test_what_is_too_large_is_refused():
    with pytest.raises(UnsupportedOperation, match="cut the table in parts"):
        F.embedding(plain(torch.tensor([1])), torch.zeros(lookup.LARGEST + 1, 1).long())
    many = torch.zeros(lookup.MOST_ENTRIES // 1000 + 1).long()
    with pytest.raises(UnsupportedOperation, match="fewer at a time"):
        F.embedding(plain(many), torch.zeros(1000, 1).long())


# ---- one-hot columns and classes ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_one_hot(group, shape):
    index = torch.randint(0, 5, shape)
    assert torch.equal(reals(F.one_hot(group.share(index), 5)), F.one_hot(index, 5))


def test_how_many_classes_there_are_is_told():
    low = Lowering(PlainRun(), None)
    index = low.builder.input(integers_of(torch.tensor([1, 2])), (2,), 1, None)
    with pytest.raises(UnsupportedOperation, match="num_classes"):
        lookup.encoded(low, index)
    hot = PrivateTensor(lookup.encoded(low, index, 3), low)
    assert torch.equal(reals(hot), F.one_hot(torch.tensor([1, 2]), 3))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_private_classes(group, reduction):
    scores, classes = torch.randint(-16, 16, (6, 5)) / 8, torch.tensor([0, 4, 2, 2, 1, 3])
    private = F.cross_entropy(group.share(scores, BITS), group.share(classes), reduction=reduction)
    public = F.cross_entropy(group.share(scores, BITS), classes, reduction=reduction)
    # The same log softmax, but for the last bit of its truncation, of each sample.
    close(private, reals(public), units=2 * (6 if reduction == "sum" else 1), precision=BITS)


# ---- elements at private places ----------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_adding_at_private_places(group, dim):
    a, source = torch.randn(4, 5), torch.randn(4, 5)
    index = torch.randint(0, (4, 5)[dim], (4, 5))
    found = group.share(a).scatter_add(dim, group.share(index), group.share(source))
    expected = stored(a).scatter_add(dim, index, stored(source))
    close(found, expected)


def test_places_that_do_not_fit(group):
    x = group.share(torch.randn(4, 5))
    with pytest.raises(ShapeError, match="do not fit"):
        x.scatter_add(0, group.share(torch.zeros(2, 3).long()), x)
    index = group.share(torch.zeros(1, 5).long())
    with pytest.raises(UnsupportedOperation, match="scatter_add"):
        x.scatter(0, index, group.share(torch.randn(1, 5)))


@pytest.mark.parametrize(
    "take",
    [
        lambda x, i: x[i],
        lambda x, i: x.index_select(0, i),
        lambda x, i: x.gather(0, i[:, None]),
        lambda x, i: torch.take(x, i),
    ],
    ids=["index", "index_select", "gather", "take"],
)
def test_other_uses_of_a_private_index_say_what_there_is(group, take):
    x, index = group.share(torch.randn(4, 5)), group.share(torch.tensor([1, 2]))
    with pytest.raises(UnsupportedOperation, match=r"F\.embedding\(index, table\)"):
        take(x, index)


# ---- whole networks ----------------------------------------------------------------------------


class Words(nn.Module):
    """Rows of a table at places that come as an input, and at one that is computed."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 3)

    def forward(self, words):
        rows = self.table((words // 1).long())
        best = rows.sum(2).argmax(1)
        return rows, self.table(best), F.one_hot(best, 4)


def test_in_a_whole_network(workers):
    module, words = Words().eval(), torch.tensor([[0.0, 10, 3, 3], [7, 1, 2, 0]])
    model = export(module, words)
    assert any(isinstance(each, OneHot) for each in model.program.instructions)
    shared = model.share(workers["alice"], workers["bob"], crypto_provider=workers["dan"])
    rows, best, hot = shared(words)
    table = stored(module.table.weight.detach(), BITS)
    expected = table[words.long()]
    places = expected.sum(2).argmax(1)
    close(rows, expected, precision=BITS)
    close(best, table[places], precision=BITS)
    close(hot, F.one_hot(places, 4), precision=BITS)


def test_a_public_table_and_private_integers_lack_a_precision(pair):
    """Nothing says how many digits rows have; whole numbers in fixed precision do."""
    table = torch.nn.Embedding(4, 3)
    index = torch.tensor([0, 3, 1])
    with pytest.raises(PrecisionError, match=r"table is public .* embedding.fix_precision"):
        table(pair.share(index))
    with torch.no_grad():
        close(table(pair.fixed(index)), stored(table(index)), 1)
