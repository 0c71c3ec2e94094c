"""Transformers, weights and sentences secret: time in its parts, rounds, bytes and agreement.

    python -m bench transformers [--subjects block,client,private] [--length 32] [--repeat 5]

    block    nn.TransformerEncoderLayer: hidden 128, 2 heads, 512 inside, GELU; random weights
    client   all-MiniLM-L6-v2, whose client looks its words up itself: vectors are private, and the
             table is no secret to clients
    private  the same from one-hot rows, which meet the secret table in one product

Two parties and a dealer as threads of one process, a fresh one for each subject. `live` is
everything, from the inputs to the revealed result; dealing, preparation and online follow one
another. README.md says what each figure means, under `networks`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import tacita
from bench import child
from bench.networks import disagreement, words
from bench.record import Record, peak_bytes, seconds, spread
from tacita import data, zoo
from tacita.zoo.sentence_encoder import EncoderSize

SUBJECTS = ("block", "client", "private")
BITS = 16
WARMUP = 1
SAMPLES = 16
LAYERS = 6  # of the published encoder
SEED = 1
ASKED = "Where can I find a good restaurant near the university that is not too expensive?"
SENTENCES = (
    "Return the absolute value of the argument.",
    "The hospital keeps its scans to itself, and nobody else may look at any one of them.",
    "Nobody sees the weights of the model.",
    "Sort a list in place.",
    "A function that opens a file and reads all of its lines, one after the other.",
    "random numbers",
    "What is the capital of France, and how many people live there?",
    "The quick brown fox jumps over the lazy dog.",
    "Interest rates rose for the third time this year, to four and a half per cent.",
    "She had never been to the sea before.",
    "How do I remove a directory with everything that is in it?",
    "Patients with a high fever should drink more water than usual.",
    "1984 was published in June 1949.",
    "yes",
    "Two trains leave the same station at noon, one to the north and one to the south.",
    "Please find attached the contract, and send it back to us signed by Friday.",
)


@dataclass(frozen=True, eq=False)
class Subject:
    """module: in eval mode. inputs: what is measured. samples: what bounds come from.
    source: of weights and inputs, in words.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    samples: tuple[Tensor, ...]
    source: str


def subject(name: str, length: int, layers: int) -> Subject:
    torch.manual_seed(SEED)
    if name == "block":
        block = nn.TransformerEncoderLayer(128, 2, 512, activation="gelu", batch_first=True)
        noise = torch.randn(SAMPLES + 1, length, 128)
        return Subject(block.eval(), (noise[:1],), (noise[1:],), "random weights, normal noise")
    private = name == "private"
    module = zoo.SentenceEncoder(EncoderSize(layers=layers), embeds=private).eval()
    weights = data.minilm_weights(embeds=private)
    module.load_state_dict({key: weights[key] for key in module.state_dict()})
    table, tokenizer = data.minilm_words(), data.SentenceTokenizer()

    def inputs(texts: Sequence[str]) -> tuple[Tensor, ...]:
        tokens = tokenizer(texts, length=length)
        first = tokens.one_hot() if private else tokens.embedded(table)
        return first, tokens.bias, tokens.weights

    return Subject(module, inputs([ASKED]), inputs(SENTENCES), "published weights, a sentence")


