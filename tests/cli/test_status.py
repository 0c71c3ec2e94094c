"""`tacita status`: what it makes of what the parties say."""

import pytest

from tacita.cli import status
from tacita.client.async_client import PartyStatus

WHY = "data/checkpoints/00ff was altered: \x1b[31m; restore it"


@pytest.fixture
def told(monkeypatch):
    """told(details): what bob says of itself."""
    said = []

    class Told:
        def __init__(self, path):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def status(self):
            return [PartyStatus("bob", "https://bob.test", 0.1, details) for details in said]

    monkeypatch.setattr(status, "Client", Told)
    return said.append


def test_files_that_cannot_be_read_are_named(run, told):
    told({"seconds": 1, "links": {"alice": True}, "models": [], "unreadable": [WHY]})
    result = run("status")
    assert result.exit_code == 0
    assert "bob cannot read what was saved: data/checkpoints/00ff was altered" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("unreadable", [None, [], "no list"])
def test_otherwise_nothing_is_said(run, told, unreadable):
    told({"seconds": 1, "unreadable": unreadable})
    assert "cannot read" not in run("status").stderr
