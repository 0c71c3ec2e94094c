"""How long a run will take, before anything runs.

    online = hops · (RTT/2 + overhead of a round) + bytes / bandwidth + a party's own work
    live   = the same with the dealer's work beside the parties', which have nothing prepared

All parties of a round send at once, so it is one hop, which takes half a round trip: a party that
waits for its peer's message has its own delivered in the same time. A round by way of the dealer is
two hops, and the parties have nothing to do while the dealer works on its answer; of such a program
nothing can be dealt ahead, since the dealer has to be there. The client's share of the input has to
get there and that of the result back: one round trip more. The work of an instruction is not
derived from a rate: it is what each of its readings took on this machine, at its own shapes
(runtime/rehearsal.py), so that small convolutions and small batches need no special treatment.

Who shares a core: in one process (`LOCAL`) all roles share the cores there are, so the work of the
parties was timed side by side, too. On a network every role has a machine of its own, as fast as
this one, and works on one core; a dealer who deals ahead works on all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tacita.compiler.costs import LayerCost
from tacita.errors import UsageError
from tacita.program.cost import Cost
from tacita.program.program import Program
from tacita.program.schedule import cost_of

WORD = 8  # bytes of a ring element


@dataclass(frozen=True, slots=True)
class Link:
    """Between any two roles. name: for people. rtt: seconds there and back. bandwidth: bytes a
    second, each way.
    """

    name: str
    rtt: float
    bandwidth: float

    @property
    def local(self) -> bool:
        """Whether all roles are threads of one process."""
        return self.bandwidth == float("inf")

    def __str__(self) -> str:
        if self.local:
            return "local: all roles in one process, on the cores of this machine"
        return (
            f"{self.name}: round trip {1e3 * self.rtt:g} ms, "
            f"{8e-6 * self.bandwidth:g} Mbit/s each way"
        )


LOCAL = Link("local", 0.0, float("inf"))
# Those of Cheetah (Huang, Lu, Hong, Ding, USENIX Security 2022), as its scripts set them up and
# later papers on secure inference take them over: 3 Gbit/s and 0.3 ms, 400 Mbit/s and 40 ms.
LAN = Link("lan", 0.3e-3, 3e9 / 8)
WAN = Link("wan", 40e-3, 400e6 / 8)
LINKS = {each.name: each for each in (LOCAL, LAN, WAN)}

_TIME = re.compile(r"(?P<number>[0-9.]+(?:e-?[0-9]+)?)\s*(?P<unit>s|ms|us|µs|)")
_RATE = re.compile(r"(?P<number>[0-9.]+(?:e[0-9]+)?)\s*(?P<unit>[kMG]?)(?P<what>bit|B|)(?:/s|ps)?")
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_POWERS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def link_named(text: str) -> Link:
    """A network by its name, or as `RTT,BANDWIDTH`: "20ms,100Mbit/s", "0.02,12.5e6" (seconds and
    bytes a second).

    Raises UsageError for anything else.
    """
    if text in LINKS:
        return LINKS[text]
    rtt, _, bandwidth = (part.strip() for part in text.partition(","))
    time, rate = _TIME.fullmatch(rtt), _RATE.fullmatch(bandwidth)
    if time is None or rate is None:
        raise UsageError(
            f"no network {text!r}: name one of {', '.join(LINKS)}, or give a round trip and a "
            "bandwidth, as in 20ms,100Mbit/s or 0.02,12.5e6 (seconds, bytes a second)"
        )
    try:
        seconds = float(time["number"]) * _SECONDS[time["unit"]]
        speed = float(rate["number"]) * _POWERS[rate["unit"]] / (8 if rate["what"] == "bit" else 1)
    except ValueError:
        raise UsageError(f"network {text!r}: {rtt} or {bandwidth} is not a number") from None
    if not 0 < speed < float("inf") or seconds == float("inf"):
        raise UsageError(f"network {text!r}: give a bandwidth above 0")
    return Link(text, seconds, speed)


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds that one core is busy with an instruction.

    deal: at the dealer. prepare: at a party, before the inputs are there. online: at a party,
    after that. prepare_beside, online_beside: seconds that pass until all parties have done so, if
    they do it at once in one process. answer: at the dealer, when it is consulted.
    """

    deal: float = 0.0
    prepare: float = 0.0
    online: float = 0.0
    prepare_beside: float = 0.0
    online_beside: float = 0.0
    answer: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.deal + other.deal,
            self.prepare + other.prepare,
            self.online + other.online,
            self.prepare_beside + other.prepare_beside,
            self.online_beside + other.online_beside,
            self.answer + other.answer,
        )


Works = list[Work]  # one for each instruction of a program, in its order


