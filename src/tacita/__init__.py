"""Tacita runs PyTorch models on data and weights that nobody but their owners sees.

    import torch
    import tacita

    hook = tacita.TorchHook(torch)
    names = ("alice", "bob", "dealer")
    alice, bob, dealer = (tacita.VirtualWorker(hook, id=name) for name in names)
    x = torch.tensor([1.5, -2.0]).fix_precision().share(alice, bob, crypto_provider=dealer)
    (x * x).get().float_precision()

Any n-1 of the n holders, or the dealer alone, learn nothing but shapes as long as all follow the
protocol and the dealer works with none of the holders.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tacita import errors
from tacita.errors import TacitaError

if TYPE_CHECKING:
    from tacita.client.client import Client
    from tacita.client.remote_worker import RemoteWorker
    from tacita.compiler.report import Report
    from tacita.program.cost import Cost
    from tacita.program.program import Program
    from tacita.ring.fixed_point import Precision
    from tacita.runtime.worker import VirtualWorker, measure
    from tacita.torch import FixedPrecisionTensor, PointerTensor, PrivateTensor, TorchHook
    from tacita.torch.checkpoints import load_private, remove_private, save_private
    from tacita.torch.whole.explain import Explanation, explain
    from tacita.torch.whole.model import Model, SharedModel, export

try:
    __version__ = version("tacita")
except PackageNotFoundError:  # used from a source tree
    __version__ = "0.0.0"

__all__ = [
    "Client",
    "Cost",
    "Explanation",
    "FixedPrecisionTensor",
    "Model",
    "PointerTensor",
    "Precision",
    "PrivateTensor",
    "Program",
    "RemoteWorker",
    "Report",
    "SharedModel",
    "TacitaError",
    "TorchHook",
    "VirtualWorker",
    "__version__",
    "errors",
    "explain",
    "export",
    "load_private",
    "measure",
    "remove_private",
    "save_private",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is: a party's daemon needs no PyTorch, and has none."""
    home: ModuleType
    match name:
        case "Client":
            from tacita.client import client

            home = client
        case "RemoteWorker":
            from tacita.client import remote_worker

            home = remote_worker
        case "Report":
            from tacita.compiler import report

            home = report
        case "Cost":
            from tacita.program import cost

            home = cost
        case "Program":
            from tacita.program import program

            home = program
        case "Precision":
            from tacita.ring import fixed_point

            home = fixed_point
        case "VirtualWorker" | "measure":
            from tacita.runtime import worker

            home = worker
        case "FixedPrecisionTensor" | "PointerTensor" | "PrivateTensor" | "TorchHook":
            from tacita import torch

            home = torch
        case "load_private" | "remove_private" | "save_private":
            from tacita.torch import checkpoints

            home = checkpoints
        case "Explanation" | "explain":
            from tacita.torch.whole import explain

            home = explain
        case "Model" | "SharedModel" | "export":
            from tacita.torch.whole import model

            home = model
        case _:
            raise AttributeError(f"module 'tacita' has no attribute {name!r}")
    found = getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
