"""A copied database goes on by itself, or takes the project back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from support.campaigns import write_campaign
from support.quiet import Quiet

StarAl = Callable[..., tuple[int, str, str]]


def test_separate_and_claim(star_al: StarAl, tmp_path: Path) -> None:
    config = write_campaign(tmp_path)
    file = load_campaign(config)
    store = open_store(file, create=True)
    made = create_campaign(file, store, Quiet())
    store.save_project_stamps(made.campaign_id, ["a"])
    code, out, err = star_al("db", "claim", config)
    assert (code, store.project_stamps(made.campaign_id)) == (0, None), err
    assert "from this database" in out
    code, out, err = star_al("db", "separate", config)
    now = store.find_campaign(made.name)
    assert code == 0 and now is not None and now.key != made.key, err
    assert "one of its own" in out
    store.close()
