"""Search by meaning, where nobody sees the question and nobody sees the catalogue.

A publisher has sentences and the weights of a sentence encoder (all-MiniLM-L6-v2); a reader has a
question. The catalogue's vectors and the weights are shared between alice and bob once; a question
arrives as shares, goes through the whole transformer, and is compared with every sentence, all on
shares. The reader alone learns which sentences are nearest.

The catalogue here: the first sentence about each function of Python's standard library.

    python examples/semantic_search.py "how do I round a number" --tokens private

What is private about the question's words: with `--tokens private` everything but that there are
no more than `--length` of them: each word is a row of 30,522 zeros and ones, and its vector a
product with the publisher's secret table. With `--tokens client` the reader looks words up in the
table itself, which is faster, and the table is no secret to readers.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from enum import StrEnum
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

import tacita as sy
from tacita import zoo
from tacita.data import SentenceTokenizer, minilm_weights
from tacita.errors import TacitaError

console = Console(highlight=False)
MODULES = (
    "builtins", "base64", "bisect", "calendar", "collections", "copy", "csv", "datetime", "difflib",
    "fnmatch", "functools", "gc", "getpass", "glob", "gzip", "hashlib", "heapq", "html", "inspect",
    "io", "itertools", "json", "locale", "logging", "math", "mimetypes", "operator", "os",
    "os.path", "platform", "pprint", "random", "re", "secrets", "shlex", "shutil", "socket",
    "statistics", "string", "subprocess", "tempfile", "textwrap", "threading", "time",
    "unicodedata", "uuid", "webbrowser", "zipfile", "zlib",
)  # fmt: skip
QUESTIONS = (
    "How do I round a number?",
    "delete a directory and everything in it",
    "What is the weekday of a date?",
    "the middle value of a list of numbers",
)


class Tokens(StrEnum):
    """Who turns words into vectors."""

    private = "private"
    client = "client"


def catalogue(count: int) -> list[tuple[str, str]]:
    """Names of functions of the standard library, and the first sentence about each."""
    found: dict[str, str] = {}
    for module in MODULES:
        there = vars(importlib.import_module(module))
        for name in sorted(there):
            said = there[name].__doc__ if callable(there[name]) else None
            if name.startswith("_") or not isinstance(said, str) or inspect.isclass(there[name]):
                continue
            first = " ".join(said.strip().split("\n\n")[0].split())
            sentence = first.split(". ")[0].rstrip(".")
            if 20 <= len(sentence) <= 90 and "->" not in sentence and sentence.isascii():
                found.setdefault(sentence, name if module == "builtins" else f"{module}.{name}")
    return [(name, sentence) for sentence, name in found.items()][:count]


class Search(torch.nn.Module):
    """A question's tokens, mask and weights to its likeness with every sentence, [1, sentences]."""

    def __init__(self, encoder: torch.nn.Module, vectors: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.vectors = torch.nn.Parameter(vectors)

    def forward(self, tokens: Tensor, bias: Tensor, weights: Tensor) -> Tensor:
        return self.encoder(tokens, bias, weights) @ self.vectors.T


def main(
    question: Annotated[list[str] | None, typer.Argument(help="What to look for.")] = None,
    tokens: Annotated[Tokens, typer.Option(help="Who looks words up.")] = Tokens.client,
    sentences: Annotated[int, typer.Option(min=1, help="Sentences in the catalogue.")] = 650,
    length: Annotated[int, typer.Option(min=24, help="Tokens a question may have.")] = 24,
    best: Annotated[int, typer.Option(min=1, help="Answers to show.")] = 3,
) -> None:
    """Ask a catalogue without showing the question; see the answers nearest to it."""
    private = tokens is Tokens.private
    tokenizer, weights = SentenceTokenizer(), minilm_weights()
    words = weights["words.weight"].T
    others = {name: each for name, each in weights.items() if name != "words.weight"}
    names, texts = zip(*catalogue(sentences), strict=True)

    with console.status("the publisher encodes the catalogue, in the clear"), torch.no_grad():
        encoder = lookup = zoo.SentenceEncoder(embeds=False).eval()
        lookup.load_state_dict(others)
        if private:
            encoder = zoo.SentenceEncoder().eval()
            encoder.load_state_dict(weights)
        known = tokenizer(texts, length=48)
        vectors = lookup(known.embedded(words), known.bias, known.weights)

    def question_of(text: str) -> tuple[Tensor, Tensor, Tensor]:
        found = tokenizer([text], length=length)
        return (found.one_hot() if private else found.embedded(words)), found.bias, found.weights

    with console.status("the publisher exports the model and shares it"):
        samples = tokenizer([text for text in texts if len(text) < 40][:16], length=length)
        first = samples.one_hot() if private else samples.embedded(words)
        module = Search(encoder, vectors).eval()
        model = sy.export(
            module, *question_of(QUESTIONS[0]), samples=(first, samples.bias, samples.weights)
        )
        hook = sy.TorchHook(torch)
        alice, bob, dealer = (sy.VirtualWorker(hook, id=i) for i in ("alice", "bob", "dealer"))
        shared = model.share(alice, bob, crypto_provider=dealer)
    console.print(
        f"{len(texts)} sentences; a question takes {model.cost.rounds} rounds, "
        f"{model.cost.opened_bytes / 1e6:.1f} MB from each party to the other, "
        f"{model.cost.dealt_bytes / 1e6:.1f} MB from the dealer\n"
    )
    for text in question or QUESTIONS:
        asked = question_of(text)
        started = time.perf_counter()
        with console.status("asking"):
            likeness = shared(*asked).get().float_precision()[0]
        took = time.perf_counter() - started
        with torch.no_grad():
            plain = module(*asked)[0]
        table = Table(title=f"[bold]{text}[/bold]  ({took:.2f} s)", title_justify="left")
        table.add_column("likeness", justify="right")
        table.add_column("in the clear", justify="right")
        table.add_column("function")
        table.add_column("says")
        for at in likeness.topk(min(best, len(texts))).indices.tolist():
            table.add_row(f"{likeness[at]:.4f}", f"{plain[at]:.4f}", names[at], texts[at])
        console.print(table)


if __name__ == "__main__":
    try:
        typer.run(main)
    except TacitaError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        sys.exit(1)
