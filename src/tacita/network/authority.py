"""An authority of one's own, and the certificates that it signs.

    authority.pem, authority.key     in the authority's folder; the key signs and goes nowhere
    <name>.pem, <name>.key           a principal's certificate and private key
    <name>.csr                       a request, where the key is to stay with its organisation

Two ways to a certificate: `issue` makes key and certificate at once, where the authority and the
principal are the same hands (development, one organisation); `request` and `sign` let the key stay
where it was made, and only the request travels.

X.509 version 3, ECDSA on P-256 with SHA-256. Keys are written readable by their owner alone and are
never overwritten. Sources: RFC 5280 (extensions), RFC 2986 (requests).
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tacita.errors import ConfigError, CredentialError
from tacita.network.identity import (
    DOMAIN,
    SERVING,
    Role,
    dns_names,
    hostname_of,
    identity_among,
    in_domain,
    is_role,
    principal_of,
)
from tacita.network.tls import Credentials, certificate_in, check_authority, private_key_in

AUTHORITY_DAYS = 3650
DAYS = 365
DEVELOPMENT_DAYS = 30
LONGEST_DAYS = 36500
CLOCK_SKEW = timedelta(minutes=5)  # validity begins a little earlier, for clocks that are behind

AUTHORITY_CERTIFICATE = "authority.pem"
AUTHORITY_KEY = "authority.key"
PRIVATE, PUBLIC = 0o600, 0o644
LARGEST_REQUEST = 1 << 16  # bytes

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*")


@dataclass(frozen=True)
class Requested:
    """What a request asks for. `key` is the SHA-256 of its public key in DER form, in hex:

    read aloud on both sides, it tells that nobody exchanged the request on its way.
    """

    role: Role
    name: str
    hosts: tuple[str, ...]
    key: str


def create_authority(
    folder: Path, name: str, *, days: int = AUTHORITY_DAYS, start: datetime | None = None
) -> Path:
    """Makes an authority called `name` in `folder`; the path of its certificate.

    Raises CredentialError where there is one already, and ConfigError for a name or duration that
    cannot be.
    """
    certificate_path, key_path = folder / AUTHORITY_CERTIFICATE, folder / AUTHORITY_KEY
    if not 1 <= len(name) <= 64 or not name.isprintable() or name != name.strip():
        raise ConfigError(f"{name!r} is no name of an authority; it has 1 to 64 printable letters")
    first, last = _validity(days, start)
    _refuse_existing(certificate_path, key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key.public_key(), first, last)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    _make_folder(folder)
    _create(key_path, _key_bytes(key), PRIVATE)
    _create(certificate_path, builder.sign(key, SHA256()).public_bytes(Encoding.PEM), PUBLIC)
    return certificate_path


def issue(
    authority_folder: Path,
    role: Role,
    name: str,
    *,
    out: Path,
    hosts: Sequence[str] = (),
    days: int = DAYS,
    start: datetime | None = None,
) -> Credentials:
    """A fresh key and its certificate, as `<name>.key` and `<name>.pem` in `out`.

    hosts: DNS names and IP addresses of a server, besides its identity. start: when validity begins
    (a little before now). The authority's certificate is copied to `out` if it is not there. It
    never outlives the authority. Raises CredentialError where a file is there already or the
    authority cannot be used, and ConfigError for a role, name, host or duration that cannot be.
    """
    names = _alternatives(role, name, hosts)
    validity = _validity(days, start)
    key_path, certificate_path = out / f"{name}.key", out / f"{name}.pem"
    _refuse_existing(key_path, certificate_path)
    authority, authority_key = _load_authority(authority_folder)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _sign(authority, authority_key, role, name, names, key.public_key(), validity)
    _make_folder(out)
    copy = _copy_authority(authority, out)
    _create(key_path, _key_bytes(key), PRIVATE)
    _create(certificate_path, signed.public_bytes(Encoding.PEM), PUBLIC)
    return Credentials(certificate_path, key_path, copy)


def request(role: Role, name: str, out: Path, hosts: Sequence[str] = ()) -> Path:
    """A fresh key and a request to sign it, as `<name>.key` and `<name>.csr` in `out`.

    Returns the request's path; that file goes to the authority, the key stays. Raises as `issue`.
    """
    names = _alternatives(role, name, hosts)
    key_path, request_path = out / f"{name}.key", out / f"{name}.csr"
    _refuse_existing(key_path, request_path)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(_subject(name)).add_extension(
        names, critical=False
    )
    signed = builder.sign(key, SHA256())
    _make_folder(out)
    _create(key_path, _key_bytes(key), PRIVATE)
    _create(request_path, signed.public_bytes(Encoding.PEM), PUBLIC)
    return request_path


def requested(path: Path) -> Requested:
    """What the request in a file asks for. Raises CredentialError for one that nobody should sign:

    cut or altered, not signed by its own key, of a weak key, or asking for anything beyond one
    identity and, for those who serve, hosts.
    """
    return _asked(_read_request(path), path)


def sign(
    authority_folder: Path,
    csr_path: Path,
    out: Path,
    *,
    role: Role,
    name: str,
    key: str | None = None,
    days: int = DAYS,
    start: datetime | None = None,
) -> Path:
    """Signs the request of `name` in `role`; the path of the certificate, `<name>.pem` in `out`.

    key: what the request's `Requested.key` has to be, as its sender told it by another way.

    An earlier certificate of the same principal is replaced, so a request can be signed again when
    the certificate runs out. Raises as `requested` and `issue`, and CredentialError for a request
    of anybody else.
    """
    hostname_of(role, name)
    csr = _read_request(csr_path)
    asked = _asked(csr, csr_path)
    if (asked.role, asked.name) != (role, name):
        raise CredentialError(
            f"{csr_path} asks for {asked.role}:{asked.name}, and {role}:{name} is to be signed; "
            "ask its sender for another request, or sign it as what it asks for"
        )
    if key is not None and asked.key != key.strip().lower():
        raise CredentialError(
            f"{csr_path} is for the key {asked.key}, and that of {role}:{name} was told to be "
            f"{key}; somebody may have exchanged it: ask its sender"
        )
    names = _alternatives(role, name, asked.hosts)
    validity = _validity(days, start)
    authority, authority_key = _load_authority(authority_folder)
    signed = _sign(authority, authority_key, role, name, names, csr.public_key(), validity)
    path = out / f"{name}.pem"
    _make_folder(out)
    _copy_authority(authority, out)
    if not path.exists():
        _create(path, signed.public_bytes(Encoding.PEM), PUBLIC)
        return path
    present = principal_of(certificate_in(path).public_bytes(Encoding.DER))
    if (present.role, present.name) != (role, name):
        raise CredentialError(f"{path} is the certificate of {present}; name another folder")
    _replace(path, signed.public_bytes(Encoding.PEM))
    return path


def key_digest(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of a public key in DER form, in hex."""
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


