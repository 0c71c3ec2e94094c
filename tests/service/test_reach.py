"""What a party says of the ways to its neighbours, and what is no such thing."""

import math

import msgspec
import pytest

from tacita.errors import FrameError
from tacita.service.reach import LARGEST_RATE, LEAST_RATE, SLOWEST_TRIP, Way, read, ways_in, written

WAY = Way(0.0213, 12e6, 11.5e6)


def test_what_is_written_is_read():
    extremes = Way(SLOWEST_TRIP, LEAST_RATE, LARGEST_RATE)
    ways = {"bob": WAY, "dana": extremes}
    assert read(written(ways), "alice") == ways
    assert read(written({}), "alice") == {}


def way(**changes):
    return {"round_trip": 0.0213, "sent": 12e6, "received": 11.5e6, **changes}


WRONG = {
    "no time": way(round_trip=0),
    "a negative time": way(round_trip=-1.0),
    "hours": way(round_trip=SLOWEST_TRIP * 1.01),
    "no rate": way(sent=0.5),
    "a rate of no line": way(received=LARGEST_RATE * 1.01),
    "words": way(sent="fast"),
    "a truth": way(sent=True),
    "nothing": way(received=None),
    "too little": {"round_trip": 0.1, "sent": 1e6},
    "a list": [0.1, 1e6, 1e6],
    "a number": 7,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_no_line_can_be_is_refused(wrong):
    text = msgspec.json.encode({"bob": wrong}).decode()
    with pytest.raises(FrameError, match="alice does not say how well"):
        read(text, "alice")
    assert ways_in({"bob": wrong, "dana": way()}) == {"dana": WAY}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number):
    assert ways_in({"bob": way(round_trip=number)}) == {}
    assert ways_in({"bob": way(sent=number)}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "[]",
        "7",
        '{"bob":{"round_trip":NaN,"sent":1e6,"received":1e6}}',
        '{"bob":{"round_trip":1e999,"sent":1e6,"received":1e6}}',
        '{"bob":',
        "[" * 100_000,
        '{"bob":{"more":' + "[" * 100_000,
        written({"b" * 1001: WAY}),
        written({f"party{number}": WAY for number in range(1001)}),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(FrameError):
        read(text, "alice")


def test_what_else_a_party_says_is_not_looked_at():
    more = way(clock=0.0, version="0.1.0")
    assert ways_in({"bob": more, "dana": {"error": "sent nothing"}}) == {"bob": WAY}
