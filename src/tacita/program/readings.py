"""What a protocol may ask of whoever reads its instruction: the plain machine, dealer or party.

The readings of an instruction are written against these three interfaces; `runtime/` provides
them. A party's reading is a generator: it yields the openings of one round as a list, consultations
of the dealer among them, and is sent the list of opened values and answers. It does no I/O, so a
runner can merge the rounds of several readings.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tacita.errors import MaskReused
from tacita.ring.planes import Layout
from tacita.ring.randomness import OneTime

Array = NDArray[np.uint64]
View = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, repr=False)
class Opening:
    """One party's summand of a value to be opened, and how the summands are joined.

    Made by `Mask.hide` and `BitMask.hide`, and by `reveal_bits` where an output is meant to be
    seen; nothing else opens anything.
    """

    summand: Array
    boolean: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Consultation:
    """One party's words for the dealer, which has all parties' before it answers them alike.

    Made by `Evaluating.consult`. The instruction says why neither the words nor the answer tell
    the dealer or a party anything.

    place: the instruction and its branch, by which the dealer knows what is asked. shape: of the
    answer.
    """

    place: tuple[int, int]
    words: Array
    shape: tuple[int, ...]


Round = list[Opening | Consultation]
Steps = Generator[Round, list[Array], None]


class Mask(OneTime):
    """One party's share of a uniform mask that the dealer knows; it hides one value, once."""

    __slots__ = ("_used", "share")

    def __init__(self, share: Array) -> None:
        self.share = share
        self._used = False

    def _spend(self, value: Array) -> None:
        if self._used:
            raise MaskReused("a mask hides one value, once; draw another")
        self._used = True
        if value.shape != self.share.shape:
            raise MaskReused(
                f"a mask of shape {self.share.shape} cannot hide a value of shape {value.shape}"
            )

    def hide(self, value: Array) -> Opening:
        """The summand of value + mask in Z_2^64: uniform, whatever the value."""
        self._spend(value)
        return Opening(np.add(value, self.share))


class BitMask(Mask):
    """As Mask, for planes of bits under XOR."""

    __slots__ = ()

    def hide(self, value: Array) -> Opening:
        """The summand of value XOR mask: uniform, whatever the value."""
        self._spend(value)
        return Opening(np.bitwise_xor(value, self.share), boolean=True)


def reveal_bits(value: Array) -> Opening:
    """Opens XOR-shared planes as they are: for an output that every party is meant to learn."""
    return Opening(value, boolean=True)


class Masked:
    """A wire after its opening: x + r, public between the parties, and this party's share of r.

    A view reaches the share of r when somebody asks for it: comparisons and truncations do not.
    """

    __slots__ = ("_mask_share", "_view", "opened")

    def __init__(self, opened: Array, mask_share: Array | Masked, view: View | None = None) -> None:
        """mask_share: the share of r, or with `view` what it is a view of."""
        self.opened = opened
        self._mask_share = mask_share
        self._view = view

    @property
    def mask_share(self) -> Array:
        source = self._mask_share
        if isinstance(source, Masked):
            assert self._view is not None
            self._mask_share = source = self._view(source.mask_share)
        return source

    def map(self, view: View) -> Masked:
        return Masked(view(self.opened), self, view)


class PlainMachine(Protocol):
    """Runs programs on the ring values themselves: for tests and accuracy previews."""

    def value(self, wire: int) -> Array: ...
    def write(self, wire: int, value: Array) -> None: ...

    def fail(self, wire: int, message: str) -> None:
        """Marks a wire as unusable; reading it raises."""
        ...


