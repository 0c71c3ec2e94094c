"""Eager sessions: at one party only, refused, without a record, and cut off."""

import errno
import os
import threading

import pytest
import torch

import tacita as sy
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import PeerError, PeerFailed
from tacita.service.config import ClientConfig, Limits
from tacita.service.conversations import Session, begin

from .daemons import POLICY, Daemons
from .rogue import SOON, answer_to, dialed

HOOK = sy.TorchHook(torch)
LIMITS = Limits(round=5, query=10, publish=10, deal=5, stock=5, connect=2, handshake=5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    (folder / "bob.policy.toml").write_text(
        POLICY.replace(
            '[sessions]\nallow = ["client:*"]', '[sessions]\nallow = ["client:hospital"]'
        )
    )
    running = Daemons(folder, limits=LIMITS).start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def nothing_stays(network):
    yield
    network.wait_until(
        lambda: not any(each.name == "tacita stream" for each in threading.enumerate()),
        "the conversations to end",
    )
    for daemon in (*(each._around for each in network.parties.values()), network.dealer):
        assert not (daemon.meeting if hasattr(daemon, "meeting") else daemon._meeting)._waiting


def test_a_session_that_only_one_party_is_told_of_ends(network):
    for name in ("alice", "bob", "dana"):
        with dialed(network, network.credentials["hospital"], name) as link:
            stream = link.open(os.urandom(16))
            begin(stream, Session(os.urandom(16), ("alice", "bob"), "dana"), SOON)
            kind, text = answer_to(stream)
            assert (kind, "join" in text) == ("fail", True), text


def test_one_partys_policy_refuses_for_all(network):
    names, session, said = ("alice", "bob", "dana"), os.urandom(16), {}
    for name in ("bob", "alice"):
        with dialed(network, network.credentials["clinic"], name) as link:
            if name == "bob":
                network.wait_until(lambda link=link: not link.usable, "bob's refusal")
                said[name] = link.why
                continue
            stream = link.open(os.urandom(16))
            begin(stream, Session(session, names[:2], "dana"), SOON)
            said[name] = answer_to(stream)[1]
    assert "no business" in said["bob"]
    assert "join" in said["alice"]


@pytest.mark.parametrize(
    "topic",
    [
        Session(b"s" * 16, ("bob", "alice"), "dana"),
        Session(b"s" * 16, ("alice", "bob"), "carol"),
        Session(b"s" * 16, ("alice", "bob"), "dana", protocol="none"),
    ],
)
def test_another_group_than_the_networks_is_refused(network, topic):
    for name in ("alice", "dana"):
        with dialed(network, network.credentials["hospital"], name) as link:
            stream = link.open(os.urandom(16))
            begin(stream, topic, SOON)
            assert answer_to(stream)[0] == "fail"


def test_nothing_is_revealed_without_a_record(network, monkeypatch):
    config = ClientConfig(network=network.network, credentials=network.credentials["hospital"])
    alice, bob, dana = (RemoteWorker(HOOK, id=n, config=config) for n in ("alice", "bob", "dana"))
    x = torch.tensor([1.5, -2.0]).fix_precision().share(alice, bob, crypto_provider=dana)
    assert torch.equal((x + x).get().float_precision(), torch.tensor([3.0, -4.0]))
    y = torch.tensor([1.5, -2.0]).fix_precision().share(alice, bob, crypto_provider=dana)

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tacita.service.audit.os.write", no_room)
        with pytest.raises(PeerFailed, match="nothing is revealed without a record"):
            y.get()
    with pytest.raises(PeerError):  # the session ended with that
        (y + y).get()
