"""What is saved comes back: tensors, modules, optimizers, and public values beside them."""

import gc
import math

import numpy as np
import pytest
import torch
from torch import nn

import tacita
from tacita.errors import HoldersError, PeerError, PeerFailed, ShapeError, UsageError
from tacita.runtime.rounds import Rounds
from tacita.torch import saved_values
from tacita.torch.checkpoints import load_private, remove_private, save_private

BITS = {"base": 2, "precision_fractional": 16}
UNIT = 2.0**-16


def group(folder=None):
    """Workers of their own for each test; with a folder, as after a restart of the process."""
    holders = [
        tacita.VirtualWorker(id=name, folder=None if folder is None else folder / name)
        for name in ("alice", "bob")
    ]
    return *holders, tacita.VirtualWorker(id="dana")


@pytest.fixture
def workers():
    made = group()
    yield made
    made[0].clear_objects()


def shared(tensor, workers, **precision):
    alice, bob, dana = workers
    if tensor.is_floating_point():
        tensor = tensor.fix_precision(**(precision or BITS))
    return tensor.share(alice, bob, crypto_provider=dana)


def loaded(name, workers, **options):
    alice, bob, dana = workers
    return load_private(name, alice, bob, crypto_provider=dana, **options)


def values(tensor):
    revealed = tensor.get()
    return revealed.float_precision() if hasattr(revealed, "precision") else revealed


def small_network(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Identity(), nn.Linear(4, 2))


def private(module, workers):
    alice, bob, dana = workers
    return module.fix_precision(**BITS).share(alice, bob, crypto_provider=dana)


# ---- tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "precision"),
    [
        (torch.tensor([[1.5, -2.0], [0.25, 4.0]]), BITS),
        (torch.tensor([1.5, -2.125]), {}),
        (torch.tensor([3, -(1 << 40)]), {}),
        (torch.tensor(0.5), BITS),
        (torch.zeros(0, 3), BITS),
    ],
)
def test_a_tensor_comes_back_in_another_session(workers, tensor, precision):
    x = shared(tensor, workers, **precision)
    x.save_private("x")
    workers[0].clear_objects()
    again = loaded("x", workers)
    assert again.precision == x.precision
    assert torch.equal(values(again), tensor)
    with pytest.raises(PeerError):  # while the session that it was saved from is over
        x.get()


def test_scale_bound_and_bits_are_those_of_the_wire(workers):
    x = shared(torch.tensor([1.5, -2.0]), workers)
    product = x * x  # not truncated yet
    limited, positive = x.bounded(4), x > 0
    save_private([product, limited, positive], "wires")
    for old, new in zip((product, limited, positive), loaded("wires", workers), strict=True):
        a, b = old._handle.wire, new._handle.wire
        assert (a.shape, a.scale, a.bound, a.bit) == (b.shape, b.scale, b.bound, b.bit)
        assert torch.equal(values(new), values(old))
    assert product._handle.wire.scale > x._handle.wire.scale


def test_what_is_loaded_is_computed_with_and_masked_anew(workers, monkeypatch):
    x = shared(torch.tensor([1.5, -2.0]), workers)
    square = x * x
    assert x._handle.masked
    x.save_private("x")
    opened = []
    send = Rounds.__call__

    def heard(self, openings):
        sums = send(self, openings)
        opened.append([each.tobytes() for each in sums])
        return sums

    monkeypatch.setattr(Rounds, "__call__", heard)
    for _ in range(2):
        again = loaded("x", workers)
        assert not again._handle.masked
        assert torch.equal(values(again * again), values(square))
    # Two parties, twice the same value: under fresh masks its openings have nothing in common.
    assert len(opened) == 4
    assert len({each for sums in opened for each in sums}) == 2


def test_a_view_and_a_result_are_saved_as_themselves(workers):
    x = torch.arange(6.0).view(2, 3)
    private_x = shared(x, workers)
    save_private({"view": private_x.t()[1], "sum": private_x.sum(0)}, "views")
    again = loaded("views", workers)
    assert torch.equal(values(again["view"]), x.t()[1])
    assert torch.equal(values(again["sum"]), x.sum(0))


