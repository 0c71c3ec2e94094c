"""Operations on a million secret values: dealer and parties on this machine, everything included.

    python -m bench elementwise [--elements N] [--repeat R] [--operations relu,product]

Live: the dealer's work and both parties', from shares to shares. Each run takes new wires, because
what is masked once stays masked; making them costs an addition of zero, which is in the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import tacita
from bench.record import Record, seconds
from tacita.torch.lowering.scales import descaled
from tacita.torch.private_tensor import PrivateTensor

ELEMENTS = 1_000_000
WARMUP = 3
BITS = 16
LIMIT = 2**31  # values are smaller in size, and their differences smaller than twice that


@dataclass(frozen=True)
class Operation:
    """run: on two private tensors; plain: the same in the clear, for torch.
    bound: the operands' size that is declared, or None for the whole ring.
    """

    name: str
    bound: int | None
    run: Callable[[Tensor, Tensor], Tensor]
    plain: Callable[[Tensor, Tensor], Tensor]


def fresh(x: Tensor) -> Tensor:
    return x + 0


OPERATIONS = (
    Operation("addition", None, lambda x, y: x + y, lambda x, y: x + y),
    Operation("product", None, lambda x, y: fresh(x) * fresh(y), lambda x, y: x * y),
    Operation("x < y, 33 bits", LIMIT - 1, lambda x, y: x < y, lambda x, y: x < y),
    Operation("x < y, 64 bits", None, lambda x, y: x < y, lambda x, y: x < y),
    Operation(
        "relu, 33 bits", 2 * LIMIT - 1, lambda x, _: torch.relu(fresh(x)), lambda x, _: x.relu()
    ),
    Operation("relu, 64 bits", None, lambda x, _: torch.relu(fresh(x)), lambda x, _: x.relu()),
    Operation(
        "larger of two, 33 bits",
        LIMIT - 1,
        lambda x, y: torch.maximum(fresh(x), fresh(y)),
        torch.maximum,
    ),
    Operation("x == y, 64 bits", None, lambda x, y: x == y, lambda x, y: x == y),
)


class Bench:
    """Private values of a session, and what operations on them cost."""

    def __init__(self, elements: int, repeat: int) -> None:
        hook = tacita.TorchHook(torch)
        names = ("alice", "bob", "dealer")
        self.alice, self.bob, self.dealer = (tacita.VirtualWorker(hook, id=n) for n in names)
        self.elements, self.repeat = elements, repeat
        torch.manual_seed(1)
        self.x = torch.randint(1 - LIMIT, LIMIT, (elements,))
        self.y = torch.randint(1 - LIMIT, LIMIT, (elements,))
        self.y[::2] = self.x[::2]  # so that some are equal
        self.private = [self.shared(self.x), self.shared(self.y)]

    def shared(self, values: Tensor) -> Any:
        return values.share(  # type: ignore[attr-defined]
            self.alice, self.bob, crypto_provider=self.dealer
        )

    def settle(self) -> None:
        with tacita.measure(self.alice, self.bob, crypto_provider=self.dealer):
            pass

    def figure(self, run: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Any]]:
        """A result, and what it takes to make one."""

        def settled() -> None:
            run()
            self.settle()

        took = seconds(settled, self.repeat, WARMUP, before=self.settle)
        with tacita.measure(self.alice, self.bob, crypto_provider=self.dealer) as traffic:
            result = run()
        return result, {f"ms_{key}": 1e3 * value for key, value in took.items()} | {
            "rounds": traffic.rounds,
            "online_bytes_an_element": traffic.online_bytes / self.elements,
            "dealt_bytes_an_element": traffic.dealt_bytes / self.elements,
        }

    def operation(self, each: Operation) -> dict[str, Any]:
        x, y = self.private
        if each.bound is not None:
            x, y = x.bounded(each.bound), y.bounded(each.bound)
        result, figure = self.figure(lambda: each.run(x, y))
        expected = each.plain(self.x, self.y)
        wrong = int((result.get() != expected).sum())
        took = seconds(lambda: each.plain(self.x, self.y), self.repeat, WARMUP)
        return figure | {"wrong": wrong, "plaintext_ms_median": 1e3 * took["median"]}

    def truncation(self) -> dict[str, Any]:
        """Squares, at the square of the scale, brought back to the scale.

        wrong: results that are neither integer next to the exact quotient.
        """
        values = (torch.rand(self.elements) - 0.5) * 2**12
        encoded = (values.double() * 2**BITS).round().long()
        private = self.shared(
            values.fix_precision(base=2, precision_fractional=BITS)  # type: ignore[attr-defined]
        )
        wide = private * private  # truncation is left to whoever needs it
        self.settle()

        def run() -> Tensor:
            squares = fresh(wide)
            low = squares._lowering
            (handle,) = descaled(low, [squares._handle], "the benchmark")
            low.builder.flush()
            return PrivateTensor(handle, low)

        result, figure = self.figure(run)
        # The ring's elements: as reals they would be rounded to float32.
        elements = result._lowering.builder.reveal(result._handle).view("int64")
        above = torch.from_numpy(elements) - ((encoded * encoded) >> BITS)
        return figure | {"wrong": int(((above != 0) & (above != 1)).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=ELEMENTS)
    parser.add_argument("--repeat", type=int, default=15, help="runs that count, after a warm-up")
    parser.add_argument("--operations", default="", help="only those whose name has one of these")
    parser.add_argument("--quick", action="store_true", help="three runs")
    options = parser.parse_args()
    torch.set_num_threads(1)  # of the plaintext beside it
    bench = Bench(options.elements, 3 if options.quick else options.repeat)
    settings = {"elements": bench.elements, "runs": bench.repeat, "warm-up runs": WARMUP}
    record = Record("elementwise", settings)
    wanted = [word for word in options.operations.split(",") if word]
    work: dict[str, Callable[[], dict[str, Any]]] = {
        each.name: lambda each=each: bench.operation(each) for each in OPERATIONS
    }
    work[f"truncation by 2^{BITS}"] = bench.truncation
    print(f"{bench.elements:,} elements; medians\n")
    print(f"{'':26}{'ms':>9}{'rounds':>8}{'online B':>10}{'dealt B':>10}{'torch ms':>10}  wrong")
    for name, measured in work.items():
        if wanted and not any(word in name for word in wanted):
            continue
        figure = measured()
        record.add(name, figure)
        plain = figure.get("plaintext_ms_median")
        print(
            f"{name:26}{figure['ms_median']:9.1f}{figure['rounds']:8}"
            f"{figure['online_bytes_an_element']:10.2f}{figure['dealt_bytes_an_element']:10.2f}"
            f"{'-' if plain is None else f'{plain:.2f}':>10}  {figure['wrong']}",
            flush=True,
        )
    print(f"\n{record}")


if __name__ == "__main__":
    main()
