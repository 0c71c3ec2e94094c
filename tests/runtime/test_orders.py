"""Orders from users who are not trusted are looked at before anything is made of them."""

import msgspec
import pytest

from tacita.errors import PeerFailed
from tacita.protocols import Gather, Reshape
from tacita.runtime.orders import LARGEST_ORDER, Order, check_size, decode_order, encode

MILLIONS = 3_000_000


def test_what_would_be_large_in_memory_is_refused():
    header = msgspec.msgpack.encode([0, [], [0] * MILLIONS])
    assert len(header) < LARGEST_ORDER
    with pytest.raises(PeerFailed, match="items"):
        check_size(header, trusted=False)
    check_size(header, trusted=True)
    assert decode_order(header).forget == (0,) * MILLIONS


def test_bytes_are_no_items():
    order = Order(0, (Gather(1, 0, (MILLIONS,), bytes(8 * MILLIONS)),))
    check_size(encode(order), trusted=False)


def test_many_small_instructions_pass():
    order = Order(0, tuple(Reshape(n + 1, n, (2,)) for n in range(1000)))
    check_size(encode(order), trusted=False)


@pytest.mark.parametrize(
    "header", [b"\x91" * (2 << 20), b"\xc1" * (2 << 20), b"\xdd\xff\xff\xff\xff"]
)
def test_what_is_no_order_is_refused_or_left_to_the_decoder(header):
    if len(header) < 1 << 20:
        check_size(header, trusted=False)
        with pytest.raises(msgspec.DecodeError):
            decode_order(header)
        return
    with pytest.raises(PeerFailed, match="cannot be read"):
        check_size(header, trusted=False)


@pytest.mark.parametrize("trusted", [False, True])
def test_the_largest_order(trusted):
    header = b"\xc6" + (2 * LARGEST_ORDER).to_bytes(4, "big") + bytes(2 * LARGEST_ORDER)
    with pytest.raises(PeerFailed, match="too large"):
        check_size(header, trusted=trusted)
