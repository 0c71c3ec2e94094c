"""Connections: who may connect, and what happens to those who send too much or too slowly."""

import http.client
import re
import socket
import ssl
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tacita.errors import ConfigError, CredentialError, PeerTimeout
from tacita.network.address import Address
from tacita.network.authority import AUTHORITY_KEY
from tacita.network.tensors import HEAD_LENGTH, encode_request
from tacita.network.tls import certificate_in, private_key_in
from tacita.service.front.connection import FRAMING, Connection
from tacita.service.front.serving import Front

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: alice\r\n\r\n"
INFER = b"POST /v2/models/doubling/infer HTTP/1.1\r\nHost: alice\r\n"


def closed(connection):
    """Whether the other side closes, without another word."""
    try:
        return connection.recv(1 << 16) == b""
    except (ssl.SSLZeroReturnError, ConnectionError):
        return True


def request_of(encoded, sent=None):
    headers, buffers = encoded
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return INFER + head.encode() + b"\r\n" + b"".join(buffers)[:sent]


# ---- certificates ------------------------------------------------------------------------------


def assert_refused(port, context, server="alice.party.tacita"):
    """With TLS 1.3, a client hears about its certificate only after its part of the handshake."""

    def ask():
        with (
            socket.create_connection(("127.0.0.1", port), 30) as plain,
            context.wrap_socket(plain, server_hostname=server) as tls,
        ):
            tls.sendall(LIVE)
            if not tls.recv(100):
                raise ConnectionResetError

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()


def trusting(files, credentials=None):
    context = ssl.create_default_context(cafile=files.carol.authority)
    if credentials is not None:
        context.load_cert_chain(credentials.certificate, credentials.key)
    return context


def test_no_certificate(front, files, engine):
    assert_refused(front.port, trusting(files))
    assert not engine.principals


@pytest.mark.parametrize("whose", ["foreign", "expired"])
def test_certificates_that_do_not_count(front, files, engine, whose):
    assert_refused(front.port, trusting(files, getattr(files, whose)))
    assert not engine.principals


def test_tls_1_2(front, files):
    context = trusting(files, files.carol)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert_refused(front.port, context)


def test_another_party_than_the_one_wanted(front, files):
    assert_refused(front.port, trusting(files, files.carol), "bob.party.tacita")


def test_those_contexts_are_fine_otherwise(front, files):
    with httpx.Client(verify=trusting(files, files.carol)) as client:
        url = f"https://127.0.0.1:{front.port}/v2/health/live"
        answer = client.get(url, extensions={"sni_hostname": "alice.party.tacita"})
    assert answer.status_code == 200


def stranger(files, folder, *names):
    """A certificate of the right authority that names no principal."""
    authority = certificate_in(files.carol.authority)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=authority.subject,
        subject_name=x509.Name([]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(hours=1),
    ).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    signed = builder.sign(private_key_in(files.own_authority / AUTHORITY_KEY), SHA256())
    pem = folder / "stranger.pem"
    pem.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return pem


@pytest.mark.parametrize(
    "names",
    [["carol.example"], ["carol.king.tacita"], ["carol.client.tacita", "dave.client.tacita"]],
)
def test_a_certificate_that_names_no_principal(front, files, engine, tmp_path, names):
    context = ssl.create_default_context(cafile=files.carol.authority)
    context.load_cert_chain(stranger(files, tmp_path, *names))
    with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{front.port}") as anybody:
        for path in ("/v2/health/live", "/v2/models/doubling", "/openapi.json", "/nowhere"):
            extensions = {"sni_hostname": "alice.party.tacita"}
            answer = anybody.get(path, extensions=extensions)
            assert answer.status_code == 401
            assert "certificate" in answer.json()["error"]
    assert not engine.principals


# ---- bodies ------------------------------------------------------------------------------------


def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(
    connect, files, answer_on, limits
):
    connection = connect(files.carol)
    length = limits.largest_query + 1
    connection.sendall(
        INFER + b"Content-Length: %d\r\n%s: 2\r\n\r\n" % (length, HEAD_LENGTH.encode())
    )
    status, headers, answer = answer_on(connection)
    assert (status, headers["connection"]) == (413, "close")
    assert f"{length} bytes; at most {limits.largest_query}" in answer["error"]


