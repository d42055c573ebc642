"""Figures on report pages: labels saved, confusions, words, and JSON and SVG that are safe in a page."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from star_al.data import write_text
from star_al.errors import StoreError
from star_al.report.agreement import disputed_labels, pairs_of_people
from star_al.report.canvas import draw_svg, new_figure
from star_al.report.confusion import confusion
from star_al.report.formatting import duration, interval, percent
from star_al.report.labels_saved import control_comparison
from star_al.report.page import campaign_page
from star_al.report.questions import cut, questions, shown_text
from star_al.report.reliability_bins import LEAST_TEXTS, drawn_bins
from star_al.report.render import json_for_page
from star_al.report.snapshot import AskedQuery, CampaignSnapshot
from star_al.report.study_page import study_page
from star_al.report.summary import summarise
from star_al.stats.metrics import wilson_interval
from star_al.types import CalibrationBin, Item, QueryState, RoundFit
from support import records
from support.report_snapshot import a_snapshot, an_asked_query
from support.report_study import a_study

# -- the control arm ------------------------------------------------------------------------------------


def with_arms(active: Sequence[float], control: Sequence[float], *, held_out: int = 400) -> CampaignSnapshot:
    """A campaign of one round per accuracy, whose control arm has a fifth of the labels."""
    snapshot = a_snapshot(rounds=len(active), held_out=held_out)
    evaluations = {
        index: [
            records.evaluation("adapted", "raw", accuracy=one, n=held_out),
            *([records.evaluation("shadow", "raw", accuracy=other, n=held_out)] if index else []),
        ]
        for index, (one, other) in enumerate(zip(active, control, strict=True))
    }
    fits = [RoundFit("inputs", shadow_labels=20 * index if index else None) for index in range(len(active))]
    rounds = tuple(
        replace(one, labels=100 * one.index, fit=fit) for one, fit in zip(snapshot.rounds, fits, strict=True)
    )
    return replace(snapshot, rounds=rounds, evaluations=evaluations)


def words_of(snapshot: CampaignSnapshot) -> str:
    found = control_comparison(snapshot)
    assert found is not None
    return found.result


def rising(n: int, scale: float) -> list[float]:
    """Accuracies of ``n`` rounds along one curve, whose label counts are multiplied by ``scale``."""
    return [0.2] + [0.95 - 3.0 * (scale * index) ** -0.5 for index in range(1, n)]


def test_arms_on_one_curve_have_no_labels_saved() -> None:
    words = words_of(with_arms(rising(16, 100), rising(16, 20)))
    assert words.startswith("With 100 to 300 labels, the active curve is 0.")
    assert "may be chance: whether labels are saved cannot be told yet" in words and "fewer" not in words


def test_a_curve_that_needs_a_quarter_of_the_labels_says_how_many_it_saves() -> None:
    start, faster = rising(16, 100)[:2], rising(16, 400)[2:]
    words = words_of(with_arms([*start, *faster], rising(26, 20)[:16], held_out=3000))
    found = re.search(r"needed (\d+)\xa0% fewer labels \(98\xa0% interval (\d+) to (\d+)\xa0%\)", words)
    assert found is not None, words
    share, low, high = map(int, found.groups())
    assert low < share < high and 25 <= share <= 75


def test_a_worse_curve_needs_more_labels() -> None:
    words = words_of(with_arms(rising(26, 25), rising(26, 20), held_out=5000))
    assert "points below the control arm" in words and "% more labels" in words


def test_few_rounds_of_the_control_arm_say_nothing() -> None:
    assert words_of(with_arms(rising(7, 100), rising(7, 20))).startswith(
        "The control arm has 120 labels so far: too few to compare."
    )
    assert control_comparison(a_snapshot(rounds=1)) is None


def test_while_all_labels_are_random_ones_both_arms_are_one_model() -> None:
    snapshot = with_arms(rising(8, 100), rising(8, 100))
    fits = [RoundFit("inputs", shadow_labels=one.labels or None) for one in snapshot.rounds]
    rounds = tuple(replace(one, fit=fit) for one, fit in zip(snapshot.rounds, fits, strict=True))
    assert "too few to compare" in words_of(replace(snapshot, rounds=rounds))


def test_the_table_of_the_control_arm_has_a_row_for_each_label_count() -> None:
    found = control_comparison(with_arms(rising(16, 100), rising(16, 20)))
    assert found is not None
    assert [row[0] for row in found.table.rows] == [str(20 * index) for index in range(1, 16)]
    assert [row[3] == "–" for row in found.table.rows] == [20 * index < 100 for index in range(1, 16)]


# -- the confusion matrix -------------------------------------------------------------------------------


def test_confusions_are_listed_from_the_most_frequent_and_recalls_from_the_lowest() -> None:
    evaluation = records.evaluation(
        recall={"a": 0.5, "b": None, "c": 0.9}, confusion_C_C=((5, 2, 3), (0, 0, 0), (0, 1, 9))
    )
    found = confusion(evaluation, {"a": 7, "c": 1})
    assert found.pairs == (("a", "c", 3), ("a", "b", 2), ("c", "b", 1))
    assert [(each.label, each.trained_on, each.texts, each.share) for each in found.figures] == [
        ("a", 7, 10, 0.5),
        ("c", 1, 10, 0.9),
        ("b", 0, 0, None),
    ]
    assert [each.precision for each in found.figures] == ["100.0\u00a0%", "75.0\u00a0%", "0.0\u00a0%"]
    assert found.cells[0][2].description == "a → c: 3 of 10"
    assert [cell.correct for cell in found.cells[0]] == [True, False, False]


def test_seventy_seven_labels_have_a_cell_each() -> None:
    page = campaign_page(a_snapshot(tuple(f"label{n}" for n in range(77)), queries=1))
    matrix = page.partition('<table class="confusion dense">')[2].partition("</table>")[0]
    assert matrix.count("<td") == 77 * 77


# -- reliability ----------------------------------------------------------------------------------------


def a_bin(place: int, n: int, right: int, confidence: float) -> CalibrationBin:
    accuracy = right / n if n else None
    return CalibrationBin(place / 15, (place + 1) / 15, n, confidence if n else None, accuracy)


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ([0] * 10 + [3, 7, 10, 20, 60], [20, 20, 60]),
        ([10] * 15, [30] * 5),
        ([2] + [0] * 13 + [48], [50]),
        ([1] * 14 + [986], [14, 986]),
        ([0] * 14 + [50], [50]),
        ([1000] * 15, [2000] * 7 + [1000]),
    ],
)
def test_neighbouring_bins_are_joined_to_few_of_similar_size(counts: list[int], drawn: list[int]) -> None:
    bins = [a_bin(place, n, n // 2, (place + 0.5) / 15) for place, n in enumerate(counts)]
    found = drawn_bins(bins)
    assert [each.count for each in found] == drawn
    assert sum(each.count for each in found) == sum(counts)
    for one, other in itertools.pairwise(found):
        assert one.high <= other.low and one.confidence < other.confidence


def test_a_joined_bin_weighs_by_texts_and_has_wilsons_interval() -> None:
    (joined,) = drawn_bins([a_bin(9, 30, 15, 0.62), a_bin(10, 10, 9, 0.7)])
    assert (joined.count, joined.accuracy) == (40, 24 / 40)
    assert joined.confidence == pytest.approx(0.64)
    assert (joined.accuracy_low, joined.accuracy_high) == pytest.approx(wilson_interval(24, 40))


def test_with_few_texts_there_is_a_sentence_in_place_of_a_diagram() -> None:
    few, many = (campaign_page(a_snapshot(rounds=2, held_out=n)) for n in (LEAST_TEXTS - 1, LEAST_TEXTS))
    sentence = "A reliability diagram needs 50 held-out texts; there are 49."
    assert sentence in few and "Reliability, round" not in few
    assert "A reliability diagram needs" not in many and "Reliability, round 1" in many


# -- agreement between people ---------------------------------------------------------------------------


def answered(*answers: dict[str, str | None]) -> list[AskedQuery]:
    asked = [an_asked_query(n, ("a", "b"), 3) for n in range(len(answers))]
    return [replace(each, answers=given) for each, given in zip(asked, answers, strict=True)]


def test_pairs_of_people_have_their_agreement_and_kappa() -> None:
    asked = answered(
        {"ann": "a", "bob": "a"},
        {"bob": "b", "ann": "a", "cid": "a"},
        {"ann": "b", "bob": "b"},
        {"ann": "a", "bob": None},
        {"ann": "b", "bob": "b"},
        {"cid": "a"},
    )
    found = pairs_of_people(asked)
    assert found is not None
    # ann and bob agree on 3 of 4: by chance 0.5, so kappa is (0.75 - 0.5) / 0.5.
    assert found.rows == (
        ("ann", "bob", "4", "75\u00a0%", "0.50"),
        ("ann", "cid", "1", "100\u00a0%", "–"),
        ("bob", "cid", "1", "0\u00a0%", "0.00"),
    )
    labels = disputed_labels(asked)
    assert labels is not None and labels.rows == (("a", "b", "2"),)


def test_without_shared_texts_there_is_nothing_to_compare() -> None:
    asked = answered({"ann": "a"}, {}, {"ann": None, "bob": "b"})
    assert pairs_of_people(asked) is None and disputed_labels(asked) is None


# -- words ----------------------------------------------------------------------------------------------


def test_figures_in_words() -> None:
    assert percent(0.9321) == "93.2\u00a0%" and percent(None) == "–"
    assert interval(0.5, 1.0) == "50.0\u00a0to\u00a0100.0\u00a0%"
    assert [duration(s) for s in (4.21, 99.4, 200.0, 7500.0, None)] == [
        "4.2 s",
        "99 s",
        "3 min 20 s",
        "2 h 5 min",
        "–",
    ]


def test_the_summary_says_that_overlapping_intervals_may_be_chance() -> None:
    snapshot = a_snapshot(rounds=2)
    assert any("overlap" in text for text in summarise(snapshot).sentences)
    assert not any("overlap" in text for text in summarise(a_snapshot(rounds=8, held_out=2000)).sentences)


def test_the_summary_says_what_to_do_next() -> None:
    stopped = a_snapshot(rounds=3)
    assert "star-al export" in summarise(stopped).next_step
    running = replace(stopped, rounds=stopped.rounds[:2])
    n_open = sum(each.query.state is QueryState.OPEN for each in running.asked)
    assert n_open and f"answer the {n_open} open questions" in summarise(running).next_step
    assert summarise(replace(running, asked=())).next_step == "continue with star-al run."


def test_the_newest_questions_come_first() -> None:
    snapshot = a_snapshot(queries=60)
    rows = json.loads(questions(snapshot.asked, snapshot.texts).json)["rows"]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    first = [row[1] for row in rows if row[0] == rows[0][0]]
    assert first == sorted(first)


def test_the_confidence_sequence_is_offered_where_there_is_one() -> None:
    snapshot = a_snapshot()
    assert any("confidence sequence instead: 75.0" in text for text in summarise(snapshot).unknown)
    plain = tuple(replace(one, decision=None) for one in snapshot.rounds)
    assert any(
        "best of several rounds" in text for text in summarise(replace(snapshot, rounds=plain)).unknown
    )


# -- what stands in a page ------------------------------------------------------------------------------


def test_json_in_a_page_holds_no_character_of_html() -> None:
    value = {"text": "</script><!-- & 'quoted' \u2028 é"}
    text = json_for_page(value)
    assert not set(text) & set("<>&") and json.loads(text) == value


def test_rows_are_short_and_say_what_is_special() -> None:
    asked = [an_asked_query(n, ("a", "b"), 3) for n in range(14)]
    texts = {f"item-{n}": shown_text(Item(f"item-{n}", "long " * 500)) for n in range(14)}
    rows = json.loads(questions(asked, texts).json)["rows"]
    assert all(len(row[2]) <= 300 and row[2].endswith("…") for row in rows)
    assert rows[0][7] == ["audit"] and "control" in rows[1][7] and "buffer" in rows[2][7]
    assert "disputed" in rows[3][7] and "open" in rows[6][7] and rows[6][5] is None
    assert rows[1][8] == "ann: b; bob: skip"


def test_cutting_keeps_short_texts_and_marks_long_ones() -> None:
    assert cut("a\n b", 10) == "a b"
    assert cut("x" * 11, 10) == "x" * 9 + "…"
    assert cut(" " * 100 + "x", 10).endswith("…")


def test_an_svg_for_a_page_has_no_colour_size_or_style_sheet_of_its_own() -> None:
    def draw() -> object:
        figure, axes = new_figure(3, 2)
        axes.plot([0, 1], [0, 1], color="#0072B2", label='costs $5 & <b> id="x"')
        axes.legend()
        return figure

    svg = draw_svg("one", draw)
    assert svg.startswith("<svg") and "<style" not in svg and "width=" not in svg.partition(">")[0]
    assert "stroke: var(--blue)" in svg and "#0072b2" not in svg.lower()
    assert 'costs $5 &amp; &lt;b&gt; id="x"' in svg
    assert svg.replace('id="', "").count("url(#one-") == svg.count("url(#")


def test_equal_records_make_equal_pages() -> None:
    assert campaign_page(a_snapshot()) == campaign_page(a_snapshot())


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"report\.html: cannot be written .*Give another --out"):
        write_text(tmp_path / "file" / "report.html", "new")
    old = tmp_path / "report.html"
    write_text(old, "half a pair: \ud800")
    assert old.read_text(encoding="utf-8") == "half a pair: ?"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# -- studies --------------------------------------------------------------------------------------------


def test_a_study_compares_and_warns() -> None:
    page = study_page(a_study())
    assert "4 strategies over 5 seeds: 20 of 20 runs have finished." in page
    assert "a claim needs at least 10" in page
    for strategy in ("random", "entropy", "margin", "bald"):
        assert f"<td><bdi>{strategy}</bdi></td>" in page
    assert "news.margin.3" in page and "label budget used: 280 of 280" in page


def test_a_study_that_has_just_begun_says_so() -> None:
    page = study_page(a_study(finished=False))
    assert "0 of 20 runs have finished." in page
    assert "No run has finished yet." in page and "running" in page
