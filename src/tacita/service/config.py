"""The settings of daemons and clients: network.toml, party.toml, dealer.toml and client.toml.

    network.toml   public, the same for all: who the parties are, in order, and the dealer
    party.toml     of one party: where it listens, its files, limits and stock
    dealer.toml    of the dealer
    client.toml    of an owner or a client

Every field can come from the environment, which goes before the file: TACITA_PARTY__LIMITS__ROUND,
TACITA_DEALER__…, TACITA_CLIENT__…, TACITA_NETWORK__…. See settings_file.py for how, and what
relative paths count from. Settings do not change once they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import NoDecode

from tacita.errors import ConfigError
from tacita.network.address import Address
from tacita.network.identity import NAME_RULE, is_name
from tacita.network.tls import Credentials
from tacita.service.settings_file import FOLDER, Section, load

PARTY_PREFIX = "TACITA_PARTY__"
DEALER_PREFIX = "TACITA_DEALER__"
CLIENT_PREFIX = "TACITA_CLIENT__"
NETWORK_PREFIX = "TACITA_NETWORK__"

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgresql+psycopg://")
MIB = 1 << 20
GIB = 1 << 30


# ---- kinds of values -----------------------------------------------------------------------------


def _located(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get(FOLDER)
    return path if folder is None else folder / path


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("this is no address; write host:port as text")
    try:
        return Address.parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _reachable(address: Address) -> Address:
    if address.port == 0:
        raise ValueError(f"{str(address)!r} cannot be reached: it has no port")
    return address


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"{value!r} is no name; a name is {NAME_RULE}")
    return value


def _https(value: str) -> str:
    try:
        parts = urlsplit(value)
        bad = parts.scheme != "https" or not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad or value != value.strip():
        raise ValueError(f"{value!r} is no https:// URL of a host")
    if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError(f"{value!r} has more than host and port")
    return f"https://{parts.netloc}"


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("this is to be a number")
    return value


def _ledger(value: SecretStr, info: ValidationInfo) -> SecretStr:
    url = value.get_secret_value()
    if url.startswith(POSTGRESQL):
        return value
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ValueError("this is no URL of a ledger")
    path = _located(Path(url.removeprefix(SQLITE)), info)
    return SecretStr(f"{SQLITE}{path}")


class CredentialFiles(Section):
    """How credentials are written; a certificate's own fields are checked when it is used."""

    certificate: Annotated[Path, AfterValidator(_located)] = Field(
        description='your certificate, such as "alice.pem"'
    )
    key: Annotated[Path, AfterValidator(_located)] = Field(
        description='its private key, such as "alice.key"'
    )
    authority: Annotated[Path, AfterValidator(_located)] = Field(
        description='the certificate of the authority, such as "authority.pem"'
    )


@dataclass(frozen=True)
class _WrittenAsFiles:
    """Has pydantic read a [credentials] table, and make Credentials of it."""

    written_as: type[Section] = CredentialFiles

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        made = core_schema.no_info_after_validator_function(
            lambda files: Credentials(files.certificate, files.key, files.authority),
            handler.generate_schema(CredentialFiles),
        )
        ready = core_schema.is_instance_schema(Credentials)
        return core_schema.no_info_wrap_validator_function(
            lambda value, inner: value if isinstance(value, Credentials) else inner(value),
            made,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
            json_schema_input_schema=ready,
        )


LocalPath = Annotated[Path, AfterValidator(_located)]
ListenAddress = Annotated[Address, NoDecode, PlainValidator(_address)]
PeerAddress = Annotated[Address, NoDecode, PlainValidator(_address), AfterValidator(_reachable)]
Name = Annotated[str, AfterValidator(_name)]
FrontUrl = Annotated[str, AfterValidator(_https)]
Files = Annotated[Credentials, _WrittenAsFiles()]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Bytes = Annotated[ByteSize, BeforeValidator(_number), Field(ge=1)]

_SECONDS = "seconds, more than 0"
_BYTES = 'bytes, such as 1048576 or "1 MiB"'


# ---- network.toml --------------------------------------------------------------------------------


class PartyEntry(Section):
    """One [[parties]] table: what others have to know of a party."""

    name: Name = Field(description=f"{NAME_RULE}, as in the party's certificate")
    front: FrontUrl = Field(description='where clients reach it, "https://host:8441"')
    peers: PeerAddress = Field(description='where other parties reach it, "host:8442"')


class DealerEntry(Section):
    """The [dealer] table."""

    name: Name = Field(description=f"{NAME_RULE}, as in the dealer's certificate")
    address: PeerAddress = Field(description='where parties reach it, "host:8450"')


