"""Short programs on sessions, and meddling with channels."""

import time
from contextlib import contextmanager

import numpy as np

from tacita.program.builder import Handle
from tacita.program.wire import Wire
from tacita.protocols import Combine, NonNegative, Product, Truncate, WithinBound, sign


def ring(values):
    return np.asarray(values, np.int64).view(np.uint64)


def enter(session, values):
    array = ring(values)
    return session.input(array, array.shape, 1, None)


def output(session, shape, base=None):
    return Handle(session, Wire(session.new_id(), tuple(shape)), base=base)


def multiply(session, x, w):
    session.mask([x, w], "a product")
    out = output(session, x.wire.shape)
    session.emit(Product(out.wire.id, x.wire.id, w.wire.id, False, x.wire.shape))
    return out


def add(session, x, w, coefficients=(1, 1)):
    out = output(session, x.wire.shape)
    terms = tuple(zip((x.wire.id, w.wire.id), coefficients, strict=True))
    session.emit(Combine(out.wire.id, terms, x.wire.shape))
    return out


def truncate(session, x, divisor=4, bits=40):
    session.mask([x], "a truncation")
    out = output(session, x.wire.shape)
    session.emit(Truncate(out.wire.id, x.wire.id, divisor, bits, x.wire.shape))
    return out


def compare(session, x):
    session.mask([x], "a comparison")
    out = output(session, x.wire.shape)
    width = sign.width(64, x.wire.size)
    session.emit(NonNegative(out.wire.id, x.wire.id, x.wire.shape, width))
    return out


def check(session, x, bound, what="test"):
    session.mask([x], "a check")
    out = output(session, x.wire.shape, base=x)
    width = sign.width(64, 2 * x.wire.size)
    session.emit(WithinBound(out.wire.id, x.wire.id, bound, what, x.wire.shape, width))
    return out


def read(session, handle):
    return session.reveal(handle).view(np.int64).tolist()


def works(session):
    """Runs one of each kind of instruction and looks at the results."""
    x, w = enter(session, [3, -4]), enter(session, [5, 6])
    product = multiply(session, x, w)
    return (
        read(session, product) == [15, -24]
        and read(session, add(session, x, w)) == [8, 2]
        and read(session, compare(session, product)) == [1, 0]
    )


def tamper(session, sender, receiver, change):
    """Has `change(message)` say which messages go instead of each that `sender` sends."""
    channel = session.network.channel(sender, receiver)
    put = channel.put

    def changed(message, limit):
        for each in change(message):
            put(each, limit)

    channel.put = changed


@contextmanager
def within(seconds):
    """Fails where the block takes longer."""
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    assert elapsed < seconds, f"took {elapsed:.1f} s"


def wait_until(condition, seconds=5.0):
    """Waits for a state that other threads reach soon; says whether they did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
