"""Bounds: what samples show, what arithmetic proves, and what becomes of values beyond them."""

from math import log2

import numpy as np
import pytest
import torch
from error_bounds import agree_with_preview
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Function, mlp
from torch import nn

from tacita.errors import BoundExceeded, EncodingError, ShapeError, UsageError
from tacita.program.wire import Wire
from tacita.protocols import NonNegative, Product, ReLU, Truncate
from tacita.ring.fixed_point import Precision, signed
from tacita.runtime.plain import run_plain
from tacita.torch.whole.explain import explain
from tacita.torch.whole.lower import LEAST, lowered
from tacita.torch.whole.model import export
from tacita.torch.whole.ranges import Ranges, observed, rounded_up, run
from tacita.torch.whole.tracing import traced

SCALE = 2**16


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return traced(mlp(3, 4, 2), [torch.zeros(2, 3)])


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return mlp(3, 4, 2)


# ---- what samples show ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "power"),
    [(1.0, 1.0), (1.0001, 2.0), (0.75, 1.0), (0.5, 0.5), (3e9, 2.0**32), (0.0, 2.0**-20)],
)
def test_bounds_are_rounded_up_to_powers_of_two(value, power):
    assert rounded_up(value) == power


@pytest.mark.parametrize("margin", [1.0, 1.5, 4.0])
def test_the_largest_of_all_samples_times_the_margin(network, margin):
    samples = torch.randn(7, 3)
    samples[4, 1] = -50.0
    ranges = observed(network, samples, margin)
    values = [run(network, [samples[[a, b]]]) for a, b in ((0, 1), (2, 3), (4, 5), (6, 0))]
    for name, bound in ranges.largest.items():
        top = max(float(each[name].abs().max()) for each in values)
        assert bound == rounded_up(top * margin)
        assert log2(bound) == round(log2(bound))
    assert ranges.largest["input"] == rounded_up(50 * margin)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_last_batch_is_filled_up_with_samples(network, count):
    # Filled up with zeros, or left out, the last sample would count for nothing.
    samples = torch.full((count, 3), 0.25)
    samples[-1] = 8.0
    assert observed(network, samples, 1.0).largest["input"] == 8.0
    assert observed(network, samples[:1] / 8.0, 1.0).largest["input"] <= 1.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.int64])
def test_samples_are_cast_to_what_the_network_takes(network, dtype):
    samples = torch.tensor([[1, 2, 3], [4, 5, 60]])
    assert observed(network, samples.to(dtype), 4.0) == observed(network, samples.float(), 4.0)


@pytest.mark.parametrize(
    ("samples", "kind"), [(np.zeros((2, 3)), "ndarray"), ([[1.0]], "list"), (3, "int")]
)
def test_samples_are_tensors(network, samples, kind):
    with pytest.raises(UsageError, match=rf"samples= takes an ordinary tensor .* not a {kind}"):
        observed(network, samples, 4.0)


@pytest.mark.parametrize("margin", [0.5, 0.0, -4.0, float("nan"), float("inf"), "4", None])
def test_a_margin_is_a_number_of_one_or_more(network, margin):
    with pytest.raises(UsageError, match="margin"):
        observed(network, torch.zeros(2, 3), margin)


@pytest.mark.parametrize("shape", [(2, 4), (2,), (), (0, 3), (2, 3, 1)])
def test_samples_of_another_shape_are_refused(network, shape):
    with pytest.raises(
        ShapeError, match=r"samples for input 'input' have shape .*\(any number, 3\)"
    ):
        observed(network, torch.zeros(shape), 4.0)


def test_samples_that_overflow_are_refused(network):
    with pytest.raises(EncodingError, match="is not finite for one of the samples"):
        observed(network, torch.tensor([[1.0, float("inf"), 0.0]]), 4.0)
    square = traced(Function(lambda _, x: x * x), [torch.zeros(2, 3)])
    with pytest.raises(EncodingError, match="mul is not finite"):
        observed(square, torch.full((1, 3), 3e38), 4.0)