class Network(Section):
    """Who computes. The order of the parties counts: the first leads, the last takes corrections,
    and share i is for party i. All roles need the same."""

    parties: tuple[PartyEntry, ...] = Field(
        description="two or more [[parties]] tables with name, front and peers"
    )
    dealer: DealerEntry = Field(description="a table with name and address")

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        if len(self.parties) < 2:
            raise ValueError(f"there are 2 parties or more, not {len(self.parties)}")
        names = [each.name for each in self.parties]
        for what, values in (
            ("names", names),
            ("fronts", [each.front for each in self.parties]),
            ("peers", [str(each.peers) for each in self.parties]),
        ):
            twice = sorted({each for each in values if values.count(each) > 1})
            if twice:
                raise ValueError(f"the {what} of parties differ; {twice[0]} is there twice")
        if self.dealer.name in names:
            raise ValueError(
                f"the dealer is none of the parties: {self.dealer.name} would know all masks"
            )
        return self

    @property
    def leader(self) -> PartyEntry:
        """Party 0, which picks batches and opens sessions."""
        return self.parties[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.parties)

    def index_of(self, name: str) -> int:
        """The place of a party in the order. Raises ConfigError for a name that is none."""
        if name not in self.names:
            raise ConfigError(
                f"{name!r} is none of the parties of the network: {', '.join(self.names)}"
            )
        return self.names.index(name)


def _network(value: object, info: ValidationInfo) -> object:
    if isinstance(value, Network):
        return value
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("this is no path")
    return load_network(_located(Path(value), info))


NetworkFile = Annotated[Network, NoDecode, PlainValidator(_network)]


# ---- limits and stock ----------------------------------------------------------------------------


class Limits(Section):
    """Every wait has an end, in seconds, and everything that comes from outside a size."""

    handshake: Seconds = Field(default=10, description=f"{_SECONDS}: a TLS handshake")
    connect: Seconds = Field(default=10, description=f"{_SECONDS}: making a connection")
    round: Seconds = Field(default=30, description=f"{_SECONDS}: the others' share of one opening")
    query: Seconds = Field(default=120, description=f"{_SECONDS}: a whole query")
    publish: Seconds = Field(default=600, description=f"{_SECONDS}: publishing a model")
    deal: Seconds = Field(default=600, description=f"{_SECONDS}: dealing one batch")
    stock: Seconds = Field(default=60, description=f"{_SECONDS}: a query's wait for a dealt batch")
    shutdown: Seconds = Field(
        default=30,
        description=f"{_SECONDS}: letting queries finish at the end, and then what is written",
    )
    idle: Seconds = Field(
        default=60, description=f"{_SECONDS}: silence after which a link is tested"
    )
    request_bytes: Bytes = Field(default=ByteSize(256 * MIB), description=f"{_BYTES}: an HTTP body")
    run_bytes: Bytes = Field(
        default=ByteSize(8 * GIB),
        description=f"{_BYTES}: what one run of a program may have in memory, at the most",
    )
    program_bytes: Bytes = Field(
        default=ByteSize(16 * MIB), description=f"{_BYTES}: an encoded program"
    )
    saved_bytes: Bytes = Field(
        default=ByteSize(16 * GIB), description=f"{_BYTES}: what sessions save on the disk"
    )
    session: Seconds = Field(default=86400, description=f"{_SECONDS}: a whole eager session")
    session_wires: Count = Field(
        default=100_000, description="how many wires an eager session holds at once"
    )
    session_bytes: Bytes = Field(
        default=ByteSize(8 * GIB),
        description=f"{_BYTES}: what wires and programs of an eager session may have in memory",
    )
    sessions_at_once: Count = Field(default=32, description="how many eager sessions run at once")
    sessions_each: Count = Field(
        default=8, description="how many of these one user has, so that others find a place"
    )
    queries_at_once: Count = Field(default=64, description="how many queries run or wait at once")
    handshakes_at_once: Count = Field(
        default=64, description="how many TLS handshakes are open at once"
    )
    links: Count = Field(default=256, description="how many connections are open at once")
    streams: Count = Field(
        default=1024, description="how many streams one connection carries at once"
    )


