"""What one user may save at a party's daemon and load from it, on the owners' terms.

Whoever saves owns the name, and says who else may load it (`borrowers`) and to whom it, and what is
computed from it, may be revealed (`audience`). Beside the shares of each tensor lie the terms of
everything that it was computed from (`terms.py`). A wire that is loaded has them again, and those
of the checkpoint itself. So a model that was trained on the data of several owners is revealed to
those alone whom all of them have named, whoever saved and loaded it in between, and after a restart
as before.

To load is to compute, not to see: whom the owners of the data let compute with them is asked when
their data are borrowed or loaded; who may load what was made of it, whoever made it decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from tacita.errors import AlreadyUsed, UsageError
from tacita.network.identity import Principal
from tacita.program.readings import Array
from tacita.runtime.checkpoint import Checkpoint, Description, Version
from tacita.runtime.checkpoints import Checkpoints
from tacita.runtime.restrictions import Loans
from tacita.service.audit import AuditLog
from tacita.service.policy import check_pattern, matches
from tacita.service.terms import loan_of, refusal


class UsersVault:
    """Implements `runtime.saving.Vault` for one session."""

    def __init__(self, checkpoints: Checkpoints, user: Principal, audit: AuditLog) -> None:
        self._checkpoints = checkpoints
        self._user = user
        self._audit = audit

    @contextmanager
    def saving(self, about: Description) -> Iterator[Description]:
        """Raises AlreadyUsed for another owner's name, ConfigError for a pattern of nobody."""
        for pattern in (*about.borrowers, *about.audience):
            check_pattern(pattern)
        about = msgspec.structs.replace(about, owner=str(self._user))
        with self._checkpoints.saving(about.name):
            if any(each.about.owner != about.owner for each in self._checkpoints.of(about.name)):
                raise AlreadyUsed(f"{about.name!r} is another owner's: choose another name")
            yield about

    def versions(self, name: str) -> list[Checkpoint]:
        """Nothing, the same as where nothing is, of what this user may not load."""
        return [
            each
            for each in self._checkpoints.of(name)
            if each.about.owner == str(self._user) or matches(self._user, each.about.borrowers)
        ]

    def unreadable(self) -> tuple[bytes, ...]:
        return self._checkpoints.unreadable_ids

    def put(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        self._checkpoints.put(checkpoint, shares)
        self._record("save", checkpoint)

    def keep_only(self, name: str, version: Version | None) -> None:
        self._checkpoints.keep_only(name, version)

    def load(self, checkpoint: Checkpoint) -> tuple[list[Array], list[Loans]]:
        own = loan_of(checkpoint.about.owner, checkpoint.about.audience)
        shares = self._checkpoints.shares(checkpoint)
        self._record("load", checkpoint)
        return shares, [loans | {own} for loans in checkpoint.loans_behind()]

    def remove(self, name: str) -> None:
        """Raises UsageError where this user has saved nothing under that name."""
        with self._checkpoints.saving(name):
            versions = self._checkpoints.of(name)
            if not versions or versions[-1].about.owner != str(self._user):
                raise UsageError(f"{self._user} has saved nothing under {name!r} here")
            self._checkpoints.keep_only(name, None)
        self._record("unsave", versions[-1])

    def refusal(self, loans: Loans) -> str | None:
        return refusal(self._user, loans)

    def _record(self, event: str, checkpoint: Checkpoint) -> None:
        about, version = checkpoint.about, checkpoint.version
        self._audit.record(
            event,
            self._user,
            outcome=f"{about.name!r} of {about.owner}, version {version.sequence}",
        )