def test_samples_of_several_inputs_belong_together():
    network = traced(Function(lambda _, x, y: x * y), [torch.zeros(2, 3), torch.zeros(2, 1)])
    samples = torch.rand(5, 3), torch.rand(5, 1)
    assert set(observed(network, samples, 4.0).largest) == {"inputs_0", "inputs_1", "mul"}
    with pytest.raises(UsageError, match="samples for 2 inputs, not 1"):
        observed(network, samples[0], 4.0)
    with pytest.raises(ShapeError, match="as many for every input"):
        observed(network, (samples[0], samples[1][:4]), 4.0)


def test_inputs_of_different_batch_sizes_cannot_be_sampled():
    network = traced(Function(lambda _, x, y: x * y), [torch.zeros(2, 3), torch.zeros(1, 3)])
    with pytest.raises(ShapeError, match="one batch size"):
        observed(network, (torch.rand(4, 3), torch.rand(4, 3)), 4.0)
    network = traced(Function(lambda _, x: x + 1), [torch.tensor(0.0)])
    with pytest.raises(UsageError, match="no batch to fill"):
        observed(network, torch.rand(4), 4.0)


@pytest.mark.parametrize("largest", [0.0, -1.0, float("nan"), float("inf"), "4"])
def test_the_largest_input_is_a_positive_number(module, largest):
    with pytest.raises(UsageError, match="largest= is a positive number"):
        export(module, torch.zeros(2, 3), largest=largest)


# ---- where bounds go -----------------------------------------------------------------------------


def bits_of(model, kind):
    return [i.width.bits for i in model.program.instructions if isinstance(i, kind)]


def test_bounds_make_comparisons_narrow(module):
    x = torch.randn(2, 3)
    unknown = export(module, x)
    stated = export(module, x, largest=4.0)
    shown = export(module, x, samples=x)
    assert bits_of(unknown, ReLU) == [62]
    for model in (stated, shown):
        assert bits_of(model, ReLU)[0] < 40
        assert model.cost.dealt_bytes < unknown.cost.dealt_bytes


def test_what_is_stated_of_inputs_limits_what_samples_show(module):
    x = torch.randn(2, 3)
    model = export(module, x, samples=x * 100, largest=1.0)
    assert model.program.wires[model.program.inputs[0].wire].bound == SCALE


