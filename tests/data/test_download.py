"""Downloads: whole and verified, or not at all."""

import datetime as dt
import hashlib
import http.server
import ipaddress
import ssl
import threading
import time

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile
from tacita.errors import DataError

FIRST, SECOND = "https://first.test/mnist/", "https://second.test/mnist/"
CONTENTS = {"a.gz": b"a" * 70_000, "b.gz": b"b" * 5}
FILES = [
    PublicFile(name, len(content), hashlib.sha256(content).hexdigest())
    for name, content in CONTENTS.items()
]


def downloader(respond, **limits):
    return Downloader((FIRST, SECOND), httpx.MockTransport(respond), **limits)


def serve(request):
    return httpx.Response(
        200, stream=httpx.ByteStream(CONTENTS[request.url.path.rsplit("/", 1)[1]])
    )


def assert_all_there(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS


def test_every_file_arrives_and_nothing_else_is_left(tmp_path):
    downloader(serve).fetch(FILES, tmp_path / "new" / "cache")
    assert_all_there(tmp_path / "new" / "cache")


def test_the_compressed_bytes_are_asked_for_without_a_coding_above_them(tmp_path):
    codings = []

    def respond(request):
        codings.append(request.headers["Accept-Encoding"])
        return serve(request)

    downloader(respond).fetch(FILES, tmp_path)
    assert set(codings) == {"identity"}


def test_an_altered_file_in_the_folder_is_replaced(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"altered")
    downloader(serve).fetch(FILES, tmp_path)
    assert_all_there(tmp_path)


def test_nothing_to_fetch_asks_nobody(tmp_path):
    def respond(request):
        raise AssertionError(request)

    downloader(respond).fetch([], tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: httpx.Response(404),
        lambda _: httpx.Response(302, headers={"Location": "https://elsewhere.test/"}),
        lambda name: httpx.Response(200, stream=httpx.ByteStream(CONTENTS[name][:-1])),
        lambda name: httpx.Response(200, stream=httpx.ByteStream(CONTENTS[name] + b"!")),
        lambda name: httpx.Response(200, stream=httpx.ByteStream(CONTENTS[name][:-1] + b"!")),
    ],
    ids=["missing", "redirected", "cut", "too long", "altered"],
)
def test_the_second_mirror_makes_good_what_the_first_spoils(tmp_path, fault):
    def respond(request):
        if request.url.host == "first.test":
            return fault(request.url.path.rsplit("/", 1)[1])
        return serve(request)

    downloader(respond).fetch(FILES, tmp_path)
    assert_all_there(tmp_path)


def test_wrong_bytes_from_every_mirror_are_an_error_and_leave_nothing(tmp_path):
    def respond(request):
        return httpx.Response(200, stream=httpx.ByteStream(b"?" * 70_000))

    with pytest.raises(DataError, match=r"a\.gz cannot be fetched: .*SHA-256") as caught:
        downloader(respond).fetch(FILES, tmp_path)
    assert not isinstance(caught.value, OfflineError)
    assert list(tmp_path.iterdir()) == []


def test_wrong_bytes_from_one_mirror_are_an_error_even_if_the_other_has_none(tmp_path):
    def respond(request):
        if request.url.host == "first.test":
            return httpx.Response(200, stream=httpx.ByteStream(b"?" * 70_000))
        return httpx.Response(503)

    with pytest.raises(DataError, match="503") as caught:
        downloader(respond).fetch(FILES, tmp_path)
    assert not isinstance(caught.value, OfflineError)


def test_a_transfer_that_breaks_off_everywhere_counts_as_offline(tmp_path):
    class Breaking(httpx.SyncByteStream):
        def __iter__(self):
            yield b"a" * 100
            raise httpx.ReadError("connection reset")

    def respond(request):
        return httpx.Response(200, stream=Breaking())

    with pytest.raises(OfflineError, match="connection reset"):
        downloader(respond).fetch(FILES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_connection_is_noticed_at_once_and_names_every_mirror(tmp_path):
    def respond(request):
        raise httpx.ConnectError("name or service not known")

    started = time.monotonic()
    with pytest.raises(OfflineError, match=r"first\.test.*not known.*second\.test.*not known"):
        downloader(respond).fetch(FILES, tmp_path / "cache")
    assert time.monotonic() - started < 2
    assert not (tmp_path / "cache").exists()


def test_a_name_look_up_that_hangs_costs_no_more_than_the_limit(tmp_path):
    release = threading.Event()

    def respond(request):
        release.wait(30)
        return serve(request)

    started = time.monotonic()
    with pytest.raises(OfflineError, match=r"no answer in 0\.2 s"):
        downloader(respond, answer_within=0.2).fetch(FILES, tmp_path)
    assert time.monotonic() - started < 5
    release.set()


def test_a_mirror_that_hangs_is_not_asked_again(tmp_path):
    release = threading.Event()

    def respond(request):
        if request.url.host == "first.test":
            release.wait(30)
        return serve(request)

    started = time.monotonic()
    downloader(respond, answer_within=0.2).fetch(FILES, tmp_path)
    assert time.monotonic() - started < 5
    release.set()
    assert_all_there(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="taken: downloads cannot be kept there"):
        downloader(serve).fetch(FILES, tmp_path / "taken")


def test_mirrors_without_tls_are_refused():
    with pytest.raises(DataError, match="over HTTPS only"):
        Downloader(["http://first.test/"])


class TestOverTls:
    """The same through a socket: a real server on the loopback interface, with a certificate."""

    @pytest.fixture
    def serve_at(self, tmp_path):
        """Starts a server of the given contents; returns its address and what trusts it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self_signed(tmp_path)
        context.load_cert_chain(certificate)
        servers = []

        def start(contents, cut=0):
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_HEAD(self):
                    self.send_response(200)
                    self.end_headers()

                def do_GET(self):
                    content = contents[self.path.rsplit("/", 1)[1]]
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: len(content) - cut])

                def log_message(self, *_):
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers.append(server)
            trusting = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
            return f"https://127.0.0.1:{server.server_port}/", trusting

        yield start
        for server in servers:
            server.shutdown()
            server.server_close()

    def test_files_arrive(self, serve_at, tmp_path):
        mirror, transport = serve_at(CONTENTS)
        Downloader([mirror], transport).fetch(FILES, tmp_path / "cache")
        assert_all_there(tmp_path / "cache")

    def test_a_connection_cut_in_mid_file_leaves_nothing(self, serve_at, tmp_path):
        mirror, transport = serve_at(CONTENTS, cut=1)
        with pytest.raises(OfflineError, match=r"a\.gz.*RemoteProtocolError"):
            Downloader([mirror], transport).fetch(FILES, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []

    def test_a_certificate_that_nobody_vouches_for_is_not_accepted(self, serve_at, tmp_path):
        mirror, _ = serve_at(CONTENTS)
        with pytest.raises(OfflineError, match="CERTIFICATE_VERIFY_FAILED"):
            Downloader([mirror]).fetch(FILES, tmp_path / "cache")


def self_signed(folder):
    """The path of a certificate for 127.0.0.1 with its key, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mirror")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
