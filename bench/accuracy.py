"""ResNet-20 on CIFAR-10's images: how often the private network answers as the plaintext one does.

    python -m bench accuracy [--bits 12,14,16] [--real 16] [--images 2000] [--batch 100]

At each precision the program's plain reading, which computes what the parties would, up to the
rounding that they do at random; and for one precision the run of two parties and a dealer.

Bounds are calibrated on images that are not judged with them: those of the second half for the
first half, and the other way round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import tacita
from bench.networks import numbers
from bench.record import Record, spread
from tacita import data, zoo
from tacita.data import cifar

SAMPLES = 256
Answer = Callable[[tacita.Model, Tensor], Tensor]


class Judge:
    """Counts agreement with the plaintext network, and with the labels."""

    def __init__(self) -> None:
        self.images = self.equal = self.right = self.right_in_plaintext = 0
        self.largest_difference = 0.0
        self.seconds_an_image: list[float] = []

    def hear(self, scores: Tensor, expected: Tensor, labels: Tensor, took: float) -> None:
        classes, plain = scores.argmax(1), expected.argmax(1)
        self.images += len(labels)
        self.equal += int((classes == plain).sum())
        self.right += int((classes == labels).sum())
        self.right_in_plaintext += int((plain == labels).sum())
        off = float((scores - expected).abs().max())
        self.largest_difference = max(self.largest_difference, off)
        self.seconds_an_image.append(took / len(labels))

    def figure(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "equal_classes": self.equal / self.images,
            "accuracy": self.right / self.images,
            "accuracy_in_plaintext": self.right_in_plaintext / self.images,
            "largest_difference": self.largest_difference,
            "seconds_an_image": spread(self.seconds_an_image),
        }


def previewed(model: tacita.Model) -> Callable[[Tensor], Tensor]:
    return model.preview


def run_by_two(model: tacita.Model) -> Callable[[Tensor], Tensor]:
    """Everything as it goes, from the images to the revealed scores; weights are shared once."""
    hook = tacita.TorchHook(torch)
    alice, bob, dealer = (tacita.VirtualWorker(hook, id=n) for n in ("alice", "bob", "dealer"))
    shared = model.share(alice, bob, crypto_provider=dealer)
    return lambda images: shared(images).get().float_precision()


def judged(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    batch: int,
    bits: int,
    answering: Callable[[tacita.Model], Callable[[Tensor], Tensor]],
) -> dict[str, Any]:
    """The figure for one precision and one way to run it."""
    judge = Judge()
    half = len(images) // 2
    halves = (slice(0, half), slice(half, 2 * half))
    for these, others in (halves, halves[::-1]):
        model = tacita.export(
            module,
            images[these][:batch],
            precision=tacita.Precision(base=2, digits=bits),
            samples=images[others][:SAMPLES],
        )
        answer = answering(model)
        for part, truth in zip(images[these].split(batch), labels[these].split(batch), strict=True):
            with torch.no_grad():
                expected = module(part)
            start = time.perf_counter()
            scores = answer(part)
            judge.hear(scores, expected, truth, time.perf_counter() - start)
    return judge.figure()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bits", type=numbers, default=[12, 14, 16], help="for the plain reading")
    parser.add_argument("--real", type=numbers, default=[16], help="for the run of two parties")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="100 images, 16 bits")
    options = parser.parse_args()
    if options.quick:
        options.images, options.bits, options.real = 100, [16], [16]
    if options.images < 2 * options.batch or options.images % (2 * options.batch):
        parser.error("--images is to be a multiple of two batches")
    torch.set_num_threads(1)  # of the plaintext beside it
    pictures, labels = data.cifar10(options.images)
    images = cifar.normalised(pictures)
    module = zoo.network("resnet20")
    module.load_state_dict(data.resnet20_weights())
    module.eval()
    settings = {
        "network": "resnet20, trained on CIFAR-10 by Y. Idelbayev",
        "images": options.images,
        "batch": options.batch,
        "samples": f"{min(SAMPLES, options.images // 2)} of the half that is not judged",
    }
    record = Record("accuracy", settings)
    print(f"{'':32}{'equal':>9}{'accuracy':>10}{'in clear':>10}{'off by':>10}{'ms/image':>10}")
    ways = [(bits, "plain reading", previewed) for bits in options.bits]
    ways += [(bits, "two parties", run_by_two) for bits in options.real]
    for bits, way, answering in ways:
        figure = judged(module, images, labels, options.batch, bits, answering)
        name = f"{way}, {bits} bits"
        record.add(name, figure)
        print(
            f"{name:32}{figure['equal_classes']:>9.2%}{figure['accuracy']:>10.2%}"
            f"{figure['accuracy_in_plaintext']:>10.2%}{figure['largest_difference']:>10.1e}"
            f"{1e3 * figure['seconds_an_image']['median']:>10.1f}",
            flush=True,
        )
    print(f"\n{record}")


if __name__ == "__main__":
    main()
