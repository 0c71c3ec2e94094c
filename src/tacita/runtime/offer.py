"""The ways to compare that a session can be opened for."""

from __future__ import annotations

from tacita.errors import HoldersError, UsageError
from tacita.runtime.choosing import AUTO

PROTOCOLS = ("tables", "fss", "snn", AUTO)
FOR_MORE = ("tables", AUTO)  # those for more than two holders
CONSULTING = "snn"  # the one in which the dealer takes part


def require_offered(protocol: str, holders: int) -> None:
    """Raises UsageError for a protocol that there is not, HoldersError where it is for two."""
    if protocol not in PROTOCOLS:
        raise UsageError(
            f"no protocol {protocol!r}; there is {', '.join(PROTOCOLS)}: leave protocol= out"
        )
    if holders > 2 and protocol not in FOR_MORE:
        raise HoldersError(
            f"protocol={protocol!r} is for two holders, not {holders}: use protocol={FOR_MORE[0]!r}"
        )
