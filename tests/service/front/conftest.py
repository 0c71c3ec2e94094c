"""A front over a small engine, on loopback, with certificates of a throw-away authority."""

import hashlib
import http.client
import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from tacita.errors import AlreadyUsed, Refused, ShapeError, UnknownModel
from tacita.network.address import Address
from tacita.network.authority import create_authority, issue
from tacita.network.tensors import Tensor, TensorLimits, encode_request
from tacita.service.front.engine import ModelInfo, TensorInfo
from tacita.service.front.limits import FrontLimits
from tacita.service.front.serving import Front

VERSION = "1.2.3"
WAIT = 30.0  # seconds: the limit of every wait in these tests
ALICE = "alice.party.tacita"
QUERY = bytes(range(16))
LIMITS = FrontLimits(
    queries_at_once=3,
    requests_each=5,
    largest_query=1 << 20,
    largest_publication=1 << 21,
    head_bytes=8192,
    shutdown_seconds=5.0,
    tensors=TensorLimits(tensors=8, dimensions=4, elements=1 << 20, head_bytes=1 << 16),
)


def model_info(name, owner, model_id, program=b"", ready=True, stock=0):
    wire = (TensorInfo("x", (2, 3), 65536),)
    return ModelInfo(
        name, model_id, hashlib.sha256(program).hexdigest(), owner, ready, stock,
        wire, (TensorInfo("y", (2, 3), 65536),), 0, 2,
    )  # fmt: skip


class DoublingEngine:
    """A party whose only program doubles its share: right for shares, and easy to check."""

    def __init__(self):
        self.is_ready = True
        self.fails_with = None  # an error that every method raises
        self.gate = None  # an Event that queries wait for
        self.entered = threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.published = {}
        self.programs = {}
        self.weights = {}
        self.queries = set()
        self.principals = []
        self._lock = threading.Lock()
        self.add("doubling", "owner:olga", b"program")

    def add(self, name, owner, program, model_id=bytes(16), ready=True):
        self.published[name] = model_info(name, owner, model_id, program, ready)
        self.programs[name] = program
        return self.published[name]

    def _asked(self, principal=None):
        self.principals.append(principal)
        if self.fails_with is not None:
            raise self.fails_with

    def ready(self):
        self._asked()
        return self.is_ready

    def status(self, principal):
        self._asked(principal)
        return {"asked_by": str(principal), "models": len(self.published)}

    def neighbours(self, principal):
        self._asked(principal)
        return {"bob": {"round_trip": 0.001}}

    def models(self, principal):
        self._asked(principal)
        return list(self.published.values())

    def model(self, principal, name):
        self._asked(principal)
        if name not in self.published:
            raise UnknownModel(f"there is no model {name!r}")
        return self.published[name]

    def check_query(self, principal, model):
        """Whoever may not is told by `infer` here."""

    def check_publish(self, principal, model):
        pass

    def decline_query(self, principal, query, error):
        pass

    def decline_publication(self, model_id, error):
        pass

    def infer(self, principal, model, query, inputs):
        self.entered.release()
        try:
            self.model(principal, model)
            if self.gate is not None:
                assert self.gate.wait(WAIT)
            with self._lock:
                if (principal, query) in self.queries:
                    raise AlreadyUsed(f"the query {query.hex()} was asked before")
                self.queries.add((principal, query))
            if [each.name for each in inputs] != ["x"]:
                raise ShapeError("the model has one input, 'x'")
            x = inputs[0]
            return [Tensor("y", x.shape, x.values * np.uint64(2), x.scale, x.share, x.parties)]
        finally:
            self.finished.release()

    def publish(self, principal, publication):
        self._asked(principal)
        if principal.role != "owner":
            raise Refused(f"{principal} may not publish")
        name = publication.name
        self.weights[name] = publication
        return self.add(name, str(principal), publication.program, publication.model_id)

    def remove(self, principal, name):
        del self.published[self.model(principal, name).name]

    def deal(self, principal, name, runs):
        self.model(principal, name)
        return runs + 1

    def program(self, principal, name):
        return self.programs[self.model(principal, name).name]

    def metrics(self, principal):
        self._asked(principal)
        return b"tacita_queries_total 3\n"


