"""After kill -9 at any step, a campaign whose answers are written goes on and ends like one that was never killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import controller
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.zygote import Zygote

SPOKEN = {
    "sport": "They play. Answer: sport",
    "business": "Answer: “trade” & <b>money</b>",
    "tech": "Answer: tech",
}


def write_open(folder: Path, **changes: Any) -> Path:
    """A campaign of written answers in which base model, stop set and blend all matter."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "label": SPOKEN[row["label"]]} for row in make_rows(60)]
    write_jsonl(folder / "pool.jsonl", rows)
    return write_campaign(
        folder,
        task={"kind": "text", "answer": {"pattern": "Answer: (.+)"}},
        acquisition__measure="entropy",
        acquisition__blend={"kind": "prequential"},
        stopping__max_rounds=2,
        **changes,
    )


def test_killed_at_every_step_border(tmp_path: Path, database_url: Callable[[], str], zygote: Zygote) -> None:
    whole = write_open(tmp_path / "whole")
    assert (done := zygote.run("run", str(whole))).returncode == 0, done.output
    database = {"url": database_url(), "lease_seconds": 60.0}
    killed = write_open(tmp_path / "killed", database=database)
    kills = 0
    at = ("SIGKILL", "commit_step", 1, "after")
    while (done := zygote.run("run", str(killed), at=at)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 30, "no progress"
    assert done.returncode == 0, done.output
    assert kills >= 10
    assert controller.record(killed) == controller.record(whole)
    texts, out = tmp_path / "new.csv", tmp_path / "predicted.csv"
    texts.write_text("id,text\n1,the team and its coach\n", encoding="utf-8")
    for command in (
        ("replay", str(killed), "--round", "1"),
        ("report", str(killed), "--out", str(tmp_path / "report.html")),
        ("export", str(killed), "--with-predictions", "--out", str(tmp_path / "all.jsonl")),
        ("predict", str(killed), "--in", str(texts), "--out", str(out)),
    ):
        assert (done := zygote.run(*command)).returncode == 0, done.output
    assert out.read_text(encoding="utf-8").splitlines()[0].endswith("epistemic,alternatives")
    exported = (tmp_path / "all.jsonl").read_text(encoding="utf-8")
    assert "Answer: “trade” & <b>money</b>" in exported and '"alternatives": [' in exported
