"""Show the rounds of a campaign, one line each."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from star_al.cli.console import print_json, print_table, say
from star_al.cli.options import DEFAULT_CONFIG, Config, Format, Shape, load

if TYPE_CHECKING:
    from star_al.ports import Store
    from star_al.types import Campaign, JsonObject


def history(
    config: Config = DEFAULT_CONFIG,
    shape: Format = Shape.TABLE,
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
