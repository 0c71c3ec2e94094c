"""The perceptron of the demo and of the tutorial that it follows."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """784-500-10 with a ReLU between: 397,510 parameters, 397,000 multiply-adds an image.

    The parameters are called as in the demo, so that weights trained there load here.

    Source: the network of PySyft's tutorial "Secure Deep Learning Classification".
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 1, 28, 28] or [B, 784] to scores [B, 10]."""
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x
