"""Dialing: one link, made again when it has gone, and the limits of trying."""

import os
import socket

import pytest

from tacita.errors import ConfigError, CredentialError, PeerFailed, PeerTimeout, SessionClosed
from tacita.network.address import Address
from tacita.network.dialer import Dialer
from tacita.network.frames import Limits
from tacita.network.listener import Listener
from tacita.network.tls import Credentials

LIMIT = 30.0


@pytest.fixture
def dial(identities, stack):
    """dial(address): bob's dialer to alice there."""

    def make(address, **options):
        return stack(Dialer(address, "party", "alice", identities("party", "bob"), **options))

    return make


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return Address("127.0.0.1", listening.getsockname()[1])


def test_there_is_one_link_for_all(serve, dial, background):
    server = serve()
    dialer = dial(server.address)
    links = [background(dialer.link, LIMIT) for _ in range(8)]
    assert len({id(link.result()) for link in links}) == 1
    server.links.get(timeout=LIMIT)
    assert server.links.empty()


def test_a_link_that_has_gone_is_made_again(serve, dial, until):
    server = serve()
    dialer = dial(server.address)
    first = dialer.link(LIMIT)
    server.links.get(timeout=LIMIT).close("once more")
    until(lambda: not first.usable)
    second = dialer.link(LIMIT)
    assert second is not first
    second.open(os.urandom(16))
    assert server.streams.get(timeout=LIMIT).link.peer.name == "bob"


def test_nobody_there(dial):
    dialer = dial(free_port())
    with pytest.raises(PeerFailed, match=r"party:alice at 127.0.0.1:.* cannot be reached: "):
        dialer.link(0.2)
    with pytest.raises((PeerFailed, PeerTimeout), match="party:alice at"):
        dialer.link(0)


def test_it_waits_for_a_peer_that_comes_later(dial, identities, stack, background):
    address = free_port()
    dialer = dial(address)
    with pytest.raises(PeerFailed):
        dialer.link(0.1)
    waiting = [background(dialer.link, LIMIT) for _ in range(3)]
    listener = stack(Listener(address, identities("party", "alice"), lambda _: None))
    listener.start()
    links = [each.result() for each in waiting]
    assert links[0].usable
    assert links[0] is links[1] is links[2]


def test_a_peer_that_says_nothing(dial):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialer = dial(Address(*silent.getsockname()), limits=Limits(handshake=0.2))
        with pytest.raises(PeerTimeout, match=r"party:alice at .* TLS handshake in time"):
            dialer.link(LIMIT)


def test_our_own_files_are_our_own_mistake(serve, identities, tmp_path):
    bob = identities("party", "bob")
    dialer = Dialer(
        serve().address,
        "party",
        "alice",
        Credentials(bob.certificate, tmp_path / "no", bob.authority),
    )
    with pytest.raises(CredentialError, match="no"):
        dialer.link(LIMIT)
    with pytest.raises(ConfigError, match="Alice"):
        Dialer(Address("localhost", 1), "party", "Alice", bob)


def test_the_other_side_may_open_streams(serve, dial):
    server = serve()
    taken = []
    link = dial(server.address, accept=taken.append).link(LIMIT)
    far = server.links.get(timeout=LIMIT)
    far.open(b"x" * 16)
    far.round_trip(LIMIT)  # the answer comes after what was sent before
    assert [stream.id for stream in taken] == [b"x" * 16]
    assert taken[0].link is link


def test_closing_is_for_good(serve, dial, background, until):
    server = serve()
    dialer = dial(server.address)
    link = dialer.link(LIMIT)
    far = server.links.get(timeout=LIMIT)
    dialer.close("enough")
    dialer.close()
    assert not link.usable
    until(lambda: not far.usable)
    assert far.why == "party:bob closed the link: enough"
    with pytest.raises(SessionClosed, match="party:alice"):
        dialer.link(LIMIT)


def test_closing_wakes_those_who_wait(dial, background):
    dialer = dial(free_port())
    with pytest.raises(PeerFailed):
        dialer.link(0.3)
    waiting = background(dialer.link, LIMIT)
    dialer.close()
    with pytest.raises(SessionClosed):
        waiting.result()
