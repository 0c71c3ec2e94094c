"""Peers that break the rules: the error says which, their link ends, and the others go on."""

import os
import socket
import ssl
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tacita.errors import CredentialError, FrameError, PeerFailed, PeerTimeout
from tacita.network import frames
from tacita.network.authority import create_authority, issue
from tacita.network.dialer import Dialer
from tacita.network.frames import FIRST, LAST, LINK_STREAM, FrameKind, Limits
from tacita.runtime.transport import Message

LIMIT = 30.0
STREAM = b"a stream's id  ."
SMALL = Limits(window=1 << 16, message=1 << 20, header=1 << 12, arrays=16, handshake=LIMIT)


def head(kind="open", header=b"", shapes=()):
    data = msgspec.msgpack.encode((kind, header, shapes))
    return len(data).to_bytes(4, "little") + data


def good(count=0):
    return head(shapes=[[count]]) + bytes(8 * count)


@pytest.fixture
def check_good_peer(identities, stack):
    """check_good_peer(server): bob is served as if nothing had happened."""

    def check(server):
        while not server.streams.empty():
            server.streams.get()
        dialer = stack(Dialer(server.address, "party", "alice", identities("party", "bob")))
        near = dialer.link(LIMIT).open(os.urandom(16))
        near.send(Message("open", b"hello"), LIMIT)
        far = server.streams.get(timeout=LIMIT)
        assert far.receive(LIMIT).header == b"hello"
        far.send(Message("open", b"hello back"), LIMIT)
        assert near.receive(LIMIT).header == b"hello back"

    return check


def opened(peer):
    peer.frame(FrameKind.OPEN, STREAM, b"", 0)


def data(peer, payload, sequence=1, flags=FIRST | LAST):
    peer.frame(FrameKind.DATA, STREAM, payload, sequence, flags)


def garbage(peer):
    peer.send(b"GET / HTTP/1.1\r\nHost: alice\r\n\r\n")


def another_version(peer):
    frame = bytearray(frames.header(FrameKind.OPEN, 0, STREAM, 0, 0))
    frame[frames.VERSION_AT] = 7
    peer.send(bytes(frame))


def unknown_kind(peer):
    frame = bytearray(frames.header(FrameKind.OPEN, 0, STREAM, 0, 0))
    frame[5] = 77
    peer.send(bytes(frame))


def long_frame(peer):
    peer.send(frames.HEADER.pack(2**32 - 1, 1, 3, 3, 0, STREAM, 0))


def second_hello(peer):
    hello = frames.encode_hello(frames.Hello("0", 1, 1))
    peer.frame(FrameKind.HELLO, LINK_STREAM, hello, 1)


def never_opened(peer):
    data(peer, good(), 0)


def credit_of_nobody(peer):
    peer.frame(FrameKind.CREDIT, STREAM, bytes(8), 0)


def opened_late_in_sequence(peer):
    peer.frame(FrameKind.OPEN, STREAM, b"", 3)


def skipped_sequence(peer):
    opened(peer)
    data(peer, good(), 2)


def replayed_frame(peer):
    opened(peer)
    data(peer, good(3), 1)
    data(peer, good(3), 1)


def replayed_ping(peer):
    peer.frame(FrameKind.PING, LINK_STREAM, bytes(8), 1)
    peer.frame(FrameKind.PING, LINK_STREAM, bytes(8), 1)


def piece_of_no_message(peer):
    opened(peer)
    data(peer, good(), flags=LAST)


def first_piece_twice(peer):
    opened(peer)
    data(peer, good(8)[:20], flags=FIRST)
    data(peer, good(8)[20:], 2, flags=FIRST | LAST)


def cut_message(peer):
    opened(peer)
    data(peer, good(8)[:-1])


def words_too_many(peer):
    opened(peer)
    data(peer, good(8) + bytes(1))


def head_that_does_not_decode(peer):
    opened(peer)
    data(peer, b"\x03\0\0\0abc")


def long_head(peer):
    opened(peer)
    data(peer, b"\xff\xff\xff\x7f", flags=FIRST)


def huge_shape(peer):
    opened(peer)
    data(peer, head(shapes=[[2**60]]))


def huge_shapes(peer):
    opened(peer)
    data(peer, head(shapes=[[1 << 16]] * 3))


def shape_that_overflows(peer):
    opened(peer)
    data(peer, head(shapes=[[2**32, 2**32]]))


