"""Programs that the tests of the compiler share."""

import sys
from pathlib import Path

import pytest

# So that the tests of this folder can import what they share from beside them.
sys.path.insert(0, str(Path(__file__).parent))

from recorded import every_instruction, network


@pytest.fixture(scope="session")
def every():
    return every_instruction()


@pytest.fixture(scope="session")
def recorded():
    return network()


@pytest.fixture(params=["every instruction", "network", "checked network", "decimal network"])
def program(request, every, recorded):
    if request.param == "every instruction":
        return every
    if request.param == "network":
        return recorded
    return network(checked=True) if request.param.startswith("checked") else network(10, 3)
