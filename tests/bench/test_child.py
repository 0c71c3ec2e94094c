"""A configuration in a process of its own: its last line, its failure, its end."""

import textwrap

import pytest

from bench import child


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that a child can run, and returns its name."""

    def make(text):
        (tmp_path / "configuration.py").write_text(textwrap.dedent(text))
        return "configuration"

    monkeypatch.setattr(child, "ROOT", tmp_path)
    return make


def test_the_last_line_is_the_figure(module):
    name = module("""
        import json, sys
        print("chatter")
        print(json.dumps({"words": sys.argv[1:]}))
    """)
    assert child.run(name, ["a", "b"], limit=60) == {"words": ["a", "b"]}


def test_a_failure_is_a_figure_that_says_why_without_folders(module):
    name = module('raise RuntimeError("no file /opt/data/images.bin")')
    assert child.run(name, [], limit=60) == {"failed": "RuntimeError: no file images.bin"}


def test_a_signal_is_named(module):
    name = module("import os; os.kill(os.getpid(), 9)")
    assert child.run(name, [], limit=60)["failed"].startswith("ended by signal 9")


def test_what_takes_too_long_is_ended_with_its_own_children(module, tmp_path):
    name = module(f"""
        import os, subprocess, sys, time
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(other.pid))
        time.sleep(600)
    """)
    # The pipe that the grandchild holds open too closes only when that one has gone.
    assert child.run(name, [], limit=3) == {"failed": "took longer than 3 s"}
    assert (tmp_path / "pid").read_text().isdigit()
