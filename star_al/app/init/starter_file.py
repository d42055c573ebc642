"""The short campaign file that `star-al init` writes: what a beginner decides, each line with its meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al.app.predicting import own_files
from star_al.config.schema import schema_text
from star_al.config.setting_tree import Setting, all_settings
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.config.writing import plain_label, to_one_line
from star_al.data import (
    ImportCounts,
    check_out,
    data_source,
    import_notes,
    read_items,
    writable_target,
    write_text,
)
from star_al.data.item_labels import user_fields
from star_al.task import make_task

SCHEMA_FILE = "star-al.schema.json"
"""The JSON schema that is written next to the campaign file, whose first line names it."""

ALWAYS_SHOWN = frozenset(
    {
        "name",
        "data.path",
        "data.text",
        "task.kind",
        "task.labels",
        "task.levels",
        "model.name",
        "acquisition.batch_size",
        "annotator.kind",
        "annotator.gold",
        "evaluation.kind",
        "evaluation.size",
        "evaluation.calibration",
        "stopping.max_labels",
    }
)
"""What a beginner decides. Any other setting is written only if it differs from its default."""

_LEFT_OUT_IF_EMPTY = frozenset({"task.labels", "model.name"})
"""Multiple choice has no labels, and a head needs no language model."""

WIDTH = 100
"""Columns after which a list is continued on the next line."""

_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
# Every other setting has a default: `star-al config reference` shows them all with their meaning.

"""


@dataclass(frozen=True)
class Written:
    """A campaign file that was written, and what its data holds."""

    file: CampaignFile
    columns: tuple[str, ...]
    texts: int
    duplicates: int
    empty: int
    notes: tuple[str, ...]


def write_starter_file(out: Path, spec: CampaignSpec) -> Written:
    """Read all of a campaign's data once, then write its file, and the JSON schema next to it.

    Raises:
        DataError: The data cannot be used, or ``out`` is a file of the campaign.
        StoreError: A file cannot be written.
    """
    target = writable_target(out)
    file = CampaignFile(path=target, spec=spec)
    schema = target.with_name(SCHEMA_FILE)
    check_out(out, own_files(file) | {"the campaign file": None, "the schema of campaign files": schema})
    counts, ids, columns = ImportCounts(), set(), dict.fromkeys([spec.data.text])
    source = data_source(file)
    for each in read_items(source, make_task(spec.task), counts):
        ids.add(each.item.item_id)
        columns |= dict.fromkeys(user_fields(each.item.fields))
    write_text(schema, schema_text())
    write_text(out, starter_file(spec))
    repeated = counts.rows - counts.empty - len(ids)
    notes = tuple(import_notes(source, counts))
    return Written(file, tuple(columns), len(ids), repeated, counts.empty, notes)


def starter_file(spec: CampaignSpec) -> str:
    """The campaign file of a specification; ``load_campaign`` reads it back."""
    lines = _section(all_settings(), spec.model_dump(mode="json"), "")
    return _HEAD + "\n".join(lines) + "\n"


def _section(settings: Sequence[Setting], values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for setting in settings:
        value = values[setting.name]
        if not setting.is_section:
            if setting.path in ALWAYS_SHOWN or value != setting.default:
                yield from _setting(setting, value, indent)
            continue
        inner = setting.kinds[value["kind"]] if setting.kinds else setting.settings
        lines = list(_section(inner, value, indent + "  "))
        if lines:
            yield from ([""] if not indent else [])
            yield f"{indent}{setting.name}:"
            yield from lines


def _setting(setting: Setting, value: Any, indent: str) -> Iterator[str]:
    """The setting with its meaning behind it, or above it if it takes several lines."""
    if setting.path in _LEFT_OUT_IF_EMPTY and not value:
        return
    start = f"{indent}{setting.name}: "
    lines = _filled(start, value, indent) if isinstance(value, list) else [start + to_one_line(value)]
    meaning = setting.choices.get(str(value), setting.summary)
    if len(lines) == 1:
        yield f"{lines[0]}  # {meaning}"
    else:
        yield f"{indent}# {meaning}"
        yield from lines


def _filled(start: str, values: Sequence[Any], indent: str) -> list[str]:
    """A list in brackets, as many values on a line as fit."""
    lines = [start + "["]
    for position, value in enumerate(values, 1):
        piece = to_one_line(plain_label(value)) + ("]" if position == len(values) else ",")
        if lines[-1].endswith("["):
            lines[-1] += piece
        elif len(lines[-1]) + 1 + len(piece) <= WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"{indent}  {piece}")
    return lines