def huge_but_empty(peer):
    opened(peer)
    data(peer, head(shapes=[[2**62, 2**62, 0]]))


def many_arrays(peer):
    opened(peer)
    data(peer, head(shapes=[[]] * 17))


def unknown_message(peer):
    opened(peer)
    data(peer, head(kind="evaluate"))


def more_than_the_window(peer):
    opened(peer)
    for sequence in range(1, 10):
        data(peer, good(1 << 10), sequence)


def credit_for_nothing(peer):
    opened(peer)
    peer.frame(FrameKind.CREDIT, STREAM, frames.encode_number(1), 1)


def no_credit(peer):
    opened(peer)
    peer.frame(FrameKind.CREDIT, STREAM, bytes(8), 1)


OFFENCES = {
    garbage: "a frame of format version 47; this is version 1",
    another_version: "a frame of format version 7; this is version 1",
    unknown_kind: "a frame of the unknown kind 77",
    long_frame: "a DATA frame with 4294967271 bytes of payload; it has 1 to 262144",
    second_hello: "a second HELLO",
    never_opened: "a DATA frame of stream .*, which was never opened",
    credit_of_nobody: "a CREDIT frame of stream .*, which was never opened",
    opened_late_in_sequence: "an? OPEN frame of stream .* with the sequence number 3; 0 was due",
    skipped_sequence: "a DATA frame of stream .* with the sequence number 2; 1 was due",
    replayed_frame: "a DATA frame of stream .* with the sequence number 1; 2 was due",
    replayed_ping: "a PING frame of stream .* with the sequence number 1; 2 was due",
    piece_of_no_message: "a piece of no message",
    first_piece_twice: "a first piece within a message",
    cut_message: "a 'open' message whose arrays take 64 bytes ends after 63",
    words_too_many: "1 bytes after the end of a 'open' message",
    head_that_does_not_decode: "a message head that does not decode",
    long_head: "a message head of 2147483647 bytes; the limit is",
    huge_shape: "array 0 of a 'open' message has dimensions over the limit of 1048576",
    huge_shapes: "a 'open' message of 15728.. bytes; the limit is 1048576",
    shape_that_overflows: "array 0 of a 'open' message has dimensions over the limit",
    huge_but_empty: "array 0 of a 'open' message has dimensions over the limit",
    many_arrays: "a 'open' message has 17 arrays; the limit is 16",
    unknown_message: "a message of the unknown kind 'evaluate'",
    more_than_the_window: "a message of .* bytes while .* wait; the window is 65536",
    credit_for_nothing: "a CREDIT of 1 bytes, when 0 were outstanding",
    no_credit: "a CREDIT of 0 bytes",
}


def receive_all(stream):
    while True:
        stream.receive(LIMIT)


@pytest.mark.parametrize(
    ("offend", "told"), OFFENCES.items(), ids=[offend.__name__ for offend in OFFENCES]
)
def test_a_peer_that_breaks_the_format_loses_its_link(
    serve, raw, until, check_good_peer, offend, told
):
    server = serve(SMALL)
    peer = raw(server).greet()
    link = server.links.get(timeout=LIMIT)
    offend(peer)
    until(lambda: not link.usable)
    assert isinstance(link._error, FrameError)
    peer_was_told = peer.farewell()
    peer.close()
    with pytest.raises(FrameError, match=f"^client:mallory sent {told}"):
        link.round_trip(LIMIT)
    assert link.why == f"client:mallory sent {peer_was_told}"
    if not server.streams.empty():
        stream = server.streams.get()
        with pytest.raises(FrameError, match=told):
            receive_all(stream)
        with pytest.raises(FrameError, match=told):
            stream.send(Message("open"), LIMIT)
    check_good_peer(server)


def test_a_second_open_costs_the_stream_alone(serve, raw, check_good_peer):
    server = serve()
    peer = raw(server).greet()
    link = server.links.get(timeout=LIMIT)
    opened(peer)
    stream = server.streams.get(timeout=LIMIT)
    opened(peer)
    with pytest.raises(FrameError, match=r"client:mallory opened stream .* a second time"):
        stream.receive(LIMIT)
    frame, reason = peer.next()
    assert (frame.kind, frame.stream, reason) == (
        FrameKind.CLOSE, STREAM, b"this stream id was used before",
    )  # fmt: skip
    opened(peer)  # of a stream that has ended: dropped, as is what follows
    data(peer, good(), 1)
    peer.frame(FrameKind.PING, LINK_STREAM, b"8 bytes.", 1)
    frame, payload = peer.next()
    assert (frame.kind, payload) == (FrameKind.PONG, b"8 bytes.")
    assert link.usable
    assert link.late_frames == 3
    check_good_peer(server)