def test_a_newer_version_replaces_the_older(workers):
    for number in (1.0, 2.0):
        save_private(shared(torch.full((2,), number), workers), "x")
    assert values(loaded("x", workers)).tolist() == [2.0, 2.0]


def test_what_is_removed_is_gone(workers):
    alice, bob, dana = workers
    x = shared(torch.ones(2), workers)
    x.save_private("x")
    again = loaded("x", workers)
    remove_private("x", alice, bob, crypto_provider=dana)
    with pytest.raises(UsageError, match="nothing is saved under 'x'"):
        loaded("x", workers)
    with pytest.raises(UsageError, match="nothing is saved under 'x'"):
        remove_private("x", alice, bob, crypto_provider=dana)
    assert torch.equal(values(again), torch.ones(2))


# ---- the tree ------------------------------------------------------------------------------------


def test_public_values_keep_their_places_and_types(workers):
    x = shared(torch.ones(2), workers)
    saved = {
        "numbers": (1, -2.5, True, None, math.inf, -(1 << 63)),
        7: ["text", {"inner": x}, []],
        "again": x,
        "count": torch.tensor([[3, 4]]),
        "mask": torch.tensor([True, False]),
    }
    save_private(saved, "tree")
    again = loaded("tree", workers)
    assert list(again) == list(saved)
    assert again["numbers"] == saved["numbers"]
    assert [type(each) for each in again["numbers"]] == [type(each) for each in saved["numbers"]]
    assert again[7][0] == "text"
    assert again[7][2] == []
    assert again[7][1]["inner"] is again["again"], "one tensor in two places is one tensor again"
    for name in ("count", "mask"):
        assert again[name].dtype == saved[name].dtype
        assert torch.equal(again[name], saved[name])


def test_what_is_not_for_saving_is_refused_with_its_place(workers):
    x = shared(torch.ones(2), workers)
    cases = [
        ({"a": x, "b": {"c": torch.ones(2)}}, HoldersError, r"b\.c is not shared"),
        ({"a": x, "scale": torch.tensor(2.0)}, HoldersError, "scale is not shared"),
        ({"a": x, "step": torch.tensor(2.0)}, HoldersError, "step is not shared"),
        ([x, torch.ones(2).fix_precision()], HoldersError, "1 is not shared"),
        ([x, object()], UsageError, "1 is a object"),
        ([x, b"bytes"], UsageError, "1 is a bytes"),
        ({(1, 2): x}, UsageError, "a key that is no text"),
        ([x, 1 << 70], UsageError, "64 bits"),
        ([1, 2], UsageError, "nothing private"),
        ([x, torch.ones(2, dtype=torch.complex64)], UsageError, "complex64"),
    ]
    for what, kind, complaint in cases:
        with pytest.raises(kind, match=complaint):
            save_private(what, "bad")
    with pytest.raises(UsageError, match="nothing is saved"):
        loaded("bad", workers)


def test_a_module_that_was_not_shared_is_not_saved_in_the_clear(workers):
    network = private(small_network(), workers)
    network[3].bias = nn.Parameter(torch.zeros(2))
    with pytest.raises(HoldersError, match=r"3\.bias is not shared"):
        network.save_private("net")


def test_tensors_of_two_sessions_are_not_one_checkpoint(workers):
    other = group()
    with pytest.raises(UsageError, match="of 2 sessions"):
        save_private([shared(torch.ones(2), workers), shared(torch.ones(2), other)], "both")
    other[0].clear_objects()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x01", b"\x92\xa7Private\x05", b"\x92\xa7Private\xff",
        b"\x94\xacPublicTensor\xa7float32\x91\x02\xc4\x04abcd",
        b"\x94\xacPublicTensor\xa6object\x91\x01\xc4\x08abcdabcd",
        b"\x93\xa5Items\xc2\x91" * 5000,
    ],
)  # fmt: skip
def test_a_tree_that_nobody_made(data):
    with pytest.raises(PeerFailed, match="cannot be read"):
        saved_values.restored(data, [])