def test_a_body_that_is_too_large_without_declaring_it(client, limits, engine):
    sent = limits.largest_query + (1 << 17)
    pieces = (bytes(1 << 16) for _ in range(sent >> 16))
    answer = client.post("/v2/models/doubling/infer", headers={HEAD_LENGTH: "2"}, content=pieces)
    assert answer.status_code == 413
    assert f"more than {limits.largest_query}" in answer.json()["error"]
    assert client.infer().status_code == 200


def test_small_endpoints_take_small_bodies(client):
    for path in ("/v2/repository/index", "/v2/models/doubling/stock"):
        assert client.post(path, content=bytes(10_000)).status_code == 413


def test_a_body_that_does_not_come(connect, files, answer_on, serve, engine, limits, query, share):
    front = serve(engine, replace(limits, query_seconds=0.3))
    connection = connect(files.carol, front)
    connection.sendall(request_of(encode_request(query, [share()]), 100))
    status, _, answer = answer_on(connection)
    assert status == 408
    assert "0.3 s" in answer["error"]
    assert not engine.principals
    assert closed(connection)


def test_a_client_that_goes_away_while_it_sends(connect, client, files, engine, query, share):
    connection = connect(files.carol)
    connection.sendall(request_of(encode_request(query, [share()]), 100))
    connection.close()
    assert client.infer().status_code == 200  # the id was not used
    assert len(engine.queries) == 1


def test_a_client_that_goes_away_while_it_waits(connect, client, files, engine, query, share, wait):
    engine.gate = threading.Event()
    connection = connect(files.carol)
    connection.sendall(request_of(encode_request(query, [share()])))
    assert engine.entered.acquire(timeout=wait)
    connection.close()
    engine.gate.set()
    assert engine.finished.acquire(timeout=wait)  # the query came to its own end
    assert client.infer().status_code == 409
    assert client.infer(query=bytes(16)).status_code == 200


# ---- requests ----------------------------------------------------------------------------------


def test_connections_are_kept(connect, files, answer_on):
    connection = connect(files.carol)
    for _ in range(3):
        connection.sendall(LIVE)
        assert answer_on(connection)[0] == 200


def test_small_answers_do_not_wait_for_acknowledgements(connect, files, serve, engine, answer_on):
    front = serve(engine)
    connection = connect(files.carol, front)
    connection.sendall(LIVE)
    assert answer_on(connection)[0] == 200
    (accepted,) = front._server.server_state.connections
    taken = accepted.transport.get_extra_info("socket")
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\nhello\r\n\r\n",
        bytes(100) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ],
)
def test_what_is_no_http(connect, files, answer_on, garbage):
    connection = connect(files.carol)
    connection.sendall(garbage)
    status, headers, answer = answer_on(connection)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert set(answer) == {"error"}
    assert closed(connection)


def test_heads_that_are_too_long(connect, files, answer_on, limits):
    connection = connect(files.carol)
    long = b"x" * (2 * limits.head_bytes)
    connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: alice\r\nX: " + long)
    assert answer_on(connection)[0] == 400
    assert closed(connection)


def test_heads_that_do_not_come(connect, files, serve, engine, answer_on, limits):
    front = serve(engine, replace(limits, head_seconds=0.3))
    silent, slow = connect(files.carol, front), connect(files.carol, front)
    slow.sendall(LIVE)
    assert answer_on(slow)[0] == 200
    slow.sendall(LIVE[:10])
    assert closed(silent)
    assert closed(slow)


def test_idle_connections_end(connect, files, serve, engine, answer_on, limits):
    front = serve(engine, replace(limits, keep_alive_seconds=0.2))
    connection = connect(files.carol, front)
    connection.sendall(LIVE)
    assert answer_on(connection)[0] == 200
    assert closed(connection)


def test_old_connections_end(connect, files, serve, engine, limits):
    front = serve(engine, replace(limits, connection_seconds=0.2))
    assert closed(connect(files.carol, front))