# ---- requests ------------------------------------------------------------------------------------


def _read_request(path: Path) -> x509.CertificateSigningRequest:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_REQUEST + 1)
    except OSError as error:
        raise CredentialError(f"the request {path} cannot be read: {error.strerror}") from None
    try:
        if len(data) > LARGEST_REQUEST:
            raise ValueError
        csr = x509.load_pem_x509_csr(data)
        valid = csr.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        raise CredentialError(
            f"{path} is no certificate request in PEM form; make one with `tacita keys request`"
        ) from None
    if not valid:
        raise CredentialError(f"{path} is not signed by its own key; ask for another request")
    return csr


def _asked(csr: x509.CertificateSigningRequest, path: Path) -> Requested:
    key = csr.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1)
    ):
        raise CredentialError(
            f"{path} has a key that is neither P-256 nor P-384; make one with `tacita keys request`"
        )
    try:
        extensions = csr.extensions
        beyond = [each.oid.dotted_string for each in extensions if each.oid != _ALTERNATIVES]
        if beyond:
            raise CredentialError(
                f"{path} asks for extensions that are the authority's to decide "
                f"({', '.join(beyond)}); make it with `tacita keys request`"
            )
        role, name = identity_among(dns_names(extensions))
        hosts = _hosts_asked(extensions)
        _alternatives(role, name, hosts)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CredentialError(f"{path} asks for something malformed: {error}") from None
    except (CredentialError, ConfigError) as error:
        text = str(error)
        raise CredentialError(text if str(path) in text else f"{path}: {text}") from None
    return Requested(role, name, hosts, key_digest(key))