class Dealing(Protocol):
    """The dealer: it knows masks, and sends corrections to the last party."""

    def branch(self, number: int) -> Dealing:
        """A dealer with a stream of its own, for a part that runs side by side with others."""
        ...

    def mask_of(self, wire: int) -> Array: ...
    def write_mask(self, wire: int, mask: Array) -> None: ...
    def alias(self, wire: int, base: int, view: View) -> None: ...

    def mask(self, shape: tuple[int, ...]) -> Array:
        """Draws what every party draws with `Evaluating.mask`; returns the sum."""
        ...

    def mask_bits(self, layout: Layout, planes: int) -> Array: ...

    def deal(self, shape: tuple[int, ...], fill: Callable[[Array], None]) -> None:
        """Shares a value additively. `fill(into)` turns the other parties' sum into
        value - sum, the last party's correction, in place."""
        ...

    def deal_bits(self, layout: Layout, planes: int, fill: Callable[[Array], None]) -> None:
        """Shares planes under XOR. `fill(into)` XORs the value into `into`, in place."""
        ...

    def seeds(self, shape: tuple[int, ...]) -> list[Array]:
        """What each party draws with `Evaluating.seed`, in the order of the parties."""
        ...

    def publish(self, shape: tuple[int, ...], fill: Callable[[Array], None]) -> None:
        """Hands the same words to every party. `fill(into)` writes all of them."""
        ...

    def assist(self, shape: tuple[int, ...], reply: Callable[[list[Array]], Array]) -> None:
        """Takes part while the parties evaluate: once in the instruction, or in its branch.

        shape: of what each party sends with `Evaluating.consult`. reply: of these, in the order of
        the parties, what every one of them is answered.
        """
        ...


class Evaluating(Protocol):
    """One computing party."""

    @property
    def first(self) -> bool:
        """True for the one party that adds public constants."""
        ...

    def branch(self, number: int) -> Evaluating:
        """This party with a stream of its own, as `Dealing.branch`. Numbers 1 to 255, ascending."""
        ...

    def share(self, wire: int) -> Array: ...
    def public(self, wire: int) -> Array: ...
    def write(self, wire: int, share: Array) -> None: ...
    def masked(self, wire: int) -> Masked: ...
    def write_masked(self, wire: int, masked: Masked) -> None: ...
    def alias(self, wire: int, base: int, view: View) -> None: ...
    def mask(self, shape: tuple[int, ...]) -> Mask: ...
    def mask_bits(self, layout: Layout, planes: int) -> BitMask: ...
    def dealt(self, shape: tuple[int, ...]) -> Array: ...
    def dealt_bits(self, layout: Layout, planes: int) -> Array: ...

    def seed(self, shape: tuple[int, ...]) -> Array:
        """Words of the stream that this party shares with the dealer, as they are."""
        ...

    def published(self, shape: tuple[int, ...]) -> Array:
        """What the dealer handed to every party alike."""
        ...

    def common(self, shape: tuple[int, ...]) -> Array:
        """Uniform words that every party draws alike, and of which the dealer knows nothing."""
        ...

    def consult(self, words: Array, shape: tuple[int, ...]) -> Consultation:
        """To be yielded like an opening; the dealer's answer, of `shape`, is sent back for it."""
        ...

    def prepared(self, wire: int) -> Array | None:
        """What `prepare` kept for the wire, once; None where nothing was prepared."""
        ...

    def prepared_masks(self) -> list[Mask] | None:
        """The masks that `prepare` drew for this instruction, once; None where it drew none."""
        ...

    def fail(self, wire: int, message: str) -> None:
        """Marks a wire as unusable, at every party alike; reading it raises."""
        ...


class Preparing(Protocol):
    """A computing party before the inputs are there, with its masks and dealt shares."""

    def draw_masks(self, wires: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> None:
        """Draws what `evaluate` of a MaskWires draws, and keeps it for that."""
        ...

    def alias(self, out: int, base: int, view: View) -> None: ...

    def mask_share(self, wire: int) -> Array | None:
        """This party's share of the wire's mask, where it is known already."""
        ...

    def opened(self, wire: int) -> Array | None:
        """The opened value of a wire that was masked before, such as a weight."""
        ...

    def dealt(self, shape: tuple[int, ...]) -> Array: ...
    def keep(self, wire: int, value: Array) -> None: ...


def subtract_from(value: Array) -> Callable[[Array], None]:
    """The `fill` of `Dealing.deal` for a value that is there already."""

    def fill(into: Array) -> None:
        np.subtract(value, into, out=into)

    return fill
