"""What roles were told, so that nobody gains by telling them different things.

What a session's user may see is decided by each party from the instructions it was given. A user
who gave alice other instructions than bob could have values pass for what they are not. So where
parties may hold what the user may not see, every opening carries the digest of all orders so far,
and before anything leaves for the user, once something was lent, the parties compare theirs.

The dealer is not compared, and could be told to draw something else where the parties draw the mask
of a loan: a table of which a party gets the difference to that mask, or words that are published.
What depends on the loan would be withheld from the user, but a curious party would have its mask,
and sees it opened under it. So both ends bind their streams (ring/randomness.py) to all that was
drawn for until then. Told different things, they draw from unrelated streams: the results of the
parties' instructions are wrong, and what the dealer hands out has nothing to do with masks in use.
"""

from __future__ import annotations

import hashlib

from tacita.runtime.orders import Order, Run, encode

DIGEST_BYTES = 32


class Transcript:
    """SHA-256 over kind and header of every order; not over the arrays, which differ."""

    def __init__(self) -> None:
        self._digest = bytes(DIGEST_BYTES)

    def add(self, kind: str, header: bytes) -> None:
        begun = hashlib.sha256(self._digest)
        begun.update(f"{kind}:{len(header)}:".encode())
        begun.update(header)
        self._digest = begun.digest()

    @property
    def digest(self) -> bytes:
        return self._digest


def drawn_for(order: Order) -> bytes | None:
    """What a party and the dealer draw for, in this order; None for nothing. Its encoding is made
    here, of what was understood: one that came could say the same in two ways."""
    if not any(each.concerns_dealer for each in order.instructions):
        return None
    return encode(("order", order.number, order.instructions))


def drawn_for_run(order: Run, agreement: bytes) -> bytes:
    """The same for a run that is dealt for as it goes. agreement: on program and weights."""
    return encode(("run", order.number, order.inputs, order.outputs, agreement))
