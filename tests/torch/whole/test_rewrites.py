"""Rewrites, each by itself: the same values as before, and less to do."""

import operator
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from networks import Function
from torch import nn

from tacita.torch.whole import rewrites
from tacita.torch.whole.ranges import run
from tacita.torch.whole.rewrites import (
    rewritten,
    with_batch_norm_folded,
    with_parameters_computed,
    with_pools_before_relu,
    without_copies,
)
from tacita.torch.whole.tracing import traced


def counts(network):
    """How often each operation is in the graph."""
    return Counter(
        str(node.target).removeprefix("aten.").split(".")[0]
        for node in network.graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    )


def results(network, inputs):
    values = run(network, inputs)
    return [values[node.name].double() for node in network.results]


def rewrite(apply, module, *inputs):
    """The graph after a rewrite, whose results are those of the graph before it.

    Both are computed in float64, from parameters in float64 as far as the rewrite keeps them so;
    where it rounds to float32, 2^-24 of each, the results are a few of those off.
    """
    network = traced(module.eval(), inputs)
    before, expected = counts(network), results(network, inputs)
    apply(network)
    network.graph.eliminate_dead_code()
    network.graph.lint()
    for got, wanted in zip(results(network, inputs), expected, strict=True):
        assert got.shape == wanted.shape
        size = float(wanted.abs().max())
        # Sums of at most 2^6 products, each factor off by 2^-24 and each float32 sum by as much.
        assert float((got - wanted).abs().max()) <= (size + 1) * 2.0**-24 * 2**6 * 8
    return network, before, counts(network)


