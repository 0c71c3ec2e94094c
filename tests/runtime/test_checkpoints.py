"""What one party keeps of what was saved: on its disk and in its memory."""

import os
import stat
from threading import Barrier, Thread

import msgspec
import numpy as np
import pytest

from tacita.errors import AlreadyUsed, MaterialError, MaterialMismatch, UsageError
from tacita.runtime import checkpoint as checkpoint_module
from tacita.runtime import checkpoint_files, checkpoints
from tacita.runtime.at_rest import own_secret
from tacita.runtime.checkpoint import (
    FORM,
    LONGEST_PREFIX,
    Checkpoint,
    Description,
    SavedTensor,
    Version,
    encode,
    newest_of_all,
    places_of,
)
from tacita.runtime.checkpoint_files import InFolder
from tacita.runtime.checkpoints import Checkpoints, InMemory
from tacita.runtime.sealing import LARGEST_PAYLOAD
from tacita.runtime.worker import VirtualWorker

SECRET = bytes(range(32))
WAIT = 60.0  # seconds: the limit of every wait


def checkpoint(sequence=1, shapes=((2, 3), ()), *, name="net", id_=None, values=b""):
    tensors = tuple(SavedTensor("x", shape, 1, None, False, 2, 16, 1 << 16) for shape in shapes)
    about = Description(name, ("alice", "bob"), tensors, values, ("client:*",), (), "client:lab")
    version = Version(sequence, id_ or os.urandom(16))
    return Checkpoint(version, about, (b"terms",), ((0,),) * len(shapes))


def shares_of(each):
    rng = np.random.default_rng(each.version.sequence)
    return [rng.integers(0, 1 << 64, t.shape, np.uint64) for t in each.about.tensors]


def in_folder(path, room=None, secret=SECRET):
    return Checkpoints(InFolder(path, secret), room)


@pytest.fixture(params=["memory", "folder"])
def kept(request, tmp_path):
    return Checkpoints(InMemory() if request.param == "memory" else InFolder(tmp_path, SECRET))


def require_same(kept, each):
    for found, share in zip(kept.shares(each), shares_of(each), strict=True):
        assert found.dtype == np.uint64
        assert found.shape == share.shape
        assert np.array_equal(found, share)


def test_versions_come_back_in_order_and_go(kept):
    first, second, other = checkpoint(1), checkpoint(2), checkpoint(5, name="other")
    for each in (second, other, first):
        kept.put(each, shares_of(each))
    assert kept.of("net") == [first, second]
    for each in (first, second, other):
        require_same(kept, each)
    kept.keep_only("net", second.version)
    assert kept.of("net") == [second]
    with pytest.raises(MaterialError, match="version 1 of 'net' is not there any more"):
        kept.shares(first)
    kept.keep_only("net", None)
    assert kept.of("net") == []
    require_same(kept, other)


def test_what_is_kept_does_not_change_with_its_wire(kept):
    each, shares = checkpoint(), shares_of(checkpoint())
    kept.put(each, shares)
    shares[0][:] = 0
    kept.shares(each)[0][:] = 0
    require_same(kept, each)


def test_shares_that_were_not_described(kept):
    each = checkpoint()
    good = shares_of(each)
    for bad in (good[:1], good[::-1], [good[0].astype(np.int64), good[1]], [*good, good[0]]):
        with pytest.raises(UsageError, match="not what was described"):
            kept.put(each, bad)
    assert kept.of("net") == []


def test_an_id_is_for_one_version(kept):
    each = checkpoint()
    kept.put(each, shares_of(each))
    again = checkpoint(2, name="other", id_=each.version.id)
    with pytest.raises(AlreadyUsed, match="id of another"):
        kept.put(again, shares_of(again))
    require_same(kept, each)


