"""Publishing a model with its values compared in another way."""

import pytest
import torch
from torch import nn

from tacita.compiler import archive
from tacita.compiler.planning import comparing
from tacita.compiler.prediction import Overheads
from tacita.errors import UsageError
from tacita.protocols.ways import way_of
from tacita.runtime import forecast as forecast_module
from tacita.torch.whole.model import export


@pytest.fixture(scope="module")
def model():
    return export(nn.ReLU().eval(), torch.rand(2, 3))


def ways_of(encoded):
    program = archive.decode(encoded)
    return [way_of(program.instructions[number]) for number in comparing(program)]


def test_a_model_is_published_as_it_is_unless_told_otherwise(setting, model):
    owner = setting.client("olga")
    owner.publish(model, "relu")
    owner.publish(model.compared_by("fss"), "relu")
    owner.publish(model, "relu", protocol="fss")
    sent = [ways_of(each.program) for each in setting.engines[0].published]
    assert sent == [["tables"], ["fss"], ["fss"]]


def test_a_plan_is_for_the_network_between_the_parties(setting, model, monkeypatch, tmp_path):
    overheads = Overheads(*(1e-4 * count for count in range(1, 12)))
    monkeypatch.setattr(forecast_module, "measured_overheads", lambda _: overheads)
    monkeypatch.setattr("tacita.runtime.timings.user_cache_path", lambda *_: tmp_path)
    setting.client("olga").publish(model, "relu", protocol="auto", network="10s,100Gbit/s")
    assert ways_of(setting.engines[0].published[0].program) == ["fss"]


def test_what_takes_the_dealer_online_is_not_published(setting, model):
    with pytest.raises(UsageError, match="use tables or fss"):
        setting.client("olga").publish(model, "relu", protocol="snn")
    assert setting.engines[0].published == []
