"""Processes that spend batches as fast as they can, and are killed while they do."""

import multiprocessing
import os
import random
import time
from pathlib import Path

from tacita.errors import MaskReused
from tacita.service.ledger import Ledger

MODEL, PROGRAM = b"m" * 16, b"p" * 32
LIMIT = 90  # seconds; reached only where something hangs


def fresh():
    return os.urandom(16)


def filled(url, count, party="alice"):
    """A ledger with so many ready batches, and their ids."""
    ledger = Ledger(url, party=party)
    batches = [fresh() for _ in range(count)]
    for batch in batches:
        ledger.enter(batch, MODEL, PROGRAM)
        ledger.ready(batch)
    return ledger, batches


def spend_all(url, won):
    """A process: spends what it can, and notes in a file what it was given, as if to use it."""
    ledger = Ledger(url, party="alice")
    notes = os.open(won, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while not ended(won).exists():
        waiting = ledger.waiting(MODEL)
        if not waiting:
            time.sleep(0.01)
            continue
        batch = random.choice(waiting[:4])  # so that racers meet at the same ones
        try:
            ledger.spend(batch, str(os.getpid()))
        except MaskReused:
            continue
        os.write(notes, batch.hex().encode() + b"\n")


def ended(won):
    return Path(f"{won}.ended")


def used(won):
    return Path(won).read_text().split() if Path(won).exists() else []


def race_and_kill(url, won, *, kills, seed):
    """Two processes at a time; one is killed wherever it is and replaced, as often as is said.

    won: a path. Checks that nothing was used twice, or used and is not spent for good.
    """
    chance = random.Random(seed)
    ledger, batches = filled(url, 40)
    running = [start(url, won), start(url, won)]
    for _ in range(kills):
        # Before the stock is filled up, so that it has that many, however fast they are.
        due = len(used(won)) + chance.randrange(1, 8)
        more = [fresh() for _ in range(40 - ledger.level(MODEL))]
        for batch in more:
            ledger.enter(batch, MODEL, PROGRAM)
            ledger.ready(batch)
        batches += more
        wait_until(lambda due=due: len(used(won)) >= due, running)
        time.sleep(chance.random() / 200)  # somewhere within a transaction
        victim = running.pop(0)
        victim.kill()
        victim.join(LIMIT)
        assert victim.exitcode == -9
        running.append(start(url, won))
    wait_until(lambda: ledger.level(MODEL) == 0, running)
    ended(won).touch()
    for each in running:
        each.join(LIMIT)
        assert each.exitcode == 0
    ledger.close()
    check(Ledger(url, party="alice"), batches, used(won), lost=kills)


def check(ledger, batches, taken, *, lost):
    """lost: how many may be spent that nobody got to use."""
    assert len(set(taken)) == len(taken)
    assert set(ledger.states(batches).values()) == {"spent"}
    assert len(batches) - lost <= len(taken) <= len(batches)
    for batch in batches:
        try:
            ledger.spend(batch, "late")
        except MaskReused:
            continue
        raise AssertionError("spent twice")
    ledger.close()


def start(url, won):
    """A process without pytest in it, whose imports are done already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tacita.service.ledger"])
    process = context.Process(target=spend_all, args=(url, str(won)), daemon=True)
    process.start()
    return process


def wait_until(true, running):
    until = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < until
        assert all(each.is_alive() for each in running)
        time.sleep(0.0005)
