"""The study of labels saved: its splits, its cells, and a small study from the first text to the tables."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import labels_arms
import labels_cells
import labels_data
import labels_report
import markdown_tables
from labels_arms import ARMS
from labels_cells import Cell, Cells, packed, packed_columns, planned, run, unpacked, unpacked_columns
from labels_choices import CHOOSERS
from labels_data import SETS, Sizes, Texts, split, wrong_answers
from labels_learners import LEARNERS


@pytest.fixture
def texts() -> Texts:
    """240 texts with four labels, whose vectors are near the name of their label."""
    random = np.random.default_rng(0)
    names_C_d = np.eye(4, 12, dtype=np.float32)
    targets_N = random.integers(4, size=240)
    vectors = names_C_d[targets_N] + 0.4 * random.standard_normal((240, 12))
    labels = ("bird", "cat", "dog", "fish")
    return Texts(
        tuple(f"text {n}" for n in range(240)), targets_N, labels, vectors.astype(np.float32), names_C_d
    )


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets at a size for tests."""
    for name, sizes in SETS.items():
        monkeypatch.setitem(SETS, name, Sizes(10, 10, 30, 150, 60, sizes.long_tail, ece_at=20))
    monkeypatch.setattr("labels_results.RESAMPLES", 50)


def test_each_seed_has_its_own_pool_and_test_without_a_common_text(small_sets: None, texts: Texts) -> None:
    first, again, other = (split("bbc", texts, seed) for seed in (0, 0, 1))
    assert first.texts_P == again.texts_P
    assert first.texts_P != other.texts_P
    in_test = {row.tobytes() for row in first.test_T_d}
    assert not in_test & {row.tobytes() for row in first.pool_P_d}
    assert len(first.texts_P) == 150
    assert len(first.test_T_d) == 60


def test_a_long_tail_has_frequencies_by_rank(texts: Texts) -> None:
    order = np.random.default_rng(1).permutation(240)
    kept = labels_data._long_tail(order, texts.targets_N, 100, np.random.default_rng(2))
    counts = sorted(np.bincount(texts.targets_N[kept]), reverse=True)
    assert len(kept) == len(set(kept.tolist())) == 100
    assert counts == pytest.approx([48, 24, 16, 12], abs=1)


def test_in_a_long_tail_pool_and_test_have_the_same_frequencies(small_sets: None, texts: Texts) -> None:
    shares = []
    for seed in range(20):
        of = split("banking77_tail", texts, seed)
        in_pool = np.bincount(of.targets_P, minlength=4) / len(of.targets_P)
        shares.append(np.bincount(of.test_targets_T, minlength=4) / len(of.test_targets_T) - in_pool)
        assert len(set(of.test_targets_T.tolist())) == 4
    assert np.mean(shares, axis=0) == pytest.approx(np.zeros(4), abs=0.03)
    assert np.abs(shares).max() < 0.2


def test_the_asked_share_of_answers_is_wrong(small_sets: None, texts: Texts) -> None:
    of = split("bbc", texts, 0)
    assert (wrong_answers(of, 0.0) == of.targets_P).all()
    shares = [
        (wrong_answers(split("bbc", texts, seed), 0.1) != split("bbc", texts, seed).targets_P).mean()
        for seed in range(20)
    ]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)


def test_what_a_cell_packs_comes_back() -> None:
    random = np.random.default_rng(3)
    flags, columns = random.random(61) < 0.5, random.integers(77, size=61)
    assert (unpacked(packed(flags), 61) == flags).all()
    assert (unpacked_columns(packed_columns(columns)) == columns).all()


def test_arms_use_what_there_is_and_differ() -> None:
    assert {name for arm in ARMS.values() for name in (arm.start, arm.then)} <= CHOOSERS.keys()
    assert {arm.learner for arm in ARMS.values()} <= LEARNERS.keys()
    assert len(set(ARMS.values())) == len(ARMS)


@pytest.mark.parametrize(
    "arm", ["by hand C=10", "recommended", "random, uncertainty_herding", "typical, margin"]
)
def test_a_cell_is_the_same_each_time_and_learns(small_sets: None, texts: Texts, arm: str) -> None:
    cell = Cell(0, "sms_spam", arm)
    first, again = run(cell, texts), run(cell, texts)
    for record in (first, again):
        del record["seconds"], record["choosing"]
    assert first == again
    assert first["labels"] == [10, 20, 30]
    assert first["accuracy"][-1] > 0.6
    assert set(first["between"]) == {"15", "20"}
    assert first["between"]["20"]["accuracy"] == first["accuracy"][1]


def test_finished_cells_are_kept_and_those_of_an_earlier_revision_are_missing(
    small_sets: None, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = Cells(tmp_path)
    asked = planned(["bbc"], ["random", "by hand C=10"], 2)
    assert cells.missing(asked) == asked
    for cell in asked[:3]:
        cells.add(run(cell, texts), texts)
    assert cells.missing(asked) == asked[3:]
    monkeypatch.setattr(labels_cells, "HEAD_REVISION", labels_arms.HEAD_REVISION + 1)
    assert cells.missing(asked) == [
        Cell(0, "bbc", "random"),
        Cell(1, "bbc", "random"),
        Cell(1, "bbc", "by hand C=10"),
    ]


def test_the_report_is_written_from_the_cells_alone(small_sets: None, texts: Texts, tmp_path: Path) -> None:
    cells = Cells(tmp_path / "docs" / "studies" / "data" / "labels")
    for cell in planned(SETS, ["by hand C=10", "random", "recommended"], 2):
        cells.add(run(cell, texts), texts)
    page = tmp_path / "docs" / "studies" / "labels-saved.md"
    page.write_text(f"before\n\n{markdown_tables.BEGIN}\nold\n{markdown_tables.END}\n\nafter\n")
    labels_report.write_report(cells, page.parent)
    text = page.read_text()
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n") and "old" not in text
    assert "| All together against by hand" in text
    assert (tmp_path / "docs" / "images" / "labels-curves.svg").read_text().startswith("<?xml")
