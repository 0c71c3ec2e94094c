"""What benchmarks write down: spreads, and nothing of a machine's folders."""

import json

import pytest

from bench import record
from bench.record import Record, seconds, spread, without_folders


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/opt/tools/bin/python", "python"),
        ("--python spu=/opt/tools/bin/python", "--python spu=python"),
        ("no such file: '/home/a/data/images.bin'", "no such file: 'images.bin'"),
        ("in module conv1 (/home/a/net.py, line 3)", "in module conv1 (net.py, line 3)"),
        ("--networks lenet,resnet20 --batches 1/2", "--networks lenet,resnet20 --batches 1/2"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text, kept):
    assert without_folders(text) == kept


def test_a_spread_has_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == {
        "median": 3.0, "lower_quartile": 2.0, "upper_quartile": 4.0, "least": 1.0, "most": 5.0,
    }  # fmt: skip
    assert set(spread([7.0]).values()) == {7.0}


def test_what_comes_before_a_run_is_done_for_every_run_and_warm_up():
    calls = []
    seconds(lambda: calls.append("work"), 2, warmup=1, before=lambda: calls.append("before"))
    assert calls == ["before", "work"] * 3


def test_a_record_holds_the_figures_there_are_after_each_of_them(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["bench", "--python", "spu=/opt/tools/bin/python"])
    written = Record("some", {"runs": 3})
    written.add("first", {"median": 1.5})
    assert json.loads((tmp_path / "some.json").read_text())["figures"] == {"first": {"median": 1.5}}
    written.add("second", {"failed": "why"})
    text = (tmp_path / "some.json").read_text()
    assert list(json.loads(text)["figures"]) == ["first", "second"]
    assert json.loads(text)["command"] == "python -m bench.some --python spu=python"
    assert "/opt/" not in text
