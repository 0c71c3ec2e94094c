"""Parties and a dealer as daemons would be, with links over TLS, in the process of the tests."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tacita.network.authority import create_authority, issue
from tacita.network.tensors import Tensor
from tacita.ring.randomness import SharingSource, fresh_key
from tacita.service.config import (
    DealerConfig,
    DealerEntry,
    Limits,
    Network,
    PartyConfig,
    PartyEntry,
    StockSettings,
)
from tacita.service.dealer import DealerService
from tacita.service.front.engine import Publication
from tacita.service.logs import logger
from tacita.service.party import PartyService

POLICY = """
[publish]
allow = ["owner:acme", "owner:other"]

[[query]]
models = ["*"]
allow = ["client:*"]
per_minute = 100000
at_once = 64

[sessions]
allow = ["client:*"]

[watch]
allow = ["client:hospital"]
"""
LIMITS = Limits(round=10, query=20, publish=20, deal=20, stock=10, connect=5, handshake=5)

STOCK = StockSettings(low=2, high=4, prepared=1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Daemons:
    """names: of the parties, in order; the dealer is dana."""

    folder: object
    names: tuple = ("alice", "bob")
    stock: StockSettings = STOCK
    limits: Limits = LIMITS
    parties: dict = field(default_factory=dict)
    dealer: object = None

    def __post_init__(self):
        authority = self.folder / "authority"
        create_authority(authority, "tests")
        credentials = {}
        for role, name in (
            *(("party", name) for name in self.names),
            ("dealer", "dana"),
            ("owner", "acme"),
            ("owner", "other"),
            ("client", "hospital"),
            ("client", "clinic"),
        ):
            hosts = ["127.0.0.1"] if role in ("party", "dealer") else []
            credentials[name] = issue(
                authority, role, name, out=self.folder / "keys", hosts=hosts, days=1
            )
        self.credentials = credentials
        self.principals = {name: each.check() for name, each in credentials.items()}
        (self.folder / "policy.toml").write_text(POLICY)
        self.network = Network(
            parties=tuple(
                PartyEntry(
                    name=name,
                    front=f"https://127.0.0.1:{free_port()}",
                    peers=f"127.0.0.1:{free_port()}",
                )
                for name in self.names
            ),
            dealer=DealerEntry(name="dana", address=f"127.0.0.1:{free_port()}"),
        )

    def start_party(self, name):
        entry = next(each for each in self.network.parties if each.name == name)
        config = PartyConfig(
            name=name,
            network=self.network,
            data=self.folder / name,
            front="127.0.0.1:0",
            peers=str(entry.peers),
            credentials=self.credentials[name],
            policy=self.folder / "policy.toml",
            limits=self.limits,
            stock=self.stock,
        )
        party = self.parties[name] = PartyService(config, logger(f"party:{name}"))
        party.start()
        return party

    def start_dealer(self):
        config = DealerConfig(
            name="dana",
            network=self.network,
            data=self.folder / "dana",
            address=str(self.network.dealer.address),
            credentials=self.credentials["dana"],
            limits=self.limits,
        )
        self.dealer = DealerService(config, logger("dealer:dana"))
        self.dealer.start()
        return self.dealer

    def start(self):
        self.start_dealer()
        for name in self.names:
            self.start_party(name)
        return self

    def stop(self):
        for party in self.parties.values():
            party.stop()
        if self.dealer is not None:
            self.dealer.stop()

    # ---- what an owner and a client do, at the engines themselves ------------------------------

    def at_all(self, ask):
        """ask(party, index) at every party at once; all answers, or the first error."""
        with ThreadPoolExecutor(len(self.names)) as pool:
            asked = [
                pool.submit(ask, self.parties[name], index) for index, name in enumerate(self.names)
            ]
            return [each.result(60) for each in asked]

    def publish(self, name, program, weights, *, owner="acme", audience=("client:*",)):
        """program: encoded. weights: pairs of a name and ring values. Returns the model's id."""
        source, model = SharingSource(), fresh_key()
        split = [(label, source.split(values, len(self.names))) for label, values in weights]

        def ask(party, index):
            tensors = tuple(
                Tensor(label, shares[index].shape, shares[index], 1, index, len(self.names))
                for label, shares in split
            )
            publication = Publication(name, model, program, tensors, tuple(audience))
            return party.publish(self.principals[owner], publication)

        self.at_all(ask)
        return model

    def infer(self, name, inputs, *, client="hospital", query=None):
        """inputs: (name, ring values, scale) each. Returns ring values of the results."""
        source, query = SharingSource(), query or fresh_key()
        split = [(label, source.split(v, len(self.names)), scale) for label, v, scale in inputs]

        def ask(party, index):
            tensors = [
                Tensor(label, shares[index].shape, shares[index], scale, index, len(self.names))
                for label, shares, scale in split
            ]
            return party.infer(self.principals[client], name, query, tensors)

        answers = self.at_all(ask)
        return [
            np.add.reduce([answer[number].values for answer in answers])
            for number in range(len(answers[0]))
        ]
