"""`tables`: comparing an opened value with its secret mask, from dealt one-hot tables.

Computes, for a public x̂ and a mask r that the dealer knows, XOR shares of [x̂_low < r_low] (or of
[x̂_low = r_low]) over `bits` low bits. sign.py and equal.py turn that into facts about x = x̂ - r.

Shapes: n elements, as bit planes (ring/planes.py).
Computes: the low bits are cut into chunks, the most significant first. Dealt: the one-hot vector
    of each chunk of r, XOR-shared. Reading it at the public chunk of x̂ gives shares of
    e_i = [x̂_i = r_i], and XORing the entries above that index gives shares of l_i = [x̂_i < r_i],
    both without a message. Then [x̂ < r] = ⊕_i (Π_{j<i} e_j)·l_i is computed by a tree of
    multi-fan-in ANDs: a group of g nodes opens its e's and l's under fresh one-time masks α and
    λ, and the dealer has shared the products of masks that the expanded polynomial
    Π_{j<i}(ê_j ⊕ α_j)·(l̂_i ⊕ λ_i) needs. A group is again such a pair (e, l).
Cost: a round for each level of the tree. For 32 bits, one level of 8 chunks of 4 bits: 128 bits of
    one-hot + 7·... products, 62 bytes dealt and 15 bits opened; two levels with groups of four:
    21 bytes dealt and 18 bits opened. `Plan` counts them exactly.
Error: none; exact for all inputs.
Opened: e ⊕ α and l ⊕ λ, each bit under its own uniform mask bit, so uniform.
Leaks: shapes and the plan. Threat model: semi-honest, any n-1 parties, or the dealer alone.
Source: one-time truth tables (Ishai, Kushilevitz, Meldgaard, Orlandi, Paskin-Cherniavsky, TCC 2013)
    for a chunk; multi-fan-in AND as in ABY2.0 (Patra, Schneider, Suresh, Yalame, eprint 2020/1225)
    for the tree; the block decomposition as in CrypTFlow2 (Rathee et al., eprint 2020/1002).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property, lru_cache

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating, Round
from tacita.protocols.shared_bit import SharedBit
from tacita.ring import kernels
from tacita.ring.planes import Layout

WIDEST_CHUNK = 8  # bits: tables of 256 entries
WIDEST_FAN = 8  # nodes: 2^8 products
DEALT_FOR_A_ROUND = 48 << 10  # bytes: below this, fewer rounds are worth wider tables
# Measured, about: how many dealt bytes take as long as an opened one, and how many looks at a table
# entry that is there already take as long as dealing one.
OPENED_TO_DEALT = 3
LOOKS_TO_DEALT = 12


class Plan(SharedBit, frozen=True, dict=True, tag="tables"):
    """How `bits` are cut into chunks (most significant first) and joined in levels of groups.

    dict: for what is computed once; fields alone are written and compared.
    """

    chunks: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]

    @property
    def bits(self) -> int:
        return sum(self.chunks)

    @cached_property
    def entries(self) -> int:
        return sum(1 << chunk for chunk in self.chunks)

    def cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        """trees: so many values compared with one r, whose one-hot tables are dealt once."""
        cost = Cost(dealt_bytes=layout.bytes(self.entries))
        for fan in self.levels:
            entering, count = level_planes(fan, order)
            cost += Cost(
                rounds=1,
                opened_bytes=layout.bytes(trees * entering),
                dealt_bytes=layout.bytes(trees * count),
            )
        return cost


def inputs(fan: tuple[int, ...], order: bool) -> int:
    """The planes that enter a level: an (e, l) pair a node, without the last e; or the e's."""
    return 2 * sum(fan) - 1 if order else sum(fan)


@lru_cache(maxsize=1024)
def level_planes(fan: tuple[int, ...], order: bool) -> tuple[int, int]:
    """How many planes enter a level, and how many products of their masks are dealt for it."""
    return inputs(fan, order), kernels.product_count(fan, order=order)


@lru_cache(maxsize=1024)
def plan(bits: int, n: int, *, order: bool) -> Plan:
    """The fewest rounds for few elements, the fewest bytes for many."""
    flat = one_level(bits)
    if flat.cost(Layout(n), order).dealt_bytes <= DEALT_FOR_A_ROUND:
        return flat
    return two_level(bits)


