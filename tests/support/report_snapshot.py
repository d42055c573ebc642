"""Made-up campaign records that fill every part of a report page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from star_al.config.spec import CampaignSpec
from star_al.report.snapshot import AskedQuery, CampaignSnapshot, Person
from star_al.stats import metrics
from star_al.types import (
    Campaign,
    Evaluation,
    FloatArray,
    Histogram,
    JsonObject,
    Label,
    Query,
    QueryState,
    Reason,
    Role,
    Round,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
)

MADE_AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
STEPS = {
    "fit": 22.0,
    "evaluate": 9.0,
    "decide": 0.1,
    "score": 48.0,
    "select": 0.4,
    "push": 0.2,
    "collect": 4000.0,
}


def a_snapshot(
    labels: tuple[str, ...] = ("business", "politics", "sport"),
    *,
    rounds: int = 6,
    queries: int = 40,
    held_out: int = 150,
    **changes: object,
) -> CampaignSnapshot:
    """Return a campaign labelled by people, with a control arm, a measured blend and a confidence sequence."""
    spec = _spec(labels)
    evaluations = {index: _evaluations(index, labels, held_out) for index in range(rounds)}
    made = [_round(index, rounds) for index in range(rounds)]
    values: dict[str, object] = {
        "campaign": Campaign(1, "news", 1, {}, 7, "key"),
        "spec": spec,
        "sizes": {"pool": 5000, "test": 0, "audit": held_out, "calibration": 30},
        "labels": {"pool": 25 * rounds, "test": 0, "audit": held_out, "calibration": 30},
        "rounds": tuple(made),
        "evaluations": evaluations,
        "history": tuple(_history_row(one, evaluations[one.index]) for one in made),
        "asked": tuple(an_asked_query(n, labels, rounds) for n in range(queries)),
        "texts": {f"item-{n}": a_text(n) for n in range(queries)},
        "people": (Person("ann", 120, 3, 7.5, 118, 110), Person("bob", 98, 1, 140.0, 90, 85)),
        "lead_times": {index: (4.0 + index, 8.0, 30.0) for index in range(rounds)},
        "made_at": MADE_AT,
        "program": "1.2.3",
    }
    return CampaignSnapshot(**{**values, **changes})  # type: ignore[arg-type]


def a_text(n: int) -> str:
    """The text of the n-th question."""
    return f"Text number {n}: the minister said on monday that rates"


def an_asked_query(n: int, labels: tuple[str, ...], rounds: int) -> AskedQuery:
    """Return the n-th query; every seventh is open, and the notes take turns."""
    label, guess = labels[n % len(labels)], labels[n * n % len(labels)]
    item_id = f"item-{n}"
    reason = Reason(
        f"rank {n + 1} of 5000: blended {1 - n / 60:.3f} from adapted entropy and base entropy",
        measure="entropy",
        blended=1 / (1 + n),
        predicted=guess,
        confidence=0.5,
    )
    open_ = n % 7 == 6
    query = Query(
        f"query-{n}",
        item_id,
        n * rounds // max(n + 1, 40),
        Role.POOL if n % 5 else Role.AUDIT,
        n + 1,
        reason,
        state=QueryState.OPEN if open_ else QueryState.LABELLED,
        control=n % 9 == 1,
        buffer=n % 11 == 2,
        disputed=n % 13 == 3,
    )
    answers = {} if open_ else {"ann": label, "bob": None if n % 3 else label}
    wrong = not open_ and query.reason.predicted not in (None, label)
    return AskedQuery(query, None if open_ else Label(item_id, label), answers, wrong)


def _spec(labels: tuple[str, ...]) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {
            "name": "news",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": list(labels)},
            "model": {"name": "model"},
            "acquisition": {"control_share": 0.2},
            "annotator": {"kind": "label_studio"},
            "labelling": {"overlap": 2},
        }
    )


def _round(index: int, rounds: int) -> Round:
    scored = index < rounds - 1
    return Round(
        index=index,
        state=RoundState.COLLECTED if scored else RoundState.STOPPED,
        seed=index,
        config={},
        seconds={name: seconds * (1 + 0.1 * index) for name, seconds in STEPS.items()},
        labels=25 * index,
        labels_bought=180 + 25 * index,
        fit=RoundFit(
            "inputs",
            {"torch": "2.13.0", "device": "cpu"},
            adapter_sha256="abc" if index else None,
            shadow_labels=10 * index if index else None,
        ),
        evaluation=RoundEvaluation(
            1.1, 1.0, "fitted on 30 calibration labels", stop_agreement=0.9 if index else None
        ),
        decision=RoundDecision(
            5000 - 25 * index,
            0.55 + 0.04 * index,
            0.85 + 0.03 * index,
            stop_reason=None if scored else "label budget used: 300 of 300",
            stop_advice=None if scored else "100 more labels bring 0.4 points",
        ),
        selection=_selection(index) if scored else None,
        collection=RoundCollection(1, index % 2, 0.7 + 0.03 * index),
    )


def _selection(index: int) -> RoundSelection:
    if not index:
        return RoundSelection(25, histograms=_histograms(index))
    note = "measured on 41 errors, half way to the schedule"
    return RoundSelection(25, min(0.9, 0.1 * index), note, _blend_curve(index), _histograms(index))


def _blend_curve(index: int) -> tuple[tuple[float, float], ...]:
    weights = np.linspace(0, 1, 21)
    return tuple((float(w), float(0.62 + 0.02 * index + 0.3 * w * (1.2 - w))) for w in weights)


def _histograms(index: int) -> dict[str, Histogram]:
    random = np.random.default_rng(index)
    found = {}
    for name, scale in {"base": 1.0, "adapted": 1.0 / (1 + index), "blended": 0.5}.items():
        if name != "adapted" or index:
            counts, edges = np.histogram(np.clip(random.beta(2, 4, 4000) * scale, 0, 1), bins=20)
            found[name] = Histogram(tuple(map(float, edges)), tuple(map(int, counts)))
    return found


def _evaluations(index: int, labels: tuple[str, ...], held_out: int) -> list[Evaluation]:
    base = _evaluation("base", labels, held_out, 1.2)
    adapted = _evaluation("adapted", labels, held_out, 1.2 + 1.6 * index / (index + 2))
    found = [base, adapted, replace(adapted, scaling="temperature", temperature=1.1, ece=adapted.ece * 0.6)]
    return (
        found
        if index == 0
        else [*found, _evaluation("shadow", labels, held_out, 1.2 + 0.5 * index / (index + 2))]
    )


def _evaluation(model: str, labels: tuple[str, ...], n: int, strength: float) -> Evaluation:
    random = np.random.default_rng(0)
    targets_N = random.integers(0, len(labels), n)
    scores_N_C: FloatArray = random.normal(size=(n, len(labels)))
    scores_N_C[np.arange(n), targets_N] += strength
    log_probs_N_C = 1.6 * scores_N_C
    log_probs_N_C -= np.log(np.exp(log_probs_N_C).sum(axis=1, keepdims=True))
    return metrics.evaluate(
        log_probs_N_C, targets_N, labels, model=model, scaling="raw", split=Role.AUDIT, temperature=1.0
    )


def _history_row(one: Round, evaluations: list[Evaluation]) -> JsonObject:
    base, adapted, shadow = evaluations[0], evaluations[2], evaluations[-1]
    return {
        "round": one.index,
        "labels": one.labels,
        "accuracy": adapted.accuracy,
        "accuracy_low": adapted.accuracy_low,
        "accuracy_high": adapted.accuracy_high,
        "base_accuracy": base.accuracy,
        "sequence_low": one.decision.sequence_low if one.decision else None,
        "sequence_high": one.decision.sequence_high if one.decision else None,
        "shadow_labels": one.fit.shadow_labels if one.fit else None,
        "head_accuracy": None,
        "shadow_accuracy": shadow.accuracy if shadow.model == "shadow" else None,
    }