def test_connections_beyond_the_limit_are_closed(connect, files, serve, engine, answer_on, limits):
    front = serve(engine, replace(limits, connections=2))
    kept = [connect(files.carol, front) for _ in range(2)]
    for each in kept:
        each.sendall(LIVE)
        assert answer_on(each)[0] == 200
    assert closed(connect(files.carol, front))
    kept[0].sendall(LIVE)
    assert answer_on(kept[0])[0] == 200


def test_handshakes_that_do_not_come(serve, engine, limits):
    front = serve(engine, replace(limits, handshake_seconds=0.3))
    with socket.create_connection(("127.0.0.1", front.port), 30) as silent:
        assert closed(silent)


# ---- starting and stopping ---------------------------------------------------------------------


def test_a_port_that_is_taken(front, files, engine, limits):
    other = Front(engine, Address("127.0.0.1", front.port), files.alice, limits, "1")
    with pytest.raises(ConfigError, match=re.escape(f"cannot listen on 127.0.0.1:{front.port}")):
        other.start()
    other.stop()


def test_credentials_that_are_not_there(files, engine, limits, tmp_path):
    broken = replace(files.alice, key=tmp_path / "alice.key")
    with pytest.raises(CredentialError, match=r"alice\.key"):
        Front(engine, Address("127.0.0.1", 0), broken, limits, "1")


def test_stopping_lets_queries_end(connect, files, serve, engine, answer_on, query, share, wait):
    front = serve(engine)
    engine.gate = threading.Event()
    connection = connect(files.carol, front)
    connection.sendall(request_of(encode_request(query, [share()])))
    assert engine.entered.acquire(timeout=wait)
    stopping = threading.Thread(target=front.stop)
    stopping.start()
    engine.gate.set()
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    connection.close()
    stopping.join(wait)
    assert not stopping.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", front.port), 5)


def test_stopping_does_not_wait_for_ever(connect, files, serve, engine, query, share, limits, wait):
    front = serve(engine, replace(limits, shutdown_seconds=0.3))
    engine.gate = threading.Event()
    connection = connect(files.carol, front)
    connection.sendall(request_of(encode_request(query, [share()])))
    assert engine.entered.acquire(timeout=wait)
    try:
        front.stop()
    except PeerTimeout:
        pytest.fail("the front waits for a query that does not end")
    finally:
        engine.gate.set()
    assert engine.finished.acquire(timeout=wait)


# ---- what the parser would let pass --------------------------------------------------------------

