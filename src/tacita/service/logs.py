"""What a daemon says about itself: one JSON object a line, or readable lines on a terminal.

Logs name roles, models, query ids, sizes and durations. They never hold a value, a share or a key:
whatever is not text, a plain number or a short list of those is replaced before it is written, and
of errors that are not of the tree in `errors.py`, which may quote values, only type and place stay.
An event is a fixed text; what changes goes into fields: log.info("query done", model=…, rounds=…).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import PurePath
from typing import Any, Literal, TextIO, get_args

import structlog
from structlog.typing import Processor

from tacita.errors import ConfigError, TacitaError

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)

HIDDEN = "<hidden>"
LONGEST_TEXT = 2000  # characters
LONGEST_LIST = 16  # entries; what is longer is likelier to be data
# Types themselves: NumPy's numbers are subclasses of Python's, and come out of arrays.
PLAIN = (str, int, float, bool, type(None))

Fields = MutableMapping[str, Any]


class Log(structlog.BoundLoggerBase):
    """A logger with fields bound to it; `logger` makes the first, `bind` those below it."""

    def debug(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """fields: `error`, the exception, among them, where there is one."""
        self._proxy_to_logger("error", event, **fields)

    def bind(self, **fields: Any) -> Log:
        """One that adds these to every line, as in log.bind(query=…)."""
        bound = super().bind(**fields)
        assert isinstance(bound, Log)
        return bound


def logger(
    role: str,
    *,
    level: Level = "info",
    stream: TextIO | None = None,
    pretty: bool | None = None,
) -> Log:
    """The logger of one daemon; it leaves structlog's and Python's global settings alone.

    role: "party:alice". stream: stderr if None. pretty: for people to read; None for a terminal
    only. Raises ConfigError for an unknown level.
    """
    if level not in LEVELS:
        raise ConfigError(f"there is no log level {level!r}; use one of {', '.join(LEVELS)}")
    stream = sys.stderr if stream is None else stream
    pretty = stream.isatty() if pretty is None else pretty
    writer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if pretty:
        writer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    first = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            Least(level),
            structlog.processors.add_log_level,
            hide_values,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            in_order,
            writer,
        ],
        wrapper_class=Log,
        cache_logger_on_first_use=False,
    )
    bound = first.bind(role=role)
    assert isinstance(bound, Log)
    return bound


class Least:
    """Drops what is below a level."""

    def __init__(self, level: Level) -> None:
        self._shown = LEVELS[LEVELS.index(level) :]

    def __call__(self, _logger: object, method: str, fields: Fields) -> Fields:
        if method not in self._shown:
            raise structlog.DropEvent
        return fields


def hide_values(_logger: object, _method: str, fields: Fields) -> Fields:
    """Replaces all that might be a value, a share or a key, and describes errors."""
    if fields.pop("exc_info", None):
        fields.setdefault("error", sys.exc_info()[1])
    return {shown(key): presentable(value) for key, value in fields.items()}


def in_order(_logger: object, _method: str, fields: Fields) -> Fields:
    """Has every line begin alike."""
    first = {name: fields[name] for name in ("time", "level", "role", "event") if name in fields}
    return first | {name: value for name, value in fields.items() if name not in first}


def presentable(value: object) -> object:
    """The value itself if it is plain, an error's description, a short list, or HIDDEN."""
    if isinstance(value, BaseException):
        return described(value)
    if isinstance(value, PurePath):
        return shown(str(value))
    if type(value) in (list, tuple) and isinstance(value, (list, tuple)):
        if len(value) > LONGEST_LIST:
            return HIDDEN
        return [shown(each) if type(each) in PLAIN else HIDDEN for each in value]
    return shown(value) if type(value) in PLAIN else HIDDEN


def shown(value: Any) -> Any:
    """A text no longer than a line should be; anything else as it is."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}…"
    return value


def described(error: BaseException) -> str:
    """Type and message of an error of the tree; type and place of any other."""
    if isinstance(error, TacitaError):
        return f"{type(error).__name__}: {error}"
    # Foreign errors may quote values; where it happened is all that is said.
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno}"


class Forwarding(logging.Handler):
    """Has what a library says through `logging` appear in a daemon's log.

    logging.getLogger("uvicorn").addHandler(Forwarding(log)). Messages are texts of the library's,
    kept from WARNING on and otherwise only under `debug`; exceptions are described as all others.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: Mapping[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            # The text next to an exception quotes it, more often than not.
            self._log.error("a library failed", error=record.exc_info[1], **fields)
        elif record.levelno >= logging.ERROR:
            self._log.error(record.getMessage(), **fields)
        elif record.levelno >= logging.WARNING:
            self._log.warning(record.getMessage(), **fields)
        else:
            self._log.debug(record.getMessage(), **fields)
