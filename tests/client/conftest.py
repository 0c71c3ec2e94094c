"""Two fronts over small engines, on loopback, and clients of them."""

import pytest

from .fronts import Certificates, Setting


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def setting(certificates):
    made = Setting(certificates)
    yield made
    made.close()


@pytest.fixture
def client(setting):
    return setting.client()


@pytest.fixture
def engines(setting):
    return setting.engines
