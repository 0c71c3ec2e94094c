"""Data for examples, tests and benchmarks, verified: MNIST, CIFAR-10, patients, trained weights.

MNIST has an offline stand-in; the others are there, or an error says how to get them.
"""

from tacita.data import cifar, transforms
from tacita.data.cifar import cifar10
from tacita.data.cleveland import HeartData, heart
from tacita.data.dataset import MNIST
from tacita.data.digits import MEAN, STD, Digits, DigitsLoader, normalise
from tacita.data.sentences import SentenceTokenizer, minilm_weights, minilm_words
from tacita.data.sources import mnist
from tacita.data.weights import resnet20_weights

__all__ = [
    "MEAN",
    "MNIST",
    "STD",
    "Digits",
    "DigitsLoader",
    "HeartData",
    "SentenceTokenizer",
    "cifar",
    "cifar10",
    "heart",
    "minilm_weights",
    "minilm_words",
    "mnist",
    "normalise",
    "resnet20_weights",
    "transforms",
]
