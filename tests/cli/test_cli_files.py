"""A file as somebody has it, from `init` to predictions: Windows-1252, semicolons, two columns of text, repeats."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.config.file import load_campaign
from star_al.config.writing import with_values

StarAl = Callable[..., tuple[int, str, str]]


def tickets(path: Path) -> None:
    rows = [["Betreff", "Text", "Art"]]
    rows += [[f"{'Größe' if n % 2 else 'Preis'} {n}", f"passt nicht, {n}", "ab"[n % 2]] for n in range(40)]
    rows += [[*rows[1][:2], "b"], [*rows[2][:2], "a"], rows[2]]  # a tie, and two against one
    path.write_text("".join(";".join(row) + "\n" for row in rows), encoding="cp1252")


def test_a_table_of_another_dialect_runs_to_predictions(
    star_al: StarAl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path / "d.csv")
    code, out, err = star_al(
        "init", "d.csv", "--label-column", "Art", "--text-column", "Betreff,Text", "--model", model
    )
    assert code == 0, err
    assert "Texts: columns 'Betreff', 'Text'." in out
    assert (
        "d.csv: 2 texts have different labels in different rows. The label of most rows counts; 1 tie" in err
    )
    config = tmp_path / "campaign.yaml"
    assert load_campaign(config).spec.data.delimiter == ";"
    config.write_text(
        with_values(
            config.read_text(), {"model.max_tokens": 128, "acquisition.batch_size": 2, "evaluation.size": 20}
        )
    )
    code, _, err = star_al("run", "campaign.yaml", "--max-rounds", 1)
    assert code == 0, err
    assert "Reading d.csv: cells separated by semicolons, encoding Windows-1252." in err
    assert "d.csv: 2 texts have different labels in different rows" in err

    code, _, err = star_al("export", "campaign.yaml", "--out", "labels.csv")
    assert code == 0, err
    exported = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8")))
    assert len(exported) == 43
    labelled = [row for row in exported if row["label"]]
    assert labelled and all(row["Betreff"] and row["Text"] for row in exported)
    assert {row["label"] for row in exported if row["Betreff"] == "Größe 1"} <= {
        "",
        "b",
    }  # whatever the first row says
    assert {row["label"] for row in exported if row["Betreff"] == "Preis 0"} == {""}  # the tie

    new = "Betreff\tText\tx\nGröße 1\tpasst nicht, 1\t1\n\t\t2\n"
    (tmp_path / "new.csv").write_text(new, encoding="utf-16")
    code, _, err = star_al("predict", "campaign.yaml", "--in", "new.csv", "--out", "p.csv")
    assert code == 0, err
    assert "Reading new.csv: cells separated by tabs, encoding UTF-16." in err
    predicted = list(csv.DictReader((tmp_path / "p.csv").open(encoding="utf-8")))
    assert [(row["Betreff"], row["x"], bool(row["predicted"])) for row in predicted] == [
        ("Größe 1", "1", True), ("", "2", False)
    ]  # fmt: skip
