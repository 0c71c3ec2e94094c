"""Credentials: what is wrong with them, said before a handshake fails; and handshakes."""

import dataclasses
import shutil
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from tacita.errors import CredentialError
from tacita.network.authority import create_authority, issue
from tacita.network.tls import Credentials, private_key_in

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(role, name, authority=…): credentials, the same at each call."""
    root = tmp_path_factory.mktemp("made")
    for name in ("ca", "other"):
        create_authority(root / name, name)
    known = {}

    def make(role, name, authority="ca", **how):
        key = (role, name, authority, *how.items())
        if key not in known:
            out = root / f"out-{len(known)}"
            known[key] = issue(root / authority, role, name, out=out, **how)
        return known[key]

    return make


@pytest.fixture
def own(made, tmp_path):
    """Credentials of alice in a folder of the test's own."""
    given = made("party", "alice")
    for each in dataclasses.astuple(given):
        shutil.copy(each, tmp_path)  # with its mode
    return Credentials(*(tmp_path / each.name for each in dataclasses.astuple(given)))


def refusal(credentials, *arguments, **more):
    with pytest.raises(CredentialError) as caught:
        credentials.check(*arguments, **more)
    return str(caught.value)


def test_good_credentials_say_who_they_are(own):
    principal = own.check()
    assert str(principal) == "party:alice"
    assert own.check("party", "alice") == own.check(role="party") == principal


@pytest.mark.parametrize("which", ["certificate", "key", "authority"])
def test_a_missing_file_is_named(own, which):
    path = getattr(own, which)
    path.unlink()
    text = refusal(own)
    assert str(path) in text
    assert "there is no" in text
    assert "tacita keys" in text


@pytest.mark.parametrize("which", ["certificate", "key", "authority"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 100], ids=["empty", "text", "bytes"])
def test_a_file_of_something_else_is_named(own, which, data):
    path = getattr(own, which)
    path.write_bytes(data)
    text = refusal(own)
    assert str(path) in text
    assert "PEM" in text


@pytest.mark.parametrize("which", ["certificate", "key", "authority"])
def test_a_folder_is_no_file(own, which):
    path = getattr(own, which)
    path.unlink()
    path.mkdir(mode=0o700)
    assert f"{path} cannot be read" in refusal(own)


@pytest.mark.parametrize("which", ["certificate", "authority"])
def test_a_file_has_one_certificate(own, made, which):
    path = getattr(own, which)
    path.write_bytes(path.read_bytes() + made("party", "bob").certificate.read_bytes())
    assert f"{path} has 2 certificates" in refusal(own)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602, 0o777])
def test_a_key_open_to_others_is_refused(own, mode):
    own.key.chmod(mode)
    text = refusal(own)
    assert f"mode {mode:04o}" in text
    assert f"chmod 600 {own.key}" in text


def test_a_locked_key_is_refused_without_a_question(own):
    key = private_key_in(own.key)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    own.key.write_bytes(locked)
    assert "locked with a password" in refusal(own)
    with pytest.raises(CredentialError, match="locked"):
        own.server_context()


def test_another_key_is_refused(own, made):
    other = dataclasses.replace(own, key=made("party", "bob").key)
    assert f"{other.key} is not the key of {own.certificate}" in refusal(other)


def test_another_authority_is_refused(own, made):
    other = dataclasses.replace(own, authority=made("party", "alice", "other").authority)
    text = refusal(other)
    assert f"{own.certificate} was not signed by the authority in {other.authority}" in text


def test_an_authority_of_the_same_name_is_another(made, tmp_path):
    create_authority(tmp_path, "ca")
    own = dataclasses.replace(made("party", "alice"), authority=tmp_path / "authority.pem")
    assert "was not signed by" in refusal(own)


def test_a_certificate_is_no_authority(own):
    assert "is no authority's certificate" in refusal(
        dataclasses.replace(own, authority=own.certificate)
    )


@pytest.mark.parametrize(
    "wanted", [("dealer", "alice"), ("party", "bob"), ("client", None), (None, "bob")]
)
def test_another_role_or_name_is_refused(own, wanted):
    text = refusal(own, *wanted)
    assert "is the certificate of party:alice" in text
    assert f"{wanted[0] or 'party'}:{wanted[1] or 'alice'} is wanted" in text


def test_dates_and_the_clock_are_told(made):
    start = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    own = made("party", "later", start=start, days=1)
    end = start + DAY
    assert "not valid yet" in refusal(own, now=start - timedelta(seconds=1))
    assert str(own.check(now=start)) == "party:later"
    assert str(own.check(now=end)) == "party:later"
    text = refusal(own, now=end + timedelta(seconds=1))
    assert f"{own.certificate} has expired" in text
    for each in ("2030-01-02 03:04:05", "2030-01-03 03:04:05", "2030-01-03 03:04:06"):
        assert each in text
    assert "clock may be wrong" in refusal(own)  # today, whenever before 2030


def test_an_expired_authority_is_refused(own):
    text = refusal(own, now=datetime.now(UTC) + 4000 * DAY)
    assert str(own.authority) in text
    assert "has expired" in text


def test_contexts_are_not_made_of_expired_certificates(made):
    own = made("party", "past", start=datetime.now(UTC) - 2 * DAY, days=1)
    for make in (own.server_context, own.client_context):
        with pytest.raises(CredentialError, match="expired"):
            make()


# ---- handshakes, in memory -----------------------------------------------------------------------


def handshake(server, client, hostname, attempts=20):
    """Both ends of a TLS connection, or the error of the first that refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=hostname),
    ]
    waiting = list(ends)
    for _ in range(attempts):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            return ends
    raise AssertionError("the handshake does not end")


def test_both_ends_are_verified(made):
    alice, carol = made("party", "alice"), made("client", "carol")
    server, client = handshake(alice.server_context(), carol.client_context(), "alice.party.tacita")
    assert server.version() == client.version() == "TLSv1.3"
    assert client.getpeercert(True) == ssl.PEM_cert_to_DER_cert(alice.certificate.read_text())
    assert server.getpeercert(True) == ssl.PEM_cert_to_DER_cert(carol.certificate.read_text())


@pytest.mark.parametrize("hostname", ["bob.party.tacita", "alice.dealer.tacita", "alice"])
def test_a_certificate_for_somebody_else_is_refused(made, hostname):
    alice, carol = made("party", "alice"), made("client", "carol")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(alice.server_context(), carol.client_context(), hostname)


def test_a_client_needs_no_serving_certificate_and_cannot_serve(made):
    alice, carol = made("party", "alice"), made("client", "carol")
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(carol.server_context(), alice.client_context(), "carol.client.tacita")


@pytest.mark.parametrize("foreign", ["server", "client"])
def test_another_authority_is_refused_in_the_handshake(made, foreign):
    alice = made("party", "alice", "other" if foreign == "server" else "ca")
    carol = made("client", "carol", "other" if foreign == "client" else "ca")
    with pytest.raises(ssl.SSLError):
        handshake(alice.server_context(), carol.client_context(), "alice.party.tacita")


def test_a_client_without_certificate_is_refused(made):
    alice = made("party", "alice")
    bare = ssl.create_default_context(cafile=alice.authority)
    with pytest.raises(ssl.SSLError, match=r"(?i)peer.did.not.return"):
        handshake(alice.server_context(), bare, "alice.party.tacita")


def test_older_tls_is_refused(made):
    alice, carol = made("party", "alice"), made("client", "carol")
    old = ssl.create_default_context(cafile=alice.authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(carol.certificate, carol.key)
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        handshake(alice.server_context(), old, "alice.party.tacita")
