"""A party's models as each principal may see them: the party's policy and the owner's audience
decide, and what somebody may not see is, to them, not there.
"""

from __future__ import annotations

from collections.abc import Callable

from tacita.errors import Refused, UnknownModel
from tacita.network.identity import Principal
from tacita.program.program import Port
from tacita.service.front.engine import ModelInfo, TensorInfo
from tacita.service.models import ServedModel
from tacita.service.policy import Policy, Terms
from tacita.service.surroundings import Surroundings


class Catalogue:
    """policy: the one in force when it is called; it may change while the party runs."""

    def __init__(self, around: Surroundings, policy: Callable[[], Policy]) -> None:
        self._around = around
        self._policy = policy

    @property
    def policy(self) -> Policy:
        return self._policy()

    def ready(self) -> bool:
        """Whether queries can be answered: all other parties are connected."""
        around = self._around
        return all(around.neighbours.connected(name) for name in around.others)

    def may_see(self, principal: Principal, model: ServedModel) -> bool:
        """An owner sees its own; others what they may query."""
        if model.published.owner == str(principal):
            return True
        try:
            self.terms(principal, model)
        except Refused:
            return False
        return True

    def terms(self, principal: Principal, model: ServedModel) -> Terms:
        """On which a principal may query a model. Raises Refused."""
        return self.policy.query_terms(principal, model.name, model.published.audience)

    def seen_by(self, principal: Principal) -> list[ServedModel]:
        return [model for model in self._around.models.all() if self.may_see(principal, model)]

    def visible(self, principal: Principal, name: str) -> ServedModel:
        """Raises UnknownModel, also for one that this principal may not see."""
        model = self._around.models.named(name)
        hidden = model is not None and not self.may_see(principal, model)
        if hidden:
            self._around.metrics.refused("policy")
        if model is None or hidden:
            raise UnknownModel(
                f"no model {name!r} is published here that {principal} may use: `tacita models` "
                "lists those"
            )
        return model

    def owned(self, principal: Principal, name: str) -> ServedModel:
        """One that this principal may change. Raises UnknownModel and Refused."""
        model = self.visible(principal, name)
        if model.published.owner != str(principal):
            raise Refused(f"{name!r} belongs to {model.published.owner}, not to {principal}")
        self.policy.check_publish(principal, name)
        return model

    def info(self, model: ServedModel) -> ModelInfo:
        around, program = self._around, model.program

        def described(ports: tuple[Port, ...]) -> tuple[TensorInfo, ...]:
            wires = [(port.name, program.wires[port.wire]) for port in ports]
            return tuple(TensorInfo(name, wire.shape, wire.scale) for name, wire in wires)

        return ModelInfo(
            name=model.name,
            model_id=model.id,
            digest=model.digest.hex(),
            owner=model.published.owner,
            ready=self.ready(),
            stock=around.storehouse.level(model.id),
            inputs=described(program.inputs),
            outputs=described(program.outputs),
            party=around.index,
            parties=len(around.parties),
        )
