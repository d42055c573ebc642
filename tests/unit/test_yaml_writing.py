"""YAML that is written: any reader sees the same values, and an edited file keeps its comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from star_al.config.file import load_campaign
from star_al.config.writing import to_one_line, to_yaml, with_values

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def read(text: str, version: str = "1.2") -> object:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize(
    "text",
    ["yes", "No", "on", "y", "007", "1e3", "1_000", "1:30", "0x1F", "2026-01-31", "null", "~", "=", "<<", ""],
)
def test_text_that_looks_like_something_else_is_quoted(text: str, version: str) -> None:
    assert read(f"a: {to_one_line(text)}", version) == {"a": text}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text("ab\n:", min_size=1), st.text() | st.lists(st.text() | st.integers() | st.none()))
)
def test_any_values_come_back(values: dict[str, object]) -> None:
    assert read(to_yaml(values)) == values  # type: ignore[arg-type]
    assert read(f"a: {to_one_line(values)}  # comment") == {"a": values}


def test_an_edited_file_keeps_its_comments_and_layout(tmp_path: Path) -> None:
    text = DEMO.read_text(encoding="utf-8")
    changed = with_values(text, {"model.name": "/é: m", "adapter.epochs": 5, "labelling.overlap": 2})
    kept = [line for line in text.splitlines() if "  name: Hugging" not in line and "epochs" not in line]
    assert [line for line in changed.splitlines() if line in kept] == kept
    path = tmp_path / "c.yaml"
    path.write_text(changed, encoding="utf-8")
    spec = load_campaign(path).spec
    assert (spec.model.name, spec.adapter.epochs, spec.labelling.overlap) == ("/é: m", 5, 2)
