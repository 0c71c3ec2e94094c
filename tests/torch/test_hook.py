from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import tacita
from tacita.errors import UnsupportedOperation, UsageError
from tacita.torch.hook import METHODS


def run(code):
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_changes_nothing():
    run(
        "import torch\n"
        "before = set(dir(torch.Tensor)) | set(dir(torch.nn.Module))\n"
        "import tacita\n"
        "assert before == set(dir(torch.Tensor)) | set(dir(torch.nn.Module))\n"
        "assert not hasattr(torch.Tensor, 'fix_precision')\n"
    )


def test_hooking_twice_and_unhooking():
    run(
        "import torch, tacita\n"
        "from torch import nn\n"
        "from torch.optim.optimizer import _global_optimizer_pre_hooks as hooks\n"
        "before = set(dir(torch.Tensor)), set(dir(nn.Module))\n"
        "hook = tacita.TorchHook(torch)\n"
        "again = tacita.TorchHook(torch)\n"
        "assert len(hooks) == 1\n"
        "alice, bob = (tacita.VirtualWorker(hook, id=n) for n in ('alice', 'bob'))\n"
        "x = torch.ones(2).fix_precision().share(alice, bob)\n"
        "hook.unhook()\n"
        "assert not hooks\n"
        "assert before == (set(dir(torch.Tensor)), set(dir(nn.Module)))\n"
        "again.unhook()\n"
        "assert x.get().float_precision().tolist() == [1.0, 1.0]\n"
        "tacita.TorchHook(torch)\n"
        "torch.ones(2).fix_prec()\n"
    )


def test_another_library_is_not_overwritten():
    run(
        "import torch, tacita\n"
        "torch.Tensor.share = lambda self: 'other'\n"
        "try:\n"
        "    tacita.TorchHook(torch)\n"
        "except tacita.errors.UsageError as error:\n"
        "    assert 'share' in str(error)\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
        "assert torch.ones(1).share() == 'other'\n"
        "assert not hasattr(torch.Tensor, 'fix_precision')\n"
    )


def test_all_methods_are_documented():
    for _, methods in METHODS:
        for name, method in methods.items():
            assert method.__doc__, name


def test_plain_tensors():
    x = torch.tensor([1.0])
    y = x.copy()
    y += 1
    assert x.item() == 1.0
    for call in (x.get, x.decrypt, x.float_precision, x.get_, x.float_prec_):
        with pytest.raises(UsageError):
            call()
    assert isinstance(nn.Linear(2, 2).copy(), nn.Linear)


def test_pointers(workers):
    alice = workers["alice"]
    for x in (torch.randn(2, 3), torch.tensor(7), torch.zeros(0), torch.ones(2).bfloat16(),
              torch.tensor([True])):  # fmt: skip
        pointer = x.send(alice)
        assert isinstance(pointer, tacita.PointerTensor)
        assert pointer.location is alice
        assert (pointer.shape, pointer.dtype) == (x.shape, x.dtype)
        assert repr(pointer).startswith(f"PointerTensor(shape={tuple(x.shape)}")
        assert "alice" in repr(pointer)
        back = pointer.get()
        assert back.dtype is x.dtype
        assert torch.equal(back, x)
        with pytest.raises(UsageError):
            pointer.get()
    pointer = torch.ones(2).send(alice)
    for use in (lambda: pointer + 1, lambda: pointer.sum(), lambda: pointer.send(alice)):
        with pytest.raises(UnsupportedOperation, match=r"get|ordinary"):
            use()
    assert pointer.get().tolist() == [1.0, 1.0]
    with pytest.raises(UnsupportedOperation):
        torch.ones(2).send("alice")
    x = torch.ones(2)
    x.send_(alice)
    assert isinstance(x, tacita.PointerTensor)
    x.get_()
    assert x.tolist() == [1.0, 1.0]


def test_a_sent_tensor_is_a_copy(workers):
    x = torch.ones(2)
    pointer = x.send(workers["bob"])
    x.add_(1)
    assert pointer.get().tolist() == [1.0, 1.0]
