"""Daemons in processes of their own that kill themselves at chosen calls; for test_chaos.py.

Production code knows nothing of this: functions are wrapped in the child, before it starts. What
matters for the check at the end is noted in a file before it happens, so that it outlives the kill.
"""

import os
import signal
import threading
from contextlib import suppress

from tacita.errors import TacitaError
from tacita.runtime.rounds import Rounds
from tacita.runtime.stock import StockWriter
from tacita.service import batches, queries, weights
from tacita.service.audit import AuditLog
from tacita.service.dealer import DealerService
from tacita.service.desk import Desk
from tacita.service.ledger import Ledger
from tacita.service.logs import logger
from tacita.service.models import Models
from tacita.service.party import PartyService
from tacita.service.storehouse import Arriving, Storehouse

from tacita.network.stream import Stream  # isort: skip

# By the name of a point: whose function it is, and up to which call it is worth dying at.
OF_PARTIES = {
    "query": {
        "enter in the ledger": (Ledger, "enter", 1),
        "file is whole": (StockWriter, "__exit__", 1),
        "ready": (Storehouse, "ready", 1),
        "ready in the ledger": (Ledger, "ready", 1),
        "spend": (Ledger, "spend", 1),
        "take the file": (Storehouse, "take", 1),
        "prepare": (batches, "BatchMaterial", 1),
        "round": (Rounds, "__call__", 4),
        "run": (queries, "run", 1),
        "send": (Stream, "send", 14),
        "receive": (Stream, "receive", 12),
        "record": (AuditLog, "record", 1),
    },
    "publish": {
        "save the weights": (weights, "save", 1),
        "keep": (Models, "keep", 1),
        "serve": (Models, "serve", 1),
        "remove the older": (weights, "remove", 1),
        "give up its stock": (Storehouse, "forget_model", 1),
        "round": (Rounds, "__call__", 1),
        "send": (Stream, "send", 5),
        "receive": (Stream, "receive", 5),
    },
}
OF_THE_LEADER = {"query": {"word of a query": (queries, "send_query", 1)}}
OF_THE_OTHERS = {
    "query": {
        "claim": (Desk, "claim", 1),
        "post": (Desk, "post", 1),
        "corrections": (Arriving, "add", 2),
    }
}
OF_THE_DEALER = {
    "query": {
        "deal a batch": (DealerService, "_deal_batch", 1),
        "send": (Stream, "send", 8),
        "receive": (Stream, "receive", 6),
    },
    "publish": {
        "keep": (DealerService, "_keep", 1),
        "save": (weights, "save_dealt", 1),
        "send": (Stream, "send", 3),
        "receive": (Stream, "receive", 3),
        "remove": (weights, "remove", 1),
    },
}


def points_of(name, phase):
    """All points at which a daemon may die while a query is asked, or a model published."""
    if name == "dana":
        return OF_THE_DEALER[phase]
    own = OF_THE_LEADER if name == "alice" else OF_THE_OTHERS
    return OF_PARTIES[phase] | own.get(phase, {})


class Doom:
    """Kills this process at a call that was chosen."""

    def __init__(self):
        self._lock = threading.Lock()
        self._chosen = None

    def choose(self, point, number, when):
        with self._lock:
            self._chosen, self._left, self._when = point, number, when

    def wrap(self, point, owner, attribute):
        inner = getattr(owner, attribute)

        def wrapped(*args, **kwargs):
            due = self._due(point)
            if due == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = inner(*args, **kwargs)
            if due == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, attribute, wrapped)

    def _due(self, point):
        with self._lock:
            if self._chosen != point:
                return None
            self._left -= 1
            return self._when if self._left == 0 else None


def note_uses(path):
    """Notes which batches reach their execution here, and for which query, before they do."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def noting(inner, words):
        def noted(*args):
            os.write(file, f"{' '.join(words(*args))}\n".encode())
            return inner(*args)

        return noted

    queries.run = noting(queries.run, lambda ready, *_: ("run", ready.batch.hex()))
    queries.send_query = noting(
        queries.send_query, lambda _, word, *__: ("for", word.batch.hex(), word.session.hex())
    )
    queries.answer = noting(
        queries.answer, lambda _, ready, word: ("for", ready.batch.hex(), word.session.hex())
    )


def serve(config, folder, connection):
    """A process: one daemon, which does what it is asked over the pipe until that ends."""
    dealer = config.name == "dana"
    doom, reply = Doom(), threading.Lock()
    if not dealer:
        note_uses(folder / f"{config.name}.used")
    for phase in ("query", "publish"):
        for point, (owner, attribute, _) in points_of(config.name, phase).items():
            if not hasattr(getattr(owner, attribute), "is_doomed"):
                doom.wrap(point, owner, attribute)
                getattr(owner, attribute).is_doomed = True
    log = logger(config.name, stream=(folder / f"{config.name}.log").open("a"))
    service = (DealerService if dealer else PartyService)(config, log)
    service.start()

    def answer(number, method, args):
        try:
            found = (number, True, getattr(service, method)(*args))
        except TacitaError as error:
            found = (number, False, f"{type(error).__name__}: {error}")
        except Exception as error:
            found = (number, None, repr(error))
        with reply, suppress(OSError):
            connection.send(found)

    connection.send((0, True, "ready"))
    while True:
        try:
            number, method, args = connection.recv()
        except EOFError:
            os._exit(0)
        if method == "die at":
            doom.choose(*args)
            with reply:
                connection.send((number, True, None))
        else:
            threading.Thread(target=answer, args=(number, method, args), daemon=True).start()
