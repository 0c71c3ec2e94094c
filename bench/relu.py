"""ReLU on a million secret values: dealer and parties on this machine, everything included.

python -m bench.relu [--elements N]
"""

from __future__ import annotations

import argparse

import torch

import tacita as sy
from bench.record import seconds, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1_000_000)
    n = parser.parse_args().elements
    hook = sy.TorchHook(torch)
    alice, bob, dealer = (sy.VirtualWorker(hook, id=name) for name in ("alice", "bob", "dealer"))
    # |ring value| < 2^32, so a sign takes k = 33 bits; and the same with nothing known.
    values = torch.randint(-(2**31), 2**31, (n,))
    shared = values.share(alice, bob, crypto_provider=dealer)
    figures: dict[str, object] = {}
    for name, x in (("k = 33", shared.bounded(2**32 - 1)), ("k = 64", shared)):

        def run(x: torch.Tensor = x) -> None:
            # A new wire each time: what is masked once stays masked.
            torch.relu(x + 0)
            with sy.measure(alice, bob, crypto_provider=dealer):
                pass

        took = seconds(run, 15, warmup=3)
        with sy.measure(alice, bob, crypto_provider=dealer) as traffic:
            result = torch.relu(x + 0)
        wrong = int((result.get() != values.clamp(min=0)).sum())
        figures[name] = {f"ms_{key}": 1e3 * value for key, value in took.items()} | {
            "rounds": traffic.rounds,
            "online_bytes_an_element": traffic.online_bytes / n,
            "dealt_bytes_an_element": traffic.dealt_bytes / n,
            "wrong": wrong,
        }
    values = values.float()
    took = seconds(lambda: torch.relu(values), 15)
    figures["plaintext torch"] = {f"ms_{key}": 1e3 * value for key, value in took.items()}
    for name, figure in figures.items():
        print(name, {k: round(v, 3) for k, v in figure.items()})  # type: ignore[attr-defined]
    print(write("relu", {"elements": n}, figures))


if __name__ == "__main__":
    main()
