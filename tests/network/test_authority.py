"""Authorities: what they sign, what they refuse to, and what becomes of files."""

import ipaddress
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tacita.errors import ConfigError, CredentialError
from tacita.network.authority import create_authority, issue, request, requested, sign
from tacita.network.tls import Credentials, certificate_in

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    create_authority(folder, "The Authority")
    return folder


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_may_sign_certificates_and_nothing_else(ca):
    own = certificate_in(ca / "authority.pem")
    basic = extension(own, x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = extension(own, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert own.subject == own.issuer
    own.verify_directly_issued_by(own)
    assert mode(ca / "authority.key") == 0o600


@pytest.mark.parametrize("present", ["authority.pem", "authority.key"])
def test_an_authority_is_never_overwritten(tmp_path, present):
    (tmp_path / present).write_text("precious")
    with pytest.raises(CredentialError, match=present):
        create_authority(tmp_path, "another")
    assert [each.name for each in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "precious"


@pytest.mark.parametrize("name", ["", "a" * 65, "line\nbreak", " a"])
def test_an_authority_has_a_name(tmp_path, name):
    with pytest.raises(ConfigError, match="no name"):
        create_authority(tmp_path, name)


@pytest.mark.parametrize(
    ("role", "usages"),
    [("party", [SERVER, CLIENT]), ("dealer", [SERVER, CLIENT]), ("owner", [CLIENT]),
     ("client", [CLIENT])],
)  # fmt: skip
def test_a_certificate_is_for_its_role(ca, tmp_path, role, usages):
    made = issue(ca, role, "alice", out=tmp_path)
    own = certificate_in(made.certificate)
    authority = certificate_in(made.authority)
    assert list(extension(own, x509.ExtendedKeyUsage).value) == usages
    assert not extension(own, x509.BasicConstraints).value.ca
    assert extension(own, x509.KeyUsage).value.digital_signature
    assert not extension(own, x509.KeyUsage).value.key_cert_sign
    own_id = extension(own, x509.SubjectKeyIdentifier).value
    assert own_id == x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    assert (
        extension(own, x509.AuthorityKeyIdentifier).value.key_identifier
        == extension(authority, x509.SubjectKeyIdentifier).value.digest
    )
    assert isinstance(own.public_key().curve, ec.SECP256R1)
    assert isinstance(own.signature_hash_algorithm, SHA256)
    assert mode(made.key) == 0o600
    assert str(made.check(role, "alice")) == f"{role}:alice"


def test_hosts_stand_beside_the_identity(ca, tmp_path):
    hosts = ["LocalHost", "127.0.0.1", "::1", "a.example.org", "a.example.org"]
    made = issue(ca, "party", "alice", out=tmp_path, hosts=hosts)
    names = extension(certificate_in(made.certificate), x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "alice.party.tacita", "localhost", "a.example.org"
    ]  # fmt: skip
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")
    ]  # fmt: skip
    assert made.check().name == "alice"


@pytest.mark.parametrize(
    "host",
    ["", "*.example.org", "bob.party.tacita", "BOB.party.TACITA", "tacita", "host:8441", "a b",
     "https://host", "-a", "a..b", "ä.org", "a." * 127 + "a", "host\n"],
)  # fmt: skip
def test_what_is_no_host_is_refused(ca, tmp_path, host):
    with pytest.raises(ConfigError, match="host"):
        issue(ca, "party", "alice", out=tmp_path / "new", hosts=[host])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("role", ["owner", "client"])
def test_nobody_connects_to_a_client(ca, tmp_path, role):
    with pytest.raises(ConfigError, match="no hosts"):
        issue(ca, role, "carol", out=tmp_path, hosts=["localhost"])


@pytest.mark.parametrize(("role", "name"), [("root", "a"), ("party", "A"), ("party", "authority")])
def test_other_roles_and_names_are_refused(ca, tmp_path, role, name):
    with pytest.raises(ConfigError):
        issue(ca, role, name, out=tmp_path)
    with pytest.raises(ConfigError):
        request(role, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("present", ["alice.key", "alice.pem"])
def test_keys_and_certificates_are_not_overwritten(ca, tmp_path, present):
    (tmp_path / present).write_text("precious")
    with pytest.raises(CredentialError, match="not overwritten"):
        issue(ca, "party", "alice", out=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [present]


def test_a_link_to_nowhere_is_not_followed(ca, tmp_path):
    (tmp_path / "alice.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CredentialError, match="not overwritten"):
        issue(ca, "party", "alice", out=tmp_path)


def test_a_folder_has_one_authority(ca, tmp_path):
    create_authority(tmp_path / "other", "other")
    issue(ca, "party", "alice", out=tmp_path)
    with pytest.raises(CredentialError, match="another authority"):
        issue(tmp_path / "other", "party", "bob", out=tmp_path)
    assert not (tmp_path / "bob.key").exists()


def test_an_authority_is_needed(tmp_path):
    with pytest.raises(CredentialError, match="tacita keys authority"):
        issue(tmp_path, "party", "alice", out=tmp_path)


def test_the_authority_needs_its_own_key(ca, tmp_path):
    create_authority(tmp_path, "other")
    (tmp_path / "authority.pem").write_bytes((ca / "authority.pem").read_bytes())
    with pytest.raises(CredentialError, match="not the key of"):
        issue(tmp_path, "party", "alice", out=tmp_path / "out")


def test_the_authority_s_key_is_closed_to_others(tmp_path):
    create_authority(tmp_path, "a")
    (tmp_path / "authority.key").chmod(0o644)
    with pytest.raises(CredentialError, match="chmod 600"):
        issue(tmp_path, "party", "alice", out=tmp_path / "out")


@pytest.mark.parametrize(("days", "expected"), [({}, 365), ({"days": 30}, 30)])
def test_validity_begins_now(ca, tmp_path, days, expected):
    before = datetime.now(UTC)
    own = certificate_in(issue(ca, "party", "alice", out=tmp_path, **days).certificate)
    assert own.not_valid_before_utc <= before
    length = own.not_valid_after_utc - own.not_valid_before_utc
    assert length == timedelta(days=expected)


@pytest.mark.parametrize("days", [0, -1, 10**6])
def test_other_durations_are_refused(ca, tmp_path, days):
    with pytest.raises(ConfigError, match="days"):
        issue(ca, "party", "alice", out=tmp_path, days=days)


def test_no_certificate_outlives_its_authority(tmp_path):
    create_authority(tmp_path, "brief", days=2)
    made = issue(tmp_path, "party", "alice", out=tmp_path / "out")
    own, authority = certificate_in(made.certificate), certificate_in(made.authority)
    assert own.not_valid_after_utc == authority.not_valid_after_utc


def test_an_expired_authority_signs_nothing(tmp_path):
    create_authority(tmp_path, "past", days=1, start=datetime.now(UTC) - timedelta(days=3))
    with pytest.raises(CredentialError, match="expired"):
        issue(tmp_path, "party", "alice", out=tmp_path / "out")


# ---- requests ------------------------------------------------------------------------------------


def test_a_key_stays_where_it_was_made(ca, tmp_path):
    path = request("party", "alice", tmp_path / "alice", hosts=["localhost", "10.0.0.1"])
    assert path == tmp_path / "alice" / "alice.csr"
    assert b"PRIVATE" not in path.read_bytes()
    asked = requested(path)
    assert (asked.role, asked.name, asked.hosts) == ("party", "alice", ("localhost", "10.0.0.1"))
    signed = sign(ca, path, tmp_path / "signed", role="party", name="alice", key=asked.key)
    assert sorted(each.name for each in signed.parent.iterdir()) == ["alice.pem", "authority.pem"]
    own = Credentials(signed, path.with_suffix(".key"), signed.parent / "authority.pem")
    assert mode(own.key) == 0o600
    assert str(own.check("party", "alice")) == "party:alice"


def test_a_request_is_signed_again_for_renewal(ca, tmp_path):
    path = request("client", "carol", tmp_path)
    first = sign(ca, path, tmp_path, role="client", name="carol", days=1).read_bytes()
    second = sign(ca, path, tmp_path, role="client", name="carol")
    assert second.read_bytes() != first
    own = Credentials(second, path.with_suffix(".key"), tmp_path / "authority.pem")
    assert own.check("client", "carol").name == "carol"


def test_somebody_else_s_certificate_is_not_replaced(ca, tmp_path):
    path = request("client", "acme", tmp_path / "client")
    owner = issue(ca, "owner", "acme", out=tmp_path / "out").certificate.read_bytes()
    with pytest.raises(CredentialError, match="certificate of owner:acme"):
        sign(ca, path, tmp_path / "out", role="client", name="acme")
    assert (tmp_path / "out" / "acme.pem").read_bytes() == owner


@pytest.mark.parametrize("wanted", [("party", "bob"), ("dealer", "alice")])
def test_a_request_of_somebody_else_is_refused(ca, tmp_path, wanted):
    path = request("party", "alice", tmp_path)
    with pytest.raises(CredentialError, match="asks for party:alice"):
        sign(ca, path, tmp_path, role=wanted[0], name=wanted[1])


def test_an_exchanged_request_is_noticed(ca, tmp_path):
    told = requested(request("party", "alice", tmp_path / "alice")).key
    other = request("party", "alice", tmp_path / "eve")
    with pytest.raises(CredentialError, match="exchanged"):
        sign(ca, other, tmp_path / "out", role="party", name="alice", key=told)
    assert not (tmp_path / "out").exists()


def test_a_request_does_not_overwrite_a_key(tmp_path):
    path = request("party", "alice", tmp_path)
    key = path.with_suffix(".key").read_bytes()
    path.unlink()
    with pytest.raises(CredentialError, match="not overwritten"):
        request("party", "alice", tmp_path)
    assert path.with_suffix(".key").read_bytes() == key


IDENTITY = x509.DNSName("alice.party.tacita")


def csr(path, *extensions, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice.party.tacita")])
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return path


def names(*given):
    return x509.SubjectAlternativeName(list(given))


BEYOND = {
    "nothing": ([], "has none"),
    "an authority's rights": (
        [names(IDENTITY), x509.BasicConstraints(ca=True, path_length=None)],
        "authority's to decide",
    ),
    "another use": ([names(IDENTITY), x509.ExtendedKeyUsage([SERVER])], "authority's to decide"),
    "two identities": ([names(IDENTITY, x509.DNSName("bob.party.tacita"))], "has 2 of them"),
    "a wildcard identity": ([names(x509.DNSName("*.party.tacita"))], "no <name>"),
    "a wildcard host": ([names(IDENTITY, x509.DNSName("*.example.org"))], "no host"),
    "an email": ([names(IDENTITY, x509.RFC822Name("a@example.org"))], "neither a host"),
    "a URI": ([names(IDENTITY, x509.UniformResourceIdentifier("spiffe://a"))], "neither a host"),
    "hosts of a client": (
        [names(x509.DNSName("carol.client.tacita"), x509.DNSName("a.org"))], "no hosts"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("extensions", "said"), BEYOND.values(), ids=BEYOND)
def test_a_request_for_more_is_refused(ca, tmp_path, extensions, said):
    path = csr(tmp_path / "a.csr", *extensions)
    with pytest.raises(CredentialError, match=said) as caught:
        sign(ca, path, tmp_path / "out", role="party", name="alice")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["RSA", "another curve"],
)
def test_a_key_of_another_kind_is_refused(tmp_path, key):
    with pytest.raises(CredentialError, match="P-256"):
        requested(csr(tmp_path / "a.csr", names(IDENTITY), key=key()))


def test_an_altered_request_is_refused(tmp_path):
    path = csr(tmp_path / "a.csr", names(IDENTITY))
    der = bytearray(x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER))
    at = bytes(der).rindex(b"alice.party.tacita")
    der[at : at + 5] = b"malic"
    altered = x509.load_der_x509_csr(bytes(der))
    path.write_bytes(altered.public_bytes(Encoding.PEM))
    with pytest.raises(CredentialError, match="not signed by its own key"):
        requested(path)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\0" * 100_000])
def test_what_is_no_request_is_refused(tmp_path, data):
    path = tmp_path / "a.csr"
    path.write_bytes(data)
    with pytest.raises(CredentialError, match="no certificate request"):
        requested(path)


def test_a_missing_request_is_named(tmp_path):
    with pytest.raises(CredentialError, match=r"none\.csr cannot be read"):
        requested(tmp_path / "none.csr")
