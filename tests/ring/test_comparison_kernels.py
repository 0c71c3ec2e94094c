"""Trees of ANDs, and whole comparisons from shared one-hots to the answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.ring import kernels, twins

U64 = np.uint64
FANS = [(1,), (2,), (3,), (4, 4), (2, 1, 3), (1, 1), (5, 2), (3, 6), (9,), (8, 7), (1, 9)]


def shares_of(nodes, order):
    return 2 * nodes - 1 if order else nodes


@pytest.mark.parametrize("fan", FANS)
@pytest.mark.parametrize("order", [False, True])
def test_equals_twin(path, words, width, fan, order):
    inputs, count = shares_of(sum(fan), order), kernels.product_count(fan, order)
    assert count == twins.product_count(fan, order)
    for blocks in (0, 1, 2):
        opened, masks = words(blocks, inputs, width), words(blocks, inputs, width)
        products = words(blocks, count, width)
        for first in (False, True):
            np.testing.assert_array_equal(
                kernels.fan_in(opened, masks, products, fan, order=order, first=first, path=path),
                twins.fan_in(opened, masks, products, fan, order=order, first=first),
            )
        into = products.copy()
        twins.xor_products(masks, fan, order=order, into=into)
        kernels.xor_products(masks, fan, order=order, into=products, path=path)
        np.testing.assert_array_equal(products, into)


@pytest.mark.parametrize(
    ("fan", "order", "count"),
    [((2,), False, 1), ((4,), False, 11), ((2,), True, 1), ((4,), True, 4 + 11), ((1,), True, 0)],
)
def test_product_count(fan, order, count):
    assert kernels.product_count(fan, order) == count


def split(generator, clear, parties):
    """XOR shares."""
    shares = [generator.integers(0, 2**64, size=clear.shape, dtype=U64) for _ in range(parties - 1)]
    return [*shares, clear ^ np.bitwise_xor.reduce(shares, axis=0)]


def reduce_level(generator, nodes, fan, order, path):
    """One level among len(nodes) parties and a dealer; shares in, shares out."""
    masks = generator.integers(0, 2**64, size=nodes[0].shape, dtype=U64)
    blocks, _, width = masks.shape
    products = np.zeros((blocks, kernels.product_count(fan, order), width), U64)
    kernels.xor_products(masks, fan, order=order, into=products, path=path)
    opened = np.bitwise_xor.reduce(nodes, axis=0) ^ masks
    mask_shares = split(generator, masks, len(nodes))
    product_shares = split(generator, products, len(nodes))
    return [
        kernels.fan_in(opened, m, p, fan, order=order, first=i == 0, path=path)
        for i, (m, p) in enumerate(zip(mask_shares, product_shares, strict=True))
    ]


def compare(x, r, bits, chunks, levels, order, parties, width, path, seed):
    """[x < r] or [x == r] on the low `bits` bits, through every kernel of the protocol."""
    generator = np.random.default_rng(seed)
    index = kernels.to_planes(x, 0, bits, width, path=path)
    planes = kernels.to_planes(r, 0, bits, width, path=path)
    hot = np.zeros((index.shape[0], sum(1 << c for c in chunks), width), U64)
    kernels.xor_one_hot(planes, chunks, hot, path=path)
    nodes = [
        kernels.lookup(index, share, chunks, order=order, path=path)
        for share in split(generator, hot, parties)
    ]
    for fan in levels:
        nodes = reduce_level(generator, nodes, fan, order, path)
    return kernels.unpack_bits(np.bitwise_xor.reduce(nodes, axis=0), x.size, path=path)


TREES = {
    (4,) * 8: [[(8,)], [(4, 4), (2,)], [(3, 3, 2), (3,)], [(2, 2, 2, 2), (2, 2), (2,)]],
    (3, 8): [[(2,)], [(1, 1), (2,)]],
    (7,): [[(1,)]],
    (2,) * 9: [[(9,)], [(5, 4), (1, 1), (2,)]],
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_comparison_end_to_end(data):
    chunks = data.draw(st.sampled_from(sorted(TREES)))
    levels = data.draw(st.sampled_from(TREES[chunks]))
    order, parties = data.draw(st.booleans()), data.draw(st.sampled_from([2, 3]))
    width, path = (
        data.draw(st.sampled_from(kernels.WIDTHS)),
        data.draw(st.sampled_from(kernels.paths())),
    )
    bits, n = sum(chunks), data.draw(st.integers(1, 200))
    seed = data.draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    x, r = generator.integers(0, 1 << bits, size=(2, n), dtype=U64)
    # Near misses: equal, one apart, apart in the top chunk only.
    near = generator.integers(0, 5, size=n)
    x = np.choose(near, [x, r, r + U64(1), r - U64(1), r ^ U64(1 << bits - 1)])
    x &= U64((1 << bits) - 1)
    got = compare(x, r, bits, chunks, levels, order, parties, width, path, seed)
    np.testing.assert_array_equal(got, x < r if order else x == r)


def test_every_pair_of_a_small_domain(path):
    x, r = np.divmod(np.arange(64 * 64, dtype=U64), U64(64))
    for chunks, levels in [((2, 2, 2), [(3,)]), ((3, 3), [(2,)]), ((1, 5), [(2,)])]:
        for order in (False, True):
            got = compare(x, r, 6, chunks, levels, order, 2, 8, path, 1)
            np.testing.assert_array_equal(got, x < r if order else x == r)


def test_two_firsts_give_a_wrong_answer(path):
    """The expected failure: the constants may be added by one party only."""
    opened, masks = np.zeros((2, 1, 1, 1), U64)
    one = kernels.fan_in(opened + U64(1), masks, masks[:, :0], [1], order=False, first=True)
    none = kernels.fan_in(opened + U64(1), masks, masks[:, :0], [1], order=False, first=False)
    assert (one ^ none).item() == 1
    assert (one ^ one).item() == 0
