"""What `fss` walks and publishes from, in a real session, draw by draw.

Its published words look uniform by an assumption, for whole random roots that are each used once;
that roots and keys are such can be seen, and is here. `uniformity` has the rate of false alarms,
below 1e-9 for all of this file.
"""

from collections import defaultdict

import numpy as np
import pytest
from cases import Case, play
from recorded_draws import Draws
from uniformity import assert_bits, assert_distinct

from tacita.protocols import NonNegative, Staircase, Zero, fss, sign
from tacita.ring import points
from tacita.runtime.embedded import EmbeddedSession

PARTIES = ("alice", "bob")
# What is compared, how many elements, of how many bits, with which thresholds.
COMPARISONS = (
    (NonNegative, fss.PIECE + 5, 14, (0,)),
    (Zero, 67, 32, (0,)),
    (NonNegative, 1, 64, (0,)),
    (Zero, 40, 5, (0,)),
    (Staircase, 600, 20, (-3, 0, 9)),
)


class Calls:
    """The roots and the permutation's key of each call: of the dealer's, and of each party's."""

    def __init__(self, monkeypatch):
        self.dealt = []
        self.walked = defaultdict(list)
        generate = points.generate

        def generated(alpha, roots, bits, permutation, into):
            self.dealt.append((roots.copy(), permutation.copy()))
            generate(alpha, roots, bits, permutation, into)

        monkeypatch.setattr(points, "generate", generated)
        for name in ("greater", "equal"):
            monkeypatch.setattr(points, name, self._walking(getattr(points, name)))

    def _walking(self, walk):
        def walked(places, root, keys, bits, permutation, first):
            self.walked[PARTIES[not first]].append((root.copy(), permutation.copy()))
            return walk(places, root, keys, bits, permutation, first)

        return walked

    def roots(self, party):
        return [root for root, _ in self.walked[party]]


def compared(session, kind, n, bits, thresholds):
    x = np.arange(n, dtype=np.int64) - n // 2
    ordered = kind is not Zero
    how = sign.width(bits, n, way="fss") if ordered else sign.plan("fss", bits, n, order=False)

    def build(reads, writes):
        if kind is Staircase:
            steps = (tuple(1 for _ in thresholds),)
            return Staircase(*writes, *reads, thresholds, (0,), steps, (n,), how)
        return kind(*writes, *reads, (n,), how)

    out = (1, n) if kind is Staircase else (n,)
    case = Case(kind, "views", build, (out,), (x.view(np.uint64),), masked=True)
    (found,) = play(session, case).outputs
    holds = [x >= each if ordered else x == each for each in thresholds]
    assert np.array_equal(session.reveal(found).reshape(-1), np.sum(holds, axis=0))


@pytest.fixture(scope="module")
def recorded():
    with pytest.MonkeyPatch.context() as monkeypatch:
        draws, calls = Draws(monkeypatch), Calls(monkeypatch)
        session = EmbeddedSession(PARTIES, "dealer", protocol="fss")
        try:
            for comparison in COMPARISONS:
                compared(session, *comparison)
        finally:
            session.close()
    calls.draws = draws
    return calls


def test_every_element_has_a_root_at_each_party(recorded):
    pieces = [piece for _, n, _, _ in COMPARISONS for piece in fss.pieces(n)]
    assert len(pieces) == len(COMPARISONS) + 1
    sizes = [piece.stop - piece.start for piece in pieces]
    assert [roots.shape for roots, _ in recorded.dealt] == [(2, size, 2) for size in sizes]
    for party in PARTIES:
        assert [root.shape for root in recorded.roots(party)] == [(size, 2) for size in sizes]


def test_the_dealer_has_the_parties_roots_and_all_have_the_same_permutation(recorded):
    everybody = zip(recorded.dealt, *(recorded.walked[party] for party in PARTIES), strict=True)
    for (roots, key), *walked in everybody:
        for root, (walked_from, walked_under) in zip(roots, walked, strict=True):
            assert np.array_equal(root, walked_from)
            assert np.array_equal(key, walked_under)


def test_no_word_of_a_root_or_key_comes_twice(recorded):
    both = [recorded.roots(party) for party in PARTIES]
    keys = [key for _, key in recorded.dealt]
    words = [each.reshape(-1) for each in [*both[0], *both[1], *keys]]
    assert_distinct(np.concatenate(words), "roots and keys")


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("party", PARTIES)
def test_all_bits_of_a_root_are_uniform(recorded, party, half):
    assert_bits(np.concatenate(recorded.roots(party))[:, half], f"roots of {party}")


@pytest.mark.parametrize("half", [0, 1])
def test_all_bits_of_what_roots_differ_by_are_uniform(recorded, half):
    # That is Δ, which each party lacks.
    ours, theirs = (np.concatenate(recorded.roots(party))[:, half] for party in PARTIES)
    assert_bits(ours ^ theirs, "differences of roots")


@pytest.mark.parametrize("party", PARTIES)
def test_roots_are_drawn_from_the_partys_stream_and_from_no_other(recorded, party):
    roots = np.concatenate(recorded.roots(party))
    for each in PARTIES:
        drawn = recorded.draws.all_words(each, each, "dealer")
        assert np.isin(roots, drawn).all() if each == party else not np.isin(roots, drawn).any()


def drawn_after(drawn, root):
    """What a party drew after its roots: its summands of the permutation's keys."""
    (place,) = (i for i, words in enumerate(drawn) if np.array_equal(words, root))
    return drawn[place + 1]


def test_keys_of_the_permutation_take_a_word_of_both_parties(recorded):
    start = 0
    for _, n, _, _ in COMPARISONS:
        pieces = range(start, start + len(fss.pieces(n)))
        start = pieces.stop
        summands = [
            drawn_after(
                recorded.draws.of(party, party, "dealer"),
                np.concatenate([recorded.roots(party)[piece] for piece in pieces]),
            )
            for party in PARTIES
        ]
        keys = np.stack([recorded.dealt[piece][1] for piece in pieces])
        assert np.array_equal(keys, summands[0] ^ summands[1])
