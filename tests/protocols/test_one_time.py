"""Randomness is used once: no mask hides two values, no block of a stream is drawn twice.

A long mixed flow runs with every draw and every hiding recorded.
"""

import copy
import os
import pickle
import threading
from collections import Counter, defaultdict
from contextlib import suppress

import numpy as np
import pytest
from cases import CASES, play

from tacita.errors import MaskReused, SessionClosed
from tacita.program.readings import BitMask, Mask, Masked, Opening
from tacita.ring import kernels, randomness
from tacita.ring.randomness import KEY_BYTES, SharingSource, Stream, StreamKey
from tacita.runtime import dealer as dealer_module
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.store import Held, Known
from tacita.runtime.transport import Message

# What a flow runs: every case but those that only repeat a smaller one with more elements.
FLOW = [case for case in CASES if sum(value.size for value in case.private) < 2000]
NAMES = ("alice", "bob", "carol")
DEALER = "dealer"


def role():
    """The role whose thread this is; the user's side has the main thread."""
    return threading.current_thread().name.removeprefix("tacita ")


class Recorder:
    """Draws, openings of streams and hidings, by role, in order. Draws by the key, too, that the
    operating system gave: those of streams follow from it and from what was drawn for before."""

    def __init__(self, monkeypatch):
        self.draws = defaultdict(list)
        self.opened = defaultdict(list)
        self.hidden = []
        self.roots = {}
        monkeypatch.setattr(StreamKey, "bind", self._binding(StreamKey.bind))
        for name in ("aes_ctr", "aes_ctr_add", "aes_ctr_xor"):
            monkeypatch.setattr(kernels, name, self._recording(getattr(kernels, name)))
        for kind in (Mask, BitMask):
            monkeypatch.setattr(kind, "hide", self._hiding(kind.hide))
        monkeypatch.setattr(StreamKey, "open", self._opening(StreamKey.open))

    def _recording(self, draw):
        def recorded(key, nonce, block, out, **options):
            draw(key, nonce, block, out, **options)
            blocks = range(block, block + -(-out.size // 2))
            root = self.roots.get(key, key)
            self.draws[role(), root].extend((nonce, each, key) for each in blocks)

        return recorded

    def _binding(self, bind):
        def recorded(stream_key, told):
            bind(stream_key, told)
            self.roots[stream_key._key] = stream_key._root

        return recorded

    def _hiding(self, hide):
        def recorded(mask, value):
            self.hidden.append((role(), mask.share.copy().reshape(-1)))
            return hide(mask, value)

        return recorded

    def _opening(self, open_stream):
        def recorded(stream_key, number, branch=0):
            stream = open_stream(stream_key, number, branch)
            self.opened[role(), id(stream_key)].append((number, branch))
            return stream

        return recorded


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def flow(request):
    """What a session of some parties drew and hid while it ran all cases, twice."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        session = EmbeddedSession(NAMES[: request.param], DEALER)
        try:
            for case in FLOW + FLOW:
                play(session, case)
            session.settle()
        finally:
            session.close()
    recorder.holders = session.holders
    return recorder


def test_the_flow_hides_and_draws(flow):
    # Otherwise the tests below would pass on an empty record.
    assert len(flow.hidden) > 1000
    assert {name for name, _ in flow.draws} == {*flow.holders, DEALER, "MainThread"}
    assert sum(len(drawn) for drawn in flow.draws.values()) > 100_000


def test_no_two_values_are_hidden_by_one_mask(flow):
    # Masks are uniform words of 64 bits: of the 2^18 or so here, any two are equal with a
    # probability of 2^-29. A mask that hides twice makes words equal for sure.
    words = np.concatenate([words for _, words in flow.hidden])
    assert np.unique(words).size == words.size


def test_the_check_on_masks_finds_a_reused_word(flow):
    words = np.concatenate([words for _, words in flow.hidden])
    words[-1] = words[0]
    assert np.unique(words).size < words.size


def test_no_role_draws_a_block_twice(flow):
    for (name, _), drawn in flow.draws.items():
        repeated = [block for block, count in Counter(drawn).items() if count > 1]
        assert not repeated, name


def test_streams_open_in_ascending_order(flow):
    assert len(flow.opened) == 2 * len(flow.holders) + 1
    for (name, _), opened in flow.opened.items():
        assert opened == sorted(set(opened)), name


def test_dealer_and_party_draw_the_same_blocks(flow):
    keys = {name: [key for owner, key in flow.draws if owner == name] for name in flow.holders}
    for name, (key,) in keys.items():
        drawn = set(flow.draws[name, key])
        # Parties pass over what reads a refused wire, and the dealer does not know of that.
        orders = {nonce for nonce, _, _ in drawn}
        dealt = {block for block in flow.draws[DEALER, key] if block[0] in orders}
        differing = len(drawn ^ dealt)
        assert differing == 0, name


def test_every_role_draws_from_keys_of_its_own(flow):
    owners = defaultdict(set)
    for name, key in flow.draws:
        owners[key].add(name)
    # A party's key is the dealer's too, and nobody else's; the user's side has its own.
    assert sorted(map(sorted, owners.values())) == sorted(
        [["MainThread"], *(sorted([name, DEALER]) for name in flow.holders)]
    )


# ---- guards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Mask, BitMask])
def test_a_mask_hides_once(kind):
    mask = kind(np.arange(3, dtype=np.uint64))
    value = np.array([5, 6, 7], np.uint64)
    mask.hide(value)
    with pytest.raises(MaskReused):
        mask.hide(value)


@pytest.mark.parametrize("kind", [Mask, BitMask])
def test_a_mask_that_failed_to_hide_is_spent(kind):
    mask = kind(np.arange(3, dtype=np.uint64))
    with pytest.raises(MaskReused, match="cannot hide"):
        mask.hide(np.arange(4, dtype=np.uint64))
    with pytest.raises(MaskReused):
        mask.hide(np.arange(3, dtype=np.uint64))


@pytest.mark.parametrize("kind", [Mask, BitMask])
def test_one_mask_does_not_hide_several_values(kind):
    with pytest.raises(MaskReused, match=r"shape \(1,\) cannot hide a value of shape \(3,\)"):
        kind(np.array([7], np.uint64)).hide(np.arange(3, dtype=np.uint64))


@pytest.mark.parametrize(
    "once",
    [Mask(np.zeros(1, np.uint64)), Stream(bytes(16), 0), StreamKey(bytes(16)), SharingSource()],
    ids=lambda once: type(once).__name__,
)
@pytest.mark.parametrize("twice", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_is_used_once_has_no_copies(once, twice):
    with pytest.raises(MaskReused, match="cannot be copied or pickled"):
        twice(once)


def test_a_forked_process_does_not_draw_from_its_parents_keys(monkeypatch):
    key, source = StreamKey(bytes(16)), SharingSource()
    session = EmbeddedSession(["alice", "bob"], DEALER)
    # What a child of fork sees: the same memory under another number.
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(MaskReused, match="forked"):
        key.open(0)
    with pytest.raises(MaskReused, match="forked"):
        source.split(np.zeros(1, np.uint64), 2)
    with pytest.raises(SessionClosed, match="forked"):
        session.settle()
    monkeypatch.undo()
    session.close()


def test_masks_add_and_bit_masks_xor():
    share, value = np.array([3], np.uint64), np.array([2**64 - 1], np.uint64)
    opening = Mask(share).hide(value)
    assert (opening.summand[0], opening.boolean) == (2, False)
    opening = BitMask(share).hide(value)
    assert (opening.summand[0], opening.boolean) == (2**64 - 4, True)


@pytest.mark.parametrize(
    ("first", "second"), [((3, 0), (3, 0)), ((3, 1), (3, 0)), ((4, 0), (3, 255)), ((1, 9), (0, 9))]
)
def test_a_stream_does_not_open_again_or_backwards(first, second):
    key = StreamKey(bytes(KEY_BYTES))
    key.open(*first)
    with pytest.raises(MaskReused):
        key.open(*second)


@pytest.mark.parametrize(("number", "branch"), [(-1, 0), (0, -1), (0, 256), (1 << 56, 0)])
def test_there_is_no_stream_outside_the_nonce(number, branch):
    with pytest.raises(ValueError, match="no stream"):
        StreamKey(bytes(KEY_BYTES)).open(number, branch)


def test_streams_differ():
    key = StreamKey(bytes(KEY_BYTES))
    heads = [tuple(key.open(number, branch).draw((4,))) for number in (0, 1) for branch in (0, 1)]
    assert len(set(heads)) == 4


def test_draws_of_one_stream_continue_it_without_an_overlap():
    whole = Stream(bytes(KEY_BYTES), 7).draw((12,))
    stream = Stream(bytes(KEY_BYTES), 7)
    # A draw of three words uses two blocks; the fourth word is never seen.
    parts = [stream.draw((3,)), stream.draw((2, 2)).reshape(-1), stream.draw((4,))]
    assert np.array_equal(np.concatenate(parts), np.delete(whole, 3))


def test_adding_and_xoring_draw_what_drawing_draws():
    whole = Stream(bytes(KEY_BYTES), 7).draw((10,))
    stream = Stream(bytes(KEY_BYTES), 7)
    summed = np.full(4, 5, np.uint64)
    stream.add_to(summed)
    flipped = np.full(6, 5, np.uint64)
    stream.xor_to(flipped)
    assert np.array_equal(summed, whole[:4] + np.uint64(5))
    assert np.array_equal(flipped, whole[4:] ^ np.uint64(5))


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_has_sixteen_bytes(size):
    with pytest.raises(ValueError, match="16 bytes"):
        StreamKey(bytes(size))


# ---- sharing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_shares_sum_to_the_value_and_are_fresh_each_time(parties):
    source = SharingSource()
    value = np.arange(100, dtype=np.uint64)
    once, again = source.split(value, parties), source.split(value, parties)
    for shares in (once, again):
        assert np.array_equal(sum(shares[1:], shares[0]), value)
    words = np.concatenate([*once, *again])
    assert np.unique(words).size == words.size


def test_sharing_leaves_the_value_alone():
    value = np.arange(5, dtype=np.uint64)
    SharingSource().split(value, 3)
    assert np.array_equal(value, np.arange(5))


def test_inputs_from_two_threads_never_share_a_stream(monkeypatch):
    """Both threads stand at the counter of inputs before either draws."""
    session = EmbeddedSession(["alice", "bob"], None)
    meeting = threading.Barrier(2)
    open_stream = StreamKey.open
    opened, failures = [], []

    def slow_open(stream_key, number, branch=0):
        # Where inputs are kept apart, nobody comes to meet; then each goes on alone.
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.1)
        opened.append(number)
        return open_stream(stream_key, number, branch)

    monkeypatch.setattr(StreamKey, "open", slow_open)

    def enter():
        try:
            handle = session.input(np.arange(4, dtype=np.uint64), (4,), 1, None)
            kept.append(handle)
        except MaskReused as error:
            failures.append(error)

    kept = []
    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(opened) == [0, 1]
    for handle in kept:
        assert np.array_equal(session.reveal(handle), np.arange(4))
    session.close()


# ---- where keys come from ----------------------------------------------------------------------


@pytest.fixture
def drawn_keys(monkeypatch):
    """What the operating system's generator was asked for."""
    drawn = []

    def recorded(size):
        drawn.append(os.urandom(size))
        return drawn[-1]

    class Os:
        urandom = staticmethod(recorded)
        getpid = staticmethod(os.getpid)

    monkeypatch.setattr(randomness, "os", Os)
    return drawn


def keys_in_use(monkeypatch, drawn_keys):
    recorder = Recorder(monkeypatch)
    session = EmbeddedSession(["alice", "bob"], DEALER)
    wire = session.input(np.arange(3, dtype=np.uint64), (3,), 1, None)
    session.mask([wire], "test")
    session.settle()
    session.close()
    return {key for _, key in recorder.draws}


def test_all_keys_come_from_the_operating_system(monkeypatch, drawn_keys):
    used = keys_in_use(monkeypatch, drawn_keys)
    # One key for each party's seed, and one for the shares of inputs.
    assert sorted(drawn_keys) == sorted(used)
    assert [len(key) for key in drawn_keys] == [KEY_BYTES] * 3


def test_two_sessions_share_no_key(monkeypatch, drawn_keys):
    first = keys_in_use(monkeypatch, drawn_keys)
    second = keys_in_use(monkeypatch, drawn_keys)
    assert len(first) == len(second) == 3
    assert not first & second


def test_the_dealer_draws_its_keys_where_all_keys_are_drawn():
    assert dealer_module.fresh_key is randomness.fresh_key


# ---- what is printed ---------------------------------------------------------------------------


def spellings(secret):
    """How bytes or words could show in a text."""
    if isinstance(secret, bytes):
        return [repr(secret)[2:-1], secret.hex(), str(list(secret))]
    return [str(int(word)) for word in secret.reshape(-1)]


def test_nothing_that_holds_a_key_prints_it(drawn_keys):
    session = EmbeddedSession(["alice", "bob"], DEALER)
    wire = session.input(np.arange(3, dtype=np.uint64), (3,), 1, None)
    session.mask([wire], "test")
    session.settle()
    key = StreamKey(drawn_keys[0])
    holding = [session, *session.parties, session.parties[0]._live._key, key, key.open(1)]
    text = " ".join(f"{each!r} {each!s}" for each in holding)
    session.close()
    for drawn in drawn_keys:
        assert not any(spelling in text for spelling in spellings(drawn))
    assert repr(key) == "StreamKey(hidden)"


SECRET_KEY = bytes(range(100, 100 + KEY_BYTES))
SECRET_SHARE = Stream(SECRET_KEY, 0).draw((3,))


@pytest.mark.parametrize(
    "holding",
    [
        pytest.param(Message("key", SECRET_KEY), id="key"),
        pytest.param(Message("share", arrays=(SECRET_SHARE,)), id="share"),
        pytest.param(Mask(SECRET_SHARE), id="mask"),
        pytest.param(BitMask(SECRET_SHARE), id="bit-mask"),
        pytest.param(Held(SECRET_SHARE), id="held"),
        pytest.param(Known(SECRET_SHARE), id="known"),
        pytest.param(Opening(SECRET_SHARE), id="opening"),
        pytest.param(Masked(SECRET_SHARE, SECRET_SHARE), id="masked"),
    ],
)
def test_what_holds_keys_masks_or_shares_does_not_print_them(holding):
    text = f"{holding!r} {holding!s}"
    assert not any(spelling in text for spelling in spellings(SECRET_KEY))
    assert not any(spelling in text for spelling in spellings(SECRET_SHARE))
