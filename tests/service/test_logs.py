"""Logs: lines that programs can read, and never a value."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from tacita.errors import ConfigError, MaterialError, PeerTimeout
from tacita.service.logs import HIDDEN, LONGEST_TEXT, Forwarding, described, logger


class Lines:
    """A logger and the lines that it wrote."""

    def __init__(self, **options):
        self.stream = io.StringIO()
        self.log = logger("party:alice", stream=self.stream, **options)

    @property
    def found(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def one(self, **fields):
        self.log.info("noted", **fields)
        return self.found[-1]


def test_a_line():
    lines = Lines()
    lines.log.bind(query="ab" * 16).info("query done", model="resnet20", rounds=31, seconds=0.25)
    (line,) = lines.found
    assert list(line)[:4] == ["time", "level", "role", "event"]
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "role": "party:alice",
        "event": "query done",
        "query": "ab" * 16,
        "model": "resnet20",
        "rounds": 31,
        "seconds": 0.25,
    }


def test_fields_are_bound_to_one_logger_alone():
    lines = Lines()
    lines.log.bind(query="ab").warning("one")
    lines.log.error("other")
    assert [line.get("query") for line in lines.found] == ["ab", None]
    assert [line["level"] for line in lines.found] == ["warning", "error"]


@pytest.mark.parametrize(
    "value", ["text", 3, 2.5, True, None, [1, "two", 3.0, False, None], [], "ümlaut"]
)
def test_what_is_plain_is_shown(value):
    assert Lines().one(field=value)["field"] == value


class Quoting:
    def __repr__(self):
        return "secret 12345"


class Number(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        b"secret",
        bytearray(b"secret"),
        memoryview(b"secret"),
        np.full(3, 12345, np.uint64),
        np.uint64(12345),
        np.float64(12345),
        torch.tensor([12345]),
        torch.tensor(12345.0),
        {"key": 12345},
        {12345},
        Quoting(),
        Number(12345),
        [12345] * 17,
        2.5 + 12345j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_be_a_value_is_hidden(value):
    lines = Lines()
    assert lines.one(field=value)["field"] == HIDDEN
    nested = lines.one(field=["text", value])["field"]
    assert nested == ["text", HIDDEN]
    lines.log.bind(field=value).info(value)
    assert (lines.found[-1]["field"], lines.found[-1]["event"]) == (HIDDEN, HIDDEN)
    assert "12345" not in lines.stream.getvalue()
    assert "secret" not in lines.stream.getvalue()


def test_paths_and_long_texts():
    line = Lines().one(path=Path("/data/stock"), text="x" * (LONGEST_TEXT + 1))
    assert line["path"] == "/data/stock"
    assert line["text"] == "x" * LONGEST_TEXT + "…"


def test_a_text_that_would_be_a_line_of_its_own():
    lines = Lines()
    lines.log.info('noted\n{"event": "forged"}', field="\n{}")
    assert len(lines.found) == 1


def failing():
    raise ValueError("quotes 12345")


def test_errors():
    lines = Lines()
    assert lines.one(error=PeerTimeout("bob did not answer"))["error"] == (
        "PeerTimeout: bob did not answer"
    )
    with pytest.raises(ValueError, match="quotes") as caught:
        failing()
    text = lines.one(error=caught.value)["error"]
    assert text.startswith("ValueError in failing, ")
    assert Path(__file__).name in text
    assert lines.one(error=KeyError("12345"))["error"] == "KeyError"
    assert lines.one(errors=[KeyError("12345")])["errors"] == [HIDDEN]
    assert "12345" not in lines.stream.getvalue()


def test_an_error_that_is_being_handled():
    lines = Lines()
    try:
        failing()
    except ValueError:
        lines.log.error("failed", exc_info=True)
    (line,) = lines.found
    assert line["error"].startswith("ValueError in failing, ")
    assert "12345" not in lines.stream.getvalue()


def failing_with_a_cause():
    try:
        failing()
    except ValueError as error:
        raise MaterialError("the file cannot be read") from error


def test_causes_are_not_quoted():
    with pytest.raises(MaterialError) as caught:
        failing_with_a_cause()
    assert described(caught.value) == "MaterialError: the file cannot be read"


def test_levels():
    lines = Lines(level="warning")
    for level in ("debug", "info", "warning", "error"):
        getattr(lines.log, level)("noted")
    assert [line["level"] for line in lines.found] == ["warning", "error"]
    with pytest.raises(ConfigError, match="no log level 'loud'; use one of debug, info"):
        Lines(level="loud")


def test_for_people():
    lines = Lines(pretty=True)
    lines.log.info("query done", model="resnet20", share=b"secret")
    (line,) = lines.stream.getvalue().splitlines()
    assert "query done" in line
    assert "model=resnet20" in line
    assert HIDDEN in line
    assert "secret" not in line


def test_what_libraries_say():
    lines = Lines(level="debug")
    theirs = logging.Logger("uvicorn.error")
    theirs.addHandler(Forwarding(lines.log))
    theirs.info("started on %s", "port 1")
    theirs.warning("slow")
    theirs.error("bad")
    try:
        failing()
    except ValueError:
        theirs.exception("it quotes 12345 too")
    assert [(line["level"], line["event"]) for line in lines.found] == [
        ("debug", "started on port 1"),
        ("warning", "slow"),
        ("error", "bad"),
        ("error", "a library failed"),
    ]
    assert {line["logger"] for line in lines.found} == {"uvicorn.error"}
    assert lines.found[-1]["error"].startswith("ValueError in failing")
    assert "12345" not in lines.stream.getvalue()
