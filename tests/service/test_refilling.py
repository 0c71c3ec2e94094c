"""When the leader asks the dealer for more, and for how much."""

import threading
import time
from types import SimpleNamespace

import pytest

from tacita.errors import PeerFailed
from tacita.service import supply
from tacita.service.supply import CONVERSATIONS, Refiller

from .rogue import SOON

LOW, HIGH = 3, 5


class Dealer:
    """Answers `ask_dealer`: each conversation is a list of what the test has come, or fail."""

    def __init__(self):
        self.asked = []
        self._changed = threading.Condition()
        self._due = []

    def __call__(self, around, model, runs, came):
        with self._changed:
            number = len(self.asked)
            self.asked.append(runs)
            self._due.append([])
            self._changed.notify_all()
            while runs:
                assert self._changed.wait_for(lambda: self._due[number], SOON)
                error = self._due[number].pop(0)
                if error is not None:
                    raise error
                runs -= 1
                came()

    def deal(self, conversation, runs=1, error=None):
        with self._changed:
            self._due[conversation] += [error] * runs
            self._changed.notify_all()

    def wait_asked(self, *runs):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= len(runs), SOON)
            assert self.asked == list(runs)


@pytest.fixture
def setting(monkeypatch):
    """A refiller over a stock whose level the test sets; only what is set or asked wakes it."""
    dealer, warnings, level = Dealer(), [], {b"m": 0}
    around = SimpleNamespace(
        models=SimpleNamespace(all=lambda: [SimpleNamespace(id=b"m", name="m")]),
        storehouse=SimpleNamespace(level=level.__getitem__),
        metrics=SimpleNamespace(stock=lambda *_: None),
        stock=SimpleNamespace(low=LOW, high=HIGH),
        log=SimpleNamespace(warning=lambda *each, **more: warnings.append((each, more))),
        stock_used=threading.Event(),
        others=[],
    )
    monkeypatch.setattr(supply, "ask_dealer", dealer)
    monkeypatch.setattr(supply, "LOOK", SOON)
    monkeypatch.setattr(supply, "AFTER_FAILURE", 0.0)
    refiller = Refiller(around)
    refiller.start()

    def looked():
        """Once it has looked after now."""
        around.stock_used.set()
        deadline = time.monotonic() + SOON
        while around.stock_used.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
        # A look that began before may have been what cleared it; the next one is whole.
        around.stock_used.set()
        while around.stock_used.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not around.stock_used.is_set()

    def due(runs):
        """Once so many were asked for and have not come."""
        deadline = time.monotonic() + SOON
        while refiller._asked[b"m"] != runs and time.monotonic() < deadline:
            time.sleep(0.005)
        assert refiller._asked[b"m"] == runs

    yield SimpleNamespace(dealer=dealer, level=level, warnings=warnings, looked=looked, due=due)
    refiller.end()
    refiller._thread.join(SOON)
    assert not refiller._thread.is_alive()


def test_what_was_asked_for_is_not_asked_for_again(setting):
    setting.dealer.wait_asked(HIGH)
    setting.looked()
    setting.dealer.wait_asked(HIGH)


def test_the_next_are_asked_for_before_the_last_have_come(setting):
    """What comes is used at once: of five asked for, two are due, which is below three."""
    setting.dealer.wait_asked(HIGH)
    setting.dealer.deal(0, 3)
    setting.due(2)
    setting.looked()
    setting.dealer.wait_asked(HIGH, HIGH - 2)


def test_conversations_are_few(setting):
    setting.dealer.wait_asked(HIGH)
    setting.dealer.deal(0, 3)
    setting.due(2)
    setting.looked()
    setting.dealer.wait_asked(HIGH, 3)
    setting.dealer.deal(0, 1)
    setting.dealer.deal(1, 2)
    setting.due(2)  # one of each
    setting.looked()
    assert len(setting.dealer.asked) == CONVERSATIONS
    setting.dealer.deal(0, 1)  # which ends it
    setting.dealer.wait_asked(HIGH, 3, HIGH - 1)


def test_with_enough_there_nobody_is_asked(setting):
    setting.dealer.wait_asked(HIGH)
    setting.level[b"m"] = LOW
    setting.dealer.deal(0, HIGH)
    setting.looked()
    setting.looked()
    setting.dealer.wait_asked(HIGH)
    setting.level[b"m"] = LOW - 1
    setting.looked()
    setting.dealer.wait_asked(HIGH, HIGH - LOW + 1)


def test_what_did_not_come_is_asked_for_again(setting):
    setting.dealer.wait_asked(HIGH)
    setting.dealer.deal(0, error=PeerFailed("the disk is full"))
    setting.dealer.wait_asked(HIGH, HIGH)
    assert "the disk is full" in str(setting.warnings[0])
