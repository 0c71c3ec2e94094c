"""Exact enumeration: what a party sees of a protocol, for every outcome of all random draws.

Protocols work element by element, so ONE run over N = 2^T elements goes through all assignments
of T random bits: element e takes its draws from the binary digits of e. Here are the dealer and
the two parties of such a run, on one thread, with openings joined in place; protocols run on them
as they are. A draw of size k·N gives each of the N columns k values, a bit plane's each column's
bits.

The rings are tiny, by one of two embeddings, which a `Grain` names:
- low bits: values in [0, 2^b), of which everything seen is reduced mod 2^b. Reduction is a ring
  homomorphism of Z_2^64, so it commutes with all that a protocol adds and multiplies, and with its
  low bits; the reduced run is the protocol over Z_2^b.
- top bits: v stands for v << (64 - b). That is additive and keeps the order, and a comparison that
  leaves the 64 - b low bits out sees just v; the ordinary 64-bit code is the protocol over Z_2^b.
A dealt share may have fewer bits than the value it hides: then both are seen mod 2^b only, which
again is a homomorphism and so can only blur the view; with b bits it is not blurred where they are
compared. (What a homomorphism hides is a correction's upper bits. They are covered because every
correction is seen to be `value - share` for a share that is drawn for it alone.)

`check_everything` compares, for each party and each share that it may have of the input, the
multiset of its views over all draws of everybody: they must be the same for all secrets. A view is
the party's draws, the dealer's corrections and all that is opened.

`check_openings` is for protocols with too many draws for that. It fixes a party's own draws and
corrections, enumerates all masks of its peer, and compares the multisets of openings. Together
with the corrections' form, `value - share`, that says the same: corrections are uniform whatever
the value, and given them and all of one's own draws, the openings' distribution is the same.

Either way for two parties. Of three, two that pool what they saw hold the sums of their shares and
draws: the same view as one party of two has.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import prod

import numpy as np

from tacita.program.instruction import Instruction
from tacita.program.readings import BitMask, Mask, Masked, Opening
from tacita.ring import kernels
from tacita.ring.planes import Layout

LEAST_ELEMENTS = 512  # a plane of fewer would be padded
MOST_BITS = 22  # of enumerated draws
ALICE, BOB = 0, 1  # the party that adds constants, and the party that takes corrections

Secret = tuple[int, ...]


class LeakError(AssertionError):
    """Two secrets give one party different views."""


@dataclass(frozen=True)
class Grain:
    """How tiny values stand in Z_2^64: `bits` bits, `shift` places up."""

    bits: int
    shift: int = 0

    def place(self, values: np.ndarray) -> np.ndarray:
        return values << np.uint64(self.shift)

    def see(self, values: np.ndarray) -> np.ndarray:
        """What is seen of ring elements, as tiny values."""
        dust = values & np.uint64((1 << self.shift) - 1)
        assert not dust.any(), "a value lies between the grains"
        return (values >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1)


def low(bits: int) -> Grain:
    return Grain(bits)


def top(bits: int, of: int | None = None) -> Grain:
    """`bits` bits at the lower end of the top `of`."""
    return Grain(bits, 64 - (bits if of is None else of))


@dataclass(frozen=True)
class Scene:
    """A protocol on a tiny ring.

    inputs: shapes of the input wires 0, 1, …, for N elements. program: what runs on them.
    grain: of the inputs. masks, deals: of the ring draws for masks (one for each `mask` call) and
    for dealt values (one for each column), where they differ from what is listed last.
    result: what the outputs hold for a secret, mod 2^result_bits; None where that is not checked.
    learned: what everybody is meant to learn of a secret.
    """

    grain: Grain
    inputs: Callable[[int], list[tuple[int, ...]]]
    program: Callable[[int], list[Instruction]]
    masks: Sequence[Grain] = ()
    deals: Sequence[Grain] = (low(1),)
    outputs: tuple[int, ...] = ()
    result: Callable[[Secret], Sequence[int] | None] = lambda _: None
    result_bits: int = 64
    learned: Callable[[Secret], Hashable] = lambda _: None

    @property
    def columns(self) -> int:
        """Private values in a secret."""
        return sum(prod(shape) for shape in self.inputs(LEAST_ELEMENTS)) // LEAST_ELEMENTS

    def secrets(self) -> Iterator[Secret]:
        return product(range(1 << self.grain.bits), repeat=self.columns)


def arrange(columns: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Columns of N values as an array whose first or last dimension runs over the elements."""
    n = columns[0].size if columns else 0
    leading = len(shape) > 1 and shape[0] == n
    return np.stack(columns, axis=1 if leading else 0).reshape(shape)


