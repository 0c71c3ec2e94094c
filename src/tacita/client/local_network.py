"""A network of daemons on this machine: its files, and the processes that run from them.

For `tacita up`, tests and benchmarks. Everything listens on loopback alone, and the certificates
come from an authority whose key lies beside them: nothing here is for use between organisations.

    DIR/network.toml                who the parties are and where
    DIR/lock                        held by whoever runs its daemons
    DIR/authority/                  the authority, with its key
    DIR/<name>/                     of a daemon: settings, policy, certificate, data, log
    DIR/<role>-<name>/client.toml   of an owner or a client, made when it is first asked for
"""

from __future__ import annotations

import fcntl
import random
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from tacita.client.client import Client
from tacita.errors import ConfigError, PeerFailed, PeerTimeout
from tacita.network.authority import (
    AUTHORITY_CERTIFICATE,
    DEVELOPMENT_DAYS,
    create_authority,
    issue,
)
from tacita.network.identity import Role
from tacita.service.config import Network, load_network

HOST = "127.0.0.1"
# Below those that systems give to outgoing connections: one of those could take the port of a
# daemon while it is being restarted.
PORTS = range(10_000, 32_000)
LOOK = 0.05  # seconds between two looks whether a process is ready
READY_SECONDS = 120.0
STOP_SECONDS = 90.0
TAIL = 2000  # characters of a log that an error quotes

OPEN_POLICY = """\
[publish]
allow = ["owner:*"]

[[query]]
models = ["*"]
allow = ["client:*", "owner:*"]
per_minute = 1000000
at_once = 64
batch = 4096

[sessions]
allow = ["client:*", "owner:*"]

[watch]
allow = ["client:*", "owner:*"]
"""

Value = str | int | float
Processes = dict[str, "subprocess.Popen[bytes]"]


