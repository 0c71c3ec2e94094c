from __future__ import annotations

import copy

import pytest
import torch
from agreement import close, stored
from torch import nn

import tacita
from tacita.errors import (
    BoundExceeded,
    EncodingError,
    HoldersError,
    MissingDealerError,
    PrecisionError,
    PrivateValueError,
    UnsupportedOperation,
    UsageError,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(8, 8))
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(self.inner(self.fc1(x)))


def state(module):
    return {k: (type(v), v) for k, v in [*module.named_parameters(), *module.named_buffers()]}


def unchanged(module, before):
    after = state(module)
    return before.keys() == after.keys() and all(
        after[k][0] is before[k][0] and after[k][1] is before[k][1] for k in before
    )


def reference(module, x):
    """The module on the encoded weights, in float64."""
    twin = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(stored(parameter))
        return twin(stored(x))


def test_a_network(pair):
    plain, x = Net(), torch.randn(5, 6)
    expected = reference(plain, x)
    module = copy.deepcopy(plain)
    assert module.fix_precision() is module
    assert all(isinstance(p, nn.Parameter) for p in module.parameters())
    assert all(isinstance(p, tacita.FixedPrecisionTensor) for p in module.parameters())
    assert module.share(*pair.holders, crypto_provider=pair.dealer) is module
    assert all(isinstance(p, tacita.PrivateTensor) for p in module.parameters())
    assert all(isinstance(p, nn.Parameter) for p in module.parameters())
    assert not any(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        # Two truncations on the way, each multiplied by at most 8 weights below 1/sqrt(6) + ….
        close(module(pair.share(x)), expected, 8 * 0.5 * 8 * 0.5 + 8 * 0.5)
    assert module.get() is module
    module.float_precision()
    for name, parameter in module.named_parameters():
        assert type(parameter) is nn.Parameter
        assert torch.equal(parameter, stored(plain.get_parameter(name)).float())


def test_a_preview_in_the_clear():
    plain, x = Net(), torch.randn(5, 6)
    module = copy.deepcopy(plain).fix_precision()
    with torch.no_grad():
        got = module(x.fix_precision()).float_precision().double()
    assert ((got - reference(plain, x)).abs() <= (8 * 0.5 * 8 * 0.5 + 8 * 0.5) / 1000).all()


def test_gradients_are_asked_for(pair):
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    module.fix_precision()
    assert module.weight.requires_grad
    assert not module.bias.requires_grad
    module.share(*pair.holders, crypto_provider=pair.dealer, requires_grad=True)
    assert module.weight.requires_grad


def test_weights_are_masked_when_they_are_shared(pair):
    module = nn.Linear(4, 3).fix_precision()
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic:
        module.share(*pair.holders, crypto_provider=pair.dealer)
    assert traffic.rounds == 1
    assert all(p._handle.masked for p in module.parameters())
    x = pair.share(torch.randn(2, 4))
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic, torch.no_grad():
        module(x)
    assert traffic.rounds == 1  # the input alone
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic, torch.no_grad():
        module(x)
    assert traffic.rounds == 0


def test_without_a_dealer(bare):
    module = nn.Linear(4, 3).fix_precision().share(*bare.holders)
    with pytest.raises(MissingDealerError), torch.no_grad():
        module(bare.share(torch.randn(2, 4)))
    assert type(module.get().float_precision().weight) is nn.Parameter


def test_a_public_module_on_private_data(group):
    module, x = Net(), torch.randn(5, 6)
    with torch.no_grad():
        close(module(group.share(x)), reference(module, x), 8 * 0.5 * 8 * 0.5 + 8 * 0.5)


def test_tied_parameters_stay_tied(pair):
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    module.fix_precision()
    assert module[0].weight is module[1].weight
    module.share(*pair.holders, crypto_provider=pair.dealer)
    assert module[0].weight is module[1].weight
    assert len(list(module.parameters())) == 1
    twin = copy.deepcopy(module)
    assert twin[0].weight is twin[1].weight


def test_buffers(pair):
    module = nn.BatchNorm1d(3)
    module.fix_precision().share(*pair.holders, crypto_provider=pair.dealer)
    assert isinstance(module.running_mean, tacita.PrivateTensor)
    assert not isinstance(module.running_mean, nn.Parameter)
    assert type(module.num_batches_tracked) is torch.Tensor
    assert "running_var" in module.state_dict()
    assert type(module.get().float_precision().running_var) is torch.Tensor


def test_copies(pair):
    module = nn.Linear(2, 2).fix_precision().share(*pair.holders, crypto_provider=pair.dealer)
    twin = module.copy()
    twin.get().float_precision()
    assert isinstance(module.weight, tacita.PrivateTensor)
    assert type(twin.weight) is nn.Parameter


def test_encrypt_and_decrypt(pair):
    module = nn.Linear(2, 2)
    weight = stored(module.weight.detach(), tacita.Precision(2, 12)).float()
    options = {"workers": pair.holders, "crypto_provider": pair.dealer}
    assert module.encrypt(**options, base=2, precision_fractional=12) is module
    assert isinstance(module.weight, tacita.PrivateTensor)
    assert torch.equal(module.decrypt().weight, weight)


def test_send_and_get(workers):
    module, alice = nn.Linear(2, 2), workers["alice"]
    weight = module.weight.detach().clone()
    module.send(alice)
    assert isinstance(module.weight, tacita.PointerTensor)
    assert torch.equal(module.get().weight, weight)


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_an_error_leaves_the_module_as_it_was(pair, value):
    module = Net()
    with torch.no_grad():
        module.fc2.bias[1] = value
    before = state(module)
    with pytest.raises(EncodingError):
        module.fix_precision()
    assert unchanged(module, before)
    with pytest.raises(EncodingError):
        module.share(*pair.holders)
    assert unchanged(module, before)


def test_an_error_of_sharing_leaves_the_module_as_it_was(pair):
    module = Net().fix_precision()
    before = state(module)
    for holders, options, error in [
        (pair.holders[:1], {}, HoldersError),
        (pair.holders, {"protocol": "mpc"}, UsageError),
        (pair.holders, {"dtype": "float"}, UsageError),
        (pair.holders, {"bound": 0.01}, BoundExceeded),
    ]:
        with pytest.raises(error):
            module.share(*holders, **options)
        assert unchanged(module, before)
    with pytest.raises(PrecisionError):
        module.fix_precision(base=2, precision_fractional=4)
    assert unchanged(module, before)
    plain = nn.Linear(2, 2)
    before = state(plain)
    with pytest.raises(HoldersError):
        plain.encrypt(workers=pair.holders[:1])
    assert [type(v) for _, v in state(plain).values()] == [type(v) for _, v in before.values()]


def test_what_cannot_be_done_now(pair):
    module = nn.Linear(2, 2)
    with pytest.raises(EncodingError, match="fix_precision"):
        module.share(*pair.holders)
    with pytest.raises(HoldersError, match="here already"):
        module.get()
    module.fix_precision().share(*pair.holders)
    with pytest.raises(HoldersError, match="already"):
        module.share(*pair.holders)
    with pytest.raises(PrivateValueError, match=r"get\(\)"):
        module.float_precision()
    with pytest.raises(UsageError):
        nn.ReLU().share(*pair.holders)


class Deep(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Sequential(activation))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.Hardshrink(), "hardshrink.*body.1.0.*Hardshrink"),
        (nn.GLU(), "glu.*body.1.0.*GLU"),
        (nn.BatchNorm1d(4).train(), "batch_norm.*body.1.0.*public buffer"),
        (nn.Conv3d(1, 1, 1), "convolution.*body.1.0"),
    ],
)
def test_unsupported_operations_are_named_with_their_module(group, module, named):
    model = Deep(module)
    training = isinstance(module, nn.BatchNorm1d)
    model.train(training)
    x = group.share(torch.randn(*(1, 1, 2) if isinstance(module, nn.Conv3d) else (), 3, 4))
    with torch.no_grad(), pytest.raises(UnsupportedOperation, match=f"(?s){named}"):
        model(x)
    close(x * 2, stored(x.decrypt()) * 2)
