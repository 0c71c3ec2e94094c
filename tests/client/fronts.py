"""Two fronts over small engines, on loopback, and clients of them."""

import hashlib
import threading
from dataclasses import replace

import numpy as np

from tacita.client import Client
from tacita.errors import AlreadyUsed, UnknownModel
from tacita.network.address import Address
from tacita.network.authority import create_authority, issue
from tacita.network.tensors import Tensor
from tacita.service.config import ClientConfig, DealerEntry, Limits, Network, PartyEntry
from tacita.service.front.engine import ModelInfo, TensorInfo
from tacita.service.front.limits import FrontLimits
from tacita.service.front.serving import Front

WAIT = 30.0  # seconds: the limit of every wait in these tests
SCALE = 1 << 16
PARTIES = ("alice", "bob")
X = TensorInfo("x", (2, 3), SCALE)
Y = TensorInfo("y", (2, 3), SCALE)


def info(name, index, inputs=(X,), outputs=(Y,), model_id=bytes(16), program=b"p"):
    return ModelInfo(
        name, model_id, hashlib.sha256(program).hexdigest(), "owner:olga", True, 3 - index,
        tuple(inputs), tuple(outputs), index, len(PARTIES),
    )  # fmt: skip


class Party:
    """An engine whose only program doubles the sum of its inputs: linear, so right for shares."""

    def __init__(self, index):
        self.index = index
        self.models_ = {"doubling": info("doubling", index)}
        self.programs = {"doubling": b"p"}
        self.fails_with = None
        self.gate = None
        self.changed = lambda tensors: tensors
        self.queries = []  # (id, inputs)
        self.asked = []
        self.published = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def _check(self, what):
        self.asked.append(what)
        if self.fails_with is not None:
            raise self.fails_with

    def ready(self):
        return True

    def status(self, principal):
        self._check("status")
        return {"asked_by": str(principal)}

    def neighbours(self, principal):
        self._check("neighbours")
        return {}

    def models(self, principal):
        self._check("models")
        return list(self.models_.values())

    def model(self, principal, name):
        self.asked.append("model")
        if name not in self.models_:
            raise UnknownModel(f"there is no model {name!r}")
        return self.models_[name]

    def program(self, principal, name):
        return self.programs[self.model(principal, name).name]

    def check_query(self, principal, model):
        """Whoever may not is told by `infer` here."""

    def check_publish(self, principal, model):
        pass

    def decline_query(self, principal, query, error):
        pass

    def decline_publication(self, model_id, error):
        pass

    def infer(self, principal, model, query, inputs):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            if query in [each for each, _ in self.queries]:
                raise AlreadyUsed("this query was asked before")
            self.queries.append((query, inputs))
        try:
            self._check("infer")
            served = self.model(principal, model)
            if self.gate is not None:
                assert self.gate.wait(WAIT)
            with np.errstate(over="ignore"):  # of a scalar NumPy minds
                total = sum(each.values for each in inputs) * np.uint64(2)
            return self.changed([
                Tensor(each.name, each.shape, total.reshape(each.shape), each.scale, self.index,
                       len(PARTIES))
                for each in served.outputs
            ])  # fmt: skip
        finally:
            with self._lock:
                self.running -= 1

    def publish(self, principal, publication):
        self._check("publish")
        self.published.append(publication)
        # Copies: what the front hands out are views of the request's body.
        made = info(
            publication.name, self.index, model_id=publication.model_id, program=publication.program
        )
        self.models_[publication.name] = replace(made, owner=str(principal))
        return self.models_[publication.name]

    def remove(self, principal, name):
        self._check("remove")
        del self.models_[self.model(principal, name).name]

    def deal(self, principal, name, runs):
        self._check(("deal", runs))
        return 10 * runs

    def metrics(self, principal):
        return b""


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        create_authority(folder / "own", "of the tests")
        create_authority(folder / "foreign", "of somebody else")
        for name in (*PARTIES, "mallory"):
            setattr(self, name, self.issue("party", name, hosts=["127.0.0.1"]))
        self.carol = self.issue("client", "carol")
        self.olga = self.issue("owner", "olga")
        self.stranger = issue(folder / "foreign", "client", "carol", out=folder / "strangers")

    def issue(self, role, name, **more):
        return issue(self.folder / "own", role, name, out=self.folder / "out", **more)


class Setting:
    """The network under test: engines, fronts, and makers of configurations and clients."""

    def __init__(self, certificates):
        self.certificates = certificates
        self.engines = [Party(index) for index in range(len(PARTIES))]
        self.fronts = [self.serve(e, n) for e, n in zip(self.engines, PARTIES, strict=True)]
        self.clients = []

    def serve(self, engine, name, port=0):
        credentials = getattr(self.certificates, name)
        limits = FrontLimits(shutdown_seconds=1.0, queries_at_once=16, requests_each=24)
        front = Front(engine, Address("127.0.0.1", port), credentials, limits, "1.2.3")
        front.start()
        return front

    def network(self, names=PARTIES, ports=None):
        ports = ports or [front.port for front in self.fronts]
        entries = [
            PartyEntry(name=name, front=f"https://127.0.0.1:{port}", peers=f"127.0.0.1:{number}")
            for number, (name, port) in enumerate(zip(names, ports, strict=True), 1)
        ]
        return Network(parties=entries, dealer=DealerEntry(name="dana", address="127.0.0.1:9"))

    def config(self, who="carol", network=None, **limits):
        credentials = getattr(self.certificates, who)
        return ClientConfig(
            network=network or self.network(), credentials=credentials, limits=Limits(**limits)
        )

    def client(self, *arguments, **more):
        self.clients.append(Client(self.config(*arguments, **more)))
        return self.clients[-1]

    def close(self):
        for client in self.clients:
            client.close()
        for engine in self.engines:
            if engine.gate is not None:
                engine.gate.set()
        for front in self.fronts:
            front.stop()
