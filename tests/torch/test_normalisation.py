from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from agreement import close, stored, unrounded
from small_modules import reference, shared
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import PrecisionError, ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.torch.private_tensor import PrivateTensor

BINARY = Precision(2, 16)
PRECISIONS = [Precision(10, 3), BINARY]
RELATIVE = 2.0**-17  # of an inverse root, as roots.py derives it


def near(private, expected, slack):
    """Within an absolute error, element by element, and the rounding to float32."""
    error = (unrounded(private).double() - expected.double()).abs()
    allowed = slack + expected.double().abs() * 2.0**-22 + 1e-9
    assert (error <= allowed).all(), (error / allowed).max()


# ---- roots -------------------------------------------------------------------------------------


def inverse_root_error(v, precision, scale):
    """The error of rsqrt of an exact v; `scale` is that of the result."""
    return RELATIVE * v.double().rsqrt() + 1.5 / scale


@pytest.mark.parametrize("precision", [*PRECISIONS, Precision(2, 20), Precision(10, 6)])
def test_rsqrt(group, precision):
    least = 1 / precision.scale
    v = torch.cat([
        torch.logspace(-2, 8, 60), torch.rand(20) * 4 + 0.01,
        torch.tensor([1.0, 2.0, 4.0, 3.999, 0.25, least * 4]),
    ]).double()  # fmt: skip
    v = v[v.rsqrt() * precision.scale < 2**40]
    x, rv = group.share(v, precision), stored(v, precision)
    out = x.rsqrt()
    scale = out._handle.wire.scale
    assert scale >= precision.scale
    near(out, rv.rsqrt(), inverse_root_error(rv, precision, scale))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sqrt(group, precision):
    v = torch.cat([torch.logspace(-2, 6, 50), torch.zeros(2)]).double()
    x, rv = group.share(v, precision), stored(v, precision)
    out, root = x.sqrt(), rv.sqrt()
    near(out, root, (RELATIVE * root + 1.5 / out._handle.wire.scale) * (root > 0))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_roots_of_products_and_bounded_values(group, precision):
    a = torch.rand(3, 4) + 0.5
    x, ra = group.share(a, precision), stored(a, precision)
    v = x * x
    scale = v.rsqrt()._handle.wire.scale
    near(v.rsqrt(), (ra * ra).rsqrt(), inverse_root_error(ra * ra, precision, scale))
    y = group.share(a, precision, bound=2.0)
    near(y.rsqrt(), ra.rsqrt(), inverse_root_error(ra, precision, scale))
    assert y[:0].rsqrt().shape == (0, 4)


def test_a_bound_makes_roots_cheaper(pair):
    def dealt(x):
        with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic:
            x.rsqrt()
        return traffic.dealt_bytes

    v = torch.rand(1000) + 0.5
    assert dealt(pair.share(v, bound=2.0)) < dealt(pair.share(v)) / 2


def test_roots_of_integers(group):
    with pytest.raises(PrecisionError, match="fix_precision"):
        group.share(torch.tensor([4])).rsqrt()


def test_checked_roots(group):
    v = torch.tensor([0.5, 2.0, 30.0])
    out = group.share(v, BINARY, checked=True).rsqrt()
    near(out, stored(v, BINARY).rsqrt(), inverse_root_error(v, BINARY, out._handle.wire.scale))


# ---- batch normalisation -----------------------------------------------------------------------


def trained(module, channels):
    """A batch normalisation with statistics and weights that are not those it starts with."""
    module.running_mean.copy_(torch.randn(channels))
    module.running_var.copy_(torch.rand(channels) * 3 + 0.2)
    if module.affine:
        with torch.no_grad():
            module.weight.copy_(torch.randn(channels))
            module.bias.copy_(torch.randn(channels))
    return module.eval()


NORMS = [
    (lambda: trained(nn.BatchNorm2d(3), 3), (2, 3, 4, 5)),
    (lambda: trained(nn.BatchNorm2d(3, affine=False), 3), (2, 3, 4, 5)),
    (lambda: trained(nn.BatchNorm2d(3, eps=0.1), 3), (0, 3, 4, 5)),
    (lambda: trained(nn.BatchNorm1d(3), 3), (2, 3, 5)),
    (lambda: trained(nn.BatchNorm1d(3), 3), (4, 3)),
    (lambda: trained(nn.InstanceNorm2d(3, track_running_stats=True), 3), (2, 3, 4, 5)),
]


