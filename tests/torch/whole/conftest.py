"""Those who compute whole networks: two holders or three, and a dealer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tacita.runtime.embedded import EmbeddedSession
from tacita.torch.whole.model import SharedModel

# So that the tests of this folder can import what they share from beside them.
sys.path.insert(0, str(Path(__file__).parent))

NAMES = ("alice", "bob", "carol")


@pytest.fixture(params=[2, 3], ids=["two", "three"])
def group(request, workers):
    """The holders, and whoever deals for them, as `share` takes them."""
    return [workers[name] for name in NAMES[: request.param]], workers["dan"]


@pytest.fixture
def share(group):
    """share(model): among two holders, then among three."""
    holders, dealer = group

    def shared(model, **options):
        return model.share(*holders, crypto_provider=dealer, **options)

    return shared


@pytest.fixture
def open_session():
    """open_session(parties=2, limit=5.0): a session of its own, closed at the end."""
    opened = []

    def start(parties=2, *, limit=5.0, checked=False):
        opened.append(EmbeddedSession(NAMES[:parties], "dealer", limit=limit, checked=checked))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


@pytest.fixture
def deploy(open_session):
    """deploy(model, parties=2, limit=5.0): the model shared in a session of its own."""

    def deployed(model, parties=2, *, limit=5.0):
        return SharedModel(model, open_session(parties, limit=limit, checked=model.checked))

    return deployed