# ---- modules and optimizers ----------------------------------------------------------------------


def test_a_module_comes_back_into_itself_and_into_a_new_one(workers):
    network = small_network().eval()
    plain = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = torch.rand(5, 3)
    expected = network(x)
    private(network, workers).save_private("net")
    parameters = [id(each) for each in network.parameters()]
    workers[0].clear_objects()
    alice, bob, dana = workers
    fresh = small_network(2).eval()
    assert network.load_private("net", alice, bob, crypto_provider=dana) is network
    fresh.load_private("net", alice, bob, crypto_provider=dana)
    assert [id(each) for each in network.parameters()] == parameters
    for module in (network, fresh):
        assert all(isinstance(each, nn.Parameter) for each in module.parameters())
        assert all(each.requires_grad is False for each in network.parameters())
        with torch.no_grad():
            result = values(module(shared(x, workers)))
        # Encoding is off by half a unit and a truncation by one; inputs are below 1, weights below
        # 0.58 and 0.5, and so the first layer's results below 2.4.
        first = (0.5 * 3 * 0.58 + 0.5 * 3 + 0.5 + 1) * UNIT
        second = 4 * 0.5 * first + (0.5 * 4 * 2.4 + 0.5 + 1) * UNIT
        assert (result - expected).abs().max() <= second
        revealed = module.get().float_precision().state_dict()
        for name, tensor in plain.items():
            assert (revealed[name] - tensor).abs().max() <= UNIT / 2


def test_a_new_module_keeps_what_is_to_be_trained(workers):
    private(small_network(), workers).save_private("net")
    alice, bob, dana = workers
    fresh = small_network(2)
    fresh[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(fresh.parameters(), lr=0.1)
    fresh.load_private("net", alice, bob, crypto_provider=dana)
    assert [each.requires_grad for each in fresh.parameters()] == [False] + 3 * [True]
    assert [id(each) for each in optimizer.param_groups[0]["params"]] == [
        id(each) for each in fresh.parameters()
    ]


def test_buffers_come_back_and_counts_stay_plain(workers):
    norm = nn.BatchNorm1d(2)
    norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    running = norm.running_mean.clone()
    private(norm, workers).save_private("norm")
    workers[0].clear_objects()
    fresh = nn.BatchNorm1d(2)
    loaded("norm", workers, into=fresh)
    assert fresh.num_batches_tracked == 1
    assert (values(fresh.running_mean) - running).abs().max() <= UNIT / 2


def test_tied_parameters_stay_tied(workers):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    private(network, workers).save_private("tied")
    state = loaded("tied", workers)
    assert state["0.weight"] is state["1.weight"]
    fresh = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    fresh[1].weight = fresh[0].weight
    loaded("tied", workers, into=fresh)
    assert fresh[1].weight is fresh[0].weight


def step(network, optimizer, gradient):
    """One step with the same public gradient everywhere, as a private tensor."""
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter).detach() + gradient
    optimizer.step()


