"""Warnings at export: results that drift on the samples, and the layer in which it begins."""

import warnings

import pytest
import torch
from networks import Function, mlp
from torch import nn

from tacita.ring.fixed_point import Precision
from tacita.torch.whole import drift
from tacita.torch.whole.drift import CLOSEST, PrecisionWarning, wrong
from tacita.torch.whole.model import export

X = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) - 0.5
COARSE, FINE = Precision(2, 10), Precision(2, 22)


def network(drifting):
    """Three linear layers; at ten bits the weights of the drifting one are a unit or two."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6, bias=False) for _ in range(3)]
    layers[drifting].weight.data *= 2.0**-7
    return nn.Sequential(*layers).eval()


def quiet(module, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        return export(module, X, **options)


@pytest.mark.parametrize("drifting", [0, 1, 2])
def test_the_first_layer_to_drift_is_named(drifting):
    with pytest.warns(PrecisionWarning, match=rf"\n  {drifting} \(linear\) is the first to drift"):
        export(network(drifting), X, samples=X, precision=COARSE)


def test_the_warning_points_at_the_caller():
    with pytest.warns(PrecisionWarning) as found:
        export(network(0), X, samples=X, precision=COARSE)
    assert found[0].filename == __file__
    assert "base 2, 10 digits" in str(found[0].message)


def test_it_says_nothing_where_nothing_drifts_or_nobody_asks():
    quiet(mlp(6, 8, 3), samples=X)
    quiet(network(0), samples=X, precision=FINE)
    quiet(network(0), precision=COARSE)  # without samples there is nothing to compare
    quiet(network(0), samples=X, precision=COARSE, compare=False)


def test_large_networks_are_not_run(monkeypatch):
    monkeypatch.setattr(drift, "MOST_WORK", 1)
    quiet(network(0), samples=X, precision=COARSE)


def test_many_samples_cost_one_batch(monkeypatch):
    batches = []
    monkeypatch.setattr(drift, "differences", lambda _, inputs: batches.append(inputs) or [])
    quiet(network(0), samples=torch.cat([X] * 50), precision=FINE)
    ((batch,),) = batches
    assert torch.equal(batch, X)


def test_checked_programs_and_several_results_are_compared():
    both = Function(lambda self, x: (x * 2, self.layers(x)), layers=network(0))
    with pytest.warns(PrecisionWarning) as found:
        export(both, X, samples=X, precision=COARSE, checked=True)
    assert str(found[0].message).count("is off by up to") == 1


def test_a_changed_class_is_told_of_without_a_large_error():
    expected = torch.tensor([[1.0, 0.999], [0.0, 1.0]], dtype=torch.float64)
    got = torch.tensor([[0.9985, 0.999], [0.0, 1.0]], dtype=torch.float64)
    unit = 2.0**-16
    assert wrong("scores", got, expected, unit) == [
        "the largest of 'scores' is another for 1 of 2 samples"
    ]
    assert wrong("scores", expected, expected, unit) == []


@pytest.mark.parametrize(("apart", "told"), [(CLOSEST - 0.5, 0), (CLOSEST + 0.5, 1)])
def test_classes_that_rounding_alone_may_exchange_do_not_count(apart, told):
    unit = 2.0**-16
    expected = torch.tensor([[1.0 + apart * unit, 1.0]], dtype=torch.float64)
    got = torch.tensor([[1.0, 1.0 + unit]], dtype=torch.float64)
    assert len(wrong("scores", got, expected, unit)) == told


def test_integer_results_are_to_be_equal():
    expected = torch.tensor([1, 2, 3])
    assert wrong("class", expected.double(), expected, 1.0) == []
    assert wrong("class", torch.tensor([1.0, 0.0, 0.0]).double(), expected, 1.0) == [
        "2 of 3 values of 'class' change"
    ]
    assert wrong("none", torch.empty(0).double(), torch.empty(0), 1.0) == []
