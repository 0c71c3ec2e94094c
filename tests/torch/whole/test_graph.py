"""What can be exported: from a module to the graph of a network, and the errors on the way."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from error_bounds import agree_with_module
from networks import Function, mlp
from torch import nn

from tacita.errors import PrivateValueError, UnsupportedOperation, UsageError
from tacita.torch.whole.model import export
from tacita.torch.whole.tracing import traced

X = torch.tensor([[0.5, -1.25, 2.0, 0.75], [-0.5, 3.0, -2.25, 1.0]])
Y = torch.tensor([[1.0, 2.0, -1.0, 0.25], [0.0, -4.0, 0.5, 1.5]])


def exports(module, *inputs):
    """Exports the module and compares the program's results with the module's own."""
    model = export(module, *inputs)
    agree_with_module(model, model.preview(*inputs), module, *inputs)
    return model


# ---- what has no program -------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["whole", "dropout", "norm"])
def test_training_mode_is_refused_and_named(part):
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    trained = {"whole": module, "dropout": module[2], "norm": module[1]}[part].train()
    name = {"whole": "Sequential, 0, 1, …", "dropout": "2", "norm": "1"}[part]
    assert trained.training
    with pytest.raises(UsageError, match=rf"training mode \({name}\): call module.eval\(\)"):
        export(module, X)


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda _, x: x if x.sum() > 0 else -x, "one graph of Function.*torch.where"),
        (lambda _, x: x[x > 0], "shape that is not fixed"),
        (lambda _, x: x if torch.equal(x, x + 1) else -x, "one graph of Function.*torch.where"),
        (lambda _, x: x * float(x[0, 0]), "one graph of Function.*torch.where"),
    ],
    ids=["branch", "masked", "equal", "number"],
)
def test_what_depends_on_values_has_no_program(forward, says):
    with pytest.raises(UsageError, match=says):
        export(Function(forward), X)


@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("item", lambda _, x: x * x[0, 0].item()),
        ("item", lambda _, x: x * x[0].tolist()[1]),
        ("nonzero", lambda _, x: (x > 0).nonzero()),
        ("unique", lambda _, x: (x * 2).unique()),
    ],
)
def test_a_number_of_what_is_private_is_refused_as_it_is_eagerly(name, forward):
    says = rf"^{name} \(.*, line \d+\) needs to see private values; call get\(\) first"
    with pytest.raises(PrivateValueError, match=says):
        export(Function(forward), X)


class Tower(nn.Module):
    def forward(self, x):
        raise ValueError("towers have\nno floor")


@pytest.mark.parametrize(
    ("module", "inputs", "says"),
    [
        (mlp(3, 2), [X], r"Sequential itself fails .* shapes \(2, 4\): RuntimeError: .*\[2, 4\]"),
        (mlp(4, 2), [], r"of shapes none: TypeError: missing a required argument: 'input'"),
        (mlp(4, 2), [X, X], r"of shapes \(2, 4\), \(2, 4\): TypeError: too many"),
        (Tower().eval(), [X], "Tower itself fails .*: ValueError: towers have$"),
    ],
    ids=["shape", "missing", "too many", "raises"],
)
def test_what_the_module_raises_is_no_control_flow(module, inputs, says):
    with pytest.raises(UsageError, match=says) as caught:
        export(module, *inputs)
    assert "ontrol flow" not in str(caught.value)


def test_what_torch_says_of_a_failing_export_stays_unsaid():
    # In a process of its own: torch's loggers keep the stderr that there was when they were made.
    code = (
        "import torch\nfrom torch import nn\nfrom tacita import export\n"
        "from tacita.errors import UsageError\n"
        "class Branch(nn.Module):\n    def forward(self, x):\n"
        "        return x if x.sum() > 0 else -x\n"
        "for module in (Branch(), nn.Linear(3, 2)):\n    try:\n"
        "        export(module.eval(), torch.zeros(2, 4))\n"
        "    except UsageError:\n        print('refused')\n"
        "import logging\nlogging.getLogger('torch').warning('later')"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.split() == ["refused", "refused"]
    (line,) = ran.stderr.splitlines()  # what is said when no export is under way is still said
    assert line.endswith("later")


def counting(self, x):
    self.count += 1
    return x + self.count


def test_a_module_that_changes_its_state_is_refused():
    with pytest.raises(UsageError, match=r"changes its own state \(count\)"):
        export(Function(counting, count=torch.zeros(1)), X)


def test_a_module_that_changes_an_input_is_refused():
    with pytest.raises(UsageError, match="changes an input"):
        export(Function(lambda _, x: x.add_(1)), X)


class Commonest(nn.Module):
    def forward(self, x):
        return x.mode(1).values[:, None].expand(-1, 4)


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), Commonest(), nn.Linear(4, 4))

    def forward(self, x):
        return torch.bucketize(self.body(x), x[0]).sum(1) * x.nanmedian(1).values  # MARK


def test_unsupported_operations_are_named_all_at_once():
    line = next(
        n for n, s in enumerate(Path(__file__).read_text().splitlines(), 1) if "# MARK" in s
    )
    with pytest.raises(UnsupportedOperation) as caught:
        export(Several().eval(), X)
    missing, there_is = str(caught.value).split("There is one for: ")
    named = re.findall(r"^  (\w+)(.*): use (.*)$", missing, re.MULTILINE)
    assert [operation for operation, _, _ in named] == ["mode", "bucketize", "nanmedian"]
    assert "in module body.1 (" in named[0][1]
    for _, where, _ in named[1:]:
        assert where == f" ({__file__}, line {line})"
    assert [advice[:10] for _, _, advice in named] == ["sums of co", "(values.un", "median: pr"]
    assert all(len(each) <= 88 for each in there_is.splitlines())
    listed = there_is.replace("\n", " ").split(", ")
    assert {"add", "linear", "relu", "max", "cat", "batch_norm", "sort"} <= set(listed)
    assert {"mode", "conv3d", "native_layer_norm"}.isdisjoint(listed)
    assert listed == sorted(set(listed))
    assert not any(name.startswith("_") or name.endswith("_") for name in listed)


def test_where_no_line_is_the_users_own_the_class_says_where():
    first, second = (nn.Upsample(scale_factor=2, mode="bilinear") for _ in range(2))
    module = nn.Sequential(nn.ReLU(), nn.Sequential(first, second)).eval()
    with pytest.raises(UnsupportedOperation) as caught:
        export(module, torch.rand(1, 1, 4, 4))
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  upsample_bilinear2d — in module 1.0 (Upsample): use nearest")
    assert lines[2].startswith("  upsample_bilinear2d — in module 1.1 (Upsample): use nearest")
    assert "site-packages" not in str(caught.value)


class Refusing(nn.Module):
    def forward(self, x, y):
        z = torch.div(x, y, rounding_mode="floor")
        z = (z // y) ** 0.3 + (x // y).mode(1, keepdim=True).values
        return F.max_pool1d(z, 2), torch.div(x, 2, rounding_mode="trunc")


def test_operations_that_refuse_what_they_are_given_are_named_with_the_others():
    with pytest.raises(UnsupportedOperation) as caught:
        export(Refusing().eval(), X, Y)
    lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == ["div", "floor_divide", "pow", "mode", "div"]
    assert f"div ({__file__}, line " in lines[0]
    assert "a quotient by a private tensor has no exact rounding" in lines[0]
    assert lines[1].endswith("(2 times)")
    assert "multiples of 0.5, not to 0.3" in lines[2]
    assert "rounded towards zero" in lines[4]


def test_of_what_refuses_alone_there_is_no_list_of_others():
    module = nn.Sequential(nn.Conv3d(1, 2, 1), nn.ReLU(), nn.Conv3d(2, 1, 1)).eval()
    with pytest.raises(UnsupportedOperation) as caught:
        export(module, torch.zeros(1, 1, 2, 2, 2))
    first, *lines = str(caught.value).splitlines()
    assert first == "operations without a protocol:"
    assert [line.split(":")[0] for line in lines] == [
        f"  conv3d — in module {place} (Conv3d)" for place in "02"
    ]


def test_a_refusal_is_told_where_lowering_cannot_go_on():
    # Whole numbers are refused as an input; what has no protocol is refused before that.
    module = Function(lambda _, x: x.mode(0).values)
    with pytest.raises(UnsupportedOperation, match=r"mode .*: use sums of comparisons"):
        export(module, torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("kind", ["weight", "buffer", "shared"])
def test_a_module_in_fixed_precision_is_refused(kind, workers):
    module = nn.BatchNorm1d(4, affine=kind != "buffer").eval().fix_precision()
    if kind == "shared":
        module.share(workers["alice"], workers["bob"])
    with pytest.raises(UsageError, match=r"export the float module, precision= is export's"):
        export(module, X)


def test_an_example_is_an_ordinary_tensor():
    with pytest.raises(UsageError, match="example input 0 is a FixedPrecisionTensor"):
        export(mlp(4, 2), X.fix_precision())


def test_an_operation_without_a_result_that_matters_is_no_obstacle():
    def forward(self, x):
        x.exp()
        return x + 1

    assert "Exp" not in str(exports(Function(forward), X).program)


@pytest.mark.parametrize(
    "forward",
    [
        lambda _, x: F.dropout(x, 0.5, training=True),
        lambda _, x: x + torch.rand(4),
        lambda _, x: x * torch.randn_like(x),
        lambda self, x: x + (self.w * torch.rand(4)),
    ],
    ids=["dropout", "rand", "randn_like", "on a weight"],
)
def test_random_numbers_would_be_the_same_in_every_run(forward):
    with pytest.raises(UnsupportedOperation, match=r"dropout|rand"):
        export(Function(forward, w=nn.Parameter(torch.ones(4))), X)


def test_only_modules_are_exported():
    with pytest.raises(UsageError, match=r"takes an nn.Module, not a function"):
        export(lambda x: x, X)


@pytest.mark.parametrize("given", [3.0, [1.0]])
def test_inputs_are_tensors(given):
    with pytest.raises(UsageError, match=f"example input 1 is a {type(given).__name__}"):
        export(Function(lambda _, x, _y: x), X, given)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_inputs_are_of_floats(dtype):
    with pytest.raises(UsageError, match=f"input 'input' is of dtype {dtype}: .*give floats"):
        export(nn.Flatten().eval(), X.to(dtype))


# ---- inputs and results --------------------------------------------------------------------------


def test_several_inputs_keep_their_order():
    model = exports(Function(lambda _, x, y, z: (x - y) @ z.t()), X, Y, torch.ones(3, 4))
    assert [model.program.wires[p.wire].shape for p in model.program.inputs] == [(2, 4)] * 2 + [
        (3, 4)
    ]


def test_an_input_that_is_not_used_is_still_one():
    model = exports(Function(lambda _, _x, y: y * 2), X, Y)
    assert len(model.program.inputs) == 2


@pytest.mark.parametrize(
    "forward",
    [
        lambda _, x, y: [x + y, (x, [y], {"sum": x + y, "b": y, "a": (x * 2,)})],
        lambda _, x, y: (x + y,),
        lambda _, x, _y: x.max(1)[:1],
    ],
    ids=["nested", "one", "part of a tuple"],
)
def test_results_keep_their_structure(forward):
    module = Function(forward)
    got = exports(module, X, Y).preview(X, Y)
    expected = module(X, Y)
    assert torch.utils._pytree.tree_structure(got) == torch.utils._pytree.tree_structure(expected)


@pytest.mark.parametrize("extra", [None, 3])
def test_results_are_tensors(extra):
    with pytest.raises(UsageError, match=f"result 1 of the module is a {type(extra).__name__}"):
        export(Function(lambda _, x: (x + 1, extra)), X)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: (x, self.w),
        lambda self, x: (x, self.w.exp()),
        lambda _, x: (x, torch.ones(3)),
    ],
    ids=["weight", "of a weight", "constant"],
)
def test_a_result_that_no_input_has_a_part_in_is_refused(forward):
    # Weights above all: as a result of a run they would be revealed to whoever asks for it.
    with pytest.raises(UsageError, match=r"result 1 of the module .* depends on no input"):
        export(Function(forward, w=nn.Parameter(torch.ones(3))), X)


def test_a_module_without_inputs_is_refused():
    with pytest.raises(UsageError, match="depends on no input"):
        export(Function(lambda _: torch.ones(3)))


def test_an_input_that_is_returned():
    model = exports(Function(lambda _, x: x), X)
    assert model.program.instructions == ()


def test_an_empty_batch():
    assert export(mlp(4, 3, 2), X[:0]).preview(X[:0]).shape == (0, 2)


# ---- parameters and constants --------------------------------------------------------------------


def test_a_module_without_parameters():
    model = exports(nn.Sequential(nn.ReLU(), nn.Flatten()).eval(), X)
    assert model.weights == []


def test_tied_parameters_are_one_weight():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    module[2].weight = module[0].weight
    assert len(exports(module.eval(), X).weights) == 1


def test_a_module_that_is_called_twice():
    module = Function(lambda self, x: self.layer(self.layer(x)), layer=nn.Linear(4, 4))
    assert len(exports(module, X).weights) == 2


def test_buffers_are_weights_persistent_or_not():
    module = Function(lambda self, x: x * self.kept + self.lost, kept=torch.rand(4))
    module.register_buffer("lost", torch.rand(4), persistent=False)
    assert sorted(port.name for port in exports(module, X).program.weights) == ["kept", "lost"]


def test_buffers_of_integers_are_public_constants():
    module = Function(
        lambda self, x: torch.where(self.mask, x, 0.0)[:, self.order] + self.steps,
        mask=torch.tensor([True, False, True, True]),
        order=torch.tensor([3, 0]),
        steps=torch.tensor([1, -2]),
    )
    assert exports(module, X).program.weights == ()


def test_tensors_of_the_code_are_as_secret_as_weights():
    # What a formula makes, everybody could make.
    def forward(self, x):
        return x * torch.tensor([1.0, 2.0, 3.0, 4.0]) + torch.arange(4.0)

    model = exports(Function(forward), X)
    assert len(model.program.weights) == len(model.program.constants) == 1


def test_a_parameter_that_is_not_used_is_left_out():
    module = Function(
        lambda self, x: x + self.w, w=nn.Parameter(torch.ones(4)), idle=nn.Linear(4, 4)
    )
    assert [port.name for port in exports(module, X).program.weights] == ["w"]


def test_a_frozen_parameter_is_as_secret_as_any():
    module = Function(
        lambda self, x: x + self.w, w=nn.Parameter(torch.ones(4), requires_grad=False)
    )
    assert len(exports(module, X).program.weights) == 1


def test_public_weights_become_constants():
    model = export(mlp(4, 3, 2), X, public_weights=True)
    assert model.program.weights == ()
    assert model.weights == []
    agree_with_module(model, model.preview(X), mlp_twin(model), X)


def mlp_twin(model):
    """The module that a model's network stands for."""
    parameters = {model.network.names[k]: v for k, v in model.network.parameters.items()}
    twin = mlp(4, 3, 2)
    twin.load_state_dict(parameters)
    return twin