def test_announced_memory_is_not_taken_before_the_bytes_come(serve, raw):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the system does not say how much memory is in use")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    server = serve(Limits(message=1 << 30, window=1 << 31, handshake=LIMIT))
    peer = raw(server).greet()
    before = resident()
    for number in range(1, 4):
        stream = bytes([number] * 16)
        peer.frame(FrameKind.OPEN, stream, b"", 0)
        peer.frame(FrameKind.DATA, stream, head(shapes=[[(1 << 27) - 100]]) + b"x", 1, FIRST)
    peer.frame(FrameKind.PING, LINK_STREAM, bytes(8), 1)
    assert peer.next()[0].kind is FrameKind.PONG
    assert resident() - before < 256 << 20  # of 3 GiB; huge pages take 2 MiB each


def test_a_peer_that_hangs_up_in_a_frame(serve, raw, until, check_good_peer):
    server = serve()
    peer = raw(server).greet()
    link = server.links.get(timeout=LIMIT)
    opened(peer)
    stream = server.streams.get(timeout=LIMIT)
    peer.send(frames.header(FrameKind.DATA, FIRST, STREAM, 1, 1000) + good(90)[:50])
    peer.close()
    with pytest.raises(
        PeerFailed, match=r"client:mallory ended the connection|connection to client"
    ):
        stream.receive(LIMIT)
    assert not link.usable
    check_good_peer(server)


def ping_on(peer):
    for first in range(1, 1 << 22, 1000):
        peer.send(
            b"".join(
                frames.header(FrameKind.PING, 0, LINK_STREAM, number, 8) + bytes(8)
                for number in range(first, first + 1000)
            )
        )


def test_a_peer_that_never_reads(serve, raw, until):
    """PINGs are answered, but not without end where nobody takes the answers."""
    server = serve(Limits(handshake=LIMIT, farewell=0.05))
    peer = raw(server).greet()
    link = server.links.get(timeout=LIMIT)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        ping_on(peer)
    until(lambda: not link.usable)
    assert link.why == "client:mallory does not read what it is sent"


# ---- before the first frame ----------------------------------------------------------------------


def hello_bytes(version=1, payload=None):
    payload = frames.encode_hello(frames.Hello("0.0.9", 1, 1)) if payload is None else payload
    frame = bytearray(frames.header(FrameKind.HELLO, 0, LINK_STREAM, 0, len(payload)))
    frame[frames.VERSION_AT] = version
    return bytes(frame) + payload


GREETINGS = {
    "another version": (hello_bytes(2), "format version 2; this is tacita .* with format version"),
    "no version": (b"GET / HTTP/1.1\r\nHost: alice\r\n\r\n", "format version 47; this is tacita"),
    "no HELLO": (frames.header(FrameKind.OPEN, 0, STREAM, 0, 0), "OPEN frame before its HELLO"),
    "a bad HELLO": (hello_bytes(payload=b"\xc1"), "a HELLO that does not decode"),
    "a window of 0": (hello_bytes(payload=b"\x93\xa10\x00\x01"), "a HELLO that does not decode"),
}  # fmt: skip


@pytest.mark.parametrize(("greeting", "told"), GREETINGS.values(), ids=GREETINGS)
def test_a_wrong_greeting_is_refused(serve, raw, check_good_peer, greeting, told):
    server = serve()
    peer = raw(server)
    peer.send(greeting)
    peer_was_told = peer.farewell()
    peer.close()
    error = server.refused.get(timeout=LIMIT)
    assert str(error) == f"client:mallory sent {peer_was_told}"
    assert isinstance(error, FrameError)
    with pytest.raises(FrameError, match=f"client:mallory sent .*{told}"):
        raise error
    check_good_peer(server)


def refusal(server, kind, told):
    error = server.refused.get(timeout=LIMIT)
    with pytest.raises(kind, match=told):
        raise error
    assert type(error) is kind
    assert server.links.empty()


def test_silence_during_the_handshake(serve, identities, stack, check_good_peer):
    server = serve(Limits(handshake=0.2))
    plain = socket.create_connection((server.address.host, server.address.port), LIMIT)
    stack(plain)
    refusal(server, PeerTimeout, r"127.0.0.1:\d+ did not finish the TLS handshake in 0.2 s")
    server.listener._limits = Limits(handshake=LIMIT)
    check_good_peer(server)


