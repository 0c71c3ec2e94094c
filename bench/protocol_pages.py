"""What protocol_costs draws for each page of docs/protocols.md: which instruction, over what.

Every cost here is asked of an instruction, or of the plan that it compares by. The left half of a
picture is over the width k, for 1,000 elements as in the tables of the pages; where a protocol has
no width, over what it has instead. The right half is over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.wire import RING_BITS, TRUNCATION_BITS
from tacita.protocols import (
    Exponential,
    Extremum,
    MaskWires,
    OneHot,
    Product,
    Ranks,
    ReLU,
    Staircase,
    Truncate,
    Waves,
    WithinBound,
    Zero,
    ranks,
    sign,
    tables,
)
from tacita.protocols.extremum import tournament
from tacita.protocols.sign import Way
from tacita.protocols.waves import MOST_WAVES
from tacita.protocols.ways import WAYS, compared_by
from tacita.ring.exponents import MOST_INDEX_BITS
from tacita.ring.planes import Layout

WIDTHS = tuple(range(4, RING_BITS + 1, 2))
BATCHES = tuple(1 << power for power in range(0, 21, 2))
ELEMENTS = 1000  # where the width varies: those of the tables in the pages
WIDTH = 32  # bits, where the batch varies
CANDIDATES = 10
THRESHOLDS = 4
ROWS, COLUMNS = 128, 500  # of a matrix product
INNER = tuple(1 << power for power in range(13))
PARTIES = tuple(range(2, 9))
INDEX_BITS = range(1, 11)
VALUES = 1  # that a one-hot lookup puts in their places
FREQUENCIES = 8  # of waves, and
SEGMENTS = 4  # of an exponential, and
ENTRIES = 16  # of a lookup, where the batch varies: those of the pages' examples

Costing = Callable[[int, Way | None], tuple[Cost, int]]  # the cost, and of how many elements


@dataclass(frozen=True)
class Sweep:
    """One half of a picture. label: what varies, over `places`. setting: what does not.
    per: what bytes are counted for, of which `costing` says how many there are."""

    label: str
    setting: str
    places: tuple[int, ...]
    costing: Costing
    per: str = "an element"
    logarithmic: bool = False

    def costs(self, way: Way | None) -> list[tuple[Cost, int]]:
        return [self.costing(place, way) for place in self.places]


@dataclass(frozen=True)
class Page:
    """One picture. ways: a line for each; None where nothing is compared."""

    title: str
    sweeps: tuple[Sweep, ...]
    ways: tuple[Way | None, ...] = (None,)


def comparison(way: Way, bits: int, n: int) -> Cost:
    """Of n values of so many bits, from their opening to the public flipped bits."""
    return sign.width(bits, n, way=way).cost(Layout(n))


def of(instruction: Callable[[int], Instruction], elements: Callable[[int], int]) -> Costing:
    """What the instruction for each place declares, compared in the way that is asked for."""

    def costing(place: int, way: Way | None) -> tuple[Cost, int]:
        made = instruction(place)
        return (made if way is None else compared_by(made, way)).cost(), elements(place)

    return costing


def over_width(
    instruction: Callable[[int, int], Instruction],
    widths: tuple[int, ...] = WIDTHS,
    n: int = ELEMENTS,
    what: str = "elements",
    per: str = "an element",
) -> Sweep:
    """instruction: from bits and elements."""
    costing = of(lambda bits: instruction(bits, n), lambda _: n)
    return Sweep("bits of the value, k", f"{n:,} {what}", widths, costing, per)


def over_batch(
    instruction: Callable[[int], Instruction],
    setting: str,
    what: str = "elements",
    per: str = "an element",
) -> Sweep:
    """instruction: from elements."""
    costing = of(instruction, lambda n: n)
    return Sweep(f"{what}, n", setting, BATCHES, costing, per, logarithmic=True)


def compared(
    title: str,
    instruction: Callable[[int, int], Instruction],
    n: int = ELEMENTS,
    what: str = "elements",
    per: str = "an element",
) -> Page:
    """A page on what compares, in each way; instruction: from bits and elements, by tables."""
    return Page(
        title,
        (
            over_width(instruction, n=n, what=what, per=per),
            over_batch(lambda n: instruction(WIDTH, n), f"{WIDTH} bits", what, per),
        ),
        WAYS,
    )


def one_way(way: Way, title: str) -> Page:
    """A page on a comparison by itself."""

    def by_width(bits: int, way: Way | None) -> tuple[Cost, int]:
        assert way is not None
        return comparison(way, bits, ELEMENTS), ELEMENTS

    def by_batch(n: int, way: Way | None) -> tuple[Cost, int]:
        assert way is not None
        return comparison(way, WIDTH, n), n

    return Page(
        title,
        (
            Sweep("bits of the value, k", f"{ELEMENTS:,} elements", WIDTHS, by_width),
            Sweep("elements, n", f"{WIDTH} bits", BATCHES, by_batch, logarithmic=True),
        ),
        (way,),
    )


# ---- the instructions, on wires 0, 1, … ----------------------------------------------------------


def mask(n: int) -> MaskWires:
    return MaskWires((0,), ((n,),))


def masked_for(parties: int, way: Way | None) -> tuple[Cost, int]:  # noqa: ARG001
    """What one of so many parties opens to all the others, added up."""
    cost = mask(ELEMENTS).cost()
    return replace(cost, opened_bytes=cost.online_bytes(parties)), ELEMENTS


def elementwise(n: int) -> Product:
    return Product(1, 0, 0, False, (n,))


def matrix_product(inner: int) -> Product:  # noqa: ARG001
    """[128, inner] times [inner, 500]."""
    return Product(2, 0, 1, True, (ROWS, COLUMNS))


def truncation(bits: int, n: int) -> Truncate:
    return Truncate(1, 0, 1 << 16, bits, (n,))


def zero(bits: int, n: int) -> Zero:
    return Zero(1, 0, (n,), tables.plan(bits, n, order=False))


def relu(bits: int, n: int) -> ReLU:
    return ReLU(1, 0, 1, (n,), sign.width(bits, n))


def stairs(bits: int, n: int) -> Staircase:
    places = tuple(range(THRESHOLDS))
    width = sign.Width(bits, 0, tables.shared_plan(bits - 1, n, THRESHOLDS))
    return Staircase(1, 0, places, (0,), (places,), (n,), width)


def extremum(bits: int, n: int) -> Extremum:
    return Extremum(1, 2, 0, (CANDIDATES, n), tournament(CANDIDATES, n, bits))


def places_of(bits: int, n: int) -> Ranks:
    return ranks.ranks(1, 0, (CANDIDATES, n), bits)


def lookup(classes: int, n: int) -> OneHot:
    bits = classes.bit_length() - 1
    return OneHot(2, tuple(range(3, 3 + VALUES)), 0, (1,) * VALUES, bits, classes, (n,))


def waves(frequencies: int, n: int) -> Waves:
    return Waves(1, 0, 1 << 40, ((1, 1),) * frequencies, (n,))


def exponential(segments: int, n: int) -> Exponential:
    return Exponential(1, 0, 0, 1 << 16, 16, segments.bit_length() - 1, 16, 16, (n,))


def check(n: int) -> WithinBound:
    return WithinBound(1, 0, 1, "a value", (n,), sign.width(RING_BITS, 2 * n))


# ---- the pages -----------------------------------------------------------------------------------

PAGES: dict[str, Page] = {
    "masking": Page(
        "Masking",
        (
            Sweep("parties", f"any width, {ELEMENTS:,} elements", PARTIES, masked_for,
                  "an element, to all the others"),
            over_batch(mask, "two parties"),
        ),
    ),
    "products": Page(
        "Products and convolutions, of any width",
        (
            Sweep("inner dimension", f"[{ROWS} × inner]·[inner × {COLUMNS}]", INNER,
                  of(matrix_product, lambda inner: ROWS * inner * COLUMNS), "a multiply-add",
                  logarithmic=True),
            over_batch(elementwise, "elementwise", per="an element of the result"),
        ),
    ),
    "truncation": Page(
        "Truncation",
        (
            over_width(truncation, tuple(range(4, TRUNCATION_BITS + 1, 2))),
            over_batch(lambda n: truncation(WIDTH, n), f"{WIDTH} bits"),
        ),
    ),
    "tables": one_way("tables", "A comparison by tables"),
    "fss": one_way("fss", "A comparison by fss"),
    "snn": one_way("snn", "A comparison by snn"),
    "equality": compared("Equality with zero", zero),
    "relu": compared("ReLU without truncation, d = 1", relu),
    "thresholds": compared(f"A staircase of {THRESHOLDS} thresholds", stairs),
    "extremum": compared(
        f"Max and argmax of {CANDIDATES} candidates", extremum, what="columns", per="a column"
    ),
    "ranks": compared(
        f"Ranks of {CANDIDATES} candidates", places_of, ELEMENTS // CANDIDATES, "columns",
        "a column",
    ),
    "one-hot": Page(
        "One-hot lookup of an index, with one value put in its place",
        (
            Sweep("entries, B", f"{ELEMENTS:,} elements", tuple(1 << bits for bits in INDEX_BITS),
                  of(lambda entries: lookup(entries, ELEMENTS), lambda _: ELEMENTS),
                  logarithmic=True),
            over_batch(lambda n: lookup(ENTRIES, n), f"B = {ENTRIES}"),
        ),
    ),
    "waves": Page(
        "Waves, of any width",
        (
            Sweep("frequencies", f"{ELEMENTS:,} elements", tuple(range(1, MOST_WAVES + 1)),
                  of(lambda count: waves(count, ELEMENTS), lambda _: ELEMENTS)),
            over_batch(lambda n: waves(FREQUENCIES, n), f"{FREQUENCIES} frequencies"),
        ),
    ),
    "exponential": Page(
        "Exponential, of any width",
        (
            Sweep("segments, M", f"{ELEMENTS:,} elements",
                  tuple(1 << bits for bits in range(1, MOST_INDEX_BITS + 1)),
                  of(lambda segments: exponential(segments, ELEMENTS), lambda _: ELEMENTS),
                  logarithmic=True),
            over_batch(lambda n: exponential(SEGMENTS, n), f"M = {SEGMENTS}"),
        ),
    ),
    "checked": Page(
        f"Checked mode, always at {RING_BITS} bits", (over_batch(check, "2·n comparisons"),), WAYS
    ),
}  # fmt: skip
