"""What is published for comparisons by point functions: how much, under which keys, once."""

import numpy as np
import pytest

from tacita.program.builder import Handle
from tacita.program.wire import Wire
from tacita.protocols import NonNegative, fss, sign
from tacita.ring import points
from tacita.ring.planes import Layout


class Dealer:
    """Draws words from NumPy as if from the parties' streams; keeps what it publishes."""

    def __init__(self, seed):
        self._generator = np.random.default_rng(seed)
        self.drawn = []

    def seeds(self, shape):
        words = [self._generator.integers(1 << 64, size=shape, dtype=np.uint64) for _ in range(2)]
        self.drawn.append(words)
        return words

    def publish(self, shape, fill):
        self.published = np.zeros(shape, np.uint64)
        fill(self.published)


def dealt(r, bits, seed=0):
    dealer, plan = Dealer(seed), fss.Plan(bits)
    fss.deal(dealer, np.array(r, np.uint64), plan)
    return dealer, list(fss.cut(dealer.published, len(r), plan))


@pytest.mark.parametrize("n", [1, fss.PIECE, fss.PIECE + 1, 3 * fss.PIECE - 1])
def test_every_piece_has_a_key_of_its_own(n):
    dealer, pieces = dealt(range(n), 9)
    assert [piece.stop - piece.start for piece, _, _ in pieces] == [
        min(fss.PIECE, n - start) for start in range(0, n, fss.PIECE)
    ]
    assert len({key.tobytes() for _, key, _ in pieces}) == len(pieces)
    assert sum(corrections.size for _, _, corrections in pieces) == points.key_words(n, 9)
    assert dealer.published.nbytes == fss.Plan(9).cost(Layout(n), True).published_bytes


def test_a_key_of_the_permutation_takes_both_parties_words():
    dealer, ((_, key, _),) = dealt([5], 9)
    ours, theirs = dealer.drawn[-1]
    assert np.array_equal(key, ours[0] ^ theirs[0])


def test_what_is_published_differs_from_where_the_numbers_do():
    # Bit by bit from the top: the correction of a level depends on the bits so far, and no others.
    _, ((_, _, one),) = dealt([0b1010_1010_1010_1010], 16)
    _, ((_, _, other),) = dealt([0b1010_1011_1010_1010], 16)
    same = (one == other).reshape(-1, 2).all(axis=1)
    assert same.tolist() == [True] * 7 + [False] * 3


def test_nothing_is_published_for_nothing():
    assert fss.Plan(31).cost(Layout(0), True).published_bytes == 0
    fss.deal(None, np.zeros(0, np.uint64), fss.Plan(31))


def test_a_tensor_of_several_pieces(sessions):
    session, n = sessions.of(2, "fss"), fss.PIECE + 5
    x = np.arange(n, dtype=np.int64) - n // 2
    wire = session.input(x.view(np.uint64), (n,), 1, None)
    session.mask([wire], "test")
    out = Handle(session, Wire(session.new_id(), (n,)))
    session.emit(NonNegative(out.wire.id, wire.wire.id, (n,), sign.width(14, n, way="fss")))
    assert np.array_equal(session.reveal(out), x >= 0)