class Files:
    """Certificates, made once a test run."""

    def __init__(self, folder):
        now = datetime.now(UTC)
        own, foreign = folder / "authority", folder / "foreign-authority"
        create_authority(own, "of the tests")
        create_authority(foreign, "of somebody else")
        self.alice = issue(own, "party", "alice", out=folder / "out", hosts=["127.0.0.1"])
        self.carol = issue(own, "client", "carol", out=folder / "out")
        self.dave = issue(own, "client", "dave", out=folder / "out")
        self.olga = issue(own, "owner", "olga", out=folder / "out")
        self.foreign = issue(foreign, "client", "carol", out=folder / "foreign")
        self.expired = issue(
            own, "client", "carol", out=folder / "expired", days=1, start=now - timedelta(days=9)
        )
        self.own_authority = own


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def engine():
    return DoublingEngine()


@pytest.fixture
def serve(files):
    """serve(engine, limits): a front that listens, until the test is over."""
    fronts = []

    def start(engine, limits=LIMITS):
        front = Front(engine, Address("127.0.0.1", 0), files.alice, limits, VERSION)
        front.start()
        fronts.append(front)
        return front

    yield start
    for front in fronts:
        front.stop()


class Forwarding:
    """An engine that is another one: a front takes longer to start than a test."""

    target = None

    def __getattr__(self, name):
        return getattr(self.target, name)


@pytest.fixture(scope="session")
def shared_front(files):
    engine = Forwarding()
    front = Front(engine, Address("127.0.0.1", 0), files.alice, LIMITS, VERSION)
    front.start()
    yield front, engine
    front.stop()


@pytest.fixture
def front(shared_front, engine):
    """A front over the test's own engine."""
    front, forwarding = shared_front
    forwarding.target = engine
    return front


class Client(httpx.Client):
    """Looks for alice at a front's port, with somebody's certificate."""

    def __init__(self, front, credentials):
        base = f"https://127.0.0.1:{front.port}"
        super().__init__(verify=credentials.client_context(), base_url=base, timeout=WAIT)

    def request(self, *args, **kwargs):
        return super().request(*args, **{**kwargs, "extensions": {"sni_hostname": ALICE}})

    def infer(self, model="doubling", query=QUERY, tensors=None, **more):
        headers, buffers = encode_request(query, [share()] if tensors is None else tensors)
        headers.update(more.pop("headers", {}))
        return self.post(f"/v2/models/{model}/infer", headers=headers, content=iter(buffers))


@pytest.fixture
def client_of(front, serve):
    """client_of(credentials): a client of the front. (It asks for `serve` to be closed first.)"""
    clients = []

    def make(credentials, other=None):
        clients.append(Client(other or front, credentials))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of, files):
    return client_of(files.carol)


def share(name="x", shape=(2, 3), start=2**63 - 2):
    count = int(np.prod(shape))
    values = (np.arange(count, dtype=np.uint64) + np.uint64(start)).reshape(shape)
    return Tensor(name, shape, values, 65536, 0, 2)


def raw_connection(front, credentials):
    """A TLS socket and the HTTP answers that come out of it."""
    context = credentials.client_context()
    plain = socket.create_connection(("127.0.0.1", front.port), WAIT)
    try:
        return context.wrap_socket(plain, server_hostname=ALICE)
    except (ssl.SSLError, OSError):
        plain.close()
        raise


def answer_on(connection):
    """(status, headers, JSON) of the next answer."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    text = answer.read()
    return answer.status, answer.headers, json.loads(text) if text else None


# ---- names that tests take as fixtures: this folder is no package to import from -----------------


@pytest.fixture(name="share")
def share_fixture():
    return share


@pytest.fixture(name="limits")
def limits_fixture():
    return LIMITS


@pytest.fixture(name="query")
def query_fixture():
    return QUERY


@pytest.fixture
def version():
    return VERSION


@pytest.fixture
def wait():
    return WAIT


@pytest.fixture
def connect(front, serve):
    """connect(credentials): a TLS socket to the front. (It asks for `serve` to be closed first.)"""
    open_ones = []

    def make(credentials, other=None):
        open_ones.append(raw_connection(other or front, credentials))
        return open_ones[-1]

    yield make
    for each in open_ones:
        each.close()


@pytest.fixture(name="answer_on")
def answer_on_fixture():
    return answer_on