_ALTERNATIVES = ExtensionOID.SUBJECT_ALTERNATIVE_NAME


def _hosts_asked(extensions: x509.Extensions) -> tuple[str, ...]:
    hosts = []
    for each in extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
        if isinstance(each, x509.IPAddress):
            hosts.append(str(each.value))
        elif isinstance(each, x509.DNSName):
            if not in_domain(each.value):
                hosts.append(each.value)
        else:
            raise CredentialError("it asks for a name that is neither a host nor an IP address")
    return tuple(hosts)


# ---- certificates --------------------------------------------------------------------------------


def _load_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = folder / AUTHORITY_CERTIFICATE, folder / AUTHORITY_KEY
    if not certificate_path.exists():
        raise CredentialError(
            f"there is no authority in {folder}; make one with `tacita keys authority`"
        )
    certificate = certificate_in(certificate_path)
    check_authority(certificate, certificate_path, now=datetime.now(UTC))
    key = private_key_in(key_path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key_digest(
        key.public_key()
    ) != key_digest(certificate.public_key()):
        raise CredentialError(f"{key_path} is not the key of {certificate_path}")
    return certificate, key


def _sign(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    role: Role,
    name: str,
    names: x509.SubjectAlternativeName,
    key: CertificatePublicKeyTypes,
    validity: tuple[datetime, datetime],
) -> x509.Certificate:
    first, last = validity
    last = min(last, authority.not_valid_after_utc)
    if first >= last:
        raise CredentialError(
            f"the authority is valid until {last:%Y-%m-%d %H:%M} UTC, before the certificate would "
            "begin; make another authority"
        )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role in SERVING:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    parent = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_subject(name), authority.subject, key, first, last)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(parent), critical=False
        )
    )
    return builder.sign(authority_key, SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    first: datetime,
    last: datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=first,
        not_valid_after=last,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(role: str, name: str, hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    """The identity first, then the hosts. Raises ConfigError."""
    identity = hostname_of(role, name)
    if f"{name}.pem" == AUTHORITY_CERTIFICATE:
        raise ConfigError(f"the file {AUTHORITY_CERTIFICATE} is the authority's; take another name")
    if hosts and is_role(role) and role not in SERVING:
        raise ConfigError(f"nobody connects to a {role}; a certificate of one has no hosts")
    names: list[x509.GeneralName] = [x509.DNSName(identity)]
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
            continue
        except ValueError:
            pass
        plain = host.lower()
        if not HOST.fullmatch(plain) or len(plain) > 253:
            raise ConfigError(
                f"{host!r} is no host; give a DNS name or an IP address, without port or wildcard"
            )
        if in_domain(plain):
            raise ConfigError(f"{host!r} is no host: names in .{DOMAIN} are identities")
        names.append(x509.DNSName(plain))
    return x509.SubjectAlternativeName(names)


def _validity(days: int, start: datetime | None) -> tuple[datetime, datetime]:
    if not 1 <= days <= LONGEST_DAYS:
        raise ConfigError(f"a certificate is valid for 1 to {LONGEST_DAYS} days, not {days}")
    first = (start or datetime.now(UTC) - CLOCK_SKEW).replace(microsecond=0)
    return first, first + timedelta(days=days)


# ---- files ---------------------------------------------------------------------------------------


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise CredentialError(
                f"{path} is there already and is not overwritten; name another folder, or move it "
                "away"
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CredentialError(f"the folder {folder} cannot be made: {error.strerror}") from None


def _create(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that was not there. Its mode is set before there is anything in it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        _refuse_existing(path)
        raise
    except OSError as error:
        raise CredentialError(f"{path} cannot be written: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    _create(part, data, PUBLIC)
    part.replace(path)


def _copy_authority(authority: x509.Certificate, out: Path) -> Path:
    path = out / AUTHORITY_CERTIFICATE
    if not path.exists():
        _create(path, authority.public_bytes(Encoding.PEM), PUBLIC)
    elif certificate_in(path) != authority:
        raise CredentialError(f"{path} is another authority; name another folder")
    return path
