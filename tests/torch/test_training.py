"""loss.backward() and torch.optim on private parameters: beside the same in the clear."""

import pytest
import torch
import torch.nn.functional as F
from agreement import Group
from agreement import reals as revealed
from torch import nn, optim

from tacita.errors import BoundExceeded, UnsupportedOperation, UsageError
from tacita.ring.fixed_point import Precision
from tacita.torch.private_tensor import PrivateTensor

CLEAR = Group([], None)
BITS = {"base": 2, "precision_fractional": 16}
PRECISION = Precision(2, 16)


def share(value, group, **options):
    if group is CLEAR:  # in fixed precision and not shared
        return value.fix_precision(**BITS)
    return value.fix_precision(**BITS).share(
        *group.holders, crypto_provider=group.dealer, **options
    )


def reals(tensor):
    return revealed(tensor) if isinstance(tensor, PrivateTensor) else tensor.float_precision()


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def examples(n=32):
    torch.manual_seed(2)
    x = torch.rand(n, 6)
    return x, F.one_hot(x[:, :3].argmax(1), 3).float()


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def beside(group, optimizer, steps, make=mlp, clip=None):
    """Losses and parameters of the same training, private and in the clear."""
    private, clear = share(make(), group, requires_grad=True), make()
    optimizers = [optimizer(model.parameters()) for model in (private, clear)]
    x, y = examples()
    data = share(x, group), share(y, group)
    losses = []
    for _ in range(steps):
        pair = []
        for model, each, (inputs, targets) in zip(
            (private, clear), optimizers, (data, (x, y)), strict=True
        ):
            each.zero_grad()
            loss = F.mse_loss(model(inputs), targets)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_value_(model.parameters(), clip)
            each.step()
            pair.append(loss.detach())
        losses.append((float(reals(pair[0])), float(pair[1])))
    weights = [
        (reals(p).double(), q.detach().double())
        for p, q in zip(private.parameters(), clear.parameters(), strict=True)
    ]
    return losses, weights


def agree(found, slack):
    losses, weights = found
    assert all(abs(a - b) <= slack for a, b in losses)
    for got, wanted in weights:
        assert ((got - wanted).abs() <= slack).all()


# A step adds the error of a gradient, times the rate. That of a gradient comes from the rounding of
# images and results to 2^-16 (one unit each, of 32·3 elements whose mean is taken, times weights
# below 1) and from that of the weights themselves: below 8 units. ReLUs decide otherwise only where
# they are within a unit of zero. So k steps are off by 8·k·rate units, and as much for each factor
# that an optimizer has: momentum 0.9 adds up ten steps.
UNIT = 2.0**-16


@pytest.mark.parametrize(
    ("optimizer", "gain"),
    [
        (lambda p: optim.SGD(p, lr=0.5), 0.5),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), 1),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), 1),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01), 1),
        (lambda p: optim.SGD(p, lr=0.3, weight_decay=0.001, maximize=False), 0.3),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.5, foreach=True), 1),
        (lambda p: optim.ASGD(p, lr=0.1), 1),
    ],
)
def test_optimizers_without_a_quotient(optimizer, gain, pair):
    # Rates and decays are right to one part in 2^10; the steps are below 2^-6 here.
    agree(beside(pair, optimizer, 12), 8 * 12 * gain * UNIT + 12 * 2.0**-10 * 2.0**-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
        lambda p: optim.RMSprop(p, lr=0.01),
        lambda p: optim.Adagrad(p, lr=0.1),
    ],
)
@pytest.mark.filterwarnings("ignore::tacita.torch.precision_warning.PrecisionWarning")
def test_optimizers_that_divide_by_a_root(optimizer, pair):
    """Each step is of size lr; where a gradient is as small as its rounding, its sign is chance.

    So losses are compared, of a training in which all weights move by lr in each step.
    """
    losses, _ = beside(pair, optimizer, 24)  # a running mean of squares gets wider bounds by steps
    start, end = losses[0][1], losses[-1][1]
    assert abs(losses[-1][0] - end) <= 0.1 * (start - end)


def test_gradients_are_clipped_by_value(pair):
    agree(beside(pair, lambda p: optim.SGD(p, lr=0.5), 5, clip=0.01), 8 * 5 * UNIT)


@pytest.mark.parametrize("steps", [200, 60])
def test_the_loss_follows_that_in_the_clear(steps, pair):
    """200 steps of the same instructions in the clear, and 60 among two parties."""
    group = CLEAR if steps == 200 else pair
    losses, _ = beside(group, lambda p: optim.SGD(p, lr=0.5), steps)
    assert losses[-1][1] < 0.6 * losses[0][1]
    # 8 units a step at the most, halved by the rate, and the loss is flatter than 1 in each weight.
    assert max(abs(a - b) for a, b in losses) <= 8 * steps * 0.5 * UNIT


