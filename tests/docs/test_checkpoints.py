"""docs/checkpoints.md: what it shows runs, and what it promises to whom holds."""

import re

import pytest

import tacita
from tacita.network.identity import Principal
from tacita.service.terms import loan_of, refusal

from .pages import ROOT, blocks, page

TEXT = page("checkpoints.md")


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [each.text for each in blocks(TEXT) if each.words == ()]
    assert len(runs) == 2
    names = {}
    for text in runs:
        exec(compile(text, "checkpoints.md", "exec"), names)  # noqa: S102
    assert (tmp_path / "kept/alice/checkpoints").is_dir()
    assert all(isinstance(each, tacita.PrivateTensor) for each in names["model"].parameters())
    names["alice"].clear_objects()


def test_the_other_examples_are_python_of_ours():
    others = [each for each in blocks(TEXT) if each.words == ("notrun",)]
    assert others
    for block in others:
        compile(block.text, "checkpoints.md", "exec")
        for name in re.findall(r"\bsy\.([a-z_]+)", block.text):
            assert hasattr(tacita, name)


def test_the_table_of_who_sees_the_model():
    """The terms of the example, against what a party decides by."""
    example = next(b.text for b in blocks(TEXT) if "hospital-b" in b.text)
    audiences = [
        tuple(re.findall(r'"([^"]+)"', each))
        for each in re.findall(r"audience=\[([^\]]*)\]", example)
    ]
    owners = ("client:hospital-a", "client:hospital-b", "client:lab")
    loans = frozenset(map(loan_of, owners, audiences))
    rows = re.findall(r"^\| (.+?) \| (sees it|is refused) \|", TEXT, re.MULTILINE)
    names = {
        "hospital A": "hospital-a", "hospital B": "hospital-b", "the lab": "lab",
        "anybody else": "visitor",
    }  # fmt: skip
    assert [who for who, _ in rows] == list(names)
    for who, said in rows:
        why_not = refusal(Principal("client", names[who], "0" * 64), loans)
        assert (why_not is None) == (said == "sees it"), who


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_links_lead_somewhere(target):
    assert (ROOT / "docs" / target).exists()
