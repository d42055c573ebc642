"""Read the runs of a study from the store, as curves to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from star_al.config.spec import CampaignSpec
from star_al.ports import Store
from star_al.stats.learning_curves import Comparison, RunCurve, compare
from star_al.stats.ranking_model import has_ended, rows_by_ranker
from star_al.types import JsonObject, Study


def study_results(store: Store, study: Study) -> Comparison:
    """Compare the finished runs of a study, as the store has them."""
    runs = [_read_run(store, run.strategy, run.seed, run.campaign) for run in study.runs]
    posterior = study.config.get("posterior")
    return compare(study.name, runs, str(posterior["kind"]) if isinstance(posterior, Mapping) else None)


def _read_run(store: Store, strategy: str, seed: int, name: str) -> RunCurve:
    campaign = store.find_campaign(name)
    if campaign is None:
        return RunCurve(strategy, seed, name, finished=False)
    spec = CampaignSpec.model_validate(campaign.config)
    rows = rows_by_ranker(store.history(campaign.campaign_id), spec.ranking_model)
    measured = [row for row in rows if row["accuracy"] is not None]
    if not measured:
        return RunCurve(strategy, seed, name, finished=False, seconds=_seconds(rows))
    repeats = _repeats(store, campaign.campaign_id, spec)

    def bought(row: JsonObject) -> int:
        before = sum(n for index, n in repeats.items() if index < _number(row["round"]))
        return int(_number(row["labels_bought"])) + before

    beside = [row for row in measured if row["beside_accuracy"] is not None]
    delivered = [row for row in measured if row["delivered_accuracy"] is not None]
    bases = [_number(row["base_accuracy"]) for row in measured if row["base_accuracy"] is not None]
    return RunCurve(
        strategy=strategy,
        seed=seed,
        campaign=name,
        finished=has_ended(rows, spec.ranking_model),
        labels_R=tuple(map(bought, measured)),
        accuracy_R=tuple(_number(row["accuracy"]) for row in measured),
        beside=None if not beside else "head" if spec.ranking_model == "adapted" else "language model",
        beside_labels_R=tuple(map(bought, beside)),
        beside_accuracy_R=tuple(_number(row["beside_accuracy"]) for row in beside),
        delivered_labels_R=tuple(map(bought, delivered)),
        delivered_accuracy_R=tuple(_number(row["delivered_accuracy"]) for row in delivered),
        base_accuracy=bases[0] if bases else None,
        majority=_majority(store, campaign.campaign_id, int(_number(measured[-1]["round"]))),
        seconds=_seconds(rows),
        stop_reason=None if rows[-1]["stop_reason"] is None else str(rows[-1]["stop_reason"]),
    )


def _repeats(store: Store, campaign_id: int, spec: CampaignSpec) -> Counter[int]:
    """Repeated answers to one item, by the round that asked; −1 stands for held-out items, asked before all rounds."""
    # A campaign counts a label per item, but each further person who answers costs as much as the first.
    repeats: Counter[int] = Counter()
    if spec.labelling.overlap == 1:
        return repeats
    asked_in = {
        query.query_id: (query.item_id, query.round_index if query.purpose == "pool" else -1)
        for query in store.queries(campaign_id)
    }
    seen: set[str] = set()
    for answer in store.annotations(campaign_id):
        if answer.skipped or answer.revision > 1:  # a correction is no further answer
            continue
        item_id, round_index = asked_in[answer.query_id]
        repeats[round_index] += item_id in seen
        seen.add(item_id)
    return repeats


def _majority(store: Store, campaign_id: int, round_index: int) -> float | None:
    for evaluation in store.evaluations(campaign_id, round_index):
        # Rows are true labels, so the matrix of any model gives the same counts.
        counts = [sum(row) for row in evaluation.confusion_C_C]
        return max(counts) / sum(counts) if counts else None
    return None


def _seconds(rows: Sequence[JsonObject]) -> float:
    return sum(_number(row["seconds"]) for row in rows if row["seconds"] is not None)


def _number(value: object) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"{value!r} is no number")
