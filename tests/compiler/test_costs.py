"""What a run costs, by layer: the parts add up to the whole, and the whole is what is measured."""

from math import prod

import pytest
import torch
from torch import nn

import tacita
from tacita import zoo
from tacita.compiler.costs import OUTSIDE, by_place, longest_chain
from tacita.program.cost import Cost
from tacita.program.program import Port, Program
from tacita.program.schedule import cost_of, starts
from tacita.program.wire import Wire
from tacita.protocols import Combine, MaskWires, Product, ReLU
from tacita.protocols.relu import relu_width
from tacita.torch.whole.model import export


class Residual(nn.Module):
    """A block with a shortcut that runs beside it, and a head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Conv2d(2, 4, 1, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        inner = self.second(self.norm(self.first(x)).relu())
        return self.head((inner + self.shortcut(x)).relu().mean((2, 3)))


NETWORKS = {
    "mlp": lambda: (zoo.network("mlp"), (3, 784)),
    "lenet": lambda: (zoo.network("lenet"), (2, 1, 28, 28)),
    "residual": lambda: (Residual(), (2, 2, 6, 6)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    torch.manual_seed(4)
    module, shape = NETWORKS[request.param]()
    return export(module.eval(), torch.rand(shape), samples=torch.rand(shape))


def summed(layers):
    return sum((layer.cost for layer in layers), start=Cost())


def test_layers_add_up_to_the_run(exported):
    layers = by_place(exported.program)
    assert summed(layers) == exported.cost
    assert sum(layer.online_bytes(3) for layer in layers) == exported.cost.online_bytes(3)


def test_layers_of_every_instruction_add_up(program):
    assert summed(by_place(program)) == cost_of(program.instructions)


def test_an_instruction_belongs_to_the_layer_that_it_comes_from(exported):
    program = exported.program
    layers = by_place(program)
    numbers = sorted(number for layer in layers for number in layer.instructions)
    assert numbers == list(range(len(program.instructions)))
    for layer in layers:
        assert {program.places[n] or OUTSIDE for n in layer.instructions} == {layer.place}
        assert sum(layer.parts.values()) == len(layer.instructions)


def test_layers_stand_in_the_order_in_which_they_take_part():
    model = export(zoo.network("lenet").eval(), torch.rand(1, 1, 28, 28))
    places = [layer.place for layer in by_place(model.program)]
    assert places == [
        "conv1", "max_pool2d", "relu", "conv2", "max_pool2d_1", "relu_1", "fc1", "relu_2", "fc2",
        "view",
    ]  # fmt: skip


def test_declared_is_measured(exported):
    alice, bob, dealer = (tacita.VirtualWorker(id=name) for name in ("alice", "bob", "dealer"))
    shared = exported.share(alice, bob, crypto_provider=dealer)
    inputs = torch.rand(exported.program.wires[exported.program.inputs[0].wire].shape)
    with tacita.measure(alice, bob, crypto_provider=dealer) as traffic:
        shared(inputs)
    declared = summed(by_place(exported.program))
    assert traffic.rounds == declared.rounds
    assert traffic.online_bytes == declared.online_bytes(2)
    assert traffic.dealt_bytes == declared.dealt_bytes
    alice.clear_objects()


@pytest.mark.parametrize(("name", "count"), [("mlp", 397_000), ("lenet", 2_293_000)])
def test_multiply_adds_are_those_of_the_papers(name, count):
    """As in the docstrings of the zoo, for one image and for three."""
    for batch in (1, 3):
        model = export(zoo.network(name).eval(), torch.rand(batch, *zoo.input_shape(name)))
        assert sum(layer.multiply_adds for layer in by_place(model.program)) == batch * count


def test_multiply_adds_of_public_weights_are_the_same():
    torch.manual_seed(5)
    module, shape = Residual().eval(), (2, 2, 6, 6)
    counts = []
    for public in (False, True):
        model = export(module, torch.rand(shape), public_weights=public)
        products = [layer for layer in by_place(model.program) if layer.place != OUTSIDE]
        counts.append({layer.place: layer.multiply_adds for layer in products})
    assert counts[0] == counts[1]
    # first, second and the shortcut: outputs of 3×3 pixels, by the taps that each takes.
    pixels = 2 * 4 * 3 * 3
    assert counts[0]["first"] == pixels * 2 * 9
    assert counts[0]["second"] == pixels * 4 * 9
    assert counts[0]["shortcut"] == pixels * 2
    assert counts[0]["head"] == 2 * 3 * 4


def test_comparisons_are_counted_once_for_each_pair():
    """Pooling 2×2 compares four candidates, in pairs or all with all; ReLU each value with 0."""
    pool = export(nn.MaxPool2d(2).eval(), torch.rand(2, 3, 4, 4))
    (layer,) = by_place(pool.program)
    windows = 2 * 3 * 2 * 2
    assert layer.comparisons in (3 * windows, 6 * windows)
    relu = export(nn.ReLU().eval(), torch.rand(5, 7))
    assert sum(layer.comparisons for layer in by_place(relu.program)) == 35


# ---- rounds ------------------------------------------------------------------------------------

SHAPE = (2,)


def relu(out, x):
    return ReLU(out=out, x=x, divisor=1, shape=SHAPE, width=relu_width(None, prod(SHAPE), 1))


def hand_made(instructions, places, outputs):
    count = 1 + max(wire for each in instructions for wire in (*each.reads, *each.writes))
    return Program(
        wires=tuple(Wire(number, SHAPE) for number in range(count)),
        inputs=(Port("x", 0),),
        weights=(),
        constants=(),
        outputs=tuple(Port(f"output {wire}", wire) for wire in outputs),
        instructions=tuple(instructions),
        places=tuple(places),
        base=2,
        digits=0,
    )


def test_a_short_branch_beside_a_long_one_adds_no_rounds():
    mask = MaskWires((0,), (SHAPE,))
    remask = MaskWires((1,), (SHAPE,))
    program = hand_made(
        [mask, relu(1, 0), relu(2, 0), remask, relu(3, 1)],
        ["in", "long", "short", "long", "long"],
        [2, 3],
    )
    rounds = {layer.place: layer.rounds for layer in by_place(program)}
    comparison = relu(1, 0).cost().rounds
    assert rounds == {"in": 1, "long": 2 * comparison + 1, "short": 0}


def test_rounds_behind_what_has_none_are_found():
    """A product and a sum stand between the two comparisons of the chain."""
    mask = MaskWires((0,), (SHAPE,))
    program = hand_made(
        [
            mask,
            relu(1, 0),
            Product(2, 0, 0, False, SHAPE),
            Combine(3, ((1, 1), (2, 1)), SHAPE),
            MaskWires((3,), (SHAPE,)),
            relu(4, 3),
        ],
        ["a", "b", "c", "d", "e", "f"],
        [4],
    )
    comparison = relu(1, 0).cost().rounds
    rounds = {layer.place: layer.rounds for layer in by_place(program)}
    assert rounds == {"a": 1, "b": comparison, "c": 0, "d": 0, "e": 1, "f": comparison}


def test_the_longest_chain_has_no_gap(program):
    start, total = starts(program.instructions)
    at = 0
    for number in longest_chain(program.instructions):
        assert start[number] == at
        at += program.instructions[number].cost().rounds
    assert at == total


def test_an_empty_program_costs_nothing():
    assert longest_chain([]) == []