def test_an_id_is_taken_while_its_version_is_written(tmp_path):
    """Of two with one id, neither is written in the place of the other."""
    refused = []

    class Interrupted(InFolder):
        def write(self, checkpoint, shares):
            super().write(checkpoint, shares)  # and nobody has been told yet
            with pytest.raises(AlreadyUsed, match="id of another") as caught:
                kept.put(again, shares_of(again))
            refused.append(caught.value)

    kept = Checkpoints(Interrupted(tmp_path, SECRET))
    each = checkpoint(1, name="first")
    again = checkpoint(2, name="second", id_=each.version.id)
    kept.put(each, shares_of(each))
    assert len(refused) == 1
    require_same(kept, each)
    assert kept.of("second") == []


def test_a_file_that_is_there_is_never_replaced(tmp_path):
    each = checkpoint(1)
    one, other = in_folder(tmp_path), in_folder(tmp_path)
    one.put(each, shares_of(each))
    again = checkpoint(2, name="other", id_=each.version.id)
    with pytest.raises(MaterialError, match="File exists"):
        other.put(again, shares_of(again))
    require_same(one, each)
    assert [path.name for path in tmp_path.iterdir()] == [each.version.id.hex()]


def test_what_cannot_be_deleted_keeps_its_name_and_its_room():
    class Stuck(InMemory):
        stuck = True

        def delete(self, checkpoint):
            if self.stuck:
                raise MaterialError("the disk cannot be written")
            super().delete(checkpoint)

    cabinet = Stuck()
    kept = Checkpoints(cabinet, room=64)
    each, more = checkpoint(1, [(8,)]), checkpoint(2, [(1,)])
    kept.put(each, shares_of(each))
    with pytest.raises(MaterialError, match="cannot be written"):
        kept.keep_only("net", None)
    assert kept.of("net") == [each]
    with pytest.raises(MaterialError, match="there are 64"):
        kept.put(more, shares_of(more))
    cabinet.stuck = False
    kept.keep_only("net", None)
    assert kept.of("net") == []
    kept.put(more, shares_of(more))


def test_terms_are_kept_once_however_many_tensors_came_under_them():
    first, second = bytes(1000), bytes([1]) * 1000
    behind = [frozenset({first}), frozenset({second, first}), frozenset()] * 100
    loans, terms = places_of(behind, "net")
    assert sorted(loans) == [first, second]
    each = checkpoint(1, [()] * 300)
    each = Checkpoint(each.version, each.about, tuple(loans), tuple(terms))
    assert list(each.loans_behind()) == behind
    written = encode(each)
    plain = encode(checkpoint(1, [()] * 300))
    # Both loans, and what a tensor has of them: an array of at most two small numbers.
    assert len(written) - len(plain) <= 2000 + 2 * LONGEST_PREFIX + 300 * 3
    assert msgspec.msgpack.decode(written, type=Checkpoint) == each


def test_terms_have_an_end_before_they_are_put_together(monkeypatch):
    taken = []

    def behind():
        while True:
            taken.append(1)
            yield frozenset({b"one", b"two"})

    monkeypatch.setattr(checkpoint_module, "MOST_TERMS", 1000)
    with pytest.raises(UsageError, match="under terms of more than 1000 bytes"):
        places_of(behind(), "net")
    # The two once, and for each tensor an array of two numbers.
    assert len(taken) <= 1000 // (3 * LONGEST_PREFIX) + 1


@pytest.mark.parametrize("terms", [((1,),), ((-1,),), ((0, 1),)])
def test_terms_that_are_none_of_the_loans(terms):
    each = checkpoint(1, [()])
    with pytest.raises(ValueError, match="outside of 1 loans"):
        Checkpoint(each.version, each.about, (b"terms",), terms)
    written = encode([FORM, each.version, each.about, (b"terms",), terms])
    with pytest.raises(msgspec.ValidationError, match="outside of 1 loans"):
        msgspec.msgpack.decode(written, type=Checkpoint)


def test_another_form_is_not_read(tmp_path, monkeypatch):
    each = checkpoint()
    other = [FORM + 1, each.version, each.about, each.loans, each.terms]
    monkeypatch.setattr(checkpoint_files, "encode", lambda _: encode(other))
    in_folder(tmp_path).put(each, shares_of(each))
    monkeypatch.undo()
    later = in_folder(tmp_path)
    assert later.of("net") == []
    (found,) = later.unreadable
    assert "what was saved cannot be read" in found.why


