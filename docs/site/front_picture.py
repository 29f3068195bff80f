"""Draw the picture of the first page from the kept record of a comparison: `python docs/site/front_picture.py`.

Robust accuracy against processor seconds, warm-up and selection included, mean and standard deviation over three seeds.
"""

import json
from pathlib import Path
from statistics import mean, stdev

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "results" / "comparisons" / "sat-transfer" / "results.json"
PICTURE = ROOT / "docs" / "images" / "robust-accuracy-against-time.png"

# method: label, colour, place of the label relative to the point (points), alignment
SHOWN = {
    "full": ("all data", "#222222", (-10, 0), "right"),
    "rs2": ("rs2: re-drawn at random every epoch", "#1f6fb4", (-4, 30), "left"),
    "craig": ("craig: matches gradients", "#7a4fb5", (12, 0), "left"),
    "random": ("random, fixed", "#2a8f3c", (-12, 0), "right"),
    "rcs": ("rcs: robustness-aware coreset", "#c8372d", (12, 0), "left"),
    "warm": ("after the warm-up", "#777777", (12, -2), "left"),
}


def main() -> None:
    """Write the picture."""
    records = json.loads(RECORD.read_text(encoding="utf-8"))["records"]
    figure, axes = plt.subplots(figsize=(9.0, 4.2), dpi=160)
    for method, (label, colour, place, side) in SHOWN.items():
        found = [r for r in records if r["method"] == method]
        time = [r["train_seconds"] + r["select_seconds"] for r in found]
        robust = [100 * r["accuracy"]["trained"]["robust"] for r in found]
        axes.errorbar(
            mean(time), mean(robust), stdev(robust), fmt="o", ms=9, color=colour, capsize=4
        )
        axes.annotate(
            label,
            (mean(time), mean(robust)),
            place,
            textcoords="offset points",
            color=colour,
            size=12,
            ha=side,
            va="center",
        )
    axes.set(
        xlabel="processor seconds, warm-up and selection included",
        ylabel="accuracy under PGD-20, %",
        xlim=(0, 118),
        ylim=(20, 28),
    )
    axes.set_title(
        "CIFAR-10: adversarial training of a small network on 10 % of 5,000 images",
        loc="left",
        size=12,
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
