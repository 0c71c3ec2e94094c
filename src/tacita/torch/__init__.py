"""The torch layer: private tensors, the aten table, and PySyft's methods."""

from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.hook import TorchHook
from tacita.torch.pointer_tensor import PointerTensor
from tacita.torch.private_tensor import PrivateTensor

__all__ = ["FixedPrecisionTensor", "PointerTensor", "PrivateTensor", "TorchHook"]
