"""Exact enumeration: what a role sees of a protocol, for every outcome of all random draws.

Protocols work element by element, so ONE run over N elements goes through all N assignments of its
random draws: element e takes its draws from the digits of e, binary ones for bits. `taped` has the
dealer and the two parties of such a run; protocols run on them as they are. A draw of size k·N
gives each of the N columns k values, a bit plane's each column's bits.

The rings are tiny, by one of two embeddings, which a `Grain` names:
- low bits: values in [0, 2^b), of which everything seen is reduced mod 2^b. Reduction is a ring
  homomorphism of Z_2^64, so it commutes with all that a protocol adds and multiplies, and with its
  low bits; the reduced run is the protocol over Z_2^b.
- top bits: v stands for v << (64 - b). That is additive and keeps the order, and a comparison that
  leaves the 64 - b low bits out sees just v; the ordinary 64-bit code is the protocol over Z_2^b.
A dealt share may have fewer bits than the value it hides: then both are seen mod 2^b only, which
again is a homomorphism and so can only blur the view; with b bits it is not blurred where they are
compared. (What a homomorphism hides is a correction's upper bits. They are covered because every
correction is seen to be `value - share` for a share that is drawn for it alone.)

`check_everything` compares, for each party and each share that it may have of the input, the
multiset of its views over all draws of everybody: they must be the same for all secrets. A view is
the party's draws, the dealer's corrections and answers, and all that is opened. What the parties
draw alike is fixed, in one way after the other: it is known to both.

`check_openings` is for protocols with too many draws for that. It fixes a party's own draws and
corrections, enumerates all masks of its peer, and compares the multisets of openings. Together
with the corrections' form, `value - share`, that says the same: corrections are uniform whatever
the value, and given them and all of one's own draws, the openings' distribution is the same.

`check_dealer` is for protocols that tell the dealer something. It fixes all that the dealer knows,
enumerates all that the parties draw alike, and compares the multisets of what it is told.

Either way for two parties. Of three, two that pool what they saw hold the sums of their shares and
draws: the same view as one party of two has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import product
from math import lcm, prod

import numpy as np
from scenes import LEAST_ELEMENTS, Scene, Secret, arrange, columns_of
from taped import ALICE, BOB, DEALER, PARTIES, LeakError, Run, TapedDealer, TapedParty, View

from tacita.program.instruction import Instruction
from tacita.program.readings import Consultation, Opening

MOST_OUTCOMES = 1 << 22  # of all draws together


def run_scene(
    scene: Scene, secret: Secret, shares: tuple[Secret, Secret], n: int, own: int | None, seed: int
) -> Run:
    """Deals and evaluates the scene's program on one sharing of one secret."""
    run = Run(scene, n, own, seed)
    program = scene.program(n)
    # The dealer is done before there is any input, so nothing that it sends depends on one.
    for instruction in program:
        instruction.deal(TapedDealer(run))
    parties = []
    for role in PARTIES:
        values = deque(scene.grain.place(np.full(n, v, np.uint64)) for v in shares[role])
        wires = {
            wire: arrange([values.popleft() for _ in range(prod(shape) // n)], shape)
            for wire, shape in enumerate(scene.inputs(n))
        }
        parties.append(TapedParty(run, role, wires, {}))
    for instruction in program:
        evaluate_together(run, instruction, parties)
    run.check_spent()
    check_result(scene, secret, run, parties)
    return run


def evaluate_together(run: Run, instruction: Instruction, parties: list[TapedParty]) -> None:
    steps = [instruction.evaluate(party) for party in parties]
    opened: list[np.ndarray] | None = None
    while True:
        openings: list[list[Opening | Consultation] | None] = []
        for step in steps:
            try:
                openings.append(next(step) if opened is None else step.send(opened))
            except StopIteration:
                openings.append(None)
        if openings == [None, None]:
            return
        assert None not in openings, "one party has more rounds than the other"
        opened = run.open(openings)


def check_result(scene: Scene, secret: Secret, run: Run, parties: list[TapedParty]) -> None:
    """That what was enumerated is the protocol: it computes what it should, for all draws."""
    expected = scene.result(secret)
    if expected is None:
        return
    columns = [
        column
        for wire in scene.outputs
        for column in columns_of(parties[ALICE].share(wire) + parties[BOB].share(wire), run.n)
    ]
    ring = (1 << scene.result_bits) - 1
    for column, value in zip(columns, expected, strict=True):
        assert np.all(column & np.uint64(ring) == np.uint64(value & ring)), f"wrong for {secret}"


def outcomes(scene: Scene, own: int | None) -> int:
    """How many assignments of the enumerated draws there are."""
    if own == DEALER:  # what the parties draw alike they draw when they evaluate
        secret = (0,) * scene.columns
        return run_scene(scene, secret, (secret, secret), LEAST_ELEMENTS, own, 0).tape.outcomes
    run = Run(scene, LEAST_ELEMENTS, own, 0)
    for instruction in scene.program(LEAST_ELEMENTS):
        instruction.deal(TapedDealer(run))
    return run.tape.outcomes


def elements(scene: Scene, own: int | None) -> int:
    count = outcomes(scene, own)
    if count > MOST_OUTCOMES:
        raise ValueError(f"{count} outcomes are too many to enumerate")
    return lcm(count, LEAST_ELEMENTS)


def other_share(scene: Scene, secret: Secret, share: Secret) -> Secret:
    return tuple((v - s) % (1 << scene.grain.bits) for v, s in zip(secret, share, strict=True))


def some_share(scene: Scene, *seed: int) -> Secret:
    generator, bound = np.random.default_rng(seed), 1 << scene.grain.bits
    return tuple(int(v) for v in generator.integers(bound, size=scene.columns))


def compare(seen: dict, key: Hashable, view: View, secret: Secret) -> None:
    first, digest = seen.setdefault(key, (secret, view.digest()))
    if digest != view.digest():
        raise LeakError(f"secrets {first} and {secret} give different views, for {key}")


def check_everything(scene: Scene, own_shares: int | None = None, commons: int = 1) -> int:
    """All draws of all roles, all secrets; all shares of the input, or so many of each party's.

    commons: in how many ways what the parties draw alike is fixed.
    Returns how many runs of how many elements that were, in elements.
    """
    n = elements(scene, None)
    shares = list(scene.secrets())
    some = shares if own_shares is None else shares[:: max(1, len(shares) // own_shares)]
    seen: dict = {}
    count = 0
    for secret in scene.secrets():
        sharings = {(share, other_share(scene, secret, share)) for share in some}
        if own_shares is not None:
            sharings |= {(b, a) for a, b in sharings}
        for sharing, fixed in product(sorted(sharings), range(commons)):
            run = run_scene(scene, secret, sharing, n, None, fixed)
            for role in PARTIES:
                key = (role, sharing[role], fixed, scene.learned(secret))
                if sharing[role] in some:
                    compare(seen, key, run.views[role], secret)
            count += n
    return count


def check_openings(scene: Scene, materials: int = 4) -> int:
    """All masks of the peer, all secrets, for some draws, corrections and shares of one's own.

    Returns how many runs of how many elements that were, in elements.
    """
    count = 0
    for own in PARTIES:
        n = elements(scene, own)
        for seed in range(materials):
            share = some_share(scene, seed, own)
            seen: dict = {}
            for secret in scene.secrets():
                rest = other_share(scene, secret, share)
                sharing = (share, rest) if own == ALICE else (rest, share)
                run = run_scene(scene, secret, sharing, n, own, seed)
                compare(seen, scene.learned(secret), run.views[own], secret)
                count += n
    return count


def check_dealer(scene: Scene, materials: int = 4) -> int:
    """All that the parties draw alike, all secrets, for some draws that the dealer knows.

    Returns how many runs of how many elements that were, in elements.
    """
    n, count = elements(scene, DEALER), 0
    for seed in range(materials):
        share = some_share(scene, seed, DEALER)
        seen: dict = {}
        for secret in scene.secrets():
            sharing = (share, other_share(scene, secret, share))
            run = run_scene(scene, secret, sharing, n, DEALER, seed)
            compare(seen, scene.learned(secret), run.views[DEALER], secret)
            count += n
    return count
