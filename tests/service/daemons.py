"""Parties and a dealer as daemons would be, with links over TLS, in the process of the tests."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tacita.client.local_network import free_ports
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
        ports = iter(free_ports(2 * len(self.names) + 1))
        self.network = Network(
            parties=tuple(
                PartyEntry(
                    name=name,
                    front=f"https://127.0.0.1:{next(ports)}",
                    peers=f"127.0.0.1:{next(ports)}",
                )
                for name in self.names
            ),
            dealer=DealerEntry(name="dana", address=f"127.0.0.1:{next(ports)}"),
        )

    def party_config(self, name, **changes):
        entry = next(each for each in self.network.parties if each.name == name)
        fields = {
            "name": name,
            "network": self.network,
            "data": self.folder / name,
            "front": "127.0.0.1:0",
            "peers": str(entry.peers),
            "credentials": self.credentials[name],
            "policy": self.policy(name),
            "limits": self.limits,
            "stock": self.stock,
        }
        return PartyConfig(**(fields | changes))

    def dealer_config(self, **changes):
        fields = {
            "name": "dana",
            "network": self.network,
            "data": self.folder / "dana",
            "address": str(self.network.dealer.address),
            "credentials": self.credentials["dana"],
            "limits": self.limits,
        }
        return DealerConfig(**(fields | changes))

    def policy(self, name):
        """A party's own policy, if it was given one, or everybody's."""
        own = self.folder / f"{name}.policy.toml"
        return own if own.exists() else self.folder / "policy.toml"

    def start_party(self, name, **changes):
        party = PartyService(self.party_config(name, **changes), logger(f"party:{name}"))
        try:
            party.start()
        except BaseException:
            party.stop()
            raise
        self.parties[name] = party
        return party

    def stop_party(self, name):
        self.parties.pop(name).stop()

    def start_dealer(self):
        dealer = DealerService(self.dealer_config(), logger("dealer:dana"))
        dealer.start()
        self.dealer = dealer
        return dealer

    def stop_dealer(self):
        self.dealer.stop()
        self.dealer = None

    def wait_until(self, condition, what, limit=30):
        """Waits for what other threads bring about."""
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, f"not within {limit} s: {what}"
            time.sleep(0.02)

    def wait_connected(self):
        def all_links():
            return all(
                all(party.status(self.principals["hospital"])["links"].values())
                for party in self.parties.values()
            )

        self.wait_until(all_links, "all links")

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

    def publications(self, name, program, weights, *, audience=("client:*",), model=None):
        """Each party's part of one publication. program: encoded. weights: (name, ring values)."""
        source, model, parties = SharingSource(), model or fresh_key(), len(self.names)
        split = [(label, source.split(values, parties)) for label, values in weights]
        return [
            Publication(
                name,
                model,
                program,
                tuple(
                    Tensor(label, shares[index].shape, shares[index], 1, index, parties)
                    for label, shares in split
                ),
                tuple(audience),
            )
            for index in range(parties)
        ]

    def publish(self, name, program, weights, *, owner="acme", **options):
        """Returns the model's id."""
        parts = self.publications(name, program, weights, **options)
        self.at_all(lambda party, index: party.publish(self.principals[owner], parts[index]))
        return parts[0].model_id

    def requests(self, inputs):
        """Each party's part of one query. inputs: (name, ring values, scale) each."""
        source, parties = SharingSource(), len(self.names)
        split = [(label, source.split(v, parties), scale) for label, v, scale in inputs]
        return [
            [
                Tensor(label, shares[index].shape, shares[index], scale, index, parties)
                for label, shares, scale in split
            ]
            for index in range(parties)
        ]

    def infer(self, name, inputs, *, client="hospital", query=None):
        """Returns ring values of the results."""
        parts, query = self.requests(inputs), query or fresh_key()
        principal = self.principals[client]
        return together(
            self.at_all(lambda party, index: party.infer(principal, name, query, parts[index]))
        )


def together(answers):
    """Ring values of results, of which each party has a share."""
    return [
        np.add.reduce([answer[number].values for answer in answers])
        for number in range(len(answers[0]))
    ]