def test_values_that_were_never_seen_leave_room_for_roundings(deploy):
    # On these samples relu results in zeros alone; a bound of 0 would be a claim about roundings.
    module = Function(lambda self, x: torch.relu(x * self.w - 1) * self.w, w=torch.tensor([0.37]))
    x = torch.zeros(2, 3)
    model = export(module, x, samples=x, margin=1.0, checked=True)
    about = [model.program.wires[model.nodes[n]] for n in ("relu", "mul")]
    assert all(wire.bound >= LEAST * wire.scale // SCALE for wire in about)
    near = torch.full((2, 3), 1 / 0.37)  # relu of about nothing: a unit or two
    near = near.clamp(max=255 / SCALE)
    agree_with_preview(model, deploy(model)(near), near)


def test_a_bound_that_fits_no_protocol_is_none(network):
    whole = lowered(network, Precision(2, 16), Ranges({"linear": 2.0**40, "input": 2.0**50}))
    assert all(wire.bound is None for wire in whole.program.wires)


# ---- arithmetic ----------------------------------------------------------------------------------


def layers(data, rows, columns):
    numbers = st.floats(-8, 8, width=32, allow_subnormal=False)
    weight = data.draw(st.lists(numbers, min_size=rows * columns, max_size=rows * columns))
    bias = data.draw(st.lists(numbers, min_size=rows, max_size=rows))
    return torch.tensor(weight).reshape(rows, columns), torch.tensor(bias)


@pytest.fixture(scope="module")
def two_layers():
    return traced(mlp(3, 2, 2), [torch.zeros(1, 3)])


def worst(weight, top):
    """The inputs within the bound that take one output each as far as it goes, either way."""
    rows = signed(weight)
    return [np.where(row < 0, -sign, sign) * top for row in rows for sign in (1, -1)]


@given(data=st.data(), power=st.integers(-6, 8), digits=st.sampled_from([8, 12, 16]))
@settings(max_examples=60)
def test_arithmetic_bounds_are_true(two_layers, data, power, digits):
    """|w·x + b| stays within the bound for every x that does, down to the last ring unit."""
    network = two_layers
    first, second = layers(data, 2, 3), layers(data, 2, 2)
    names = {name: key for key, name in network.names.items()}
    for name, value in zip(
        ("0.weight", "0.bias", "2.weight", "2.bias"), first + second, strict=True
    ):
        network.parameters[names[name]] = value if bool(value.abs().max() > 0.01) else value + 1
    precision = Precision(2, digits)
    top = 2.0**power
    whole = lowered(network, precision, Ranges({"input": top}))
    program = whole.program
    port = program.inputs[0].wire
    bound = program.wires[port].bound
    assert bound == max(top, LEAST / precision.scale) * precision.scale
    weights = {each.name: w for each, w in zip(program.weights, whole.weights, strict=True)}
    for x in worst(weights["0.weight"], bound):
        values = run_plain(program, whole.weights, [x.astype(np.int64).view(np.uint64)])
        for wire in program.wires:
            if wire.bound is not None and wire.id in values:
                assert np.all(np.abs(signed(values[wire.id])) <= wire.bound)
    linear = program.wires[whole.nodes["linear"]]
    reach = np.abs(signed(weights["0.weight"])).sum(1) * bound
    reach = reach + np.abs(signed(weights["0.bias"])) * precision.scale
    # A power of two less one, and the next one at that: no more of the weights shows.
    assert linear.bound is not None
    assert linear.bound & (linear.bound + 1) == 0
    assert int(reach.max()) <= linear.bound <= 4 * int(reach.max())


def test_arithmetic_reaches_through_layers(module):
    model = export(module, torch.zeros(2, 3), largest=1.0)
    for name in ("linear", "relu", "linear_1"):
        assert model.program.wires[model.nodes[name]].bound is not None


@pytest.mark.parametrize("public", [False, True])
def test_bounds_of_public_weights_are_true_as_well(module, public):
    model = export(module, torch.zeros(2, 3), largest=1.0, public_weights=public)
    x = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    assert not any(row.exceeded for row in explain(model, x).rows)


def test_widths_hold_every_bound(module):
    model = export(module, torch.zeros(2, 3), largest=1.0)
    for each in model.program.instructions:
        if isinstance(each, ReLU | Truncate | NonNegative):
            bits = each.bits if isinstance(each, Truncate) else each.width.bits
            wire: Wire = model.program.wires[each.x]
            assert wire.bound is not None
            assert wire.bound < 1 << (bits - 1)
    assert any(isinstance(each, Product) for each in model.program.instructions)


# ---- beyond the bounds ---------------------------------------------------------------------------


@pytest.mark.parametrize("checked", [False, True], ids=["trusted", "checked"])
def test_beyond_its_bound_a_comparison_is_wrong_unless_it_is_checked(deploy, checked):
    # relu on 8 bits above the fraction bits: 300 is 44 there, and 200 is negative.
    module = Function(lambda self, x: torch.relu(x * self.w), w=torch.ones(1))
    x = torch.tensor([[300.0, 200.0]])
    model = export(module, x, samples=torch.tensor([[50.0, 50.0]]), margin=1.0, checked=checked)
    assert model.preview(x / 10).tolist() == [[30.0, 20.0]]
    got = deploy(model)(x)
    if checked:
        with pytest.raises(BoundExceeded, match=r"relu: .* outside the bound"):
            got.get()
    else:
        assert got.decrypt().tolist() != [[300.0, 200.0]]
    row = explain(model, x).first_exceeded
    assert row is not None
    assert (row.operation, row.exceeded, row.bound) == ("mul", 2, 64.0)


def test_explain_names_the_layer_whose_bound_is_exceeded():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()).eval()
    samples = torch.rand(8, 3)
    model = export(module, samples[:1], samples=samples, margin=1.0)
    assert explain(model, samples[:1]).first_exceeded is None
    far = explain(model, samples[:1] * 1000)
    assert far.first_exceeded is not None
    assert far.first_exceeded.name == "linear"
    assert far.first_exceeded.place == "0"
