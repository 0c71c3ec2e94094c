"""A session whose parties and dealer are threads of this process."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from threading import Thread

from tacita.runtime.choosing import AUTO
from tacita.runtime.consulting import desk_of
from tacita.runtime.dealer import Dealer
from tacita.runtime.party import Party
from tacita.runtime.saving import Vault
from tacita.runtime.serving import USER, serve, stop
from tacita.runtime.session import WAIT_LIMIT, Session
from tacita.runtime.transport import MemoryNetwork


class EmbeddedSession(Session):
    """See `Session`. Whoever owns the process sees all shares: for development and measurement."""

    def __init__(
        self,
        holders: Sequence[str],
        dealer: str | None,
        *,
        protocol: str = AUTO,
        checked: bool = False,
        limit: float = WAIT_LIMIT,
        vaults: Sequence[Vault] = (),
    ) -> None:
        """vaults: where each holder saves, in their order; none: it does not."""
        names = [*holders, *([dealer] if dealer is not None else [])]
        desks = [desk_of(dealer)] if dealer is not None else []
        self.network = MemoryNetwork([*names, *desks, USER], limit)
        super().__init__(
            self.network.endpoint(USER),
            holders,
            dealer,
            protocol=protocol,
            checked=checked,
            limit=limit,
        )
        self.parties = [
            self._party(index, vaults[index] if vaults else None)
            for index in range(len(self.holders))
        ]
        roles: list[Party | Dealer] = list(self.parties)
        if dealer is not None:
            roles.append(
                Dealer(
                    self.network.endpoint(dealer),
                    self.holders,
                    USER,
                    checked=checked,
                    desk=self.network.endpoint(desk_of(dealer)),
                    limit=limit,
                )
            )
        self._roles = roles
        self._threads = [
            Thread(
                target=serve,
                args=(role, self.network.endpoint(name), (*self._names, *desks)),
                name=f"tacita {name}",
                daemon=True,
            )
            for name, role in zip(names, roles, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        # The threads do not refer to the session, so that it goes when its last tensor does.
        weakref.finalize(self, stop, self._endpoint, self._names)

    def _party(self, index: int, vault: Vault | None) -> Party:
        name = self.holders[index]
        return Party(
            self.network.endpoint(name),
            [peer for peer in self.holders if peer != name],
            index=index,
            dealer=self.dealer,
            user=USER,
            limit=self._limit,
            checked=self.checked,
            vault=vault,
            desk=desk_of(self.dealer) if self.dealer is not None else None,
        )

    def _carried(self) -> list[int]:
        return [role.carried for role in self._roles]

    def close(self) -> None:
        """Ends the session, and waits for the roles' threads; its shares are gone."""
        super().close()
        for thread in self._threads:
            thread.join(self._limit)
