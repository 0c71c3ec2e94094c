"""Identities in certificates: which are read, and which are refused."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tacita.errors import ConfigError, CredentialError
from tacita.network.identity import Principal, hostname_of, parse, principal_of


def certificate(*names, alternative=True):
    """A self-signed certificate with these DNS names, whatever they are, in DER form."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice.party.tacita")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, now, now + timedelta(days=1)
    )
    if alternative:
        names = [x509.DNSName(each) if isinstance(each, str) else each for each in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("role", ["party", "dealer", "owner", "client"])
def test_an_identity_is_read(role):
    der = certificate(f"al-1ce.{role}.tacita")
    principal = principal_of(der)
    assert principal == Principal(role, "al-1ce", hashlib.sha256(der).hexdigest())
    assert str(principal) == f"{role}:al-1ce"
    assert principal.hostname == f"al-1ce.{role}.tacita"


def test_hosts_besides_say_nothing():
    der = certificate("host.example.org", "alice.party.tacita", "tacita.example.org", "nottacita")
    assert principal_of(der).name == "alice"


REFUSED = {
    "none": ["host.example.org"],
    "two": ["alice.party.tacita", "bob.party.tacita"],
    "the same twice": ["alice.party.tacita", "alice.party.tacita"],
    "one and a wildcard": ["alice.party.tacita", "*.party.tacita"],
    "a wildcard": ["*.party.tacita"],
    "a part of one": ["a*.party.tacita"],
    "another role": ["alice.root.tacita"],
    "no role": ["alice.tacita"],
    "the domain": ["tacita"],
    "more labels": ["a.alice.party.tacita"],
    "an empty name": [".party.tacita"],
    "capitals": ["Alice.party.tacita"],
    "capitals in the domain": ["alice.party.TACITA"],
    "a final dot": ["alice.party.tacita."],
    "a dash in front": ["-alice.party.tacita"],
    "a long name": ["a" * 64 + ".party.tacita"],
    "a zero byte": ["alice\0.party.tacita"],
    "an email": [x509.RFC822Name("alice@party.tacita")],
}


@pytest.mark.parametrize("names", REFUSED.values(), ids=REFUSED)
def test_other_names_are_no_identity(names):
    with pytest.raises(CredentialError, match=r"\.tacita"):
        principal_of(certificate(*names))


def test_the_common_name_is_no_identity():
    with pytest.raises(CredentialError, match="has none"):
        principal_of(certificate(alternative=False))


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x01", b"no certificate"])
def test_what_is_no_certificate_is_refused(data):
    with pytest.raises(CredentialError, match="no readable"):
        principal_of(data)


def test_roles_and_names_are_written_with_a_colon():
    assert parse("party:alice") == ("party", "alice")
    assert hostname_of("dealer", "dana") == "dana.dealer.tacita"
    assert hostname_of("client", "a" * 63).startswith("a" * 63)


@pytest.mark.parametrize(
    "text",
    ["", "alice", ":alice", "party:", "party:Alice", "root:alice", "party:a.b", "party:a:b",
     "party:alice\n", "party:-a", "party:a-", "party:" + "a" * 64, "party:*", "party:älice"],
)  # fmt: skip
def test_other_writings_are_refused(text):
    with pytest.raises(ConfigError):
        parse(text)
