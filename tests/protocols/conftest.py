"""Sessions of two and of three parties that all protocol tests share."""

import sys
from pathlib import Path

import pytest

from tacita.errors import PeerError
from tacita.runtime.embedded import EmbeddedSession

# So that the tests of this folder can import what they share from beside them.
sys.path.insert(0, str(Path(__file__).parent))

NAMES = ("alice", "bob", "carol")
LIMIT = 10.0  # seconds; a role that waits longer has lost its peer


class Sessions:
    """One session for each number of parties and protocol for comparisons; another one where a
    failure has ended it."""

    def __init__(self):
        self._open = {}

    def of(self, parties, protocol="tables"):
        session = self._open.get((parties, protocol))
        if session is None or not lives(session):
            session = EmbeddedSession(NAMES[:parties], "dealer", protocol=protocol, limit=LIMIT)
            self._open[parties, protocol] = session
        return session

    def close(self):
        for session in self._open.values():
            session.close()


def lives(session):
    try:
        session.settle()
    except PeerError:
        return False
    return True


@pytest.fixture(scope="session")
def sessions():
    shared = Sessions()
    yield shared
    shared.close()


@pytest.fixture(params=[2, 3], ids=["two", "three"])
def session(request, sessions):
    return sessions.of(request.param)
