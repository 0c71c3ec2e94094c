"""Explanations: which layer drifts first, which bound is exceeded, and how that is shown."""

import re

import pytest
import torch
from networks import Function, mlp
from torch import nn

from tacita.errors import EncodingError, ShapeError
from tacita.ring.fixed_point import Precision
from tacita.torch.whole.explain import DRIFT, Explanation, Row, explain
from tacita.torch.whole.model import export

X = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) - 0.5


def network(scales):
    """Linear layers whose weights are scaled: small ones leave few digits of what they make."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6, bias=False) for _ in scales]
    for layer, scale in zip(layers, scales, strict=True):
        layer.weight.data *= scale
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def good():
    return explain(export(mlp(6, 8, 3), X, samples=X), X)


def test_a_network_of_enough_precision_drifts_nowhere(good):
    assert good.first_drift is None
    assert good.first_exceeded is None
    assert list(good.warnings()) == []
    assert [(row.place, row.operation) for row in good.rows] == [
        ("0", "linear"), ("1", "relu"), ("2", "linear")
    ]  # fmt: skip
    for row in good.rows:
        assert 0 < row.error < 2.0**-12
        assert row.relative == row.error / row.largest
        assert row.bound >= row.largest


@pytest.mark.parametrize("drifting", [0, 1, 2])
def test_the_first_layer_to_drift_is_named(drifting):
    # At ten bits weights of 2^-9 are a unit or two, and rounded by up to half of one.
    scales = [1.0] * 3
    scales[drifting] = 2.0**-7
    found = explain(export(network(scales), X, precision=Precision(2, 10)), X).first_drift
    assert found.place == str(drifting)
    assert found.relative > DRIFT


def test_a_finer_precision_does_away_with_it():
    module = network([1.0, 2.0**-5, 1.0])
    errors = [
        max(row.relative for row in explain(export(module, X, precision=Precision(2, n)), X).rows)
        for n in (8, 12, 20)
    ]
    assert errors[0] > DRIFT > errors[2]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("checked", [False, True])
def test_bounds_that_are_exceeded_are_found_and_counted(checked):
    model = export(mlp(6, 8, 3), X, samples=X, margin=1.0, checked=checked)
    assert explain(model, X).first_exceeded is None
    found = explain(model, X * 50)
    values = (mlp_values(model, X * 50).abs() > found.first_exceeded.bound).sum()
    assert found.first_exceeded.place == "0"
    assert found.first_exceeded.exceeded == int(values) > 0
    assert "leave the bound" in next(iter(found.warnings()))


def mlp_values(model, x):
    """What the first layer of a model results in."""
    named = {name: key for key, name in model.network.names.items()}
    parameters = model.network.parameters
    return nn.functional.linear(x, parameters[named["0.weight"]], parameters[named["0.bias"]])


def test_the_table_has_a_line_for_each_node(good):
    text = str(good)
    assert len(re.findall(r"^│", text, re.MULTILINE)) == len(good.rows)
    for title in ("module", "operation", "largest", "bound", "error"):
        assert title in text
    assert "linear" in text


def test_where_all_is_well_it_says_so(good):
    most = max(good.rows, key=lambda row: row.error)
    last = str(good).splitlines()[-1]
    assert last.startswith("No value leaves its bound")
    assert last.endswith(f"{most.error:.2g}, at {most.place} ({most.operation}).")
    assert "No value leaves" not in str(Explanation((ROW,), 2.0**-16))
    assert Explanation((), 2.0**-16).conclusion() == []


def test_operations_of_the_network_itself_have_names_of_their_own():
    def forward(self, x):
        return torch.relu(self.last(torch.relu(self.first(x))))

    module = Function(forward, first=nn.Linear(6, 6), last=nn.Linear(6, 3))
    model = export(module, X, samples=X)
    places = [row.place for row in explain(model, X).rows]
    assert places == ["first", "relu", "last", "relu_1"]
    assert {"relu", "relu_1"} <= set(model.program.places)


def test_they_are_told_from_modules_of_the_same_name():
    module = Function(lambda self, x: self.relu(torch.relu(x) - 1), relu=nn.ReLU())
    model = export(module, X, samples=X)
    assert [row.place for row in explain(model, X).rows] == ["relu()", "sub", "relu"]
    assert {"relu()", "relu"} <= set(model.program.places)


ROW = Row("mul", "body.1", "mul", largest=2.0, error=0.5, bound=1.0, exceeded=3)


def test_warnings_name_the_module_and_what_to_do():
    warnings = list(Explanation((ROW,), 2.0**-16).warnings())
    assert [w for w in warnings if "body.1" in w] == warnings
    assert "3 values" in warnings[0]
    assert "larger margin" in warnings[0]
    assert "finer precision" in warnings[1]
    assert warnings[0] in str(Explanation((ROW,), 2.0**-16)).replace("\n", " ")


def test_a_value_that_should_be_zero_drifts_by_its_error():
    row = Row("sub", "sub", "sub", largest=0.0, error=0.25, bound=None, exceeded=0)
    assert row.relative == 0.25
    assert "sub" in str(Explanation((row,), 2.0**-16))


def test_modules_of_several_inputs_and_results():
    def forward(self, x, y):
        high, where = (x * y).max(1)
        return {"high": high, "where": where, "wide": torch.relu(x) + y}

    model = export(Function(forward), X, X)
    found = explain(model, X, X.flip(0))
    assert {"mul", "relu", "add"} <= {row.operation for row in found.rows}
    assert found.first_drift is None


def test_inputs_that_do_not_suit_the_model_are_refused():
    model = export(mlp(6, 3), X)
    with pytest.raises(ShapeError):
        explain(model, X[:2])
    with pytest.raises(EncodingError):
        explain(model, X / 0)
