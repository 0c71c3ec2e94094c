"""A running digest of the orders that a role was given.

What a session's user may see is decided by each party from the instructions it was given. A user
who gave alice other instructions than bob could have values pass for what they are not. So where
parties may hold what the user may not see, every opening carries the digest of all orders so far,
and before anything leaves for the user, once something was lent, the parties compare theirs.

The dealer is not compared: told other instructions, it deals what does not fit, and the results of
the parties' instructions are wrong; but what depends on a loan is withheld whatever was dealt for
it, and nothing else depends on the opened value or a share of one.
"""

from __future__ import annotations

import hashlib

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
