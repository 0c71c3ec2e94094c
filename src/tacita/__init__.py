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
from tacita.errors import TacitaError
from tacita.ring.fixed_point import Precision
from tacita.runtime.worker import VirtualWorker, measure
from tacita.torch import FixedPrecisionTensor, PointerTensor, PrivateTensor, TorchHook

try:
    __version__ = version("tacita")
except PackageNotFoundError:  # used from a source tree
    __version__ = "0.0.0"

__all__ = [
    "FixedPrecisionTensor",
    "PointerTensor",
    "Precision",
    "PrivateTensor",
    "TacitaError",
    "TorchHook",
    "VirtualWorker",
    "__version__",
    "errors",
    "measure",
]
