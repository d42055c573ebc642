"""The estimate of a round of LoRA: how it grows, and when LoRA is trained if a round takes long."""

from __future__ import annotations

import math
from typing import Any

import pytest

from star_al.app.round_time import in_words, label_counts, round_work, seconds_of_round, trainable
from star_al.config.spec import FROM_FILE, CampaignSpec


def spec(**sections: Any) -> CampaignSpec:
    tree = {
        "name": "c",
        "data": {"path": "d.jsonl"},
        "task": {"kind": "classification", "labels": ["good", "poor"]},
        "model": {"name": "m"},
        "annotator": {"kind": "label_studio"},
        "evaluation": {"size": 100, "calibration": 30},
        "stopping": {"max_labels": 530},
    }
    return CampaignSpec.model_validate(tree | sections, context=FROM_FILE)


def test_a_round_reads_half_of_the_labels_in_training_and_the_pool_once_a_sample() -> None:
    work = round_work(spec(posterior={"samples": 3}), n_texts=1000, characters=400)
    answers, wording, text = 2 * 2, 30 + 2, 100
    steps = math.ceil(200 * 4 / 8)
    assert work.trained == steps * 8 * (wording + text + answers)
    pool, audit, calibration, stop_set = 1000 - 130 - 200, 100, 30, 200
    assert work.passes == (pool + audit + calibration) * 3 + stop_set
    assert work.scored == work.passes * (text + answers)


def test_held_out_texts_are_read_each_round_whatever_is_scored_of_the_pool() -> None:
    some = round_work(spec(acquisition={"candidates": 200}), n_texts=1000, characters=400)
    assert some.passes == 200 + 100 + 30 + 200
    growing = {"size": 100, "grow": 10, "max_size": 150, "calibration": 30, "stop_set": 0}
    grown = round_work(
        spec(evaluation=growing, acquisition={"candidates": 200}), n_texts=1000, characters=400
    )
    assert grown.passes == 200 + 150 + 30
    unmeasured = {"kind": "none", "calibration": 0, "stop_set": 0}
    assert round_work(spec(evaluation=unmeasured), n_texts=1000, characters=400).passes == 1000 - 265


@pytest.mark.parametrize(("n_texts", "passes"), [(50, 50), (130, 130), (140, 130 + 5 + 10)])
def test_no_more_texts_are_read_than_there_are(n_texts: int, passes: int) -> None:
    assert round_work(spec(), n_texts=n_texts, characters=400).passes == passes


def test_long_texts_are_cut() -> None:
    short = round_work(spec(model={"name": "m", "max_tokens": 64}), n_texts=1000, characters=9_000)
    assert short.scored == short.passes * (64 - 32 + 4)


def test_the_time_grows_with_the_model_and_falls_with_the_speed_of_the_machine() -> None:
    work = round_work(spec(), n_texts=1000, characters=400)
    seconds = seconds_of_round(work, 1e8, 1e11)
    assert seconds_of_round(work, 2e8, 1e11) == pytest.approx(2 * seconds)
    assert seconds_of_round(work, 1e8, 4e11) == pytest.approx(seconds / 4)


def test_held_out_labels_are_not_trained_on() -> None:
    assert trainable(spec(), n_texts=1000) == 400
    assert trainable(spec(), n_texts=200) == 70  # the data ends before the budget does


@pytest.mark.parametrize(
    ("n_given", "budget", "counts"),
    [(0, 530, (100, 200)), (0, 230, (25, 50)), (300, 830, (400, 500)), (0, 150, ())],
)
def test_lora_is_trained_at_whole_batches_of_new_labels(
    n_given: int, budget: int, counts: tuple[int, ...]
) -> None:
    assert label_counts(spec(stopping={"max_labels": budget}), 5000, n_given) == counts


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4, "a few seconds"),
        (12, "about 10 seconds"),
        (88, "about 90 seconds"),
        (200, "about 3 minutes"),
        (9000, "about 2 hours"),
    ],
)
def test_an_estimate_is_told_no_more_precisely_than_it_is(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
