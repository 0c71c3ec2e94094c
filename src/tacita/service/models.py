"""The models that a party serves: program and masked shares of the weights, by name."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tacita.compiler import archive
from tacita.errors import MaskReused, PeerFailed, ProgramError, Refused, UsageError
from tacita.network.identity import Principal
from tacita.program.program import Program
from tacita.program.readings import Array, Masked
from tacita.protocols import MaskWires
from tacita.ring.randomness import StreamKey
from tacita.runtime.deployment import Deployment, require_offline
from tacita.runtime.material import Dealt, LiveMaterial
from tacita.runtime.orders import Deploy
from tacita.runtime.reading import begin
from tacita.runtime.rounds import Rounds
from tacita.runtime.stock_folder import on_disk, sync
from tacita.runtime.store import Held, Store
from tacita.runtime.transport import Endpoint
from tacita.service import weights
from tacita.service.weights import Published, WeightParts


@dataclass(frozen=True, repr=False)
class ServedModel:
    """store: the weights, as wires 0, 1, … in the order of the program's ports; read only."""

    published: Published
    deployment: Deployment
    store: Store

    def __repr__(self) -> str:
        return f"ServedModel({self.published.name!r}, {self.id.hex()})"

    @property
    def id(self) -> bytes:
        return self.published.model

    @property
    def name(self) -> str:
        return self.published.name

    @property
    def program(self) -> Program:
        return self.deployment.program

    @property
    def digest(self) -> bytes:
        return self.deployment.digest


def deployed(
    program: bytes, model: bytes, run_bytes: int | None = None, parties: int = 2
) -> Deployment:
    """A program from outside, validated, whose weights are wires 0, 1, …; raises ProgramError.

    run_bytes: what one run may take in memory; None for one that was accepted before. parties: how
    many serve it, out of their stocks, so that no program may take the dealer online.
    """
    decoded = archive.decode(program)
    order = Deploy(0, program, tuple(range(len(decoded.weights))), model)
    require_offline(decoded)
    return Deployment(order, checked=False, run_bytes=run_bytes, program=decoded, parties=parties)


def require_affordable(program: bytes, *, program_bytes: int) -> None:
    """Raises UsageError for a program that is too large to be looked at."""
    if len(program) > program_bytes:
        raise UsageError(f"a program may have {program_bytes} bytes here, not {len(program)}")


def require_weights(program: Program, shares: Sequence[Array]) -> None:
    """Raises ProgramError, naming the weight, where shares do not fit the program's ports."""
    if len(shares) != len(program.weights):
        raise ProgramError(
            f"the program has {len(program.weights)} weights, and {len(shares)} were sent"
        )
    for port, share in zip(program.weights, shares, strict=True):
        wanted = program.wires[port.wire].shape
        if share.shape != wanted:
            raise ProgramError(
                f"weight {port.name!r} has shape {share.shape}, and the program takes {wanted}"
            )


def masking_of(program: Program) -> MaskWires:
    """The instruction that masks all weights that have elements, in one round."""
    shapes = [program.wires[port.wire].shape for port in program.weights]
    filled = [number for number, shape in enumerate(shapes) if 0 not in shape]
    return MaskWires(tuple(filled), tuple(shapes[number] for number in filled))


def masked(
    name: str,
    index: int,
    program: Program,
    shares: Sequence[Array],
    key: bytes,
    endpoint: Endpoint,
    peers: Sequence[str],
    limit: float,
) -> Store:
    """Masks a model's weights with the other parties, once and for all runs.

    Opened: w + r for each weight, with r from the streams of keys that are used for this alone; see
    protocols/mask.py.
    """
    store = Store(name, first=index == 0)
    for wire, share in enumerate(shares):
        store.hold(wire, Held(share))
    instruction = masking_of(program)
    if instruction.wires:
        material = LiveMaterial(StreamKey(key), nothing_dealt, corrected=False)
        steps, _ = begin(instruction, 0, store, material)
        rounds = Rounds(endpoint, peers, 0, b"", limit)
        try:
            openings = next(steps)
            while True:
                openings = steps.send(rounds(openings))
        except StopIteration:
            pass
    return store


def nothing_dealt() -> tuple[int, Dealt]:
    raise PeerFailed("masking weights takes no corrections")


def parts_of(store: Store) -> list[WeightParts]:
    """What is to be kept of masked weights; one without elements was never masked."""
    parts = []
    for wire in range(len(store.wires)):
        held = store.held(wire)
        seen = held.mask() or Masked(held.share, held.share)
        parts.append(WeightParts(held.share, seen.opened, seen.mask_share))
    return parts


