"""Write the page of a campaign or a study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from star_al import __version__
from star_al.app.predicting import own_files
from star_al.app.status import asked, people_of
from star_al.app.stores import find_campaign, open_started, unknown_study
from star_al.common.paging import pages
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.data import check_out, write_text
from star_al.labelling.ballots import load_ballots, newest_revisions
from star_al.labelling.effort import effort_with_drafts, shows_drafts
from star_al.ports import Store
from star_al.report.page import campaign_page
from star_al.report.questions import shown_text
from star_al.report.snapshot import CampaignSnapshot, GradedAnswer, OnSameTexts
from star_al.report.study_page import StudySnapshot, study_page
from star_al.stats.learning_curves import Comparison
from star_al.stats.study_runs import study_results
from star_al.stats.temperature import apply_temperature
from star_al.steps.answers import Answers, Split
from star_al.steps.base_predictions import pad
from star_al.steps.measured import answered_items, confidences
from star_al.steps.right_answers import RightAnswers, right_answers
from star_al.task import make_task
from star_al.task.columns import is_open
from star_al.types import (
    Annotation,
    Campaign,
    FloatArray,
    HeldOutPrediction,
    Query,
    Role,
    Round,
    RoundEvaluation,
)

ITEMS_PAGE = 1_000
"""Items loaded at once."""


def write_report(file: CampaignFile, out: Path, study: str | None = None) -> None:
    """Write the page of a campaign, running or stopped, or of a study.

    Args:
        file: The campaign.
        out: The HTML file to write.
        study: The name of a study; ``None`` for the campaign, or the study of its name if only that exists.

    Raises:
        DataError: ``out`` is a file of the campaign.
        StoreError: There is no such campaign or study, the database cannot be read, or ``out`` cannot be
            written, in which case it is unchanged.
    """
    check_out(out, own_files(file))
    with open_started(file) as store:
        write_text(out, _page(file, store, study))


def _page(file: CampaignFile, store: Store, name: str | None) -> str:
    study = store.study(name or file.spec.name)
    if study is not None and (name is not None or store.find_campaign(file.spec.name) is None):
        return study_page(StudySnapshot(study, study_results(store, study), datetime.now(UTC), __version__))
    if name is not None:
        raise unknown_study(file, name)
    return campaign_page(gather(store, find_campaign(file, store)))


def gather(store: Store, campaign: Campaign) -> CampaignSnapshot:
    """Read from the store what the page shows."""
    campaign_id = campaign.campaign_id
    rounds = store.rounds(campaign_id)
    queries = store.queries(campaign_id)
    annotations = store.annotations(campaign_id)
    answered = asked(store, campaign, queries, annotations)
    right = right_answers(store, campaign_id, rounds)
    spec = CampaignSpec.model_validate(campaign.config)
    return CampaignSnapshot(
        campaign=campaign,
        spec=spec,
        sizes={role.value: n for role, n in store.sizes(campaign_id).items()},
        labels={role.value: n for role, n in store.label_counts(campaign_id).items()},
        rounds=tuple(rounds),
        evaluations={each.index: store.evaluations(campaign_id, each.index) for each in rounds},
        history=tuple(store.history(campaign_id)),
        asked=tuple(answered),
        texts=_texts(store, campaign, queries),
        people=people_of(store, campaign),
        lead_times=_lead_times(queries, annotations),
        made_at=datetime.now(UTC),
        program=__version__,
        right_answers=right,
        on_same_texts=_on_same_texts(rounds, right),
        simulated=_simulated(store, campaign),
        answers=_newest_answers(store, campaign, rounds),
        effort=_effort(store, campaign_id, spec, queries, annotations),
    )


def _effort(
    store: Store,
    campaign_id: int,
    spec: CampaignSpec,
    queries: Sequence[Query],
    annotations: Sequence[Annotation],
) -> str:
    """What people did with drafts, in words; empty if they saw none."""
    if not shows_drafts(spec):
        return ""
    task = make_task(spec.task)
    ballots = load_ballots(store, campaign_id, task, queries, annotations)
    effort = effort_with_drafts(spec, task, ballots.values())
    return "" if effort is None else effort.in_words()


def _newest_answers(store: Store, campaign: Campaign, rounds: Sequence[Round]) -> list[GradedAnswer]:
    """Answers to audit items of the newest round that has them; none where answers are a list of labels."""
    spec = CampaignSpec.model_validate(campaign.config)
    task = make_task(spec.task)
    if not is_open(task):
        return []
    labels = store.labels(campaign.campaign_id, Role.AUDIT)
    for round_ in reversed(rounds):
        kept = store.held_out(campaign.campaign_id, round_.index)
        found = [one for one in kept if one.model == spec.ranking_model and one.item_id in labels]
        if found and round_.evaluation is not None:
            items = store.items(campaign.campaign_id, [one.item_id for one in found])
            split = Split(tuple(items), tuple(labels[one.item_id].value for one in found), task)
            answers = Answers(
                pad([one.log_probs_C for one in found]),
                values_N=tuple(one.answers for one in found),
                signals=_signals(found),
            )
            return _graded(split, answers, round_.evaluation)
    return []


def _signals(kept: Sequence[HeldOutPrediction]) -> dict[str, FloatArray]:
    """What the model told of all items, by name."""
    names = set.intersection(*(set(one.signals) for one in kept))
    return {name: np.array([one.signals[name] for one in kept]) for name in sorted(names)}


def _graded(split: Split, answers: Answers, fitted: RoundEvaluation) -> list[GradedAnswer]:
    if fitted.platt is None:
        answers = replace(answers, log_probs_N_C=apply_temperature(answers.log_probs_N_C, fitted.temperature))
    answered = answered_items(answers, split, confidences(answers, split.items, split.task, fitted.platt))
    return [
        GradedAnswer(
            text=shown_text(item),
            answer=None if answered.answers[row] is None else split.task.shown(answered.answers[row]),
            gold=split.task.shown(split.task.answer(split.golds[row])),
            confidence=float(answered.confidence_N[row]),
            right=bool(answered.right_N[row]),
            grade=float(answered.grades_N[row]),
        )
        for row, item in enumerate(split.items)
    ]


def _simulated(store: Store, campaign: Campaign) -> Comparison | None:
    study = store.study(campaign.name)
    return None if study is None else study_results(store, study)


def _on_same_texts(rounds: Sequence[Round], right: Mapping[int, RightAnswers]) -> OnSameTexts | None:
    """Compare language model and head text by text, in the newest round that keeps predictions of both."""
    trained = [one for one in rounds if one.adapter_sha256 is not None and one.head_sha256 is not None]
    if not trained:
        return None
    index = trained[-1].index
    adapted, head = right[index].get("adapted", {}), right[index].get("head", {})
    both = [(adapted[item_id], head[item_id]) for item_id in adapted.keys() & head.keys()]
    return OnSameTexts(
        index,
        only_adapted=sum(one and not other for one, other in both),
        only_head=sum(other and not one for one, other in both),
        n=len(both),
    )


def _texts(store: Store, campaign: Campaign, queries: Sequence[Query]) -> dict[str, str]:
    """The texts of the items as the page shows them; whole texts are in memory for one page at a time."""
    item_ids = list({query.item_id: None for query in queries})
    return {
        item.item_id: shown_text(item)
        for page in pages(item_ids, ITEMS_PAGE)
        for item in store.items(campaign.campaign_id, page)
    }


def _lead_times(queries: Sequence[Query], annotations: Sequence[Annotation]) -> Mapping[int, list[float]]:
    """Return how long each answer took, in seconds, grouped by round."""
    round_of = {query.query_id: query.round_index for query in queries}
    seconds: dict[int, list[float]] = defaultdict(list)
    for each in newest_revisions(annotations):
        if each.lead_time is not None and not each.skipped:
            seconds[round_of[each.query_id]].append(each.lead_time)
    return dict(seconds)
