"""Which queries are charged for the batch that they have cost: those that were not everywhere."""

import pytest

from tacita.errors import (
    AuditFailed,
    Busy,
    ComeBack,
    ConfigError,
    MaterialError,
    NotReady,
    PeerFailed,
    PeerTimeout,
    Refused,
    ShapeError,
    UnknownModel,
)
from tacita.service.desk import Desk, declined, not_everywhere


def as_the_leader_hears_it(error):
    """From bob, whose part of the run ends with what its desk has been told."""
    desk = Desk()
    desk.decline(b"query", declined("bob", "query", error))
    with pytest.raises(PeerFailed) as caught:
        desk.claim(b"query", 30.0)
    return PeerFailed(f"bob stopped: PeerFailed: {caught.value}")


@pytest.mark.parametrize(
    "error",
    [
        Refused("the policy does not let client:carol do this"),
        ComeBack("too often", 1.0),
        ShapeError("'x' has shape (2,), not (3,)"),
        UnknownModel("there is no model 'm'"),
    ],
)
def test_what_the_client_sent_to_one_party_is_charged(error):
    heard = as_the_leader_hears_it(error)
    assert str(error) in str(heard)
    assert not_everywhere(heard)


@pytest.mark.parametrize(
    "error",
    [
        Busy("8 queries are being worked on; try again"),
        NotReady("this party is shutting down"),
        AuditFailed("the disk is full"),
        MaterialError("a file is cut"),
        ConfigError("policy.toml: this is no policy"),
        PeerFailed("dana is not there"),
        PeerTimeout("the other parties did not take up the query within 1 s"),
        RuntimeError("anything"),
    ],
)
def test_what_prevents_a_party_is_not_charged(error):
    assert not not_everywhere(as_the_leader_hears_it(error))


def test_what_the_client_did_not_send_at_all_is_charged():
    with pytest.raises(PeerTimeout) as caught:
        Desk().claim(b"query", 0.0)
    assert not_everywhere(caught.value)
