"""Before the first answer, any setting may change: the campaign begins again, and says what changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.campaigns import write_campaign
from support.kill_at import use_numpy_learner

StarAl = Callable[..., tuple[int, str, str]]
API = {"kind": "api"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, star_al: StarAl) -> Path:
    """The folder of a campaign whose first questions nobody has answered, as the current one."""
    use_numpy_learner(monkeypatch.setattr)
    write_campaign(tmp_path, annotator=API)
    monkeypatch.chdir(tmp_path)
    assert star_al("run", "-q")[0] == 6
    return tmp_path


def sizes(star_al: StarAl) -> dict[str, int]:
    found: dict[str, int] = json.loads(star_al("status", "--format", "json")[1])["data"]
    return found


def test_settings_that_are_fixed_later_change_before_the_first_answer(star_al: StarAl, here: Path) -> None:
    assert sizes(star_al)["audit"] == 8
    changes: dict[str, Any] = {
        "seed": 8,
        "evaluation__size": 5,
        "task__labels": ["sport", "business", "tech news"],
    }
    write_campaign(here, annotator=API, **changes)
    code, _, err = star_al("run")
    assert code == 6, err
    assert "Nobody had answered yet, so the campaign began again" in err
    assert "evaluation.size: started with 8; the file says 5" in err
    assert sizes(star_al)["audit"] == 5
    code, _, err = star_al("run")
    assert code == 6 and "began again" not in err, "once is enough"


def test_an_answer_fixes_them_and_the_message_says_what_to_do(star_al: StarAl, here: Path) -> None:
    from star_al import Campaign

    with Campaign.open("campaign.yaml") as campaign:
        (question,) = campaign.ask(1)
        campaign.tell(question, "sport")
    write_campaign(here, annotator=API, evaluation__size=5)
    code, _, err = star_al("run")
    assert code == 2 and "evaluation.size: started with 8; the file says 5" in err
    assert "star-al clone campaign.yaml NAME --with-labels" in err
    assert sizes(star_al)["audit"] == 8


def test_the_labels_of_a_clone_are_never_thrown_away(star_al: StarAl, here: Path) -> None:
    from star_al import Campaign

    with Campaign.open("campaign.yaml") as campaign:
        (question,) = campaign.ask(1)
        campaign.tell(question, "sport")
    assert star_al("clone", "two", "--with-labels")[0] == 0
    code, _, err = star_al("run", "two.yaml", "--set", "seed=99")
    assert code == 2 and "seed: started with 7; the file says 99" in err


def test_bad_data_leaves_the_campaign_as_it_was(star_al: StarAl, here: Path) -> None:
    write_campaign(here, annotator=API, evaluation__size=55)
    code, _, err = star_al("run")
    assert code == 2 and "no text is left for the pool" in err
    write_campaign(here, annotator=API)
    assert star_al("run", "-q")[0] == 6 and sizes(star_al)["audit"] == 8
