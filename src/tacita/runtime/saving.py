"""Saving wires of a session at its parties, and loading them again: what each party does.

The user's side asks all parties the same; the parties settle between themselves which version is
meant, since a user who dies between two messages must not leave them at odds.

    Save    1. They tell each other which versions they have. The next number is one more than the
               largest; all but the newest that everybody has is deleted.
            2. Each writes its shares, and has them on its disk before it says so to the others.
            3. Whoever has heard that of all deletes the version before.
    Find    They tell each other what they have; the newest that everybody has is meant, and each
            describes it to the user.
    Load    Its shares become wires.
    Remove  All versions go.

A party that dies before it has written leaves the others with the version before, one that dies
afterwards leaves everybody with the new one: nobody deletes a version that is not replaced at all.
At step 3 each is sure of what the others have, not of what they have heard; so what a save that
failed has left counts if all parties turn out to have it.

One session at a time saves under a name, at each party. So while a party tells what it has, no
version is underway that could become complete without it, and what is deleted then never will.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from math import prod
from typing import Annotated, Protocol

import msgspec

from tacita.errors import BoundExceeded, PeerError, PeerFailed, TacitaError, UsageError
from tacita.program.readings import Array
from tacita.runtime.checkpoint import (
    Checkpoint,
    Description,
    Found,
    Id,
    Name,
    Version,
    description_of,
    newest_of_all,
    places_of,
)
from tacita.runtime.checkpoints import Checkpoints
from tacita.runtime.orders import Answer, encode
from tacita.runtime.restrictions import NONE, Exposed, Loans, Restrictions
from tacita.runtime.store import Held, Store
from tacita.runtime.transport import Endpoint, Message, expected

LONGEST_WHY = 2000  # characters
Why = Annotated[str, msgspec.Meta(max_length=LONGEST_WHY)]


class Topic(msgspec.Struct, frozen=True, array_like=True):
    """What the user's side asks. number: of the order, as in `orders.py`."""

    number: int


class Save(Topic, frozen=True, tag=True):
    """These wires are to be saved. id: of the version, random. about: an encoded `Description`."""

    name: Name
    id: Id
    wires: tuple[int, ...]
    about: bytes


class Find(Topic, frozen=True, tag=True):
    """Which version there is, and what is in it."""

    name: Name


class Load(Topic, frozen=True, tag=True):
    """The tensors of a version that was found are to be these wires."""

    name: Name
    version: Version
    wires: tuple[int, ...]


class Remove(Topic, frozen=True, tag=True):
    """Nothing is to be saved under this name any more."""

    name: Name


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """Party to party: which versions it has. about: digest of what is to be saved.

    why: it can neither save nor load anything, and so nobody else is to. unreadable: ids of files
    that it has and cannot read, whatever their names are.
    """

    number: int
    versions: Annotated[tuple[Version, ...], msgspec.Meta(max_length=1000)]
    about: bytes = b""
    why: Why = ""
    unreadable: Annotated[tuple[Id, ...], msgspec.Meta(max_length=1 << 16)] = ()


class Written(msgspec.Struct, frozen=True, array_like=True):
    """Party to party: the version is on its disk, or why not."""

    number: int
    version: Version
    why: Why = ""


AnyTopic = Save | Find | Load | Remove
_decode_topic = msgspec.msgpack.Decoder(AnyTopic).decode
_decode_offer = msgspec.msgpack.Decoder(Offer).decode
_decode_written = msgspec.msgpack.Decoder(Written).decode


