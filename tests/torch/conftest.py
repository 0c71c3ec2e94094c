"""One suite, several ways to run it: in the clear, among two holders, among three.

What compares runs among two holders by every protocol for comparisons, too.
"""

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


GROUPS = ["plain", "two", "three"]
COMPARING = {
    "test_activation",
    "test_comparison",
    "test_extrema",
    "test_pairs",
    "test_pooling",
    "test_selection",
    "test_sorting",
}


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.count(".whole."):
        return  # which has groups of its own
    if "group" in metafunc.fixturenames:
        compares = metafunc.module.__name__.rpartition(".")[2] in COMPARING
        groups = [*GROUPS, *(["fss", "snn"] if compares else [])]
        metafunc.parametrize("group", groups, indirect=True)


@pytest.fixture
def group(request, workers):
    if request.param == "plain":
        return Group([], None, PlainRun())
    names = ["alice", "bob", "carol"][: 3 if request.param == "three" else 2]
    protocol = request.param if request.param in ("fss", "snn") else "tables"
    return Group([workers[name] for name in names], workers["dan"], protocol=protocol)


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
