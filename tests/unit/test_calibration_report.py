"""The pure functions of scripts/bench_calibration.py: splits, measures, intervals, tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from calibration_data import draw_labels, foreign_items
from calibration_report import (
    Results,
    expected_seconds,
    interval,
    measures,
    paired,
    read_records,
    report,
    table,
    write_plots,
)

from star_al.types import Item


def record(
    probs: list[list[float]],
    columns: list[int],
    *,
    seed: int = 0,
    labels: int = 50,
    method: str = "map",
    samples: int = 1,
    ood: tuple[list[float], ...] = ([0.5, 0.5],),
    calibration: tuple[list[list[float]], list[int]] = ([[0.8, 0.2]] * 10, [0] * 8 + [1] * 2),
    spent: float = 1.0,
) -> dict[str, Any]:
    """Return a cell's record from probabilities; BALD is the probability of column 1."""

    def part(rows: list[list[float]], targets: list[int]) -> dict[str, Any]:
        logs = [[None if p == 0 else float(np.log(p)) for p in row] for row in rows]
        return {"log_probs": logs, "bald": [row[1] for row in rows], "columns": targets}

    return {
        "set": "bbc",
        "seed": seed,
        "labels": labels,
        "method": method,
        "samples": samples,
        "test": part(probs, columns),
        "calibration": part(*calibration),
        "ood": part(list(ood), []),
        "seconds": {"train": 2.0, "score": 3.0, "spent": spent},
        "peak_mib": {"train": 10.0, "score": 20.0},
    }


# -- splits ---------------------------------------------------------------------------------------------


def labelled(n: int) -> dict[str, tuple[Item, str]]:
    return {f"{number:03d}": (Item(f"{number:03d}", str(number)), "a") for number in range(n)}


def ids(pairs: list[tuple[Item, str]]) -> list[str]:
    return [item.item_id for item, _ in pairs]


def test_more_labels_of_a_seed_hold_the_fewer_and_none_is_for_calibration() -> None:
    calibration, small = draw_labels(labelled(100), 30, 20, seed=1)
    again, large = draw_labels(labelled(100), 30, 60, seed=1)
    assert ids(calibration) == ids(again)
    assert ids(large)[:20] == ids(small)
    assert len({*ids(calibration), *ids(large)}) == 90


def test_seeds_differ() -> None:
    assert ids(draw_labels(labelled(100), 30, 20, seed=1)[1]) != ids(draw_labels(labelled(100), 30, 20, 2)[1])


def test_foreign_texts_get_the_sets_own_options_and_their_own_ids() -> None:
    own = [Item("1", "why?", ("x", "y")), Item("2", "how?", ("z", "w"))]
    found = foreign_items(own, ["a", "b", "c"])
    assert [(item.text, item.options) for item in found] == [
        ("a", ("x", "y")),
        ("b", ("z", "w")),
        ("c", ("x", "y")),
    ]
    assert len({item.item_id for item in found}) == 3


# -- measures -------------------------------------------------------------------------------------------


def test_measures_of_a_cell_by_hand() -> None:
    cell = record([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], [0, 1, 1], ood=([0.5, 0.5], [0.2, 0.8]), samples=2)
    raw = measures(cell)["raw"]
    assert raw["accuracy"] == pytest.approx(2 / 3)
    assert raw["nll"] == pytest.approx(-np.log([0.9, 0.4, 0.7]).mean())
    assert raw["brier"] == pytest.approx(2 * (0.01 + 0.36 + 0.09) / 3)
    assert raw["ece"] == pytest.approx((0.1 + 0.6 + 0.3) / 3)  # a bin each
    assert raw["error_auroc"] == 1.0  # the error is the least certain
    assert raw["ood_auroc"] == pytest.approx(4 / 6)  # 0.5 above all three, 0.2/0.8 above the first alone
    assert raw["bald_error_auroc"] == pytest.approx(0.5)
    assert raw["bald_ood_auroc"] == pytest.approx(5 / 6)
    assert (raw["train"], raw["score_mib"]) == (2.0, 20.0)


def test_the_temperature_comes_from_the_calibration_part_alone() -> None:
    overconfident = ([[0.999, 0.001]] * 100, [0] * 70 + [1] * 30)
    cell = record([[0.999, 0.001]] * 10, [0] * 7 + [1] * 3, calibration=overconfident)
    scaled = measures(cell)["scaled"]
    assert scaled["temperature"] > 3
    assert scaled["ece"] < 0.1 < measures(cell)["raw"]["ece"]
    assert scaled["accuracy"] == 0.7
    other = record([[0.999, 0.001]] * 10, [1] * 10, calibration=overconfident)
    assert measures(other)["scaled"]["temperature"] == scaled["temperature"]