class StockSettings(Section):
    """How many dealt batches a party keeps of each model."""

    low: Annotated[int, BeforeValidator(_number), Field(ge=0)] = Field(
        default=4, description="a number of batches; with fewer, more are dealt"
    )
    high: Count = Field(
        default=16, description="a number of batches, low or more; up to it they are dealt"
    )
    prepared: Annotated[int, BeforeValidator(_number), Field(ge=0)] = Field(
        default=2, description="how many batches are prepared ahead in memory"
    )
    bytes: Bytes = Field(
        default=ByteSize(16 * GIB), description=f"{_BYTES}: all batches on the disk"
    )

    @model_validator(mode="after")
    def _ordered(self) -> StockSettings:
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; high is low or more")
        return self


# ---- party.toml, dealer.toml, client.toml --------------------------------------------------------


class PartyConfig(Section):
    """One party. `name` is one of the network's parties."""

    name: Name = Field(description="the party's name in network.toml and in its certificate")
    network: NetworkFile = Field(description='the path of the network\'s file, "network.toml"')
    data: LocalPath = Field(description='a folder for models, stock, ledger and audit log, "data"')
    front: ListenAddress = Field(description='where to listen for clients, "0.0.0.0:8441"')
    peers: ListenAddress = Field(description='where to listen for parties, "0.0.0.0:8442"')
    credentials: Files = Field(description="a table with certificate, key and authority")
    policy: LocalPath | None = Field(
        default=None,
        description='the path of the policy, "policy.toml"; without, nobody may do anything',
    )
    ledger: Annotated[SecretStr, AfterValidator(_ledger)] | None = Field(
        default=None, description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    )
    audit: LocalPath | None = Field(default=None, description="the path of the audit log")
    metrics: ListenAddress | None = Field(
        default=None, description='where anybody may read metrics in the clear, "127.0.0.1:9100"'
    )
    limits: Limits = Field(default=Limits(), description="a table of waits and sizes")
    stock: StockSettings = Field(
        default=StockSettings(), description="a table with low, high, prepared and bytes"
    )

    @model_validator(mode="after")
    def _known(self) -> PartyConfig:
        try:
            self.network.index_of(self.name)
        except ConfigError as error:
            raise ValueError(f"name: {error}") from None
        return self

    @property
    def index(self) -> int:
        """This party's place in the order: 0 leads."""
        return self.network.index_of(self.name)

    @property
    def ledger_url(self) -> str:
        """With its password: not for logs. Without a setting, a file in `data`."""
        # Who only queries has no database driver.
        from tacita.service.ledger_database import sqlite_url

        if self.ledger is None:
            return sqlite_url(self.data / "ledger.sqlite")
        url = self.ledger.get_secret_value()
        return sqlite_url(Path(url.removeprefix(SQLITE))) if url.startswith(SQLITE) else url

    @property
    def audit_path(self) -> Path:
        return self.audit or self.data / "audit.jsonl"


class DealerConfig(Section):
    """The dealer. `name` is the network's dealer."""

    name: Name = Field(description="the dealer's name in network.toml and in its certificate")
    network: NetworkFile = Field(description='the path of the network\'s file, "network.toml"')
    data: LocalPath = Field(description='a folder for keys of published models, "data"')
    address: ListenAddress = Field(description='where to listen for parties, "0.0.0.0:8450"')
    credentials: Files = Field(description="a table with certificate, key and authority")
    metrics: ListenAddress | None = Field(
        default=None, description='where anybody may read metrics in the clear, "127.0.0.1:9100"'
    )
    limits: Limits = Field(default=Limits(), description="a table of waits and sizes")

    @model_validator(mode="after")
    def _known(self) -> DealerConfig:
        if self.name != self.network.dealer.name:
            raise ValueError(
                f"name: {self.name!r} is not the network's dealer, {self.network.dealer.name!r}"
            )
        return self


class ClientConfig(Section):
    """An owner or a client; which of them, its certificate says."""

    network: NetworkFile = Field(description='the path of the network\'s file, "network.toml"')
    credentials: Files = Field(description="a table with certificate, key and authority")
    limits: Limits = Field(default=Limits(), description="a table of waits and sizes")


def load_network(path: Path) -> Network:
    """network.toml. Raises ConfigError."""
    return load(Network, path, NETWORK_PREFIX)


def load_party(path: Path) -> PartyConfig:
    """party.toml, and the network.toml that it names. Raises ConfigError."""
    return load(PartyConfig, path, PARTY_PREFIX)


def load_dealer(path: Path) -> DealerConfig:
    """dealer.toml, and the network.toml that it names. Raises ConfigError."""
    return load(DealerConfig, path, DEALER_PREFIX)


def load_client(path: Path) -> ClientConfig:
    """client.toml, and the network.toml that it names. Raises ConfigError."""
    return load(ClientConfig, path, CLIENT_PREFIX)
