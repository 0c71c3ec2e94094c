"""Data for examples, tests and benchmarks, verified: MNIST, CIFAR-10 and trained weights.

MNIST has an offline stand-in; the others are there, or an error says how to get them.
"""

from tacita.data import cifar, transforms
from tacita.data.cifar import cifar10
from tacita.data.dataset import MNIST
from tacita.data.digits import MEAN, STD, Digits, DigitsLoader, normalise
from tacita.data.sources import mnist
from tacita.data.weights import resnet20_weights

__all__ = [
    "MEAN",
    "MNIST",
    "STD",
    "Digits",
    "DigitsLoader",
    "cifar",
    "cifar10",
    "mnist",
    "normalise",
    "resnet20_weights",
    "transforms",
]
