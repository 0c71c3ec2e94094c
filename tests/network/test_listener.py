"""Listening: ports, what becomes of refused peers, and the end."""

import os
import socket
import threading

import pytest

from tacita.errors import ConfigError, PeerFailed, Refused, TacitaError
from tacita.network.address import Address
from tacita.network.dialer import Dialer
from tacita.network.frames import Limits
from tacita.network.listener import Listener

LIMIT = 30.0
LOCAL = Address("127.0.0.1", 0)


def test_the_port_is_the_one_the_system_chose(serve):
    server = serve()
    assert server.address.port != 0
    assert server.listener.address == server.address


def test_a_taken_port_is_a_config_error(serve, identities):
    server = serve()
    other = Listener(server.address, identities("party", "alice"), lambda _: None)
    with pytest.raises(ConfigError, match=f"cannot listen at {server.address}"):
        other.start()
    other.close()


def test_many_peers_at_once(serve, identities, background, stack):
    server = serve(at_once=2)
    names = ["bob", "carol", "dave", "erin", "frank", "grace"]
    dialers = [
        stack(Dialer(server.address, "party", "alice", identities("party", name))) for name in names
    ]
    links = [background(dialer.link, LIMIT) for dialer in dialers]
    assert all(link.result().usable for link in links)
    seen = {server.links.get(timeout=LIMIT).peer.name for _ in names}
    assert seen == set(names)


def test_silent_peers_are_waited_for_at_most_so_long(serve, identities, stack):
    """They fill every place there is; whoever comes after them gets one when their time is over."""
    server = serve(Limits(handshake=0.5, farewell=0.1), at_once=2)
    for _ in range(4):
        stack(socket.create_connection((server.address.host, server.address.port), LIMIT))
    dialer = stack(Dialer(server.address, "party", "alice", identities("party", "bob")))
    assert dialer.link(LIMIT).usable


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Refused("no links with clients"), "no links with clients"),
        (KeyError("x"), "this side failed"),
    ],
)
def test_a_link_that_is_not_wanted_ends_with_the_reason(identities, stack, until, error, told):
    def refuse(link):
        raise error

    refused = []
    listener = stack(
        Listener(
            LOCAL,
            identities("party", "alice"),
            refuse,
            refused=lambda _, why: refused.append(why),
        )
    )
    dialer = stack(Dialer(listener.start(), "party", "alice", identities("client", "mallory")))
    with pytest.raises(PeerFailed, match=f"party:alice closed the link: {told}"):
        dialer.link(LIMIT).open(os.urandom(16)).receive(LIMIT)
    if isinstance(error, TacitaError):
        until(lambda: refused == [error])


def test_an_acceptor_that_fails_costs_the_stream_alone(identities, stack):
    def take(stream):
        raise Refused("no such session") if stream.id[0] else KeyError(stream.id)

    listener = stack(Listener(LOCAL, identities("party", "alice"), lambda _: take))
    dialer = stack(Dialer(listener.start(), "party", "alice", identities("party", "bob")))
    link = dialer.link(LIMIT)
    with pytest.raises(PeerFailed, match="closed the stream: no such session"):
        link.open(b"\1" * 16).receive(LIMIT)
    with pytest.raises(PeerFailed, match="closed the stream: it could not be taken"):
        link.open(b"\0" * 15 + b"\1").receive(LIMIT)
    assert link.usable


def test_closing_ends_links_and_threads(pair, until):
    assert pair.server.listener.links == [pair.far_link]
    pair.server.close("maintenance")
    pair.server.close()
    with pytest.raises(PeerFailed, match="party:alice closed the link: maintenance"):
        pair.near.receive(LIMIT)
    with pytest.raises(ConnectionError):
        socket.create_connection((pair.server.address.host, pair.server.address.port), 1)
    until(lambda: not any("listener at" in each.name for each in threading.enumerate()))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8442", Address("localhost", 8442)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),  # noqa: S104
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_addresses_are_read_and_written(text, address):
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:port", "::1:80", "[::1]", "host:65536", "host:-1", "a b:1",
     "http://host:1", "host:1/", "host:٣", "[[::1]]:1"],
)  # fmt: skip
def test_what_is_no_address_is_a_config_error(text):
    with pytest.raises(ConfigError):
        Address.parse(text)
