"""The card of labelled data that are pushed to the hub."""

from __future__ import annotations

from collections import Counter

from star_al import __version__
from star_al.common.wording import count

COLUMNS = """- `role`: `audit`, `calibration` and `control` were drawn at random; most texts of the `pool` that have a
  label were chosen by the model.
- `status`: `labelled`, `asked`, `skipped`, `disputed`, `not asked` or `no text`.
- `label`: the label in force, `source`, `round` and `version` how it came about, `labelled_at` when.
- `annotators`: who gave the label, by number."""


LISTED = 100
"""Labels of the table, the most frequent first."""

LONGEST = 80
"""Characters of a label that the table shows."""


def data_card(name: str, labels: Counter[str], rows: int, *, predictions: bool) -> str:
    """Return the card as Markdown, with the metadata that the hub reads.

    Args:
        name: The campaign's name.
        labels: How many rows have each label.
        rows: How many rows there are.
        predictions: True if the model's predictions are among the columns.
    """
    table = [f"| {_cell(label)} | {n:,} |" for label, n in labels.most_common()]
    columns = COLUMNS + (
        "\n- `predicted`, `confidence` and `probability_…`: the model's answer where nobody gave a label."
        if predictions
        else ""
    )
    lines = [
        "---",
        "tags: [star-al, active-learning]",
        "configs:",
        "- config_name: default",
        "  data_files: train.parquet",
        "---",
        f"# {name}",
        "",
        f"{count(rows, 'row')}; {count(labels.total(), 'text')} labelled by people in an active-learning campaign with "
        f"star_al {__version__}.",
        "",
        "| label | texts |",
        "|---|---|",
        *table[:LISTED],
        *([f"| {count(len(table) - LISTED, 'further label')} | |"] if len(table) > LISTED else []),
        "",
        "The labelled texts are no random sample: the model chose those it was unsure about. For figures about all "
        "texts, such as the share of a label, use the roles that were drawn at random.",
        "",
        "## Columns",
        "",
        "Beside those of the original data:",
        "",
        columns,
        "",
        "## Licence",
        "",
        "Not stated. Say under which licence the texts may be used before you share them.",
    ]
    return "\n".join(lines) + "\n"


def _cell(label: str) -> str:
    """A label on one line of a table, shortened."""
    line = " ".join(label.split()).replace("|", "\\|")
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
