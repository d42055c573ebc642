"""`star-al config`: all settings, and their schema, on stdout or in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from star_al.config.file import load_campaign
from star_al.config.schema import campaign_schema

StarAl = Callable[..., tuple[int, str, str]]


def test_the_schema_is_printed_or_written(star_al: StarAl, tmp_path: Path) -> None:
    code, printed, _ = star_al("config", "schema")
    assert code == 0 and json.loads(printed) == campaign_schema()
    path = tmp_path / "new" / "schema.json"
    assert star_al("config", "schema", "--out", path) == (0, f"Wrote {path}.\n", "")
    assert json.loads(path.read_text(encoding="utf-8")) == campaign_schema()


def test_the_reference_is_a_campaign_file(star_al: StarAl, tmp_path: Path) -> None:
    code, printed, _ = star_al("config", "reference")
    path = tmp_path / "all.yaml"
    assert code == 0 and star_al("config", "reference", "--out", path)[0] == 0
    assert path.read_text(encoding="utf-8") == printed
    assert load_campaign(path).spec.name == "tickets"


def test_a_file_that_cannot_be_written_is_one_clear_error(star_al: StarAl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = star_al("config", "schema", "--out", tmp_path / "file" / "schema.json")
    assert (code, out) == (3, "") and "cannot be written" in err
