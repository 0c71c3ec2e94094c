"""The notebook's network, 784-500-10, on MNIST: time, bytes, rounds and agreement.

All parties and the dealer run on this machine; weights and inputs are secret; everything is
included: sharing the inputs, the dealer's work, the parties', and revealing the result.

    python -m bench.secure_mlp [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

import tacita as sy
from bench.record import seconds, write
from tacita.data import mnist
from tacita.protocols.ways import WAYS

BATCH = 128
NOTEBOOK_BATCH = 50
SCALING = (1, 4, 16, 64, 256, 1000)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, 784)
        return self.fc2(F.relu(self.fc1(x)))


def normalized(images: torch.Tensor) -> torch.Tensor:
    return ((images.float() / 255 - 0.1307) / 0.3081).unsqueeze(1)


def trained(digits: tuple[torch.Tensor, torch.Tensor], epochs: int) -> Net:
    torch.manual_seed(1)
    net = Net()
    images, labels = digits
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images), 64):
            batch = order[start : start + 64]
            optimizer.zero_grad()
            F.cross_entropy(net(normalized(images[batch])), labels[batch]).backward()
            optimizer.step()
    return net.eval()


class Bench:
    """Workers, a shared model, and what is measured with them."""

    def __init__(self, net: Net, images: torch.Tensor, labels: torch.Tensor) -> None:
        hook = sy.TorchHook(torch)
        names = ("alice", "bob", "crypto_provider")
        self.alice, self.bob, self.dealer = (sy.VirtualWorker(hook, id=name) for name in names)
        self.net, self.images, self.labels = net, images, labels
        self.protocol = "auto"

    def share(self, value: object, **precision: int) -> object:
        encoded = value.fix_precision(**precision)  # type: ignore[attr-defined]
        return encoded.share(
            self.alice, self.bob, crypto_provider=self.dealer, protocol=self.protocol
        )

    def model(self, **precision: int) -> nn.Module:
        copy = Net()
        copy.load_state_dict(self.net.state_dict())
        return self.share(copy.eval(), **precision)  # type: ignore[return-value]

    def forward(self, model: nn.Module, batch: int, **precision: int) -> Callable[[], None]:
        images = normalized(self.images[:batch])

        def run() -> None:
            with torch.no_grad():
                model(self.share(images, **precision)).get()

        return run

    def score(self, model: nn.Module, batch: int, **precision: int) -> Callable[[], None]:
        images, labels = normalized(self.images[:batch]), self.labels[:batch]

        def run() -> None:
            with torch.no_grad():
                pred = model(self.share(images, **precision)).argmax(dim=1)
                pred.eq(self.share(labels, **precision).view_as(pred)).sum().get()

        return run

    def traffic(self, run: Callable[[], None], batch: int) -> dict[str, float]:
        with sy.measure(self.alice, self.bob, crypto_provider=self.dealer) as traffic:
            run()
        return {
            "rounds": traffic.rounds,
            "online_bytes_a_party_an_image": traffic.online_bytes / batch,
            "dealt_bytes_to_last_party_an_image": traffic.dealt_bytes / batch,
            "dealt_bytes_to_the_others_an_image": traffic.seed_bytes / batch,
            "consulted_bytes_a_party_an_image": traffic.consulted_bytes / batch,
        }

    def agreement(self, batch: int, **precision: int) -> dict[str, float]:
        """Predictions equal to the plaintext model's, over all images."""
        model = self.model(**precision)
        same = right = 0
        with torch.no_grad():
            for start in range(0, len(self.images), batch):
                images = normalized(self.images[start : start + batch])
                shared = self.share(images, **precision)
                private = model(shared).argmax(dim=1).get().float_precision().long()
                same += int((private == self.net(images).argmax(dim=1)).sum())
                right += int((private == self.labels[start : start + batch]).sum())
        return {"equal": same, "right": right, "images": len(self.images)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images and few runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    train, test = mnist(train=True), mnist(train=False)
    images, labels = (torch.as_tensor(v) for v in (test.images, test.labels))
    if quick:
        images, labels = images[:1000], labels[:1000]
    fit = tuple(torch.as_tensor(v) for v in (train.images, train.labels))
    net = trained(fit, epochs=1)  # type: ignore[arg-type]
    bench = Bench(net, images, labels.long())
    runs = 10 if quick else 30
    figures: dict[str, object] = {}
    precisions = {
        "base 10, 3 digits": {},
        "base 2, 12 bits": {"base": 2, "precision_fractional": 12},
        "base 2, 16 bits": {"base": 2, "precision_fractional": 16},
    }
    tasks = (("forward", bench.forward), ("forward, argmax, eq, sum", bench.score))
    for name, precision in precisions.items():
        model = bench.model(**precision)
        for batch in (BATCH, 1):
            for what, make in tasks:
                run = make(model, batch, **precision)
                took = seconds(run, runs if batch > 1 else 5 * runs, warmup=3)
                figure = {f"ms_an_image_{k}": 1e3 * v / batch for k, v in took.items()}
                figures[f"{what}; batch {batch}; {name}"] = figure | bench.traffic(run, batch)
        figures[f"agreement; {name}"] = bench.agreement(500, **precision)
    for bench.protocol in WAYS:
        run = bench.score(bench.model(), NOTEBOOK_BATCH)
        took = seconds(run, runs, warmup=3)
        figure = {f"ms_an_image_{k}": 1e3 * v / NOTEBOOK_BATCH for k, v in took.items()}
        figure |= bench.traffic(run, NOTEBOOK_BATCH) | bench.agreement(500)
        figures[f"the notebook by {bench.protocol}; batch {NOTEBOOK_BATCH}"] = figure
    bench.protocol = "auto"
    model = bench.model(base=2, precision_fractional=16)
    for batch in SCALING:
        took = seconds(bench.forward(model, batch, base=2, precision_fractional=16), runs, warmup=3)
        with torch.no_grad():
            plain = normalized(images[:batch])
            clear = seconds(lambda plain=plain: net(plain), 10 * runs, warmup=3)
        figures[f"scaling; batch {batch}"] = {
            "ms_an_image_median": 1e3 * took["median"] / batch,
            "plaintext_ms_an_image_median": 1e3 * clear["median"] / batch,
        }
    plain = normalized(images[:BATCH])
    with torch.no_grad():
        took = seconds(lambda: net(plain), 10 * runs, warmup=3)
    figures[f"plaintext torch, 1 thread; batch {BATCH}"] = {
        f"ms_an_image_{k}": 1e3 * v / BATCH for k, v in took.items()
    }
    for name, figure in figures.items():
        print(name)
        for key, value in figure.items():  # type: ignore[attr-defined]
            print(f"    {key:40} {value:>14,.{0 if value >= 100 else 4}f}")
    settings = {
        "network": "784-500-10",
        "data": test.source.split(",")[0],
        "runs": runs,
        "images": len(images),
    }
    print(write("secure_mlp", settings, figures))


if __name__ == "__main__":
    main()
