"""Policies: who may what, how often, and what becomes of a policy whose file changes."""

import logging
import os
import threading

import pytest

from tacita.errors import ConfigError, RateExceeded, Refused
from tacita.network.identity import Principal
from tacita.service import policy as policies
from tacita.service.policy import (
    Policy,
    PolicyFile,
    RateKeeper,
    Terms,
    check_pattern,
    matches,
)

TEXT = """
[publish]
allow = ["owner:acme"]
[[query]]
models = ["mnist", "cifar"]
allow = ["client:carol"]
per_minute = 5
at_once = 2
batch = 3
[[query]]
models = ["mnist"]
allow = ["client:*", "owner:acme"]
[sessions]
allow = ["client:carol"]
[watch]
allow = ["client:operator"]
"""
ACME, OTHER = Principal("owner", "acme", "0" * 64), Principal("owner", "other", "1" * 64)
CAROL, EVE = Principal("client", "carol", "2" * 64), Principal("client", "eve", "3" * 64)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def policy(file):
    return Policy.load(file)


# ---- decisions -----------------------------------------------------------------------------------


def test_owners_that_are_named_publish(policy):
    assert policy.may_publish(ACME, "anything")
    for other in (OTHER, Principal("client", "acme", "4" * 64)):
        assert not policy.may_publish(other, "anything")
        with pytest.raises(Refused, match=f"{other} publish 'mnist'"):
            policy.check_publish(other, "mnist")
    policy.check_publish(ACME, "mnist")


def test_publishing_may_be_for_some_models(file):
    file.write_text('[publish]\nallow = ["owner:*"]\nmodels = ["mnist"]\n')
    policy = Policy.load(file)
    assert policy.may_publish(OTHER, "mnist")
    assert not policy.may_publish(OTHER, "cifar")


def test_the_first_table_that_fits_counts(policy):
    assert policy.query_terms(CAROL, "mnist") == Terms(5, 2, 3, 0)
    assert policy.query_terms(EVE, "mnist").rule == 1
    assert policy.query_terms(ACME, "mnist").rule == 1
    assert policy.query_terms(CAROL, "cifar").rule == 0


@pytest.mark.parametrize(("who", "model"), [(OTHER, "mnist"), (EVE, "cifar"), (CAROL, "*")])
def test_what_no_table_allows_is_refused(policy, who, model):
    with pytest.raises(Refused, match=f"does not let {who} query") as caught:
        policy.query_terms(who, model)
    assert not isinstance(caught.value, RateExceeded)


def test_owner_and_policy_have_to_agree(policy):
    assert policy.query_terms(CAROL, "mnist", None).rule == 0
    assert policy.query_terms(CAROL, "mnist", ["client:carol"]).rule == 0
    assert policy.query_terms(EVE, "mnist", ["client:*"]).rule == 1
    for audience in ((), ["client:carol"], ["owner:*"], ["client:ev"]):
        with pytest.raises(Refused, match="audience"):
            policy.query_terms(EVE, "mnist", audience)
    with pytest.raises(Refused, match="policy"):
        policy.query_terms(EVE, "cifar", ["client:eve"])


def test_sessions_and_watching_are_allowed_by_name(policy):
    assert policy.may_open_sessions(CAROL)
    assert not policy.may_open_sessions(EVE)
    assert policy.may_watch(Principal("client", "operator", "5" * 64))
    assert not policy.may_watch(CAROL)


def test_links_are_measured_for_who_may_watch_or_publish(policy):
    assert policy.may_measure(Principal("client", "operator", "5" * 64))
    assert policy.may_publish(ACME, "mnist")
    assert policy.may_measure(ACME)
    assert not policy.may_measure(CAROL)


def test_a_closed_policy_and_an_empty_file_allow_nothing(file):
    file.write_text("")
    for policy in (Policy.closed(), Policy.load(file)):
        for who in (ACME, CAROL):
            assert not policy.may_publish(who, "mnist")
            assert not policy.may_open_sessions(who)
            assert not policy.may_watch(who)
            assert not policy.may_measure(who)
            with pytest.raises(Refused):
                policy.query_terms(who, "mnist")


def test_a_batch_has_its_limit():
    terms = Terms(per_minute=1, at_once=1, batch=3, rule=0)
    terms.check_batch(3)
    with pytest.raises(Refused, match="3 samples here, and this one has 4"):
        terms.check_batch(4)


