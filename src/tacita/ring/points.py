"""Keys of distributed point functions, and comparisons with them: what `fss` computes on arrays.

A key hides numbers α of `bits` bits. Whoever has one party's root and the key (both parties have
the same key) gets an XOR share of [α > p] or of [α = p] for any public point p, by a walk down a
tree towards p; root and key without the other party's root look uniform.

The tree is the half-tree of Guo, Yang, Wang, Zhang, Xie, Liu and Zhao (eprint 2022/1431), ended
early: its leaves are nodes of 128 bits, one bit for each of 128 neighbouring points. On α's path
the parties' nodes differ by Δ = root_0 ⊕ root_1 and so do their control bits; anywhere else they
are the same. [α > p] is collected where the path to p goes left and α's goes right.

A **node** is 128 bits, two native words: word 0 the low half, word 1 the high half; its control
bit t is bit 0 of word 0. H(x) = π(σ(x)) ⊕ σ(x), σ(high ‖ low) = (high ⊕ low) ‖ high, where π is
AES-128 on the 16 bytes of (word 0, word 1), each little-endian, under a public key, `permutation`,
whose 16 bytes are two words alike. With C_i the correction of level i, the child of a node s
towards bit v is H(s) ⊕ v·s ⊕ t·C_i, and the leaf below s is H(s) ⊕ t·C_leaf.

A **key** has the corrections of all n elements, in blocks of BLOCK = 16 elements, of which the last
may be shorter; a block is [levels + 1, its elements, 2], the leaves' corrections last. Keys are
read once, from start to end.

**Roots** are raw words of a stream: the functions here set the control bit, 0 for the first party
and 1 for the other. They are used once, as the permutation is.

Arrays are C-contiguous, uint64 but for the bytes of results; n may be 0. Every function is
constant-time, in α, roots, keys and points alike, takes one core, releases the interpreter lock,
and raises ValueError, naming the argument, where a shape, type or layout does not fit. `path`
forces one of `kernels.aes_paths()`; `points_twin` has the same functions, slow and readable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacita.ring import _kernels, kernels, points_twin
from tacita.ring.points_twin import BLOCK, key_words, levels

__all__ = ["BLOCK", "MAX_BITS", "equal", "generate", "greater", "key_words", "levels"]

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

MAX_BITS = 64


def _require(
    array: object, name: str, shape: tuple[int | None, ...], *, write: bool = False
) -> tuple[int, ...]:
    """The array's shape, if it is of `shape` (None is any length); as the extension checks."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint64:
        raise ValueError(f"{name}: expected a numpy array of uint64")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: must be C-contiguous")
    if write and not array.flags.writeable:
        raise ValueError(f"{name}: is read-only")
    found: tuple[int, ...] = array.shape
    fits = len(shape) == len(found) and all(
        wanted in (None, extent) for wanted, extent in zip(shape, found, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise ValueError(f"{name}: expected shape [{wanted}], got {list(found)}")
    return found


def _require_bits(bits: object) -> None:
    if not isinstance(bits, int | np.integer) or not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits: must lie in 1 … {MAX_BITS}")


def generate(
    alpha: U64, roots: U64, bits: int, permutation: U64, into: U64, *, path: str | None = None
) -> None:
    """into ← the key that hides the low `bits` bits of alpha; what is above them means nothing.

    alpha is [n], roots [2, n, 2] (the first party's, then the other's), permutation [2], into
    [key_words(n, bits)], which overlaps none of them. 2·(levels + 1) AES blocks an element.
    """
    cipher = kernels.native_cipher(path)
    if cipher is not None:
        _kernels.generate_points(cipher, alpha, roots, bits, permutation, into)
        return
    _require_bits(bits)
    (n,) = _require(alpha, "alpha", (None,))
    _require(roots, "roots", (2, n, 2))
    _require(permutation, "permutation", (2,))
    _require(into, "into", (key_words(n, bits),), write=True)
    for array, name in ((alpha, "alpha"), (roots, "roots"), (permutation, "permutation")):
        if np.may_share_memory(into, array):
            raise ValueError(f"into: shares memory with {name}")
    points_twin.generate(alpha, roots, bits, permutation, into)


def greater(
    points: U64,
    root: U64,
    keys: U64,
    bits: int,
    permutation: U64,
    first: bool,
    *,
    path: str | None = None,
) -> U8:
    """An XOR share of [α > point]: [T, n], 0 or 1, for T public points to each hidden number.

    points is [T, n], of which the low `bits` bits count; root [n, 2], this party's, keys
    [key_words(n, bits)], permutation [2]; `first` says which party this is. T·(levels + 1) AES
    blocks an element; the key is read from memory once.
    """
    return _evaluate(True, points, root, keys, bits, permutation, first, path)


def equal(
    points: U64,
    root: U64,
    keys: U64,
    bits: int,
    permutation: U64,
    first: bool,
    *,
    path: str | None = None,
) -> U8:
    """An XOR share of [α = point]; otherwise as `greater`."""
    return _evaluate(False, points, root, keys, bits, permutation, first, path)


def _evaluate(
    order: bool,
    points: U64,
    root: U64,
    keys: U64,
    bits: int,
    permutation: U64,
    first: bool,
    path: str | None,
) -> U8:
    cipher = kernels.native_cipher(path)
    if cipher is not None:
        shape = points.shape if isinstance(points, np.ndarray) else ()
        out = np.empty(shape, np.uint8)
        _kernels.walk_points(cipher, order, points, root, keys, bits, permutation, first, out)
        return out
    _require_bits(bits)
    _, n = _require(points, "points", (None, None))
    _require(root, "root", (n, 2))
    _require(permutation, "permutation", (2,))
    _require(keys, "keys", (key_words(n, bits),))
    walk = points_twin.greater if order else points_twin.equal
    return walk(points, root, keys, bits, permutation, first)
