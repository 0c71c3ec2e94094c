"""The table: which aten operation is lowered by which function.

Eager tensors look operations up here; so does whoever lowers an exported program. An operation
that is not listed has no protocol, and using it is an error that names it (`unsupported.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from tacita.torch.lowering import (
    activation,
    arithmetic,
    attention,
    averaging,
    comparison,
    conversion,
    convolution,
    convolution_gradients,
    cross_entropy,
    division,
    dropout,
    embedding,
    encoder_layer,
    exponentials,
    extrema,
    gradients,
    joining,
    logarithms,
    lookup,
    losses,
    matrices,
    normalisation,
    normalisation_gradients,
    norms,
    padding,
    pooling,
    pooling_gradients,
    powers,
    probabilities,
    products,
    rearrangement,
    reciprocals,
    reduction,
    roots,
    scattering,
    selection,
    shape,
    smooth,
    softmax,
    sorting,
)

Lowered = Callable[..., Any]

_VALUES: dict[str, Lowered] = {
    # sums and products
    "add.Tensor": arithmetic.add,
    "add.Scalar": arithmetic.add,
    "sub.Tensor": arithmetic.sub,
    "sub.Scalar": arithmetic.sub,
    "rsub.Tensor": arithmetic.rsub,
    "rsub.Scalar": arithmetic.rsub,
    "neg.default": arithmetic.neg,
    "mul.Tensor": arithmetic.mul,
    "mul.Scalar": arithmetic.mul,
    "square.default": arithmetic.square,
    "pow.Tensor_Scalar": powers.power,
    "pow.Tensor_Tensor": powers.power,
    "pow.Scalar": powers.power,
    "addcmul.default": arithmetic.addcmul,
    "lerp.Scalar": arithmetic.lerp,
    "lerp.Tensor": arithmetic.lerp,
    # quotients
    "div.Tensor": division.div,
    "div.Scalar": division.div,
    "div.Tensor_mode": division.div,
    "div.Scalar_mode": division.div,
    "floor_divide.default": division.floor_divide,
    "floor_divide.Scalar": division.floor_divide,
    "remainder.Scalar": division.remainder,
    "remainder.Tensor": division.remainder,
    "addcdiv.default": division.addcdiv,
    "reciprocal.default": reciprocals.reciprocal,
    # exponentials and logarithms
    "exp.default": exponentials.exp_,
    "exp2.default": exponentials.exp2,
    "expm1.default": exponentials.expm1,
    "log.default": logarithms.log_,
    "log2.default": logarithms.log2,
    "log10.default": logarithms.log10,
    "log1p.default": logarithms.log1p,
    "logsumexp.default": softmax.logsumexp,
    "softmax.int": softmax.softmax,
    "_softmax.default": softmax.softmax,
    "_safe_softmax.default": softmax.softmax,
    "_softmax_backward_data.default": softmax.softmax_backward,
    "log_softmax.int": softmax.log_softmax,
    "_log_softmax.default": softmax.log_softmax,
    "_log_softmax_backward_data.default": softmax.log_softmax_backward,
    # smooth activations
    "sigmoid.default": smooth.sigmoid,
    "sigmoid_backward.default": smooth.sigmoid_backward,
    "tanh.default": smooth.tanh,
    "tanh_backward.default": smooth.tanh_backward,
    "erf.default": smooth.erf,
    "erfc.default": smooth.erfc,
    "gelu.default": smooth.gelu,
    "gelu_backward.default": smooth.gelu_backward,
    "silu.default": smooth.silu,
    "silu_backward.default": smooth.silu_backward,
    "mish.default": smooth.mish,
    "mish_backward.default": smooth.mish_backward,
    "softplus.default": smooth.softplus,
    "softplus_backward.default": smooth.softplus_backward,
    "log_sigmoid_forward.default": smooth.log_sigmoid_forward,
    "log_sigmoid_backward.default": smooth.log_sigmoid_backward,
    "log_sigmoid.default": smooth.log_sigmoid,
    "elu.default": exponentials.elu,
    "elu_backward.default": exponentials.elu_backward,
    "celu.default": exponentials.celu,
    "selu.default": exponentials.selu,
    # losses of classifications
    "nll_loss_forward.default": cross_entropy.nll_loss_forward,
    "nll_loss_backward.default": cross_entropy.nll_loss_backward,
    "nll_loss2d_forward.default": cross_entropy.nll_loss_forward,
    "nll_loss2d_backward.default": cross_entropy.nll_loss_backward,
    "binary_cross_entropy_with_logits.default": cross_entropy.binary_cross_entropy_with_logits,
    "binary_cross_entropy.default": probabilities.binary_cross_entropy,
    "binary_cross_entropy_backward.default": probabilities.binary_cross_entropy_backward,
    # norms and spreads
    "linalg_vector_norm.default": norms.vector_norm,
    "norm.Scalar": norms.norm,
    "norm.ScalarOpt_dim": norms.norm,
    "var.correction": norms.var,
    "std.correction": norms.std,
    "var_mean.correction": norms.var_mean,
    "std_mean.correction": norms.std_mean,
    # matrix products
    "mm.default": matrices.mm,
    "bmm.default": matrices.bmm,
    "mv.default": matrices.mv,
    "dot.default": matrices.dot,
    "vdot.default": matrices.dot,
    "matmul.default": matrices.matmul,
    "addmm.default": matrices.addmm,
    "addmv.default": matrices.addmv,
    "baddbmm.default": matrices.baddbmm,
    "linear.default": matrices.linear,
    # attention, and whole layers of transformers
    "scaled_dot_product_attention.default": attention.attention,
    "_scaled_dot_product_flash_attention_for_cpu.default": attention.flash_attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward.default": (
        attention.flash_attention_backward
    ),
    "_native_multi_head_attention.default": encoder_layer.multi_head_attention,
    "_transformer_encoder_layer_fwd.default": encoder_layer.encoder_layer,
    "_nested_tensor_from_mask_left_aligned.default": conversion.not_nested,
    # convolutions
    "convolution.default": convolution.convolution,
    "conv1d.default": convolution.ordinary,
    "conv1d.padding": convolution.ordinary,
    "conv2d.default": convolution.ordinary,
    "conv2d.padding": convolution.ordinary,
    "conv3d.default": convolution.ordinary,
    "conv_transpose1d.default": convolution.transposed,
    "conv_transpose2d.input": convolution.transposed,
    "conv_transpose3d.input": convolution.transposed,
    # pooling
    "max_pool1d.default": pooling.max_pool1d,
    "max_pool2d.default": pooling.max_pool2d,
    "max_pool2d_with_indices.default": pooling.max_pool2d_with_indices,
    "adaptive_max_pool1d.default": pooling.adaptive_max_pool1d,
    "adaptive_max_pool2d.default": pooling.adaptive_max_pool2d,
    "avg_pool1d.default": averaging.avg_pool1d,
    "avg_pool2d.default": averaging.avg_pool2d,
    "adaptive_avg_pool1d.default": averaging.adaptive_avg_pool1d,
    "adaptive_avg_pool2d.default": averaging.adaptive_avg_pool2d,
    "_adaptive_avg_pool2d.default": averaging.adaptive_avg_pool2d,
    "im2col.default": pooling.im2col,
    # normalisation and roots
    "batch_norm.default": normalisation.batch_norm,
    "native_batch_norm.default": normalisation.native_batch_norm,
    "_native_batch_norm_legit.default": normalisation.native_batch_norm,
    "_native_batch_norm_legit.no_stats": normalisation.native_batch_norm_without_statistics,
    "_native_batch_norm_legit_no_training.default": normalisation.native_batch_norm_in_eval,
    "instance_norm.default": normalisation.instance_norm,
    "layer_norm.default": normalisation.layer_norm,
    "native_layer_norm.default": normalisation.native_layer_norm,
    "rms_norm.default": normalisation.rms_norm,
    "group_norm.default": normalisation.group_norm,
    "native_group_norm.default": normalisation.native_group_norm,
    "rsqrt.default": roots.rsqrt,
    "sqrt.default": roots.sqrt_,
    # comparisons and what is made of their results
    "gt.Tensor": comparison.gt,
    "gt.Scalar": comparison.gt,
    "ge.Tensor": comparison.ge,
    "ge.Scalar": comparison.ge,
    "lt.Tensor": comparison.lt,
    "lt.Scalar": comparison.lt,
    "le.Tensor": comparison.le,
    "le.Scalar": comparison.le,
    "eq.Tensor": comparison.eq,
    "eq.Scalar": comparison.eq,
    "ne.Tensor": comparison.ne,
    "ne.Scalar": comparison.ne,
    "logical_not.default": comparison.logical_not,
    "logical_and.default": comparison.logical_and,
    "logical_or.default": comparison.logical_or,
    "logical_xor.default": comparison.logical_xor,
    "bitwise_not.default": comparison.logical_not,
    "bitwise_and.Tensor": comparison.logical_and,
    "bitwise_or.Tensor": comparison.logical_or,
    "bitwise_xor.Tensor": comparison.logical_xor,
    "__and__.Tensor": comparison.logical_and,
    "__or__.Tensor": comparison.logical_or,
    "__xor__.Tensor": comparison.logical_xor,
    # choosing
    "relu.default": selection.relu,
    "threshold_backward.default": gradients.threshold_backward,
    "leaky_relu.default": selection.leaky_relu,
    "relu6.default": activation.relu6,
    "hardtanh.default": activation.hardtanh,
    "hardsigmoid.default": activation.hardsigmoid,
    "hardswish.default": activation.hardswish,
    "prelu.default": activation.prelu_per_channel,
    "_prelu_kernel.default": activation.prelu,
    # dropout
    "bernoulli.p": dropout.bernoulli,
    "dropout.default": dropout.dropout,
    "feature_dropout.default": dropout.feature_dropout,
    "native_dropout.default": dropout.native_dropout,
    "native_dropout_backward.default": dropout.native_dropout_backward,
    "threshold.default": selection.threshold,
    "abs.default": selection.abs_,
    "sign.default": selection.sign_,
    "sgn.default": selection.sign_,
    "clamp.default": selection.clamp,
    "clamp.Tensor": selection.clamp,
    "clamp_min.default": selection.clamp_min,
    "clamp_min.Tensor": selection.clamp_min,
    "clamp_max.default": selection.clamp_max,
    "clamp_max.Tensor": selection.clamp_max,
    "maximum.default": selection.maximum,
    "minimum.default": selection.minimum,
    "max.other": selection.maximum,
    "min.other": selection.minimum,
    "where.self": selection.where,
    "where.ScalarSelf": selection.where,
    "where.ScalarOther": selection.where,
    "where.Scalar": selection.where,
    "masked_fill.Scalar": selection.masked_fill,
    "masked_fill.Tensor": selection.masked_fill,
    # extrema
    "max.default": extrema.max_whole,
    "max.dim": extrema.max_dim,
    "min.default": extrema.min_whole,
    "min.dim": extrema.min_dim,
    "amax.default": extrema.amax,
    "amin.default": extrema.amin,
    "argmax.default": extrema.argmax,
    "argmin.default": extrema.argmin,
    "any.default": extrema.any_,
    "any.dim": extrema.any_,
    "all.default": extrema.all_,
    "all.dim": extrema.all_,
    # order
    "sort.default": sorting.sort,
    "sort.stable": sorting.stable_sort,
    "msort.default": sorting.msort,
    "argsort.default": sorting.argsort,
    "argsort.stable": sorting.stable_argsort,
    "topk.default": sorting.topk,
    "kthvalue.default": sorting.kthvalue,
    "median.default": sorting.median,
    "median.dim": sorting.median_dim,
    # backward passes
    "leaky_relu_backward.default": gradients.leaky_relu_backward,
    "_prelu_kernel_backward.default": gradients.prelu_backward,
    "hardtanh_backward.default": gradients.hardtanh_backward,
    "hardsigmoid_backward.default": gradients.hardsigmoid_backward,
    "hardswish_backward.default": gradients.hardswish_backward,
    "convolution_backward.default": convolution_gradients.convolution_backward,
    "max_pool2d_with_indices_backward.default": pooling_gradients.max_pool_backward,
    "adaptive_max_pool2d_backward.default": pooling_gradients.max_pool_backward,
    "avg_pool2d_backward.default": pooling_gradients.avg_pool2d_backward,
    "_adaptive_avg_pool2d_backward.default": pooling_gradients.adaptive_avg_pool2d_backward,
    "native_batch_norm_backward.default": normalisation_gradients.native_batch_norm_backward,
    "native_layer_norm_backward.default": normalisation_gradients.native_layer_norm_backward,
    "native_group_norm_backward.default": normalisation_gradients.native_group_norm_backward,
    "select_backward.default": scattering.select_backward,
    "slice_backward.default": scattering.slice_backward,
    "index_put.default": scattering.index_put,
    "_index_put_impl.default": scattering.index_put,
    "index_add.default": scattering.index_add,
    "scatter_add.default": scattering.scatter_add,
    "scatter.src": scattering.scatter,
    # rows of tables
    "embedding.default": embedding.embedding,
    "embedding_dense_backward.default": embedding.embedding_dense_backward,
    "one_hot.default": lookup.encoded,
    # losses
    "mse_loss.default": losses.mse_loss,
    "mse_loss_backward.default": losses.mse_loss_backward,
    "huber_loss.default": losses.huber_loss,
    "huber_loss_backward.default": losses.huber_loss_backward,
    "smooth_l1_loss.default": losses.smooth_l1_loss,
    "smooth_l1_loss_backward.default": losses.smooth_l1_loss_backward,
    # reductions
    "sum.default": reduction.sum_,
    "sum.dim_IntList": reduction.sum_,
    "mean.default": reduction.mean,
    "mean.dim": reduction.mean,
    "cumsum.default": reduction.cumsum,
    "prod.default": products.product,
    "prod.dim_int": products.product,
    "cumprod.default": products.cumprod,
    # joining
    "cat.default": joining.cat,
    "stack.default": joining.stack,
    # padding, and elements in other places
    "constant_pad_nd.default": padding.constant_pad,
    "pad.default": padding.pad,
    "channel_shuffle.default": rearrangement.channel_shuffle,
    "native_channel_shuffle.default": rearrangement.channel_shuffle,
    "pixel_shuffle.default": rearrangement.pixel_shuffle,
    "pixel_unshuffle.default": rearrangement.pixel_unshuffle,
    # copies and constants
    "clone.default": shape.same,
    "contiguous.default": shape.same,
    "_to_copy.default": conversion.to_copy,
    "zeros_like.default": conversion.zeros_like,
    "isnan.default": conversion.zeros_like,  # fixed point has none
    "empty_like.default": conversion.zeros_like,
    "ones_like.default": conversion.ones_like,
    "full_like.default": conversion.full_like,
    "new_zeros.default": conversion.new_zeros,
    "new_empty.default": conversion.new_zeros,
    "new_empty_strided.default": conversion.new_empty_strided,
    "new_ones.default": conversion.new_ones,
    "new_full.default": conversion.new_full,
}

# Results that share the memory of their source in torch, so that writing to one would have to
# show in the other.
_VIEWS: dict[str, Lowered] = {
    "view.default": shape.view,
    "_unsafe_view.default": shape.view,
    "reshape.default": shape.view,
    "_reshape_alias.default": shape.reshape_alias,
    "view_as.default": shape.view_as,
    "alias.default": shape.same,
    "detach.default": shape.same,
    "lift_fresh.default": shape.same,
    "t.default": shape.t,
    "transpose.int": shape.transpose,
    "permute.default": shape.permute,
    "expand.default": shape.expand,
    "unsqueeze.default": shape.unsqueeze,
    "squeeze.default": shape.squeeze,
    "squeeze.dim": shape.squeeze,
    "squeeze.dims": shape.squeeze,
    "select.int": shape.select,
    "slice.Tensor": shape.slice_,
    "narrow.default": shape.narrow,
    "flatten.using_ints": shape.flatten,
    "unbind.int": shape.unbind,
    "split.Tensor": shape.split,
    "split.sizes": shape.split,
    "split_with_sizes.default": shape.split,
    "chunk.default": shape.chunk,
}

# Lowered by running the operation itself on positions.
_GATHERED_VIEWS = ("diagonal.default", "unfold.default", "as_strided.default")
_GATHERED = (
    "flip.default",
    "roll.default",
    "rot90.default",
    "repeat.default",
    "repeat_interleave.self_int",
    "index.Tensor",
    "index_select.default",
    "gather.default",
    "take.default",
)
# The same, where places that no element comes to are filled with zero.
_GATHERED_WITH_ZEROS = (
    "tril.default",
    "triu.default",
    "diag_embed.default",
)

# The same along each of so many last dimensions by itself.
_ALONG_AXES = {
    "reflection_pad1d.default": 1,
    "reflection_pad2d.default": 2,
    "replication_pad1d.default": 1,
    "replication_pad2d.default": 2,
    "upsample_nearest1d.default": 1,
    "upsample_nearest1d.vec": 1,
    "upsample_nearest2d.default": 2,
    "upsample_nearest2d.vec": 2,
    "_upsample_nearest_exact1d.default": 1,
    "_upsample_nearest_exact1d.vec": 1,
    "_upsample_nearest_exact2d.default": 2,
    "_upsample_nearest_exact2d.vec": 2,
}


_BACK_ALONG_AXES = {
    "reflection_pad1d_backward.default": 1,
    "reflection_pad2d_backward.default": 2,
    "replication_pad1d_backward.default": 1,
    "replication_pad2d_backward.default": 2,
    "upsample_nearest1d_backward.default": 1,
    "upsample_nearest2d_backward.default": 2,
    "_upsample_nearest_exact1d_backward.default": 1,
    "_upsample_nearest_exact2d_backward.default": 2,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """lower: takes a Lowering, then the operation's arguments with handles for private tensors.
    aliases: whether torch's result shares memory with the first argument.
    in_training: what is used where a gradient will be asked for: it keeps what that needs.
    """

    lower: Lowered
    aliases: bool
    in_training: Entry | None = None


def operation(name: str) -> Any | None:
    """torch.ops.aten.<name>, or None where this version of torch lacks it."""
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet, None), overload, None)


# Operations that keep something for their backward pass, where there will be one.
_IN_TRAINING: dict[str, Lowered] = {
    "relu.default": selection.relu_in_training,
    "leaky_relu.default": partial(selection.leaky_relu, keep=True),
    "_prelu_kernel.default": partial(activation.prelu, keep=True),
    "hardtanh.default": partial(activation.hardtanh, keep=True),
    "hardsigmoid.default": partial(activation.hardsigmoid, keep=True),
    "hardswish.default": partial(activation.hardswish, keep=True),
    "max_pool2d_with_indices.default": partial(pooling.max_pool2d_with_indices, keep=True),
    "adaptive_max_pool2d.default": partial(pooling.adaptive_max_pool2d, keep=True),
    "native_layer_norm.default": normalisation_gradients.layer_norm_in_training,
    "embedding.default": partial(embedding.embedding, keep=True),
    "native_group_norm.default": normalisation_gradients.group_norm_in_training,
}

# The way back of operations that move elements about, run on positions: which argument of the
# backward operation (the gradient not counted) is the shape of the input.
_RETURNED = {
    "diagonal_backward.default": ("diagonal.default", 0),
    "unfold_backward.default": ("unfold.default", 0),
}


def _table() -> dict[Any, Entry]:
    named = {name: Entry(lower, False, _in_training(name)) for name, lower in _VALUES.items()}
    named |= {name: Entry(lower, True) for name, lower in _VIEWS.items()}
    for names, aliases, make in (
        (_GATHERED, False, shape.gathering),
        (_GATHERED_VIEWS, True, shape.gathering),
        (_GATHERED_WITH_ZEROS, False, joining.gathering_with_zeros),
    ):
        for name in names:
            found = operation(name)
            if found is not None:
                named[name] = Entry(make(found), aliases)
    for name, spatial in _ALONG_AXES.items():
        found = operation(name)
        if found is not None:
            named[name] = Entry(padding.moving(found, spatial), False)
    for name, (forward, sizes) in _RETURNED.items():
        found = operation(forward)
        if found is not None:
            named[name] = Entry(scattering.returning(found, sizes), False)
    for name, spatial in _BACK_ALONG_AXES.items():
        found = operation(name.replace("_backward", ""))
        if found is not None:
            named[name] = Entry(scattering.moving_back(found, spatial), False)
    found = ((operation(name), entry) for name, entry in named.items())
    return {overload: entry for overload, entry in found if overload is not None}


def _in_training(name: str) -> Entry | None:
    lower = _IN_TRAINING.get(name)
    return None if lower is None else Entry(lower, False)


TABLE: dict[Any, Entry] = _table()


# In-place operations whose overloads are not named as those of the operation itself.
_OVERLOADS = {
    "bernoulli_.float": "bernoulli.p",
    "pow_.Scalar": "pow.Tensor_Scalar",
    "pow_.Tensor": "pow.Tensor_Tensor",
    "transpose_.default": "transpose.int",
}


@lru_cache(maxsize=1024)
def without_out(into: Any) -> Any | None:
    """The operation whose result another overload writes to `out`: maximum for maximum.out."""
    wanted = [(each.name, str(each.type)) for each in into._schema.arguments if not each.is_out]
    packet = into.overloadpacket
    for name in packet.overloads():
        overload = getattr(packet, name)
        taken = [(each.name, str(each.type)) for each in overload._schema.arguments]
        if taken == wanted and not overload._schema.is_mutable:
            return overload
    return None


def functional(in_place: Any) -> Any | None:
    """The operation that computes what an in-place one (add_) writes: aten.add for aten.add_."""
    name = str(in_place).removeprefix("aten.")
    if name in _OVERLOADS:
        return operation(_OVERLOADS[name])
    packet, overload = name.split(".")
    if not packet.endswith("_") or packet.endswith("__"):
        return None
    return operation(f"{packet[:-1]}.{overload}")
