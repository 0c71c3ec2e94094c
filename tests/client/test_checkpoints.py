"""What is saved at daemons: on whose terms, and after their restart."""

import io
import json

import msgspec
import pytest
import torch

import tacita as sy
from tacita.client.deposits import borrow, deposit
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import ConfigError, PeerFailed, Refused, UsageError
from tacita.network.authority import issue
from tacita.service.config import ClientConfig, Limits
from tacita.service.logs import logger
from tacita.service.party import PartyService

from ..service.daemons import Daemons

HOOK = sy.TorchHook(torch)
BITS = {"base": 2, "precision_fractional": 16}
SCANS = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
OTHERS = torch.tensor([[0.5, 0.5], [2.0, -1.0]])
LIMITS = Limits(
    round=10, query=20, publish=20, deal=20, stock=10, connect=5, handshake=5, saved_bytes=4096
)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    running = Daemons(tmp_path_factory.mktemp("network"), limits=LIMITS).start()
    for name in ("lab", "visitor"):
        running.credentials[name] = issue(
            running.folder / "authority", "client", name, out=running.folder / "keys", days=1
        )
    yield running
    running.stop()


@pytest.fixture
def workers(daemons):
    made = []

    def of(name):
        config = ClientConfig(network=daemons.network, credentials=daemons.credentials[name])
        alice, bob, dana = (
            RemoteWorker(HOOK, id=each, config=config) for each in ("alice", "bob", "dana")
        )
        made.append(alice)
        return alice, bob, dana

    yield of
    for each in made:
        each.clear_objects()


def restart(daemons):
    for name in daemons.names:
        daemons.stop_party(name)
        daemons.start_party(name)
    daemons.wait_connected()


def shared(tensor, workers):
    alice, bob, dana = workers
    return tensor.fix_precision(**BITS).share(alice, bob, crypto_provider=dana)


def loaded(name, workers, **options):
    alice, bob, dana = workers
    return sy.load_private(name, alice, bob, crypto_provider=dana, **options)


def values(tensor):
    return tensor.get().float_precision()


def removed(name, workers):
    alice, bob, dana = workers
    sy.remove_private(name, alice, bob, crypto_provider=dana)


def test_what_is_saved_outlives_the_daemons(daemons, workers):
    hospital = workers("hospital")
    network = torch.nn.Linear(2, 2)
    plain = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    alice, bob, dana = hospital
    network.fix_precision(**BITS).share(alice, bob, crypto_provider=dana)
    sy.save_private({"net": network, "epoch": 4}, "outlives")
    restart(daemons)
    fresh = torch.nn.Linear(2, 2)
    state = loaded("outlives", hospital, into={"net": fresh}, patience=30)
    assert state["epoch"] == 4
    for name, tensor in fresh.get().float_precision().state_dict().items():
        assert (tensor - plain[name]).abs().max() <= 2.0**-17  # half a unit of encoding
    removed("outlives", hospital)


def test_a_file_that_cannot_be_read_keeps_no_party_from_starting(daemons, workers):
    """The party says which; only what is in it is refused, and nothing is saved over it."""
    hospital = workers("hospital")
    shared(SCANS, hospital).save_private("whole")
    folder = daemons.folder / "bob" / "checkpoints"
    before = set(folder.iterdir())
    shared(OTHERS, hospital).save_private("harmed")
    (path,) = set(folder.iterdir()) - before
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    daemons.stop_party("bob")
    said = io.StringIO()
    bob = PartyService(daemons.party_config("bob"), logger("party:bob", stream=said))
    daemons.parties["bob"] = bob
    bob.start()
    daemons.wait_connected()
    (line,) = [each for each in said.getvalue().splitlines() if path.name in each]
    assert json.loads(line)["event"] == "a saved file cannot be read"
    told = {
        name: daemons.parties[name].status(daemons.principals["hospital"])["unreadable"]
        for name in daemons.names
    }
    assert told["alice"] == []
    assert [str(path) in each for each in told["bob"]] == [True]
    assert daemons.parties["bob"].status(daemons.principals["clinic"])["unreadable"] == []
    assert torch.equal(values(loaded("whole", hospital, patience=30)), SCANS)
    with pytest.raises(UsageError, match=f"bob has version 1 of 'harmed'.*{path.name}"):
        loaded("harmed", hospital)
    with pytest.raises(UsageError, match=f"bob has version 1 of 'harmed'.*{path.name}"):
        shared(SCANS, hospital).save_private("harmed")
    assert path.read_bytes() == data[:-1]
    path.write_bytes(data)
    restart(daemons)
    assert torch.equal(values(loaded("harmed", hospital, patience=30)), OTHERS)
    removed("harmed", hospital)
    removed("whole", hospital)


