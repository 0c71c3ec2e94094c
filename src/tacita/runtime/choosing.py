"""How a session compares: each instruction is rewritten to its protocol's way as it is emitted.

`auto`, which is what a user who does not choose gets, weighs each instruction by itself, since
eager code has no whole to plan (planning.py plans whole programs). It is a rule over declared costs
and the link alone, so it takes microseconds, and the same code over the same link makes the same
instructions on every machine. Only ways of which randomness can be dealt without asking the dealer
again are weighed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from tacita.compiler.prediction import LOCAL, Link
from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.protocols.sign import Way
from tacita.protocols.ways import compared_by, way_of

AUTO = "auto"
WEIGHED: tuple[Way, ...] = ("tables", "fss")
# Seconds, about, for threads of a process on two cores with AES instructions, dealing included: a
# round; that something is handed to every party; and what a byte takes to be made, handed over and
# used, which is the same for tables as for keys of point functions. From the work that
# bench/comparisons.py measures, of 2^6 to 2^18 values of 16 to 64 bits. A link adds to all three.
ROUND = 1.0e-4
PUBLISHING = 2.5e-4
BYTE = 5.0e-10

Choose = Callable[[Instruction], Instruction]


def chooser(protocol: str, holders: int, link: Link = LOCAL) -> Choose:
    """What makes an instruction compare in a session's way. protocol: "auto", or one of the ways;
    `offer.py` says which a session may have. link: between the roles."""
    if protocol != AUTO:
        way = cast(Way, protocol)
        return lambda instruction: compared_by(instruction, way)
    if holders > 2:
        return lambda instruction: instruction
    return partial(cheapest, link=link)


def cheapest(
    instruction: Instruction, ways: Sequence[Way] = WEIGHED, link: Link = LOCAL
) -> Instruction:
    """The instruction, compared in the way with the least `weight`; of equal ones the first."""
    if way_of(instruction) is None:
        return instruction
    made = [compared_by(instruction, way) for way in ways]
    return min(made, key=lambda each: weight(each.cost(), link))


def weight(cost: Cost, link: Link = LOCAL) -> float:
    """Seconds, about, that an instruction takes in a session whose roles have this link."""
    moved = cost.handed_bytes + cost.opened_bytes + cost.consulted_bytes + cost.answered_bytes
    waiting = cost.hops * (ROUND + link.rtt / 2) + (cost.published_bytes > 0) * PUBLISHING
    return waiting + moved * (BYTE + 1 / link.bandwidth)