def test_room_is_for_all_and_comes_back(tmp_path):
    each = checkpoint(1, [(4,)])  # 32 bytes of shares
    for make in (lambda: Checkpoints(InMemory(), 64), lambda: in_folder(tmp_path, 64)):
        kept = make()
        kept.put(each, shares_of(each))
        second, third = checkpoint(2, [(4,)]), checkpoint(3, [(1,)])
        kept.put(second, shares_of(second))
        with pytest.raises(MaterialError, match="64 bytes here, and there are 64: 8 more"):
            kept.put(third, shares_of(third))
        kept.keep_only("net", second.version)
        kept.put(third, shares_of(third))
    # What lay there before the process began counts as well.
    again = checkpoint(4, [(4,)])
    with pytest.raises(MaterialError, match="there are 40"):
        in_folder(tmp_path, 64).put(again, shares_of(again))


def test_descriptions_have_room_of_their_own(kept, monkeypatch):
    first, second = (checkpoint(n, [(0,)], values=bytes(1000)) for n in (1, 2))
    monkeypatch.setattr(checkpoints, "MOST_DESCRIBED", 1500)
    kept.put(first, shares_of(first))
    with pytest.raises(MaterialError, match="no room for the names of 'net'"):
        kept.put(second, shares_of(second))
    kept.keep_only("net", None)
    kept.put(second, shares_of(second))


def test_one_of_many_saves_under_a_name(kept):
    begin, end, outcomes = Barrier(8), Barrier(8), []

    def save():
        begin.wait(WAIT)
        try:
            with kept.saving("net"):
                outcomes.append("saved")
                end.wait(WAIT)
        except AlreadyUsed:
            outcomes.append("refused")
            end.wait(WAIT)

    threads = [Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert sorted(outcomes) == ["refused"] * 7 + ["saved"]


# ---- files -------------------------------------------------------------------------------------


def test_files_outlive_the_process(tmp_path):
    each = checkpoint(3, [(300, 1000), (0, 2), ()], values=bytes(3 * LARGEST_PAYLOAD))
    in_folder(tmp_path / "new").put(each, shares_of(each))
    later = in_folder(tmp_path / "new")
    assert later.of("net") == [each]
    require_same(later, each)
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_has_the_shares_and_no_more(tmp_path):
    """No masks, openings or keys beside them: there is no room for any."""
    small, large = checkpoint(1, [(1,)]), checkpoint(1, [(1001,)])
    sizes = []
    for each in (small, large):
        kept = in_folder(tmp_path / str(len(sizes)))
        kept.put(each, shares_of(each))
        (path,) = (tmp_path / str(len(sizes))).iterdir()
        sizes.append(path.stat().st_size)
        assert shares_of(each)[0].tobytes()[:8] not in path.read_bytes()  # sealed
    assert sizes[1] - sizes[0] - 8 * 1000 <= 8  # a larger number in the description


def test_what_a_crash_left_of_a_file_goes(tmp_path):
    each = checkpoint()
    in_folder(tmp_path).put(each, shares_of(each))
    part = tmp_path / f"{os.urandom(16).hex()}.part"
    part.write_bytes(b"tacita saved")
    later = in_folder(tmp_path)
    assert later.of("net") == [each]
    assert not part.exists()


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    kept, each = in_folder(tmp_path, room=64), checkpoint(1, [(8,)])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MaterialError, match="No space left"):
        kept.put(each, shares_of(each))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert kept.of("net") == []
    kept.put(each, shares_of(each))  # and takes no room
    require_same(kept, each)


