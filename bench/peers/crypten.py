"""CrypTen (Knott et al., NeurIPS 2021, arXiv:2109.00984): two processes, gloo between them.

    python -m bench.peers.crypten NETWORK.npz '{"repeat": 3, "variant": "TTP"}'

Variants, CrypTen's providers of correlated randomness:
    TTP  a third process deals, as our dealer does.
    TFP  the first party deals, and could read everything: CrypTen's default, for experiments.

Images belong to the first party, weights to the second; both are encrypted, weights beforehand.
Everything else is in the time, dealing as well, which CrypTen does as it goes. Written with
CrypTen's tensors and not with `crypten.nn.from_pytorch`, which needs an ONNX exporter that torch
no longer has; the layers call the same functions.

Install, into an environment of its own (its declared requirements include a package named
`sklearn` that cannot be installed any more):

    pip install torch numpy omegaconf onnx pyyaml && pip install --no-deps crypten
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.child import report
from bench.peers.portable import Portable, agreement, read
from bench.record import spread

WARMUP = 1
VARIANTS = ("TTP", "TFP")


def crypten() -> Any:
    """The package, under a torch in which a module that it imports goes by another name."""
    old, new = "torch.onnx._internal.registration", "torch.onnx._internal.torchscript_exporter"
    try:
        importlib.import_module(old)
    except ModuleNotFoundError:
        sys.modules[old] = importlib.import_module(f"{new}.registration")
    return importlib.import_module("crypten")


def forward(network: Portable, weights: dict[str, Any], images: Any) -> Any:
    values = {"x": images}
    for step in network.steps:
        x = values[step["x"]]
        match step["kind"]:
            case "convolution":
                stride, padding = tuple(step["stride"]), tuple(step["padding"])
                y = x.conv2d(weights[step["weight"]], stride=stride, padding=padding)
                if step["bias"]:
                    y = y.add(weights[step["bias"]].view(1, -1, 1, 1))
            case "linear":
                y = x.matmul(weights[step["weight"]].t())
                if step["bias"]:
                    y = y.add(weights[step["bias"]])
            case "relu":
                y = x.relu()
            case "max_pool":
                sides = {name: tuple(step[name]) for name in ("stride", "padding")}
                y = x.max_pool2d(tuple(step["kernel"]), **sides)
            case "mean":
                y = x.mean((2, 3), keepdim=True)
            case "add":
                y = x.add(values[step["y"]])
            case "flatten":
                y = x.flatten(start_dim=1)
            case "subsample":
                y = x[:, :, ::2, ::2]
            case "channels":
                y = x.pad((0, 0, 0, 0, step["before"], step["after"]))
            case kind:
                raise NotImplementedError(kind)
        values[step["out"]] = y
    return values[network.output]


def party(network: Portable, repeat: int) -> Callable[[], dict[str, Any]]:
    """What each of the two processes does."""

    def run() -> dict[str, Any]:
        import torch

        package = crypten()
        from crypten import communicator
        from crypten.config import cfg

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
        link = communicator.get()
        images = torch.from_numpy(network.images)
        weights = {
            name: package.cryptensor(torch.from_numpy(array), src=1)
            for name, array in network.weights.items()
        }

        def once() -> Any:
            return forward(network, weights, package.cryptensor(images, src=0)).get_plain_text()

        taken = []
        scores = None
        with torch.no_grad():
            for number in range(WARMUP + repeat):
                link.barrier()
                start = time.perf_counter()
                scores = once()
                if number >= WARMUP:
                    taken.append(time.perf_counter() - start)
            cfg.communicator.verbose = True  # counts, which takes time
            link.reset_communication_stats()
            once()
        counted = link.get_communication_stats()
        assert scores is not None
        return {
            "whole_s": spread(taken),
            "rounds": counted["rounds"],
            "bytes_a_party": counted["bytes"],
        } | agreement(scores.numpy(), network.expected)

    return run


def main() -> None:
    network, settings = read(Path(sys.argv[1])), json.loads(sys.argv[2])
    crypten()
    from crypten import mpc
    from crypten.config import cfg

    cfg.mpc.provider = settings["variant"]
    results = mpc.run_multiprocess(world_size=2)(party(network, settings["repeat"]))()
    if not results:
        raise SystemExit("RuntimeError: a party failed")
    figure = results[0]
    import torch

    report(
        figure
        | {
            "system": f"CrypTen {version('crypten')}, {settings['variant']}",
            "versions": {"crypten": version("crypten"), "torch": torch.__version__},
            "precision": f"{cfg.encoder.precision_bits} bits",
            "processes": "one a party, gloo",
            "runs": settings["repeat"],
        }
    )


if __name__ == "__main__":
    main()