def test_schedulers_change_the_rate(pair):
    def scheduled(parameters):
        optimizer = optim.SGD(parameters, lr=0.5)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        optimizer.register_step_post_hook(lambda *_: scheduler.step())
        return optimizer

    agree(beside(pair, scheduled, 8), 8 * 8 * 0.5 * UNIT)


def test_three_parties_and_the_clear_alike(group):
    if group.run is not None:
        return
    agree(beside(group, lambda p: optim.SGD(p, lr=0.5), 3), 8 * 3 * 0.5 * UNIT)


def convolutional():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.LazyLinear(3),
    )


def test_a_convolutional_network_with_batch_norm_and_dropout(pair):
    def make():
        model = convolutional()
        torch.manual_seed(4)
        model(torch.rand(2, 6))
        model[2].reset_running_stats()
        return model

    private, clear = share(make(), pair, requires_grad=True), make()
    x, y = examples()
    data = share(x, pair), share(y, pair)
    for i in range(4):
        for model, (inputs, targets) in ((private, data), (clear, (x, y))):
            torch.manual_seed(10 + i)  # dropout's mask
            step(model, optim.SGD(model.parameters(), lr=0.1), inputs, targets)
    # 1/sqrt(var) is off by 2^-11, relatively, and of size 10 or less.
    slack = 4 * 10 * 2.0**-11
    for got, wanted in zip(private.parameters(), clear.parameters(), strict=True):
        assert ((reals(got) - wanted).abs() <= slack).all()
    for name in ("running_mean", "running_var"):
        got, wanted = getattr(private[2], name), getattr(clear[2], name)
        assert isinstance(got, PrivateTensor)
        assert ((reals(got) - wanted).abs() <= slack).all()
    assert private[2].num_batches_tracked == 4
    private.eval(), clear.eval()
    with torch.no_grad():
        assert ((reals(private(data[0])) - clear(x)).abs() <= 8 * slack).all()


# ---- as PySyft writes it -----------------------------------------------------------------------


def test_the_loop_of_the_tutorials(pair):
    alice, bob = pair.holders
    x, y = examples()
    batches = [
        tuple(
            t.fix_precision(**BITS).share(
                alice, bob, crypto_provider=pair.dealer, requires_grad=True
            )
            for t in (x, y)
        )
    ]
    model = (
        mlp()
        .fix_precision(**BITS)
        .share(alice, bob, crypto_provider=pair.dealer, requires_grad=True)
    )
    clear = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1).fix_precision()
    reference = optim.SGD(clear.parameters(), lr=0.1)
    for _ in range(3):
        for data, target in batches:
            optimizer.zero_grad()
            output = model(data)
            loss = ((output - target) ** 2).sum().refresh() / output.shape[0]
            loss.backward()
            optimizer.step()
            assert isinstance(data.grad, PrivateTensor)
            found = loss.get().float_precision()
        reference.zero_grad()
        wanted = ((clear(x) - y) ** 2).sum() / len(x)
        wanted.backward()
        reference.step()
        assert abs(found - wanted) <= 64 * UNIT
    model.get().float_precision()
    for got, wanted in zip(model.parameters(), clear.parameters(), strict=True):
        assert ((got - wanted).abs() <= 64 * UNIT).all()


def test_an_optimizer_of_parameters_in_the_clear_is_an_error(pair):
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    share(model, pair)
    with pytest.raises(UsageError, match="after the module is shared"):
        optimizer.fix_precision()
    private = optim.SGD(share(mlp(), pair, requires_grad=True).parameters(), lr=0.1)
    with pytest.raises(UsageError, match="private"):
        private.float_precision()


def test_three_decimals_are_enough_to_train_with(pair):
    """PySyft's default precision: gradients and weights in training have seven digits."""
    x, y = examples()
    encoded = [t.fix_precision().share(*pair.holders, crypto_provider=pair.dealer) for t in (x, y)]
    model = (
        mlp().fix_precision().share(*pair.holders, crypto_provider=pair.dealer, requires_grad=True)
    )
    clear = mlp()
    for _ in range(10):
        loss = step(model, optim.SGD(model.parameters(), lr=0.5), *encoded)
        wanted = step(clear, optim.SGD(clear.parameters(), lr=0.5), x, y)
    assert abs(reals(loss) - wanted) <= 8 * 10 * 0.5 * 1e-3


# ---- in place, and what stays of a step --------------------------------------------------------