def shape_for(x):
    return (1, -1, *(1,) * (x.ndim - 2))


def batch_norm_error(twin, x, precision, *, public):
    """What a batch normalisation may be off by, derived from its parts."""
    unit = 1 / precision.scale
    var = twin.running_var.double() + twin.eps
    weight = torch.ones_like(var) if twin.weight is None else twin.weight.double().abs()
    if public:
        # weight/sqrt(var) is rounded to half a unit, x - mean by half of one, in encoding the mean.
        factor_error = torch.full_like(var, unit / 2)
        centred_error = unit / 2
    else:
        # eps is rounded at the square of the scale; the root as roots.py has it, its own scale
        # being no coarser than a sixteenth of a unit here; the product with the weight once more.
        root_error = RELATIVE * var.rsqrt() + 1.5 * unit / 16 + var.rsqrt() ** 3 * unit**2
        factor_error = weight * root_error + unit / 16
        centred_error = 0.0
    centred = (x.double() - twin.running_mean.double().view(shape_for(x))).abs()
    factor = (weight * var.rsqrt()).view(shape_for(x)) + factor_error.view(shape_for(x))
    return centred * factor_error.view(shape_for(x)) + centred_error * factor + unit


@pytest.mark.parametrize("index", range(len(NORMS)))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_batch_norm(group, index, precision):
    make, shape = NORMS[index]
    module, x = make(), torch.randn(shape) * 2
    twin, rx = reference(module, precision), stored(x, precision)
    expected = twin(rx)
    private = shared(group, module, precision)
    slack = batch_norm_error(twin, rx, precision, public=False)
    with torch.no_grad():
        near(private(group.share(x, precision)), expected, slack)
        # Private parameters on public data.
        near(private(x.double()), twin(x.double()), slack
             + batch_norm_error(twin, rx, precision, public=True))  # fmt: skip
    # Public parameters on private data: they are not encoded before the factor is.
    plain = copy.deepcopy(module).double()
    with torch.no_grad():
        near(module(group.share(x, precision)), plain(rx),
             batch_norm_error(plain, rx, precision, public=True))  # fmt: skip


def test_names_of_batch_norm(group):
    module, x = trained(nn.BatchNorm2d(3), 3), torch.randn(2, 3, 4, 4)
    twin, rx = reference(module, BINARY), stored(x, BINARY)
    private, px = shared(group, module, BINARY), group.share(x, BINARY)
    arguments = (private.weight, private.bias, private.running_mean, private.running_var)
    slack = batch_norm_error(twin, rx, BINARY, public=False)
    with torch.no_grad():
        near(torch.native_batch_norm(px, *arguments, False, 0.1, 1e-5)[0], twin(rx), slack)
        named = torch.ops.aten._native_batch_norm_legit_no_training(px, *arguments, 0.1, 1e-5)
        near(named[0], twin(rx), slack)
    with torch.inference_mode():
        near(shared(group, module, BINARY)(px), twin(rx), slack)


def test_the_root_of_a_private_variance_is_computed_once_for_a_lowering(pair):
    module = shared(pair, trained(nn.BatchNorm2d(3), 3), BINARY)
    lowering = module.running_var._lowering
    rounds = []
    for _ in range(3):
        x = PrivateTensor(pair.share(torch.randn(2, 3, 4, 4), BINARY)._handle, lowering)
        with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic, torch.no_grad():
            module(x)
        rounds.append(traffic.rounds)
    assert rounds[0] > rounds[1] == rounds[2] == 1
    # What was kept goes with the variance.
    kept = [weakref.ref(root) for root in module.running_var._handle.derived.values()
            if isinstance(root, Handle)]  # fmt: skip
    assert len(kept) == 1
    del module
    gc.collect()
    assert kept[0]() is None


def test_training_needs_the_statistics_to_be_private(group):
    module = nn.BatchNorm2d(3).train()
    with pytest.raises(UnsupportedOperation, match="public buffer"), torch.no_grad():
        module(group.share(torch.randn(2, 3, 4, 4)))


# ---- by the statistics of the input ------------------------------------------------------------