def altered_copies(data):
    yield data[:-1]
    yield data + b"\0"
    for place in (0, 20, 60, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        yield bytes(changed)


def test_altered_files_are_refused(tmp_path):
    each = checkpoint()
    kept = in_folder(tmp_path)
    kept.put(each, shares_of(each))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    for changed in altered_copies(data):
        path.write_bytes(changed)
        with pytest.raises(MaterialMismatch, match=path.name):
            in_folder(tmp_path).shares(each)
        with pytest.raises(MaterialMismatch, match=path.name):
            kept.shares(each)
    path.write_bytes(data)
    path.rename(path.with_name("0" * 32))
    later = in_folder(tmp_path)
    assert later.of("net") == []
    (found,) = later.unreadable
    assert (found.file, found.id) == ("0" * 32, bytes(16))
    assert "another checkpoint" in found.why


def test_another_secret_opens_nothing(tmp_path):
    each = checkpoint()
    in_folder(tmp_path).put(each, shares_of(each))
    later = in_folder(tmp_path, secret=bytes(32))
    assert later.of("net") == []
    (found,) = later.unreadable
    assert "secret" in found.why


def harmed(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def emptied(path):
    path.write_bytes(b"")


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [harmed, emptied, a_folder])
def test_a_file_that_cannot_be_read_keeps_nobody_from_the_others(tmp_path, harm):
    """It is named and left as it is, and what is saved later never takes its place."""
    each, other = checkpoint(1, name="harmed"), checkpoint(1, name="whole")
    before = in_folder(tmp_path)
    for saved in (each, other):
        before.put(saved, shares_of(saved))
    path = tmp_path / each.version.id.hex()
    harm(path)
    status = path.stat()
    later = in_folder(tmp_path)
    assert later.of("harmed") == []
    require_same(later, other)
    (found,) = later.unreadable
    assert found.id == each.version.id
    assert str(path) in found.why
    assert later.unreadable_ids == (each.version.id,)
    with pytest.raises(MaterialError, match="File exists"):
        later.put(each, shares_of(each))
    later.keep_only("harmed", None)
    left = path.stat()
    assert (left.st_size, left.st_mtime_ns, left.st_ino) == (
        status.st_size, status.st_mtime_ns, status.st_ino,
    )  # fmt: skip


def test_a_worker_warns_of_what_it_cannot_read(tmp_path):
    worker = VirtualWorker(id="alice", folder=tmp_path)
    each = checkpoint()
    folder = tmp_path / "checkpoints"
    in_folder(folder, secret=own_secret(tmp_path)).put(each, shares_of(each))
    harmed(folder / each.version.id.hex())
    del worker
    with pytest.warns(UserWarning, match=f"alice cannot read .*{each.version.id.hex()}"):
        VirtualWorker(id="alice", folder=tmp_path)


def test_what_cannot_be_read_takes_room(tmp_path):
    each = checkpoint(1, [(8,)])
    in_folder(tmp_path).put(each, shares_of(each))
    (path,) = tmp_path.iterdir()
    harmed(path)
    room = path.stat().st_size + 64
    later, small, large = in_folder(tmp_path, room), checkpoint(2, [(8,)]), checkpoint(3, [(1,)])
    later.put(small, shares_of(small))
    with pytest.raises(MaterialError, match=f"{room} bytes here, and there are {room}"):
        later.put(large, shares_of(large))


@pytest.mark.parametrize("name", ["README", "00", "AB" * 16, "0" * 31 + " ", "١" * 32])
def test_a_name_that_is_no_versions_has_no_id(tmp_path, name):
    (tmp_path / name).write_bytes(b"something else")
    later = in_folder(tmp_path)
    (found,) = later.unreadable
    assert (found.file, found.id) == (name, None)
    assert later.unreadable_ids == ()


# ---- which version -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "newest"),
    [
        ([[1, 2], [1, 2]], 2),
        ([[1, 2], [1]], 1),
        ([[2], [1, 2], [2, 3]], 2),
        ([[1], [2]], None),
        ([[1, 2], []], None),
        ([[], []], None),
    ],
)
def test_the_newest_that_all_have(lists, newest):
    versions = {number: Version(number, bytes([number] * 16)) for number in (1, 2, 3)}
    found = newest_of_all([[versions[each] for each in every] for every in lists])
    assert found == (None if newest is None else versions[newest])


def test_of_two_with_one_number_all_mean_the_same():
    a, b = Version(1, bytes(16)), Version(1, bytes([1] * 16))
    assert newest_of_all([[a, b], [b, a]]) == newest_of_all([[b, a], [a, b]]) == b