def test_parameters_are_written_in_place(pair):
    start = torch.tensor([0.5, -1.0, 2.0])
    with torch.no_grad():
        for change in (
            lambda p: p.add_(0.25),
            lambda p: p.sub_(p, alpha=0.5),
            lambda p: p.mul_(0.75),
            lambda p: p.div_(3),
            lambda p: p.addcmul_(p * 1, p * 1, value=-0.5),
            lambda p: p.lerp_(p * 2, 0.25),
            lambda p: p.clamp_(-0.5, 0.5),
            lambda p: p.zero_(),
            lambda p: p.fill_(1.5),
            lambda p: p.copy_(p * 2),
            lambda p: p.copy_(torch.tensor([1.0, 2.0, 3.0])),
        ):
            private = nn.Parameter(share(start, pair))
            clear = nn.Parameter(start.clone())
            change(private)
            change(clear)
            assert isinstance(private, PrivateTensor)
            assert private.requires_grad
            assert ((reals(private) - clear).abs() <= 2 * UNIT).all()


def test_a_parameter_that_needs_a_gradient_is_not_written_with_gradients_on(pair):
    private = nn.Parameter(share(torch.ones(2), pair))
    with pytest.raises(RuntimeError, match="in-place"):
        private.add_(1)


def test_steps_smaller_than_a_unit_of_the_precision_add_up(pair):
    """128 steps of a tenth of 2^-16: each would be rounded away at 16 bits."""
    private = nn.Parameter(share(torch.zeros(50), pair))
    optimizer = optim.SGD([private], lr=2.0**-20)
    for _ in range(128):
        optimizer.zero_grad()
        (private * share(torch.full((50,), 1.5), pair)).sum().backward()
        optimizer.step()
    assert ((reals(private) + 128 * 1.5 * 2.0**-20).abs() <= 128 * 2.0**-24).all()


def test_gradients_are_private_and_add_up(pair):
    w = share(torch.tensor([1.0, 2.0]), pair, requires_grad=True)
    (w * w).sum().backward()
    (w * w).sum().backward()
    assert isinstance(w.grad, PrivateTensor)
    assert ((reals(w.grad) - torch.tensor([4.0, 8.0])).abs() <= UNIT).all()
    optim.SGD([w], lr=1.0).zero_grad(set_to_none=False)
    assert (reals(w.grad) == 0).all()


def test_gradients_flow_through_copies_bounds_and_refreshing(pair):
    w = share(torch.tensor([1.0, 2.0]), pair, requires_grad=True)
    (w.copy().bounded(4).refresh() * 3).sum().backward()
    assert (reals(w.grad) == 3).all()


def test_nobody_asks_for_the_gradient_of_data(pair):
    """One opening of the data serves both passes, and its own gradient is not computed."""
    model = share(nn.Linear(4, 3), pair, requires_grad=True)
    x = share(torch.rand(5, 4), pair)
    model(x).sum().backward()
    assert x.grad is None


def test_a_gradient_that_overflows_is_found_in_checked_mode(pair):
    """A gradient of 2^22 is beyond 2^61 at the scale of 2^40 that a product of gradients has."""
    model = nn.Linear(3, 1, bias=False)
    nn.init.constant_(model.weight, 0.5)
    model = share(model, pair, requires_grad=True, checked=True)
    first, second, third = (
        share(torch.full((1, n), float(value)), pair, checked=True)
        for n, value in ((3, 2**11), (1, 2**6), (1, 2**5))
    )
    (model(first) * second * third).sum().backward()
    optim.SGD(model.parameters(), lr=0.5).step()
    with pytest.raises(BoundExceeded, match="step of an optimizer, parameter weight"):
        model.weight.get()


def test_the_backward_pass_is_named_in_checked_mode(pair):
    x = share(torch.full((3,), 0.5), pair, requires_grad=True, checked=True)
    first, second, third, fourth = (
        share(torch.full((3,), 2.0**n), pair, checked=True) for n in (2, 11, 6, 5)
    )
    (x * first * second * third * fourth).sum().backward()
    with pytest.raises(BoundExceeded, match=r"backward pass \(MulBackward0\)"):
        x.grad.get()


def test_a_step_before_a_backward_pass_that_needs_the_old_values(pair):
    model = share(mlp(), pair, requires_grad=True)
    x, y = (share(t, pair) for t in examples())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    kept = model(x)
    with pytest.raises(UsageError, match=r"parameter 2.weight changes .* torch.no_grad"):
        step(model, optimizer, x, y)
    del kept
    step(model, optimizer, x, y)
    with torch.no_grad():
        kept = model(x)
    step(model, optimizer, x, y)
    assert kept.shape == y.shape


def test_what_has_no_backward_pass_says_so(pair):
    x = share(torch.rand(2, 3), pair, requires_grad=True)
    with pytest.raises(UnsupportedOperation, match="mode"):
        x.mode(1)


def test_dropout_masks_are_those_of_the_same_seed(pair):
    x = torch.ones(100)
    torch.manual_seed(5)
    wanted = F.dropout(x, 0.5)
    torch.manual_seed(5)
    assert torch.equal(reals(F.dropout(share(x, pair), 0.5)), wanted)
