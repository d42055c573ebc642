"""Inspect a campaign: its state, its rounds, why a round chose its texts, pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star_al.cli.console import print_json, print_table, say, width
from star_al.cli.options import DEFAULT_CONFIG, Config, RoundIndex, Shape, ShortShape, load
from star_al.common.wording import count, sentence_case
from star_al.display.text import one_line

if TYPE_CHECKING:
    from star_al.app.status import ExplainedQuery, Status
    from star_al.config.spec import CampaignFile
    from star_al.ports import Store
    from star_al.types import Campaign, JsonObject, Reason, ShortlistRecord


def status(
    config: Config = DEFAULT_CONFIG,
    shape: Annotated[ShortShape, typer.Option("--format", help="Output format.")] = ShortShape.TABLE,
) -> None:
    """Show the state of a campaign, who has labelled how much, and what comes next."""
    from star_al.app import status as campaign_status
    from star_al.app.stores import reading
    from star_al.cli import tables

    file = load(config)
    with reading(file) as (store, campaign):
        now = campaign_status.status(file, store, campaign)
    if shape is ShortShape.JSON:
        print_json(_status_json(now))
        return
    for name, text in _status_lines(now, file).items():
        say(f"{name:<11} {one_line(text)}")
    if now.people:
        say("")
        print_table(tables.people_table(now.people))


def _status_json(now: Status) -> dict[str, Any]:
    newest = now.newest
    return {
        "campaign": now.campaign.name,
        "data": now.sizes,
        "labels": now.labels,
        "round": None if newest is None else newest.index,
        "state": None if newest is None else newest.state.value,
        "open": now.open_queries,
        "skipped": now.skipped,
        "disputed": now.disputed,
        "in_dispute": now.in_dispute,
        "run": now.run,
        "people": [asdict(person) for person in now.people],
        "place": now.place,
        "next": now.next_step,
    }


def _status_lines(now: Status, file: CampaignFile) -> dict[str, str]:
    from db.engine import location, parse_url

    folder, newest, metrics = file.artefact_folder, now.newest, now.latest_metrics
    here = " on this machine" if file.artefact_address else ""
    accuracy = "not measured yet"
    if metrics is not None:
        accuracy = _accuracy(metrics, file.spec.ranking_model)
    return {
        "campaign": now.campaign.name,
        "data": _amounts(now.sizes),
        "labels": _amounts(now.labels),
        "round": "none yet" if newest is None else str(newest.index),
        "accuracy": accuracy,
        "posterior": _posterior(file),
        "open": _open(now),
        "running": now.run or "no",
        **({"label at": now.place} if now.place else {}),
        "next": now.next_step,
        "database": location(parse_url(file.database_url)),
        "artefacts": f"{file.artefact_address or folder} ({_megabytes(folder)}{here})",
    }


def _accuracy(metrics: JsonObject, model: str) -> str:
    """The accuracy of the model that ranks the pool, beside the other models that were measured."""
    from star_al.cli import tables

    others = {
        "base model": metrics["base_accuracy"],
        "language model" if model == "head" else "head": metrics["beside_accuracy"],
    }
    beside = "".join(f", {name} {tables.percent(one)} %" for name, one in others.items() if one is not None)
    what = " of the head" if model == "head" else ""
    return (
        f"{tables.percent(metrics['accuracy'])} %{what} (95 % interval {tables.interval(metrics)} %){beside}, "
        f"at round {metrics['round']}"
    )


def _posterior(file: CampaignFile) -> str:
    """The kind of posterior, with its settings; the samples of a head where that ranks."""
    if file.spec.head_ranks:
        return f"of the head, samples {file.spec.head.samples}"
    settings = file.spec.posterior.model_dump()
    kind = settings.pop("kind")
    return ", ".join([kind, *(f"{name} {value}" for name, value in settings.items())])


def _open(now: Status) -> str:
    """How many texts wait for a label, and how many were closed without one."""
    words = count(now.open_queries, "text")
    if now.in_dispute:
        words += f", {now.in_dispute:,} of them disputed"
    if now.skipped:
        words += f"; {now.skipped:,} closed without a label"
    if now.disputed:
        words += f" ({now.disputed:,} disputed)"
    return words


def _amounts(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {role}" for role, n in amounts.items() if n) or "none"


def _megabytes(folder: Path) -> str:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running campaign moves its files
            total += path.stat().st_size if path.is_file() else 0
    return f"{total / 1e6:,.1f} MB"


def history(
    config: Config = DEFAULT_CONFIG,
    shape: Annotated[Shape, typer.Option("--format", help="Output format.")] = Shape.TABLE,
) -> None:
    """Show one line per round: labels, accuracy, calibration, size of the batch, why it stopped."""
    from star_al.app.stores import reading

    with reading(load(config)) as (store, campaign):
        if shape is Shape.TABLE:
            print_history(store, campaign)
            return
        rows = store.history(campaign.campaign_id)
    if shape is Shape.JSON:
        print_json([dict(row) for row in rows])
    else:
        typer.echo(_csv(rows), nl=False)


def print_history(store: Store, campaign: Campaign) -> None:
    """Print the rounds as a table, with notes below it."""
    from star_al.cli import tables
    from star_al.config.spec import CampaignSpec
    from star_al.report.snapshot import find_evaluation
    from star_al.stats.ranking_model import rows_by_ranker

    model = CampaignSpec.model_validate(campaign.config).ranking_model
    rows = rows_by_ranker(store.history(campaign.campaign_id), model)
    if not rows:
        say(f"Campaign {campaign.name} has no rounds yet.")
        return
    rounds = [round_ for round_ in store.rounds(campaign.campaign_id) if round_.evaluation]
    note = rounds[-1].evaluation.temperature_note if rounds and rounds[-1].evaluation else None
    evaluations = store.evaluations(campaign.campaign_id, rounds[-1].index) if rounds else []
    newest = find_evaluation(evaluations, model, "temperature", "raw")
    print_table(tables.history_table(rows))
    for line in tables.history_notes(rows, note, model, newest):
        say(line)


def _csv(rows: Sequence[JsonObject]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def explain(
    config: Config = DEFAULT_CONFIG,
    *,
    round_index: RoundIndex,
    shape: Annotated[ShortShape, typer.Option("--format", help="Output format.")] = ShortShape.TABLE,
) -> None:
    """Show the texts of a round's batch, and why: the uncertainty of both models, their blend, and the rank."""
    from star_al.app import status as campaign_status
    from star_al.app.stores import reading

    with reading(load(config)) as (store, campaign):
        explained = campaign_status.explain(store, campaign, round_index)
        selection = store.rounds(campaign.campaign_id)[round_index].selection
    if shape is ShortShape.JSON:
        print_json([_explained_json(each) for each in explained])
    else:
        _print_explanation(round_index, explained, selection.shortlist if selection else None)


