"""What the HTTPS front is written against: an engine that answers its requests.

All methods block and are called in worker threads, several at once. They may raise any error of the
tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from tacita.errors import TacitaError
from tacita.network.identity import Principal
from tacita.network.tensors import Tensor


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a model: all of it public."""

    name: str
    shape: tuple[int, ...]
    scale: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A published model, as one party sees it.

    model_id: 16 bytes, chosen by the owner. digest: of the program, hexadecimal. owner: its name as
    "owner:name". stock: runs that are dealt and ready. party: this party's index, of `parties`.
    """

    name: str
    model_id: bytes
    digest: str
    owner: str
    ready: bool
    stock: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    party: int
    parties: int


@dataclass(frozen=True, slots=True)
class Publication:
    """A model's program and this party's shares of its weights, and who may query it.

    model_id: 16 bytes. audience: principals as "role:name"; the party's own policy decides anyway.
    """

    name: str
    model_id: bytes
    program: bytes = field(repr=False)
    weights: tuple[Tensor, ...]
    audience: tuple[str, ...]


class Engine(Protocol):
    """One party's work behind its front; it decides what a (verified) principal may do."""

    def ready(self) -> bool:
        """Whether this party can answer queries: ledger, dealer and the other parties are there."""
        ...

    def status(self, principal: Principal) -> dict[str, Any]:
        """What operators look at; JSON."""
        ...

    def neighbours(self, principal: Principal) -> dict[str, Any]:
        """How fast the ways to other daemons are, measured now or lately; JSON. Raises Refused,
        and Busy while it is measured for somebody else."""
        ...

    def models(self, principal: Principal) -> list[ModelInfo]:
        """Those that this principal may see."""
        ...

    def model(self, principal: Principal, name: str) -> ModelInfo:
        """Raises UnknownModel, also for one that this principal may not see."""
        ...

    def check_query(self, principal: Principal, model: str) -> None:
        """Before a query's body is received, without blocking: raises UnknownModel or Refused."""
        ...

    def check_publish(self, principal: Principal, model: str) -> None:
        """Before a publication's body is received, without blocking: raises Refused."""
        ...

    def decline_query(self, principal: Principal, query: bytes, error: TacitaError) -> None:
        """A query was refused before its body came: the other parties are not to wait."""
        ...

    def decline_publication(self, model_id: bytes, error: TacitaError) -> None: ...

    def infer(
        self, principal: Principal, model: str, query: bytes, inputs: list[Tensor]
    ) -> list[Tensor]:
        """This party's shares of the results. `query`: 16 bytes, the same at every party.

        Raises UnknownModel, Refused, RateExceeded, ShapeError, AlreadyUsed, StockEmpty, NotReady,
        PeerTimeout, PeerFailed.
        """
        ...

    def publish(self, principal: Principal, publication: Publication) -> ModelInfo:
        """Returns once the weights are stored, masked, at every party."""
        ...

    def remove(self, principal: Principal, name: str) -> None: ...

    def deal(self, principal: Principal, name: str, runs: int) -> int:
        """Has `runs` more runs dealt; the stock there is afterwards."""
        ...

    def program(self, principal: Principal, name: str) -> bytes:
        """The encoded program, as it was published."""
        ...

    def metrics(self, principal: Principal) -> bytes:
        """In Prometheus' text format."""
        ...
