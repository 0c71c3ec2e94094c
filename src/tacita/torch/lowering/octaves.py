"""Octaves: a private positive value as a number of [1, base) times a power of the base.

Range: least <= V <= the wire's bound for ring values V; below 2^60 where there is no bound. A V
    below `least` has m < 1, and one of 0 has m = 0; a negative one results in nonsense.
Computes: the octave e of V, base^e <= V < base^(e+1), by one staircase with a threshold at each
    power of the base that V may reach (protocols/staircase.py), and m = V·base^(top - e) by one
    product, exactly: m/base^top lies in [1, base). Beside it whatever functions of e are asked for,
    such as base^-e or e·ln base: each is one more row of the same staircase, and costs nothing.
Error: none, with one exception. With `margin` bits the thresholds are compared without the bits
    that are `margin` places or more below the least of them: a V that is less than 2^-margin of a
    threshold below it may be counted to the octave above. Then m is as small as 1 - 2^-margin, and
    m and the functions of e still belong together.
Cost: the rounds of the staircase and one to mask the power of the base; a staircase with about
    log_base(bound/least) thresholds, and a product.
Opened: nothing but what those open. Leaks: shapes, the range, and what is asked for.
Source: the normalisation of Catrina, Saxena (FC 2010), with a staircase for the octave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tacita.errors import PrecisionError
from tacita.program.builder import Handle
from tacita.protocols import Staircase
from tacita.protocols.staircase import staircase_width
from tacita.torch.lowering.arithmetic import exact_product
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import relabelled, within
from tacita.torch.lowering.shape import select

WIDEST = 60  # bits of V: m has to stay below 2^62
LARGEST_BITS = 62  # of a function of the octave
BASES = (2, 4, 8, 16)


@dataclass(frozen=True)
class Column:
    """A function of the octave: the integer `of(e)` for base^e <= V < base^(e+1), at `scale`."""

    of: Callable[[int], int]
    scale: int
    below: int = 0  # for a V below `least`, where those are guarded against
    factor: bool = False  # whether it is multiplied later: then it is masked with the power


@dataclass(frozen=True, slots=True)
class Octaves:
    """The octaves that a V may lie in: lowest ... top."""

    base: int
    lowest: int
    top: int

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The least V of each octave but the lowest."""
        return tuple(self.base**e for e in range(self.lowest + 1, self.top + 1))


def octaves(v: Handle, least: int, base: int) -> Octaves:
    """The octaves of a wire's ring values from `least` on; two at least.

    A bound beyond what the products that follow have room for is one that arithmetic found, such as
    that of a running mean of squares: values themselves have to stay below 2^WIDEST.
    """
    widest = (1 << WIDEST) - 1
    most = widest if v.wire.bound is None else min(v.wire.bound, widest)
    step = base.bit_length() - 1
    lowest = (max(1, least).bit_length() - 1) // step
    return Octaves(base, lowest, max(lowest + 1, (max(1, most).bit_length() - 1) // step))


def normalised(
    low: Lowering,
    v: Handle,
    least: int = 1,
    base: int = 4,
    columns: Sequence[Column] = (),
    *,
    margin: int | None = None,
    guarded: bool = False,
    beside: Sequence[Handle] = (),
    what: str = "octave",
) -> tuple[Handle, list[Handle]]:
    """m of [1, base) with V = m·base^e, and the columns' values at e; see the top of the file.

    v: a private wire with at least one element, at any scale. All results have its shape; m has the
    scale base^top. least: a public number that no V is below; the larger, the fewer thresholds.
    base: 2, 4, 8 or 16. margin: None for exact octaves; a consumer whose range reaches down to
    1 - 2^-margin saves comparisons by it. guarded: a V below `least`, also a negative one, has
    m = 1 and each column's `below`, for one more threshold; there is no margin then. beside: wires
    that are masked in the same round as the power, for later. Raises PrecisionError where v or a
    column is too wide for the ring, and ValueError for another base.
    """
    if base not in BASES:
        raise ValueError(f"base: octaves are counted in powers of {BASES}, not {base}")
    found = octaves(v, least, base)
    low.mask((v,), what)
    most = base ** (found.top + 1) - 1
    checked = within(low, v, most, what) if v.wire.bound is not None else v
    asked = [Column(lambda e: base ** (found.top - e), 1), *columns]
    if not guarded:
        power, *rest = _rows(low, checked, found, asked, margin, what)
        low.mask((power, *_factors(columns, rest), *beside), what)
        m = exact_product(low, checked, power, v.wire.shape, bound=most, what=what)
        return relabelled(low, m, base**found.top, most), rest
    asked.append(Column(lambda _: 0, 1, base**found.top))
    power, *rest, one = _rows(low, checked, found, asked, None, what, max(1, least))
    low.mask((power, *_factors(columns, rest), *beside), what)
    m = exact_product(low, checked, power, v.wire.shape, bound=most, what=what)
    m = low.combine(((m, 1), (one, 1)), v.wire.shape, m.wire.scale, bound=most)
    return relabelled(low, m, base**found.top, most), rest


def _factors(columns: Sequence[Column], rows: Sequence[Handle]) -> list[Handle]:
    return [row for column, row in zip(columns, rows, strict=True) if column.factor]


def _rows(
    low: Lowering,
    v: Handle,
    found: Octaves,
    columns: Sequence[Column],
    margin: int | None,
    what: str,
    guard: int | None = None,
) -> list[Handle]:
    """The columns' values at the octave of the masked v, by one staircase.

    guard: where what is smaller is told apart.
    """
    thresholds, shape = found.thresholds, v.wire.shape
    drop = 0 if margin is None else max(0, thresholds[0].bit_length() - 1 - margin)
    most = max(thresholds[-1], (1 << WIDEST) - 1 if v.wire.bound is None else v.wire.bound)
    values = [[each.of(e) for e in range(found.lowest, found.top + 1)] for each in columns]
    if guard is not None:
        thresholds = (guard, *thresholds)
        values = [[each.below, *row] for each, row in zip(columns, values, strict=True)]
    reach = 0 if guard is None else -most
    width = staircase_width(reach, most, thresholds, v.wire.size, drop=drop)
    largest = [max(map(abs, row)) for row in values]
    if max(largest) >= 1 << LARGEST_BITS:
        raise PrecisionError(
            f"{what}: a factor of {max(largest).bit_length()} bits does not fit in a 64-bit ring, "
            f"which takes {LARGEST_BITS}; use a smaller scale, or a `least` that is larger"
        )
    steps = tuple(tuple(after - before for before, after in pairwise(row)) for row in values)
    out = low.wire((len(columns), *shape), 1, max(largest))
    base = tuple(row[0] for row in values)
    rows = low.emit(Staircase(out.id, v.wire.id, thresholds, base, steps, shape, width), out)
    return [
        relabelled(low, select(low, rows, 0, place), each.scale, bound)
        for place, (each, bound) in enumerate(zip(columns, largest, strict=True))
    ]
