"""Data for examples, tests and benchmarks: MNIST, verified, with an offline stand-in."""

from tacita.data import transforms
from tacita.data.dataset import MNIST
from tacita.data.digits import MEAN, STD, Digits, DigitsLoader, normalise
from tacita.data.sources import mnist

__all__ = ["MEAN", "MNIST", "STD", "Digits", "DigitsLoader", "mnist", "normalise", "transforms"]
