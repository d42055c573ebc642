"""`star-al report` writes one page, or says in one line why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from db.store import SqlStore
from star_al.types import Study, StudyRun
from support.campaigns import write_campaign

StarAL = Callable[..., tuple[int, str, str]]


def test_report_writes_the_page_and_prints_its_path(finished: Path, tmp_path: Path, star_al: StarAL) -> None:
    out = tmp_path / "new" / "page.html"
    code, printed, complaints = star_al("report", finished / "campaign.yaml", "--out", out)
    assert (code, printed, complaints) == (0, f"{out}\n", "")
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<h1><bdi>small</bdi></h1>" in page


def test_a_campaign_that_was_never_started_has_no_page(tmp_path: Path, star_al: StarAL) -> None:
    code, _, complaints = star_al("report", write_campaign(tmp_path), "--out", tmp_path / "r.html")
    assert code == 3 and "has not been started" in complaints
    assert not (tmp_path / "r.html").exists()


def test_a_place_that_cannot_be_written_is_one_message(
    finished: Path, tmp_path: Path, star_al: StarAL
) -> None:
    (tmp_path / "file").write_text("")
    code, _, complaints = star_al("report", finished / "campaign.yaml", "--out", tmp_path / "file" / "r.html")
    assert code == 3 and complaints.count("\n") == 1 and "cannot be written" in complaints


def test_report_does_not_write_over_the_campaign(own_copy: Path, star_al: StarAL) -> None:
    config = own_copy / "campaign.yaml"
    before = config.read_bytes()
    code, _, complaints = star_al("report", config, "--out", config)
    assert code == 2 and "is the campaign file" in complaints
    assert config.read_bytes() == before


def test_a_study_is_shown_by_its_name(own_copy: Path, star_al: StarAL) -> None:
    config, out = own_copy / "campaign.yaml", own_copy / "r.html"
    store = SqlStore.open(f"sqlite:///{own_copy / 'small.db'}")
    store.save_study(Study("trial", {"name": "small"}, (StudyRun("random", 0, "small"),)))
    store.close()
    code, printed, _ = star_al("report", config, "--study", "trial", "--out", out)
    assert (code, printed) == (0, f"{out}\n")
    page = out.read_text(encoding="utf-8")
    assert "<h1><bdi>trial</bdi></h1>" in page and "1 strategy over 1 seed: 1 of 1 run has finished." in page


def test_a_study_that_is_not_there_is_one_message(finished: Path, tmp_path: Path, star_al: StarAL) -> None:
    code, _, complaints = star_al(
        "report", finished / "campaign.yaml", "--study", "trial", "--out", tmp_path / "r.html"
    )
    assert code == 3 and "there is no study 'trial'" in complaints and "star-al simulate" in complaints