def restored(name: str, published: Published, parts: Sequence[WeightParts]) -> ServedModel:
    deployment = deployed(published.program, published.model, parties=published.parties)
    require_weights(deployment.program, [each.share for each in parts])
    store = Store(name, first=published.index == 0)
    for wire, each in enumerate(parts):
        store.hold(wire, Held(each.share, Masked(each.opened, each.mask_share)))
    return ServedModel(published, deployment, store)


ARRIVING = "arriving"


class Models:
    """All models of a party, on disk and in memory. The newest of a name is the one served.

    A model arrives in a folder of its own, and moves when all parties have it: what a crash leaves
    there is given up, and the older model of its name is served as before.
    """

    def __init__(self, folder: Path, party: str, secret: bytes) -> None:
        self._folder = folder
        self._arriving = folder / ARRIVING
        self._party = party
        self._secret = secret
        self._lock = Lock()
        self._by_name: dict[str, ServedModel] = {}

    def load(self) -> None:
        """What was published before this process began; raises MaterialError for a bad file."""
        found: list[ServedModel] = []
        with on_disk(self._arriving):
            if self._arriving.is_dir():
                shutil.rmtree(self._arriving)
        if self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                if path.suffix == "":
                    published, parts = weights.load(path, self._secret)
                    found.append(restored(self._party, published, parts))
        for model in sorted(found, key=lambda each: each.published.made):
            before = self._by_name.get(model.name)
            self._by_name[model.name] = model
            if before is not None:  # a crash came between the two
                weights.remove(self._folder, before.id)

    def keep(self, published: Published, deployment: Deployment, store: Store) -> ServedModel:
        """A model on the disk, which is not served yet. Raises MaterialError, MaskReused."""
        path = self._folder / published.model.hex()
        if path.exists():
            raise MaskReused(f"{path} is there already; publish under a fresh model id")
        weights.save(self._arriving, published, parts_of(store), self._secret)
        return ServedModel(published, deployment, store)

    def give_up(self, model: ServedModel) -> None:
        """Removes a model that was kept and not served."""
        weights.remove(self._arriving, model.id)

    def serve(self, model: ServedModel) -> ServedModel | None:
        """Serves a model that was kept from now on, and after a restart; the one that it replaces.

        Raises Refused where its name has become another owner's, MaterialError.
        """
        with self._lock:
            before = self._by_name.get(model.name)
            if before is not None:
                require_owner(before, model.published.owner)
            with on_disk(self._folder):
                os.rename(self._arriving / model.id.hex(), self._folder / model.id.hex())
                sync(self._folder)
            self._by_name[model.name] = model
        if before is not None:
            weights.remove(self._folder, before.id)
        return before

    def remove(self, model: ServedModel) -> None:
        with self._lock:
            if self._by_name.get(model.name) is model:
                del self._by_name[model.name]
        weights.remove(self._folder, model.id)

    def all(self) -> list[ServedModel]:
        with self._lock:
            return list(self._by_name.values())

    def named(self, name: str) -> ServedModel | None:
        with self._lock:
            return self._by_name.get(name)

    def known(self, model: bytes, digest: bytes) -> ServedModel:
        """The model with this id and program; raises PeerFailed where it is not served here."""
        for each in self.all():
            if each.id == model and each.digest == digest:
                return each
        raise PeerFailed(
            f"{self._party} does not serve model {model.hex()} with program {digest.hex()[:16]}…: "
            "publish it again, to all parties"
        )

    def require_replaceable(self, name: str, owner: Principal) -> None:
        """Raises Refused where a name belongs to somebody else."""
        before = self.named(name)
        if before is not None:
            require_owner(before, str(owner))


def require_owner(model: ServedModel, owner: str) -> None:
    if model.published.owner != owner:
        raise Refused(f"the name {model.name!r} is taken by another owner: choose another")


def new_published(
    *,
    name: str,
    model: bytes,
    owner: Principal,
    audience: Sequence[str],
    program: bytes,
    parties: int,
    index: int,
) -> Published:
    if not name or len(name) > 100 or not all(c.isalnum() or c in "-_." for c in name):
        raise UsageError(
            f"a model's name has letters, digits, '-', '_' and '.', 100 at most, not {name!r}"
        )
    return Published(
        name=name,
        model=model,
        owner=str(owner),
        fingerprint=owner.fingerprint,
        audience=tuple(audience),
        program=program,
        parties=parties,
        index=index,
        made=time.time(),
    )