def columns_of(array: np.ndarray, n: int) -> list[np.ndarray]:
    """The other way round."""
    if array.ndim > 1 and array.shape[0] == n:
        return list(array.reshape(n, -1).T)
    return list(array.reshape(-1, n))


def bits_of(planes: np.ndarray, n: int) -> list[np.ndarray]:
    """The bits of planes, as columns of N."""
    layout_n = planes.shape[0] * planes.shape[2] * 64
    return [
        column
        for plane in range(planes.shape[1])
        for column in kernels.unpack_bits(
            np.ascontiguousarray(planes[:, plane : plane + 1]), layout_n
        ).reshape(-1, n)
    ]


class Tape:
    """Draws for N elements: digits of the element's number, or the same for all of them."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.used = 0
        self._elements = np.arange(n, dtype=np.uint64)

    def digits(self, bits: int) -> np.ndarray:
        taken = self._elements >> np.uint64(self.used)
        taken &= np.uint64((1 << bits) - 1)
        self.used += bits
        return taken


class FixedTape:
    """Draws that are the same for all elements."""

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        self.n = n
        self._generator = generator

    def digits(self, bits: int) -> np.ndarray:
        return np.full(self.n, self._generator.integers(1 << bits), np.uint64)


class View:
    """What a party sees, packed into one integer for each element."""

    def __init__(self, n: int) -> None:
        self.packed = np.zeros(n, np.uint64)
        self.bits = 0

    def add(self, column: np.ndarray, bits: int) -> None:
        self.bits += bits
        if self.bits > 64:
            raise ValueError("the view does not fit in 64 bits")
        self.packed <<= np.uint64(bits)
        self.packed |= column

    def digest(self) -> bytes:
        """Of the multiset over all elements."""
        return blake2b(np.sort(self.packed).tobytes(), digest_size=16).digest()


class Run:
    """One run over N elements. own: the party whose draws and corrections are fixed, if any."""

    def __init__(self, scene: Scene, n: int, own: int | None, seed: int) -> None:
        self.scene = scene
        self.n = n
        self.own = own
        self.tape = Tape(n)
        fixed = FixedTape(n, np.random.default_rng(seed))
        self._tapes = [fixed if role == own else self.tape for role in (ALICE, BOB)]
        self._masks = list(scene.masks)
        self._deals = list(scene.deals)
        self.views = [View(n), View(n)]
        self.masks: dict[int, np.ndarray] = {}
        self.drawn: dict[tuple[int, int], deque] = defaultdict(deque)
        self.corrections: dict[int, deque] = defaultdict(deque)

    # ---- what the dealer draws

    def mask_grain(self) -> Grain:
        if not self._masks:
            return self.scene.grain
        return self._masks.pop(0) if len(self._masks) > 1 else self._masks[0]

    def deal_grain(self) -> Grain:
        return self._deals.pop(0) if len(self._deals) > 1 else self._deals[0]

    def draw(self, role: int, shape: tuple[int, ...], grains: Sequence[Grain]) -> np.ndarray:
        columns = []
        for grain in grains:
            digits = self._tapes[role].digits(grain.bits)
            if self.own is None:
                self.views[role].add(digits, grain.bits)
            columns.append(grain.place(digits))
        return arrange(columns, shape)

    def draw_bits(self, role: int, layout: Layout, planes: int) -> np.ndarray:
        assert layout.n % self.n == 0, "planes of a number of elements of its own"
        packed = []
        for _ in range(planes):
            columns = []
            for _ in range(layout.n // self.n):
                digits = self._tapes[role].digits(1)
                if self.own is None:
                    self.views[role].add(digits, 1)
                columns.append(digits.astype(np.uint8))
            packed.append(kernels.pack_bits(np.concatenate(columns), layout.width))
        return np.concatenate(packed, axis=1)

    def hand_out(self, branch: int, drawn: int, share: np.ndarray, rest: np.ndarray) -> None:
        """A dealt value: alice's part is her draw, bob's is the correction."""
        parts = {drawn: share, 1 - drawn: rest}
        self.drawn[ALICE, branch].append(("dealt", parts[ALICE], None))
        self.corrections[branch].append(parts[BOB])

    # ---- what is opened

    def open(self, openings: list[list[Opening]]) -> list[np.ndarray]:
        ours, theirs = openings
        assert len(ours) == len(theirs), "the parties open different things"
        opened = []
        for a, b in zip(ours, theirs, strict=True):
            assert (a.boolean, a.summand.shape) == (b.boolean, b.summand.shape)
            value = a.summand ^ b.summand if a.boolean else a.summand + b.summand
            for view in self.views:
                if a.boolean:
                    planes = a.summand.ndim == 3
                    for column in bits_of(value, self.n) if planes else columns_of(value, self.n):
                        view.add(column, 1)
                else:
                    grain = getattr(a, "grain", self.scene.grain)
                    for column in columns_of(value, self.n):
                        view.add(grain.see(column), grain.bits)
            opened.append(value)
        return opened


class TapedDealer:
    """Implements `program.readings.Dealing`. It has no input to look at: there is none yet."""

    def __init__(self, run: Run, branch: int = 0) -> None:
        self._run = run
        self._branch = branch

    def branch(self, number: int) -> TapedDealer:
        return TapedDealer(self._run, number)

    def mask_of(self, wire: int) -> np.ndarray:
        return self._run.masks[wire]

    def write_mask(self, wire: int, mask: np.ndarray) -> None:
        self._run.masks[wire] = mask

    def alias(self, wire: int, base: int, view: Callable) -> None:
        self._run.masks[wire] = view(self._run.masks[base])

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        run = self._run
        grain = run.mask_grain()
        grains = [grain] * (prod(shape) // run.n)
        parts = [run.draw(role, shape, grains) for role in (ALICE, BOB)]
        for role, part in enumerate(parts):
            run.drawn[role, self._branch].append(("mask", part, grain))
        return parts[ALICE] + parts[BOB]

    def mask_bits(self, layout: Layout, planes: int) -> np.ndarray:
        run = self._run
        parts = [run.draw_bits(role, layout, planes) for role in (ALICE, BOB)]
        for role, part in enumerate(parts):
            run.drawn[role, self._branch].append(("mask", part, None))
        return parts[ALICE] ^ parts[BOB]

    def deal(self, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
        run = self._run
        drawn = ALICE if run.own is None else run.own
        grains = [run.deal_grain() for _ in range(prod(shape) // run.n)]
        share = run.draw(drawn, shape, grains)
        rest, value = share.copy(), np.zeros_like(share)
        fill(rest)
        fill(value)
        if not np.array_equal(rest + share, value):
            raise LeakError("a correction is not its value minus the share drawn for it")
        if run.own is None:
            for column, grain in zip(columns_of(rest, run.n), grains, strict=True):
                run.views[BOB].add(grain.see(column), grain.bits)
        run.hand_out(self._branch, drawn, share, rest)

    def deal_bits(self, layout: Layout, planes: int, fill: Callable[[np.ndarray], None]) -> None:
        run = self._run
        drawn = ALICE if run.own is None else run.own
        share = run.draw_bits(drawn, layout, planes)
        rest, value = share.copy(), np.zeros_like(share)
        fill(rest)
        fill(value)
        if not np.array_equal(rest ^ share, value):
            raise LeakError("a correction is not its value minus the share drawn for it")
        if run.own is None:
            for column in bits_of(rest, run.n):
                run.views[BOB].add(column, 1)
        run.hand_out(self._branch, drawn, share, rest)


@dataclass(frozen=True)
class GrainedOpening(Opening):
    grain: Grain = Grain(64)


class GrainedMask(Mask):
    """A mask that says of its opening how much of it there is to see."""

    __slots__ = ("_grain",)

    def __init__(self, share: np.ndarray, grain: Grain) -> None:
        super().__init__(share)
        self._grain = grain

    def hide(self, value: np.ndarray) -> Opening:
        return GrainedOpening(super().hide(value).summand, False, self._grain)


class TapedParty:
    """Implements `program.readings.Evaluating`; draws what the dealer drew, in the same order."""

    def __init__(
        self, run: Run, role: int, wires: dict[int, np.ndarray], state: dict, branch: int = 0
    ) -> None:
        self._run = run
        self._role = role
        self._wires = wires
        self._state = state
        self._branch = branch
        self.first = role == ALICE

    def branch(self, number: int) -> TapedParty:
        return TapedParty(self._run, self._role, self._wires, self._state, number)

    def share(self, wire: int) -> np.ndarray:
        return self._wires[wire]

    def write(self, wire: int, share: np.ndarray) -> None:
        self._wires[wire] = share

    def masked(self, wire: int) -> Masked:
        return self._state[wire]

    def write_masked(self, wire: int, masked: Masked) -> None:
        self._state[wire] = masked

    def alias(self, wire: int, base: int, view: Callable) -> None:
        self._wires[wire] = view(self._wires[base])
        self._state[wire] = self._state[base].map(view)

    def prepared(self, wire: int) -> None:
        """Nothing is prepared here: `evaluate` does all of the work."""

    def prepared_masks(self) -> None:
        """As `prepared`."""

    def fail(self, wire: int, message: str) -> None:
        pass  # N runs share the wire; which of them failed is in what was opened

    def _next(self, kind: str, shape: tuple[int, ...]) -> tuple[np.ndarray, Grain | None]:
        found, array, grain = self._run.drawn[self._role, self._branch].popleft()
        assert (found, array.shape) == (kind, shape), "drawn in another order than the dealer"
        return array, grain

    def mask(self, shape: tuple[int, ...]) -> Mask:
        array, grain = self._next("mask", shape)
        assert grain is not None
        return GrainedMask(array, grain)

    def mask_bits(self, layout: Layout, planes: int) -> BitMask:
        return BitMask(self._next("mask", layout.shape(planes))[0])

    def dealt(self, shape: tuple[int, ...]) -> np.ndarray:
        if self._role == ALICE:
            return self._next("dealt", shape)[0]
        correction = self._run.corrections[self._branch].popleft()
        assert correction.shape == shape, "taken in another order than dealt"
        return correction

    def dealt_bits(self, layout: Layout, planes: int) -> np.ndarray:
        return self.dealt(layout.shape(planes))


def run_scene(
    scene: Scene, secret: Secret, shares: tuple[Secret, Secret], n: int, own: int | None, seed: int
) -> Run:
    """Deals and evaluates the scene's program on one sharing of one secret."""
    run = Run(scene, n, own, seed)
    program = scene.program(n)
    # The dealer is done before there is any input, so nothing that it sends depends on one.
    for instruction in program:
        instruction.deal(TapedDealer(run))
    parties = []
    for role in (ALICE, BOB):
        values = deque(scene.grain.place(np.full(n, v, np.uint64)) for v in shares[role])
        wires = {
            wire: arrange([values.popleft() for _ in range(prod(shape) // n)], shape)
            for wire, shape in enumerate(scene.inputs(n))
        }
        parties.append(TapedParty(run, role, wires, {}))
    for instruction in program:
        evaluate_together(run, instruction, parties)
    assert not any(run.drawn.values()), "drawn by the dealer and not by a party"
    assert not any(run.corrections.values()), "dealt and not taken"
    check_result(scene, secret, run, parties)
    return run


def evaluate_together(run: Run, instruction: Instruction, parties: list[TapedParty]) -> None:
    steps = [instruction.evaluate(party) for party in parties]
    opened: list[np.ndarray] | None = None
    while True:
        openings: list[list[Opening] | None] = []
        for step in steps:
            try:
                openings.append(next(step) if opened is None else step.send(opened))
            except StopIteration:
                openings.append(None)
        if openings == [None, None]:
            return
        assert None not in openings, "one party has more rounds than the other"
        opened = run.open(openings)


def check_result(scene: Scene, secret: Secret, run: Run, parties: list[TapedParty]) -> None:
    """That what was enumerated is the protocol: it computes what it should, for all draws."""
    expected = scene.result(secret)
    if expected is None:
        return
    columns = [
        column
        for wire in scene.outputs
        for column in columns_of(parties[ALICE].share(wire) + parties[BOB].share(wire), run.n)
    ]
    ring = (1 << scene.result_bits) - 1
    for column, value in zip(columns, expected, strict=True):
        assert np.all(column & np.uint64(ring) == np.uint64(value & ring)), f"wrong for {secret}"


def drawn_bits(scene: Scene, own: int | None) -> int:
    """How many bits are enumerated."""
    secret = (0,) * scene.columns
    run = Run(scene, LEAST_ELEMENTS, own, 0)
    for instruction in scene.program(LEAST_ELEMENTS):
        instruction.deal(TapedDealer(run))
    assert len(secret) == scene.columns
    return run.tape.used


def elements(scene: Scene, own: int | None) -> int:
    bits = drawn_bits(scene, own)
    if bits > MOST_BITS:
        raise ValueError(f"{bits} bits are too many to enumerate")
    return max(LEAST_ELEMENTS, 1 << bits)


def other_share(scene: Scene, secret: Secret, share: Secret) -> Secret:
    return tuple((v - s) % (1 << scene.grain.bits) for v, s in zip(secret, share, strict=True))


def compare(seen: dict, key: Hashable, view: View, secret: Secret) -> None:
    first, digest = seen.setdefault(key, (secret, view.digest()))
    if digest != view.digest():
        raise LeakError(f"secrets {first} and {secret} give different views, for {key}")


def check_everything(scene: Scene, own_shares: int | None = None) -> int:
    """All draws of all roles, all secrets; all shares of the input, or so many of each party's.

    Returns how many runs of how many elements that were, in elements.
    """
    n = elements(scene, None)
    shares = list(scene.secrets())
    some = shares if own_shares is None else shares[:: max(1, len(shares) // own_shares)]
    seen: dict = {}
    count = 0
    for secret in scene.secrets():
        sharings = {(share, other_share(scene, secret, share)) for share in some}
        if own_shares is not None:
            sharings |= {(b, a) for a, b in sharings}
        for sharing in sorted(sharings):
            run = run_scene(scene, secret, sharing, n, None, 0)
            for role in (ALICE, BOB):
                key = (role, sharing[role], scene.learned(secret))
                if sharing[role] in some:
                    compare(seen, key, run.views[role], secret)
            count += n
    return count


def check_openings(scene: Scene, materials: int = 4) -> int:
    """All masks of the peer, all secrets, for some draws, corrections and shares of one's own.

    Returns how many runs of how many elements that were, in elements.
    """
    count = 0
    for own in (ALICE, BOB):
        n = elements(scene, own)
        for seed in range(materials):
            generator = np.random.default_rng([seed, own])
            bound = 1 << scene.grain.bits
            share = tuple(int(v) for v in generator.integers(bound, size=scene.columns))
            seen: dict = {}
            for secret in scene.secrets():
                rest = other_share(scene, secret, share)
                sharing = (share, rest) if own == ALICE else (rest, share)
                run = run_scene(scene, secret, sharing, n, own, seed)
                compare(seen, scene.learned(secret), run.views[own], secret)
                count += n
    return count