def normal(norm):
    """A batch norm that has seen data: nothing about it is 0 or 1."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        if norm.affine:
            norm.weight.uniform_(-2, 2)
            norm.bias.normal_()
    return norm


X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
ROWS = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
NORM = "_native_batch_norm_legit_no_training"

# ---- batch norm ----------------------------------------------------------------------------------

FOLDED = {
    "conv2d": (lambda: [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)], X),
    "conv2d without a bias": (lambda: [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)], X),
    "conv2d in groups": (
        lambda: [nn.Conv2d(3, 6, 3, 2, 1, groups=3), nn.BatchNorm2d(6, affine=False)],
        X,
    ),
    "conv1d": (lambda: [nn.Conv1d(3, 4, 3, dilation=2), nn.BatchNorm1d(4)], X[:, :, 0]),
    "conv2d of the same size": (
        lambda: [nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)],
        X,
    ),
    "conv3d": (
        lambda: [nn.Conv3d(3, 2, 2), nn.BatchNorm3d(2)],
        X[:, :, None].expand(2, 3, 2, 6, 6),
    ),
    "linear": (lambda: [nn.Linear(5, 3), nn.BatchNorm1d(3)], ROWS),
    "linear without a bias": (lambda: [nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3)], ROWS),
}


@pytest.mark.parametrize(("layers", "x"), FOLDED.values(), ids=FOLDED)
def test_batch_norm_goes_into_the_layer_before_it(layers, x):
    layer, norm = layers()
    module = nn.Sequential(layer, normal(norm))
    network, before, after = rewrite(with_batch_norm_folded, module, x)
    assert before[NORM] == 1
    assert sum(after.values()) == sum(before.values()) - 1
    assert after[NORM] == after["mul"] == after["add"] == 0
    used = [n.name for n in network.graph.nodes if n.name in network.parameters and n.users]
    names = [network.names[name] for name in used]
    assert names == ["0.weight folded", "0.weight folded bias"]


def test_what_is_folded_stands_in_the_order_of_the_layers():
    layers = [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)]
    network, _, _ = rewrite(with_batch_norm_folded, nn.Sequential(*layers), X)
    computed = [network.names[n.name] for n in network.graph.nodes if "computed" in n.name]
    assert computed == [
        "0.weight folded", "0.weight folded bias", "2.weight folded", "2.weight folded bias"
    ]  # fmt: skip


ELSEWHERE = {
    "after relu": lambda self, x: self.norm(torch.relu(self.layer(x))),
    "first": lambda self, x: self.norm(x),
    "of a sum": lambda self, x: self.norm(self.layer(x) + x),
    "of a layer that is used twice": lambda self, x: self.norm(h := self.layer(x)) + h,
    "of a layer that is returned": lambda self, x: (self.norm(h := self.layer(x)), h),
}


@pytest.mark.parametrize("forward", ELSEWHERE.values(), ids=ELSEWHERE)
def test_batch_norm_elsewhere_is_a_product_and_a_sum(forward):
    module = Function(forward, layer=nn.Conv2d(3, 3, 3, padding=1), norm=normal(nn.BatchNorm2d(3)))
    _, before, after = rewrite(with_batch_norm_folded, module, X)
    assert after[NORM] == 0
    assert after["mul"] == 1
    assert after["add"] == before["add"] + 1


def test_batch_norm_of_a_transposed_convolution_stays_beside_it():
    # Its channels lie in the other dimension of the weight.
    module = nn.Sequential(nn.ConvTranspose2d(3, 3, 2), normal(nn.BatchNorm2d(3)))
    _, _, after = rewrite(with_batch_norm_folded, module, X)
    assert after["mul"] == after["add"] == 1


def test_a_layer_used_with_two_norms_is_folded_into_each():
    def forward(self, x):
        return self.one(self.layer(x)) + self.two(self.layer(x * 2))

    module = Function(
        forward,
        layer=nn.Conv2d(3, 4, 3),
        one=normal(nn.BatchNorm2d(4)),
        two=normal(nn.BatchNorm2d(4)),
    )
    network, _, after = rewrite(with_batch_norm_folded, module, X)
    assert after["mul"] == 1  # the one that the module has
    assert sum(name.startswith("computed") for name in network.parameters) == 4


def test_a_norm_with_statistics_of_its_input_is_none_of_ours():
    network = traced(nn.Sequential(nn.Linear(5, 3), normal(nn.BatchNorm1d(3))).eval(), [ROWS])
    norm = next(n for n in network.graph.nodes if n.target in rewrites.BATCH_NORM)
    norm.args = (*norm.args[:3], norm.args[0], *norm.args[4:])
    with_batch_norm_folded(network)
    assert counts(network)[NORM] == 1


def test_a_norm_of_public_numbers_is_folded_all_the_same():
    def forward(self, x):
        mean, variance = torch.zeros(3), torch.full((3,), 4.0)
        return F.batch_norm(self.layer(x), mean, variance, torch.full((3,), 2.0))

    network = traced(Function(forward, layer=nn.Linear(5, 3)), [ROWS])
    (before,) = results(network, [ROWS])
    rewritten(network)
    assert counts(network)[NORM] == 0
    assert torch.allclose(results(network, [ROWS])[0], before, atol=1e-5)


# ---- pools ---------------------------------------------------------------------------------------


def order(network):
    """The operations in turn, without what picks a result."""
    return [
        str(node.target).removeprefix("aten.").split(".")[0]
        for node in network.graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, padding=1), nn.AdaptiveMaxPool2d(2)]
)
def test_pools_come_before_relu(pool):
    # Padding counts as minus infinity, so there is no zero that relu would have made larger.
    network, before, after = rewrite(with_pools_before_relu, nn.Sequential(nn.ReLU(), pool), X - 1)
    assert after == before
    assert order(network)[-1] == "relu"


def test_relu_keeps_its_name_when_pools_come_before_it():
    def forward(_, x):
        return F.relu(F.max_pool2d(F.relu(F.max_pool2d(F.relu(x), 2)), 3))

    network, _, _ = rewrite(with_pools_before_relu, Function(forward), X)
    names = [node.name for node in network.graph.nodes if node.op == "call_function"]
    relus = [name for name in names if name.startswith("relu")]
    assert relus == ["relu", "relu_1", "relu_2"]


PINNED = {
    "relu is used elsewhere": lambda self, x: (self.pool(h := torch.relu(x)), h),
    "indices are asked for": lambda _, x: F.max_pool2d(torch.relu(x), 2, return_indices=True),
    "only indices are": lambda _, x: (F.max_pool2d(torch.relu(x), 2, return_indices=True)[1], x),
    "not a relu": lambda self, x: self.pool(x.abs()),
    "an average": lambda _, x: F.avg_pool2d(torch.relu(x), 2),
}


@pytest.mark.parametrize("forward", PINNED.values(), ids=PINNED)
def test_what_would_change_or_save_nothing_stays_in_its_place(forward):
    network = traced(Function(forward, pool=nn.MaxPool2d(2)), [X])
    before, expected = order(network), results(network, [X])
    with_pools_before_relu(network)
    assert order(network) == before
    assert all(map(torch.equal, results(network, [X]), expected))


def test_two_pools_in_a_row_let_relu_come_last():
    module = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(3))
    network, _, _ = rewrite(with_pools_before_relu, module, X)
    assert order(network)[-1] == "relu"


# ---- parameters and copies -----------------------------------------------------------------------

WEIGHT = nn.Parameter(torch.randn(5, 5, generator=torch.Generator().manual_seed(3)))


def computed(self, x):
    return {
        "transposed": x @ self.w.t(),
        "the sum of two": F.linear(x, self.w + self.b),
        "without a protocol": x * torch.sigmoid(self.w).norm(dim=0),
        "with public numbers": x * (self.w[0] + torch.arange(5.0)).exp(),
        "one of several results": x * self.w.max(0).values,
    }


def test_what_depends_on_parameters_alone_is_a_parameter():
    network, _, after = rewrite(
        with_parameters_computed, Function(computed, w=WEIGHT, b=ROWS[0]), ROWS
    )
    assert sum(after.values()) == 5
    used = [n for n in network.graph.nodes if n.op == "placeholder" and n.users]
    assert sum(n.name in network.parameters for n in used) == 5
    assert len(network.inputs) == 1


def test_weight_norm_is_computed():
    module = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))
    _, before, after = rewrite(with_parameters_computed, module, ROWS)
    assert sum(before.values()) > 1
    assert after == Counter({"linear": 1})


def test_public_numbers_stay_public():
    network, _, after = rewrite(
        with_parameters_computed, Function(lambda _, x: x + torch.arange(5.0) * 2), ROWS
    )
    assert network.parameters == {}
    assert after["arange"] == 1


def test_copies_are_dropped():
    def forward(self, x):
        h = x.clone().contiguous().detach() * self.w[0].clone()
        return h.clone(), torch.clone(x)

    network, before, after = rewrite(without_copies, Function(forward, w=WEIGHT), ROWS)
    assert before["clone"] >= 3
    assert after["clone"] == after["contiguous"] == after["detach"] == 0
    assert network.results[1] is network.inputs[0]


# ---- all of them ---------------------------------------------------------------------------------


def test_all_of_them_on_a_block():
    def forward(self, x):
        h = F.max_pool2d(torch.relu(self.norm(self.conv(x))).clone(), 2)
        return self.last(h.flatten(1)) + x.clone().mean((1, 2, 3), keepdim=False)[:, None]

    module = Function(
        forward,
        conv=nn.Conv2d(3, 4, 3, padding=1),
        norm=normal(nn.BatchNorm2d(4)),
        last=nn.utils.parametrizations.weight_norm(nn.Linear(36, 2)),
    )
    network, before, after = rewrite(rewritten, module, X)
    assert before[NORM] == 1
    assert after[NORM] == after["clone"] == 0
    kinds = order(network)
    assert kinds.index("relu") > next(i for i, kind in enumerate(kinds) if "max_pool" in kind)
    assert len(kinds) < sum(before.values()) - 2


def test_what_nothing_needs_goes():
    network = traced(Function(lambda _, x: x + 1), [ROWS])
    with network.graph.inserting_before(network.results[0]):
        network.graph.call_function(torch.ops.aten.relu.default, (network.inputs[0],))
    assert counts(network)["relu"] == 1
    assert counts(rewritten(network)) == Counter({"add": 1})


def test_rewriting_twice_changes_nothing_more():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), normal(nn.BatchNorm2d(4)), nn.ReLU(), nn.MaxPool2d(2)
    )
    network = rewritten(traced(module.eval(), [X]))
    before = order(network)
    assert order(rewritten(network)) == before
