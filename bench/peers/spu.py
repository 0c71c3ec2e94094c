"""SPU of SecretFlow (Ma et al., USENIX ATC 2023): two parties as threads, messages in memory.

    python -m bench.peers.spu NETWORK.npz '{"repeat": 3, "variant": "SEMI2K"}'

Variants, protocols for two:
    SEMI2K   additive shares in Z₂⁶⁴; the first party deals the triples and could read everything
             (SPU's default, "trusted first party"), so dealing is in the time.
    CHEETAH  homomorphic encryption and oblivious transfer, without a dealer (Huang et al., USENIX
             Security 2022): another threat model, and far more work.

Images and weights are secret. Weights are shared beforehand, the program compiled; the time is
from the images to the revealed scores. The parties' threads use all cores, as ours do.

Install, into an environment of its own (it needs NumPy 1): pip install spu
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.child import report
from bench.peers.portable import Portable, agreement, read
from bench.record import spread

WARMUP = 1
VARIANTS = ("SEMI2K", "CHEETAH")
PARTIES = 2
IMAGES = "images"


def network_function(network: Portable) -> Callable[[Any, list[Any]], Any]:
    """The network in JAX, on images and the list of its weights."""
    from jax import lax
    from jax import numpy as jnp

    names = list(network.weights)

    def forward(images: Any, arrays: list[Any]) -> Any:
        weights = dict(zip(names, arrays, strict=True))
        values = {"x": images}
        for step in network.steps:
            x = values[step["x"]]
            match step["kind"]:
                case "convolution":
                    edges = [(side, side) for side in step["padding"]]
                    y = lax.conv_general_dilated(
                        x, weights[step["weight"]], step["stride"], edges,
                        dimension_numbers=("NCHW", "OIHW", "NCHW"),
                    )  # fmt: skip
                    if step["bias"]:
                        y = y + weights[step["bias"]].reshape(1, -1, 1, 1)
                case "linear":
                    y = x @ weights[step["weight"]].T
                    if step["bias"]:
                        y = y + weights[step["bias"]]
                case "relu":
                    y = jnp.maximum(x, 0)
                case "max_pool":
                    edges = [(0, 0), (0, 0), *((side, side) for side in step["padding"])]
                    y = lax.reduce_window(
                        x, -jnp.inf, lax.max, (1, 1, *step["kernel"]), (1, 1, *step["stride"]),
                        edges,
                    )  # fmt: skip
                case "mean":
                    y = x.mean((2, 3), keepdims=True)
                case "add":
                    y = x + values[step["y"]]
                case "flatten":
                    y = x.reshape(x.shape[0], -1)
                case "subsample":
                    y = x[:, :, ::2, ::2]
                case "channels":
                    y = jnp.pad(x, ((0, 0), (step["before"], step["after"]), (0, 0), (0, 0)))
                case kind:
                    raise NotImplementedError(kind)
            values[step["out"]] = y
        return values[network.output]

    return forward


class TwoParties:
    """Runtimes of two parties in this process, with the weights' shares in them."""

    def __init__(self, network: Portable, variant: str) -> None:
        import spu
        from spu.utils import frontend

        self.secret = spu.Visibility.VIS_SECRET
        kind = getattr(spu.ProtocolKind, variant)
        self.config = spu.RuntimeConfig(protocol=kind, field=spu.FieldType.FM64)
        self.io = spu.Io(PARTIES, self.config)
        weights = list(network.weights.values())
        names = [IMAGES, *(f"weight {number}" for number in range(len(weights)))]
        self.program, _ = frontend.compile(
            frontend.Kind.JAX, network_function(network), (network.images, weights), {}, names,
            [self.secret] * len(names), lambda flat: [f"out {n}" for n in range(len(flat))],
        )  # fmt: skip
        about = spu.link.Desc()
        for rank in range(PARTIES):
            about.add_party(f"party {rank}", f"thread {rank}")
        self.pool = ThreadPoolExecutor(PARTIES)
        together = threading.Barrier(PARTIES)

        def runtime(rank: int) -> Any:
            together.wait()  # a link in memory is made when both ask for it
            return spu.Runtime(spu.link.create_mem(about, rank), spu.RuntimeConfig(self.config))

        self.runtimes = self.both(runtime)
        for name, array in zip(names[1:], weights, strict=True):
            self.give(name, array)

    def both(self, work: Callable[[int], Any]) -> list[Any]:
        return list(self.pool.map(work, range(PARTIES)))

    def give(self, name: str, values: Any) -> None:
        shares = self.io.make_shares(np.ascontiguousarray(values), self.secret)
        for runtime, share in zip(self.runtimes, shares, strict=True):
            runtime.set_var(name, share)

    def run(self, images: Any) -> Any:
        """From images to scores."""
        self.give(IMAGES, images)
        (result,) = self.program.output_names

        def party(rank: int) -> Any:
            self.runtimes[rank].run(self.program)
            return self.runtimes[rank].get_var(result)

        return self.io.reconstruct(self.both(party))


def main() -> None:
    import jax
    import spu

    network, settings = read(Path(sys.argv[1])), json.loads(sys.argv[2])
    parties = TwoParties(network, settings["variant"])
    taken = []
    for number in range(WARMUP + settings["repeat"]):
        start = time.perf_counter()
        scores = parties.run(network.images)
        if number >= WARMUP:
            taken.append(time.perf_counter() - start)
    figure = {
        "system": f"SPU {spu.__version__}, {settings['variant']}",
        "versions": {"spu": spu.__version__, "jax": jax.__version__},
        "precision": f"{parties.config.fxp_fraction_bits or 18} bits, FM64",
        "processes": "threads of one process, messages in memory",
        "runs": settings["repeat"],
        "whole_s": spread(taken),
    }
    report(figure | agreement(scores, network.expected))


if __name__ == "__main__":
    main()