def test_silence_instead_of_a_greeting(serve, raw, check_good_peer):
    server = serve(Limits(handshake=1.0))
    raw(server)
    refusal(server, PeerTimeout, "client:mallory sent no HELLO in time")
    server.listener._limits = Limits(handshake=LIMIT)
    check_good_peer(server)


def test_no_tls_at_all(serve, check_good_peer):
    server = serve()
    with socket.create_connection((server.address.host, server.address.port), LIMIT) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: alice\r\n\r\n" + bytes(4000))
        refusal(server, PeerFailed, "the TLS handshake failed: (wrong version|http request)")
    check_good_peer(server)


def test_hanging_up_during_the_handshake(serve, check_good_peer):
    server = serve()
    socket.create_connection((server.address.host, server.address.port), LIMIT).close()
    refusal(server, PeerFailed, "hung up during the TLS handshake|broke the connection")
    check_good_peer(server)


def test_an_older_tls(serve, identities, check_good_peer):
    server = serve()
    context = identities("client", "mallory").client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = socket.create_connection((server.address.host, server.address.port), LIMIT)
    with pytest.raises(ssl.SSLError), plain:
        context.wrap_socket(plain, server_hostname="alice.party.tacita")
    refusal(server, PeerFailed, "the TLS handshake failed: unsupported protocol")
    check_good_peer(server)


def test_no_certificate(serve, identities, check_good_peer):
    server = serve()
    context = ssl.create_default_context(cafile=identities("client", "mallory").authority)
    plain = socket.create_connection((server.address.host, server.address.port), LIMIT)
    peer = context.wrap_socket(plain, server_hostname="alice.party.tacita")
    with peer, pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        peer.recv(1)
    refusal(server, PeerFailed, "the TLS handshake failed: peer did not return a certificate")
    check_good_peer(server)


class Unchecked:
    """Credentials that do not look at their own dates and authority before they are used."""

    def __init__(self, own, authority):
        self.own, self.authority = own, authority

    def client_context(self):
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.own.certificate, self.own.key)
        return context


def test_a_certificate_of_another_authority(serve, identities, tmp_path, check_good_peer):
    server = serve()
    create_authority(tmp_path / "ca", "another")
    foreign = issue(tmp_path / "ca", "party", "bob", out=tmp_path / "bob")
    own = Unchecked(foreign, identities("client", "mallory").authority)
    dialer = Dialer(server.address, "party", "alice", own)
    with pytest.raises(PeerFailed, match=r"party:alice: TLS failed: .*(unknown ca|decrypt error)"):
        dialer.link(LIMIT)
    refusal(server, PeerFailed, "the certificate does not hold")
    honest = Dialer(server.address, "party", "alice", foreign)
    with pytest.raises(PeerFailed, match=r"party:alice at .* certificate does not hold"):
        honest.link(LIMIT)
    refusal(server, PeerFailed, "the TLS handshake failed: .*(unknown ca|decrypt error|alert)")
    check_good_peer(server)


def test_an_expired_certificate(serve, identities, tmp_path, check_good_peer):
    server = serve()
    authority = identities("client", "mallory").authority
    long_ago = datetime.now(UTC) - timedelta(days=100)
    old = issue(
        authority.parent.parent / "ca",
        "party",
        "bob",
        out=tmp_path / "bob",
        days=10,
        start=long_ago,
    )
    dialer = Dialer(server.address, "party", "alice", Unchecked(old, authority))
    with pytest.raises(PeerFailed, match=r"party:alice: TLS failed: .*certificate expired"):
        dialer.link(LIMIT)
    refusal(server, PeerFailed, "the certificate does not hold: certificate has expired")
    with pytest.raises(CredentialError, match="expired"):
        Dialer(server.address, "party", "alice", old).link(LIMIT)
    check_good_peer(server)


@pytest.mark.parametrize(("role", "name"), [("party", "carol"), ("dealer", "alice")])
def test_a_listener_that_is_somebody_else(serve, identities, check_good_peer, role, name):
    server = serve()
    dialer = Dialer(server.address, role, name, identities("party", "bob"))
    told = f"{role}:{name} at .*: the certificate does not hold: Hostname mismatch"
    with pytest.raises(PeerFailed, match=told):
        dialer.link(LIMIT)
    refusal(server, PeerFailed, "the TLS handshake failed: .*bad certificate")
    check_good_peer(server)
