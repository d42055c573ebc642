"""Rounds, queries and status as tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from star_al.common.wording import count
from star_al.display.text import one_line
from star_al.stats.delivered_words import delivered_in_words
from star_al.stats.ece_floor import ece_floor
from star_al.types import CampaignSummary, Evaluation, JsonObject, JsonValue, RoundState

if TYPE_CHECKING:
    from star_al.app.status import ExplainedQuery
    from star_al.report.snapshot import AskedQuery, Person

NOTHING = "–"

CUT = 1000
"""Characters of a text that one line can use at most."""

WIDE = 110
"""At this width or more there are columns for both uncertainties and for the reason."""


def history_table(rows: Sequence[JsonObject]) -> Table:
    """Make a table of rounds, as ``rows_by_ranker`` tells them.

    If people shared texts, it shows disputes and agreement (α) instead of seconds. If there is a second model, it
    shows that model's accuracy instead of the base model's ECE.
    """
    shared = any(row["disputed"] or row["agreement"] is not None for row in rows)
    beside = any(row["beside_accuracy"] is not None for row in rows)
    table = _table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    counts = ("labels", "total\nlabels")
    second = "2nd\nacc." if beside else "base\nECE"
    measures = ("acc.\n%", "95 %\nint.", "base\nacc.", "NLL", "ECE", second, "T", "λ")
    last = ("asked\n/disp", "α") if shared else ("asked", "sec-\nonds")
    for header in (*counts, *measures, *last):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        asked, alpha = f"{row['asked']}/{row['disputed']}", number(row["agreement"], 2)
        table.add_row(
            str(row["round"]),
            str(row["state"]),
            str(row["labels"]),
            str(row["labels_bought"]),
            percent(row["accuracy"]),
            interval(row, "–", digits=0),
            percent(row["base_accuracy"]),
            number(row["nll"], 2),
            number(row["ece"], 3),
            percent(row["beside_accuracy"]) if beside else number(row["base_ece"], 3),
            number(row["temperature"], 2),
            number(row["blend_weight"], 2),
            *((asked, alpha) if shared else (str(row["asked"]), number(row["seconds"], 1))),
        )
    return table


def history_notes(
    rows: Sequence[JsonObject], temperature_note: str | None, model: str, newest: Evaluation | None = None
) -> list[str]:
    """Explain what the table cannot: why values are missing, where T comes from, why the campaign stopped.

    Args:
        rows: The rows of the table.
        temperature_note: How the newest temperature came about.
        model: The model that ranks the pool: ``adapted``, or ``head`` beside a language model.
        newest: The newest evaluation of that model.
    """
    notes = []
    if any(row["beside_accuracy"] is not None for row in rows):
        main, second = (
            ("the head", "the language model") if model == "head" else ("the language model", "the head")
        )
        notes.append(f"acc., NLL, ECE: {main}, which ranks the texts; 2nd acc.: {second}")
    elif model == "head":
        notes.append("acc., NLL, ECE: the head, which ranks the texts; the language model is not trained yet")
    if any(row["accuracy"] is None for row in rows):
        why = "no held-out text is labelled (see evaluation in the config), or the round is not evaluated yet"
        if any(row["accuracy"] is not None for row in rows):
            why = "the round is not evaluated yet"
        notes.append(f"{NOTHING} accuracy, NLL, ECE: {why}")
    if any(row["blend_weight"] is None for row in rows):
        notes.append(f"{NOTHING} λ (weight of the adapted model): no blend was used in this round")
    if any(row["agreement"] is not None for row in rows):
        notes.append(
            "α: agreement between annotators (Krippendorff; 0 chance, 1 full agreement); "
            "disp: texts dropped as disputed"
        )
    if newest is not None:
        floor = ece_floor(newest.bins).mean
        notes.append(
            f"ECE: a perfectly calibrated model would show {floor:.3f} on {count(newest.n, 'text')}, by chance alone"
        )
    if temperature_note:
        notes.append(temperature_note if temperature_note.startswith("T =") else f"T: {temperature_note}")
    notes += [*_proof(rows[-1])] if rows else []
    notes += [f"Stopped at round {row['round']}: {row['stop_reason']}" for row in rows if row["stop_reason"]]
    return [one_line(note) for note in notes]


def _proof(row: JsonObject) -> Iterator[str]:
    """What is known about the newest round beyond the table."""
    low, high = row["sequence_low"], row["sequence_high"]
    if low is not None and high is not None:
        yield (
            f"Accuracy of round {row['round']}: {percent(low)} to {percent(high)} % "
            "(confidence sequence, valid for all rounds)"
        )
    if isinstance(row["shadow_labels"], int) and row["shadow_accuracy"] is not None:
        yield (
            f"Control arm: trained only on {count(row['shadow_labels'], 'random label')}, "
            f"accuracy {percent(row['shadow_accuracy'])} %"
        )
    head, adapted = row["delivered_head_weight"], row["delivered_adapted_weight"]
    if isinstance(head, float) and isinstance(adapted, float):
        accuracy = row["delivered_accuracy"]
        measured = "" if accuracy is None else f", accuracy {percent(accuracy)} %"
        yield f"Predictions of round {row['round']} come from {delivered_in_words(head, adapted)}{measured}"
    if isinstance(row["taught_texts"], int):
        yield (
            f"Language model of round {row['round']}: also trained on the head's answers to "
            f"{count(row['taught_texts'], 'unlabelled text')}, which do not count as labels"
        )
    if row["stop_advice"]:
        yield f"Advice: stop, {row['stop_advice']} (set stopping.automatic: true to stop automatically)"


def explain_table(explained: Sequence[ExplainedQuery], width: int) -> Table:
    """Make a table with one line per query, the most uncertain first; texts are cut to ``width``."""
    wide = width >= WIDE
    table = _table()
    table.expand = True
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("id", max_width=20 if wide else 12, no_wrap=True)
    table.add_column("text", ratio=3, no_wrap=True)
    for header in ("base", "adapted", "blended") if wide else ("blended",):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("model's guess", max_width=18, no_wrap=True)
    table.add_column("human", max_width=14, no_wrap=True)
    if wide:
        table.add_column("why", ratio=4)
    for each in explained:
        table.add_row(*_query_cells(each, wide))
    return table


def answer_lines(attempts: Sequence[AskedQuery]) -> list[str]:
    """Return a line for each query that several people answered, or that repeats an earlier one."""
    lines = []
    for each in sorted(attempts, key=lambda each: (each.query.rank, each.query.attempt)):
        query = each.query
        if len(each.answers) < 2 and query.attempt == 1:
            continue
        given = [f"{name} {'skipped it' if label is None else label}" for name, label in each.answers.items()]
        again = f", attempt {query.attempt}" if query.attempt > 1 else ""
        disputed = " (disputed)" if query.disputed else ""
        lines.append(one_line(f"Rank {query.rank}{again}: {', '.join(given) or 'no answer yet'}{disputed}"))
    return lines


def people_table(people: Sequence[Person]) -> Table:
    """Make a table with one line per annotator."""
    table = _table()
    table.add_column("annotator", no_wrap=True)
    for header in ("answers", "skips", "seconds\neach", "agrees\n%"):
        table.add_column(header, justify="right", no_wrap=True)
    for person in people:
        table.add_row(
            one_line(person.name),
            f"{person.answers:,}",
            f"{person.skips:,}",
            number(person.seconds, 1),
            percent(person.agreed / person.compared) if person.compared else NOTHING,
        )
    return table


def campaigns_table(campaigns: Sequence[CampaignSummary]) -> Table:
    """Make a table with one line per campaign of a database."""
    table = _table()
    table.add_column("campaign", no_wrap=True)
    table.add_column("state")
    for header in ("rounds", "labels", "accuracy\n%"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("last activity", no_wrap=True)
    for one in campaigns:
        table.add_row(
            one.name,
            campaign_state(one),
            str(one.rounds),
            f"{one.labels:,}",
            percent(one.accuracy),
            f"{one.active_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def campaign_state(one: CampaignSummary) -> str:
    """What a campaign does, in a word or two."""
    if one.marks.archived_at is not None:
        return "archived"
    if one.marks.paused_at is not None:
        return "paused"
    if one.runs is not None:
        return "running"
    if one.stop_reason:
        return f"stopped: {one.stop_reason.partition(':')[0]}"
    if one.state is None:
        return "no round yet"
    if one.state is RoundState.COLLECTED:
        return "ready for the next round"
    return "waiting for labels" if one.state is RoundState.PUSHED else "interrupted"


def _query_cells(explained: ExplainedQuery, wide: bool) -> list[str]:
    asked, item = explained.asked, explained.item
    query, reason = asked.query, asked.query.reason
    guess = NOTHING
    if reason.confidence is not None:
        guess = f"{reason.confidence:.0%} {value(reason.predicted)}"
    parts = [reason.base_uncertainty, reason.adapted_uncertainty] if wide else []
    cells = [
        str(query.rank),
        one_line(item.external_id or item.item_id[:8]),
        one_line(item.text[:CUT]),
        *(number(amount, 3) for amount in (*parts, reason.blended)),
        guess,
        query.state.value if asked.label is None else value(asked.label.value),
    ]
    return [*cells, one_line(reason.text)] if wide else cells


def interval(row: JsonObject, between: str = " to ", *, digits: int = 1) -> str:
    """Format the 95 % interval of the accuracy in percent, without the sign."""
    low, high = row["accuracy_low"], row["accuracy_high"]
    if not (isinstance(low, float) and isinstance(high, float)):
        return NOTHING
    return f"{100 * low:.{digits}f}{between}{100 * high:.{digits}f}"


def percent(share: JsonValue) -> str:
    """Format a share in percent, without the sign."""
    return f"{share * 100:.1f}" if isinstance(share, (int, float)) else NOTHING


def number(amount: JsonValue, digits: int) -> str:
    """Format a number with fewer decimals the larger it is, so that columns stay narrow."""
    if not isinstance(amount, (int, float)):
        return NOTHING
    whole = len(str(int(abs(amount))))
    return f"{amount:.{max(digits + 1 - whole, 0)}f}"


def value(label: JsonValue) -> str:
    """Format a label value."""
    return one_line(str(label))


def _table() -> Table:
    return Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
