"""``acquisition.shortlist`` in a campaign file: how it is written, what it goes with, and that it may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.app.shortlist_size import size_in_words
from star_al.config.changes import changed_fields
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError

CAMPAIGN = """\
name: news
data: {{path: rows.jsonl}}
task: {task}
model: {{name: org/model}}
annotator: {{kind: oracle, gold: topic}}
acquisition: {acquisition}
"""
LABELS = "{kind: classification, labels: [sport, business]}"


def load(folder: Path, acquisition: str, task: str = LABELS, more: str = "") -> CampaignSpec:
    path = folder / "c.yaml"
    path.write_text(CAMPAIGN.format(task=task, acquisition=acquisition) + more, encoding="utf-8")
    return load_campaign(path).spec


@pytest.mark.parametrize(
    ("written", "share", "size"),
    [
        ("10%", 0.1, None),
        ("0.25", 0.25, None),
        ("5000", 1.0, 5000),
        ("{share: 2.5%}", 0.025, None),
        ("{size: 300}", 1.0, 300),
    ],
)
def test_an_amount_stands_for_a_share_or_a_size(
    tmp_path: Path, written: str, share: float, size: int | None
) -> None:
    found = load(tmp_path, f"{{shortlist: {written}}}").acquisition.shortlist
    assert (found.share, found.size, found.is_on) == (share, size, True)


@pytest.mark.parametrize(
    ("acquisition", "task", "said"),
    [
        ("{shortlist: ten}", LABELS, "acquisition.shortlist.share"),
        ("{shortlist: 10%, candidates: 500}", LABELS, "does not go with acquisition.candidates"),
        ("{shortlist: 10%, batch: {kind: power}}", LABELS, "batch.kind: power"),
        ("{shortlist: 10%, batch: {kind: uncertainty_herding}}", LABELS, "without batch.top"),
        ("{shortlist: {share: 10%, by: head}}", LABELS, "learner.head: true"),
        ("{shortlist: {by: last_round}}", LABELS, "needs share or size"),
        ("{shortlist: {random_share: 0.3}}", LABELS, "needs share or size"),
        ("{shortlist: {share: 10%, by: mean}}", LABELS, "saves nothing without posterior samples"),
        ("{shortlist: {share: 10%, by: nll}}", LABELS, "is a measure of written answers"),
        (
            "{shortlist: {share: 10%, by: mean}, measure: entropy}",
            "{kind: text}",
            "choose nll or token_entropy",
        ),
        ("{shortlist: {share: 10%, by: nll}, measure: nll}", "{kind: text}", "saves nothing"),
    ],
)
def test_what_it_does_not_go_with_is_refused(tmp_path: Path, acquisition: str, task: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, acquisition, task)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("acquisition", "said"),
    [
        (
            "{shortlist: 10%}",
            "a round scores 10 % of the pool, but at least 834 texts, as the batch is chosen from 750 and",
        ),
        ("{shortlist: 5000}", "a round scores 5,000 texts"),
        ("{shortlist: 50}", "a round scores 834 texts, more than acquisition.shortlist.size: 50, as"),
        ("{shortlist: 50, batch: {kind: top_k}}", "a round scores 50 texts"),
    ],
)
def test_how_many_texts_a_round_scores_is_told_before(tmp_path: Path, acquisition: str, said: str) -> None:
    assert size_in_words(load(tmp_path, acquisition)).startswith(said)


def test_a_running_campaign_may_begin_and_end_it(tmp_path: Path) -> None:
    without, with_one = load(tmp_path, "{}"), load(tmp_path, "{shortlist: {share: 10%, random_share: 0.2}}")
    for before, now in ((without, with_one), (with_one, without)):
        assert changed_fields(before.model_dump(mode="json"), now, trained=True) == []
