"""Draws bench/measured/ into docs/figures/, for readers who would rather look.

python -m bench.draw
"""

from __future__ import annotations

import json

import matplotlib as mpl

from bench.record import ROOT

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURES = ROOT / "docs" / "figures"


def scaling() -> None:
    """Milliseconds an image over the batch size, secret and in the clear."""
    record = json.loads((ROOT / "bench" / "measured" / "secure_mlp.json").read_text())
    rows = {
        int(name.rsplit(" ", 1)[1]): figure
        for name, figure in record["figures"].items()
        if name.startswith("scaling")
    }
    batches = sorted(rows)
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for key, label, colour in (
        ("ms_an_image_median", "Tacita: weights and images secret", "#1f5fa8"),
        ("plaintext_ms_an_image_median", "torch in the clear, one thread", "#999999"),
    ):
        values = [rows[batch][key] for batch in batches]
        axes.plot(batches, values, "o-", color=colour, label=label)
        for batch, value in zip(batches, values, strict=True):
            axes.annotate(
                f"{value:.2g}", (batch, value), xytext=(0, 6), textcoords="offset points",
                ha="center", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="images in a batch", ylabel="ms an image")
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.margins(y=0.15)
    axes.set_title("784-500-10, everything included", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    axes.text(
        1, -0.3, f"{record['machine']['processor']}, {record['machine']['cores']} cores, "
        f"{record['machine']['kernels']}; commit {record['commit']}",
        transform=axes.transAxes, ha="right", fontsize=7, color="#777777",
    )  # fmt: skip
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / "scaling.png", dpi=160, bbox_inches="tight")


if __name__ == "__main__":
    scaling()
