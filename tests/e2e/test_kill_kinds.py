"""After kill -9 at any step, a campaign of any kind goes on and ends like one that was never killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import controller
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.zygote import Zygote

SPOKEN = {
    "sport": "They play. Answer: sport",
    "business": "Answer: “trade” & <b>money</b>",
    "tech": "Answer: tech",
}


class Kind(NamedTuple):
    """A kind of task.

    Attributes:
        task: Its section.
        columns: What a row has beside its text, by the row's label.
        data: Further settings of ``data``.
        gold: The column that the simulated annotator answers from.
        predicted: What the header of predictions ends with.
        exported: What an export holds.
        rejected: What examples for DPO may reject.
    """

    task: Mapping[str, Any]
    columns: Callable[[str], Mapping[str, Any]]
    data: Mapping[str, Any]
    gold: str
    predicted: str
    exported: tuple[str, ...]
    rejected: tuple[str, ...]


KINDS = {
    "text": Kind(
        {"answer": {"pattern": "Answer: (.+)"}},
        lambda label: {"label": SPOKEN[label]},
        {},
        "label",
        "epistemic,alternatives",
        ("Answer: “trade” & <b>money</b>", '"alternatives": ['),
        tuple(SPOKEN.values()),  # whole, not only what the pattern finds
    ),
    "multi_label": Kind(
        {"labels": [*WORDS, "early"]},
        lambda label: {
            name: int(name == label or (name, label) == ("early", "tech")) for name in (*WORDS, "early")
        },
        {"label_columns": [*WORDS, "early"]},
        "label_columns",
        "probability_tech,probability_early",
        ('"label": ["tech", "early"]', '"alternatives": ['),
        ("none", *(", ".join(names) for n in range(1, 5) for names in combinations((*WORDS, "early"), n))),
    ),
    "preference": Kind(
        {"ties": "half"},
        lambda label: {"a": label, "b": "no answer", "better": {"sport": "tie"}.get(label, "a")},
        {"options": ["a", "b"]},
        "better",
        "probability_A,probability_B",
        ('"label": "tie"', '"label": "A"'),
        ("no answer",),
    ),
}


def write_kind(folder: Path, name: str, **changes: Any) -> Path:
    """A campaign in which base model, stop set and blend all matter."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = KINDS[name]
    rows = [{"id": row["id"], "text": row["text"], **kind.columns(row["label"])} for row in make_rows(60)]
    write_jsonl(folder / "pool.jsonl", rows)
    return write_campaign(
        folder,
        data={"path": "pool.jsonl", "text": "text", "id": "id", **kind.data},
        task={"kind": name, **kind.task},
        annotator__gold=kind.gold,
        acquisition__measure="entropy",
        acquisition__blend={"kind": "prequential"},
        stopping__max_rounds=2,
        **changes,
    )


@pytest.mark.parametrize(
    ("kind", "database_url"),
    [
        ("text", "sqlite"),
        *(pytest.param(kind, "postgres", marks=pytest.mark.postgres) for kind in KINDS),
    ],
    indirect=["database_url"],
)
def test_killed_at_every_step_border(
    kind: str, tmp_path: Path, database_url: Callable[[], str], zygote: Zygote
) -> None:
    whole = write_kind(tmp_path / "whole", kind)
    assert (done := zygote.run("run", str(whole))).returncode == 0, done.output
    database = {"url": database_url(), "lease_seconds": 60.0}
    killed = write_kind(tmp_path / "killed", kind, database=database)
    kills = 0
    at = ("SIGKILL", "commit_step", 1, "after")
    while (done := zygote.run("run", str(killed), at=at)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 30, "no progress"
    assert done.returncode == 0, done.output
    assert kills >= 10
    assert controller.record(killed) == controller.record(whole)
    texts, out = tmp_path / "new.csv", tmp_path / "predicted.csv"
    texts.write_text("id,text,a,b\n1,the team and its coach,tech,no answer\n", encoding="utf-8")
    for command in (
        ("replay", str(killed), "--round", "1"),
        ("report", str(killed), "--out", str(tmp_path / "report.html")),
        ("export", str(killed), "--with-predictions", "--out", str(tmp_path / "all.jsonl")),
        ("export", str(killed), "--format", "dpo", "--out", str(tmp_path / "pairs.jsonl")),
        ("predict", str(killed), "--in", str(texts), "--out", str(out)),
    ):
        assert (done := zygote.run(*command)).returncode == 0, done.output
    assert KINDS[kind].predicted in out.read_text(encoding="utf-8").splitlines()[0]
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert pairs and {pair["rejected"][0]["content"] for pair in pairs} <= set(KINDS[kind].rejected)
    exported = (tmp_path / "all.jsonl").read_text(encoding="utf-8")
    assert all(words in exported for words in KINDS[kind].exported)
