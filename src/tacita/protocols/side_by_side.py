"""Running several readings at once, so that their openings share rounds."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from tacita.program.readings import Array, Round

Result = TypeVar("Result")


def side_by_side(
    *readings: Generator[Round, list[Array], Result],
) -> Generator[Round, list[Array], list[Result]]:
    """Drives all readings; each round opens what every one of them opens next."""
    if len(readings) == 1:
        return [(yield from readings[0])]
    results: dict[int, Result] = {}
    waiting: dict[int, Round] = {}

    def advance(index: int, answer: list[Array] | None) -> None:
        reading = readings[index]
        try:
            waiting[index] = next(reading) if answer is None else reading.send(answer)
        except StopIteration as end:
            waiting.pop(index, None)
            results[index] = end.value

    for index in range(len(readings)):
        advance(index, None)
    while waiting:
        merged = [opening for openings in waiting.values() for opening in openings]
        opened = yield merged
        start = 0
        for index, openings in list(waiting.items()):
            answer = opened[start : start + len(openings)]
            start += len(openings)
            advance(index, answer)
    return [results[index] for index in range(len(readings))]
