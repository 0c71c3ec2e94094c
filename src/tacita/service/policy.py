"""What a party allows whom: policy.toml, each party's own.

    [publish]                       # publish and remove models, fill their stock, and have links
                                    # measured, by which it is picked how a model compares
    allow = ["owner:acme"]
    [[query]]                       # the first table that fits both model and principal counts
    models = ["mnist"]
    allow = ["client:*", "owner:acme"]
    per_minute = 600
    at_once = 8
    batch = 256
    [sessions]                      # open eager sessions
    allow = []
    [watch]                         # see status and metrics of all models, have links measured
    allow = ["client:operator"]

What is not allowed is refused. A principal is written role:name, where the name may be *; a model
by its name, or *. An owner may name an audience when publishing: then both have to agree.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from tacita.errors import ComeBack, ConfigError, Refused
from tacita.network.identity import ROLES, Principal, parse
from tacita.service.settings_file import Section, check, read_toml

ANY = "*"
MINUTE = 60.0  # seconds
# What a query costs more whose batch was lost, since it was not everywhere: so much of a minute's
# queries, or so many of them where that is less.
LOST, MOST_FOR_LOST = 0.1, 60.0
BUCKETS = 4096  # how many principals are remembered before the idle ones are forgotten

_LOG = logging.getLogger(__name__)


def check_pattern(pattern: str) -> str:
    """`pattern`, if it is role:name or role:*. Raises ConfigError."""
    role, colon, name = pattern.partition(":")
    if name == ANY and colon and role in ROLES:
        return pattern
    try:
        parse(pattern)
    except ConfigError as error:
        raise ConfigError(f"{error}; or role:* for all of a role") from None
    return pattern


def matches(principal: Principal, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns, role:name or role:*, means this principal."""
    return not {str(principal), f"{principal.role}:{ANY}"}.isdisjoint(patterns)


def _pattern(text: str) -> str:
    try:
        return check_pattern(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _model(text: str) -> str:
    if not text or (ANY in text and text != ANY):
        raise ValueError(f"{text!r} is no model; write its whole name, or * for all")
    return text


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("this is to be a number")
    return value


Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(_pattern)], ...],
    Field(description='a list of principals, ["client:carol", "owner:*"]'),
]
Models = Annotated[
    tuple[Annotated[str, AfterValidator(_model)], ...],
    Field(min_length=1, description='a list of models, ["mnist"], or ["*"] for all'),
]
Whole = Annotated[int, BeforeValidator(_number), Field(ge=1)]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a principal may query a model.

    per_minute: queries, as many of them at once as a minute has. at_once: queries that run or wait.
    batch: samples in one query. rule: which [[query]] of the policy this is; queries under the same
    rule are counted together.
    """

    per_minute: float
    at_once: int
    batch: int
    rule: int

    def check_batch(self, samples: int) -> None:
        """Raises Refused for a query of more samples than are allowed."""
        if samples > self.batch:
            raise Refused(
                f"a query may have {self.batch} samples here, and this one has {samples}; split it"
            )


class Allowing(Section):
    """A table with one list: who may."""

    allow: Patterns = ()


class PublishRule(Section):
    """[publish]: who may publish, remove and fill the stock of which models; and have links
    measured, which concerns no model."""

    allow: Patterns = ()
    models: Models = (ANY,)


class QueryRule(Section):
    """One [[query]]: who may query which models, on what terms."""

    models: Models
    allow: Patterns
    per_minute: Annotated[float, BeforeValidator(_number)] = Field(
        default=600, gt=0, allow_inf_nan=False, description="queries a minute, more than 0"
    )
    at_once: Whole = Field(default=8, description="queries at once, 1 or more")
    batch: Whole = Field(default=256, description="samples in one query, 1 or more")

    def fits(self, principal: Principal, model: str) -> bool:
        return _names(self.models, model) and matches(principal, self.allow)


class Policy(Section):
    """A whole policy; see the top of the file. Decisions depend on it and the arguments alone."""

    publish: PublishRule = Field(default=PublishRule(), description="a table with allow")
    query: tuple[QueryRule, ...] = Field(
        default=(), description="[[query]] tables with models and allow"
    )
    sessions: Allowing = Field(default=Allowing(), description="a table with allow")
    watch: Allowing = Field(default=Allowing(), description="a table with allow")

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Raises ConfigError, which names the file, the field and what would be right."""
        return check(cls, path, read_toml(path))

    @classmethod
    def closed(cls) -> Policy:
        """Nobody may do anything."""
        return cls()

    def may_publish(self, principal: Principal, model: str) -> bool:
        """Publish, remove, or fill the stock of a model. Whose model it is, is another question."""
        return _names(self.publish.models, model) and matches(principal, self.publish.allow)

    def may_open_sessions(self, principal: Principal) -> bool:
        return matches(principal, self.sessions.allow)

    def may_watch(self, principal: Principal) -> bool:
        """See status and metrics of more than one's own models."""
        return matches(principal, self.watch.allow)

    def may_measure(self, principal: Principal) -> bool:
        """Have links measured: who may watch, and who may publish some model, since how that
        compares best depends on the links."""
        return self.may_watch(principal) or matches(principal, self.publish.allow)

    def query_terms(
        self, principal: Principal, model: str, audience: Iterable[str] | None = None
    ) -> Terms:
        """The terms of the first [[query]] that fits.

        audience: patterns that the model's owner gave; none at all (None) leaves it to the policy,
        an empty one lets nobody in. Raises Refused.
        """
        if audience is not None and not matches(principal, audience):
            raise Refused(f"{principal} is not in the audience that the owner of {model!r} named")
        for number, rule in enumerate(self.query):
            if rule.fits(principal, model):
                return Terms(rule.per_minute, rule.at_once, rule.batch, number)
        raise Refused(
            f"this party's policy does not let {principal} query {model!r}; ask its operator"
        )

    def check_publish(self, principal: Principal, model: str) -> None:
        """Raises Refused where `may_publish` says no."""
        if not self.may_publish(principal, model):
            raise Refused(
                f"this party's policy does not let {principal} publish {model!r} or fill its "
                "stock; ask its operator"
            )


