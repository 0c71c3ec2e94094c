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

from importlib.metadata import PackageNotFoundError, version

from tacita import errors
from tacita.compiler.report import Report
from tacita.errors import TacitaError
from tacita.program.cost import Cost
from tacita.program.program import Program
from tacita.ring.fixed_point import Precision
from tacita.runtime.worker import VirtualWorker, measure
from tacita.torch import FixedPrecisionTensor, PointerTensor, PrivateTensor, TorchHook
from tacita.torch.whole.explain import Explanation, explain
from tacita.torch.whole.model import Model, SharedModel, export

try:
    __version__ = version("tacita")
except PackageNotFoundError:  # used from a source tree
    __version__ = "0.0.0"

__all__ = [
    "Cost",
    "Explanation",
    "FixedPrecisionTensor",
    "Model",
    "PointerTensor",
    "Precision",
    "PrivateTensor",
    "Program",
    "Report",
    "SharedModel",
    "TacitaError",
    "TorchHook",
    "VirtualWorker",
    "__version__",
    "errors",
    "explain",
    "export",
    "measure",
]
