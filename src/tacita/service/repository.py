"""What owners change at a party: publishing a model, removing it, and having runs of it dealt."""

from __future__ import annotations

from tacita.compiler.archive import DIGEST_BYTES
from tacita.errors import NotReady, TacitaError
from tacita.network.identity import Principal
from tacita.service.audit import AuditLog
from tacita.service.catalogue import Catalogue
from tacita.service.conversations import publication_of, told
from tacita.service.front.engine import ModelInfo, Publication
from tacita.service.models import ServedModel
from tacita.service.publication import OneAtATime, forget_at_dealer, publish
from tacita.service.queries import Leading, decline
from tacita.service.supply import Refiller
from tacita.service.surroundings import Surroundings


class Repository:
    """leading, refiller: of the party that leads; None at the others."""

    def __init__(
        self,
        around: Surroundings,
        catalogue: Catalogue,
        audit: AuditLog,
        leading: Leading | None,
        refiller: Refiller | None,
    ) -> None:
        self._around = around
        self._catalogue = catalogue
        self._audit = audit
        self._leading = leading
        self._refiller = refiller
        self._publishing = OneAtATime()

    def decline(self, model_id: bytes, error: TacitaError) -> None:
        """A publication was refused here: the other parties are not to wait for this one."""
        decline(self._around, publication_of(model_id), "publication", error)

    def publish(self, principal: Principal, publication: Publication) -> ModelInfo:
        """Returns once the weights are stored, masked, at every party. Raises Refused, PeerError,
        ProgramError, AlreadyUsed and what the parts of publishing raise."""
        around = self._around
        digest = publication.program[-DIGEST_BYTES:].hex()
        try:
            self._catalogue.policy.check_publish(principal, publication.name)
            model = self._publish(principal, publication)
        except Exception as error:
            decline(around, publication_of(publication.model_id), "publication", error)
            self._audit.record(
                "publish", principal, model=publication.name, program=digest, outcome=told(error)
            )
            raise
        self._audit.record("publish", principal, model=publication.name, program=digest)
        around.log.info("published", model=model.name, id=model.id.hex(), owner=str(principal))
        return self._catalogue.info(model)

    def _publish(self, principal: Principal, publication: Publication) -> ServedModel:
        around, name = self._around, publication.name
        if self._leading is None:
            around.models.require_replaceable(name, principal)
            model, older = publish(around, principal, publication)
        else:
            with self._publishing.turn(name, around.limits.publish):
                around.models.require_replaceable(name, principal)
                model, older = publish(around, principal, publication)
                self._leading.serve(model)
        if older is not None:
            self._forget(older)
        return model

    def remove(self, principal: Principal, name: str) -> None:
        """Raises UnknownModel and Refused."""
        model = self._catalogue.owned(principal, name)
        self._around.models.remove(model)
        if self._leading is not None:
            self._leading.withdraw(model)
        self._forget(model)
        self._audit.record("remove", principal, model=name, program=model.digest.hex())

    def deal(self, principal: Principal, name: str, runs: int) -> int:
        """The stock there is afterwards. Raises NotReady at a party that does not lead."""
        model = self._catalogue.owned(principal, name)
        if self._refiller is None:
            raise NotReady(f"{self._around.name} does not lead: ask {self._around.leader}")
        return self._refiller.deal(model, runs)

    def _forget(self, model: ServedModel) -> None:
        """The stock of a model that is not served any more goes, here and at the dealer."""
        around = self._around
        around.storehouse.forget_model(model.id)
        if around.models.named(model.name) is None:
            around.metrics.forget_model(model.name)
        forget_at_dealer(around, model.id)
