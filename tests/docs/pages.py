"""The pages of docs/, and what a test reads out of them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DEPLOY = ROOT / "deploy"

FENCE = re.compile(r"^```(\S+)[ ]?([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TABLE_ROW = re.compile(r"^\| (`[^|]*`) \|", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block: ```language words."""

    language: str
    words: tuple[str, ...]
    text: str


def page(name):
    return (DOCS / name).read_text()


def blocks(text):
    return [Block(found[1], tuple(found[2].split()), found[3]) for found in FENCE.finditer(text)]


def section(text, heading):
    """From a heading (with its hashes) to the next one of its rank or above."""
    rank = heading.index(" ")
    assert f"\n{heading}\n" in text, heading
    after = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{rank}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text):
    """What stands in backticks in the first column of the tables of a section."""
    return [name for row in TABLE_ROW.findall(text) for name in QUOTED.findall(row)]
