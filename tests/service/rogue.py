"""Peers with real certificates that say what they should not, straight over links."""

import threading
from contextlib import contextmanager

from tacita.errors import TacitaError
from tacita.network.dialer import Dialer
from tacita.network.listener import Listener
from tacita.runtime.transport import Message

SOON = 15  # seconds; reached only where something hangs


@contextmanager
def dialed(daemons, who, name, accept=None):
    """A link from whoever has these credentials to a party or the dealer."""
    if name == "dana":
        role, address = "dealer", daemons.network.dealer.address
    else:
        entry = next(each for each in daemons.network.parties if each.name == name)
        role, address = "party", entry.peers
    dialer = Dialer(address, role, name, who, accept)
    try:
        yield dialer.link(SOON)
    finally:
        dialer.close("the rogue leaves")


@contextmanager
def listening(daemons, name, accept):
    """Waits in a party's place; accept(stream) runs in a thread for each stream."""

    def take(stream):
        threading.Thread(target=quiet, args=(accept, stream), daemon=True).start()

    entry = next(each for each in daemons.network.parties if each.name == name)
    listener = Listener(entry.peers, daemons.credentials[name], lambda _: take)
    listener.start()
    try:
        yield listener
    finally:
        listener.close("the rogue leaves")


def quiet(accept, stream):
    """What the other side does to the rogue is for the test to see there."""
    try:
        accept(stream)
    except TacitaError:
        return


def answer_to(stream):
    """What the other side says, as (kind, text)."""
    message = stream.receive(SOON)
    return message.kind, message.header.decode(errors="replace")


def said(kind, header=b"", arrays=()):
    return Message(kind, header, tuple(arrays))
