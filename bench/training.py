"""One step of training on secret images with secret weights, and how the loss follows.

SGD and a mean squared error, batch 128, base 2 with 16 bits. A step is sharing the batch, forward,
backward and the update of the weights; dealing is included. CPU time is of all roles together.

    python -m bench.training [--quick]
"""

from __future__ import annotations

import argparse
import resource
import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

import tacita as sy
from bench.record import write
from tacita.data import mnist

BATCH = 128
BITS = {"base": 2, "precision_fractional": 16}
NETWORKS = ((784, 500, 10), (784, 128, 64, 10))
RATE = 0.1


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    data = mnist(train=True)
    images = torch.as_tensor(data.images[: count * BATCH]).float().view(-1, 784) / 255
    classes = F.one_hot(torch.as_tensor(data.labels[: count * BATCH]).long(), 10).float()
    return list(zip(images.split(BATCH), classes.split(BATCH), strict=True))


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def figure(sizes: tuple[int, ...], steps: int, workers: list[sy.VirtualWorker]) -> dict[str, float]:
    alice, bob, dealer = workers

    def share(value: object, **options: bool) -> object:
        encoded = value.fix_precision(**BITS)  # type: ignore[attr-defined]
        return encoded.share(alice, bob, crypto_provider=dealer, **options)

    private: nn.Module = share(network(sizes), requires_grad=True)  # type: ignore[assignment]
    clear = network(sizes)
    optimizers = [torch.optim.SGD(each.parameters(), lr=RATE) for each in (private, clear)]
    session = next(private.parameters())._lowering.builder  # type: ignore[attr-defined]
    took, apart = [], 0.0
    before = 0.0
    for i, (x, y) in enumerate(batches(steps)):
        if i == 3:
            before = cpu()
        start = time.perf_counter()
        loss = step(private, optimizers[0], share(x), share(y))  # type: ignore[arg-type]
        session.settle()
        took.append(time.perf_counter() - start)
        wanted = step(clear, optimizers[1], x, y)
        apart = max(apart, abs(float(loss.get().float_precision()) - float(wanted)))  # type: ignore[attr-defined]
    spent = (cpu() - before) / (steps - 3)
    with sy.measure(alice, bob, crypto_provider=dealer) as traffic:
        step(private, optimizers[0], share(x), share(y)).get()  # type: ignore[arg-type,attr-defined]
    took = sorted(took[3:])
    return {
        "ms_a_step_median": 1e3 * took[len(took) // 2],
        "ms_a_step_min": 1e3 * took[0],
        "cpu_ms_a_step": 1e3 * spent,
        "rounds_a_step": traffic.rounds,
        "online_bytes_a_party": traffic.online_bytes,
        "dealt_bytes_to_last_party": traffic.dealt_bytes,
        "largest_difference_of_losses": apart,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps")
    steps = 20 if parser.parse_args().quick else 200
    torch.set_num_threads(1)
    hook = sy.TorchHook(torch)
    workers = [sy.VirtualWorker(hook, id=name) for name in ("alice", "bob", "crypto_provider")]
    figures: dict[str, object] = {}
    for sizes in NETWORKS:
        figures["-".join(map(str, sizes))] = figure(sizes, steps, workers)
    for name, found in figures.items():
        print(name)
        for key, value in found.items():  # type: ignore[attr-defined]
            print(f"    {key:40} {value:>14,.6g}")
    print(write("training", {"batch": BATCH, "steps": steps, "rate": RATE, **BITS}, figures))


if __name__ == "__main__":
    main()