@pytest.mark.parametrize("folder", [False, True])
def test_training_goes_on_where_it_was_saved(tmp_path, folder):
    """SGD with momentum: after loading, the next steps are those of training in the clear."""
    place = tmp_path if folder else None
    workers = group(place)
    plain, network = small_network(), small_network()

    def descent(of):
        return torch.optim.SGD(of.parameters(), lr=0.25, momentum=0.5, foreach=False)

    private(network, workers)
    for each in network.parameters():
        each.requires_grad_(True)
    one, other = descent(plain), descent(network)
    schedule = torch.optim.lr_scheduler.StepLR(other, step_size=2, gamma=0.5)
    for gradient in (1.0, -0.5):
        step(plain, one, gradient)
        step(network, other, gradient)
        schedule.step()
    one.param_groups[0]["lr"] = 0.125
    save_private({"net": network, "descent": other, "schedule": schedule, "steps": 2}, "training")
    step(network, other, 100.0)  # is lost
    del network, other
    gc.collect()
    workers[0].clear_objects()
    if folder:
        workers = group(place)
    network = small_network(7)
    other = descent(network)
    schedule = torch.optim.lr_scheduler.StepLR(other, step_size=2, gamma=0.5)
    state = loaded(
        "training", workers, into={"net": network, "descent": other, "schedule": schedule}
    )
    assert state["steps"] == schedule.last_epoch == 2
    assert other.param_groups[0]["lr"] == 0.125
    assert other.param_groups[0]["momentum"] == 0.5
    for gradient in (0.25, -2.0):
        step(plain, one, gradient)
        step(network, other, gradient)
    # Encoding, and in each of four steps a truncation of the momentum and one of the update.
    for a, b in zip(plain.parameters(), network.get().float_precision().parameters(), strict=True):
        assert (a - b).abs().max() <= (0.5 + 4 * 2) * UNIT
    workers[0].clear_objects()


def test_a_loaded_model_learns_by_backward(workers):
    """One step from what was saved, against the same step in the clear from the same state."""
    rate = 0.125
    x, y = torch.rand(8, 4), torch.rand(8, 1)
    network = private(nn.Linear(4, 1), workers)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.5)

    def learn(net, descent, x, y):
        descent.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        descent.step()

    for parameter in network.parameters():
        parameter.requires_grad_()
    learn(network, optimizer, shared(x, workers), shared(y, workers))
    save_private({"net": network, "descent": optimizer}, "learning")
    plain = nn.Linear(4, 1)
    loaded("learning", workers, into={"net": plain})
    plain = plain.get().float_precision()
    for each in plain.parameters():
        each.requires_grad_()
    in_the_clear = torch.optim.SGD(plain.parameters(), lr=rate, momentum=0.5)
    for a, b in zip(plain.parameters(), network.parameters(), strict=True):
        moment = optimizer.state[b]["momentum_buffer"]
        in_the_clear.state[a]["momentum_buffer"] = values(moment).clone()
    workers[0].clear_objects()
    loaded("learning", workers, into={"net": network, "descent": optimizer})
    learn(network, optimizer, shared(x, workers), shared(y, workers))
    with torch.no_grad():
        largest = (plain(x) - y).abs().max().item()
    learn(plain, in_the_clear, x, y)
    # Inputs and labels are encoded, the forward product truncated; the gradient is the mean over
    # the batch of 2·x·residual, and is truncated once, as are momentum and update. |x|, |w| < 1.
    residual = (4 * 0.5 + 1 + 0.5) * UNIT
    gradient = 2 * (residual + 0.5 * UNIT * largest) + UNIT
    for a, b in zip(plain.parameters(), network.get().float_precision().parameters(), strict=True):
        assert (a - b).abs().max() <= rate * (gradient + UNIT) + UNIT


def test_the_count_of_steps_of_adam_is_public_and_comes_back(workers):
    parameter = nn.Parameter(shared(torch.ones(2), workers), requires_grad=False)
    optimizer = torch.optim.Adam([parameter])
    optimizer.state[parameter] = {
        "step": torch.tensor(5.0),
        "exp_avg": shared(torch.full((2,), 0.5), workers),
        "exp_avg_sq": shared(torch.full((2,), 0.25), workers),
    }
    save_private({"parameter": parameter, "adam": optimizer}, "adam")
    workers[0].clear_objects()
    fresh = nn.Parameter(torch.zeros(2))
    again = torch.optim.Adam([fresh])
    loaded("adam", workers, into={"parameter": fresh, "adam": again})
    state = again.state[fresh]
    assert state["step"] == 5
    assert values(state["exp_avg"]).tolist() == [0.5, 0.5]
    assert values(state["exp_avg_sq"]).tolist() == [0.25, 0.25]
    assert values(fresh).tolist() == [1.0, 1.0]


