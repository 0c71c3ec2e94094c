"""What `tacita doctor` finds, where something is wrong."""

import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest

from tacita.client import inspection
from tacita.client.inspection import inspect
from tacita.network.authority import issue

from .fronts import PARTIES


@pytest.fixture
def healthy(setting):
    """Parties whose status is in order."""
    for index, engine in enumerate(setting.engines):
        engine.told = {
            "parties": list(PARTIES),
            "dealer": "dana",
            "time": None,
            "links": {PARTIES[1 - index]: True, "dana": True},
        }
        engine.status = lambda _, engine=engine: {"time": time.time(), **given(engine.told)}
    return setting


def given(fields):
    return {name: value for name, value in fields.items() if value is not None}


@pytest.fixture
def looked(healthy, tmp_path, monkeypatch):
    """looked(): the findings, by (who, what)."""
    monkeypatch.setattr(inspection, "version", lambda _: "1.2.3")  # that of the fronts

    def look(credentials=None):
        credentials = credentials or healthy.certificates.carol
        fronts = zip(PARTIES, healthy.fronts, strict=True)
        (tmp_path / "network.toml").write_text(
            "".join(
                f'[[parties]]\nname = "{name}"\nfront = "https://127.0.0.1:{front.port}"\n'
                f'peers = "127.0.0.1:{number}"\n'
                for number, (name, front) in enumerate(fronts, 1)
            )
            + '[dealer]\nname = "dana"\naddress = "127.0.0.1:9"\n'
        )
        path = tmp_path / "client.toml"
        path.write_text(
            'network = "network.toml"\n[credentials]\n'
            f'certificate = "{credentials.certificate}"\nkey = "{credentials.key}"\n'
            f'authority = "{credentials.authority}"\n[limits]\nround = 10\n'
        )
        return {(each.where, each.what): each for each in inspect(path)}

    return look


def bad(found):
    return {key for key, each in found.items() if not each.good}


def test_all_is_well(looked):
    found = looked()
    assert bad(found) == set()
    whats = {"reachable", "version", "clock", "network", "links", "round trip", "bandwidth"}
    assert {what for who, what in found if who == "bob"} == whats
    assert "client:carol" in found["you", "certificate"].says


def test_measuring_the_bandwidth_starts_no_query(looked, healthy):
    looked()
    assert [engine.queries for engine in healthy.engines] == [[], []]


def test_no_settings(tmp_path):
    (found,) = inspect(tmp_path / "client.toml")
    assert (found.good, found.what) == (False, "settings")
    assert "there is no file" in found.says


def test_an_expired_certificate(looked, certificates, tmp_path):
    past = datetime.now(UTC) - timedelta(days=9)
    own = certificates.folder / "own"
    expired = issue(own, "client", "carol", out=tmp_path / "expired", days=1, start=past)
    found = looked(expired)
    assert bad(found) == {("you", "certificate")}
    assert len(found) == 2  # nothing else can be looked at


def test_another_version(looked, monkeypatch):
    monkeypatch.setattr(inspection, "version", version)
    assert bad(looked()) == {("alice", "version"), ("bob", "version")}


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_clock_that_is_off(looked, healthy, off):
    healthy.engines[1].told["time"] = time.time() + off
    found = looked()
    assert bad(found) == {("bob", "clock")}
    assert "s of yours" in found["bob", "clock"].says


def test_parties_that_do_not_see_each_other(looked, healthy):
    healthy.engines[0].told["links"] = {"bob": False, "dana": True}
    found = looked()
    assert bad(found) == {("alice", "links")}
    assert "does not see bob" in found["alice", "links"].says


def test_another_network(looked, healthy):
    healthy.engines[0].told["parties"] = ["bob", "alice"]
    assert bad(looked()) == {("alice", "network")}


def test_a_party_that_is_not_there(looked, healthy):
    healthy.fronts[1].stop()
    found = looked()
    assert bad(found) == {("bob", "reachable")}
    assert "Connection refused" in found["bob", "reachable"].says
    assert ("alice", "round trip") in found


def test_somebody_else_in_its_place(looked, healthy):
    port = healthy.fronts[1].port
    healthy.fronts[1].stop()
    healthy.fronts[1] = healthy.serve(healthy.engines[1], "mallory", port)
    found = looked()
    assert bad(found) == {("bob", "reachable")}
    assert "not proven to be bob.party.tacita" in found["bob", "reachable"].says
