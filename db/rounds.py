"""Rounds: their values, what they trained on, and the results of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from db import training_labels as training_labels_
from db.statements import insert_new, now, table_of
from db.tables import (
    AdapterRow,
    CalibrationBinRow,
    EvaluationRow,
    HeldOutPredictionRow,
    RoundRow,
    ScoreTableRow,
)
from star_al.errors import StoreError
from star_al.types import (
    Adapter,
    CalibrationBin,
    Evaluation,
    HeldOutPrediction,
    Histogram,
    Label,
    PlattScaling,
    Role,
    Round,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    ScoreRow,
    ShortlistRecord,
    StepResults,
)

_BIN_COLUMNS = (
    CalibrationBinRow.low,
    CalibrationBinRow.high,
    CalibrationBinRow.count,
    CalibrationBinRow.confidence,
    CalibrationBinRow.accuracy,
)

_BLANK: dict[str, Any] = {
    "versions": {},
    "stop_set": {},
    "blend_curve": (),
    "histograms": {},
    "asked": 0,
    "skipped": 0,
    "disputed": 0,
}
"""Columns that are not NULL before their step has run."""

_HAS_ASKED = (RoundState.SELECTED, RoundState.PUSHED, RoundState.COLLECTED)


def load(connection: Connection, campaign_id: int) -> list[Round]:
    """All rounds in order."""
    chosen = (
        select(table_of(RoundRow)).where(RoundRow.campaign_id == campaign_id).order_by(RoundRow.round_index)
    )
    return [_round(row) for row in connection.execute(chosen)]


def start(connection: Connection, campaign_id: int, round_: Round, training: Sequence[Label]) -> None:
    """Insert a round and the label versions it trains on; a round that exists stays as it is."""
    row = {
        "campaign_id": campaign_id,
        "round_index": round_.index,
        "created_at": now(connection),
        **_values(round_),
    }
    if insert_new(connection, RoundRow, [row]):
        training_labels_.start(connection, campaign_id, round_.index, training)


def save(connection: Connection, campaign_id: int, round_: Round, results: StepResults) -> None:
    """Store the round's new values; results replace what the round had of their kind. Queries are not stored."""
    for one in results.adapters:
        _save_adapter(connection, one)
    _update(connection, campaign_id, round_)
    if results.evaluations:
        _replace_evaluations(connection, campaign_id, round_.index, results.evaluations)
    if results.ranking:
        _replace_ranking(connection, campaign_id, round_.index, results.ranking)
    if results.held_out:
        _replace_held_out(connection, campaign_id, round_.index, results.held_out)


def _update(connection: Connection, campaign_id: int, round_: Round) -> None:
    changed = (
        update(RoundRow)
        .where(RoundRow.campaign_id == campaign_id, RoundRow.round_index == round_.index)
        .values(_values(round_))
    )
    if connection.execute(changed).rowcount == 0:
        raise StoreError(f"round {round_.index} was never started; nothing was written.")


def _save_adapter(connection: Connection, adapter: Adapter) -> None:
    """Insert a trained artefact unless its hash is known."""
    insert_new(connection, AdapterRow, [{**asdict(adapter), "created_at": now(connection)}])


def _replace_evaluations(
    connection: Connection, campaign_id: int, round_index: int, evaluations: Sequence[Evaluation]
) -> None:
    """Replace the round's evaluations and their bins."""
    connection.execute(
        delete(EvaluationRow).where(
            EvaluationRow.campaign_id == campaign_id, EvaluationRow.round_index == round_index
        )
    )
    key = {"campaign_id": campaign_id, "round_index": round_index}
    connection.execute(insert(EvaluationRow), [{**key, **_evaluation_values(one)} for one in evaluations])
    bins = [
        {**key, "model": one.model, "scaling": one.scaling, "position": position, **asdict(bin_)}
        for one in evaluations
        for position, bin_ in enumerate(one.bins)
    ]
    if bins:
        connection.execute(insert(CalibrationBinRow), bins)


def evaluations(connection: Connection, campaign_id: int, round_index: int) -> list[Evaluation]:
    """The evaluations of a round, by model and scaling."""
    bins: dict[tuple[str, str], list[CalibrationBin]] = {}
    chosen = (
        select(CalibrationBinRow.model, CalibrationBinRow.scaling, *_BIN_COLUMNS)
        .where(CalibrationBinRow.campaign_id == campaign_id, CalibrationBinRow.round_index == round_index)
        .order_by(CalibrationBinRow.position)
    )
    for row in connection.execute(chosen):
        bins.setdefault((row.model, row.scaling), []).append(CalibrationBin(*row[2:]))
    rows = connection.execute(
        select(table_of(EvaluationRow))
        .where(EvaluationRow.campaign_id == campaign_id, EvaluationRow.round_index == round_index)
        .order_by(EvaluationRow.model, EvaluationRow.scaling)
    )
    return [_evaluation(row, tuple(bins.get((row.model, row.scaling), ()))) for row in rows]


