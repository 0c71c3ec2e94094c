"""A party's batches on its disk: used once, whatever fails, and what is left over goes."""

import errno
import os
import resource
import stat
import threading

import numpy as np
import pytest
from ledger_racers import fresh

from tacita.errors import CredentialError, MaskReused, MaterialError, MaterialMismatch, UsageError
from tacita.runtime.at_rest import AT_REST, SECRET_BYTES, own_secret
from tacita.runtime.sealing import CLEAR, PREAMBLE
from tacita.service import storehouse as storehouse_module
from tacita.service.ledger import Ledger, sqlite_url
from tacita.service.storehouse import FILE_OVERHEAD, Storehouse, size_of

MODEL, PROGRAM, KEY = b"m" * 16, b"p" * 32, b"k" * 16
ROOM = 64 << 20


def words(size, seed=1):
    return np.random.default_rng(seed).integers(0, 1 << 64, size, np.uint64)


DEALT = {0: {0: [words(5), words(3)]}, 4: {2: [words(200_000)]}}


class Place:
    """A ledger and a folder, and the process that has them, which can crash."""

    def __init__(self, folder):
        self.folder = folder / "stock"
        self.secret = own_secret(folder)
        self.url = sqlite_url(folder / "ledger.sqlite")
        self.start()

    def start(self, room=ROOM):
        self.ledger = Ledger(self.url, party="bob")
        self.house = Storehouse(
            self.folder, self.ledger, party=1, parties=2, secret=self.secret, room=room
        )

    def receive(self, batch=None, dealt=DEALT):
        batch = fresh() if batch is None else batch
        with self.house.receive(MODEL, PROGRAM, batch, KEY) as arriving:
            for number, arrays in dealt.items():
                arriving.add(number, arrays)
        return batch

    def stocked(self):
        batch = self.receive()
        self.house.ready(batch)
        return batch

    def state(self, batch):
        return self.ledger.states([batch]).get(batch)

    def files(self, batch=None):
        start = "" if batch is None else batch.hex()
        return sorted(each.suffix for each in self.folder.iterdir() if each.name.startswith(start))

    def use(self, batch):
        with self.house.take(MODEL, PROGRAM, batch, "owner:mia") as taken:
            assert taken.key() == KEY
            for number, arrays in DEALT.items():
                found = taken.corrections(number)
                for branch, each in arrays.items():
                    for mine, theirs in zip(found[branch], each, strict=True):
                        np.testing.assert_array_equal(mine, theirs)
            taken.finish()

    def next_one_works(self):
        batch = self.stocked()
        self.use(batch)
        assert self.state(batch) == "spent"


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def test_a_batchs_life(place):
    batch = place.receive()
    assert (place.state(batch), place.files(batch)) == ("dealing", [".stock"])
    assert place.house.waiting(MODEL) == []
    with pytest.raises(MaterialMismatch, match="being dealt still"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    place.house.ready(batch)
    assert (place.house.waiting(MODEL), place.house.level(MODEL)) == ([batch], 1)
    assert place.house.bytes_on_disk > 8 * 200_000
    place.use(batch)
    assert (place.state(batch), place.house.level(MODEL)) == ("spent", 0)
    with pytest.raises(MaskReused, match="was spent already"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert place.files() == []
    assert place.house.sweep() == []
    assert place.house.bytes_on_disk == 0


def test_the_next_one(place):
    house = place.house
    assert house.next(MODEL, set()) is None
    first, second, third = (place.receive() for _ in range(3))
    assert house.next(MODEL, set()) is None
    for batch in (second, first, third):
        house.ready(batch)
    assert house.next(MODEL, set()) == second
    assert house.next(MODEL, {second, fresh()}) == first
    assert house.next(MODEL, {first, second, third}) is None
    assert house.next(b"n" * 16, set()) is None
    place.use(second)
    house.void(first)
    assert (house.next(MODEL, set()), house.level(MODEL)) == (third, 1)
    assert house.forget_model(MODEL) == [third]
    assert (house.next(MODEL, set()), house.level(MODEL)) == (None, 0)


def test_one_that_another_replica_spent_or_gave_up(place):
    """The ledger is theirs too; what waits is this process's view, until it asks."""
    spent, void, left = (place.stocked() for _ in range(3))
    other = Ledger(place.url, party="bob")
    other.spend(spent, "a replica")
    other.void(void)
    other.close()
    for batch, error in ((spent, MaskReused), (void, MaterialMismatch)):
        assert place.house.next(MODEL, set()) == batch
        with pytest.raises(error):
            place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert (place.house.next(MODEL, set()), place.house.level(MODEL)) == (left, 1)
    place.use(left)


def test_comparing_stocks_forgets_what_does_not_wait_any_more(place):
    gone, spent, left = (place.stocked() for _ in range(3))
    (place.folder / f"{gone.hex()}.1.stock").unlink()
    place.ledger.spend(spent, "a replica")
    assert place.house.level(MODEL) == 3
    assert place.house.waiting(MODEL) == [left]
    assert place.house.level(MODEL) == 1
    place.start()
    assert (place.house.next(MODEL, {left}), place.house.level(MODEL)) == (None, 1)


def test_a_ledger_that_fails_to_spend_keeps_it_waiting(place, monkeypatch):
    batch = place.stocked()

    def full(*arguments, **more):
        raise MaterialError("the ledger's disk is full")

    monkeypatch.setattr(place.ledger, "spend", full)
    with pytest.raises(MaterialError, match="ledger's disk"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert place.house.next(MODEL, set()) == batch


def test_one_that_this_process_did_not_receive(place):
    batch = place.receive()
    before = place.house
    place.start()
    with pytest.raises(MaterialMismatch, match="was not received by this process"):
        place.house.ready(batch)
    before.ready(batch)
    assert place.house.level(MODEL) == 0


def test_neither_disk_nor_ledger_is_asked_what_there_is(place, monkeypatch):
    batch = place.stocked()
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("the folder was read"))
    monkeypatch.setattr(place.ledger, "waiting", lambda _: pytest.fail("the ledger was asked"))
    another = place.stocked()
    assert (place.house.next(MODEL, {batch}), place.house.level(MODEL)) == (another, 2)


def test_the_bytes_are_those_of_the_files(place):
    def on_disk():
        return sum(each.stat().st_size for each in place.folder.iterdir())

    batches = [place.stocked() for _ in range(4)]
    batches.append(place.receive())
    assert place.house.bytes_on_disk == on_disk() > 5 * 8 * 200_000
    one = on_disk() // 5
    place.use(batches[0])
    place.house.void(batches[1])
    place.house.discard([batches[4]])
    with pytest.raises(UsageError):
        place.receive(fresh(), dict(reversed(DEALT.items())))
    assert place.house.bytes_on_disk == on_disk() == 2 * one
    (place.folder / f"{batches[2].hex()}.1.stock").unlink()
    (place.folder / f"{fresh().hex()}.1.part").write_bytes(bytes(10))
    assert len(place.house.sweep()) == 1
    assert place.house.bytes_on_disk == on_disk() == one
    taken = place.house.take(MODEL, PROGRAM, batches[3], "owner:mia")
    place.house.sweep()
    assert (place.house.bytes_on_disk, on_disk()) == (one, 0)
    taken.close()
    assert place.house.bytes_on_disk == 0
    place.start()
    assert place.house.bytes_on_disk == 0


def test_it_is_spent_before_its_file_is_opened(place, monkeypatch):
    batch = place.stocked()
    seen = []

    def look(folder, label, secret, ended):
        seen.append(place.state(batch))
        raise MaterialMismatch("looked")

    monkeypatch.setattr(storehouse_module, "open_spent", look)
    with pytest.raises(MaterialMismatch, match="looked"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert seen == ["spent"]


def test_the_ledger_refuses_before_the_file_is_touched(place, monkeypatch):
    batch = place.stocked()

    def full(*arguments, **more):
        raise MaterialError("the ledger's disk is full")

    monkeypatch.setattr(place.ledger, "spend", full)
    with pytest.raises(MaterialError, match="ledger's disk"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    monkeypatch.undo()
    assert (place.state(batch), place.files(batch)) == ("ready", [".stock"])
    place.use(batch)


def test_one_of_many_threads_gets_it(place):
    batch = place.stocked()
    got, refused, begin = [], [], threading.Barrier(6)

    def take():
        begin.wait(60)
        try:
            with place.house.take(MODEL, PROGRAM, batch, "thread") as taken:
                got.append(taken.key())
        except MaskReused as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (got, len(refused)) == ([KEY], 5)


@pytest.mark.parametrize("what", ["model", "program"])
def test_a_batch_for_something_else_stays(place, what):
    batch = place.stocked()
    wanted = {"model": MODEL, "program": PROGRAM} | {what: bytes(16 if what == "model" else 32)}
    with pytest.raises(MaterialMismatch, match=f"for another {what}"):
        place.house.take(wanted["model"], wanted["program"], batch, "owner:mia")
    place.use(batch)


# ---- receiving ---------------------------------------------------------------------------------


def test_an_error_of_the_dealers_leaves_nothing(place):
    batch = fresh()
    with pytest.raises(UsageError, match="numbers ascend"):
        place.receive(batch, dict(reversed(DEALT.items())))
    assert (place.state(batch), place.files()) == ("void", [])
    with pytest.raises(MaskReused, match="knows batch"):
        place.receive(batch)
    place.next_one_works()


def test_it_is_not_ready_while_it_is_written(place):
    batch = fresh()
    with place.house.receive(MODEL, PROGRAM, batch, KEY) as arriving:
        arriving.add(0, DEALT[0])
        with pytest.raises(MaterialMismatch, match="written still"):
            place.house.ready(batch)
    place.house.ready(batch)
    assert place.house.waiting(MODEL) == [batch]


def test_a_batch_that_is_sent_again_does_no_harm(place):
    batch = place.stocked()
    with pytest.raises(MaskReused, match="knows batch"):
        place.receive(batch)
    place.use(batch)
    with pytest.raises(MaskReused, match="knows batch"):
        place.receive(batch)


def test_others_do_not_have_it(place):
    batch = place.receive()
    place.house.void(batch)
    assert (place.state(batch), place.files()) == ("void", [])
    with pytest.raises(MaterialMismatch, match="was given up"):
        place.house.ready(batch)
    kept, lost = place.stocked(), place.stocked()
    assert place.house.void_all_but(MODEL, {kept}) == [lost]
    assert (place.files(lost), place.files(kept)) == ([], [".stock"])
    assert place.house.forget_model(MODEL) == [kept]
    assert place.files() == []


def test_a_ledger_that_does_not_let_it_become_ready(place, monkeypatch):
    batch = place.receive()

    def full(batch):
        raise MaterialError("the ledger's disk is full")

    monkeypatch.setattr(place.ledger, "ready", full)
    with pytest.raises(MaterialError, match="ledger's disk"):
        place.house.ready(batch)
    assert (place.state(batch), place.files()) == ("void", [])
    monkeypatch.undo()
    place.next_one_works()


def test_a_full_disk(place, monkeypatch):
    """The limit of a file's size, which the system enforces: writes beyond it fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    batch = fresh()
    # Python ignores the signal that would come with it, so that the write fails instead.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(MaterialError, match=r"see that the folder .* has room") as caught:
            place.receive(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert batch.hex() in str(caught.value)
    assert (place.state(batch), place.files()) == ("void", [])
    place.next_one_works()


def test_a_disk_and_a_ledger_that_are_full(place, monkeypatch):
    """Nothing can be noted then; the batch is not used, and the next sweep gives it up."""
    batch = place.receive()

    def full(*arguments):
        raise MaterialError("full")

    monkeypatch.setattr(place.ledger, "ready", full)
    monkeypatch.setattr(place.ledger, "void", full)
    monkeypatch.setattr(place.house, "_delete", full)
    with pytest.raises(MaterialError, match="full"):
        place.house.ready(batch)
    monkeypatch.undo()
    assert (place.state(batch), place.files()) == ("dealing", [".stock"])
    assert place.house.sweep() == [batch]
    assert (place.state(batch), place.files()) == ("void", [])


def test_no_more_than_its_room(place):
    first = place.stocked()
    needed = FILE_OVERHEAD + sum(size_of(each) for each in DEALT.values())
    place.start(room=place.house.bytes_on_disk + needed - 1)
    with pytest.raises(MaterialError, match=r"may hold .* bytes of dealt batches"):
        place.receive()
    assert place.files() == [".stock"]
    place.start(room=place.house.bytes_on_disk + needed)
    second = place.receive()
    with pytest.raises(MaterialError, match="let queries use some"):
        place.receive(dealt={})
    place.use(first)
    place.house.ready(second)
    place.next_one_works()


def test_the_room_of_those_that_arrive_at_once(place):
    one = size_of(DEALT[4])
    place.start(room=2 * one + 3 * FILE_OVERHEAD)
    house = place.house
    with house.receive(MODEL, PROGRAM, fresh(), KEY) as first:
        first.add(0, DEALT[4])
        with house.receive(MODEL, PROGRAM, fresh(), KEY) as second:
            second.add(0, DEALT[4])
            third = house.receive(MODEL, PROGRAM, fresh(), KEY)
            with pytest.raises(MaterialError, match="may hold"), third as arriving:
                arriving.add(0, DEALT[4])


@pytest.mark.parametrize("dealt", [DEALT, {}, {n: {0: [words(1)] * 9, 3: []} for n in range(99)}])
def test_what_is_reserved_is_enough(place, dealt):
    place.receive(dealt=dealt)
    reserved = FILE_OVERHEAD + sum(size_of(each) for each in dealt.values())
    assert place.house.bytes_on_disk <= reserved


# ---- files that were changed -------------------------------------------------------------------


def change(path, how):
    data = bytearray(path.read_bytes())
    match how:
        case "missing":
            path.unlink()
            return
        case "cut":
            del data[-20:]
        case "added":
            data += b"more"
        case "altered end":
            data[-1] ^= 1
        case "altered key":
            data[PREAMBLE.size + PREAMBLE.unpack_from(data)[2] + CLEAR.size] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "cut", "added", "altered end", "altered key"])
def test_a_file_that_was_changed(place, how):
    batch = place.stocked()
    path = place.folder / f"{batch.hex()}.1.stock"
    change(path, how)
    with pytest.raises(MaterialMismatch, match=r"there is no|cut off|was altered") as caught:
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert batch.hex() in str(caught.value)
    assert (place.state(batch), place.files()) == ("spent", [])
    with pytest.raises(MaskReused):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    place.next_one_works()


def test_a_file_put_back_after_everything_was_swept(place):
    batch = place.stocked()
    path = place.folder / f"{batch.hex()}.1.stock"
    data = path.read_bytes()
    place.use(batch)
    place.house.sweep()
    path.write_bytes(data)
    with pytest.raises(MaskReused, match="was spent already"):
        place.house.take(MODEL, PROGRAM, batch, "owner:mia")
    assert place.house.waiting(MODEL) == []
    assert place.house.sweep() == [batch]
    assert place.files() == []


# ---- crashes -----------------------------------------------------------------------------------


def crashed(place):
    """What a party finds that starts again, without having ended."""
    place.start()
    place.ledger.recover()
    return place.house.sweep()


def test_a_crash_while_it_is_written(place):
    batch = fresh()
    block = place.house.receive(MODEL, PROGRAM, batch, KEY)
    block.__enter__().add(0, DEALT[0])
    assert place.files() == [".part"]
    assert crashed(place) == [batch]
    assert (place.state(batch), place.files()) == ("void", [])
    place.next_one_works()
    block.__exit__(RuntimeError, RuntimeError(), None)  # so that its file is closed


def test_a_crash_before_all_have_it(place):
    batch = place.receive()
    assert crashed(place) == [batch]
    assert (place.state(batch), place.files()) == ("void", [])


def test_a_crash_between_the_ledger_and_the_file(place):
    batch = place.stocked()
    place.ledger.spend(batch, "owner:mia")
    assert crashed(place) == [batch]
    assert (place.state(batch), place.files()) == ("spent", [])


def test_a_crash_while_it_is_used(place):
    batch = place.stocked()
    with place.house.take(MODEL, PROGRAM, batch, "owner:mia") as taken:
        assert place.files() == []  # so that a crash leaves nothing
        assert place.house.bytes_on_disk > 8 * 200_000
        assert crashed(place) == []
        assert place.house.bytes_on_disk == 0
        assert taken.key() == KEY  # of the process that did not crash


def test_what_is_ready_survives(place):
    batch = place.stocked()
    assert crashed(place) == []
    assert place.house.waiting(MODEL) == [batch]
    place.use(batch)


def test_another_ledger_knows_none_of_the_files(place, tmp_path):
    batch = place.stocked()
    place.url = sqlite_url(tmp_path / "new.sqlite")
    assert crashed(place) == [batch]
    assert place.files() == []


def test_a_sweep_leaves_alone_what_arrives_and_what_others_own(place):
    waiting = place.receive()
    (place.folder / f"{fresh().hex()}.0.stock").touch()  # of another party
    (place.folder / "notes").touch()
    with place.house.receive(MODEL, PROGRAM, fresh(), KEY) as arriving:
        assert place.house.sweep() == []
        arriving.add(0, DEALT[0])
    assert place.house.sweep() == []
    place.house.ready(waiting)
    place.use(waiting)


def test_a_sweep_while_a_batch_is_taken(place, monkeypatch):
    batch = place.stocked()
    open_spent = storehouse_module.open_spent
    swept = []

    def sweep_first(*arguments):
        swept.append(place.house.sweep())
        return open_spent(*arguments)

    monkeypatch.setattr(storehouse_module, "open_spent", sweep_first)
    place.use(batch)
    assert swept == [[]]


# ---- the secret --------------------------------------------------------------------------------


def test_the_secret_is_made_once(tmp_path):
    secret = own_secret(tmp_path / "data")
    path = tmp_path / "data" / AT_REST
    assert len(secret) == SECRET_BYTES
    assert len(set(secret)) > 1
    assert own_secret(tmp_path / "data") == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [AT_REST]
    assert own_secret(tmp_path / "other") != secret


def test_many_make_it_at_once(tmp_path):
    found, begin = [], threading.Barrier(8)

    def make():
        begin.wait(60)
        found.append(own_secret(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_can_read(tmp_path, mode):
    own_secret(tmp_path)
    (tmp_path / AT_REST).chmod(mode)
    with pytest.raises(CredentialError, match="open to others") as caught:
        own_secret(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("length", [0, 31, 33, 1000])
def test_a_secret_of_another_length(tmp_path, length):
    own_secret(tmp_path)
    (tmp_path / AT_REST).write_bytes(bytes(length))
    with pytest.raises(CredentialError, match=f"{length} bytes instead of {SECRET_BYTES}"):
        own_secret(tmp_path)


def test_no_room_for_a_secret(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MaterialError, match="No space left"):
        own_secret(tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    own_secret(tmp_path)
