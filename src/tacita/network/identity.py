"""Who somebody is: the one name in a certificate that the roles of a computation go by.

A certificate's identity is a single DNS name in its SubjectAltName, `<name>.<role>.tacita`. Because
it is a DNS name, ordinary host-name checking of TLS verifies it: whoever connects to alice asks for
`alice.party.tacita`, at whatever address she is. The ending is no domain of the internet, so no
public authority vouches for such a name. Servers may have names and addresses of hosts besides;
those say nothing about who they are.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeGuard, get_args

from cryptography import x509

from tacita.errors import ConfigError, CredentialError

Role = Literal["party", "dealer", "owner", "client"]
ROLES: tuple[Role, ...] = get_args(Role)
SERVING: tuple[Role, ...] = ("party", "dealer")  # the roles that others connect to

DOMAIN = "tacita"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a label of a host name (RFC 1123)
NAME_RULE = "1 to 63 of a-z, 0-9 and '-', with no '-' at either end"


@dataclass(frozen=True)
class Principal:
    """Somebody with a certificate. `fingerprint` is the SHA-256 of its DER form, in hex."""

    role: Role
    name: str
    fingerprint: str

    @property
    def hostname(self) -> str:
        """The DNS name of the identity: `alice.party.tacita`."""
        return hostname_of(self.role, self.name)

    def __str__(self) -> str:
        return f"{self.role}:{self.name}"


def is_role(text: str) -> TypeGuard[Role]:
    return text in ROLES


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def hostname_of(role: str, name: str) -> str:
    """The DNS name that the certificate of `name` in `role` has. Raises ConfigError for no such."""
    if not is_role(role):
        raise ConfigError(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
    if not is_name(name):
        raise ConfigError(f"{name!r} is no name of a {role}; a name is {NAME_RULE}")
    return f"{name}.{role}.{DOMAIN}"


def parse(text: str) -> tuple[Role, str]:
    """("party", "alice") of "party:alice". Raises ConfigError for anything else."""
    role, colon, name = text.partition(":")
    if not colon:
        raise ConfigError(f"{text!r} is no role:name; write for example party:alice")
    hostname_of(role, name)
    assert is_role(role)
    return role, name


def principal_of(der: bytes) -> Principal:
    """Whom a certificate in DER form names. Says nothing about who signed it.

    Raises CredentialError where it has no identity, more than one, or one that is malformed: a
    wildcard under the domain would otherwise pass for everybody.
    """
    try:
        names = dns_names(x509.load_der_x509_certificate(der).extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CredentialError(f"this is no readable X.509 certificate: {error}") from None
    role, name = identity_among(names)
    return Principal(role, name, hashlib.sha256(der).hexdigest())


def expiry_of(der: bytes) -> datetime:
    """The last moment at which a certificate in DER form is valid."""
    return x509.load_der_x509_certificate(der).not_valid_after_utc


def dns_names(extensions: x509.Extensions) -> list[str]:
    """The DNS names of a SubjectAltName; none where there is no such extension."""
    try:
        alternatives = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return alternatives.get_values_for_type(x509.DNSName)


def identity_among(names: list[str]) -> tuple[Role, str]:
    """The one identity among DNS names. Raises CredentialError for none, several, or a bad one."""
    claims = [each for each in names if in_domain(each)]
    if len(claims) != 1:
        have = f"has {len(claims)} of them ({', '.join(sorted(claims))})" if claims else "has none"
        raise CredentialError(
            f"the certificate is to have one DNS name <name>.<role>.{DOMAIN} and {have}; "
            "make it with `tacita keys`"
        )
    name, _, rest = claims[0].partition(".")
    role, _, domain = rest.partition(".")
    if domain != DOMAIN or not is_role(role) or not is_name(name):
        raise CredentialError(
            f"{claims[0]!r} in the certificate is no <name>.<role>.{DOMAIN}: the role is one of "
            f"{', '.join(ROLES)}, the name {NAME_RULE}"
        )
    return role, name


def in_domain(name: str) -> bool:
    """Whether TLS could take `name` for one of ours; letter case and a final dot do not count."""
    plain = name.lower().rstrip(".")
    return plain == DOMAIN or plain.endswith(f".{DOMAIN}")