# ---- operations ----------------------------------------------------------------------------------


def everything(self, x):
    return {
        "linear": F.relu(F.linear(x, self.w.t())),
        "relu_": F.relu_(x * 2),
        "in place": (x * 2).add_(1).mul_(3),
        "dropout": F.dropout(x, 0.5, training=False) + x.detach(),
        "views": x.view(x.shape[0], 2, 2).transpose(1, 2).flatten(1).contiguous(),
        "slices": x.unsqueeze(1).expand(2, 3, 4)[:, 1:, ::2].reshape(2, -1),
        "cat": torch.cat([x, x.clone() * 2], 1).chunk(2, 1)[1],
        "stack": torch.stack(x.split(2, 1)).sum(0),
        "casts": x.double().float().to(torch.float32),
        "max": x.amax(1) + x.max(0).values.sum(),
        "mean": x.mean(1, keepdim=True) - x,
        "maximum": torch.maximum(x, x.flip(1)).abs(),
        "weight first": self.w.mm(x.t()),
    }


def test_functions_views_and_writes_in_place():
    model = exports(Function(everything, w=nn.Parameter(torch.randn(4, 4))), X)
    assert set(model.preview(X)) == set(everything(Function(None, w=torch.zeros(4, 4)), X))


def test_writing_in_place_changes_nothing_of_the_callers():
    x = X.clone()
    model = export(Function(lambda _, x: F.relu_(x + 0)), x)
    model.preview(x)
    assert torch.equal(x, X)


def test_modules_that_do_nothing_when_used():
    module = nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.ReLU(inplace=False), nn.Flatten())
    assert [type(i).__name__ for i in exports(module.eval(), X).program.instructions] == [
        "MaskWires", "ReLU"
    ]  # fmt: skip


def test_the_graph_knows_what_it_returns_and_what_it_takes():
    network = traced(
        Function(lambda self, x, y: {"a": x + self.w, "b": y}, w=torch.ones(4)), (X, Y)
    )
    assert [node.name for node in network.inputs] == ["inputs_0", "inputs_1"]
    assert len(network.results) == 2
    (weight,) = network.parameters
    assert network.names[weight] == "w"
    assert torch.equal(network.parameters[weight], torch.ones(4))
