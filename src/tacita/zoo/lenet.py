"""LeNet for MNIST, at the widths that papers on secure inference measure."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """Two convolutions and two linear layers: 431,080 parameters, 2,293,000 multiply-adds an image.

    | layer | output | multiply-adds |
    |---|---|---|
    | convolution 5×5, ReLU | 20×24×24 | 288,000 |
    | max-pool 2×2 | 20×12×12 | |
    | convolution 5×5, ReLU | 50×8×8 | 1,600,000 |
    | max-pool 2×2 | 50×4×4 | |
    | linear 800 → 500, ReLU | 500 | 400,000 |
    | linear 500 → 10 | 10 | 5,000 |

    Papers often pool before the ReLU, which needs a quarter of the ReLUs. ReLU never changes an
    order, so both ways are the same function; this is the usual way of writing it.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition" (1998), with the channels 20 and 50 and the ReLU of later re-implementations, as
    in Wagh et al., "Falcon" (PoPETs 2021).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 1, 28, 28] to scores [B, 10]."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x
