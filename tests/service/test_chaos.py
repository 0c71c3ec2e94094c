"""Daemons that are killed (SIGKILL) at points drawn from a seed, and started again.

Whatever was going on ends, with an error or rightly; afterwards queries work and are right; and no
batch was ever used twice, by the notes of both parties and by their ledgers.

A handful of points by default. TACITA_CHAOS_POINTS=200 has that many, of TACITA_CHAOS_SEED (1), in
some twenty minutes: run it alone, with `--timeout 0`.
"""

import os
import random
from contextlib import suppress

import pytest
from doomed import points_of

from tacita.errors import TacitaError
from tacita.service.config import Limits, StockSettings

from .doomed_network import Died, DoomedNetwork
from .small_model import small

COUNT = int(os.environ.get("TACITA_CHAOS_POINTS", "4"))
SEED = int(os.environ.get("TACITA_CHAOS_SEED", "1"))
A_NETWORK = 25  # points for each network
LIMITS = Limits(round=5, query=7, publish=7, deal=5, stock=8, connect=3, handshake=5)
STOCK = StockSettings(low=2, high=2, prepared=1)


def chosen(count, seed):
    """Points: who dies, while what is going on, at which call of which function."""
    draw = random.Random(seed)
    points = []
    for number in range(count):
        name = ("alice", "bob", "dana")[number % 3]
        phase = draw.choices(["query", "publish"], [3, 1])[0]
        point, (_, _, most) = draw.choice(sorted(points_of(name, phase).items()))
        points.append((name, phase, point, draw.randint(1, most), draw.choice(["before", "after"])))
    return points


POINTS = chosen(COUNT, SEED)


@pytest.mark.parametrize("first", range(0, COUNT, A_NETWORK))
def test_daemons_that_are_killed(tmp_path, first):
    model = small()
    network = DoomedNetwork(tmp_path, stock=STOCK, limits=LIMITS).start()
    reached, points = 0, POINTS[first : first + A_NETWORK]
    try:
        network.publish("small", model.program, model.weights)
        ask(network, model)
        for name, phase, point, number, when in points:
            network.doom(name, point, number, when)
            try:
                if phase == "publish":
                    network.publish("small", model.program, model.weights)
                else:
                    ask(network, model)
            except (TacitaError, Died):
                pass  # anything else fails the test, as does what hangs
            # Batches are prepared and dealt after a query; the next one has that happen again.
            if not network.died(name, 0.3):
                with suppress(TacitaError, Died):
                    ask(network, model)
            reached += network.died(name, 1)
            network.restart(name)
            if phase == "publish":
                network.publish("small", model.program, model.weights)
            ask(network, model)
            ask(network, model)
    except Exception as error:
        error.add_note(f"at {name}: {when} call {number} of {point!r} while {phase}")
        raise
    finally:
        network.stop()
    # What a point is drawn for may not happen so often: then the daemon dies at its restart.
    assert reached >= len(points) // 2
    assert network.check_uses() >= 2 * len(points)


def ask(network, model):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images))
    model.require_right(result, images)
