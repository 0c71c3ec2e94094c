"""Protocols, one a file, each in four readings; and the list of instructions that may be sent."""

from tacita.protocols.boundary import Constant, Forget, Input, Reveal
from tacita.protocols.check import WithinBound
from tacita.protocols.compare import NonNegative
from tacita.protocols.convolution import Convolution, PublicConvolution
from tacita.protocols.equal import Zero
from tacita.protocols.exponential import Exponential
from tacita.protocols.extremum import Extremum
from tacita.protocols.linear import Combine, Concatenate, PublicProduct, Sum
from tacita.protocols.mask import MaskWires
from tacita.protocols.one_hot import OneHot
from tacita.protocols.product import Product
from tacita.protocols.ramps import Ramps
from tacita.protocols.ranks import Ranks
from tacita.protocols.relu import ReLU
from tacita.protocols.staircase import Staircase
from tacita.protocols.truncate import Truncate
from tacita.protocols.views import Expand, Gather, Pad, Permute, Reshape, Slice, Take
from tacita.protocols.waves import Waves

# What a role decodes: an instruction that is not listed here is refused.
AnyInstruction = (
    Combine
    | Concatenate
    | Constant
    | Convolution
    | Expand
    | Exponential
    | Extremum
    | Forget
    | Gather
    | Input
    | MaskWires
    | NonNegative
    | OneHot
    | Pad
    | Permute
    | Product
    | PublicConvolution
    | PublicProduct
    | Ramps
    | Ranks
    | ReLU
    | Reshape
    | Reveal
    | Slice
    | Staircase
    | Sum
    | Take
    | Truncate
    | Waves
    | WithinBound
    | Zero
)

__all__ = [
    "AnyInstruction",
    "Combine",
    "Concatenate",
    "Constant",
    "Convolution",
    "Expand",
    "Exponential",
    "Extremum",
    "Forget",
    "Gather",
    "Input",
    "MaskWires",
    "NonNegative",
    "OneHot",
    "Pad",
    "Permute",
    "Product",
    "PublicConvolution",
    "PublicProduct",
    "Ramps",
    "Ranks",
    "ReLU",
    "Reshape",
    "Reveal",
    "Slice",
    "Staircase",
    "Sum",
    "Take",
    "Truncate",
    "Waves",
    "WithinBound",
    "Zero",
]