def _names(models: tuple[str, ...], model: str) -> bool:
    return ANY in models or model in models


class PolicyFile:
    """A policy that follows its file: read again when that changes.

    A new version that is broken, or gone, is complained about once, in the log, and the old one
    stays in force. Safe for threads.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file cannot be used: there is no old version yet."""
        self.path = path
        self._lock = threading.Lock()
        self._seen = self._version()
        self._policy = Policy.load(path)

    @property
    def policy(self) -> Policy:
        """The version in force. Costs one stat where nothing has changed."""
        version = self._version()
        with self._lock:
            if version == self._seen:
                return self._policy
            self._seen = version
            try:
                self._policy = Policy.load(self.path)
            except ConfigError as error:
                _LOG.error("the old policy stays in force: %s", error)
            else:
                _LOG.info("the policy %s was read again", self.path)
            return self._policy

    def _version(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


# ---- how often -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bucket:
    per_minute: float
    tokens: float
    since: float
    running: int = 0
    lost: int = 0  # batches, since the bucket was full

    @property
    def capacity(self) -> float:
        return max(self.per_minute, 1.0)  # a query an hour is one query, not a sixtieth

    def refill(self, now: float) -> None:
        earned = max(now - self.since, 0.0) * self.per_minute / MINUTE
        self.tokens = min(self.tokens + earned, self.capacity)
        self.since = now
        if self.tokens >= self.capacity:
            self.lost = 0

    @property
    def loss(self) -> float:
        """What a lost batch costs, beside the query itself."""
        return max(min(LOST * self.per_minute, MOST_FOR_LOST), 1.0)


class RateKeeper:
    """Counts the queries of each principal under each rule. Safe for threads.

    Token buckets: a minute's worth of queries may come at once, then they come as they are earned.
    Counted by role and name, so a new certificate is no new allowance. A refused query costs
    nothing; one that is sent to some of the parties only costs more, see `lose`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, ascending."""
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, int], _Bucket] = {}

    @contextmanager
    def slot(self, principal: Principal, terms: Terms) -> Iterator[None]:
        """One query, from its beginning to its end. Raises ComeBack (a RateExceeded)."""
        key = (str(principal), terms.rule)
        self._enter(key, terms)
        try:
            yield
        finally:
            with self._lock:
                self._buckets[key].running -= 1

    def lose(self, principal: Principal, terms: Terms) -> None:
        """A query that is in its slot has cost a batch, and was not at every party.

        It counts as a tenth of a minute's queries more, or as 60 where that is less, so that
        nobody empties a stock by asking one party alone.
        """
        with self._lock:
            bucket = self._buckets[str(principal), terms.rule]
            bucket.refill(self._clock())
            bucket.tokens -= bucket.loss
            bucket.lost += 1

    def _enter(self, key: tuple[str, int], terms: Terms) -> None:
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(key)
            if bucket is None:
                self._forget_idle(now)
                bucket = _Bucket(terms.per_minute, max(terms.per_minute, 1.0), now)
                self._buckets[key] = bucket
            bucket.refill(now)
            if bucket.per_minute != terms.per_minute:  # the policy has changed
                bucket.per_minute = terms.per_minute
                bucket.refill(now)
            if bucket.running >= terms.at_once:
                raise ComeBack(
                    f"{key[0]} has {bucket.running} queries at once here, and may have "
                    f"{terms.at_once}; come back when one of them has ended",
                    1.0,
                )
            if bucket.tokens < 1:
                # A little later than exactly then: rounding must not refuse whoever is punctual.
                wait = math.ceil((1 - bucket.tokens) * MINUTE / terms.per_minute * 1000 + 1) / 1000
                lost = ""
                if bucket.lost:
                    lost = (
                        f", and {bucket.lost} that were not at every party have cost a batch and "
                        f"{bucket.loss:g} more each"
                    )
                raise ComeBack(
                    f"{key[0]} may send {terms.per_minute:g} queries a minute here{lost}; come "
                    f"back in {wait:.3g} seconds",
                    wait,
                )
            bucket.tokens -= 1
            bucket.running += 1

    def _forget_idle(self, now: float) -> None:
        """Those that run nothing and were silent for so long that their bucket is full again."""
        if len(self._buckets) < BUCKETS:
            return
        for key, bucket in list(self._buckets.items()):
            bucket.refill(now)
            if not bucket.running and bucket.tokens >= bucket.capacity:
                del self._buckets[key]
