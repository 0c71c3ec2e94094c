"""Batch, layer, group, instance and root-mean-square normalisation.

Batch normalisation has statistics of its own. Private ones need 1/sqrt(var + eps), which is
computed once for a lowering and kept for as long as the variance is; the cheaper way is to fold
the layer into the convolution before it is shared (torch.nn.utils.fuse_conv_bn_eval). The others
take the statistics of their input, so every call computes a root (roots.py): the sum of squares of
a group, at the square of the precision's scale, has to stay below 2^60.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, prod, sqrt
from typing import Any
from weakref import ref

import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering import by_octave
from tacita.torch.lowering.arithmetic import (
    add,
    exact_product,
    handle_of,
    mul,
    public_product,
    scaled,
    square,
    sub,
)
from tacita.torch.lowering.expected import VARIANCE
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand, factor, need_precision
from tacita.torch.lowering.positive import in_range, squarable
from tacita.torch.lowering.reduction import mean
from tacita.torch.lowering.roots import inverse_root
from tacita.torch.lowering.scales import (
    SMALLER,
    descaled,
    relabelled,
    settled,
    truncated,
)
from tacita.torch.lowering.shape import permuted, reshaped
from tacita.torch.lowering.updates import Updating

Shape = tuple[int, ...]
WHAT = "normalisation"
WIDEST_SQUARE = (1 << 60) - 1  # of a variance in ring units
STANDARDISED = "standardised"  # in `derived`: what a wire's rows became
CLOSE = 1 + 2.0**-8  # roundings of values, of their mean and of the inverse root together
KNOWN_BITS = 20  # of an inverse root from a variance whose range is known
SMALLEST = torch.finfo(torch.float32).eps  # what rms_norm adds where it is given nothing


# ---- by the statistics of the input ------------------------------------------------------------


def standardised(
    low: Lowering, rows: Handle, eps: float, *, centred: bool = True, keep: Handle | None = None
) -> tuple[Handle, Handle, Handle]:
    """[R, D]: (x - mean)/sqrt(var + eps) for each row, the mean [R, 1] and the inverse root.

    keep: the wire to remember the result with, for the backward pass, and the variance.
    Of one unit 1/scale: x - mean is off by one, and the root has the error that roots.py states.
    """
    need_precision(low, WHAT)
    middle = mean(low, rows, 1, keepdim=True)
    if centred:
        rows = sub(low, rows, middle)
    (rows,) = descaled(low, (rows,), WHAT)
    rows = squarable(low, rows, WHAT)
    spread = mean(low, square(low, rows), 1, keepdim=True)
    inverse = inverse_of(low, spread, eps)
    bound = None
    if VARIANCE in low.expected:
        # No value is further from the mean than the root of D standard deviations.
        bound = ceil(sqrt(rows.wire.shape[1]) * rows.wire.scale * inverse.wire.scale * CLOSE)
    out = exact_product(low, rows, inverse, rows.wire.shape, bound=bound, what=WHAT)
    if keep is not None:
        low.derived(keep)[STANDARDISED, rows.wire.shape] = (out, inverse, spread)
    return out, middle, inverse


def inverse_of(low: Lowering, variance: Handle, eps: float) -> Handle:
    """1/sqrt(variance + eps), with eps at the square of the scale or finer: it is small."""
    scale = variance.wire.scale
    if scale <= low.scale:
        finer = low.scale * low.scale // scale
        variance = low.combine(((variance, finer),), variance.wire.shape, scale * finer)
        scale *= finer
    least = round(eps * scale)
    terms = ((variance, 1), (low.number(least, scale), 1))
    raised = low.combine(terms, variance.wire.shape, scale)
    known = low.expected.get(VARIANCE)
    if known is not None:
        ends = max(least, 1, floor(known.least * scale)), ceil(known.most * scale)
        if by_octave.fits(*ends):
            raised = in_range(low, raised, *ends, "the variance of a normalisation")
            return by_octave.inverse_root_within(low, raised, *ends, KNOWN_BITS, WHAT)
    if raised.wire.bound is not None and raised.wire.bound <= WIDEST_SQUARE:
        return inverse_root(low, raised, least)
    too_wide = f"is below 0 or above {WIDEST_SQUARE / scale:.6g}; {SMALLER}"
    raised = in_range(low, raised, 0, WIDEST_SQUARE, "variance of a normalisation", too_wide)
    # Arithmetic knows a square of the largest bound only: the range is what the top states.
    if raised.wire.bound is not None:
        raised = relabelled(low, raised, scale, WIDEST_SQUARE)
    return inverse_root(low, raised, least)


def affine(
    low: Lowering, x: Handle, weight: Operand | None, bias: Operand | None, shape: Shape
) -> Handle:
    """x·weight + bias, where given, both read in the shape that broadcasts."""
    if weight is not None:
        x = mul(low, x, read(low, weight, shape))
    return x if bias is None else add(low, x, read(low, bias, shape))


def read(low: Lowering, parameter: Operand, shape: Shape) -> Operand:
    if isinstance(parameter, Handle):
        return reshaped(low, parameter, shape)
    assert isinstance(parameter, torch.Tensor)
    return parameter.detach().reshape(shape)


def native_layer_norm(
    low: Lowering,
    x: Handle,
    normalized_shape: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *,
    keep: bool = False,
) -> tuple[Handle, Handle, Handle]:
    shape, inner = x.wire.shape, tuple(int(s) for s in normalized_shape)
    if not inner or shape[-len(inner) :] != inner:
        raise ShapeError(f"layer_norm over {list(inner)}: an input of shape {shape}")
    lead = shape[: -len(inner)]
    if not x.wire.size:
        nothing = low.zeros((*lead, *(1,) * len(inner)), low.scale)
        return low.zeros(shape, low.scale), nothing, nothing
    rows = reshaped(low, x, (prod(lead), prod(inner)))
    out, middle, inverse = standardised(low, rows, eps, keep=x if keep else None)
    statistics = (*lead, *(1,) * len(inner))
    return (
        affine(low, reshaped(low, out, shape), weight, bias, inner),
        reshaped(low, middle, statistics),
        reshaped(low, inverse, statistics),
    )


def layer_norm(
    low: Lowering,
    x: Handle,
    normalized_shape: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Handle:
    return native_layer_norm(low, x, normalized_shape, weight, bias, eps)[0]


def rms_norm(
    low: Lowering,
    x: Handle,
    normalized_shape: Sequence[int],
    weight: Operand | None = None,
    eps: float | None = None,
) -> Handle:
    shape, inner = x.wire.shape, tuple(int(s) for s in normalized_shape)
    if not inner or shape[-len(inner) :] != inner:
        raise ShapeError(f"rms_norm over {list(inner)}: an input of shape {shape}")
    if not x.wire.size:
        return low.zeros(shape, low.scale)
    rows = reshaped(low, x, (x.wire.size // prod(inner), prod(inner)))
    out, _, _ = standardised(low, rows, SMALLEST if eps is None else eps, centred=False)
    return affine(low, reshaped(low, out, shape), weight, None, inner)


def native_group_norm(
    low: Lowering,
    x: Handle,
    weight: Operand | None,
    bias: Operand | None,
    n: int,
    channels: int,
    size: int,
    groups: int,
    eps: float,
    *,
    keep: bool = False,
) -> tuple[Handle, Handle, Handle]:
    shape = x.wire.shape
    if groups < 1 or channels % groups:
        raise ShapeError(f"group_norm: {channels} channels are no {groups} groups")
    if not x.wire.size:
        nothing = low.zeros((n, groups), low.scale)
        return low.zeros(shape, low.scale), nothing, nothing
    rows = reshaped(low, x, (n * groups, channels // groups * size))
    out, middle, inverse = standardised(low, rows, eps, keep=x if keep else None)
    return (
        affine(low, reshaped(low, out, shape), weight, bias, per_channel(shape)),
        reshaped(low, middle, (n, groups)),
        reshaped(low, inverse, (n, groups)),
    )


def group_norm(
    low: Lowering,
    x: Handle,
    groups: int,
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Handle:
    n, channels, *rest = x.wire.shape
    return native_group_norm(low, x, weight, bias, n, channels, prod(rest), groups, eps)[0]


def per_channel(shape: Shape) -> Shape:
    """The shape of one number a channel, to go with [N, C, …]."""
    return (shape[1], *(1,) * (len(shape) - 2))


# ---- by statistics of its own ------------------------------------------------------------------


def batch_norm(
    low: Lowering,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    training: bool,
    _: float,
    eps: float,
    *__: Any,
) -> Handle:
    """(x - mean)/sqrt(var + eps)·weight + bias, one of each a channel; all private or public."""
    if running_mean is None or running_var is None:
        if not training:
            raise ShapeError("batch_norm: running_mean and running_var are missing")
        return _by_the_batch(low, x, weight, bias, eps)
    if training:
        raise UnsupportedOperation(
            "a whole network is exported in eval mode: call eval() on the module"
        )
    scaling = scaling_of(low, weight, running_var, eps)
    shape = per_channel(x.wire.shape if isinstance(x, Handle) else tuple(_tensor(x).shape))
    centred = _difference(low, x, read(low, running_mean, shape))
    scaling = read(low, scaling, shape)
    if isinstance(centred, Handle) and isinstance(scaling, Handle):
        (centred,) = descaled(low, (centred,), WHAT)
        out = exact_product(low, centred, scaling, centred.wire.shape, what=WHAT)
    else:
        out = mul(low, centred, scaling)
    return out if bias is None else _shifted(low, out, read(low, bias, shape))


def _shifted(low: Lowering, x: Handle, bias: Operand) -> Handle:
    """x + bias at the scale of x, however fine it is: what follows truncates."""
    summand = handle_of(low, bias, WHAT)
    if x.wire.scale % summand.wire.scale:
        return add(low, x, summand)
    factor = x.wire.scale // summand.wire.scale
    return low.combine(((x, 1), (summand, factor)), x.wire.shape, x.wire.scale)


def _tensor(x: Operand) -> torch.Tensor:
    if not isinstance(x, torch.Tensor):
        raise ShapeError(f"{WHAT}: a {type(x).__name__} has no channels")
    return x


def _difference(low: Lowering, x: Operand, middle: Operand) -> Operand:
    if isinstance(x, Handle) or isinstance(middle, Handle):
        return sub(low, x, middle)
    return _tensor(x) - _tensor(middle)


def scaling_of(low: Lowering, weight: Operand | None, variance: Operand, eps: float) -> Operand:
    """weight/sqrt(var + eps), public where both are.

    A root of a private variance is kept for the next call, with the private weight in it. It is
    finer than the precision's scale.
    """
    if not isinstance(variance, Handle):
        inverse = (_tensor(variance).detach().double() + eps).rsqrt()
        if isinstance(weight, Handle):
            return descaled(low, (mul(low, weight, inverse),), WHAT)[0]
        return inverse if weight is None else inverse * _tensor(weight).detach().double()
    private = weight if isinstance(weight, Handle) else None
    kept = low.derived(variance)
    if eps not in kept:
        kept[eps] = inverse_of(low, variance, eps)
    root: Handle = kept[eps]
    if weight is None:
        return root
    if private is None:
        return _finely(low, factor(low, _tensor(weight).detach(), WHAT), root)
    by, found = kept.get(("times", eps), (None, root))
    product: Handle = found
    if by is None or by() is not private:
        product = _finely(low, private, root)
        kept["times", eps] = (ref(private), product)
    return product


def _finely(low: Lowering, weight: Handle, inverse: Handle) -> Handle:
    """weight·inverse at the scale of the latter."""
    scale = inverse.wire.scale
    if weight.public:
        out = public_product(low, inverse, weight, weight.wire.shape)
    else:
        (weight,) = descaled(low, (weight,), WHAT)
        out = exact_product(low, weight, inverse, weight.wire.shape, what=WHAT)
    low.mask((out,), WHAT)
    return relabelled(low, truncated(low, out, weight.wire.scale, WHAT), scale, None)


def _by_the_batch(
    low: Lowering, x: Operand, weight: Operand | None, bias: Operand | None, eps: float
) -> Handle:
    """By the statistics of all that a channel holds, as instance_norm and layers without running
    statistics have it."""
    if not isinstance(x, Handle):
        raise UnsupportedOperation(
            "the statistics of a public input are public: normalise it first"
        )
    shape = x.wire.shape
    if not x.wire.size:
        return low.zeros(shape, low.scale)
    out, _, _ = standardised(low, channel_rows(low, x), eps)
    return affine(low, channels_back(low, out, shape), weight, bias, per_channel(shape))


def channel_rows(low: Lowering, x: Handle) -> Handle:
    """[N, C, …] as [C, N·…]; a view."""
    shape = x.wire.shape
    turned = permuted(low, x, (1, 0, *range(2, len(shape))))
    return reshaped(low, turned, (shape[1], x.wire.size // shape[1]))


def channels_back(low: Lowering, rows: Handle, shape: Shape) -> Handle:
    """The inverse of `channel_rows` for a result of that shape."""
    turned = reshaped(low, rows, (shape[1], shape[0], *shape[2:]))
    return permuted(low, turned, (1, 0, *range(2, len(shape))))


def native_batch_norm(
    low: Lowering,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """With what torch keeps of a batch for training: nothing, in eval mode."""
    if training:
        return batch_norm_in_training(
            low, x, weight, bias, running_mean, running_var, momentum, eps
        )
    out = batch_norm(low, x, weight, bias, running_mean, running_var, False, momentum, eps)
    return out, torch.empty(0), torch.empty(0)


def batch_norm_in_training(
    low: Lowering,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    momentum: float,
    eps: float,
) -> Updating:
    """By the statistics of the batch, which the running ones take in.

    The running statistics are kept at the scale of gradients, as parameters are.
    """
    if not isinstance(x, Handle):
        raise UnsupportedOperation(
            "batch norm in training: the input is public; share it, or normalise it first"
        )
    shape = x.wire.shape
    rows = channel_rows(low, x)
    count = rows.wire.shape[1]
    if count < 2:
        raise ShapeError(f"batch norm in training: one value a channel in an input of {shape}")
    out, middle, inverse = standardised(low, rows, eps, keep=x)
    spread = low.derived(x)[STANDARDISED, rows.wire.shape][2]
    channels = (shape[1],)
    changed: dict[int, Handle] = {}
    # The running variance takes in the unbiased one.
    unbiased = momentum * count / (count - 1)
    for place, old, new, share in (
        (3, running_mean, middle, momentum),
        (4, running_var, spread, unbiased),
    ):
        if isinstance(old, Handle):
            now = scaled(low.finer, reshaped(low, new, channels), share)
            moved = add(low.finer, scaled(low.finer, old, 1 - momentum), now)
            changed[place] = settled(low, moved, WHAT)
        elif old is not None:
            raise UnsupportedOperation(
                "batch norm in training: private statistics cannot go into a public buffer; share "
                "the module with its input"
            )
    back = affine(low, channels_back(low, out, shape), weight, bias, per_channel(shape))
    kept = (reshaped(low, middle, channels), reshaped(low, inverse, channels))
    return Updating((back, *kept), changed)


def native_batch_norm_in_eval(
    low: Lowering,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand,
    running_var: Operand,
    momentum: float,
    eps: float,
) -> Any:
    return native_batch_norm(low, x, weight, bias, running_mean, running_var, False, momentum, eps)


def native_batch_norm_without_statistics(
    low: Lowering,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    return native_batch_norm(low, x, weight, bias, None, None, training, momentum, eps)


def instance_norm(
    low: Lowering,
    x: Handle,
    weight: Operand | None,
    bias: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Handle:
    if not use_input_stats or running_mean is not None:
        training = use_input_stats
        return batch_norm(low, x, weight, bias, running_mean, running_var, training, momentum, eps)
    # Every channel of every image is a group of its own.
    return group_norm(low, x, x.wire.shape[1], weight, bias, eps)
