"""The dealer and two parties on one thread, for N elements at once; `enumeration` says what for.

Whatever is drawn comes off a tape that has each outcome of all draws as often as any other, or off
one that is the same for all elements. Openings are joined, and consultations answered, in place.
Each role's view is written down.

Words of whom they are cut into parts (seeds and common words of `snn`) are each part's least word:
what is made of words in another way comes out wrong, or shows.

Roots of point functions are whole random words, the same for all secrets, and what is published is
in nobody's view: that it looks uniform is an assumption, and nothing to enumerate.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import prod

import numpy as np
from scenes import Grain, Scene, arrange, bits_of, columns_of, low

from tacita.program.readings import BitMask, Consultation, Mask, Masked, Opening
from tacita.ring import kernels
from tacita.ring.planes import Layout

# The party that adds constants, the one that takes corrections, and who knows both their streams.
ALICE, BOB, DEALER = 0, 1, 2
PARTIES = (ALICE, BOB)


class LeakError(AssertionError):
    """Two secrets give one role different views."""


class Tape:
    """Draws for N elements: digits of the element's number, in the radices that are asked for."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.outcomes = 1
        self._elements = np.arange(n, dtype=np.uint64)

    def numbers(self, size: int) -> np.ndarray:
        if (self.outcomes * size).bit_count() == 1:  # as below, and faster
            taken = self._elements >> np.uint64(self.outcomes.bit_length() - 1)
            taken &= np.uint64(size - 1)
        else:
            taken = self._elements // np.uint64(self.outcomes) % np.uint64(size)
        self.outcomes *= size
        return taken


class FixedTape:
    """Draws that are the same for all elements."""

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        self.n = n
        self._generator = generator

    def numbers(self, size: int) -> np.ndarray:
        return np.full(self.n, self._generator.integers(size), np.uint64)


class View:
    """What a role sees, packed into one integer for each element."""

    def __init__(self, n: int) -> None:
        self.packed = np.zeros(n, np.uint64)
        self.bits = 0

    def add(self, column: np.ndarray, bits: int) -> None:
        self.bits += bits
        if self.bits > 64:
            raise ValueError("the view does not fit in 64 bits")
        self.packed <<= np.uint64(bits)
        self.packed |= column

    def digest(self) -> tuple[int, bytes]:
        """Of the multiset over all elements."""
        return self.bits, blake2b(np.sort(self.packed).tobytes(), digest_size=16).digest()


