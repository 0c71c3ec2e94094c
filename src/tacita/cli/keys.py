"""`tacita keys`: the authority of a network, and certificates for its roles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tacita.cli.complaint import complaining
from tacita.network import authority as authorities
from tacita.network.identity import dns_names, in_domain, parse, principal_of
from tacita.network.tls import Credentials, certificate_in

keys = typer.Typer(
    name="keys",
    no_args_is_help=True,
    add_completion=False,
    help="Make certificates for parties, the dealer, owners and clients.\n\n"
    "Every role proves who it is with a certificate that one authority has signed. The authority "
    "is a folder with a key that never leaves it; whoever has that key can be anybody, so keep it "
    "off the machines that compute.\n\n"
    "To try things out, make all of it in one place: `tacita keys authority ca`, then "
    "`tacita keys issue party:alice --authority ca --out alice --host localhost`.\n\n"
    "Between organisations a private key stays where it was made: `tacita keys request` there, "
    "send the .csr file to the authority, `tacita keys sign` there, and send back the .pem files.",
)

Who = Annotated[
    str,
    typer.Argument(
        metavar="ROLE:NAME",
        help="Whom it is for: party:alice, dealer:dana, owner:acme, client:carol.",
        show_default=False,
    ),
]
From = Annotated[
    Path,
    typer.Option("--authority", metavar="FOLDER", help="Where the authority is."),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="FOLDER", help="Where the files go; made if it is not there."),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="HOST",
        help="DNS name or IP address that a party or dealer is reached at; repeatable.",
    ),
]
Days = Annotated[int, typer.Option(metavar="DAYS", help="How long it is valid.")]
Development = Annotated[
    bool,
    typer.Option(
        "--development",
        help=f"Valid for {authorities.DEVELOPMENT_DAYS} days, whatever --days says: for trying "
        "things out.",
    ),
]


@keys.command()
def authority(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What people call it.")
    ] = "Tacita authority",
    days: Days = authorities.AUTHORITY_DAYS,
) -> None:
    """Make an authority in FOLDER, once for a network.

    authority.pem goes to every role. authority.key stays: it signs, and is readable by you alone.
    """
    with complaining():
        path = authorities.create_authority(folder, name, days=days)
        typer.echo(f"{path}: for every role")
        typer.echo(f"{path.with_suffix('.key')}: signs certificates; keep it to yourself")


@keys.command()
def issue(
    who: Who,
    authority: From,
    out: Out = Path(),
    hosts: Hosts = None,
    days: Days = authorities.DAYS,
    development: Development = False,
) -> None:
    """Make a private key and its certificate at once.

    For whoever has the authority and the role in the same hands. Otherwise see `request`.
    """
    with complaining():
        role, name = parse(who)
        made = authorities.issue(
            authority, role, name, out=out, hosts=hosts or (), days=_days(days, development)
        )
        typer.echo(f"{made.certificate}: certificate of {who}")
        typer.echo(f"{made.key}: its private key; readable by you alone")
        typer.echo(f"{made.authority}: the authority's certificate")


@keys.command()
def request(who: Who, out: Out = Path(), hosts: Hosts = None) -> None:
    """Make a private key, which stays here, and a request for the authority to sign.

    Send the .csr file to the authority, and tell them the digest of the key by another way, such as
    by phone: it shows that nobody exchanged the request.
    """
    with complaining():
        role, name = parse(who)
        path = authorities.request(role, name, out, hosts or ())
        typer.echo(f"{path.with_suffix('.key')}: private key; readable by you alone, stays here")
        typer.echo(f"{path}: request; send it to the authority")
        typer.echo(f"digest of its key: {authorities.requested(path).key}")


@keys.command()
def sign(
    file: Annotated[Path, typer.Argument(metavar="REQUEST.csr", show_default=False)],
    who: Annotated[
        str, typer.Option("--for", metavar="ROLE:NAME", help="Whose request it has to be.")
    ],
    authority: From,
    out: Out = Path(),
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="DIGEST", help="Digest of the key, as its sender told it."),
    ] = None,
    days: Days = authorities.DAYS,
    development: Development = False,
) -> None:
    """Sign somebody's request, after checking that it asks for nothing but what it is for.

    Send the .pem files back. To renew a certificate, sign the same request again.
    """
    with complaining():
        role, name = parse(who)
        path = authorities.sign(
            authority,
            file,
            out,
            role=role,
            name=name,
            key=key,
            days=_days(days, development),
        )
        asked = authorities.requested(file)
        typer.echo(f"{path}: certificate of {who}; send it back, with {path.parent}/authority.pem")
        typer.echo(f"hosts: {', '.join(asked.hosts) or 'none'}")
        typer.echo(f"digest of its key: {asked.key}")
        if key is None:
            typer.echo("compare that digest with the one its sender has (or give it with --key)")


@keys.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
) -> None:
    """Show whom a certificate (.pem) or a request (.csr) is for.

    Where the certificate's key and authority.pem lie beside it, they are checked as a daemon checks
    them.
    """
    with complaining():
        if file.suffix == ".csr":
            asked = authorities.requested(file)
            typer.echo(f"request for:   {asked.role}:{asked.name}")
            typer.echo(f"hosts:         {', '.join(asked.hosts) or 'none'}")
            typer.echo(f"digest of key: {asked.key}")
            return
        certificate = certificate_in(file)
        _show(certificate)
        beside = Credentials(file, file.with_suffix(".key"), file.with_name("authority.pem"))
        if file != beside.authority and beside.key.exists() and beside.authority.exists():
            beside.check()
            typer.echo("checked:       key, authority and dates fit")


def _show(certificate: x509.Certificate) -> None:
    names = dns_names(certificate.extensions)
    if any(in_domain(each) for each in names):
        principal = principal_of(certificate.public_bytes(Encoding.DER))
        typer.echo(f"certificate:   {principal}")
        typer.echo(f"hosts:         {', '.join(_hosts(certificate)) or 'none'}")
        typer.echo(f"fingerprint:   {principal.fingerprint}")
    else:
        typer.echo(f"certificate:   {certificate.subject.rfc4514_string()}, no role of Tacita's")
    typer.echo(f"signed by:     {certificate.issuer.rfc4514_string()}")
    typer.echo(
        f"valid:         {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
        f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    )


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    return [each for each in dns_names(certificate.extensions) if not in_domain(each)] + addresses


def _days(days: int, development: bool) -> int:
    return authorities.DEVELOPMENT_DAYS if development else days