def test_a_trained_model_goes_to_whom_all_owners_of_data_named(daemons, workers):
    """Two hospitals, a lab that trains, and terms that outlive every daemon and session."""
    hospital, clinic, lab = workers("hospital"), workers("clinic"), workers("lab")
    everyone = ["client:lab", "client:visitor", "client:clinic"]
    shared(SCANS, hospital).save_private("scans", borrowers=["client:lab"], audience=everyone)
    shared(OTHERS, clinic).save_private(
        "others", borrowers=["client:lab"], audience=["client:lab", "client:hospital"]
    )
    weights = shared(torch.eye(2), lab)
    for name in ("scans", "others"):
        x = loaded(name, lab)
        weights = weights - (x.t() @ (x @ weights)) * 0.25
    sy.save_private({"weights": weights, "own": shared(SCANS, lab)}, "trained",
                    borrowers=["client:*"], audience=["client:*"])  # fmt: skip
    restart(daemons)
    plain = torch.eye(2)
    for x in (SCANS, OTHERS):
        plain = plain - x.t() @ (x @ plain) * 0.25

    def seen_by(name):
        found = loaded("trained", workers(name), patience=30)
        assert torch.equal(values(found["own"]), SCANS), "each tensor has terms of its own"
        return values(found["weights"])

    # Each product is truncated by a unit at the most, and what follows multiplies the error.
    unit, error = 2.0**-16, 0.0
    for x in (SCANS, OTHERS):
        rows, columns = x.abs().sum(1).max(), x.abs().sum(0).max()
        error = error + 0.25 * (columns * (rows * error + unit) + unit) + unit
    for name in ("lab", "hospital", "clinic"):  # named by both, or an owner whom the other named
        assert (seen_by(name) - plain).abs().max() <= error
    with pytest.raises(Refused, match="client:clinic has not agreed that client:visitor"):
        seen_by("visitor")  # whom the hospital alone has named
    for name in ("scans", "others"):
        removed(name, hospital if name == "scans" else clinic)
    # The terms hold, though what they were given for is not there any more.
    with pytest.raises(Refused, match="client:clinic has not agreed"):
        seen_by("visitor")
    removed("trained", lab)


def test_saving_and_loading_again_frees_nothing(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "to-save", borrowers=["client:clinic"])
    alice, bob, dana = clinic
    scans = borrow("to-save", alice, bob, crypto_provider=dana)
    for _ in range(3):
        scans.save_private("passed-on", borrowers=["client:*"], audience=["client:*"])
        scans = loaded("passed-on", clinic)
        with pytest.raises(Refused, match="client:hospital has not agreed"):
            (scans + scans).get()
    loans = scans._handle.builder
    assert loans.usable
    assert torch.equal(values(loaded("passed-on", hospital)), SCANS)
    removed("passed-on", clinic)


def test_equal_terms_do_not_pile_up(daemons, workers):
    hospital = workers("hospital")
    x = shared(SCANS, hospital)
    for _ in range(3):
        x.save_private("again", audience=["client:lab", "client:clinic"])
        x = loaded("again", hospital)
    x.save_private("again", audience=["client:clinic", "client:lab"])
    (checkpoint,) = daemons.parties["alice"]._sessions._checkpoints.of("again")
    assert [len(terms) for terms in checkpoint.terms] == [1]
    removed("again", hospital)


