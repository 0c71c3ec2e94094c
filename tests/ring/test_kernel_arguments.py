"""Every bad argument is a ValueError that names it, before anything is written."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tacita.ring import kernels

U64 = np.uint64
z = lambda *shape: np.zeros(shape, U64)  # noqa: E731
KEY = bytes(16)


def view(array, **flags):
    array.setflags(**flags)
    return array


def misaligned(n):
    return np.zeros(8 * n + 1, np.uint8)[1:].view(U64)


CASES = {
    # dtype, layout, memory
    "out: expected uint64": lambda: kernels.product_add(np.zeros(3), z(3), z(3)),
    "a: expected uint64": lambda: kernels.matmul_add(z(2, 2), np.zeros((2, 2), np.int64), z(2, 2)),
    "b: expected uint64": lambda: kernels.matmul_add(z(2, 2), z(2, 2), z(2, 2).astype(">u8")),
    "a: expected a numpy array": lambda: kernels.matmul_add(z(2, 2), [[1, 2]], z(2, 2)),
    "out: must be C-contiguous": lambda: kernels.matmul_add(z(2, 3).T, z(3, 1), z(1, 2)),
    "out: is read-only": lambda: kernels.matmul_add(view(z(2, 2), write=False), z(2, 2), z(2, 2)),
    "r: must be C-contiguous": lambda: kernels.truncation_correction(z(6)[::2], 4, z(2, 3)),
    "r: is not aligned": lambda: kernels.truncation_correction(misaligned(3), 4, z(2, 3)),
    # matmul
    "a: shape [2, 3] does not fit": lambda: kernels.matmul_add(z(4, 5), z(2, 3), z(3, 5)),
    "b: shape [4, 5] does not fit": lambda: kernels.matmul_add(z(2, 5), z(2, 3), z(4, 5)),
    "out: expected 2 to": lambda: kernels.matmul_add(z(2), z(2), z(2)),
    "a: expected 2 to": lambda: kernels.matmul_add(z(2, 2), z(1, 2, 2), z(2, 2)),
    "a: shape [3, 2, 2] does not broadcast": lambda: kernels.matmul_add(
        z(4, 2, 2), z(3, 2, 2), z(2, 2)
    ),
    "out: shares memory with a": lambda: (lambda x: kernels.matmul_add(x, x, z(2, 2)))(z(2, 2)),
    "out: shares memory with b": lambda: (lambda x: kernels.matmul_add(x, z(2, 2), x.T))(z(2, 2)),
    "a: expected out's shape": lambda: kernels.product_add(z(3), z(4), z(3)),
    "out: shares a part": lambda: (lambda x: kernels.product_add(x[:3], x[1:], z(3)))(z(4)),
    # AES
    "key: must be 16 bytes": lambda: kernels.aes_ctr(bytes(15), 0, 0, z(2)),
    "nonce: must lie": lambda: kernels.aes_ctr(KEY, 2**64, 0, z(2)),
    "nonce: expected an integer": lambda: kernels.aes_ctr(KEY, 1.5, 0, z(2)),
    "block: must lie": lambda: kernels.aes_ctr(KEY, 0, -1, z(2)),
    "block: the counter": lambda: kernels.aes_ctr_add(KEY, 0, 2**64 - 1, z(3)),
    "out: must be C": lambda: kernels.aes_ctr_xor(KEY, 0, 0, z(4)[::2]),
    # planes
    "width: must be": lambda: kernels.to_planes(z(3), 0, 8, 3),
    "count: must lie": lambda: kernels.to_planes(z(3), 0, 65, 1),
    "low: must lie": lambda: kernels.to_planes(z(3), 60, 5, 1),
    "values: expected a one": lambda: kernels.to_planes(z(3, 3), 0, 5, 1),
    "bits: expected uint8": lambda: kernels.pack_bits(z(3), 1),
    "n: 65 elements": lambda: kernels.unpack_bits(z(1, 1, 1), 65),
    "planes: expected 1 blocks": lambda: kernels.unpack_bits(z(2, 1, 1), 64),
    "planes: expected bit planes": lambda: kernels.unpack_bits(z(2), 64),
    "planes: blocks must be": lambda: kernels.xor_one_hot(z(1, 2, 3), [2], z(1, 4, 3)),
    "planes: expected shape [any, 3, any]": lambda: kernels.xor_one_hot(
        z(1, 2, 1), [2, 1], z(1, 6, 1)
    ),
    "into: expected shape [1, 4, 1]": lambda: kernels.xor_one_hot(z(1, 2, 1), [2], z(1, 5, 1)),
    "chunks: must lie in 1 … 8": lambda: kernels.xor_one_hot(z(1, 9, 1), [9], z(1, 512, 1)),
    "chunks: must not be empty": lambda: kernels.lookup(z(1, 1, 1), z(1, 2, 1), [], order=True),
    "chunks: expected a sequence": lambda: kernels.xor_one_hot(z(1, 2, 1), 2, z(1, 4, 1)),
    "index_planes: expected": lambda: kernels.lookup(z(1, 1, 1), z(1, 4, 1), [2], order=True),
    "hot: expected": lambda: kernels.lookup(z(1, 2, 1), z(2, 4, 1), [2], order=True),
    # ANDs
    "fan: must lie in 1 … 9": lambda: kernels.product_count([10], True),
    "fan: has more than 64": lambda: kernels.product_count([1] * 65, True),
    "masks: expected shape [any, 3, any]": lambda: kernels.xor_products(
        z(1, 2, 1), [2], order=True, into=z(1, 1, 1)
    ),
    "into: shares memory": lambda: (
        lambda x: kernels.xor_products(x[:, :3], [2], order=True, into=x[:, 2:])
    )(z(1, 3, 1)),
    "products: expected shape [1, 1, 1]": lambda: kernels.fan_in(
        z(1, 3, 1), z(1, 3, 1), z(1, 2, 1), [2], order=True, first=True
    ),
    "opened: expected shape": lambda: kernels.fan_in(
        z(1, 2, 1), z(1, 3, 1), z(1, 1, 1), [2], order=True, first=True
    ),
    # gates
    "divisor: must be at least": lambda: kernels.truncation_correction(z(3), 0, z(2, 3)),
    "divisor: must lie": lambda: kernels.truncation_correction(z(3), 2**64, z(2, 3)),
    "offset: must lie": lambda: kernels.truncate_share(z(3), z(2, 3), 2, -1, True),
    "dealt: expected shape [2, 3]": lambda: kernels.truncate_share(z(3), z(5, 3), 2, 0, True),
    "s_planes: expected 1 blocks": lambda: kernels.relu_correction(z(3), z(2, 1, 1), 2, z(5, 3)),
    "into: expected shape [5, 3]": lambda: kernels.relu_correction(z(3), z(1, 1, 1), 2, z(2, 3)),
    "flipped_planes: expected shape": lambda: kernels.relu_share(
        z(3), z(1, 2, 1), z(5, 3), 2, 0, True
    ),
    "x_share: expected shape [3]": lambda: kernels.gate_share(z(3), z(4), z(1, 1, 1), z(2, 3)),
    # waves and exponentials
    "turn: must lie": lambda: kernels.wave_correction(z(3), 2**64, z(2, 3)),
    "into: must have two rows": lambda: kernels.wave_correction(z(3), 1, z(3, 3)),
    "into: expected shape [any, 3]": lambda: kernels.wave_correction(z(3), 1, z(2, 4)),
    "into: shares memory with r": lambda: (lambda x: kernels.wave_correction(x[0], 1, x))(z(2, 3)),
    "dealt: expected shape [4, 3]": lambda: kernels.wave_share(z(3), z(2, 3), 1, ((1, 1),) * 2),
    "waves: must lie within": lambda: kernels.wave_share(z(3), z(2, 3), 1, ((1, 2**30 + 1),)),
    "scale: must lie": lambda: kernels.exponential_correction(z(3), 0, 10, 9, z(2, 3)),
    "scale: the range": lambda: kernels.exponential_share(z(3), z(2, 3), 0, 9, 10, 9),
    "segment_bits: must lie": lambda: kernels.exponential_correction(z(3), 2**60, 62, 9, z(4, 3)),
    "b: must lie": lambda: kernels.exponential_correction(z(3), 2**16, 10, 61, z(2, 3)),
    "into: must have 2, 4": lambda: kernels.exponential_correction(z(3), 2**16, 10, 9, z(3, 3)),
    "dealt: must have 2, 4": lambda: kernels.exponential_share(z(3), z(3, 3), 0, 2**16, 10, 9),
    "dealt: expected shape [any, 3]": lambda: kernels.exponential_share(
        z(3), z(2, 4), 0, 2**16, 10, 9
    ),
    "low: must lie within": lambda: kernels.exponential_share(z(3), z(2, 3), 2**63, 2**16, 10, 9),
    "path: 'sse9'": lambda: kernels.bit_share(z(1, 1, 1), z(3), True, path="sse9"),
}


@pytest.mark.parametrize("message", CASES)
def test_bad_argument(message):
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("]", r"\]")):
        CASES[message]()


@pytest.mark.parametrize("bad", ["key", "nonce", "block", "out"])
def test_the_other_aes_refuses_alike(bad):
    arguments = {"key": KEY, "nonce": 0, "block": 0, "out": z(4)}
    arguments[bad] = {"key": b"", "nonce": -1, "block": 2**64, "out": z(8)[::2]}[bad]
    for path in kernels.aes_paths():
        with pytest.raises(ValueError, match=f"^{bad}:"):
            kernels.aes_ctr(**arguments, path=path)


def test_nothing_is_written_when_an_argument_is_bad():
    out = z(2, 2)
    with pytest.raises(ValueError, match=r"^b:"):
        kernels.matmul_add(out, np.ones((2, 3), U64), np.ones((4, 2), U64))
    assert not out.any()


def default_path(setting):
    code = (
        "from tacita.ring import kernels, _kernels\n"
        "import numpy as np\n"
        "print(kernels._DEFAULT, kernels._aes_path(None))"
    )
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env={**os.environ, "TACITA_KERNELS": setting},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_environment_lowers_the_default():
    assert default_path("portable").stdout.split() == ["portable", "cryptography"]
    assert default_path("").stdout.split()[0] == kernels.paths()[0]


def test_environment_names_an_unknown_path():
    run = default_path("sse9")
    assert run.returncode != 0
    assert "TACITA_KERNELS: 'sse9'" in run.stderr
