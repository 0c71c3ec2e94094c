"""The demo script, as `make demo` runs it but with few images."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "examples" / "secure_classification.py"


@pytest.fixture
def run(monkeypatch):
    """Runs the script in this process with the arguments given."""
    specification = importlib.util.spec_from_file_location("secure_classification", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "secure_classification", script)
    specification.loader.exec_module(script)
    app = typer.Typer()
    app.command()(script.main)
    wide = {"COLUMNS": "160", "NO_COLOR": "1"}
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)], env=wide)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [("--base", 2, "--precision", 16), ("--base", 10)])
def test_few_images_get_the_plaintext_model_s_answers(run, precision):
    """The images are always the same first ones, the training is seeded: no luck is involved."""
    done = run("--images", 100, "--batch", 40, "--epochs", 1, *precision)
    assert done.exit_code == 0, done.output
    table = done.stdout
    private = re.search(r"accuracy, private\D+(\d+) of 100", table)
    plain = re.search(r"accuracy, plaintext model\D+(\d+) of 100", table)
    agreement = re.search(r"the same answer as the plaintext model\D+([\d.]+) %", table)
    assert int(plain[1]) > 75
    assert float(agreement[1]) >= 99
    assert abs(int(private[1]) - int(plain[1])) <= 1
    for row in ("forward pass .*ms", "each party, an image .*kB", "last party, an image .*kB"):
        assert re.search(row, table), row
    assert int(re.search(r"rounds, a forward pass\D+(\d+)", table)[1]) > 0


@pytest.mark.parametrize(
    "wrong", [("--base", 3), ("--images", 0), ("--batch", 0), ("--precision", -1)]
)
def test_a_wrong_option_is_named(run, wrong):
    done = run(*wrong)
    assert done.exit_code == 2
    assert wrong[0] in done.stderr
