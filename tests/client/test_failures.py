"""What parties refuse, who is not whom, and what does not answer."""

import asyncio
import gc
import threading
from dataclasses import replace

import pytest
import torch

from tacita import errors
from tacita.client import Client
from tacita.client.answers import error_of
from tacita.client.connection import PartyConnection
from tacita.client.together import together
from tacita.errors import (
    ConfigError,
    CredentialError,
    PeerFailed,
    PeerTimeout,
    Refused,
    SessionClosed,
    UnknownModel,
)
from tacita.network.tensors import encode_request

from .fronts import PARTIES, Party

X = torch.ones(2, 3)

# ---- errors of parties ---------------------------------------------------------------------------

ANSWERED = {
    "refused": (errors.Refused("not you"), errors.Refused),
    "rate": (errors.RateExceeded("too often"), errors.RateExceeded),
    "unknown": (errors.UnknownModel("no such model"), errors.UnknownModel),
    "used": (errors.AlreadyUsed("it was asked before"), errors.AlreadyUsed),
    "shape": (errors.ShapeError("it does not fit"), errors.UsageError),
    "not ready": (errors.NotReady("later"), errors.NotReady),
    "timeout": (errors.PeerTimeout("bob did not answer"), errors.PeerTimeout),
    "bound": (errors.BoundExceeded("beyond its bound"), errors.BoundExceeded),
    "inner": (errors.MaskReused("its own matter"), errors.PeerFailed),
}


@pytest.mark.parametrize(("raised", "kind"), ANSWERED.values(), ids=ANSWERED)
def test_an_error_of_a_party_is_the_same_here_and_names_it(setting, raised, kind):
    client = setting.client()
    setting.engines[1].fails_with = raised
    with pytest.raises(kind) as caught:
        client.predict("doubling", X)
    assert str(caught.value).startswith("bob answered ")
    if kind is not errors.PeerFailed:
        assert str(raised) in str(caught.value)


KINDS = ["StockEmpty", "PeerFailed", "ShapeError", "ProgramError", "NotReady"]


@pytest.mark.parametrize("name", KINDS)
def test_a_party_may_say_which_error_it_is(name):
    body = f'{{"error": "no batch is left", "kind": "{name}"}}'.encode()
    error = error_of("bob", 503, body)
    assert type(error) is getattr(errors, name)
    assert str(error) == "bob answered 503: no batch is left"


