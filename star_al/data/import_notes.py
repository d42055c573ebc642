"""What a user should know about the rows that were read, in sentences; the same at `init` and at import."""

from __future__ import annotations

from star_al.common.wording import count
from star_al.data.item_reader import ImportCounts
from star_al.data.source import DataSource


def import_notes(source: DataSource, counts: ImportCounts) -> list[str]:
    """Say what was settled, replaced or left out while the rows of a source were read."""
    notes = [_disagreements(source, counts)] if counts.disagreeing else []
    if counts.shared_ids:
        stand = "id stands" if counts.shared_ids == 1 else "ids stand"
        notes.append(
            f"{counts.shared_ids:,} {stand} for several texts (column {source.id!r}); join labels back by `item_id`"
        )
    notes += [
        f"column {name!r} is left out: it holds {kind}, which cannot be kept"
        for name, kind in counts.left_out.items()
    ]
    replaced = counts.nul_replaced + counts.surrogates_replaced
    if replaced:
        notes.append(
            f"replaced {count(replaced, 'character')} that a database cannot store (NUL, lone surrogates) with U+FFFD"
        )
    return [f"{source.table.name}: {note}." for note in notes]


def _disagreements(source: DataSource, counts: ImportCounts) -> str:
    """How many texts have several labels, and what became of them."""
    has = "text has" if counts.disagreeing == 1 else "texts have"
    note = f"{counts.disagreeing:,} {has} different labels in different rows. The label of most rows counts"
    if not counts.ties:
        return note
    tie, has, is_ = ("tie", "has", "is") if counts.ties == 1 else ("ties", "have", "are")
    return f"{note}; {counts.ties:,} {tie} {f'{is_} left out' if source.label == source.gold else f'{has} no label'}"
