"""Draw the learning curves of a study, from the figures that `star-al simulate --out` has written, as an SVG file.

python scripts/draw_study.py docs/studies/data/bbc.json docs/images/learning-curve.svg
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from star_al.report.canvas import GREY, INK, MARKS, PAPER, SERIES, new_figure


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="a JSON file of `star-al simulate --out`")
    parser.add_argument("out", type=Path, help="the SVG file")
    return parser.parse_args()


def draw(figures: Mapping[str, Any]) -> Any:
    """Accuracy against labels bought: the mean of each strategy, and its runs as thin lines."""
    figure, axes = new_figure(7.0, 3.8)
    colours = iter(SERIES)
    for mark, curve in zip(MARKS, figures["strategies"], strict=False):
        colour = GREY if curve["strategy"] == "random" else next(colours)
        for run in figures["runs"]:
            if run["strategy"] == curve["strategy"]:
                axes.plot(
                    run["labels_R"], percents(run["accuracy_R"]), color=colour, linewidth=0.8, alpha=0.5
                )
        name = f"{curve['strategy']}, mean of {len(curve['seeds'])} runs"
        means = percents(curve["accuracy_R"])
        axes.plot(curve["labels_R"], means, color=colour, marker=mark, linewidth=2.0, label=name)
    base = 100 * figures["base_accuracy"]
    axes.axhline(base, color=INK, linestyle="--", linewidth=0.9, label=f"base model, no labels: {base:.0f} %")
    axes.set_xlabel("labels bought, those for the temperature included")
    axes.set_ylabel("accuracy on test texts, %")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.1), frameon=False)  # above the base model
    return figure


def percents(shares: Sequence[float]) -> list[float]:
    """Shares in percent."""
    return [100 * share for share in shares]


def main() -> None:
    arguments = parse()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    with rc_context({"svg.hashsalt": "study", "font.size": 9.5}):
        figure = draw(figures)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.out, format="svg", facecolor=PAPER, metadata={"Date": None})


if __name__ == "__main__":
    main()
