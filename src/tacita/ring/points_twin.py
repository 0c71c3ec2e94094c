"""Point functions level by level in NumPy: the slow, readable twin of the kernels in `points`.

It is also what runs where the CPU has no AES instructions. It checks nothing: bad arguments are
the business of `points`, whose docstring has the construction and the layout of keys.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

LEAF_BITS = 7  # a leaf is one node of 128 bits, each of which stands for a point
BLOCK = 16  # elements of a key that lie together
ONE = np.uint64(1)
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def levels(bits: int) -> int:
    """The levels of the tree above its leaves, for points of `bits` bits."""
    return max(0, bits - LEAF_BITS)


def key_words(n: int, bits: int) -> int:
    """Words of a key for n elements: two for each level of each element, and two for its leaf."""
    return 2 * (levels(bits) + 1) * n


def in_blocks(corrections: U64) -> U64:
    """[levels + 1, n, 2] to a key's layout, flat."""
    rows, n, _ = corrections.shape
    whole = n - n % BLOCK
    blocks = corrections[:, :whole].reshape(rows, -1, BLOCK, 2).swapaxes(0, 1)
    return np.concatenate([blocks.reshape(-1), corrections[:, whole:].reshape(-1)])


def in_levels(keys: U64, n: int, rows: int) -> U64:
    """A key to [rows = levels + 1, n, 2]: undoes `in_blocks`."""
    whole = n - n % BLOCK
    blocks = keys[: 2 * rows * whole].reshape(-1, rows, BLOCK, 2).swapaxes(0, 1)
    rest = keys[2 * rows * whole :].reshape(rows, n - whole, 2)
    return np.concatenate([blocks.reshape(rows, whole, 2), rest], axis=1)


def _hash_under(permutation: U64) -> Callable[[U64], U64]:
    """H(x) = π(σ(x)) ⊕ σ(x) of nodes [..., 2], where π is AES-128 under `permutation`."""
    key = permutation.astype("<u8").tobytes()

    def hashed(nodes: U64) -> U64:
        low, high = nodes[..., 0], nodes[..., 1]
        turned = np.stack([high, low ^ high], axis=-1)
        # Single blocks under a public key: π is a fixed permutation here, not a cipher.
        cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        permuted = np.frombuffer(cipher.update(turned.astype("<u8").tobytes()), "<u8")
        return turned ^ permuted.astype(np.uint64).reshape(turned.shape)

    return hashed


def _rooted(words: U64, party: int) -> U64:
    """The party's roots: its words, with the control bit set to its number."""
    roots = words.copy()
    roots[..., 0] = (roots[..., 0] & ~ONE) | np.uint64(party)
    return roots


def _mask(bits: U64) -> U64:
    """All ones for 1, zero for 0, with an axis for the two words of a node."""
    return (np.uint64(0) - bits)[..., None]


def _control(nodes: U64) -> U64:
    return _mask(nodes[..., 0] & ONE)


def _bit(numbers: U64, place: int) -> U64:
    return numbers >> np.uint64(place) & ONE


def _position(numbers: U64, bits: int) -> tuple[U64, U64]:
    """Which bit of the leaf stands for a number: (place in its word, 1 where that is word 1)."""
    inner = numbers & np.uint64((1 << min(bits, LEAF_BITS)) - 1)
    return inner & np.uint64(63), inner >> np.uint64(6)


def _at(numbers: U64, bits: int) -> U64:
    """Leaves [..., 2] with one bit set, where the number is."""
    place, upper = _position(numbers, bits)
    bit = ONE << place
    return np.stack([bit & (upper - ONE), bit & (np.uint64(0) - upper)], axis=-1)


def _above(numbers: U64, bits: int) -> U64:
    """Leaves [..., 2] with all bits set that stand for something greater."""
    place, upper = _position(numbers, bits)
    beyond = ONES << place << ONE
    lower = upper - ONE
    return np.stack([beyond & lower, beyond & ~lower | lower], axis=-1)


def _parity(leaves: U64) -> U64:
    folded: U64 = leaves[..., 0] ^ leaves[..., 1]
    for half in (32, 16, 8, 4, 2, 1):
        folded = folded ^ (folded >> np.uint64(half))
    return folded & ONE


def generate(alpha: U64, roots: U64, bits: int, permutation: U64, into: U64) -> None:
    """`points.generate`."""
    hashed, depth = _hash_under(permutation), levels(bits)
    nodes = [_rooted(roots[party], party) for party in (0, 1)]
    delta = nodes[0] ^ nodes[1]
    corrections = np.empty((depth + 1, *delta.shape), np.uint64)
    for level in range(depth):
        bit = _bit(alpha, bits - 1 - level)
        below = [hashed(node) for node in nodes]
        correction = below[0] ^ below[1] ^ (delta & _mask(bit ^ ONE))
        nodes = [
            child ^ (node & _mask(bit)) ^ (correction & _control(node))
            for child, node in zip(below, nodes, strict=True)
        ]
        corrections[level] = correction
    corrections[depth] = hashed(nodes[0]) ^ hashed(nodes[1]) ^ _at(alpha, bits)
    into[...] = in_blocks(corrections)


def _walk(
    points: U64, root: U64, keys: U64, bits: int, permutation: U64, first: bool
) -> tuple[U64, U64]:
    """Shares of whether α's path leaves to the right of the point's, [T, n], and leaves below."""
    hashed, depth = _hash_under(permutation), levels(bits)
    corrections = in_levels(keys, points.shape[1], depth + 1)
    nodes = np.broadcast_to(_rooted(root, 0 if first else 1), (*points.shape, 2))
    upwards = np.zeros_like(points)
    for level in range(depth):
        bit = _bit(points, bits - 1 - level)
        child = hashed(nodes) ^ (nodes & _mask(bit)) ^ (corrections[level] & _control(nodes))
        upwards ^= (nodes[..., 0] ^ child[..., 0]) & (bit ^ ONE)
        nodes = child
    return upwards, hashed(nodes) ^ (corrections[depth] & _control(nodes))


def greater(points: U64, root: U64, keys: U64, bits: int, permutation: U64, first: bool) -> U8:
    """`points.greater`."""
    upwards, leaves = _walk(points, root, keys, bits, permutation, first)
    return (upwards ^ _parity(leaves & _above(points, bits))).astype(np.uint8)


def equal(points: U64, root: U64, keys: U64, bits: int, permutation: U64, first: bool) -> U8:
    """`points.equal`."""
    _, leaves = _walk(points, root, keys, bits, permutation, first)
    return _parity(leaves & _at(points, bits)).astype(np.uint8)
