"""Publishing and querying with parties and a dealer that talk over TLS."""

import numpy as np
import pytest
import torch

from tacita import export, zoo
from tacita.compiler import archive
from tacita.runtime.plain import run_plain

from .daemons import Daemons


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    network = zoo.network("mlp").eval()
    samples = torch.rand(8, *zoo.input_shape("mlp"))
    return export(network, samples[:2], samples=samples)


def published(daemons, model, name="mlp", **options):
    program = model.program
    weights = [(p.name, v) for p, v in zip(program.weights, model.weights, strict=True)]
    return daemons.publish(name, archive.encode(program), weights, **options)


def asked(daemons, model, images, **options):
    (port,) = model.program.inputs
    (values,) = model.encode([images])
    (result,) = daemons.infer("mlp", [(port.name, values, model.precision.scale)], **options)
    return result


def rounding(model):
    """How far results may lie from the plain reading: each layer's truncation is off by one unit,
    and what follows multiplies that by its weights, whose scale the results keep."""
    error = 0
    for values in model.weights:
        if values.ndim == 2:
            rows = np.abs(values.astype(np.int64)).sum(axis=1).max() / model.precision.scale
            error = rows * error + 1
    return error * model.precision.scale


@pytest.mark.parametrize("names", [("alice", "bob"), ("alice", "bob", "carol")])
def test_a_published_model_answers(tmp_path, model, names):
    daemons = Daemons(tmp_path, names).start()
    try:
        published(daemons, model)
        images = torch.rand(2, *zoo.input_shape("mlp"))
        (port,) = model.program.outputs
        expected = run_plain(model.program, model.weights, model.encode([images]))[port.wire]
        for _ in range(3):
            result = asked(daemons, model, images)
            assert np.abs((result - expected).astype(np.int64)).max() <= rounding(model)
    finally:
        daemons.stop()
