"""Disks that are full or hold something else, wrong clocks, and ports that are taken."""

import errno
import os
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest

from tacita.errors import ConfigError, CredentialError, MaterialError, PeerError, TacitaError
from tacita.network.authority import issue
from tacita.runtime.at_rest import AT_REST
from tacita.service import queries
from tacita.service.audit import AuditFailed
from tacita.service.audit_chain import verify
from tacita.service.config import Limits, StockSettings

from .daemons import Daemons
from .small_model import small

LIMITS = Limits(round=5, query=10, publish=10, deal=5, stock=5, connect=5, handshake=5)
STOCK = StockSettings(low=2, high=3, prepared=1)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def network(tmp_path, model):
    daemons = Daemons(tmp_path, stock=STOCK, limits=LIMITS).start()
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def ask(network, model):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images))
    model.require_right(result, images)


def stocked(network):
    houses = [each._around.storehouse for each in network.parties.values()]
    network.wait_until(
        lambda: all(len(each.waiting(network.published)) >= STOCK.low for each in houses), "a stock"
    )
    return houses


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_share_leaves_without_a_record(network, model, monkeypatch):
    ask(network, model)
    audit = network.parties["bob"]._audit
    before = audit.records
    with monkeypatch.context() as patch:
        patch.setattr("tacita.service.audit.os.write", no_room)
        patch.setattr(network.parties["alice"]._audit, "record", lambda *_, **__: "")
        part = network.requests(model.inputs(model.images()))
        query, client = os.urandom(16), network.principals["hospital"]
        errors = []

        def answers(party, index):
            try:
                return party.infer(client, "small", query, part[index])
            except TacitaError as error:
                errors.append(error)

        assert network.at_all(answers)[1] is None
    assert isinstance(errors[0], AuditFailed)
    assert "No space left" in str(errors[0])
    assert audit.records == before
    ask(network, model)
    verify(audit.path)


def test_a_full_disk_stops_dealing_and_not_the_queries(network, model, monkeypatch):
    houses = stocked(network)
    with monkeypatch.context() as patch:
        patch.setattr("tacita.service.storehouse.StockWriter", no_room)
        with pytest.raises(PeerError, match=r"refused: a OSError of its own|closed the stream"):
            network.parties["alice"].deal(network.principals["acme"], "small", 1)
        ask(network, model)
    for house in houses:
        network.wait_until(lambda house=house: not house.dealing(network.published), "its end")
    ask(network, model)


def test_a_ledger_that_cannot_be_written_gives_no_batch(network, model, monkeypatch):
    """Nothing is used that is not spent: queries end with the ledger's error."""
    stocked(network)
    used, run = [], queries.run
    monkeypatch.setattr(queries, "run", lambda *args: used.append(args[0].batch) or run(*args))
    ledger = network.parties["bob"]._around.ledger

    def refusing(*_, **__):
        raise MaterialError("the ledger is read only")

    with monkeypatch.context() as patch:
        leading = network.parties["alice"]._leading
        (served,) = network.parties["alice"]._around.models.all()
        network.wait_until(lambda: leading.prepared(served) == STOCK.prepared, "what is prepared")
        patch.setattr(ledger, "spend", refusing)
        for _ in range(STOCK.prepared):
            ask(network, model)
        used.clear()
        with pytest.raises(TacitaError, match=r"no prepared batch|not take up|declined"):
            ask(network, model)
        assert not used
    ask(network, model)


@pytest.mark.parametrize(("harm", "name"), [("cut", "alice"), ("altered", "bob"), ("gone", "bob")])
def test_a_file_of_the_stock_that_is_harmed_costs_its_batch(network, model, harm, name):
    stocked(network)
    network.stop_dealer()
    network.stop_party(name)
    files = sorted((network.folder / name / "stock").glob("*.stock"))
    for path in files[:1]:
        if harm == "cut":
            path.write_bytes(path.read_bytes()[:-5])
        elif harm == "altered":
            content = bytearray(path.read_bytes())
            content[-40] ^= 1
            path.write_bytes(content)
        else:
            path.unlink()
    network.start_party(name)
    network.start_dealer()
    network.wait_connected()
    for _ in range(len(files) + 1):
        ask(network, model)


def removed(folder, limit=30.0):
    """Takes a folder away that a batch may still be arriving in, whose receiver ends on its own."""
    until = time.monotonic() + limit
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            assert time.monotonic() < until, "still written to"
            time.sleep(0.05)


def test_a_party_whose_disk_is_set_back_uses_nothing_twice(network, model, monkeypatch):
    """Promised: with one party set back to an older copy, ledger and files, no batch is used again.

    The other's ledger knows better, and each use needs both. If all parties' disks are set back to
    the same day, what was dealt before that day could be used again: then void it (publish anew).
    """
    used, run = [], queries.run
    monkeypatch.setattr(
        queries, "run", lambda *args: used.append((args[1], args[0].batch)) or run(*args)
    )
    for name in ("alice", "bob"):
        stocked(network)
        network.stop_party(name)
        folder, copy = network.folder / name, network.folder / f"copy of {name}"
        shutil.copytree(folder, copy)
        network.start_party(name)
        network.wait_connected()
        for _ in range(3):
            ask(network, model)
        network.stop_party(name)
        removed(folder)
        copy.rename(folder)
        network.start_party(name)
        network.wait_connected()
        for _ in range(4):
            ask(network, model)
        assert len(set(used)) == len(used)


def test_a_secret_that_others_can_read_is_refused(network):
    network.stop_party("bob")
    (network.folder / "bob" / AT_REST).chmod(0o640)
    with pytest.raises(CredentialError, match="open to others"):
        network.start_party("bob")
    (network.folder / "bob" / AT_REST).chmod(0o600)


def test_a_model_that_is_altered_on_the_disk_is_named(network):
    network.stop_party("bob")
    path = network.folder / "bob" / "models" / network.published.hex()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MaterialError, match=network.published.hex()):
        network.start_party("bob")


def test_a_port_that_is_taken_and_a_folder_that_is_in_use(network, tmp_path):
    with pytest.raises(ConfigError, match="cannot listen at"):
        network.start_party("bob", data=tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="another process"):
        network.start_party("bob", peers="127.0.0.1:0")


@pytest.mark.parametrize(("hours", "why"), [(1, "is valid from"), (-30, "is valid from")])
def test_a_clock_that_is_wrong_is_spoken_of(network, hours, why):
    """A certificate from before or after its time: the error names its dates and the clock's."""
    network.stop_party("bob")
    start = datetime.now(UTC) + timedelta(hours=hours)
    out = network.folder / f"at {hours}"
    credentials = issue(network.folder / "authority", "party", "bob", out=out, days=1, start=start)
    with pytest.raises(CredentialError, match="the clock here says") as refused:
        network.start_party("bob", credentials=credentials)
    assert why in str(refused.value)
