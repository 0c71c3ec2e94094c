"""What the parts of a party's daemon have in common: who it is, and what it works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

from tacita.network.identity import Principal
from tacita.service.config import Limits, StockSettings
from tacita.service.desk import Desk
from tacita.service.ledger import Ledger
from tacita.service.logs import Log
from tacita.service.meeting import Meeting
from tacita.service.metrics import Metrics
from tacita.service.models import Models
from tacita.service.neighbours import Neighbours
from tacita.service.storehouse import Storehouse


@dataclass(repr=False)
class Surroundings:
    """parties: all names in their order; this one is `parties[index]`, and the first leads.

    stock_used: set when a batch was taken out of the stock; at the leader, which sees to more.
    """

    principal: Principal
    parties: Sequence[str]
    index: int
    dealer: str
    limits: Limits
    stock: StockSettings
    models: Models
    ledger: Ledger
    storehouse: Storehouse
    neighbours: Neighbours
    meeting: Meeting
    desk: Desk
    metrics: Metrics
    log: Log
    stock_used: Event = field(default_factory=Event)

    @property
    def name(self) -> str:
        return self.parties[self.index]

    @property
    def leader(self) -> str:
        return self.parties[0]

    @property
    def leads(self) -> bool:
        return self.index == 0

    @property
    def others(self) -> list[str]:
        return [name for name in self.parties if name != self.name]

    @property
    def lower(self) -> Sequence[str]:
        """Those who open streams to this party."""
        return self.parties[: self.index]

    @property
    def higher(self) -> Sequence[str]:
        """Those to whom this party opens streams."""
        return self.parties[self.index + 1 :]