class LocalNetwork:
    """Parties and a dealer as child processes.

        with LocalNetwork(folder) as network:
            client = Client(network.client_config("client", "carol"))

    A folder that has a network.toml is used as it is, so models and stock outlive the processes.
    Daemons end in order when this process does, however it ends.
    """

    def __init__(
        self,
        folder: Path,
        parties: Sequence[str] = ("alice", "bob"),
        dealer: str = "dana",
        *,
        policy: str = OPEN_POLICY,
        limits: Mapping[str, Value] | None = None,
        stock: Mapping[str, Value] | None = None,
    ) -> None:
        """policy: the text of every party's policy.toml. limits, stock: fields of those tables.

        Nothing is started. Raises ConfigError where the folder has a network of other names.
        """
        self.folder = folder.absolute()
        self.parties = tuple(parties)
        self.dealer = dealer
        self._policy = policy
        self._limits = dict(limits or {})
        self._stock = dict(stock or {})
        self._processes: Processes = {}
        self._lock: IO[bytes] | None = None
        self._finish = weakref.finalize(self, _end_all, self._processes)
        path = self.folder / "network.toml"
        if not path.exists():
            self._make_files(path)
        self.network: Network = load_network(path)
        if (self.network.names, self.network.dealer.name) != (self.parties, dealer):
            raise ConfigError(
                f"{path} is of {', '.join(self.network.names)} and the dealer "
                f"{self.network.dealer.name}; name another folder"
            )

    def __repr__(self) -> str:
        return f"LocalNetwork({', '.join(self.names)}, in {self.folder})"

    def __enter__(self) -> LocalNetwork:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # ---- files ---------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The dealer first, then the parties in their order."""
        return (self.dealer, *self.parties)

    def config(self, name: str) -> Path:
        """party.toml or dealer.toml of a daemon."""
        return self.folder / name / ("dealer.toml" if name == self.dealer else "party.toml")

    def policy(self, name: str) -> Path:
        """The policy of a party; it may be edited while the party runs."""
        return self.folder / name / "policy.toml"

    def data(self, name: str) -> Path:
        """The folder in which a daemon keeps its models and its stock."""
        return self.folder / name / "data"

    def log(self, name: str) -> Path:
        """What a daemon has said, in all its lives."""
        return self.folder / name / "log"

    def client_config(self, role: Role = "client", name: str = "carol") -> Path:
        """client.toml of an owner or a client; the first time it is made, with a certificate."""
        folder = self.folder / f"{role}-{name}"
        path = folder / "client.toml"
        if not path.exists():
            issue(self.folder / "authority", role, name, out=folder, days=DEVELOPMENT_DAYS)
            parts = ['network = "../network.toml"\n', _credentials(name)]
            path.write_text("\n".join([*parts, _table("limits", self._limits)]))
        return path

    def _make_files(self, path: Path) -> None:
        create_authority(self.folder / "authority", "Tacita on this machine", days=DEVELOPMENT_DAYS)
        ports = iter(free_ports(2 * len(self.parties) + 1))
        network = []
        for name in self.parties:
            front, peers = next(ports), next(ports)
            network.append(
                f'[[parties]]\nname = "{name}"\nfront = "https://{HOST}:{front}"\n'
                f'peers = "{HOST}:{peers}"\n'
            )
            settings = (
                f'name = "{name}"\nnetwork = "../network.toml"\ndata = "data"\n'
                f'front = "{HOST}:{front}"\npeers = "{HOST}:{peers}"\npolicy = "policy.toml"\n'
            )
            self._make_daemon("party", name, settings, _table("stock", self._stock))
            self.policy(name).write_text(self._policy)
        port = next(ports)
        network.append(f'[dealer]\nname = "{self.dealer}"\naddress = "{HOST}:{port}"\n')
        settings = (
            f'name = "{self.dealer}"\nnetwork = "../network.toml"\ndata = "data"\n'
            f'address = "{HOST}:{port}"\n'
        )
        self._make_daemon("dealer", self.dealer, settings, "")
        path.write_text("\n".join(network))  # last: it says that all the others are there

    def _make_daemon(self, role: Role, name: str, settings: str, stock: str) -> None:
        folder = self.folder / name
        issue(
            self.folder / "authority", role, name, out=folder, hosts=[HOST], days=DEVELOPMENT_DAYS
        )
        tables = [_credentials(name), _table("limits", self._limits), stock]
        self.config(name).write_text("\n".join([settings, *filter(None, tables)]))

    # ---- processes -----------------------------------------------------------------------------

    def start(self, limit: float = READY_SECONDS) -> None:
        """Starts all that do not run, and waits until they are ready.

        Raises ConfigError where somebody else runs the daemons of this folder; PeerFailed, with
        the end of its log, where one ends instead; and PeerTimeout.
        """
        self._claim()
        try:
            for name in self.names:
                if not self.running(name):
                    self.launch(name)
            self.wait_ready(limit)
        except BaseException:
            self.stop()
            raise

    def launch(self, name: str) -> None:
        """Starts one daemon and does not wait."""
        if self.running(name):
            raise ConfigError(f"{name} runs already")
        self._claim()
        command = "dealer" if name == self.dealer else "party"
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "tacita", command, str(self.config(name)), "--until-eof"],
                stdin=subprocess.PIPE,  # which closes with this process, even if it is killed
                stdout=log,
                stderr=log,
                cwd=self.folder / name,
                # Ctrl-C in a terminal goes to a whole group; who started them ends them in order.
                start_new_session=True,
            )

    def _claim(self) -> None:
        """Otherwise two would share ports, ledgers and stock without knowing of each other."""
        if self._lock is not None:
            return
        lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(
                f"a network runs in {self.folder} already: use that one, end it first, or name "
                "another folder"
            ) from None
        self._lock = lock

    def wait_ready(self, limit: float = READY_SECONDS) -> None:
        """Returns once all daemons that run see each other. Raises as `start`."""
        deadline = time.monotonic() + limit
        with Client(self.client_config("client", "operator")) as client:
            while missing := self._missing(client):
                self.require_alive()
                if time.monotonic() > deadline:
                    raise PeerTimeout(f"after {limit:g} s {missing}; logs are in {self.folder}")
                time.sleep(LOOK)
        self.require_alive()  # who ended between two looks is missed by nobody

    def _missing(self, client: Client) -> str:
        """What is not there yet; empty where all is."""
        running = {name for name in self.names if self.running(name)}
        for party in client.status():
            if party.name not in running:
                continue
            if party.details is None:
                return f"{party.name} does not answer"
            links = party.details.get("links")
            seen = {name for name, up in links.items() if up} if isinstance(links, dict) else set()
            if unseen := running - seen - {party.name}:
                return f"{party.name} does not see {', '.join(sorted(unseen))}"
        return ""

    def require_alive(self) -> None:
        """Raises PeerFailed, naming it, where a daemon has ended that nobody killed or stopped."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                raise PeerFailed(
                    f"{name} has ended with exit code {process.returncode}; "
                    f"{self.log(name)} ends with:\n{self._tail(name)}"
                )

    def _tail(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-TAIL:].rstrip()

    def running(self, name: str) -> bool:
        """Whether there is a process of this daemon that has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The process of a daemon that was launched. Raises ConfigError where there is none."""
        if name not in self._processes:
            raise ConfigError(f"{name} was not started, or was stopped")
        return self._processes[name]

    def kill(self, name: str) -> None:
        """Ends a daemon at once (SIGKILL), as a crash does."""
        process = self.process(name)
        process.kill()
        process.wait(STOP_SECONDS)
        _close(process)
        del self._processes[name]

    def terminate(self, name: str) -> int:
        """Ends a daemon in order (SIGTERM); its exit code."""
        process = self.process(name)
        process.terminate()
        code = process.wait(STOP_SECONDS)
        _close(process)
        del self._processes[name]
        return code

    def restart(self, name: str, limit: float = READY_SECONDS) -> None:
        """Starts a daemon anew, after it was killed or is ended in order; waits for all."""
        if self.running(name):
            self.terminate(name)
        self.launch(name)
        self.wait_ready(limit)

    def stop(self) -> None:
        """Ends all in order, and by force whoever takes too long."""
        _end_all(self._processes)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill_all(self) -> None:
        """Has all killed and does not wait; for handlers of signals, which must not."""
        for process in list(self._processes.values()):
            process.kill()


def _end_all(processes: Processes) -> None:
    with ExitStack() as stack:
        for process in list(processes.values()):
            stack.callback(_end, process, time.monotonic() + STOP_SECONDS)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
    processes.clear()


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
    finally:
        _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _credentials(name: str) -> str:
    return (
        f'[credentials]\ncertificate = "{name}.pem"\nkey = "{name}.key"\n'
        f'authority = "{AUTHORITY_CERTIFICATE}"\n'
    )


def _table(name: str, fields: Mapping[str, Value]) -> str:
    if not fields:
        return ""
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _toml(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def free_ports(count: int) -> list[int]:
    """So many ports of loopback on which nobody listens now."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(PORTS, len(PORTS)):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise ConfigError(f"there are no {count} free ports on {HOST}")