def test_who_may_not_load_it_does_not_learn_that_it_is_there(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    shared(SCANS, hospital).save_private("secret")
    with pytest.raises(UsageError, match="nothing is saved under 'secret'") as refused:
        loaded("secret", clinic)
    with pytest.raises(UsageError, match="nothing is saved under 'absent'") as absent:
        loaded("absent", clinic)
    assert str(refused.value).replace("secret", "absent") == str(absent.value)
    with pytest.raises(UsageError, match="has saved nothing under 'secret'") as refused:
        removed("secret", clinic)
    with pytest.raises(UsageError, match="has saved nothing under 'absent'") as absent:
        removed("absent", clinic)
    assert str(refused.value).replace("secret", "absent") == str(absent.value)
    assert torch.equal(values(loaded("secret", hospital)), SCANS)
    removed("secret", hospital)


def test_a_name_is_its_owner_s(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    shared(SCANS, hospital).save_private("taken", borrowers=["client:clinic"])
    with pytest.raises(UsageError, match="another owner's: choose another name"):
        shared(OTHERS, clinic).save_private("taken")
    loaded("taken", clinic)
    with pytest.raises(UsageError, match="client:clinic has saved nothing"):
        removed("taken", clinic)
    assert torch.equal(values(loaded("taken", hospital)), SCANS)
    removed("taken", hospital)


def test_borrowers_may_compute_and_not_see(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    shared(SCANS, hospital).save_private("lent", borrowers=["client:clinic"])
    total = loaded("lent", clinic).sum()
    with pytest.raises(Refused, match="client:hospital has not agreed"):
        total.get()
    removed("lent", hospital)


def test_bounds_are_checked_of_what_the_user_may_see(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    x = shared(SCANS, hospital)
    x.save_private("mine", borrowers=["client:clinic"])
    own = loaded("mine", hospital, checked=True)
    assert torch.equal(values(torch.relu(own)), torch.relu(SCANS))
    with pytest.raises(UsageError, match="without checked=True"):
        loaded("mine", clinic, checked=True)
    removed("mine", hospital)


def test_there_is_room_for_so_much_and_no_more(workers):
    hospital = workers("hospital")
    shared(torch.zeros(400), hospital).save_private("large")  # 3,200 of 4,096 bytes
    with pytest.raises(UsageError, match="4096 bytes here, and there are 3200"):
        shared(torch.zeros(200), hospital).save_private("more")
    # What is there stays until the new one is with all, so replacing it takes room for both.
    with pytest.raises(UsageError, match="4096 bytes here"):
        shared(torch.zeros(400), hospital).save_private("large")
    assert values(loaded("large", hospital)).numel() == 400
    removed("large", hospital)
    shared(torch.zeros(200), hospital).save_private("more")
    removed("more", hospital)


def test_a_pattern_of_nobody_is_refused(workers):
    x = shared(SCANS, workers("hospital"))
    for options in ({"borrowers": ["lab"]}, {"audience": ["client:"]}):
        with pytest.raises((UsageError, ConfigError), match="role:"):
            x.save_private("bad", **options)


def test_a_party_that_lost_its_own_says_so(daemons, workers):
    hospital = workers("hospital")
    shared(SCANS, hospital).save_private("lost")
    checkpoints = daemons.parties["bob"]._sessions._checkpoints
    checkpoints.keep_only("lost", None)
    with pytest.raises(UsageError, match="no version of 'lost' is with all parties"):
        loaded("lost", hospital)
    shared(OTHERS, hospital).save_private("lost")  # and it can be saved again
    assert torch.equal(values(loaded("lost", hospital)), OTHERS)
    removed("lost", hospital)


def test_parties_that_describe_different_things_are_not_believed(daemons, workers):
    hospital = workers("hospital")
    shared(SCANS, hospital).save_private("described")
    checkpoints = daemons.parties["bob"]._sessions._checkpoints
    (there,) = checkpoints._by_name["described"]
    other = msgspec.structs.replace(there.about, values=b"other")
    checkpoints._by_name["described"] = [msgspec.structs.replace(there, about=other)]
    with pytest.raises(PeerFailed, match="bob has saved something else"):
        loaded("described", hospital)
    checkpoints._by_name["described"] = [there]
    removed("described", hospital)


def test_the_audit_log_says_who_saved_and_loaded(daemons, workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    shared(SCANS, hospital).save_private("audited", borrowers=["client:clinic"])
    loaded("audited", clinic)
    removed("audited", hospital)
    for name in daemons.names:
        lines = daemons.party_config(name).audit_path.read_text().splitlines()
        said = [
            (record["event"], record["principal"])
            for record in map(json.loads, lines)
            if "audited" in (record.get("outcome") or "")
        ]
        assert said == [
            ("save", "client:hospital"),
            ("load", "client:clinic"),
            ("unsave", "client:hospital"),
        ]