HEADS = {
    "no host": b"GET /v2 HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v2 HTTP/1.1\r\nHost: alice\r\nHost: bob\r\n\r\n",
    "an upgrade": (
        b"GET /v2 HTTP/1.1\r\nHost: alice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ),
    "a tunnel": b"CONNECT alice:1 HTTP/1.1\r\nHost: alice\r\n\r\n",
    "a space in a name": b"GET /v2 HTTP/1.1\r\nHost : alice\r\n\r\n",
    "a folded line": b"GET /v2 HTTP/1.1\r\nHost: alice\r\nX: a\r\n b\r\n\r\n",
    "two lengths": INFER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": INFER
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a strange coding": INFER + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "a length that is none": INFER + b"Content-Length: +1\r\n\r\na",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_that_could_be_read_in_two_ways(connect, files, answer_on, engine, head):
    connection = connect(files.carol)
    connection.sendall(head)
    status, headers, answer = answer_on(connection)
    assert (status, headers["connection"]) == (400, "close")
    assert set(answer) == {"error"}
    assert closed(connection)
    assert not engine.principals


def test_a_head_may_come_in_pieces(connect, files, answer_on):
    connection = connect(files.carol)
    for byte in LIVE:
        connection.sendall(bytes([byte]))
    assert answer_on(connection)[0] == 200


@pytest.mark.parametrize("line", [b"X: y\r\n", b"x"], ids=["many lines", "a long line"])
def test_heads_that_do_not_end(connect, files, answer_on, limits, line):
    """In pieces, none of which is too long."""
    connection = connect(files.carol)
    connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: alice\r\n")
    for _ in range(limits.head_bytes // 1000 + 1):
        connection.sendall(line * (1000 // len(line)))
    assert answer_on(connection)[0] == 400
    assert closed(connection)


CHUNKED = INFER + b"Transfer-Encoding: chunked\r\n" + HEAD_LENGTH.encode() + b": 2\r\n\r\n"


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nX: " + b"x" * 1000, b"0\r\n" + b"X: y\r\n" * 200, b"1;" + b"x" * 1000],
    ids=["a trailer", "trailers", "an extension"],
)
def test_what_stands_around_chunks_is_limited_too(
    connect, files, front, answer_on, limits, wait, endless
):
    connection = connect(files.carol)
    connection.sendall(CHUNKED)
    handlers, deadline = front._app.state.handlers, time.monotonic() + wait
    while not handlers._uploads and time.monotonic() < deadline:
        time.sleep(0.01)  # a body alone is due from now on
    connection.sendall(endless)
    sent = len(endless)
    while sent <= limits.head_bytes:
        connection.sendall(endless[-1000:])
        sent += 1000
    assert answer_on(connection)[0] == 400
    assert closed(connection)


@pytest.mark.parametrize("ahead", [0, 1, 100])
def test_an_extension_that_comes_with_its_chunk_is_limited_too(
    connect, files, answer_on, limits, ahead
):
    """Whatever else comes at once, a long extension is not of use."""
    useful = b"1\r\nx\r\n" * ahead
    # The chunks before it may have FRAMING bytes each beside what they carry, and have 5.
    long = b"2;" + b"x" * (limits.head_bytes + FRAMING * (ahead + 20)) + b"\r\nhi\r\n"
    connection = connect(files.carol)
    connection.sendall(CHUNKED + useful + long + b"0\r\n\r\n")
    status, headers, answer = answer_on(connection)
    assert (status, headers["connection"]) == (400, "close")
    assert "no HTTP request" in answer["error"]


def test_small_chunks_and_many_requests_are_fine(connect, files, answer_on, limits, share):
    """Of which what is not useful is many times as long as a head may be, all together."""
    connection = connect(files.carol)
    for number in range(3):
        headers, buffers = encode_request(bytes([number] * 16), [share()])
        headers = {name: value for name, value in headers.items() if name != "Content-Length"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = b"".join(buffers)
        pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        connection.sendall(
            INFER + head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        assert answer.status == 200
    for _ in range(limits.head_bytes // len(LIVE) + 1):
        connection.sendall(LIVE)
        assert answer_on(connection)[0] == 200


CODINGS = (b"gzip", b"xchunked", b"chunked, identity", b"gzip, chunked", b"identity", b"")


@pytest.mark.parametrize(
    "head",
    [
        *(b"HTTP/1.1\r\nTransfer-Encoding: " + coding for coding in CODINGS),
        b"HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"HTTP/1.0\r\nTransfer-Encoding: chunked",
    ],
)
def test_nobody_works_on_what_has_an_unknown_coding(
    connect, files, answer_on, monkeypatch, front, head
):
    begun = []
    monkeypatch.setattr(Connection, "_start_asgi_task", lambda *_: begun.append(1))
    connection = connect(files.carol)
    connection.sendall(b"GET /v2/status " + head + b"\r\nHost: alice\r\n\r\n0\r\n\r\n")
    assert answer_on(connection)[0] == 400
    assert closed(connection)
    assert not begun


def test_trailers_are_no_headers(connect, files, answer_on, query, share):
    headers, buffers = encode_request(query, [share()])
    body = b"".join(buffers)
    connection = connect(files.carol)
    connection.sendall(
        INFER + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body)
        + f"{HEAD_LENGTH}: {headers[HEAD_LENGTH]}\r\n\r\n".encode()
    )  # fmt: skip
    status, _, answer = answer_on(connection)
    assert status == 400
    assert "is missing" in answer["error"]


def test_a_connection_that_says_nothing_of_use_ends(
    connect, files, serve, engine, answer_on, limits
):
    """Lines that belong to no request, between requests."""
    front = serve(engine, replace(limits, head_seconds=0.3))
    connection = connect(files.carol, front)
    connection.sendall(LIVE)
    assert answer_on(connection)[0] == 200
    connection.sendall(b"\r\n")
    assert closed(connection)