class Vault(Protocol):
    """What one user may do with the checkpoints of one party. All of it may raise TacitaError."""

    def saving(self, about: Description) -> AbstractContextManager[Description]:
        """A block in which the user saves what is described so; gives it with its owner.

        No other session saves under this name meanwhile, at this party.
        """
        ...

    def versions(self, name: str) -> list[Checkpoint]:
        """Those that the user may load, in ascending order."""
        ...

    def unreadable(self) -> tuple[bytes, ...]:
        """Ids of the versions, of any names, that lie here and cannot be read."""
        ...

    def put(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None: ...

    def keep_only(self, name: str, version: Version | None) -> None: ...

    def load(self, checkpoint: Checkpoint) -> tuple[list[Array], list[Loans]]:
        """Of each tensor, this party's share and the terms that it comes under."""
        ...

    def remove(self, name: str) -> None: ...

    def refusal(self, loans: Loans) -> str | None:
        """As `party.Shelf.refusal`."""
        ...


class OwnVault:
    """Implements `Vault` where there is one user, who may do anything."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    @contextmanager
    def saving(self, about: Description) -> Iterator[Description]:
        with self._checkpoints.saving(about.name):
            yield about

    def versions(self, name: str) -> list[Checkpoint]:
        return self._checkpoints.of(name)

    def unreadable(self) -> tuple[bytes, ...]:
        return self._checkpoints.unreadable_ids

    def put(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        self._checkpoints.put(checkpoint, shares)

    def keep_only(self, name: str, version: Version | None) -> None:
        self._checkpoints.keep_only(name, version)

    def load(self, checkpoint: Checkpoint) -> tuple[list[Array], list[Loans]]:
        return self._checkpoints.shares(checkpoint), [NONE] * len(checkpoint.about.tensors)

    def remove(self, name: str) -> None:
        if not self._checkpoints.of(name):
            raise nothing(name)
        with self._checkpoints.saving(name):
            self._checkpoints.keep_only(name, None)

    def refusal(self, loans: Loans) -> str | None:
        return None


def nothing(name: str, unreadable: int = 0) -> UsageError:
    """unreadable: how many files there are whose names nobody knows."""
    but = f"; what lies here and cannot be read, files: {unreadable}" if unreadable else ""
    return UsageError(f"nothing is saved under {name!r}: save it, or look at the name{but}")


class Saving:
    """What a party does in one session. exposed: why what others lent does not come into it.

    same_orders: raises PeerFailed where parties that lend were told different things.
    """

    def __init__(
        self,
        vault: Vault,
        endpoint: Endpoint,
        peers: Sequence[str],
        store: Store,
        restrictions: Restrictions,
        *,
        limit: float,
        exposed: Exposed | None,
        same_orders: Callable[[], None],
    ) -> None:
        self._vault = vault
        self._endpoint = endpoint
        self._peers = peers
        self._store = store
        self._restrictions = restrictions
        self._limit = limit
        self._exposed = exposed
        self._same_orders = same_orders

    def answer(self, header: bytes) -> Message:
        """Does what the user's side asks; what to tell it.

        Raises PeerError where another party fails or is told something else: then nobody knows
        who has what, until somebody finds out in another session.
        """
        try:
            topic: AnyTopic = _decode_topic(header)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise PeerFailed("the user asks for something saved that cannot be read") from None
        text = ""
        try:
            match topic:
                case Save():
                    text = self._save(topic, hashlib.sha256(header).digest())
                case Find():
                    text = encode(self._find(topic)).hex()
                case Load():
                    self._load(topic)
                case Remove():
                    self._vault.remove(topic.name)
        except PeerError:
            raise
        except TacitaError as error:
            refusal = f"{self._endpoint.name}: {error}"
            return Message("refuse", encode(Answer(topic.number, refusal)))
        return Message("done", encode(Answer(topic.number, text)))

    # ---- saving --------------------------------------------------------------------------------

    def _save(self, topic: Save, digest: bytes) -> str:
        self._same_orders()
        with ExitStack() as held:
            versions: list[Version] = []
            failure: TacitaError | None = None
            try:
                about, shares, (loans, terms) = self._described(topic)
                about = held.enter_context(self._vault.saving(about))
                versions = [each.version for each in self._vault.versions(topic.name)]
            except TacitaError as error:
                failure = error
            offers = self._offers(topic, versions, digest, failure)
            if failure is not None:
                raise failure
            lists = [versions, *(offer.versions for offer in offers)]
            last = max((version.sequence for each in lists for version in each), default=0)
            checkpoint = Checkpoint(Version(last + 1, topic.id), about, tuple(loans), tuple(terms))
            before = newest_of_all(lists)
            try:
                self._vault.keep_only(topic.name, before)
                self._vault.put(checkpoint, shares)
            except TacitaError as error:
                failure = error
            failure = self._why_not_written(topic, checkpoint.version, failure)
            if failure is not None:
                # Whoever could not has told everybody, so nobody takes this version for complete.
                with suppress(TacitaError):  # else it goes at the next save
                    self._vault.keep_only(topic.name, before)
                raise failure
            with suppress(TacitaError):  # it is saved, even where the one before cannot be deleted
                self._vault.keep_only(topic.name, checkpoint.version)
            return str(checkpoint.version.sequence)

    def _described(
        self, topic: Save
    ) -> tuple[Description, list[Array], tuple[list[bytes], list[tuple[int, ...]]]]:
        about = description_of(topic.about)
        if about.name != topic.name:
            raise UsageError(f"{topic.name!r} is described as {about.name!r}")
        self._require_all_here(about)
        shapes = [tensor.shape for tensor in about.tensors]
        if len(shapes) != len(topic.wires):
            raise UsageError(f"{topic.name!r} has {len(shapes)} tensors, not {len(topic.wires)}")
        if len(set(topic.wires)) < len(topic.wires):
            # Else what is loaded could be many times as large as what any session has held.
            raise UsageError(f"{topic.name!r} has a wire twice: save it once")
        shares = []
        for wire, tensor in zip(topic.wires, about.tensors, strict=True):
            if wire in self._store.failed:
                raise BoundExceeded(f"{tensor.name}: {self._store.failed[wire]}")
            share = self._store.share(wire)
            if share.size != prod(tensor.shape):
                raise UsageError(
                    f"{tensor.name!r} is described as {tensor.shape}, not {share.shape}"
                )
            shares.append(share.reshape(tensor.shape))
        behind = (self._restrictions.behind([wire]) for wire in topic.wires)
        return about, shares, places_of(behind, about.name)

    def _require_all_here(self, about: Description) -> None:
        """Shares of fewer parties, or of others, add up to something else."""
        here = {self._endpoint.name, *self._peers}
        if set(about.holders) != here:
            raise UsageError(
                f"{about.name!r} is held by {', '.join(about.holders)}, not by "
                f"{', '.join(sorted(here))}: take those who saved it"
            )

    def _offers(
        self,
        topic: Save | Find,
        versions: Sequence[Version],
        digest: bytes = b"",
        failure: TacitaError | None = None,
    ) -> list[Offer]:
        """Those of the others. Raises UsageError where one of them cannot, everywhere alike."""
        unreadable = self._vault.unreadable()
        mine = Offer(topic.number, tuple(versions), digest, why(failure), unreadable)
        offers = []
        for peer, header in self._exchange(encode(mine)):
            try:
                offer = _decode_offer(header)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise PeerFailed(f"{peer} says in no readable words what it has") from None
            if (offer.number, offer.about) != (mine.number, mine.about):
                raise PeerFailed(f"{peer} was given other orders than {self._endpoint.name}")
            if offer.why and not mine.why:
                raise UsageError(f"{peer} cannot: {offer.why}")
            offers.append(offer)
        if failure is None:
            self._require_readable(topic.name, [mine, *offers])
        return offers

    def _require_readable(self, name: str, offers: Sequence[Offer]) -> None:
        """Else the others would delete, with the next save, what one has only to restore."""
        for party, offer in zip((self._endpoint.name, *self._peers), offers, strict=True):
            lost = set(offer.unreadable)
            for version in {each for other in offers for each in other.versions}:
                if version.id in lost:
                    raise UsageError(
                        f"{party} has version {version.sequence} of {name!r} in a file that it "
                        f"cannot read, checkpoints/{version.id.hex()}: restore that file there and "
                        f"start {party} again; or give the version up by moving it away"
                    )

    def _why_not_written(
        self, topic: Save, version: Version, failure: TacitaError | None
    ) -> TacitaError | None:
        """Why not every party has it on its disk; None if all have."""
        others = self._exchange(encode(Written(topic.number, version, why(failure))))
        for peer, header in others:
            try:
                written = _decode_written(header)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise PeerFailed(f"{peer} says in no readable words what it wrote") from None
            if (written.number, written.version) != (topic.number, version):
                raise PeerFailed(f"{peer} wrote another version than {self._endpoint.name}")
            if written.why and failure is None:
                failure = UsageError(f"{peer} cannot: {written.why}")
        return failure

    def _exchange(self, mine: bytes) -> list[tuple[str, bytes]]:
        """What each other party says to the same question. Costs a message each way."""
        for peer in self._peers:
            self._endpoint.send(peer, Message("agree", mine))
        return [
            (peer, expected(self._endpoint, peer, "agree", self._limit).header)
            for peer in self._peers
        ]

    # ---- loading -------------------------------------------------------------------------------

    def _find(self, topic: Find) -> Found:
        mine = self._vault.versions(topic.name)
        offers = self._offers(topic, [each.version for each in mine])
        if not mine:
            raise nothing(topic.name, len(self._vault.unreadable()))
        self._require_all_here(mine[-1].about)
        version = newest_of_all([[each.version for each in mine], *(o.versions for o in offers)])
        for each in mine:
            if each.version == version:
                return Found(each.version, each.about)
        raise UsageError(
            f"no version of {topic.name!r} is with all parties: one has lost it, or may not lend "
            "it; save it again"
        )

    def _load(self, topic: Load) -> None:
        for checkpoint in self._vault.versions(topic.name):
            if checkpoint.version == topic.version:
                break
        else:
            raise nothing(topic.name)
        if len(topic.wires) != len(checkpoint.about.tensors):
            raise UsageError(f"{topic.name!r} has {len(checkpoint.about.tensors)} tensors")
        if self._store.budget is not None:
            # And the loan of whoever saved it, behind each of the tensors.
            count = sum(len(each) + 1 for each in checkpoint.terms)
            self._store.budget.require_room([t.shape for t in checkpoint.about.tensors], count)
        shares, loans = self._vault.load(checkpoint)
        if self._exposed is not None and self._vault.refusal(NONE.union(*loans)) is not None:
            raise UsageError(
                f"{self._exposed.why}, and not all owners let you see what is computed from "
                f"{topic.name!r}: load it in one {self._exposed.instead}"
            )
        for wire, share, behind in zip(topic.wires, shares, loans, strict=True):
            self._store.hold(wire, Held(share))
            self._restrictions.lend(wire, behind)
            if self._store.budget is not None:
                self._store.budget.lent(wire, len(behind))


def why(failure: TacitaError | None) -> str:
    return "" if failure is None else (str(failure) or type(failure).__name__)[:LONGEST_WHY]
