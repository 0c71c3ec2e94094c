"""What the user's side sends to the roles: instructions, their numbers, and wires to forget."""

from __future__ import annotations

import msgspec

from tacita.compiler import archive
from tacita.errors import PeerFailed, ProgramError
from tacita.protocols import AnyInstruction
from tacita.protocols.boundary import Arrival

WITHHELD = "not for this user: "  # how a refusal to reveal begins that is no failed check
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


class Deploy(msgspec.Struct, frozen=True, array_like=True):
    """A program, to be kept under this number; its weights are wires of the session.

    model: names these weights, so that a stock of material is for them and no others.
    """

    number: int
    program: bytes
    weights: tuple[int, ...]
    model: bytes


class Run(msgspec.Struct, frozen=True, array_like=True):
    """One run of a deployed program, whose instructions have the numbers from `number` on.

    inputs, outputs: wires of the session. batch: out of the stock; empty where the dealer deals
    as it goes.
    """

    number: int
    deployment: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: bytes = b""
    forget: tuple[int, ...] = ()


class Ahead(msgspec.Struct, frozen=True, array_like=True):
    """To the dealer: deal so many batches of a deployed program into the folder of a stock."""

    number: int
    deployment: int
    count: int
    folder: str


class Prepare(msgspec.Struct, frozen=True, array_like=True):
    """To the parties: take a batch from the stock, and do what needs no input yet."""

    number: int
    deployment: int
    batch: bytes
    folder: str


class Lend(msgspec.Struct, frozen=True, array_like=True):
    """To the parties: what lies with them under this name becomes a wire of the session."""

    number: int
    wire: int
    name: str


class Keep(msgspec.Struct, frozen=True, array_like=True):
    """To the parties: a wire of the session is to lie with them under a name, described so."""

    number: int
    wire: int
    name: str
    about: bytes


class Undeploy(msgspec.Struct, frozen=True, array_like=True):
    """The program under this number will not be run again; its batches are lost."""

    number: int


class Agreement(msgspec.Struct, frozen=True, array_like=True):
    """Between roles: which program each has under a number, by digest, and for which weights."""

    number: int
    program: bytes
    model: bytes
    weights: tuple[int, ...]


class Dealt(msgspec.Struct, frozen=True, array_like=True):
    """The header of a dealer's material: for which order, and how many arrays for each branch.

    These are, in the order in which they were dealt, what it publishes, and for the last party
    its corrections.
    """

    number: int
    counts: dict[int, int]


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """The header of an opening: for which order, and the how-manieth round of it.

    batch: of the stock, where the masks come from there. transcript: of all orders so far, where
    the user is not trusted to give every party the same ones.
    """

    number: int
    round: int
    batch: bytes = b""
    transcript: bytes = b""


class Consulted(msgspec.Struct, frozen=True, array_like=True):
    """The header of what a party asks the dealer in one round, and of the answer.

    The dealer compares those of all parties. number, round, transcript: as in `Turn`; a dealer that
    has the orders learns nothing from a digest of them. places: the instruction and its branch for
    each array. passed_over: an instruction that will not ask, since checked mode has refused what
    it reads; then nothing is asked, and nothing answered.
    """

    number: int
    round: int
    places: tuple[tuple[int, int], ...] = ()
    passed_over: int | None = None
    transcript: bytes = b""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The header of what goes back to the user's side: to which number, and why not, if refused."""

    number: int
    text: str = ""


def check_size(order: bytes, *, trusted: bool) -> None:
    """Before it is decoded. Raises PeerFailed for what is too large; and where the user is not
    trusted, for what has so many items that it would be large in memory."""
    if len(order) > 2 * LARGEST_ORDER:  # with what is to be forgotten
        raise PeerFailed(f"an order of {len(order)} bytes is too large")
    if not trusted and len(order) > archive.MOST_ITEMS:  # shorter ones cannot have more items
        try:
            archive.check_extent(memoryview(order))
        except ProgramError as problem:
            raise PeerFailed(f"an order cannot be read: {problem}") from None


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_deploy = msgspec.msgpack.Decoder(Deploy).decode
decode_undeploy = msgspec.msgpack.Decoder(Undeploy).decode
decode_run = msgspec.msgpack.Decoder(Run).decode
decode_ahead = msgspec.msgpack.Decoder(Ahead).decode
decode_prepare = msgspec.msgpack.Decoder(Prepare).decode
decode_lend = msgspec.msgpack.Decoder(Lend).decode
decode_keep = msgspec.msgpack.Decoder(Keep).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_dealt = msgspec.msgpack.Decoder(Dealt).decode
decode_turn = msgspec.msgpack.Decoder(Turn).decode
decode_consulted = msgspec.msgpack.Decoder(Consulted).decode
