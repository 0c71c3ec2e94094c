"""Sessions that end with their test, and ways to meddle with what roles send each other."""

import sys
from pathlib import Path

import pytest

from tacita.runtime import embedded
from tacita.runtime.dealer import Dealer
from tacita.runtime.embedded import EmbeddedSession

sys.path.insert(0, str(Path(__file__).parent))

NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def open_session():
    """open_session(parties=2, limit=5.0, dealer="dealer"): a session that is closed at the end."""
    opened = []

    def start(parties=2, *, limit=5.0, dealer="dealer", **options):
        opened.append(EmbeddedSession(NAMES[:parties], dealer, limit=limit, **options))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


@pytest.fixture
def dealers(monkeypatch):
    """The dealers of the sessions that a test opens, in order."""
    made = []

    def keep(*arguments, **options):
        made.append(Dealer(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(embedded, "Dealer", keep)
    return made
