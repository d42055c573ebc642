"""A template may name any column: its lines become the item's text, for the model, for people and for the id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec, ClassificationSpec
from star_al.config.spec.template import SplitTemplate, split_template
from star_al.data import ImportCounts, data_source, read_items
from star_al.data.item_labels import content_id
from star_al.errors import ConfigError, DataError
from star_al.task import make_task
from star_al.types import SourceItem


@pytest.mark.parametrize(
    ("template", "prompt", "item_text", "columns"),
    [
        ("Ticket:\n{text}", "Ticket:\n{text}", None, ()),
        ('{"a": {text}} {labels} {0} {}', '{"a": {text}} {labels} {0} {}', None, ()),
        ("{subject}\n{description}", "{text}", "{subject}\n{description}", ("subject", "description")),
        ("T:\nA: {a}\nB: {b}!\n{labels}", "T:\n{text}\n{labels}", "A: {a}\nB: {b}!", ("a", "b")),
        ("{labels} {a} and {text} {options}", "{labels}{text}{options}", " {a} and {text} ", ("a", "text")),
        ("{Größe in cm}", "{text}", "{Größe in cm}", ("Größe in cm",)),
        ("{a}{a}", "{text}", "{a}{a}", ("a",)),
    ],
)
def test_lines_with_columns_become_the_text(
    template: str, prompt: str, item_text: str | None, columns: tuple[str, ...]
) -> None:
    assert split_template(template) == SplitTemplate(prompt, item_text, columns)


def test_labels_cannot_stand_between_columns() -> None:
    with pytest.raises(ValidationError, match=r"\{labels\} and \{options\} cannot stand between columns"):
        ClassificationSpec(kind="classification", labels=("a", "b"), template="{x} {labels} {y}")


def campaign(folder: Path, template: str, more: str = "", name: str = "d.jsonl") -> Path:
    path = folder / "campaign.yaml"
    path.write_text(
        f"name: c\ndata: {{path: {name}}}\nmodel: {{name: m}}\nannotator: {{kind: label_studio}}\n"
        f"task:\n  kind: classification\n  labels: [a, b]\n  template: {json.dumps(template)}\n{more}"
    )
    return path


def read(folder: Path, template: str, rows: list[dict[str, Any]], more: str = "") -> list[SourceItem]:
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = load_campaign(campaign(folder, template, more))
    return list(read_items(data_source(file), make_task(file.spec.task), ImportCounts()))


ROWS: list[dict[str, Any]] = [
    {"subject": "Login", "description": "It fails."},
    {"subject": "Login", "description": "It is slow."},
    {"subject": None, "description": 7},
    {"subject": " ", "description": ""},
]


def test_the_text_and_its_id_include_every_column(tmp_path: Path) -> None:
    found = [each.item for each in read(tmp_path, "Ticket\nSubject: {subject}\n{description}", ROWS)]
    assert [item.text for item in found] == [
        "Subject: Login\nIt fails.", "Subject: Login\nIt is slow.", "Subject: \n7"
    ]  # fmt: skip
    assert [item.item_id for item in found] == [content_id(item.text) for item in found]
    assert [item.fields for item in found] == ROWS[:3]


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row has the column 'topic'"):
        read(tmp_path, "{topic} {subject}", ROWS)
    (tmp_path / "d.csv").write_text("Subject,description\na,b\n")
    file = load_campaign(campaign(tmp_path, "{subject}", name="d.csv"))
    with pytest.raises(DataError, match=r"there is no column 'subject'. Did you mean 'Subject'\?"):
        list(read_items(data_source(file), make_task(file.spec.task), ImportCounts()))


def test_rows_without_any_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the columns 'subject', 'description' are empty in every row"):
        read(tmp_path, "{subject}\n{description}", ROWS[3:])


def test_braces_may_stay_as_they_are(tmp_path: Path) -> None:
    rows = [{"text": "t", "subject": "s"}]
    [found] = read(tmp_path, "{text} {subject}", rows, "  template_columns: false\n")
    assert found.item.item_id == content_id("t")


def test_the_column_of_labels_is_refused(tmp_path: Path) -> None:
    path = campaign(tmp_path, "{subject} {label}")
    path.write_text(path.read_text().replace("{path: d.jsonl}", "{path: d.jsonl, label: label}"))
    with pytest.raises(ConfigError, match=r"task\.template names \{label\}, the column of labels"):
        load_campaign(path)


def test_a_campaign_that_0_1_stored_keeps_its_prompt(tmp_path: Path) -> None:
    spec = load_campaign(campaign(tmp_path, "{text} {subject}")).spec
    stored = spec.model_dump(mode="json")
    for name in ("delimiter", "encoding", "header", "quotes"):
        del stored["data"][name]
    del stored["task"]["template_columns"]
    assert not CampaignSpec.model_validate(stored).task.template_columns
    assert CampaignSpec.model_validate(spec.model_dump(mode="json")) == spec
    stored["task"]["template"] = "{text}"
    assert CampaignSpec.model_validate(stored).task.template_columns