@dataclass(frozen=True, slots=True)
class Overheads:
    """Seconds that pass beside the work on instructions, in one process.

    live_run, live_round: a run that is dealt for as it goes; each of its rounds.
    live_stretch: not seconds, but how many times as long the work takes as when its instructions
        are carried out one by one: arrays that others made or filled are in nobody's cache.
    online_run, online_round, online_stretch: the same out of the stock.
    deal_run, deal_step, deal_byte: dealing a batch ahead; each instruction that is dealt for; each
        byte that is sealed and written. prepare_run, prepare_byte: taking a batch.
    """

    live_run: float
    live_round: float
    live_stretch: float
    online_run: float
    online_round: float
    online_stretch: float
    deal_run: float
    deal_step: float
    deal_byte: float
    prepare_run: float
    prepare_byte: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What the times were measured on. name: of its processor."""

    name: str
    cores: int
    overheads: Overheads


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds. online: from the input to the result, with everything dealt and prepared before.
    live: the same with nothing dealt before. dealing: a run ahead, and getting it to the last
    party. preparing: what the parties do with it before the input is there.
    """

    online: float = 0.0
    live: float = 0.0
    dealing: float = 0.0
    preparing: float = 0.0

    def __add__(self, other: Time) -> Time:
        return Time(
            self.online + other.online,
            self.live + other.live,
            self.dealing + other.dealing,
            self.preparing + other.preparing,
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """layers: the time of each layer. fixed: what a run takes whatever is in it. They add up."""

    link: Link
    machine: Machine
    layers: tuple[Time, ...]
    fixed: Time

    @property
    def total(self) -> Time:
        return sum(self.layers, start=self.fixed)


def predicted(
    program: Program,
    layers: Sequence[LayerCost],
    works: Works,
    machine: Machine,
    link: Link,
    parties: int,
) -> Prediction:
    """How long one run will take, by layer; see above. Cost: that of adding up.

    layers: of `costs.by_place(program)`. works: for each instruction. parties: 2 or more.
    """
    if parties < 2:
        raise UsageError(f"a run takes 2 parties or more, not {parties}")
    over = machine.overheads
    whole = sum(works, start=Work())
    share = Sharing(link, machine.cores, parties)
    handed_bytes = cost_of(program.instructions).handed_bytes
    # Live, dealer and parties are busy at once; whoever takes longest decides.
    bound = max(share.bounds, key=lambda each: each(whole, handed_bytes))
    # It was measured in one process, and is no property of machines that are apart.
    live_stretch, online_stretch = (
        (over.live_stretch, over.online_stretch) if link.local else (1.0, 1.0)
    )
    times = []
    for layer in layers:
        work = sum((works[number] for number in layer.instructions), start=Work())
        steps = dealt_steps(program, layer.instructions)
        moving = moving_time(layer.cost, link, parties)
        times.append(
            Time(
                online=moving
                + layer.cost.hops * over.online_round
                + online_stretch * share.online(work),
                live=moving
                + layer.cost.hops * over.live_round
                + live_stretch * bound(work, layer.handed_bytes),
                dealing=work.deal / machine.cores
                + steps * over.deal_step
                + layer.handed_bytes * (over.deal_byte + 1 / link.bandwidth),
                preparing=share.preparing(work) + layer.handed_bytes * over.prepare_byte,
            )
        )
    ends = client_time(program, link)
    fixed = Time(over.online_run + ends, over.live_run + ends, over.deal_run, over.prepare_run)
    return Prediction(link, machine, tuple(times), fixed)


def moving_time(cost: Cost, link: Link, parties: int) -> float:
    """How long messages between the roles are under way, but for what is dealt."""
    moved = cost.online_bytes(parties) + cost.answered_bytes
    return cost.hops * link.rtt / 2 + moved / link.bandwidth


@dataclass(frozen=True, slots=True)
class Sharing:
    """How long work takes, given who has to share the cores: in one process everybody, on a network
    nobody.
    """

    link: Link
    cores: int
    parties: int

    def online(self, work: Work) -> float:
        """A party's work, and the dealer's answers, for which it waits."""
        return work.answer + (work.online_beside if self.link.local else work.online)

    def preparing(self, work: Work) -> float:
        return work.prepare_beside if self.link.local else work.prepare

    @property
    def bounds(self) -> tuple[Callable[[Work, int], float], ...]:
        """Those on a live run, from its work and the bytes that the dealer hands out; the largest
        decides."""
        return self.party_alone, self.dealer_alone, self.all_together

    def party_alone(self, work: Work, handed_bytes: int) -> float:
        return self.preparing(work) + self.online(work)

    def dealer_alone(self, work: Work, handed_bytes: int) -> float:
        return work.deal + work.answer + handed_bytes / self.link.bandwidth

    def all_together(self, work: Work, handed_bytes: int) -> float:
        """The dealer's work comes on top of the parties' as far as these keep all cores busy."""
        if not self.link.local:
            return 0.0
        party = self.preparing(work) + self.online(work) - work.answer
        idle = max(0, self.cores - self.parties) / self.cores
        return party * (1 - idle) + work.answer + work.deal / self.cores


def dealt_steps(program: Program, numbers: Iterable[int]) -> int:
    """How many of these instructions the dealer sends something for."""
    return sum(program.instructions[number].cost().handed_bytes > 0 for number in numbers)


def client_time(program: Program, link: Link) -> float:
    """Getting the input's shares to the parties, and those of the result back."""
    words = sum(program.wires[port.wire].size for port in (*program.inputs, *program.outputs))
    return link.rtt + WORD * words / link.bandwidth
