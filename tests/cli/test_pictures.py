"""Pictures show the numbers of the rounds, and are written completely or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.errors import StoreError
from star_al.report.pictures import draw_pictures, learning_curve, reliability_diagram
from star_al.report.reliability_bins import drawn_bins
from star_al.stats import metrics
from star_al.stats.ece_floor import ece_in_words
from star_al.types import Campaign, Evaluation, FloatArray, Role


def history_row(index: int, accuracy: float | None) -> dict[str, Any]:
    low, high = (None, None) if accuracy is None else (accuracy - 0.05, accuracy + 0.05)
    return {
        "round": index,
        "labels": 26 * index,
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "base_accuracy": None if accuracy is None else 0.4,
        "head_accuracy": None,
    }


def evaluation(model: str, scaling: str, sharpness: float) -> Evaluation:
    random = np.random.default_rng(0)
    targets_N = random.integers(0, 3, 200)
    scores_N_C = random.normal(size=(200, 3))
    scores_N_C[np.arange(200), targets_N] += 1.5
    log_probs_N_C: FloatArray = sharpness * scores_N_C
    log_probs_N_C -= np.log(np.exp(log_probs_N_C).sum(axis=1, keepdims=True))
    names = ("a", "b", "c")
    return metrics.evaluate(
        log_probs_N_C, targets_N, names, model=model, scaling=scaling, split=Role.TEST, temperature=1.0
    )


class StoredRounds:
    """The two store methods that pictures use."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def history(self, campaign_id: int) -> list[dict[str, Any]]:
        return self.rows

    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        return [evaluation("base", "raw", 1.0), evaluation("adapted", "raw", 3.0)] if round_index == 2 else []


CAMPAIGN = Campaign(1, "costs $5 and $6", 1, {}, 0, "key")


def draw(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    return draw_pictures(StoredRounds(rows), CAMPAIGN, folder)  # type: ignore[arg-type]


def test_the_curve_shows_the_rounds_that_were_measured() -> None:
    axes = learning_curve([history_row(0, 0.4), history_row(1, 0.7), history_row(2, 0.8)], "x").axes[0]
    base, curve, start = axes.get_lines()
    assert list(curve.get_xdata()) == [0, 26, 52]
    assert list(curve.get_ydata()) == pytest.approx([40, 70, 80])
    assert list(base.get_ydata()) == pytest.approx([40, 40])
    assert list(start.get_xdata()) == [0]


def test_the_diagram_shows_few_bins_with_intervals() -> None:
    raw = evaluation("adapted", "raw", 3.0)
    figure = reliability_diagram([evaluation("base", "raw", 1.0), raw], "x", 4)
    curves = {each.get_label(): each for each in figure.axes[0].containers}
    curve, _, (bars,) = curves[f"adapted, raw, ECE {ece_in_words(raw)}"]
    drawn = drawn_bins(raw.bins)
    assert list(curve.get_xdata()) == [each.confidence for each in drawn]
    intervals = [(low, high) for (_, low), (_, high) in bars.get_segments()]
    expected = [(each.accuracy_low, each.accuracy_high) for each in drawn]
    assert np.ravel(intervals) == pytest.approx(np.ravel(expected))
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 200


def test_pictures_are_png_files_of_the_last_measured_round(tmp_path: Path) -> None:
    paths = draw([history_row(1, 0.7), history_row(2, 0.8), history_row(3, None)], tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "learning_curve.png",
        "reliability.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_without_metrics_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert draw([history_row(0, None)], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"learning_curve\.png: cannot be written"):
        draw([history_row(2, 0.8)], tmp_path / "file" / "pictures")
