"""Saving at several parties, of which one dies at any point: a version that all have is left."""

import os
import threading

import numpy as np
import pytest

from tacita.errors import PeerError, Refused, UsageError
from tacita.runtime.budget import BYTES_A_WIRE, BYTES_AN_ELEMENT, BYTES_OF_A_LOAN, Budget
from tacita.runtime.checkpoint import (
    Checkpoint,
    Description,
    SavedTensor,
    Version,
    encode,
    found_in,
)
from tacita.runtime.checkpoint_files import InFolder
from tacita.runtime.checkpoints import Checkpoints, InMemory
from tacita.runtime.orders import decode_answer
from tacita.runtime.restrictions import NONE, Restrictions
from tacita.runtime.saving import Find, Load, OwnVault, Remove, Save, Saving
from tacita.runtime.store import Held, Store
from tacita.runtime.transport import MemoryNetwork, Message

LIMIT = 30.0  # seconds; reached only where something waits that should not
SECRET = bytes(range(32))
SHAPES = ((2, 3), (), (0, 4))
NAMES = ("alice", "bob", "carol")
OLD, NEW, LATER = ([np.full(shape, value, np.uint64) for shape in SHAPES] for value in (1, 2, 3))


class Killed(BaseException):
    """A party's process has ended: no handler of errors sees it."""


class Fate:
    """Ends a party at one of the points at which others could tell."""

    def __init__(self, points):
        self.left = points  # None: never

    def point(self):
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


class MortalEndpoint:
    def __init__(self, endpoint, fate):
        self.name, self._endpoint, self._fate = endpoint.name, endpoint, fate

    def send(self, to, message):
        self._fate.point()
        self._endpoint.send(to, message)

    def receive(self, sender, limit):
        self._fate.point()
        return self._endpoint.receive(sender, limit)


class MortalCabinet:
    def __init__(self, cabinet, fate):
        self._cabinet, self._fate = cabinet, fate
        self.all, self.read = cabinet.all, cabinet.read

    def write(self, checkpoint, shares):
        self._fate.point()
        self._cabinet.write(checkpoint, shares)
        self._fate.point()

    def delete(self, checkpoint):
        self._fate.point()
        self._cabinet.delete(checkpoint)
        self._fate.point()


