"""A network whose daemons are processes of `doomed.py`, which die at chosen points."""

import multiprocessing
import threading
import time
from concurrent.futures import Future

from doomed import serve

from tacita.errors import PeerError, TacitaError
from tacita.ring.randomness import fresh_key
from tacita.service.ledger import Ledger, sqlite_url

from .daemons import Daemons, together

HANGS = 60  # seconds; reached only where something waits that should not


class Died(Exception):
    """A daemon's process has ended."""


class Wrong(Exception):
    """A daemon failed with an error that is none of the tree."""


class Child:
    """One daemon's process, and what it is asked."""

    def __init__(self, context, config, folder):
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(config, folder, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._lock = threading.Lock()
        self._asked = {0: Future()}
        started = self._asked[0]
        threading.Thread(target=self._read, daemon=True).start()
        started.result(HANGS)

    def ask(self, method, *args):
        """A future of what a method of the service returns; Died where the process ends."""
        future = Future()
        with self._lock:
            if self._asked is None:
                future.set_exception(Died())
                return future
            number = len(self._asked)
            self._asked[number] = future
            try:
                self._connection.send((number, method, args))
            except OSError:
                future.set_exception(Died())
                del self._asked[number]
                self._asked[-number] = Future()  # its number is not given again
        return future

    def _read(self):
        try:
            while True:
                number, good, result = self._connection.recv()
                future = self._asked[number]
                if good:
                    future.set_result(result)
                else:
                    future.set_exception((Wrong if good is None else PeerError)(result))
        except (EOFError, OSError):
            with self._lock:
                asked, self._asked = self._asked, None
            for future in asked.values():
                if not future.done():
                    future.set_exception(Died())

    def end(self):
        self.process.kill()
        self.process.join(HANGS)
        self._connection.close()


class DoomedNetwork(Daemons):
    """parties, dealer: are children here, each with `ask`."""

    def start(self):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["doomed"])
        self.children = {}
        for name in ("dana", *self.names):
            self.launch(name)
        self.wait_connected()
        return self

    def launch(self, name):
        config = self.dealer_config() if name == "dana" else self.party_config(name)
        self.children[name] = Child(self._context, config, self.folder)

    def stop(self):
        for child in self.children.values():
            child.end()

    def wait_connected(self):
        def all_links():
            asked = [
                self.children[n].ask("status", self.principals["hospital"]) for n in self.names
            ]
            return all(all(each.result(HANGS)["links"].values()) for each in asked)

        self.wait_until(all_links, "all links")

    # ---- what is asked of all parties ----------------------------------------------------------

    def at_all(self, method, arguments):
        """Answers of all, or the first error of any, once all have answered."""
        asked = [
            self.children[name].ask(method, *given)
            for name, given in zip(self.names, arguments, strict=True)
        ]
        failures = [error for each in asked if (error := each.exception(HANGS)) is not None]
        if failures:
            raise next((e for e in failures if not isinstance(e, (Died, TacitaError))), failures[0])
        return [each.result() for each in asked]

    def publish(self, name, program, weights, *, owner="acme", **options):
        parts = self.publications(name, program, weights, **options)
        self.at_all("publish", [(self.principals[owner], part) for part in parts])
        return parts[0].model_id

    def infer(self, name, inputs, *, client="hospital", query=None):
        query, principal = query or fresh_key(), self.principals[client]
        parts = self.requests(inputs)
        return together(self.at_all("infer", [(principal, name, query, part) for part in parts]))

    # ---- dying -----------------------------------------------------------------------------------

    def doom(self, name, point, number, when):
        self.children[name].ask("die at", point, number, when).result(HANGS)

    def died(self, name, limit):
        """Whether a daemon's process ends within so many seconds."""
        deadline = time.monotonic() + limit
        process = self.children[name].process
        while process.is_alive() and time.monotonic() < deadline:
            process.join(0.05)
        return not process.is_alive()

    def restart(self, name):
        self.children[name].end()
        self.launch(name)
        self.wait_connected()

    # ---- what has been used ----------------------------------------------------------------------

    def check_uses(self):
        """No batch twice, each for one query, the same at all, and every one spent; how many."""
        sessions = {}
        for name in self.names:
            lines = [
                line.split() for line in (self.folder / f"{name}.used").read_text().splitlines()
            ]
            runs = [line[1] for line in lines if line[0] == "run"]
            assert len(set(runs)) == len(runs), f"{name} used a batch twice"
            for _, batch, session in (line for line in lines if line[0] == "for"):
                assert sessions.setdefault(batch, session) == session, "a batch for two queries"
            assert set(runs) <= set(sessions)
            ledger = Ledger(sqlite_url(self.folder / name / "ledger.sqlite"), party=name)
            states = ledger.states(bytes.fromhex(batch) for batch in runs)
            ledger.close()
            assert set(states.values()) <= {"spent"}
            assert len(states) == len(runs)
        assert len(set(sessions.values())) == len(sessions), "a query used two batches"
        return len(sessions)