def test_a_pattern_names_one_or_all_of_a_role():
    assert matches(CAROL, ["owner:*", "client:carol"])
    assert matches(CAROL, ["client:*"])
    assert not matches(CAROL, [])
    assert not matches(CAROL, ["client:car", "client:caroline", "owner:carol", "owner:*"])
    assert check_pattern("client:*") == "client:*"
    for wrong in ("*", "*:*", "client", "client:c*", "root:*", "client:", "client*", "*:carol"):
        with pytest.raises(ConfigError, match=r"role:\*"):
            check_pattern(wrong)


MISTAKES = {
    "a pattern": ('[publish]\nallow = ["acme"]\n', "publish.allow.0"),
    "all of everything": ('[watch]\nallow = ["*"]\n', "watch.allow.0"),
    "one that is no list": ('[watch]\nallow = "client:*"\n', "watch.allow"),
    "a table": ("[querys]\n", "did you mean query"),
    "a field": ('[[query]]\nmodel = ["a"]\nallow = []\n', "did you mean models"),
    "no models": ("[[query]]\nmodels = []\nallow = []\n", "query.0.models"),
    "half a model": ('[[query]]\nmodels = ["a*"]\nallow = []\n', "query.0.models.0"),
    "nobody": ('[[query]]\nmodels = ["a"]\n', "query.0.allow is missing"),
    "never": ('[[query]]\nmodels = ["a"]\nallow = []\nper_minute = 0\n', "query.0.per_minute"),
    "always": ('[[query]]\nmodels = ["a"]\nallow = []\nper_minute = inf\n', "query.0.per_minute"),
    "none at once": ('[[query]]\nmodels = ["a"]\nallow = []\nat_once = 0\n', "query.0.at_once"),
    "a truth": ('[[query]]\nmodels = ["a"]\nallow = []\nbatch = true\n', "query.0.batch"),
    "one table": ('[query]\nmodels = ["a"]\nallow = []\n', "query"),
    "no TOML": ("[publish", "is not TOML"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(file, text, said):
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Policy.load(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


# ---- a file that changes -------------------------------------------------------------------------


def write(path, text, age):
    """Whole at once, as editors do, with a time of its own."""
    part = path.with_name("part")
    part.write_text(text)
    os.utime(part, (age, age))
    part.replace(path)


def test_a_changed_file_is_read_again(file):
    kept = PolicyFile(file)
    first = kept.policy
    assert first.may_publish(ACME, "m")
    assert kept.policy is first
    write(file, TEXT.replace("owner:acme", "owner:other"), 1)
    assert not kept.policy.may_publish(ACME, "m")
    assert kept.policy.may_publish(OTHER, "m")


@pytest.mark.parametrize("broken", ["[publish", None], ids=["broken", "gone"])
def test_the_old_policy_stays_where_the_new_is_broken(file, caplog, broken):
    kept = PolicyFile(file)
    file.unlink()
    if broken:
        write(file, broken, 1)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert kept.policy.may_publish(ACME, "m")
    (said,) = caplog.records
    assert str(file) in said.getMessage()
    assert "the old policy stays in force" in said.getMessage()
    write(file, "", 2)
    assert not kept.policy.may_publish(ACME, "m")


def test_a_first_policy_has_to_be_sound(file):
    file.write_text("[publish")
    with pytest.raises(ConfigError):
        PolicyFile(file)


# ---- rates ---------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rates(clock):
    return RateKeeper(clock)


SIX = Terms(per_minute=6, at_once=2, batch=1, rule=0)


def ask(rates, who=CAROL, terms=SIX):
    with rates.slot(who, terms):
        pass


def refused(rates, who=CAROL, terms=SIX):
    with pytest.raises(RateExceeded) as caught:
        ask(rates, who, terms)
    return caught.value


def test_a_minute_s_worth_comes_at_once_and_then_as_it_is_earned(rates, clock):
    for _ in range(6):
        ask(rates)
    error = refused(rates)
    assert "client:carol may send 6 queries a minute" in str(error)
    assert 10 <= error.retry_after <= 10.1
    clock.now += error.retry_after
    ask(rates)
    refused(rates)
    clock.now += 3600
    for _ in range(6):
        ask(rates)
    refused(rates)


def test_who_comes_back_when_told_is_let_in(rates, clock):
    terms = Terms(7, 9, 1, 0)
    for _ in range(7):
        ask(rates, terms=terms)
    for _ in range(50):
        clock.now += refused(rates, terms=terms).retry_after
        ask(rates, terms=terms)


def test_a_refused_query_costs_nothing(rates, clock):
    for _ in range(6):
        ask(rates)
    for _ in range(100):
        refused(rates)
    clock.now += 10.1
    ask(rates)


def test_slots_are_held_while_a_query_runs(rates):
    terms = Terms(1000, 2, 1, 0)
    with rates.slot(CAROL, terms), rates.slot(CAROL, terms):
        error = refused(rates, terms=terms)
        assert "2 queries at once" in str(error)
        assert error.retry_after > 0
        ask(rates, EVE, terms)
    ask(rates, terms=terms)


def test_a_query_that_fails_gives_its_slot_back(rates):
    terms = Terms(1000, 1, 1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), rates.slot(CAROL, terms):
            raise ZeroDivisionError
    ask(rates, terms=terms)


def test_a_query_that_was_not_everywhere_counts_as_many(rates, clock):
    terms = Terms(per_minute=60, at_once=9, batch=1, rule=0)
    count = 0
    while True:
        try:
            with rates.slot(CAROL, terms):
                rates.lose(CAROL, terms)
                count += 1
        except RateExceeded as error:
            refusal = error
            break
    assert count == 9  # of 60, each costs one and six more; the ninth begins with four left
    assert "9 that were not at every party have cost a batch and 6 more each" in str(refusal)
    ask(rates, EVE, terms)
    clock.now += refusal.retry_after
    ask(rates, terms=terms)
    assert "9 that were" in str(refused(rates, terms=terms))
    clock.now += 61
    for _ in range(60):
        ask(rates, terms=terms)
    assert "not at every party" not in str(refused(rates, terms=terms))


def test_where_few_may_be_asked_a_lost_batch_costs_one_more(rates):
    with rates.slot(CAROL, SIX):
        rates.lose(CAROL, SIX)
    for _ in range(4):
        ask(rates)
    refused(rates)


def test_principals_and_rules_are_counted_apart(rates):
    for _ in range(6):
        ask(rates)
    refused(rates)
    ask(rates, EVE)
    ask(rates, terms=Terms(6, 2, 1, 1))
    refused(rates, Principal("client", "carol", "a new certificate"))


def test_less_than_one_a_minute(rates, clock):
    terms = Terms(0.5, 1, 1, 0)
    ask(rates, terms=terms)
    error = refused(rates, terms=terms)
    assert 120 <= error.retry_after <= 120.1
    clock.now += 100
    refused(rates, terms=terms)
    clock.now += 20.1
    ask(rates, terms=terms)


def test_new_terms_hold_at_once(rates, clock):
    for _ in range(2):
        ask(rates, terms=Terms(600, 2, 1, 0))
    ask(rates, terms=Terms(1, 2, 1, 0))
    refused(rates, terms=Terms(1, 2, 1, 0))
    clock.now += 1
    refused(rates, terms=Terms(1, 2, 1, 0))


def test_a_clock_that_stands_still_or_goes_back_earns_nothing(rates, clock):
    for _ in range(6):
        ask(rates)
    clock.now -= 1000
    refused(rates)


def test_the_idle_are_forgotten_and_nobody_else(rates, clock, monkeypatch):
    monkeypatch.setattr(policies, "BUCKETS", 3)
    people = [Principal("client", f"c{number}", "") for number in range(3)]
    for each in people[:2]:
        ask(rates, each)
    for _ in range(6):
        ask(rates, people[2])
    clock.now += 10  # enough for one query to be earned
    ask(rates, CAROL)
    assert len(rates._buckets) == 2
    ask(rates, people[2])
    refused(rates, people[2])


def test_threads_get_no_more_than_there_are(rates):
    terms = Terms(50, 1000, 1, 0)
    served, start = [], threading.Barrier(8)

    def work():
        start.wait(30)
        for _ in range(20):
            try:
                ask(rates, terms=terms)
                served.append(1)
            except RateExceeded:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(served) == 50
