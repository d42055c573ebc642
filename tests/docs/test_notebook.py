"""The notebook of the documentation runs from its first cell to its last, and holds no output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from star_al.app import compose, running
from star_al.task import closed, make_task
from support.doc_blocks import ROOT
from support.numpy_learner import NumpyLearner

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_stored_without_output() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells("code"))


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def numpy_learner(file: Any, spec: Any, *_: Any, **__: Any) -> NumpyLearner:
        return NumpyLearner(closed(make_task(spec.task)))

    for module in (compose, running):
        monkeypatch.setattr(module, "open_learner", numpy_learner)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells("code"):
        exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}:{cell['id']}", "exec"), names)
    assert (tmp_path / "report.html").exists() and (tmp_path / "campaign.yaml").exists()
    assert len(names["campaign"].history()) == 3
