"""What a program may show, and what has to stay with the owner of the weights."""

import shutil

import pytest
import torch
from networks import Function
from torch import nn

from tacita.compiler import archive
from tacita.errors import MaterialError, PeerError, UsageError
from tacita.program.builder import Handle
from tacita.torch.whole.model import SharedModel, export

W = torch.tensor([1.0, -2.0, 3.0, -4.0])
X = torch.tensor([[0.5, -1.0, 2.0, 4.0]])


def of_weights(forward):
    return Function(forward, w=nn.Parameter(W.clone()))


SIGNS = {
    "a product with booleans": lambda self, x: x * (self.w > 0),
    "a choice": lambda self, x: torch.where(self.w > 0, x, -x),
    "a product with integers": lambda self, x: x * self.w.sign().to(torch.int64),
}


@pytest.mark.parametrize("forward", SIGNS.values(), ids=SIGNS)
def test_what_is_computed_from_weights_stays_a_weight(forward, deploy):
    module = of_weights(forward).eval()
    model = export(module, X, largest=8.0)
    assert len(model.program.weights) == 1
    assert model.public == ()
    held = [literal.array(model.program.wires[literal.wire].shape) for literal in
            model.program.constants]  # fmt: skip
    assert all(values.size < W.numel() for values in held)
    assert torch.equal(deploy(model)(X).decrypt(), module(X))


SHOWN = {
    "an order": lambda self, x: x[:, torch.argsort(self.w)],
    "a number": lambda self, x: x * self.w.sum().item(),
}


@pytest.mark.parametrize("forward", SHOWN.values(), ids=SHOWN)
def test_what_would_have_to_be_shown_is_refused(forward):
    with pytest.raises(UsageError):
        export(of_weights(forward).eval(), X, largest=8.0)


def test_an_order_of_public_weights_is_no_secret():
    model = export(of_weights(SHOWN["an order"]).eval(), X, largest=8.0, public_weights=True)
    assert torch.equal(model.preview(X), X[:, torch.argsort(W)])


def test_integers_of_the_module_are_public_and_listed():
    module = Function(lambda self, x: x[:, self.order], order=torch.tensor([2, 0, 1, 3]))
    model = export(module.eval(), X, largest=8.0)
    assert model.public == ("order",)
    assert torch.equal(model.preview(X), X[:, [2, 0, 1, 3]])


def test_a_copied_batch_is_refused(deploy, tmp_path):
    model = export(of_weights(lambda self, x: torch.relu(x * self.w)).eval(), X, largest=8.0)
    shared = deploy(model)
    shared.deal(1, tmp_path / "stock")
    shutil.copytree(tmp_path / "stock", tmp_path / "copy")
    (batch, _) = shared._waiting[0]
    expected = model.preview(X)
    assert ((shared(X).decrypt() - expected).abs() < 1e-3).all()
    shared._waiting.append((batch, str(tmp_path / "copy")))
    with pytest.raises(MaterialError, match="taken before"):
        shared(X)
    assert ((shared(X).decrypt() - expected).abs() < 1e-3).all()


def test_a_folder_that_others_can_write_is_refused(deploy, tmp_path):
    model = export(of_weights(lambda self, x: x * self.w).eval(), X, largest=8.0)
    shared = deploy(model)
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice").chmod(0o777)
    with pytest.raises(MaterialError, match="written by others"):
        shared.deal(1, tmp_path)
    assert shared.stock == 0
    assert ((shared(X).decrypt() - X * W).abs() < 1e-3).all()


def test_a_program_that_checks_bounds_needs_a_session_for_it(open_session):
    model = export(of_weights(lambda self, x: torch.relu(x * self.w)).eval(), X, largest=8.0,
                   checked=True)  # fmt: skip
    assert "discloses" in str(model.program)
    with pytest.raises(PeerError, match=r"discloses \d+ bits"):
        SharedModel(model, open_session(checked=False))(X).get()


@pytest.mark.parametrize("what", ["weight", "input"])
def test_wires_of_another_shape_are_refused(open_session, what):
    model = export(of_weights(lambda self, x: x * self.w).eval(), X, largest=8.0)
    session = open_session()
    shape = (3,) if what == "weight" else (4,)
    weight = session.input(torch.zeros(shape).numpy().astype("uint64"), shape, 1 << 16, None)
    session.mask([weight], "a test")
    data = archive.encode(model.program)
    number = session.deploy(data, len(model.program.instructions), [weight], bytes(16))
    shape = (1, 4) if what == "weight" else (1, 5)
    given = session.input(torch.zeros(shape).numpy().astype("uint64"), shape, 1 << 16, None)
    (out,) = session.run(number, [given], [session.new_wire((1, 4))])
    assert isinstance(out, Handle)
    with pytest.raises(PeerError, match="has shape"):
        session.reveal(out)


def test_masks_on_a_part_and_on_the_whole_keep_their_order(deploy):
    def forward(self, x):
        first, second = x[:, :2], torch.relu(x[:, 2:])
        return first * second, torch.relu(x)

    module = of_weights(forward).eval()
    model = export(module, X, largest=8.0)
    for got, expected in zip(deploy(model)(X), module(X), strict=True):
        assert ((got.decrypt() - expected).abs() < 1e-3).all()
