"""What the columns of a user's data are called and hold, as far as the kind of task shows in it."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from star_al.app.init.request import CampaignRequest
from star_al.config.spec import normalise_label
from star_al.data.columns import Profile
from star_al.data.readers import read_rows

PROMPTS = ("prompt", "question", "instruction", "problem", "query", "input", "context", "passage")
"""Usual names of the column of prompts."""

JOINED = (
    ("context", "question"),
    ("passage", "question"),
    ("context", "query"),
    ("passage", "query"),
    ("instruction", "context"),
    ("instruction", "input"),
)
"""Usual names of two columns that make up a prompt together, in this order."""

_LABELS = re.compile(
    r"(label|target|class|category|topic|intent|sentiment|stance|polarity|gold|truth|ground_truth)s?|y"
    r"|(annotation|annotator|rater|coder|judge|vote)s?(_\w+|\d+)?"
)
"""Usual names of columns that hold a text's label, or that of one of its annotators."""

_READ = 1_000  # rows that are looked at


def plain(name: str) -> str:
    """A column's name in the form in which usual names are listed."""
    return re.sub(r"[\s\-]+", "_", name.strip().casefold())


def is_label_name(name: str) -> bool:
    """Return whether a column is called as one that holds labels."""
    return _LABELS.fullmatch(plain(name)) is not None


def prompt_in(data: Profile, taken: set[str | None]) -> str | None:
    """The column with a usual name of prompts, the most likely one."""
    return next(iter(_prompts(data, taken).values()), None)


def prompts_in(data: Profile, taken: set[str | None]) -> str | None:
    """The same, with the column of what the question is about before it, or of the instruction's input behind it."""
    found = _prompts(data, taken)
    for one, other in JOINED:
        if one in found and other in found and "," not in found[one] + found[other]:
            return f"{found[one]},{found[other]}"
    return next(iter(found.values()), None)


def _prompts(data: Profile, taken: set[str | None]) -> dict[str, str]:
    """The columns with usual names of prompts, by these names, the most likely first."""
    names = {plain(name): name for name in reversed(data.columns) if name not in taken}
    return {usual: names[usual] for usual in PROMPTS if usual in names}


def named(request: CampaignRequest) -> set[str]:
    """The columns that the user names for something else than labels."""
    columns = (
        *(request.text_column or "").split(","),
        request.text_column,
        request.id_column,
        *request.options,
    )
    return {name for name in columns if name}


def cells(data: Profile, name: str) -> list[Any]:
    """What the first rows hold in a column, without empty cells."""
    values = (row.values.get(name) for row in islice(read_rows(data.table), _READ))
    return [cell for cell in values if not _is_empty(cell)]


def hardly_repeats(data: Profile, name: str) -> bool:
    """Return whether a column has more different values than half of its cells."""
    found, n = set[int](), 0
    for row in read_rows(data.table):
        cell = row.values.get(name)
        if not _is_empty(cell):
            n += 1
            found.add(hash(normalise_label(str(cell))))  # whole values may not fit into memory
    return 2 * len(found) > n


def _is_empty(cell: Any) -> bool:
    return cell is None or cell != cell or not str(cell).strip()  # noqa: PLR0124 (NaN)
