"""The keystream against published vectors and against another implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.ring import kernels, twins

U64 = np.uint64


@pytest.fixture(params=kernels.aes_paths())
def aes(request):
    return request.param


def stream(aes, key, nonce, block, words):
    out = np.zeros(words, U64)
    kernels.aes_ctr(key, nonce, block, out, path=aes)
    return out.astype("<u8").tobytes()


def test_fips_197_block(aes):
    """FIPS-197 appendix C.1: the counter block is the plaintext, so the stream the ciphertext."""
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    got = stream(aes, key, 0x0011223344556677, 0x8899AABBCCDDEEFF, 2)
    assert got.hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_sp_800_38a_counter_mode(aes):
    """SP 800-38A F.5.1, four blocks: output block = ciphertext ⊕ plaintext."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    got = stream(aes, key, 0xF0F1F2F3F4F5F6F7, 0xF8F9FAFBFCFDFEFF, 8)
    assert got.hex() == (
        "ec8cdf7398607cb0f2d21675ea9ea1e4"
        "362b7c3c6773516318a077d7fc5073ae"
        "6a2cc3787889374fbeb4c81b17ba6c44"
        "e89c399ff0f198c6d40a31db156cabfe"
    )


def test_another_key_gives_another_stream(aes):
    """The expected failure of the vectors above."""
    assert stream(aes, bytes(16), 1, 2, 8) != stream(aes, bytes(15) + b"\1", 1, 2, 8)
    assert stream(aes, bytes(16), 1, 2, 8) != stream(aes, bytes(16), 2, 2, 8)


@pytest.mark.parametrize("words_count", [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1001])
@pytest.mark.parametrize("name", ["aes_ctr", "aes_ctr_add", "aes_ctr_xor"])
def test_equals_twin(aes, words, words_count, name):
    key, nonce, block = bytes(range(16)), 2**63 + 5, 2**40 - 3
    out = words(words_count)
    expected = out.copy()
    getattr(twins, name)(key, nonce, block, expected)
    getattr(kernels, name)(key, nonce, block, out, path=aes)
    np.testing.assert_array_equal(out, expected)


@given(
    key=st.binary(min_size=16, max_size=16),
    nonce=st.integers(0, 2**64 - 1),
    block=st.integers(0, 2**64 - 200),
    cut=st.integers(0, 150),
)
def test_a_stream_can_be_resumed_at_any_block(key, nonce, block, cut):
    for aes in kernels.aes_paths():
        whole = stream(aes, key, nonce, block, 300)
        assert whole == stream(aes, key, nonce, block, 2 * cut) + stream(
            aes, key, nonce, block + cut, 300 - 2 * cut
        )


def test_the_last_block_of_the_counter(aes):
    expected = np.zeros(2, U64)
    twins.aes_ctr(bytes(16), 3, 2**64 - 1, expected)
    assert stream(aes, bytes(16), 3, 2**64 - 1, 2) == expected.tobytes()
    with pytest.raises(ValueError, match="block"):
        stream(aes, bytes(16), 3, 2**64 - 1, 3)


def test_shapes(aes):
    flat, square = np.zeros(36, U64), np.zeros((4, 9), U64)
    kernels.aes_ctr(bytes(16), 0, 0, flat, path=aes)
    kernels.aes_ctr(bytes(16), 0, 0, square, path=aes)
    np.testing.assert_array_equal(flat, square.reshape(-1))


def test_dispatch_paths_stand_for_a_cipher(path):
    assert stream(path, bytes(16), 7, 7, 20) == stream("cryptography", bytes(16), 7, 7, 20)
