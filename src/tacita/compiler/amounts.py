"""Numbers for people: three digits, and the unit that suits."""

from __future__ import annotations

ROUNDS_UP = 999.5  # what three digits show as the next unit's 1


def amount(count: float, unit: str = "") -> str:
    """A count of bytes or anything else; empty for 0, so that what there is stands out."""
    if not count:
        return ""
    size = float(count)
    for prefix in ("", "k", "M", "G"):
        if size < ROUNDS_UP:
            return f"{size:.3g} {prefix}{unit}".rstrip()
        size /= 1000
    return f"{_digits(size)} T{unit}"


def seconds(time: float) -> str:
    """A time in seconds, milliseconds or microseconds; empty for what is below a microsecond."""
    if time < 1e-6:
        return ""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if time * factor < ROUNDS_UP:
            return f"{time * factor:.3g} {unit}"
    return f"{_digits(time)} s"


def _digits(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:.3g}" if value < ROUNDS_UP else f"{value:,.0f}"