def one_level(bits: int) -> Plan:
    """One round, or none where a single table holds all bits."""
    if bits <= WIDEST_CHUNK:
        return Plan(chunks=(bits,), levels=())
    if bits > WIDEST_CHUNK * WIDEST_FAN:
        raise ValueError(f"one level compares at most {WIDEST_CHUNK * WIDEST_FAN} bits, not {bits}")
    count = min(WIDEST_FAN, -(-bits // 4))
    return Plan(chunks=evenly(bits, count), levels=((count,),))


def two_level(bits: int) -> Plan:
    """Chunks of at most four bits in groups of at most four: the least dealt for 9 to 64 bits."""
    if bits <= 4:
        return Plan(chunks=(bits,), levels=())
    chunks = evenly(bits, -(-bits // 4))
    if len(chunks) <= 4:
        return Plan(chunks=chunks, levels=((len(chunks),),))
    groups = evenly(len(chunks), -(-len(chunks) // 4))
    return Plan(chunks=chunks, levels=(groups, (len(groups),)))


@lru_cache(maxsize=1024)
def shared_plan(bits: int, n: int, trees: int) -> Plan:
    """The plan for `trees` ordered comparisons with one r, by the least `price`.

    The tables are dealt once, so that more trees are worth larger tables of fewer chunks.
    """
    layout = Layout(n)
    few, many = -(-bits // WIDEST_CHUNK), min(bits, max(2, -(-bits // 3)))
    return min(
        (
            Plan(evenly(bits, count), levels)
            for count in range(few, many + 1)
            for levels in joinings(count)
        ),
        key=lambda plan: shared_price(plan, layout, trees),
    )


def joinings(nodes: int) -> list[tuple[tuple[int, ...], ...]]:
    """The ways to join so many nodes in at most two levels of groups that are about equal."""
    if nodes == 1:
        return [()]
    flat: list[tuple[tuple[int, ...], ...]] = [((nodes,),)] if nodes <= WIDEST_FAN else []
    groups = (evenly(nodes, count) for count in range(2, min(nodes - 1, WIDEST_FAN) + 1))
    return flat + [(fan, (len(fan),)) for fan in groups if fan[0] <= WIDEST_FAN]


def shared_price(plan: Plan, layout: Layout, trees: int) -> float:
    """Bytes, where one that is opened counts for what is drawn for it, sent and received, a look
    at a table for a part of what it takes to deal it, and a round as elsewhere."""
    cost = plan.cost(layout, True, trees)
    looked_up = trees * layout.bytes(plan.entries)
    return (
        cost.dealt_bytes
        + OPENED_TO_DEALT * cost.opened_bytes
        + looked_up / LOOKS_TO_DEALT
        + cost.rounds * DEALT_FOR_A_ROUND
    )


def evenly(total: int, parts: int) -> tuple[int, ...]:
    """`total` as `parts` summands that differ by at most one, the larger ones first."""
    quotient, rest = divmod(total, parts)
    return (quotient + 1,) * rest + (quotient,) * (parts - rest)


def deal(
    dealer: Dealing,
    layout: Layout,
    mask_planes: Array,
    plan: Plan,
    *,
    order: bool,
    trees: int = 1,
) -> None:
    """Deals what `evaluate` needs; mask_planes: the compared bits of r, [blocks, bits, width].

    trees: how many values are compared with r. The tables are dealt once, for all of them.
    """
    dealer.deal_bits(
        layout,
        plan.entries,
        lambda into: kernels.xor_one_hot(mask_planes, plan.chunks, into),
    )
    for fan in plan.levels:
        deal_level(dealer, layout, fan, order=order, trees=trees)


def deal_level(
    dealer: Dealing, layout: Layout, fan: tuple[int, ...], *, order: bool, trees: int = 1
) -> None:
    """trees: so many of them, of one form, on masks and products of their own."""
    entering, count = level_planes(fan, order)
    masks = apart(dealer.mask_bits(layout, trees * entering), trees)
    dealer.deal_bits(
        layout,
        trees * count,
        lambda into: kernels.xor_products(masks, fan, order=order, into=apart(into, trees)),
    )


def apart(planes: Array, trees: int) -> Array:
    """Planes of several trees, [blocks, trees·p, width], as a view in which each tree has blocks of
    its own, [blocks·trees, p, width]: what a kernel does to one tree, it so does to all."""
    blocks, count, width = planes.shape
    return planes.reshape(blocks * trees, count // trees, width)


def together(planes: Array, trees: int) -> Array:
    """The other way round."""
    blocks, count, width = planes.shape
    return planes.reshape(blocks // trees, trees * count, width)


def evaluate(
    party: Evaluating, layout: Layout, opened_planes: Array, plan: Plan, *, order: bool
) -> Generator[Round, list[Array], Array]:
    """This party's share of [x̂ < r] (order) or [x̂ = r], one plane."""
    hot = party.dealt_bits(layout, plan.entries)
    nodes = kernels.lookup(opened_planes, hot, plan.chunks, order=order)
    for fan in plan.levels:
        nodes = yield from evaluate_level(party, layout, nodes, fan, order=order)
    return nodes


def evaluate_level(
    party: Evaluating,
    layout: Layout,
    nodes: Array,
    fan: tuple[int, ...],
    *,
    order: bool,
    trees: int = 1,
) -> Generator[Round, list[Array], Array]:
    """One level of the tree: a share of each group's result; of several trees, tree by tree."""
    entering, count = level_planes(fan, order)
    mask = party.mask_bits(layout, trees * entering)
    products = party.dealt_bits(layout, trees * count)
    (opened,) = yield [mask.hide(nodes)]
    joined = kernels.fan_in(
        apart(opened, trees),
        apart(mask.share, trees),
        apart(products, trees),
        fan,
        order=order,
        first=party.first,
    )
    return together(joined, trees)
