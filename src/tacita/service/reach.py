"""How well a party reaches its neighbours, as it says it to users: the written form, checked.

To programs over HTTPS (`GET /v2/neighbours`) and to users of eager sessions (`Reaching`) it is the
same JSON; the latter are told speeds alone. A user picks by it how values are compared, so what no
line can be is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import msgspec

from tacita.errors import FrameError

SLOWEST_TRIP = 3600.0  # seconds
LEAST_RATE, LARGEST_RATE = 1.0, 1e13  # bytes a second
MOST_NEIGHBOURS = 1000
LONGEST_NAME = 1000
LONGEST = 1 << 20  # characters of all of it

Rate = Annotated[float, msgspec.Meta(ge=LEAST_RATE, le=LARGEST_RATE)]
Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]


class Way(msgspec.Struct, frozen=True):
    """To a neighbour. round_trip: seconds. sent, received: bytes a second, from who says it and to
    it."""

    round_trip: Annotated[float, msgspec.Meta(gt=0, le=SLOWEST_TRIP)]
    sent: Rate
    received: Rate


Ways = dict[str, Way]  # by the neighbour's name

_read = msgspec.json.Decoder(
    Annotated[dict[Name, Way], msgspec.Meta(max_length=MOST_NEIGHBOURS)]
).decode


def ways_in(found: Mapping[str, Any]) -> Ways:
    """Of what `Neighbourhood` found, or a party says it did, the ways that could be measured."""
    ways = {}
    for name, link in found.items():
        with suppress(msgspec.ValidationError):
            ways[name] = msgspec.convert(link, Way)
    return ways


def written(ways: Ways) -> str:
    return msgspec.json.encode(ways).decode()


def read(text: str, party: str) -> Ways:
    """What `written` made. party: who sent it. Raises FrameError for anything else."""
    if len(text) > LONGEST:
        raise FrameError(f"{party} says too much of how well it reaches the others")
    try:
        ways: Ways = _read(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise FrameError(f"{party} does not say how well it reaches the others") from None
    return ways
