"""One suite, three ways to run it: in the clear, among two holders, among three."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import tacita
from tacita.runtime.plain import PlainRun

# So that the tests of this folder can import what they share from beside them.
sys.path.insert(0, str(Path(__file__).parent))

from agreement import Group


@pytest.fixture(scope="session", autouse=True)
def hook():
    hook = tacita.TorchHook(torch)
    yield hook
    hook.unhook()


@pytest.fixture(scope="session")
def workers(hook):
    return {name: tacita.VirtualWorker(hook, id=name) for name in ("alice", "bob", "carol", "dan")}


@pytest.fixture(params=["plain", "two", "three"])
def group(request, workers):
    if request.param == "plain":
        return Group([], None, PlainRun())
    names = ["alice", "bob", "carol"][: 2 if request.param == "two" else 3]
    return Group([workers[name] for name in names], workers["dan"])


@pytest.fixture
def pair(workers):
    return Group([workers["alice"], workers["bob"]], workers["dan"])


@pytest.fixture
def bare(workers):
    """Two holders without a crypto provider."""
    return Group([workers["alice"], workers["bob"]], None)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