def _replace_ranking(
    connection: Connection, campaign_id: int, round_index: int, ranking: Sequence[ScoreRow]
) -> None:
    """Replace the round's ranking."""
    connection.execute(
        delete(ScoreTableRow).where(
            ScoreTableRow.campaign_id == campaign_id, ScoreTableRow.round_index == round_index
        )
    )
    key = {"campaign_id": campaign_id, "round_index": round_index}
    connection.execute(insert(ScoreTableRow), [{**key, **asdict(row)} for row in ranking])


def _replace_held_out(
    connection: Connection, campaign_id: int, round_index: int, held_out: Sequence[HeldOutPrediction]
) -> None:
    """Replace the round's held-out predictions."""
    of_round = (HeldOutPredictionRow.campaign_id == campaign_id) & (
        HeldOutPredictionRow.round_index == round_index
    )
    connection.execute(delete(HeldOutPredictionRow).where(of_round))
    key = {"campaign_id": campaign_id, "round_index": round_index}
    rows = [
        {
            **key,
            "item_id": one.item_id,
            "model": one.model,
            "log_probs": one.log_probs_C,
            "uncertainty": one.uncertainty,
            "answers": list(one.answers) or None,
            "signals": dict(one.signals) or None,
        }
        for one in held_out
    ]
    connection.execute(insert(HeldOutPredictionRow), rows)


def held_out(connection: Connection, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
    """The held-out predictions of a round, by model and item id."""
    chosen = select(
        HeldOutPredictionRow.item_id,
        HeldOutPredictionRow.model,
        HeldOutPredictionRow.log_probs,
        HeldOutPredictionRow.uncertainty,
        HeldOutPredictionRow.answers,
        HeldOutPredictionRow.signals,
    ).where(HeldOutPredictionRow.campaign_id == campaign_id, HeldOutPredictionRow.round_index == round_index)
    found = [
        HeldOutPrediction(item_id, model, log_probs, uncertainty, tuple(answers or ()), signals or {})
        for item_id, model, log_probs, uncertainty, answers, signals in connection.execute(chosen)
    ]
    return sorted(found, key=lambda one: (one.model, one.item_id))


def _values(round_: Round) -> dict[str, Any]:
    """The row of a round; its groups, one for each step, are columns named like their fields."""
    return {
        "state": round_.state.value,
        "seed": round_.seed,
        "config": round_.config,
        "seconds": round_.seconds,
        "seconds_total": sum(round_.seconds.values()),
        "labels": round_.labels,
        "labels_bought": round_.labels_bought,
        **_columns(RoundFit, round_.fit),
        **_columns(RoundEvaluation, round_.evaluation),
        **_columns(RoundDecision, round_.decision),
        "scores_sha256": round_.scores_sha256,
        **_columns(RoundSelection, round_.selection),
        **_columns(RoundCollection, round_.collection),
    }


def _columns(group: type[Any], values: Any) -> dict[str, Any]:
    """The columns of a step; blank ones if it has not run and ``values`` is None."""
    return asdict(values) if values else {each.name: _BLANK.get(each.name) for each in fields(group)}


def _round(row: Row[Any]) -> Round:
    state = RoundState(row.state)
    is_collected = state is RoundState.COLLECTED
    return Round(
        index=row.round_index,
        state=state,
        seed=row.seed,
        config=row.config,
        seconds=row.seconds,
        labels=row.labels,
        labels_bought=row.labels_bought,
        fit=None if row.input_hash is None else RoundFit(**_fields(RoundFit, row)),
        evaluation=None if row.temperature is None else _evaluated(row),
        decision=None if row.pool_size is None else RoundDecision(**_fields(RoundDecision, row)),
        scores_sha256=row.scores_sha256,
        selection=_selection(row) if state in _HAS_ASKED else None,
        collection=RoundCollection(**_fields(RoundCollection, row)) if is_collected else None,
    )


def _fields(group: type[Any], row: Row[Any]) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in fields(group)}


def _evaluated(row: Row[Any]) -> RoundEvaluation:
    values = _fields(RoundEvaluation, row)
    values["platt"] = None if row.platt is None else PlattScaling(**row.platt)
    return RoundEvaluation(**values)


def _selection(row: Row[Any]) -> RoundSelection:
    values = _fields(RoundSelection, row)
    values["blend_curve"] = tuple((weight, auroc) for weight, auroc in row.blend_curve)
    values["histograms"] = {
        name: Histogram(tuple(stored["edges"]), tuple(stored["counts"]))
        for name, stored in row.histograms.items()
    }
    values["shortlist"] = None if row.shortlist is None else ShortlistRecord(**row.shortlist)
    return RoundSelection(**values)


def _evaluation_values(one: Evaluation) -> dict[str, Any]:
    values = asdict(one)
    del values["bins"]
    confusion, figures = values.pop("confusion_C_C"), values.pop("figures")
    return {**values, "split": one.split.value, "confusion": confusion, "figures": figures or None}


def _evaluation(row: Row[Any], bins: tuple[CalibrationBin, ...]) -> Evaluation:
    values = row._asdict()
    for name in ("campaign_id", "round_index"):
        del values[name]
    confusion = tuple(tuple(counts) for counts in values.pop("confusion"))
    split, figures = Role(values.pop("split")), values.pop("figures") or {}
    return Evaluation(split=split, confusion_C_C=confusion, bins=bins, figures=figures, **values)