def test_what_does_not_fit_changes_nothing(workers):
    network = private(small_network(), workers)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    save_private({"net": network, "sgd": optimizer, "epoch": 1}, "all")
    before = [each._handle for each in network.parameters()]
    wider = small_network()
    wider[3] = nn.Linear(4, 3)
    two_groups = torch.optim.SGD(
        [{"params": network[0].parameters()}, {"params": network[3].parameters()}], lr=0.1
    )
    cases = [
        ({"net": wider}, ShapeError, r"net\.3\.weight has shape \(2, 4\), not \(3, 4\)"),
        ({"net": network, "absent": network}, UsageError, "has no 'absent'"),
        ({"net": network, "epoch": network}, UsageError, "epoch is of another module"),
        ({"net": network, "sgd": two_groups}, UsageError, "groups of"),
        ({"net": network, "epoch": 3}, UsageError, "nothing is loaded into a int"),
        ({"net": network[0]}, UsageError, "net is of another module"),
        ({"net": network, "epoch": torch.ones(2)}, UsageError, "epoch is no tensor"),
    ]
    for into, kind, complaint in cases:
        with pytest.raises(kind, match=complaint):
            loaded("all", workers, into=into)
    assert [each._handle for each in network.parameters()] == before


def test_a_tensor_with_views_is_not_changed_behind_them(workers):
    x = shared(torch.ones(2, 3), workers)
    x.save_private("x")
    view = x[0]
    with pytest.raises(UsageError, match="views"):
        loaded("x", workers, into=x)
    del view
    loaded("x", workers, into=x)


# ---- workers and folders -------------------------------------------------------------------------


def test_without_a_folder_it_lasts_as_long_as_the_workers(workers):
    shared(torch.ones(2), workers).save_private("x")
    with pytest.raises(UsageError, match="nothing is saved"):
        loaded("x", group())


def test_folders_hold_shares_that_look_random(tmp_path):
    workers = group(tmp_path)
    shared(torch.zeros(1000, dtype=torch.int64), workers).save_private("zeros")
    workers[0].clear_objects()
    alice, bob, _ = group(tmp_path)
    shares = []
    for worker in (alice, bob):
        (checkpoint,) = worker.vault.versions("zeros")
        shares.append(worker.vault.load(checkpoint)[0][0])
    assert not np.any(shares[0] + shares[1])
    # Of 64,000 fair bits within 10 standard deviations of half are ones.
    ones = int(np.bitwise_count(shares[0]).sum())
    assert abs(ones - 32_000) < 10 * math.sqrt(64_000) / 2


def test_other_holders_than_those_who_saved(workers):
    alice, bob, dana = workers
    shared(torch.ones(2), workers).save_private("x")
    carol = tacita.VirtualWorker(id="carol")
    with pytest.raises(UsageError, match="held by alice, bob, not by alice, bob, carol"):
        load_private("x", alice, bob, carol, crypto_provider=dana)
    # The sum of shares does not depend on their order.
    again = load_private("x", bob, alice, crypto_provider=dana)
    assert torch.equal(values(again), torch.ones(2))
    bob.clear_objects()


def test_a_checked_session_loads_as_well(workers):
    shared(torch.tensor([1.5, -2.0]), workers).save_private("x")
    again = loaded("x", workers, checked=True)
    assert torch.equal(values(torch.relu(again)), torch.tensor([1.5, 0.0]))


def test_a_bound_that_was_exceeded_is_not_saved(workers):
    alice, bob, dana = workers
    x = torch.tensor([1.0, 900.0]).fix_precision(**BITS)
    x = x.share(alice, bob, crypto_provider=dana, checked=True).bounded(2)
    bits = x > 0
    with pytest.raises(UsageError, match="bound"):
        bits.save_private("bits")


@pytest.mark.parametrize("name", ["", "x" * 101, 7])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(workers, name):
    private = shared(torch.ones(3), workers)
    with pytest.raises(UsageError, match="a text of 1 to 100 characters"):
        save_private(private, name)
    assert values(private).tolist() == [1, 1, 1]  # the session goes on
