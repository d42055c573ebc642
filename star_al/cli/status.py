"""Show where a campaign stands: labels, accuracy, who has answered, what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_al.cli.console import print_json, print_table, say
from star_al.cli.options import DEFAULT_CONFIG, Config, ShortFormat, ShortShape, load
from star_al.common.wording import count
from star_al.display.text import one_line

if TYPE_CHECKING:
    from star_al.app.status import Status
    from star_al.config.spec import CampaignFile
    from star_al.types import JsonObject


def status(
    config: Config = DEFAULT_CONFIG,
    shape: ShortFormat = ShortShape.TABLE,
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
