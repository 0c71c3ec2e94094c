"""Looking at what roles send each other in a session, and changing it on the way."""

from __future__ import annotations


def tamper(session, sender, receiver, kind, change):
    """Has `change(message)` say which messages go instead of the next one of a kind."""
    channel = session.network.channel(sender, receiver)
    put = channel.put
    changed = []

    def changing(message, limit):
        if message.kind != kind or changed:
            put(message, limit)
            return
        changed.append(message)
        for each in change(message):
            put(each, limit)

    channel.put = changing


def openings(session):
    """A list that whoever opens something from now on is added to."""
    opened = []

    def noting(put, sender):
        def noted(message, limit):
            if message.kind == "open":
                opened.append(sender)
            put(message, limit)

        return noted

    for a in session.holders:
        for b in session.holders:
            if a != b:
                channel = session.network.channel(a, b)
                channel.put = noting(channel.put, a)
    return opened
