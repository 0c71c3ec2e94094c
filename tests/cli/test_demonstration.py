"""The model of `tacita up`."""

import os

import torch

from tacita.cli import demonstration
from tacita.cli.demonstration import ROWS


def test_without_data_the_weights_are_random_and_said_to_be(monkeypatch):
    monkeypatch.setenv("TACITA_DATA", os.devnull)
    made = demonstration.demonstration()
    assert made.labels is None
    assert made.source == "random weights, random images"
    assert made.input.shape == (ROWS, 1, 28, 28)
    assert made.model.preview(made.input).shape == (ROWS, 10)


def test_with_data_it_is_trained_on_them(monkeypatch):
    monkeypatch.setattr(demonstration, "STEPS", 40)
    torch.manual_seed(0)
    made = demonstration.demonstration()
    assert made.source.startswith("trained on ")
    share = int(made.source.split("right for ")[1].split("%")[0])
    assert share > 30  # guessing is right for ten
    assert len(made.labels) == ROWS
    assert made.model.preview(made.input).shape == (ROWS, 10)