class Group:
    """Parties with folders; each call is a session of its own, after all were started again."""

    def __init__(self, folder, names):
        self.folder, self.names = folder, names

    def checkpoints(self, name, fate):
        return Checkpoints(MortalCabinet(InFolder(self.folder / name, SECRET), fate))

    def ask(self, topics, shares=None, doomed=None, points=None):
        """Each party's answer to its topic, or the error with which it ended; and its store."""
        network = MemoryNetwork(self.names, LIMIT)
        answers, stores = {}, {}

        def take_part(name):
            endpoint = network.endpoint(name)
            peers = [other for other in self.names if other != name]
            store = stores[name] = Store(name, first=name == self.names[0])
            for wire, share in enumerate((shares or {}).get(name, ())):
                store.hold(wire, Held(share))
            fate = Fate(points if name == doomed else None)
            try:
                saving = Saving(
                    OwnVault(self.checkpoints(name, fate)), MortalEndpoint(endpoint, fate), peers,
                    store, Restrictions(), limit=LIMIT, exposed=None, same_orders=lambda: None,
                )  # fmt: skip
                answers[name] = saving.answer(encode(topics[name]))
            except PeerError as error:
                answers[name] = error
            except Killed:
                answers[name] = None
            if not isinstance(answers[name], Message):
                for peer in peers:  # what the end of a connection tells
                    endpoint.send(peer, Message("fail", b"it has ended"))

        threads = [threading.Thread(target=take_part, args=(name,)) for name in self.names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        return {name: answers[name] for name in self.names}, stores

    def same(self, topic):
        return dict.fromkeys(self.names, topic)

    def save(self, values, **death):
        """Shares of the values, random but for their sum, saved by all."""
        rng = np.random.default_rng()
        shares = {name: [] for name in self.names}
        for value in values:
            parts = [rng.integers(0, 1 << 64, value.shape, np.uint64) for _ in self.names[1:]]
            parts.append(value - np.sum(parts, axis=0, dtype=np.uint64))
            for name, part in zip(self.names, parts, strict=True):
                shares[name].append(np.asarray(part, np.uint64))
        topic = Save(7, "net", os.urandom(16), tuple(range(len(values))), described(self.names))
        return self.ask(self.same(topic), shares, **death)[0]

    def find(self):
        answers, _ = self.ask(self.same(Find(8, "net")))
        texts = {name: text_of(answer) for name, answer in answers.items()}
        assert len(set(texts.values())) == 1
        return found_in(texts["alice"], "alice")

    def load(self):
        """The values, put together from the shares that all parties have then."""
        version = self.find().version
        answers, stores = self.ask(self.same(Load(9, "net", version, (4, 5, 6))))
        for answer in answers.values():
            assert text_of(answer) == ""
        return [
            np.sum([stores[name].share(wire) for name in self.names], axis=0, dtype=np.uint64)
            for wire in (4, 5, 6)
        ]

    def kept(self):
        """How many versions lie at each party."""
        return [len(self.checkpoints(name, Fate(None)).of("net")) for name in self.names]


def described(names):
    tensors = tuple(
        SavedTensor(f"t{number}", shape, 1, None, False, 0, 0, 1)
        for number, shape in enumerate(SHAPES)
    )
    return encode(Description("net", names, tensors, b"beside"))


def text_of(answer):
    assert isinstance(answer, Message), answer
    text = decode_answer(answer.header).text
    assert answer.kind == "done", text
    return text


def is_one_of(values, *candidates):
    return any(
        all(np.array_equal(a, b) for a, b in zip(values, each, strict=True)) for each in candidates
    )


@pytest.fixture
def group(tmp_path):
    return Group(tmp_path, NAMES[:2])


@pytest.mark.parametrize("parties", [2, 3])
def test_whoever_dies_whenever_something_whole_is_left(tmp_path, parties):
    names = NAMES[:parties]
    lost = kept = 0
    for doomed in names:
        points = 0
        while True:
            group = Group(tmp_path / f"{doomed}{points}", names)
            group.save(OLD)
            answers = group.save(NEW, doomed=doomed, points=points)
            values = group.load()
            assert is_one_of(values, OLD, NEW), f"{doomed} at {points}"
            if any(isinstance(each, Message) for each in answers.values()):
                # Somebody was told that it is saved.
                assert is_one_of(values, NEW), f"{doomed} at {points}"
            kept, lost = kept + is_one_of(values, NEW), lost + is_one_of(values, OLD)
            group.save(LATER)
            assert is_one_of(group.load(), LATER)
            assert set(group.kept()) == {1}, "what failed saves had left is gone"
            if None not in answers.values():
                break
            points += 1
        assert points >= 2 * (parties - 1) * 2 + 4  # two exchanges, a write and a deletion
    assert kept > 0
    assert lost > 0


def only_file(group, name):
    (path,) = (group.folder / name).iterdir()
    return path


def test_what_one_party_cannot_read_is_neither_loaded_nor_saved_over(group):
    """All refuse, say why, and keep what they have; what is restored there is as it was."""
    group.save(OLD)
    path = only_file(group, "alice")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    theirs = only_file(group, "bob").read_bytes()
    find = group.ask(group.same(Find(8, "net")))[0]
    for answers in (find, group.save(NEW)):
        for said in refused(answers):
            assert "alice has version 1 of 'net' in a file that it cannot read" in said
            assert f"checkpoints/{path.name}" in said
    assert path.read_bytes() == whole[:-1]
    assert only_file(group, "bob").read_bytes() == theirs
    path.write_bytes(whole)
    assert is_one_of(group.load(), OLD)
    group.save(NEW)
    assert is_one_of(group.load(), NEW)


def test_a_version_is_given_up_by_moving_its_file_away(group):
    group.save(OLD)
    path = only_file(group, "alice")
    path.write_bytes(b"")
    for said in refused(group.save(NEW)):
        assert "moving it away" in said
    path.unlink()
    for said in refused(group.ask(group.same(Find(8, "net")))[0]):
        assert "nothing is saved" in said or "no version of 'net' is with all" in said
    group.save(NEW)
    assert is_one_of(group.load(), NEW)
    assert group.kept() == [1, 1]


def test_what_nobody_can_read_keeps_no_name(group):
    """Nobody knows any more what it was called."""
    group.save(OLD)
    files = [only_file(group, name) for name in group.names]
    for path in files:
        path.write_bytes(b"")
    for said in refused(group.ask(group.same(Find(8, "net")))[0]):
        assert "what lies here and cannot be read, files: 1" in said
    group.save(NEW)
    assert is_one_of(group.load(), NEW)
    assert [path.read_bytes() for path in files] == [b"", b""]


def test_versions_are_counted_and_only_the_last_is_kept(group):
    assert [text_of(each) for each in group.save(OLD).values()] == ["1", "1"]
    assert [text_of(each) for each in group.save(NEW).values()] == ["2", "2"]
    assert group.kept() == [1, 1]
    assert group.find().version.sequence == 2
    assert group.find().about.values == b"beside"


def refused(answers):
    for answer in answers.values():
        assert answer.kind == "refuse"
    return [decode_answer(answer.header).text for answer in answers.values()]


def test_a_party_that_cannot_write_keeps_all_at_the_version_before(tmp_path):
    class Full(InMemory):
        full = False

        def write(self, checkpoint, shares):
            if self.full:
                raise UsageError("the disk of bob is full")
            super().write(checkpoint, shares)

    cabinets = {name: Full() for name in NAMES}
    vaults = {name: OwnVault(Checkpoints(each)) for name, each in cabinets.items()}

    class Lasting(Group):
        def checkpoints(self, name, fate):
            return vaults[name]._checkpoints

    group = Lasting(tmp_path, NAMES)
    group.save(OLD)
    cabinets["bob"].full = True
    for text, name in zip(refused(group.save(NEW)), NAMES, strict=True):
        assert text.startswith(f"{name}: ")
        assert "the disk of bob is full" in text
    assert is_one_of(group.load(), OLD)
    assert group.kept() == [1, 1, 1]
    cabinets["bob"].full = False
    group.save(NEW)
    assert is_one_of(group.load(), NEW)


def test_nothing_and_what_not_all_have(group):
    for text in refused(group.ask(group.same(Find(1, "net")))[0]):
        assert "nothing is saved under 'net'" in text
    group.save(OLD)
    group.checkpoints("bob", Fate(None)).keep_only("net", None)
    texts = refused(group.ask(group.same(Find(1, "net")))[0])
    assert "no version of 'net' is with all parties" in texts[0]
    assert "nothing is saved" in texts[1]


def test_what_is_removed_is_gone(group):
    group.save(OLD)
    group.ask(group.same(Remove(3, "net")))
    assert group.kept() == [0, 0]
    refused(group.ask(group.same(Remove(3, "net")))[0])


def test_shares_of_three_are_not_loaded_by_two(tmp_path):
    Group(tmp_path, NAMES).save(OLD)
    two = Group(tmp_path, NAMES[:2])
    for text in refused(two.ask(two.same(Find(1, "net")))[0]):
        assert "held by alice, bob, carol" in text


def test_parties_that_are_told_different_things_save_nothing(group):
    group.save(OLD)
    shares = dict.fromkeys(group.names, OLD)
    id_, wires = os.urandom(16), (0, 1, 2)
    about = described(group.names)
    to = {
        "alice": Save(7, "net", id_, wires, about),
        "bob": Save(7, "net", id_, wires, about.replace(b"beside", b"behind")),
    }
    answers, _ = group.ask(to, shares)
    assert all(isinstance(answer, PeerError) for answer in answers.values())
    assert "was given other orders" in str(answers["alice"])
    assert is_one_of(group.load(), OLD)


@pytest.mark.parametrize(
    ("wires", "about", "complaint"),
    [
        ((0, 1), described(("alice", "bob")), "has 3 tensors, not 2"),
        ((0, 0, 2), described(("alice", "bob")), "a wire twice"),
        ((1, 0, 2), described(("alice", "bob")), "'t0' is described as"),
        ((0, 1, 2), described(("alice", "dave")), "held by alice, dave"),
        ((0, 1, 2), b"\xc1", "no description"),
        ((0, 1, 9), described(("alice", "bob")), "holds no wire 9"),
        (
            (),
            encode(Description("other", ("alice", "bob"), (), b"")),
            "described as 'other'",
        ),
    ],
)
def test_what_is_described_wrongly_is_refused_by_all(group, wires, about, complaint):
    shares = dict.fromkeys(group.names, OLD)
    topic = Save(7, "net", os.urandom(16), wires, about)
    for text in refused(group.ask(group.same(topic), shares)[0]):
        assert complaint in text


def test_two_sessions_do_not_save_under_one_name_at_once():
    vault = OwnVault(Checkpoints(InMemory()))
    about = Description("net", ("alice", "bob"), (), b"")
    another = vault.saving(about)
    with vault.saving(about), pytest.raises(UsageError, match="being saved by another session"):
        another.__enter__()
    with vault.saving(about) as same:
        assert same is about


def test_what_is_no_topic_ends_the_session(group):
    endpoint = MemoryNetwork(group.names, LIMIT).endpoint("alice")
    saving = Saving(
        OwnVault(Checkpoints(InMemory())), endpoint, ["bob"], Store("alice", first=True),
        Restrictions(), limit=LIMIT, exposed=None, same_orders=lambda: None,
    )  # fmt: skip
    for header in (b"", b"\xc1", encode([1]), encode(["Find", 1]), encode(["Find", "1", "net"])):
        with pytest.raises(PeerError, match="cannot be read"):
            saving.answer(header)


def one_party(vault, budget, restrictions=None):
    """Of two, in a session with a budget."""
    store = Store("alice", first=True, budget=budget)
    endpoint = MemoryNetwork(NAMES[:2], LIMIT).endpoint("alice")
    saving = Saving(
        vault, endpoint, ["bob"], store, restrictions or Restrictions(), limit=LIMIT, exposed=None,
        same_orders=lambda: None,
    )  # fmt: skip
    return saving, store


class Lending(OwnVault):
    """Everything comes under two loans."""

    read = 0

    def load(self, checkpoint):
        self.read += 1
        shares, loans = super().load(checkpoint)
        return shares, [frozenset({b"own", b"other"})] * len(loans)


def test_what_is_loaded_is_counted_before_it_is_read():
    each = Checkpoint(
        Version(1, bytes(16)),
        Description("net", NAMES[:2], (SavedTensor("t", (100,), 1, None, False, 0, 0, 1),), b""),
        (b"other",),
        ((0,),),
    )
    checkpoints = Checkpoints(InMemory())
    checkpoints.put(each, [np.zeros(100, np.uint64)])
    need = BYTES_A_WIRE + 100 * BYTES_AN_ELEMENT + 2 * BYTES_OF_A_LOAN
    topic = encode(Load(1, "net", each.version, (5,)))
    for size, reads, kind in ((need - 1, 0, "refuse"), (need, 1, "done")):
        vault = Lending(checkpoints)
        session = Budget(wires=1, size=size, seconds=LIMIT, program_size=1)
        restrictions = Restrictions()
        saving, store = one_party(vault, session, restrictions)
        assert saving.answer(topic).kind == kind
        assert vault.read == reads
        assert (5 in store.wires) == (kind == "done")
    assert restrictions.behind([5]) == {b"own", b"other"}
    with pytest.raises(Refused):  # the loans of what was loaded count
        session.require_room([], 1)


def test_what_is_lent_comes_without_terms_in_one_process(group):
    group.save(OLD)
    (checkpoint,) = group.checkpoints("alice", Fate(None)).of("net")
    assert checkpoint.terms == ((), (), ())
    assert OwnVault(group.checkpoints("alice", Fate(None))).load(checkpoint)[1] == [NONE] * 3