LAYERS = [
    (lambda: nn.LayerNorm(6), (2, 5, 6)),
    (lambda: nn.LayerNorm((5, 6)), (2, 5, 6)),
    (lambda: nn.LayerNorm(6, elementwise_affine=False), (4, 6)),
    (lambda: nn.LayerNorm(6, bias=False), (6,)),
    (lambda: nn.LayerNorm(6), (0, 6)),
    (lambda: nn.RMSNorm(6), (2, 5, 6)),
    (lambda: nn.GroupNorm(2, 4), (2, 4, 3, 3)),
    (lambda: nn.GroupNorm(1, 4), (2, 4, 5)),
    (lambda: nn.GroupNorm(4, 4, affine=False), (2, 4, 3, 3)),
    (lambda: nn.InstanceNorm2d(4), (2, 4, 3, 3)),
    (lambda: nn.InstanceNorm1d(4, affine=True), (2, 4, 7)),
    (lambda: nn.BatchNorm2d(4, track_running_stats=False), (2, 4, 3, 3)),
]


def varied(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    return module


def by_input_error(expected, spread, precision, most=1.5):
    """What these are off by; spread: the least standard deviation, most: the largest weight.

    x - mean is off by a unit, and so is the root of the mean of its square, by at most one unit in
    each of the values that the mean is taken of; relatively that is unit/spread, twice, to which
    the root's own error comes. The weight's product truncates once more.
    """
    unit = 1 / precision.scale
    relative = unit / spread + RELATIVE + 1.5 * unit / 16 * spread + unit**2 / spread**2
    return (
        most * (unit / spread + expected.abs() * relative) * (1 + 4 * unit / spread) + most * unit
    )


@pytest.mark.parametrize("index", range(len(LAYERS)))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_by_the_statistics_of_the_input(group, index, precision):
    make, shape = LAYERS[index]
    module = varied(make())
    # Two values far apart in every group, so that no deviation is below 1.
    x = torch.randn(shape) + 4 * (torch.arange(torch.Size(shape).numel()).view(shape) % 2)
    twin, rx = reference(module, precision), stored(x, precision)
    expected = twin(rx)
    with torch.no_grad():
        for private in (shared(group, module, precision), module):
            got = private(group.share(x, precision))
            slack = by_input_error(expected, 1.0, precision)
            if isinstance(module, nn.RMSNorm):
                # torch takes it apart, so the root is rounded to a unit before it is used.
                slack = slack + 1.5 * (rx.abs() + 2) / precision.scale
            near(got, expected, slack)
        with torch.inference_mode():
            near(shared(group, module, precision)(group.share(x, precision)), expected, slack)


def test_names_of_normalisation_by_the_batch(group):
    a = torch.randn(2, 3, 4, 4) * 2
    x, ra = group.share(a, BINARY), stored(a, BINARY)
    named = torch.ops.aten._native_batch_norm_legit.no_stats
    expected = named(ra, None, None, True, 0.1, 1e-5)[0]
    got = named(x, None, None, True, 0.1, 1e-5)[0]
    near(got, expected, by_input_error(expected, float(ra.transpose(0, 1).flatten(1).std(1).min()),
                                       BINARY))  # fmt: skip


def test_statistics_are_results_too(group):
    a = torch.randn(3, 8) * 3
    x, ra = group.share(a, BINARY), stored(a, BINARY)
    _, middle, inverse = torch.native_layer_norm(x, (8,), None, None, 1e-5)
    _, expected_middle, expected_inverse = torch.native_layer_norm(ra, (8,), None, None, 1e-5)
    close(middle, expected_middle, 0, BINARY)
    # As above, with the least deviation of the rows.
    spread = 1 / float(expected_inverse.max())
    near(inverse, expected_inverse, expected_inverse * (2 / 2**16 / spread + RELATIVE) + 2.0**-16)


def test_shapes_that_do_not_fit(group):
    x = group.share(torch.ones(2, 4, 3))
    for call in (lambda: F.layer_norm(x, (4,)), lambda: F.group_norm(x, 3)):
        with pytest.raises((ShapeError, RuntimeError)):
            call()


def test_a_block_with_batch_norm(group):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    trained(model[1], 4)
    x = torch.randn(2, 2, 6, 6)
    twin, rx = reference(model, BINARY), stored(x, BINARY)
    inner = twin[0](rx)
    # The convolution's result is truncated once before it is normalised.
    factor = (twin[1].weight.detach().abs() / (twin[1].running_var + twin[1].eps).sqrt()).max()
    error = batch_norm_error(twin[1], inner, BINARY, public=False).max() + factor / 2**16
    weights = twin[5].weight.detach().abs().sum(1).max()
    with torch.no_grad():
        got = shared(group, model, BINARY)(group.share(x, BINARY))
    near(got, twin(rx), float(weights * (error + 2 / 2**16) + 1 / 2**16))
