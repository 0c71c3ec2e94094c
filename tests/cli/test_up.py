"""`tacita up`, and every command of owners and clients against the network that it starts."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import tacita
from tacita.cli.main import app

WAIT = 110.0  # seconds: the limit of every wait in these tests


class Up:
    """A running `tacita up`, and the lines that it has printed."""

    def __init__(self, *arguments, **more):
        self.lines = []
        self._ready = threading.Event()
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "tacita", "up", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            # No data are at hand: how the model is trained is shown in test_demonstration.py.
            env={**os.environ, "PYTHONUNBUFFERED": "1", "TACITA_DATA": os.devnull, **more},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                self._ready.set()
        self._ready.set()

    def wait(self):
        assert self._ready.wait(WAIT)
        assert self.process.poll() is None, self.text
        return self

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT)
        self._reader.join(WAIT)
        return code

    @property
    def text(self):
        return "\n".join(self.lines)

    def pids(self):
        return {
            name: int(number)
            for name, number in re.findall(r"(?:party|dealer) (\w+): .* process (\d+),", self.text)
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("up") / "network"


@pytest.fixture(scope="module")
def up(folder):
    # It times this machine, and is to leave nothing of that in the user's cache.
    made = Up("--folder", str(folder), XDG_CACHE_HOME=str(folder.parent / "cache"))
    try:
        yield made.wait()
    finally:
        made.end()


def run(*arguments, who=None):
    return CliRunner().invoke(app, [*map(str, arguments), *(("--to", str(who)) if who else ())])


@pytest.fixture
def carol(up, folder):
    return folder / "client-carol" / "client.toml"


@pytest.fixture
def olga(up, folder):
    return folder / "owner-olga" / "client.toml"


def test_the_command_that_it_prints_makes_a_prediction(up, folder):
    (line,) = [each.strip() for each in up.lines if " predict " in each]
    command = shlex.split(line)
    assert all(os.path.isabs(part) for part in command if "/" in part)
    ended = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=WAIT, check=False, cwd="/"
    )
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"([0-9]\n){4}", ended.stdout)
    assert "published digits: random weights" in up.text


def test_it_says_what_runs_where(up, folder):
    assert set(up.pids()) == {"alice", "bob", "dana"}
    assert str(folder) in up.text
    for pid in up.pids().values():
        os.kill(pid, 0)


def test_models_status_and_deal(carol, olga):
    listed = run("models", who=carol)
    assert listed.exit_code == 0, listed.output
    assert "digits" in listed.output
    assert "4×1×28×28" in listed.output
    dealt = run("deal", "digits", "--runs", 1, who=olga)
    assert dealt.exit_code == 0, dealt.output
    assert re.fullmatch(r"digits: \d+ runs in stock\n", dealt.output)
    state = run("status", who=carol)
    assert state.exit_code == 0, state.output
    assert "digits: " in state.output
    refused = run("deal", "digits", "--runs", 1, who=carol)
    assert refused.exit_code == 1
    assert "alice answered 403" in refused.output


def test_doctor_finds_everything_well(carol):
    found = run("doctor", who=carol)
    assert found.exit_code == 0, found.output
    assert "✗" not in found.output
    assert found.output.endswith("all is well\n")
    for what in ("certificate", "clock", "links", "round trip", "bandwidth", "version"):
        assert what in found.output
    for what in ("to bob", "to dana"):  # what the parties measure
        assert what in found.output
    assert " back, clocks " in " ".join(found.output.split())


@pytest.fixture(scope="module")
def linear():
    module = nn.Linear(3, 2).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]))
        module.bias.copy_(torch.tensor([1.0, -2.0]))
    return module


def test_a_saved_model_is_published_queried_and_removed(carol, olga, linear, tmp_path):
    saved, given, out = (tmp_path / name for name in ("linear.tacita", "x.npy", "y.npy"))
    tacita.export(linear, torch.ones(2, 3)).save(saved)
    x = np.arange(15, dtype=np.float32).reshape(5, 3) / 4
    np.save(given, x)
    published = run("publish", saved, "--name", "linear", "--audience", "client:carol", who=olga)
    assert published.exit_code == 0, published.output
    assert "takes input 2×3" in published.output
    assert "\n  compares nothing\n" in published.output
    asked = run("predict", "linear", given, "--out", out, who=carol)
    assert asked.exit_code == 0, asked.output
    assert asked.output == f"written to {out}\n"
    # Nothing is truncated in one linear layer, and these numbers are exact.
    assert np.array_equal(np.load(out), linear(torch.from_numpy(x)).detach().numpy())
    classes = run("predict", "linear", given, "--classes", who=carol)
    assert [int(each) for each in classes.output.split()] == np.load(out).argmax(1).tolist()
    removed = run("remove", "linear", who=olga)
    assert removed.exit_code == 0, removed.output
    again = run("remove", "linear", who=olga)
    assert again.exit_code == 2
    assert "alice answered 404" in again.output


def test_publishing_says_how_values_are_compared_and_why(olga, tmp_path, monkeypatch):
    monkeypatch.setattr("tacita.runtime.timings.user_cache_path", lambda *_: tmp_path)
    saved = tmp_path / "relu.tacita"
    tacita.export(nn.ReLU().eval(), torch.ones(2, 3)).save(saved)

    def line(*options):
        published = run("publish", saved, "--name", "relu", *options, who=olga)
        assert published.exit_code == 0, published.output
        (found,) = [each for each in published.output.splitlines() if " compares " in each]
        return found

    number = r"[0-9.]+"
    measured = rf"{number} ms round trip, {number} [MG]bit/s between the parties"
    assert re.fullmatch(rf"  compares with (tables|fss): {measured}", line())
    # Whatever this machine takes, one message less over ten seconds takes less.
    given = line("--network", "10s,100Gbit/s")
    assert given == "  compares with fss: 10000 ms round trip, 100 Gbit/s, as given"
    assert line("--protocol", "tables") == "  compares with tables: as asked for"
    assert run("remove", "relu", who=olga).exit_code == 0
    unknown = run("publish", saved, "--name", "relu", "--network", "moon", who=olga)
    assert unknown.exit_code == 2
    assert "no network 'moon'" in unknown.output


def test_a_client_may_not_publish_where_policies_say_owners(carol, linear, tmp_path):
    saved = tmp_path / "linear.tacita"
    tacita.export(linear, torch.ones(2, 3)).save(saved)
    refused = run("publish", saved, "--name", "linear", who=carol)
    assert refused.exit_code == 1
    assert "answered 403" in refused.output


def test_a_saved_model_takes_no_options_of_exporting(olga, linear, tmp_path):
    saved = tmp_path / "linear.tacita"
    tacita.export(linear, torch.ones(2, 3)).save(saved)
    found = run("publish", saved, "--name", "linear", "--digits", "2^10", who=olga)
    assert found.exit_code == 2
    assert "has been exported" in found.output


def test_the_configuration_may_come_from_the_environment(carol, monkeypatch):
    monkeypatch.setenv("TACITA_CLIENT_CONFIG", str(carol))
    assert run("models").exit_code == 0


def test_a_second_one_in_the_same_folder_is_refused(up, folder):
    second = Up("--folder", str(folder), "--no-publish")
    assert second.process.wait(WAIT) == 2
    second.end()
    assert f"tacita: a network runs in {folder} already" in second.text
    for pid in up.pids().values():
        os.kill(pid, 0)


@pytest.mark.parametrize("name", ["bad/..", "..", "", "a b", "x" * 101])
def test_names_that_no_model_can_have(olga, linear, tmp_path, name):
    saved = tmp_path / "linear.tacita"
    tacita.export(linear, torch.ones(2, 3)).save(saved)
    refused = run("publish", saved, "--name", name, who=olga)
    assert refused.exit_code == 2
    assert "a model's name has letters" in refused.output


def test_ctrl_c_ends_all_processes(up, folder):
    """The last of those that need this network."""
    pids = up.pids()
    assert up.end(signal.SIGINT) == 0
    assert up.lines[-1] == f"ended; its files stay in {folder}"
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_dies_is_named_and_the_others_are_ended(folder):
    up = Up("--folder", str(folder), "--no-publish").wait()
    pids = up.pids()
    os.kill(pids["bob"], signal.SIGKILL)
    assert up.process.wait(WAIT) == 1
    up.end()
    assert "tacita: bob has ended with exit code -9" in up.text
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def wait_for_the_end(pids):
    deadline = time.monotonic() + WAIT
    for pid in pids.values():
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            assert time.monotonic() < deadline, pid
            time.sleep(0.05)


def test_a_temporary_folder_goes_with_its_keys(tmp_path):
    up = Up("--no-publish", TMPDIR=str(tmp_path)).wait()
    (made,) = tmp_path.glob("tacita-*")
    assert (made / "authority").is_dir()
    assert up.end() == 0
    assert up.lines[-1] == "ended"
    assert not list(tmp_path.glob("tacita-*"))


def test_a_temporary_folder_goes_when_a_daemon_dies(tmp_path):
    up = Up("--no-publish", TMPDIR=str(tmp_path)).wait()
    os.kill(up.pids()["alice"], signal.SIGKILL)
    assert up.process.wait(WAIT) == 1
    up.end()
    assert not list(tmp_path.glob("tacita-*"))


def test_daemons_end_with_one_that_is_killed(tmp_path):
    up = Up("--no-publish", "--folder", str(tmp_path / "network")).wait()
    pids = up.pids()
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    wait_for_the_end(pids)


def test_a_ctrl_c_while_a_model_is_made_and_a_second_one(tmp_path):
    up = Up(TMPDIR=str(tmp_path))
    deadline = time.monotonic() + WAIT
    while "making the model" not in up.text:
        assert up.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pids = up.pids()
    up.process.send_signal(signal.SIGINT)
    up.end(signal.SIGINT)  # merged with the first, or one that ends it at once
    assert up.process.returncode in (0, 130)
    assert "Ctrl-C ends everything" not in up.text
    wait_for_the_end(pids)
    assert not list(tmp_path.glob("tacita-*"))
