"""The page says whether fine-tuning is worth its cost, and by how sure a comparison."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from star_al.report.fine_tuning import fine_tuning_in_words
from star_al.report.page import campaign_page
from star_al.report.snapshot import CampaignSnapshot, OnSameTexts
from star_al.report.summary import summarise
from star_al.stats.accuracy_difference import paired_accuracy_difference, unpaired_accuracy_difference
from star_al.stats.ranking_model import rows_by_ranker
from star_al.types import Evaluation, RoundFit
from support.report_snapshot import a_snapshot


def with_head(scorer: str = "learner", **changes: Any) -> CampaignSnapshot:
    """A campaign whose head is as good as its control arm; the head is measured from the start."""
    snapshot = a_snapshot()
    settings = snapshot.spec.model_dump()
    settings["learner"] = {"kind": "lora", "head": True}
    settings["acquisition"]["scorer"] = scorer
    evaluations = {index: [*found, head_of(found)] for index, found in snapshot.evaluations.items()}
    rounds = tuple(
        replace(one, seconds={**one.seconds, "head": 0.8} | ({"train": 62.0} if scorer == "head" else {}))
        for one in snapshot.rounds
    )
    rows = [
        {**row, "head_accuracy": head_of(snapshot.evaluations[index]).accuracy}
        | {f"head_{name}": 0.7 for name in ("accuracy_low", "accuracy_high", "macro_f1", "nll", "ece")}
        for index, row in enumerate(snapshot.history)
    ]
    return replace(
        snapshot,
        spec=type(snapshot.spec).model_validate(settings),
        evaluations=evaluations,
        history=tuple(rows),
        rounds=rounds,
        **changes,
    )


def head_of(evaluations: list[Evaluation] | Any) -> Evaluation:
    return replace(next(one for one in reversed(evaluations) if one.scaling == "raw"), model="head")


def test_both_models_on_the_same_texts_are_compared_in_pairs() -> None:
    snapshot = with_head(on_same_texts=OnSameTexts(5, 12, 3, 150))
    words = fine_tuning_in_words(snapshot)
    assert words.startswith(
        "With 125 labels, the fine-tuned language model is 6.0 points better than the head on 150"
    )
    assert "may be chance" not in words
    assert words.endswith("Training took 33 s, the head 0.8 s.")
    assert words.replace("\u00a0", " ") in campaign_page(snapshot).replace("\u00a0", " ")


def test_without_pairs_the_interval_is_wider() -> None:
    paired, unpaired = paired_accuracy_difference(12, 3, 150), unpaired_accuracy_difference(0.9, 0.84, 150)
    assert paired.value == pytest.approx(unpaired.value)
    assert unpaired.low < paired.low and paired.high < unpaired.high
    assert unpaired.may_be_chance and not paired.may_be_chance


def test_where_the_head_ranks_the_time_is_that_of_the_later_training() -> None:
    words = fine_tuning_in_words(with_head("head", on_same_texts=OnSameTexts(5, 4, 5, 150)))
    assert "0.7 points worse" in words and "may be chance" in words
    assert words.endswith("Training took 62 s, the head 0.8 s.")


def test_what_the_head_taught_is_told_apart_from_labels() -> None:
    snapshot = with_head()
    fit = RoundFit("inputs", taught_texts=1200, taught_weight=1.0)
    taught = replace(snapshot, rounds=tuple(replace(one, fit=fit) for one in snapshot.rounds))
    assert "on the head's answers to 1,200 unlabelled texts, which do not count as labels." in (
        fine_tuning_in_words(taught)
    )
    assert "answers" not in fine_tuning_in_words(snapshot)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((0.9, 0.0), "the head alone"),
        ((0.0, 0.9), "the language model alone"),
        ((0.3, 0.9), "the head and the language model together"),
    ],
)
def test_what_is_delivered_is_said_and_drawn(weights: tuple[float, float], words: str) -> None:
    snapshot = with_head()
    newest = snapshot.rounds[-1].index
    measured = snapshot.rounds[-1].evaluation
    assert measured is not None
    head, adapted = weights
    measured = replace(
        measured,
        delivered_head_weight=head,
        delivered_adapted_weight=adapted,
        delivered_note="weighed on 30 calibration labels",
    )
    delivered = replace(head_of(snapshot.evaluations[newest]), model="delivered", accuracy=0.876)
    evaluations = {**snapshot.evaluations, newest: [*snapshot.evaluations[newest], delivered]}
    rounds = (*snapshot.rounds[:-1], replace(snapshot.rounds[-1], evaluation=measured))
    both = replace(snapshot, rounds=rounds, evaluations=evaluations)
    said = fine_tuning_in_words(both)
    assert f"come from {words}, weighed on 30 calibration labels: accuracy 87.6\u00a0%." in said
    page = campaign_page(both).replace("\u00a0", " ")
    subject = words.removesuffix(" alone").removesuffix(" together")
    verb = "classify" if "together" in words else "classifies"
    assert f"{subject} {verb} 87.6 % of 150 held-out texts correctly" in page
    assert ("the head alone" in summarise(both).result) == ("together" in words)
    assert "<dt>accuracy</dt><dd>87.6 %</dd>" in page
    assert "<th>delivered</th>" in page or ">delivered<" in page
    assert ">delivered<" not in campaign_page(snapshot)


def test_without_a_head_nothing_is_said() -> None:
    assert fine_tuning_in_words(a_snapshot()) == ""


def test_the_page_is_about_the_model_that_ranks() -> None:
    page = campaign_page(with_head("head"))
    assert "the head classifies" in page
    rows = rows_by_ranker(with_head("head").history, "head")
    assert [row["accuracy"] for row in rows] == [row["head_accuracy"] for row in rows]
    assert rows[-1]["beside_accuracy"] == with_head().history[-1]["accuracy"]


def test_the_paired_interval_holds_its_level() -> None:
    """In 4,000 draws, the 95 % interval includes the true difference about as often as it says."""
    random = np.random.default_rng(0)
    held = 0
    for only_first, only_second, _ in random.multinomial(120, [0.08, 0.05, 0.87], size=4_000):
        found = paired_accuracy_difference(int(only_first), int(only_second), 120)
        held += found.low <= 0.03 <= found.high
    assert held / 4_000 == pytest.approx(0.95, abs=0.015)
    assert math.isclose(paired_accuracy_difference(3, 3, 10).value, 0.0)