def test_none_is_a_label_that_an_item_lacks_and_one_sample_has_no_bald() -> None:
    raw = measures(record([[0.9, 0.1], [1.0, 0.0]], [0, 0]))["raw"]
    assert raw["nll"] == pytest.approx(-np.log(0.9) / 2)
    assert "bald_error_auroc" not in raw
    assert np.isnan(raw["error_auroc"])  # no errors


# -- intervals ------------------------------------------------------------------------------------------


def test_interval_is_students_t() -> None:
    found = interval([1.0, 2.0, 3.0, float("nan")])
    assert found.left_out == 1
    assert (found.mean, found.n) == (2.0, 3)
    assert found.half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_one_seed_has_no_interval_and_none_has_no_mean() -> None:
    assert np.isnan(interval([1.0]).half) and interval([1.0]).mean == 1.0
    assert np.isnan(interval([]).mean)


def test_pairs_are_the_seeds_of_both_and_cancel_what_they_share() -> None:
    left = {0: {"nll": 1.1}, 1: {"nll": 5.1}, 2: {"nll": 9.1}, 7: {"nll": 0.0}}
    right = {0: {"nll": 1.0}, 1: {"nll": 5.0}, 2: {"nll": 9.0}, 8: {"nll": 0.0}}
    found = paired(left, right, "nll")
    assert found.n == 3
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0.0, abs=1e-9)
    assert found.side == 1


def test_a_difference_whose_interval_holds_zero_has_no_side() -> None:
    assert interval([-1.0, 1.0, 0.5]).side == 0
    assert interval([1.0]).side == 0


def test_the_time_left_is_taken_from_the_most_similar_cells() -> None:
    done = [record([[1.0, 0.0]], [0], labels=n, spent=s) for n, s in ((50, 10.0), (50, 20.0), (100, 40.0))]
    assert expected_seconds(done, "bbc", 50, "map") == 15.0
    assert expected_seconds(done, "obqa", 100, "map") == 40.0
    assert expected_seconds(done, "obqa", 400, "map") == pytest.approx(70 / 3)
    assert expected_seconds(done, "obqa", 400, "clora") == pytest.approx(70 / 3)
    assert expected_seconds([], "bbc", 50, "map") == 0.0


# -- tables and plots -----------------------------------------------------------------------------------


def study(right: int) -> list[dict[str, Any]]:
    """``map`` gets ``right`` of 10 test texts right; a rival has a better NLL in every seed."""
    wrong = 10 - right
    columns = [0] * 5 + [1] * 5
    rows = []
    for seed in range(3):
        sure = 0.9 - 0.01 * seed

        def answers(p: float) -> list[list[float]]:
            good = [[p, 1 - p] if column == 0 else [1 - p, p] for column in columns[wrong:]]
            return [[1 - p, p] if column == 0 else [p, 1 - p] for column in columns[:wrong]] + good

        rows.append(record(answers(sure), columns, seed=seed))
        rows.append(record(answers(sure - 0.2), columns, seed=seed, method="clora", samples=2))
    return rows


def test_a_set_counts_only_above_the_majority_class() -> None:
    assert Results(study(9)).majority == {"bbc": 0.5}
    assert Results(study(9)).counts("bbc", 50)
    assert not Results(study(5)).counts("bbc", 50)
    assert "does not count" in report(study(5)) and "Means over" not in report(study(5))


def test_the_comparison_subtracts_the_scaled_plain_adapter_by_seed() -> None:
    records = study(7)
    text = report(records)
    row = next(line for line in text.splitlines() if line.startswith("| clora") and " raw " in line)
    scaled = [measures(one)["scaled"]["nll"] for one in records if one["method"] == "map"]
    rival = [measures(one)["raw"]["nll"] for one in records if one["method"] == "clora"]
    difference = np.mean(np.subtract(rival, scaled))
    assert f"{difference:+.3f} ±" in row


def test_a_seed_without_all_numbers_of_labels_is_left_out_of_the_means() -> None:
    records = study(9) + [one | {"labels": 100} for one in study(9) if one["seed"] < 2]
    assert set(Results(records).over_labels("bbc", "map", "raw", [50, 100])) == {0, 1}


def test_columns_line_up() -> None:
    assert table(["a", "bb"], [["ccc", "d"]]).splitlines() == ["| a   | bb |", "| --- | -- |", "| ccc | d  |"]


def test_plots_are_written_and_hidden_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / ".half.json.1").write_text("{")
    assert read_records(tmp_path) == []
    (path,) = write_plots(study(9), tmp_path)
    assert path.name == "calibration-bbc.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_seeds_without_a_finite_value_are_reported() -> None:
    """An item whose true label has probability 0 makes the NLL infinite."""
    sound = [record([[0.9, 0.1], [0.4, 0.6]], [0, 0], seed=seed) for seed in range(2)]
    broken = record([[0.0, 1.0], [0.4, 0.6]], [0, 0], seed=2)
    assert "not finite" not in report(sound)
    assert "(1 not finite)" in report([*sound, broken])
    assert "– (1 not finite)" in report([broken])
