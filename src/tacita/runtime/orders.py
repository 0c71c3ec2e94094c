"""What the user's side sends to the roles: instructions, their numbers, and wires to forget."""

from __future__ import annotations

import msgspec

from tacita.protocols import AnyInstruction
from tacita.protocols.boundary import Arrival

LARGEST_ORDER = 64 << 20  # bytes; an order names public things, and indices of a gather


class Order(msgspec.Struct, frozen=True, array_like=True):
    """Instructions that one operation of the user's resulted in, to be carried out in turn.

    The first has this number, the others those that follow. Numbers ascend and mean the same to
    all roles. What is to be forgotten may be used by these instructions, and goes after them.
    """

    number: int
    instructions: tuple[AnyInstruction, ...]
    forget: tuple[int, ...] = ()

    @property
    def arrivals(self) -> int:
        """How many arrays go beside it to each party."""
        return sum(isinstance(each, Arrival) for each in self.instructions)


class Dealt(msgspec.Struct, frozen=True, array_like=True):
    """The header of a dealer's material: for which order, and how many arrays for each branch."""

    number: int
    counts: dict[int, int]


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """The header of an opening: for which order, and the how-manieth round of it."""

    number: int
    round: int


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The header of what goes back to the user's side: to which number, and why not, if refused."""

    number: int
    text: str = ""


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_dealt = msgspec.msgpack.Decoder(Dealt).decode
decode_turn = msgspec.msgpack.Decoder(Turn).decode
