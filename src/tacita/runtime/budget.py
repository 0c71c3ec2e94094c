"""What one session may take at a role: wires, memory and time.

For sessions of users whom nobody watches: between daemons each role has a budget for each of them.
It counts from public shapes, before anything of that size is made, so that parties of the same
limits stop at the same instruction. A wire counts 24 bytes an element, for its share, the masked
value and the share of the mask, and a little for itself; a view counts like any other, and what it
shows goes on counting until its last view is forgotten, since that keeps it in memory.

The dealer holds masks alone and is told of some instructions only: the elements of a wire count
there when its shape is known, from the mask on it or on what it is a view of.

Wires are kept by what they are, not by their numbers: a view goes on showing what it was made of,
whatever is written under that number later. So nothing goes round in circles here, and views of
views are no deeper than DEEPEST_VIEW, as in a program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from reprlib import repr as brief

import msgspec

from tacita.compiler import shapes
from tacita.compiler.validation import DEEPEST_VIEW
from tacita.errors import ProgramError, Refused
from tacita.program.instruction import Instruction
from tacita.protocols import MaskWires
from tacita.protocols.boundary import Arrival, Boundary

BYTES_AN_ELEMENT = 24
BYTES_A_WIRE = 1 << 10  # Python's objects, generously
BYTES_OF_AN_ITEM = 40  # of a view's indices, which stay with it: a Python integer and where it lies
BYTES_OF_A_LOAN = 64  # in the set of those behind a wire
MOST_DIMENSIONS = 32  # as many as a message's arrays may have
DECODED = 32  # bytes of memory for one of an encoded program, at the most

Shape = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Account:
    """A wire that is held: itself, or because views of it are.

    shape: None where nothing has told it yet. base, view: what it shows, and how. depth: how many
    views lie between it and what is none.
    """

    shape: Shape | None
    size: int
    base: Account | None = None
    view: Instruction | None = None
    depth: int = 0
    holders: int = 1


class Budget:
    """wires, size: how many wires a session may hold, and how many bytes they and its programs may
    have together. seconds: how long it may last, from now. program_size: bytes of one program.
    """

    def __init__(
        self,
        *,
        wires: int,
        size: int,
        seconds: float,
        program_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_wires = wires
        self._most_bytes = size
        self._seconds = seconds
        self._program_size = program_size
        self._clock = clock
        self._until = clock() + seconds
        self._accounts: dict[int, Account] = {}
        self._programs: dict[int, int] = {}
        self._admitted: set[int] = set()  # what the instruction that is carried out writes
        self._wires = 0
        self._bytes = 0

    # ---- time ------------------------------------------------------------------------------------

    def seconds_left(self) -> float:
        """Raises Refused when there are none."""
        left = self._until - self._clock()
        if left <= 0:
            raise self.overtime()
        return left

    def overtime(self) -> Refused:
        return Refused(f"a session may last {self._seconds:g} s here: open another")

    # ---- wires -----------------------------------------------------------------------------------

    def admit(self, instruction: Instruction) -> None:
        """Counts what an instruction will write, before it is carried out.

        Raises Refused where that is too much, ProgramError for what cannot be carried out.
        """
        self.seconds_left()
        self._admitted.clear()
        if isinstance(instruction, Arrival):
            self._hold(instruction.out, instruction.shape)
        elif isinstance(instruction, Boundary):
            return
        else:
            _require_dimensions(getattr(instruction, "shape", ()))
            if not set(instruction.reads).isdisjoint(instruction.writes):
                name = type(instruction).__name__
                raise ProgramError(f"a {name} writes a wire that it reads: write another one")
            if isinstance(instruction, MaskWires):
                self._mask(instruction)
            elif instruction.aliases:
                self._show(instruction)
            elif not self._write(instruction):
                return
        self._admitted.update(instruction.writes)

    def held(self, wire: int, shape: Shape) -> None:
        """A wire that has come about: counted if it is none that `admit` has counted. Raises
        Refused."""
        if wire in self._admitted:
            self._admitted.discard(wire)
        else:
            self._hold(wire, shape)

    def require_room(self, tensors: Iterable[Shape], loans: int) -> None:
        """Before wires of these shapes come about, which depend on so many loans, taken together.

        Counts nothing. Raises Refused where they would not fit.
        """
        wires = size = 0
        for shape in tensors:
            _require_dimensions(shape)
            wires += 1
            size += _size_of(shape)
        self._require_room(wires, size + loans * BYTES_OF_A_LOAN)

    def _hold(self, wire: int, shape: Shape) -> None:
        _require_dimensions(shape)
        self._enter(wire, Account(shape, _size_of(shape)))

    def _enter(self, wire: int, account: Account) -> None:
        if account.base is not None:
            account.base.holders += 1  # before an older wire of this number lets go of it
        self.forget(wire)
        try:
            self._require_room(1, account.size)
        except Refused:
            self._let_go(account.base)
            raise
        self._accounts[wire] = account
        self._wires += 1
        self._bytes += account.size

    def _write(self, instruction: Instruction) -> bool:
        """Whether the shapes of all that it reads are known here."""
        read = [self._shape_of(wire) for wire in instruction.reads]
        known = [each for each in read if each is not None]
        if len(known) < len(read):
            return False
        written = shapes.written(instruction, *known)
        for wire, shape in zip(instruction.writes, written, strict=True):
            self._hold(wire, shape)
        return True

    def _mask(self, instruction: MaskWires) -> None:
        """A mask tells the shape of a wire, once: it is as large as what it hides."""
        if len(instruction.wires) != len(instruction.shapes):
            raise ProgramError(
                f"{len(instruction.wires)} wires are masked with {len(instruction.shapes)} shapes"
            )
        for wire, shape in zip(instruction.wires, instruction.shapes, strict=True):
            known = self._shape_of(wire)
            if known is not None and known != shape:
                raise ProgramError(
                    f"wire {wire} of the shape {known} is masked with the shape {brief(shape)}"
                )
            if wire not in self._accounts:
                self._hold(wire, shape)
            elif known is None:
                self._learn(self._accounts[wire], shape)

    def _show(self, view: Instruction) -> None:
        (source,), (out,) = view.reads, view.writes
        if source not in self._accounts:
            self._enter(source, Account(None, BYTES_A_WIRE))
        base = self._accounts[source]
        if base.depth == DEEPEST_VIEW:
            raise ProgramError(
                f"wire {out} is a view of more than {DEEPEST_VIEW} others: show one of those"
            )
        shape = self._shape_of(source)
        if shape is not None:
            (shape,) = shapes.written(view, shape)
            _require_dimensions(shape)
        size = max(BYTES_A_WIRE, BYTES_OF_AN_ITEM * _items_of(view))
        size += BYTES_AN_ELEMENT * prod(shape) if shape is not None else 0
        self._enter(out, Account(shape, size, base, view, base.depth + 1))

    def _shape_of(self, wire: int) -> Shape | None:
        """Counts views on the way, whose shapes follow from what they show."""
        account = self._accounts.get(wire)
        views = []
        while account is not None and account.shape is None:
            views.append(account)
            account = account.base
        if account is None:
            return None
        shape = account.shape
        assert shape is not None
        for each in reversed(views):
            assert each.view is not None
            (shape,) = shapes.written(each.view, shape)
            self._learn(each, shape)
        return shape

    def _learn(self, account: Account, shape: Shape) -> None:
        """The shape of a wire that has counted without its elements so far."""
        _require_dimensions(shape)
        more = BYTES_AN_ELEMENT * prod(shape)
        self._require_room(0, more)
        account.shape = shape
        account.size += more
        self._bytes += more

    def lent(self, wire: int, loans: int) -> None:
        """A wire depends on so many loans, which it remembers. Raises Refused."""
        account = self._accounts.get(wire)
        if account is not None and loans:
            self._require_room(0, loans * BYTES_OF_A_LOAN)
            account.size += loans * BYTES_OF_A_LOAN
            self._bytes += loans * BYTES_OF_A_LOAN

    def forget(self, wire: int) -> None:
        self._let_go(self._accounts.pop(wire, None))

    def _let_go(self, account: Account | None) -> None:
        while account is not None:
            account.holders -= 1
            if account.holders:
                return
            self._wires -= 1
            self._bytes -= account.size
            account = account.base

    # ---- programs --------------------------------------------------------------------------------

    def deploy(self, number: int, size: int) -> None:
        """A program of so many bytes, before it is decoded. Raises Refused."""
        if size > self._program_size:
            raise Refused(f"a program may have {self._program_size} bytes here, not {size}")
        self._require_room(0, DECODED * size)
        self._programs[number] = DECODED * size
        self._bytes += DECODED * size

    def undeploy(self, number: int) -> None:
        self._bytes -= self._programs.pop(number, 0)

    def _require_room(self, wires: int, size: int) -> None:
        if self._wires + wires > self._most_wires:
            raise Refused(
                f"a session may hold {self._most_wires} wires here: delete tensors that are not "
                "needed any more"
            )
        if self._bytes + size > self._most_bytes:
            raise Refused(
                f"a session may have {self._most_bytes} bytes here, {BYTES_AN_ELEMENT} for each "
                f"element that it holds, and has {self._bytes} of them: delete tensors that are "
                "not needed any more, or use smaller ones"
            )


def _items_of(view: Instruction) -> int:
    fields = msgspec.structs.astuple(view)
    return sum(len(each) for each in fields if isinstance(each, tuple))


def _size_of(shape: Shape) -> int:
    return BYTES_AN_ELEMENT * prod(shape) + BYTES_A_WIRE


def _require_dimensions(shape: Shape) -> None:
    """Before they are multiplied: sizes are from 0 on, and there are not very many of them."""
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise ProgramError(f"no wire has the shape {brief(shape)}")
