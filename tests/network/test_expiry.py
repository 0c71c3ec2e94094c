"""Links end when the certificate of whoever is at the other end does."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tacita.errors import PeerError, PeerFailed
from tacita.network import link as links
from tacita.network.authority import create_authority, issue
from tacita.network.dialer import Dialer
from tacita.network.identity import expiry_of
from tacita.network.listener import Listener
from tacita.network.tls import certificate_in

from .conftest import LIMIT, LOCAL, QUICK

DAY = timedelta(days=1)
LONGEST_LIFE = 64.0  # seconds of a certificate, where the machine is slow


@pytest.fixture
def authority(tmp_path):
    create_authority(tmp_path / "ca", "the tests")
    return tmp_path


def credentials(folder, authority, name, life=None):
    """A party's certificate for a day, or for so many seconds from now."""
    start = None if life is None else datetime.now(UTC) - DAY + timedelta(seconds=life)
    return issue(authority, "party", name, out=folder, days=1, start=start)


def short_link(folder, stack, short):
    """A link, at both ends, of whom `short` has a certificate for a few seconds: as few as this
    machine needs to make a link in that time."""
    life = 2.0
    while True:
        lives = {name: life if name == short else None for name in ("alice", "bob")}
        theirs = {
            name: credentials(folder / str(life), folder / "ca", name, lives[name])
            for name in lives
        }
        accepted = []

        def take(link, into=accepted):
            into.append(link)
            return lambda _: None

        listener = Listener(LOCAL, theirs["alice"], take, QUICK)
        dialer = Dialer(listener.start(), "party", "alice", theirs["bob"], lambda _: None, QUICK)
        stack(listener)
        stack(dialer)
        try:
            near = dialer.link(LIMIT)
            near.round_trip(LIMIT)
            return near, accepted[0], theirs
        except PeerError:
            life *= 2
            assert life <= LONGEST_LIFE


def ended(link, limit=LONGEST_LIFE):
    """Why it ended, which does not need anybody to send anything."""
    with pytest.raises(PeerFailed) as failed:
        link.open(os.urandom(16)).receive(limit)
    return str(failed.value)


def keep_asking(link):
    while True:
        link.round_trip(LONGEST_LIFE)


@pytest.mark.parametrize("short", ["bob", "alice"])
def test_both_ends_learn_that_a_certificate_has_expired(authority, stack, short):
    near, far, theirs = short_link(authority, stack, short)
    here, there = (far, near) if short == "bob" else (near, far)
    assert f"the certificate of party:{short} has expired" in ended(here)
    assert f"the certificate of party:{short} has expired" in ended(there)
    assert datetime.now(UTC) >= certificate_in(theirs[short].certificate).not_valid_after_utc


def test_traffic_does_not_keep_it(authority, stack):
    near, far, _ = short_link(authority, stack, "bob")
    with pytest.raises(PeerError, match="has expired"):
        keep_asking(near)
    assert not far.usable


def test_a_link_may_wait_longer_than_the_reader_does_at_once(pair, monkeypatch):
    """Whatever the certificate's life, a poll is short, and the reader goes on."""
    monkeypatch.setattr(links, "LONGEST_WAIT", 0.01)
    pair.link.round_trip(LIMIT)
    first, second = pair.streams()
    with pytest.raises(PeerError, match="sent nothing"):
        first.receive(0.1)
    assert pair.link.usable
    assert second.link.usable
    pair.link.round_trip(LIMIT)


def test_the_last_moment_of_a_certificate(authority):
    made = credentials(authority, authority / "ca", "carol", 1000)
    found = certificate_in(made.certificate)
    assert expiry_of(found.public_bytes(Encoding.DER)) == found.not_valid_after_utc