def _print_explanation(
    round_index: int, explained: Sequence[ExplainedQuery], shortlist: ShortlistRecord | None
) -> None:
    from star_al.cli import tables
    from star_al.stats.shortlist_words import shortlist_in_words
    from star_al.types import Role

    attempts = [each for each in explained if each.asked.query.purpose is Role.POOL]
    batch = list({each.item.item_id: each for each in attempts}.values())  # the last attempt at each
    if not batch:
        say(f"Round {round_index} asked for no training labels.")
    else:
        first = batch[0].asked.query.reason
        say(f"Round {round_index} asked for labels of {count(len(batch), 'text')}{_how(first)}.")
        print_table(tables.explain_table(batch, width()))
        if width() < tables.WIDE:
            say(f"Reason for the first text: {one_line(first.text)}")
        for line in tables.answer_lines([each.asked for each in attempts]):
            say(line)
    if shortlist is not None:
        say(f"{sentence_case(shortlist_in_words(shortlist))}.")
    for role in (Role.AUDIT, Role.CALIBRATION):
        asked = [each.asked for each in explained if each.asked.query.purpose is role]
        held_out = {each.query.item_id: each for each in asked}
        if held_out:
            labelled = sum(each.label is not None for each in held_out.values())
            labels = count(len(held_out), f"{role.value} label")
            given = f"{labelled:,} {'has' if labelled == 1 else 'have'} been given"
            say(f"It also asked for {labels} (drawn at random at import, never trained on); {given}.")


def _how(reason: Reason) -> str:
    if reason.measure is None:
        return ""
    if reason.blend_weight is None:
        return f", chosen by {reason.measure} (not blended)"
    return f", chosen by {reason.measure} (λ = {reason.blend_weight:.2f})"


def _explained_json(explained: ExplainedQuery) -> dict[str, Any]:
    asked, item = explained.asked, explained.item
    query, label = asked.query, asked.label
    return {
        "rank": query.rank,
        "purpose": query.purpose.value,
        "state": query.state.value,
        "attempt": query.attempt,
        "wanted": query.wanted,
        "buffer": query.buffer,
        "disputed": query.disputed,
        "id": item.external_id,
        "item_id": item.item_id,
        "text": item.text,
        "options": list(item.options),
        "why": query.reason.text,
        **{name: value for name, value in asdict(query.reason).items() if name != "text"},
        "label": None if label is None else label.value,
        "label_version": None if label is None else label.version,
        "answers": dict(asked.answers),
    }


def pictures(
    config: Config = DEFAULT_CONFIG,
    out: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Folder for the pictures; created if missing.")
    ] = Path(),
) -> None:
    """Draw learning_curve.png and, with 50 held-out texts or more, reliability.png from the database."""
    from star_al.app.stores import reading

    with reading(load(config)) as (store, campaign):
        draw(store, campaign, out)


def draw(store: Store, campaign: Campaign, folder: Path) -> None:
    """Draw the pictures and print their paths, or why there are none."""
    from star_al.config.spec import CampaignSpec
    from star_al.report.pictures import draw_pictures

    model = CampaignSpec.model_validate(campaign.config).ranking_model
    paths = draw_pictures(store, campaign, folder, model)
    for path in paths:
        say(str(path))
    if not paths:
        say("Nothing to draw: no round has been evaluated on held-out labels.")
