"""The dealer's end of consultations: it answers the parties while it deals, in a thread of its own.

Parties wait for an answer to what was dealt long before what the dealer is at now, and take no more
material meanwhile: so answers come from another thread than material, and over other channels.

In a round each party sends one message, with all that it asks. Those of all parties name the same
instructions, in the same order; where one does not, nothing is answered and the session ends. What
a party sends has the shape that `Dealing.assist` said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Thread

import msgspec
import numpy as np

from tacita.errors import PeerError, PeerFailed, PeerTimeout, SessionClosed
from tacita.program.readings import Array
from tacita.ring import kernels
from tacita.runtime.orders import Consulted, decode_consulted
from tacita.runtime.transport import Endpoint, Message, expected

LOOK = 0.05  # seconds between two looks whether the session has ended
BYTES_EACH = 4 << 10  # that the dealer keeps of an instruction, however small
MOST_UNANSWERED = 256 << 20  # bytes that wait to be sent both ways, before a dealer goes on


@dataclass(frozen=True, slots=True, repr=False)
class Assist:
    """See `program.readings.Dealing.assist`."""

    shape: tuple[int, ...]
    reply: Callable[[list[Array]], Array]


class Assistant:
    """endpoint: reaches the parties, for this alone. limit: seconds that a party, or the dealer
    itself, may come later than another party. failed: tells the user's side of what ends the
    session here; returns what the parties may be told of it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        parties: Sequence[str],
        limit: float,
        failed: Callable[[Exception], str],
    ) -> None:
        self._endpoint = endpoint
        self._parties = tuple(parties)
        self._limit = limit
        self._failed = failed
        self._thread: Thread | None = None
        self._changed = Condition()  # around what follows
        self._waiting: dict[int, dict[int, Assist]] = {}  # by instruction and branch
        self._sizes: dict[int, int] = {}
        self._error: Exception | None = None
        self._party_gone = False
        self._ended = False

    # ---- the dealer's thread ---------------------------------------------------------------------

    def expect(self, number: int, assists: dict[int, Assist], size: int) -> None:
        """An instruction was dealt that the parties will ask about, in each of these branches.

        size: bytes that they send and are answered.
        """
        with self._changed:
            self._check()
            self._waiting[number] = dict(assists)
            self._sizes[number] = size + BYTES_EACH
            self._changed.notify_all()
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="tacita answers", daemon=True)
            self._thread.start()

    def wait_for_room(self) -> None:
        """Before what the parties need not have to come to what they will ask.

        Raises PeerTimeout where they ask nothing for `limit` seconds.
        """
        with self._changed:
            self._check()
            while sum(self._sizes.values()) > MOST_UNANSWERED:
                if not self._changed.wait(self._limit):  # whatever changes there is an answer
                    raise PeerTimeout(f"no party asked the dealer anything for {self._limit:g} s")
                self._check()

    def give_up(self, why: str) -> None:
        """No party need wait for an answer any more."""
        for party in self._parties:
            with suppress(PeerError):
                self._endpoint.send(party, Message("fail", why.encode()))

    def end(self) -> None:
        """Waits until the thread is over."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._sizes.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(self._limit)

    @property
    def _over(self) -> bool:
        return self._ended or self._error is not None

    def _check(self) -> None:
        if self._error is not None:
            kind = type(self._error).__name__  # a foreign error may quote values
            raise PeerFailed(f"the dealer's answers have ended with a {kind}")

    # ---- the thread that answers -----------------------------------------------------------------

    def _serve(self) -> None:
        kernels.pool_arrays()
        try:
            while self._one_is_due():
                self._answer()
        except SessionClosed:
            return
        except Exception as error:
            # A party that is gone has told the user's side itself.
            self.give_up(str(error) if self._party_gone else self._failed(error))
            with self._changed:
                self._error = error.with_traceback(None)
                self._waiting.clear()
                self._sizes.clear()
                self._changed.notify_all()

    def _one_is_due(self) -> bool:
        """Waits until the parties will ask something; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting)
            return not self._over

    def _answer(self) -> None:
        """What the parties ask in one round."""
        first, *others = self._parties
        messages = [self._received(first, None)]
        messages += [self._received(party, self._limit) for party in others]
        asked = _read(messages[0], first)
        for party, message in zip(self._parties, messages, strict=True):
            if message.header != messages[0].header:
                raise PeerFailed(f"{party} asks the dealer something else than {first}")
            if len(message.arrays) != len(asked.places):
                raise PeerFailed(
                    f"{party} sent the dealer {len(message.arrays)} arrays where "
                    f"{len(asked.places)} were due"
                )
        if asked.passed_over is not None:
            self._taken(asked.passed_over, None)
            return
        answers = [
            self._reply(place, [message.arrays[i] for message in messages])
            for i, place in enumerate(asked.places)
        ]
        answer = Message("answer", messages[0].header, tuple(answers))
        for party in self._parties:
            self._endpoint.send(party, answer)

    def _reply(self, place: tuple[int, int], words: list[Array]) -> Array:
        number, branch = place
        assist = self._taken(number, branch)
        assert assist is not None
        for party, array in zip(self._parties, words, strict=True):
            if array.shape != assist.shape:
                raise PeerFailed(
                    f"{party} sent the dealer an array of shape {array.shape} for instruction "
                    f"{number}, which takes {assist.shape}"
                )
        # In memory the parties have the same arrays: neither side is to write to the other's.
        return read_only(assist.reply([read_only(array) for array in words]))

    def _received(self, party: str, limit: float | None) -> Message:
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            try:
                return expected(self._endpoint, party, "consult", LOOK)
            except PeerTimeout:
                if self._over:
                    raise SessionClosed("the session has ended") from None
                if deadline is not None and time.monotonic() > deadline:
                    raise PeerTimeout(
                        f"{party} did not ask the dealer what others had asked, for {limit:g} s"
                    ) from None
            except PeerFailed:
                self._party_gone = True
                raise

    def _taken(self, number: int, branch: int | None) -> Assist | None:
        """What is to be answered; branch: None for an instruction that was passed over.

        Waits for the dealer, which the parties may overtake.
        """
        with self._changed:
            dealt = self._changed.wait_for(
                lambda: self._over or number in self._waiting, self._limit
            )
            if self._over:
                raise SessionClosed("the session has ended")
            if not dealt:
                raise PeerTimeout(
                    f"the parties ask about instruction {number}, and the dealer did not deal for "
                    f"it within {self._limit:g} s"
                )
            assists = self._waiting[number]
            assist = None
            if branch is None:
                assists.clear()
            elif branch in assists:
                assist = assists.pop(branch)
            else:
                raise PeerFailed(
                    f"the parties ask about branch {branch} of instruction {number}, of which the "
                    "dealer knows nothing"
                )
            if not assists:
                del self._waiting[number], self._sizes[number]
                self._changed.notify_all()
            return assist


def _read(message: Message, party: str) -> Consulted:
    try:
        asked: Consulted = decode_consulted(message.header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise PeerFailed(f"{party} asks the dealer what cannot be read") from None
    return asked


def read_only(array: Array) -> Array:
    view = np.asarray(array, order="C").view()
    view.setflags(write=False)
    return view
