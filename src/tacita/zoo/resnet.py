"""Residual networks: ResNet-18 and -50 for photographs, ResNet-18 and -20 for 32×32 images.

Parameters are called as in the checkpoints that exist: torchvision's for ResNet-18 and -50,
Idelbayev's for ResNet-20.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016); initial
weights after the same authors' "Delving deep into rectifiers" (ICCV 2015).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Subsample(nn.Module):
    """Shortcut "A" of the paper: every other row and column, and zeros for the new channels.

    It has no parameters. Half of the zeros come before the old channels and half after them, which
    is where the trained ResNet-20 expects them.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ⌈H/2⌉, ⌈W/2⌉]."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width but for its stride; batch norm has the bias."""
    return nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """Shortcut "B": a 1×1 convolution where the shape changes, else None for the input itself."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, and a shortcut around them (`downsample`; None for the input itself).

    [B, inputs, H, W] becomes [B, width, H/stride, W/stride].
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + shortcut)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, and a shortcut around them; four times as wide outside.

    [B, inputs, H, W] becomes [B, 4·width, H/stride, W/stride]. The stride is that of the 3×3
    convolution, as in torchvision; in the paper it is that of the first 1×1 convolution, which
    skips three quarters of its input.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


class ResNet(nn.Module):
    """Four stages of blocks, at widths 64, 128, 256 and 512, with projections as shortcuts.

    Args:
        block: what the stages are made of.
        depths: the number of blocks in each of the four stages.
        classes: the number of scores.
        small: for images of 32×32: a 3×3 convolution in front, in place of one of 7×7 with
            stride 2 and a max-pool, which would leave 8×8.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        classes: int,
        small: bool = False,
    ) -> None:
        super().__init__()
        if small:
            self.conv1 = _convolution(3, 64, 3)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = _convolution(3, 64, 7, stride=2)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(64)

        def stage(inputs: int, width: int, depth: int, stride: int) -> nn.Sequential:
            outputs = width * block.expansion
            first = block(inputs, width, stride, _projection(inputs, outputs, stride))
            return nn.Sequential(first, *(block(outputs, width, 1, None) for _ in range(1, depth)))

        self.layer1 = stage(64, 64, depths[0], stride=1)
        self.layer2 = stage(64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = stage(128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = stage(256 * block.expansion, 512, depths[3], stride=2)
        self.fc = nn.Linear(512 * block.expansion, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] to scores [B, classes]."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        x = self.fc(x)
        return x


class CifarResNet(nn.Module):
    """The paper's networks for CIFAR-10: three stages, at widths 16, 32 and 64, shortcuts "A".

    Args:
        depth: the number of blocks in each stage; the network has 6·depth + 2 layers.
        classes: the number of scores.
    """

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)

        def stage(inputs: int, width: int) -> nn.Sequential:
            if inputs == width:
                first = BasicBlock(inputs, width, 1, None)
            else:
                first = BasicBlock(inputs, width, 2, Subsample(inputs, width))
            return nn.Sequential(
                first, *(BasicBlock(width, width, 1, None) for _ in range(1, depth))
            )

        self.layer1 = stage(16, 16)
        self.layer2 = stage(16, 32)
        self.layer3 = stage(32, 64)
        self.linear = nn.Linear(64, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, 32, 32] to scores [B, classes]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        x = self.linear(x)
        return x


def resnet20(classes: int = 10) -> CifarResNet:
    """ResNet-20 for CIFAR-10: 269,722 parameters, 40,551,040 multiply-adds an image of 32×32.

    Idelbayev's trained weights (`tacita.data.resnet20_weights`) load into it.
    """
    return CifarResNet(3, classes)


def resnet18_32(classes: int = 10) -> ResNet:
    """ResNet-18 for images of 32×32: 11,173,962 parameters, 555,422,720 multiply-adds an image."""
    return ResNet(BasicBlock, (2, 2, 2, 2), classes, small=True)


def resnet18(classes: int = 1000) -> ResNet:
    """ResNet-18: 11,689,512 parameters, 1,814,073,344 multiply-adds an image of 224×224.

    Checkpoints of torchvision load into it.
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), classes)


def resnet50(classes: int = 1000) -> ResNet:
    """ResNet-50: 25,557,032 parameters, 4,089,184,256 multiply-adds an image of 224×224.

    Checkpoints of torchvision load into it.
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), classes)


def _initialise(network: nn.Module) -> None:
    """Convolutions so that ReLUs keep the gradients' scale; the rest is torch's default."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