def least_words(numbers: np.ndarray, size: int) -> np.ndarray:
    """For each number below `size` the least word that is cut into it."""
    least = np.array([-(-(number << 64) // size) for number in range(size)], np.uint64)
    return least[numbers]


def bytes_of(words: np.ndarray, n: int) -> list[np.ndarray]:
    """Columns of the bytes of [..., N, words], those that are 0 for all elements left out."""
    octets = np.ascontiguousarray(words.reshape(-1, n, words.shape[-1])).view(np.uint8)
    columns = octets.transpose(0, 2, 1).reshape(-1, n)
    return [column.astype(np.uint64) for column in columns if column.any()]


class Run:
    """One run over N elements. own: the role whose draws are fixed, and the parties' corrections
    with them; of the dealer, all but what it does not know."""

    def __init__(self, scene: Scene, n: int, own: int | None, seed: int) -> None:
        self.scene = scene
        self.n = n
        self.own = own
        self.tape = Tape(n)
        self._generator = np.random.default_rng(seed)
        fixed = FixedTape(n, self._generator)
        self._tapes = [fixed if own in (role, DEALER) else self.tape for role in PARTIES]
        # The parties know what they draw alike: whichever it is, their views do not tell secrets.
        self._common_tape = self.tape if own == DEALER else fixed
        self._masks = list(scene.masks)
        self._deals = list(scene.deals)
        self._commons = list(scene.commons)
        self.views = {role: View(n) for role in (PARTIES if own is None else (own,))}
        self.masks: dict[int, np.ndarray] = {}
        self.drawn: dict[tuple[int, int], deque] = defaultdict(deque)
        self.corrections: dict[int, deque] = defaultdict(deque)
        self.common: dict[tuple[int, int], deque] = defaultdict(deque)
        self.assists: dict[int, tuple[tuple[int, ...], Callable]] = {}

    # ---- what is drawn

    def mask_grain(self) -> Grain:
        if not self._masks:
            return self.scene.grain
        return self._masks.pop(0) if len(self._masks) > 1 else self._masks[0]

    def deal_grain(self) -> Grain:
        return self._deals.pop(0) if len(self._deals) > 1 else self._deals[0]

    def numbers(self, role: int, size: int) -> np.ndarray:
        """Off a party's stream; they are in its view where they are not fixed."""
        numbers = self._tapes[role].numbers(size)
        if self.own is None:
            self.views[role].add(numbers, (size - 1).bit_length())
        return numbers

    def draw(self, role: int, shape: tuple[int, ...], grains: Sequence[Grain]) -> np.ndarray:
        columns = [grain.place(self.numbers(role, 1 << grain.bits)) for grain in grains]
        return arrange(columns, shape)

    def draw_bits(self, role: int, layout: Layout, planes: int) -> np.ndarray:
        return self._planes(layout.n, planes, layout.width, lambda: self.numbers(role, 2))

    def _planes(
        self, elements: int, planes: int, width: int, bit: Callable[[], np.ndarray]
    ) -> np.ndarray:
        assert elements % self.n == 0, "planes of a number of elements of its own"
        packed = []
        for _ in range(planes):
            columns = [bit().astype(np.uint8) for _ in range(elements // self.n)]
            packed.append(kernels.pack_bits(np.concatenate(columns), width))
        return np.concatenate(packed, axis=1)

    def draw_seeds(self, role: int, shape: tuple[int, ...]) -> np.ndarray:
        size = self.scene.modulus
        if size is None:
            return self._generator.integers(1 << 64, size=shape, dtype=np.uint64)
        columns = [
            least_words(self.numbers(role, size), size) for _ in range(prod(shape) // self.n)
        ]
        return arrange(columns, shape)

    def draw_common(self, role: int, branch: int, shape: tuple[int, ...]) -> np.ndarray:
        """The same for whichever party asks first and for the other."""
        if not self.common[role, branch]:
            words = self._draw_common(shape)
            for each in PARTIES:
                self.common[each, branch].append(words)
        words = self.common[role, branch].popleft()
        assert words.shape == shape, "the parties draw differently"
        return words

    def _draw_common(self, shape: tuple[int, ...]) -> np.ndarray:
        draw = self._common_tape.numbers
        if len(shape) == 3:
            blocks, planes, width = shape
            return self._planes(64 * blocks * width, planes, width, lambda: draw(2))
        assert self._commons, "more is drawn alike than the scene says"
        size = self._commons.pop(0)
        columns = [least_words(draw(size), size) for _ in range(prod(shape) // self.n)]
        return arrange(columns, shape)

    # ---- what is dealt

    def hand_out(self, branch: int, drawn: int, share: np.ndarray, rest: np.ndarray) -> None:
        """A dealt value: alice's part is her draw, bob's is the correction."""
        parts = {drawn: share, 1 - drawn: rest}
        self.drawn[ALICE, branch].append(("dealt", parts[ALICE], None))
        self.corrections[branch].append(parts[BOB])

    def hand_out_digits(self, branch: int, digits: np.ndarray) -> None:
        """A correction in whole words, of seeds; what alice draws beside it is not used."""
        self.drawn[ALICE, branch].append(("dealt", np.zeros_like(digits), None))
        self.corrections[branch].append(digits)
        if BOB in self.views:
            self.see_digits(BOB, digits)

    def see_digits(self, role: int, words: np.ndarray) -> None:
        assert self.scene.modulus is not None
        for column in bytes_of(words, self.n):
            assert column.max() < self.scene.modulus, "a byte is no digit"
            self.views[role].add(column, (self.scene.modulus - 1).bit_length())

    # ---- what is opened

    def open(self, rounds: list[list[Opening | Consultation]]) -> list[np.ndarray]:
        ours, theirs = rounds
        assert len(ours) == len(theirs), "the parties open different things"
        return [self._joined(a, b) for a, b in zip(ours, theirs, strict=True)]

    def _joined(self, a: Opening | Consultation, b: Opening | Consultation) -> np.ndarray:
        if isinstance(a, Consultation):
            assert isinstance(b, Consultation)
            return self._answered(a, b)
        assert isinstance(b, Opening)
        assert (a.boolean, a.summand.shape) == (b.boolean, b.summand.shape)
        value = a.summand ^ b.summand if a.boolean else a.summand + b.summand
        if a.boolean:
            planes = a.summand.ndim == 3
            self._see_bits(bits_of(value, self.n) if planes else columns_of(value, self.n))
            return value
        grain = getattr(a, "grain", self.scene.grain)
        columns = [grain.see(column) for column in columns_of(value, self.n)]
        for role in self._parties_that_look():
            for column in columns:
                self.views[role].add(column, grain.bits)
        return value

    def _answered(self, a: Consultation, b: Consultation) -> np.ndarray:
        assert (a.place, a.shape) == (b.place, b.shape), "the parties ask for different things"
        shape, reply = self.assists.pop(a.place[1])
        assert a.words.shape == b.words.shape == shape, "the dealer is told something else"
        if DEALER in self.views:
            for words in (a.words, b.words):
                self.see_digits(DEALER, words)
        answer = reply([a.words, b.words])
        assert answer.shape == a.shape, "the dealer answers something else"
        self._see_bits(bits_of(answer, self.n))
        return answer

    def _see_bits(self, columns: list[np.ndarray]) -> None:
        for role in self._parties_that_look():
            for column in columns:
                self.views[role].add(column, 1)

    def _parties_that_look(self) -> list[int]:
        return [role for role in self.views if role != DEALER]

    def check_spent(self) -> None:
        assert not any(self.drawn.values()), "drawn by the dealer and not by a party"
        assert not any(self.corrections.values()), "dealt and not taken"
        assert not any(self.common.values()), "drawn by one party and not by the other"
        assert not self.assists, "nobody asks the dealer what it waits for"
        assert not self._commons, "less is drawn alike than the scene says"


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
        parts = [run.draw(role, shape, grains) for role in PARTIES]
        self._drawn("mask", parts, grain)
        return parts[ALICE] + parts[BOB]

    def mask_bits(self, layout: Layout, planes: int) -> np.ndarray:
        parts = [self._run.draw_bits(role, layout, planes) for role in PARTIES]
        self._drawn("mask", parts)
        return parts[ALICE] ^ parts[BOB]

    def seeds(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        parts = [self._run.draw_seeds(role, shape) for role in PARTIES]
        self._drawn("seed", parts)
        return [part.copy() for part in parts]

    def _drawn(self, kind: str, parts: list[np.ndarray], grain: Grain | None = None) -> None:
        for role, part in enumerate(parts):
            self._run.drawn[role, self._branch].append((kind, part, grain))

    def publish(self, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
        words = np.zeros(shape, np.uint64)
        fill(words)
        self._drawn("published", [words, words])

    def assist(self, shape: tuple[int, ...], reply: Callable) -> None:
        assert self._branch not in self._run.assists, "the dealer assists once in a branch"
        self._run.assists[self._branch] = (shape, reply)

    def deal(self, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
        run = self._run
        if run.scene.modulus is not None:
            digits = self._digits(shape, fill)
            if digits is not None:
                run.hand_out_digits(self._branch, digits)
                return
        drawn = BOB if run.own == BOB else ALICE
        grains = [run.deal_grain() for _ in range(prod(shape) // run.n)]
        share = run.draw(drawn, shape, grains)
        rest = self._rest(share, fill, np.add)
        if run.own is None:
            for column, grain in zip(columns_of(rest, run.n), grains, strict=True):
                run.views[BOB].add(grain.see(column), grain.bits)
        run.hand_out(self._branch, drawn, share, rest)

    def deal_bits(self, layout: Layout, planes: int, fill: Callable[[np.ndarray], None]) -> None:
        run = self._run
        drawn = BOB if run.own == BOB else ALICE
        share = run.draw_bits(drawn, layout, planes)
        rest = self._rest(share, fill, np.bitwise_xor)
        if run.own is None:
            for column in bits_of(rest, run.n):
                run.views[BOB].add(column, 1)
        run.hand_out(self._branch, drawn, share, rest)

    def _rest(self, share: np.ndarray, fill: Callable, join: np.ufunc) -> np.ndarray:
        rest, value = share.copy(), np.zeros_like(share)
        fill(rest)
        fill(value)
        if not np.array_equal(join(rest, share), value):
            raise LeakError("a correction is not its value minus the share drawn for it")
        return rest

    def _digits(self, shape: tuple[int, ...], fill: Callable) -> np.ndarray | None:
        """What is filled in whatever stood there: digits; None where that makes a difference."""
        one, other = np.zeros(shape, np.uint64), np.ones(shape, np.uint64)
        fill(one)
        fill(other)
        return one if np.array_equal(one, other) else None


WHOLE = low(64)


@dataclass(frozen=True)
class GrainedOpening(Opening):
    grain: Grain = WHOLE


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

    def seed(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._next("seed", shape)[0]

    def dealt(self, shape: tuple[int, ...]) -> np.ndarray:
        if self._role == ALICE:
            return self._next("dealt", shape)[0]
        correction = self._run.corrections[self._branch].popleft()
        assert correction.shape == shape, "taken in another order than dealt"
        return correction

    def dealt_bits(self, layout: Layout, planes: int) -> np.ndarray:
        return self.dealt(layout.shape(planes))

    def published(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._next("published", shape)[0]

    def common(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._run.draw_common(self._role, self._branch, shape)

    def consult(self, words: np.ndarray, shape: tuple[int, ...]) -> Consultation:
        return Consultation((0, self._branch), words, shape)