STRANGE = {
    "nothing": b"",
    "no JSON": b"<html>",
    "no table": b"[1]",
    "no text": b'{"error": {"a": 1}, "kind": ["x"]}',
    "a foreign kind": b'{"error": "", "kind": "KeyboardInterrupt"}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_bodies_that_no_party_writes_are_survived(body):
    assert str(error_of("bob", 500, body)) == "bob answered 500: and gives no reason"


def test_what_a_party_says_steers_no_terminal_and_is_cut():
    error = error_of("bob", 403, b'{"error": "\\u001b[2J' + b"a" * 5000 + b'"}')
    assert isinstance(error, Refused)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 1100


def test_one_partys_refusal_ends_the_wait_for_the_others(setting):
    client = setting.client()
    alice, bob = setting.engines
    alice.gate = threading.Event()  # stays closed until the end
    bob.fails_with = Refused("not you")
    with pytest.raises(Refused, match="bob answered 403"):
        client.predict("doubling", X)
    assert not alice.gate.is_set()


def test_the_cause_is_raised_and_not_what_follows_from_it():
    async def late():
        await asyncio.sleep(0.05)
        raise Refused("the cause")

    async def early():
        raise PeerFailed("bob refused")

    with pytest.raises(Refused, match="the cause"):
        asyncio.run(together([early(), late()]))


def test_those_who_still_wait_are_cancelled():
    ended = []

    async def waiting():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def failing():
        await asyncio.sleep(0)
        raise Refused("no")

    with pytest.raises(Refused):
        asyncio.run(together([waiting(), failing()]))
    assert ended == [True]


# ---- limits --------------------------------------------------------------------------------------


def test_a_party_that_does_not_answer_is_not_waited_for_beyond_the_limit(setting):
    client = setting.client(query=0.3)
    setting.engines[1].gate = threading.Event()
    with pytest.raises(PeerTimeout, match=r"bob at https://.* did not answer within 0.3 s"):
        client.predict("doubling", X)


def test_a_client_is_usable_after_a_failure(setting):
    client = setting.client()
    setting.engines[1].fails_with = Refused("not now")
    with pytest.raises(Refused):
        client.predict("doubling", X)
    setting.engines[1].fails_with = None
    assert torch.equal(client.predict("doubling", X), 2 * X)


def test_closing_ends_what_other_threads_wait_for(setting):
    client = setting.client()
    gate = setting.engines[0].gate = threading.Event()
    entered = threading.Event()
    setting.engines[1].changed = lambda tensors: entered.set() or tensors
    caught = []

    def ask():
        try:
            client.predict("doubling", X)
        except BaseException as error:
            caught.append(error)

    worker = threading.Thread(target=ask)
    worker.start()
    assert entered.wait(30)
    client.close()
    worker.join(30)
    gate.set()
    assert [type(each) for each in caught] == [SessionClosed]
    with pytest.raises(SessionClosed, match="was closed"):
        client.models()
    client.close()


def test_a_client_that_is_forgotten_takes_its_thread_along(setting):
    client = Client(setting.config())
    client.models()
    thread = client._thread
    del client
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


# ---- who is there --------------------------------------------------------------------------------


def test_somebody_else_of_the_same_authority_is_sent_nothing(setting):
    client = setting.client()
    assert torch.equal(client.predict("doubling", X), 2 * X)
    port = setting.fronts[1].port
    setting.fronts[1].stop()
    mallory = Party(1)
    setting.fronts[1] = setting.serve(mallory, "mallory", port)
    with pytest.raises(PeerFailed) as caught:
        client.predict("doubling", X)
    assert "is not proven to be bob.party.tacita" in str(caught.value)
    assert str(port) in str(caught.value)
    assert mallory.asked == []
    assert mallory.queries == []


def test_a_client_of_another_authority_gets_no_further_than_the_handshake(setting):
    client = setting.client("stranger")
    with pytest.raises(PeerFailed, match=r"is not proven to be alice\.party\.tacita"):
        client.models()
    assert setting.engines[0].asked == []


def test_a_party_that_is_not_there_is_named_with_its_address(setting):
    client = setting.client()
    port = setting.fronts[1].port
    setting.fronts[1].stop()
    with pytest.raises(PeerFailed) as caught:
        client.models()
    assert str(caught.value).startswith(f"bob at https://127.0.0.1:{port} cannot be reached")
    assert "Connection refused" in str(caught.value)


def test_parties_in_another_order_are_refused(setting):
    network = setting.network(("bob", "alice"), [front.port for front in setting.fronts[::-1]])
    client = setting.client(network=network)
    with pytest.raises(PeerFailed, match="bob is party 1 of 2 by its own account, and 0 of 2"):
        client.predict("doubling", X)
    assert [each.queries for each in setting.engines] == [[], []]


def test_a_key_that_others_can_read_is_not_used(setting, certificates, tmp_path):
    config = setting.config("carol")
    key = tmp_path / "open.key"
    key.write_bytes(certificates.carol.key.read_bytes())
    key.chmod(0o644)
    credentials = replace(certificates.carol, key=key)
    with pytest.raises(CredentialError, match=r"open\.key"):
        Client(config.model_copy(update={"credentials": credentials}))


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"client\.toml"):
        Client(tmp_path / "client.toml")


def test_proxies_of_the_environment_are_not_used(setting, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert [each.name for each in setting.client().models()] == ["doubling"]


def test_redirects_are_not_followed(setting):
    """A party that answers 3xx has failed: shares go where the network's file says."""

    async def ask():
        config = setting.config()
        context = config.credentials.client_context()
        party = PartyConnection(config.network.parties[0], 0, context, config.limits)
        headers, body = encode_request(bytes(16), [])
        try:
            # The router answers a path with a slash too many with a redirect.
            await party.request(
                "POST", "/v2/models/doubling/infer/", 30, headers=headers, body=body
            )
        finally:
            await party.close()

    with pytest.raises((PeerFailed, UnknownModel), match=f"{PARTIES[0]} answered (307|404)"):
        asyncio.run(ask())