class Shared:
    """A transformer shared between two parties, and what it does with one input."""

    def __init__(self, model: tacita.Model, inputs: tuple[Tensor, ...], expected: Tensor) -> None:
        hook = tacita.TorchHook(torch)
        names = ("alice", "bob", "dealer")
        self.alice, self.bob, self.dealer = (tacita.VirtualWorker(hook, id=n) for n in names)
        self.inputs, self.expected = inputs, expected
        self.shared = model.share(self.alice, self.bob, crypto_provider=self.dealer)
        self.cosine, self.largest_difference = 1.0, 0.0
        self.settle()

    def settle(self) -> None:
        self.shared.session.settle()

    def live(self) -> None:
        """One query; every result is compared with torch's."""
        result = self.shared(*self.inputs).get().float_precision()
        likeness = torch.cosine_similarity(result, self.expected, dim=-1).min()
        self.cosine = min(self.cosine, float(likeness))
        off = float((result - self.expected).abs().max())
        self.largest_difference = max(self.largest_difference, off)

    def ahead(self, repeat: int) -> dict[str, Any]:
        """Dealing, preparation and online in turn; online shares the inputs as well."""
        taken: dict[str, list[float]] = {"dealing": [], "preparation": [], "online": []}
        for run in range(WARMUP + repeat):
            with TemporaryDirectory(prefix="tacita-bench-") as folder:
                marks = [time.perf_counter()]
                self.shared.deal(1, folder)
                marks.append(time.perf_counter())
                self.shared.prepare(1)
                self.settle()
                marks.append(time.perf_counter())
            start = time.perf_counter()
            self.live()
            online = time.perf_counter() - start
            self.settle()
            if run >= WARMUP:
                for name, step in zip(
                    taken, (marks[1] - marks[0], marks[2] - marks[1], online), strict=True
                ):
                    taken[name].append(step)
        return {f"{name}_s": spread(each) for name, each in taken.items()}

    def traffic(self) -> dict[str, int]:
        """What one live run sends, as the transport counts it."""
        with tacita.measure(self.alice, self.bob, crypto_provider=self.dealer) as counted:
            self.live()
        return {
            "rounds": counted.rounds,
            "online_bytes_a_party": counted.online_bytes,
            "dealt_bytes": counted.dealt_bytes,
            "input_bytes_a_party": counted.input_bytes,
        }


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """settings: subject, length, layers, repeat."""
    torch.set_num_threads(1)  # two threads that meet a busy core wait for each other
    about = subject(settings["subject"], settings["length"], settings["layers"])
    repeat = settings["repeat"]
    with torch.no_grad():
        expected = about.module(*about.inputs)
        plaintext = seconds(lambda: about.module(*about.inputs), repeat, WARMUP)
    start = time.perf_counter()
    model = tacita.export(
        about.module, *about.inputs, samples=about.samples, compare=False,
        precision=tacita.Precision(base=2, digits=BITS),
    )  # fmt: skip
    exporting = time.perf_counter() - start
    start = time.perf_counter()
    run = Shared(model, about.inputs, expected)
    sharing = time.perf_counter() - start
    figure = {
        **settings,
        "source": about.source,
        "export_s": exporting,
        "sharing_weights_s": sharing,
        "instructions": len(model.program.instructions),
        "plaintext_s": plaintext,
        **run.ahead(repeat),
        "live_s": seconds(run.live, repeat, WARMUP, before=run.settle),
        "declared": {
            "rounds": model.cost.rounds,
            "online_bytes_a_party": model.cost.online_bytes(2),
            "dealt_bytes": model.cost.dealt_bytes,
        },
        "measured": run.traffic(),
    }
    return figure | {
        "cosine": run.cosine,
        "largest_difference": run.largest_difference,
        "peak_bytes": peak_bytes(),
    }


COLUMNS = (
    ("subject", 10), ("live", 9), ("deal", 9), ("prepare", 9), ("online", 9), ("torch", 8),
    ("rounds", 6), ("online MB", 9), ("dealt MB", 8), ("cosine", 9), ("off by", 8),
    ("peak MiB", 8),
)  # fmt: skip


def row(settings: dict[str, Any], figure: dict[str, Any]) -> str:
    """A line of the table: milliseconds for one input."""
    if "failed" in figure:
        return f"{settings['subject']:<10}  failed: {figure['failed']}"
    parts = ("live_s", "dealing_s", "preparation_s", "online_s", "plaintext_s")
    counted = figure["measured"]
    cells = (
        *(f"{1e3 * figure[name]['median']:,.1f}" for name in parts),
        f"{counted['rounds']}", f"{counted['online_bytes_a_party'] / 1e6:,.2f}",
        f"{counted['dealt_bytes'] / 1e6:,.2f}", f"{figure['cosine']:.6f}",
        f"{figure['largest_difference']:.1e}", f"{figure['peak_bytes'] / 2**20:,.0f}",
    )  # fmt: skip
    widths = [width for _, width in COLUMNS[1:]]
    both = zip(cells, widths, strict=True)
    return "  ".join([f"{settings['subject']:<10}", *(f"{cell:>{width}}" for cell, width in both)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=words, default=SUBJECTS, help=f"of {SUBJECTS}")
    parser.add_argument("--length", type=int, default=32, help="tokens")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of the published encoder")
    parser.add_argument("--repeat", type=int, default=5, help="runs that count")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one subject")
    parser.add_argument("--quick", action="store_true", help="one run of each, one layer")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        child.report(measure(json.loads(options.one)))
        return 0
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        raise SystemExit(f"no subject is named {', '.join(sorted(unknown))}")
    record = Record("transformers", {"precision": f"base 2, {BITS} bits", "warm-up runs": WARMUP})
    print("milliseconds for one input; torch in the clear on one thread\n")
    cells = (f"{name:<{w}}" if name == "subject" else f"{name:>{w}}" for name, w in COLUMNS)
    print("  ".join(cells), flush=True)
    failed = 0
    for name in options.subjects:
        settings = {
            "subject": name,
            "length": options.length,
            "layers": 1 if options.quick or name == "block" else options.layers,
            "repeat": 1 if options.quick else options.repeat,
        }
        words_ = ["--one", json.dumps(settings)]
        figure = child.run("bench.transformers", words_, limit=options.limit)
        failed += "failed" in figure
        record.add(name, figure)
        print(row(settings, figure), flush=True)
        if note := disagreement(figure):
            print(f"    {note}", flush=True)
    print(f"\n{record}")
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
