"""What `tacita doctor` finds, where something is wrong."""

import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest

from tacita.client import inspection, links
from tacita.client.inspection import inspect
from tacita.errors import Busy, PeerFailed, Refused
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
        others = (PARTIES[1 - index], "dana")
        engine.links = {name: link() for name in others}
        engine.neighbours = lambda _, engine=engine: engine.links
        engine.status = lambda _, engine=engine: {"time": time.time(), **given(engine.told)}
    return setting


def link(**changes):
    """What a party answers about one that is near, fast and right."""
    fast = {"round_trip": 0.0005, "sent": 200 << 20, "received": 100 << 20}
    return {**fast, "clock": 0.0, "version": "1.2.3", **changes}


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
    # Of alice and bob, one end tells how fast the way is.
    assert {what for who, what in found if who == "alice"} == whats | {"to bob", "to dana"}
    assert {what for who, what in found if who == "bob"} == whats | {"to dana"}
    assert found["alice", "to bob"].says == (
        "round trip 0.5 ms, 200 MiB/s there, 100 MiB/s back, clocks alike"
    )
    assert not any(each.advice for each in found.values())
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
    named = {("alice", "version"), ("bob", "version")}
    assert bad(looked()) == named | {(name, "to dana: version") for name in PARTIES}


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


def test_a_party_that_cannot_read_what_was_saved(looked, healthy):
    healthy.engines[1].told["unreadable"] = ["bob/checkpoints/00ff is cut off; restore it"]
    found = looked()
    assert bad(found) == {("bob", "saved")}
    assert "00ff is cut off" in found["bob", "saved"].says


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


# ---- between the daemons -------------------------------------------------------------------------


def test_a_policy_that_lets_nobody_watch(looked, healthy):
    def refused(_):
        raise Refused("carol may not have links measured here")

    healthy.engines[0].neighbours = refused
    found = looked()
    assert bad(found) == set()
    says = found["alice", "neighbours"].says
    assert "not measured: the tables watch and publish of alice's policy" in says
    assert ("bob", "to alice") in found, "the other end tells of it"


def test_a_party_that_fails_to_measure(looked, healthy):
    def failing(_):
        raise PeerFailed("no such luck")

    healthy.engines[1].neighbours = failing
    found = looked()
    assert bad(found) == {("bob", "neighbours")}
    assert "no such luck" in found["bob", "neighbours"].says


def test_a_party_that_measures_for_somebody_else_is_asked_again(looked, healthy, monkeypatch):
    monkeypatch.setattr(links, "PAUSE", 0.0)
    engine, asked = healthy.engines[0], []

    def busy(_):
        asked.append(None)
        if len(asked) < 3:
            raise Busy("the links are being measured for somebody else")
        return engine.links

    engine.neighbours = busy
    found = looked()
    assert bad(found) == set()
    assert ("alice", "to bob") in found
    assert len(asked) == 3
    engine.neighbours = lambda _: (_ for _ in ()).throw(Busy("still"))
    assert bad(looked()) == {("alice", "neighbours")}


def test_a_link_that_could_not_be_measured(looked, healthy):
    healthy.engines[0].links["bob"] = {"error": "party:bob sent nothing for 10 s"}
    found = looked()
    assert bad(found) == {("alice", "to bob")}
    assert "logs" in found["alice", "to bob"].advice
    assert found["bob", "to alice"].good, "so the other end is asked as well"


@pytest.mark.parametrize(
    "answer", [{"round_trip": 1.0}, {**link(), "sent": "fast"}, {**link(), "clock": None}]
)
def test_an_answer_of_another_version(looked, healthy, answer):
    healthy.engines[0].links["dana"] = answer
    assert bad(looked()) == {("alice", "to dana")}


def test_a_slow_link_works_and_has_advice(looked, healthy):
    slow = link(sent=1000, received=1000)
    healthy.engines[0].links |= {"bob": slow, "dana": link(round_trip=3.0)}
    healthy.engines[1].links["dana"] = slow
    found = looked()
    assert bad(found) == set()
    assert "what each query sends between parties" in found["alice", "to bob"].advice
    assert found["alice", "to dana"].advice == "", "nobody waits for the dealer in a round"
    assert "takes from the dealer" in found["bob", "to dana"].advice
    healthy.engines[0].links["bob"] = link(round_trip=0.2)
    assert "rounds" in looked()["alice", "to bob"].advice


@pytest.mark.parametrize(("off", "late"), [(-90.0, "dana"), (90.0, "alice")])
def test_clocks_of_daemons(looked, healthy, off, late):
    healthy.engines[0].links["dana"] = link(clock=off)
    found = looked()
    assert bad(found) == {("alice", "to dana: clock")}
    assert found["alice", "to dana: clock"].says == "90 s apart"
    assert f"{late}'s is behind" in found["alice", "to dana: clock"].advice
    healthy.engines[0].links["dana"] = link(clock=off / 90)
    found = looked()
    assert bad(found) == set()
    assert "1.0 s apart" in found["alice", "to dana"].says


def test_the_version_of_the_dealer(looked, healthy):
    healthy.engines[0].links["dana"] = link(version="0.9")
    found = looked()
    assert bad(found) == {("alice", "to dana: version")}
    assert found["alice", "to dana: version"].says == "dana has 0.9"
