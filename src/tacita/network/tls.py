"""Certificate, key and authority of one principal, and the TLS contexts made from them.

TLS 1.3 alone, certificates both ways, one authority. `check` says what is wrong with the files in
words, before a handshake fails with none.
"""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from tacita.errors import CredentialError
from tacita.network.identity import SERVING, Principal, principal_of

OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
LARGEST_FILE = 1 << 20  # bytes; whatever is larger is no certificate


@dataclass(frozen=True)
class Credentials:
    """Where the files of one principal are: certificate, private key, authority's certificate."""

    certificate: Path
    key: Path
    authority: Path

    def check(
        self, role: str | None = None, name: str | None = None, *, now: datetime | None = None
    ) -> Principal:
        """Whom the files speak for; `role` and `name`, if given, are who it has to be.

        The files are there and readable, the key is closed to others and fits the certificate, the
        authority has signed it, both are valid `now` (aware; this clock's time by default), and
        whoever serves has a certificate that says so. Raises CredentialError, which names the file
        and what to do.
        """
        now = now or datetime.now(UTC)
        own = certificate_in(self.certificate)
        principal = self._principal(own, role, name)
        key = private_key_in(self.key)
        if _public_bytes(key) != _public_bytes(own):
            raise CredentialError(
                f"{self.key} is not the key of {self.certificate}; use the one that was made "
                "with it"
            )
        authority = certificate_in(self.authority)
        check_authority(authority, self.authority, now=now)
        try:
            own.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise CredentialError(
                f"{self.certificate} was not signed by the authority in {self.authority} "
                f"({subject(authority)}); all roles need certificates of the same authority"
            ) from None
        check_validity(own, self.certificate, now=now)
        _check_usage(own, self.certificate, principal)
        return principal

    def server_context(self) -> ssl.SSLContext:
        """For those who listen. Clients have to show a certificate. Raises CredentialError."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        # Resumption would let in whoever was let in before, without looking at the certificate.
        context.num_tickets = 0
        return context

    def client_context(self) -> ssl.SSLContext:
        """For those who connect; `server_hostname` has to be `hostname_of(role, name)`.

        Raises CredentialError.
        """
        return self._context(ssl.PROTOCOL_TLS_CLIENT)  # this kind checks host names

    def _context(self, protocol: int) -> ssl.SSLContext:
        self.check()
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.hostname_checks_common_name = False
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(cafile=self.authority)
        except (ssl.SSLError, OSError) as error:
            raise CredentialError(
                f"{self.certificate}, {self.key} or {self.authority} cannot be used for TLS: "
                f"{error}; make them with `tacita keys`"
            ) from None
        return context

    def _principal(self, own: x509.Certificate, role: str | None, name: str | None) -> Principal:
        try:
            principal = principal_of(own.public_bytes(Encoding.DER))
        except CredentialError as error:
            raise CredentialError(f"{self.certificate}: {error}") from None
        if role not in (None, principal.role) or name not in (None, principal.name):
            wanted = f"{role or principal.role}:{name or principal.name}"
            raise CredentialError(
                f"{self.certificate} is the certificate of {principal}, and {wanted} is wanted; "
                "name another file, or correct the name in the configuration"
            )
        return principal


def certificate_in(path: Path) -> x509.Certificate:
    """The one certificate in a PEM file. Raises CredentialError for none, several, or no file."""
    data = _read(path, "certificate")
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CredentialError(
            f"{path} is no certificate in PEM form; make one with `tacita keys`"
        ) from None
    if len(found) != 1:
        raise CredentialError(f"{path} has {len(found)} certificates; it is to have one")
    return found[0]


def private_key_in(path: Path) -> PrivateKeyTypes:
    """The private key in a PEM file that nobody but its owner may touch. Raises CredentialError."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, "key", error) from None
    if mode & OPEN_TO_OTHERS:
        raise CredentialError(
            f"{path} is open to group or others (mode {stat.S_IMODE(mode):04o}); `chmod 600 "
            f"{path}`, and if somebody may have read it, make another"
        )
    try:
        return load_pem_private_key(_read(path, "key"), password=None)
    except TypeError:
        raise CredentialError(
            f"{path} is locked with a password, which nobody is there to type; store it without "
            "one, readable by the daemon's user alone"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialError(
            f"{path} is no private key in PEM form; make one with `tacita keys`"
        ) from None


def check_authority(authority: x509.Certificate, path: Path, *, now: datetime) -> None:
    """Raises CredentialError unless `authority`, of the file `path`, may sign and is valid."""
    try:
        basic = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        signs = basic.ca
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        signs = False
    if not signs:
        raise CredentialError(
            f"{path} ({subject(authority)}) is no authority's certificate; name the authority.pem "
            "that came with the certificate"
        )
    check_validity(authority, path, now=now)


def check_validity(certificate: x509.Certificate, path: Path, *, now: datetime) -> None:
    """Raises CredentialError unless `now`, which is aware, is within the certificate's dates."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    dates = f"is valid from {_date(first)} to {_date(last)}; the clock here says {_date(now)}"
    if now < first:
        raise CredentialError(
            f"{path} is not valid yet: it {dates}. The clock may be wrong; correct it, or wait"
        )
    if now > last:
        raise CredentialError(
            f"{path} has expired: it {dates}. Have another signed (`tacita keys`), or correct the "
            "clock if it is wrong"
        )


def subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _check_usage(own: x509.Certificate, path: Path, principal: Principal) -> None:
    needed = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if principal.role in SERVING:
        needed.append(ExtendedKeyUsageOID.SERVER_AUTH)
    try:
        allowed = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return  # without it, every use is allowed
    missing = [each for each in needed if each not in allowed]
    if missing:
        kinds = " and ".join("clients" if each == needed[0] else "servers" for each in missing)
        raise CredentialError(
            f"{path} may not be used by {kinds} (its extended key usage), and {principal} has to; "
            "have another signed with `tacita keys`"
        )


def _public_bytes(owner: PrivateKeyTypes | x509.Certificate) -> bytes:
    key = owner.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _unreadable(path, what, error) from None
    if len(data) > LARGEST_FILE:
        raise CredentialError(f"{path} is too large for a {what}; name the file that holds one")
    return data


def _unreadable(path: Path, what: str, error: OSError) -> CredentialError:
    if isinstance(error, FileNotFoundError):
        return CredentialError(
            f"there is no {what} {path}; make it with `tacita keys`, or correct the path"
        )
    return CredentialError(f"the {what} {path} cannot be read: {error.strerror}")


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
