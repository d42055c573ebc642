"""Show why a round chose its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from star_al.cli.console import print_json, print_table, say, width
from star_al.cli.options import DEFAULT_CONFIG, Config, RoundIndex, ShortFormat, ShortShape, load
from star_al.common.wording import count, sentence_case
from star_al.display.text import one_line

if TYPE_CHECKING:
    from star_al.app.status import ExplainedQuery
    from star_al.types import Reason, ShortlistRecord


def explain(
    config: Config = DEFAULT_CONFIG,
    *,
    round_index: RoundIndex,
    shape: ShortFormat = ShortShape.TABLE,
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
