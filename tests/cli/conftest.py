"""The command line, in this process, with a cache and a current directory of its own."""

import pytest
from typer.testing import CliRunner

from tacita.cli.main import app

SOURCE = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).eval()

ready = make()
training = make().train()
number = 3

class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Cumulative(nn.Module):
    def forward(self, x):
        return x.cummax(0)[0]

class Two(nn.Module):
    def forward(self, x, y):
        return x + y.relu()

def branching():
    return Branching().eval()

def unsupported():
    return Cumulative().eval()

def two():
    return Two().eval()

def failing():
    raise RuntimeError("no such luck")
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """What this machine was timed at, once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path, monkeypatch, cache):
    """A current directory with a module `cli_networks` in it."""
    monkeypatch.setattr("tacita.runtime.timings.user_cache_path", lambda *_: cache)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_networks.py").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def run(here, monkeypatch):
    """run("cost", …): the result of the command, in a terminal wide enough for its tables."""
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))
