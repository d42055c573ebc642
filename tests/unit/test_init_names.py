"""Names of labels that say nothing are asked about, or told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from star_al.app.init.names import described, unclear_by_form
from star_al.app.init.proposal import propose_campaign
from star_al.app.init.request import CampaignRequest
from star_al.app.init.starter_file import starter_file
from star_al.config.file import load_campaign


class Answers:
    """Answers questions from a mapping; "" for others."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers, self.questions = answers, []  # type: ignore[var-annotated]

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        return default

    def confirm(self, question: str, *, default: bool) -> bool:
        return default

    def text(self, question: str, default: str | None = None) -> str:
        self.questions.append(question)
        return next(
            (answer for name, answer in self._answers.items() if repr(name) in question), default or ""
        )


@pytest.mark.parametrize("name", ["0", "A", "C1", "cat_07", "XJK", "bug-3", "体育", "спорт", "sport"])
def test_names_without_a_word_are_unclear(name: str) -> None:
    assert bool(unclear_by_form([name])) == (name in {"0", "A", "C1", "XJK"})


def test_what_stays_unclear_is_told_in_one_line() -> None:
    said: list[str] = []
    assert described(["0", "1", "sport"], [], ask=None, tell=said.append) == {}
    assert said == [
        "The label names '0', '1' say little about the texts. A description helps the head: in task.labels, write "
        "{name: 0, description: …}."
    ]
    said.clear()
    assert described(["1", "sport"], [], ask=None, tell=said.append) == {}
    assert said[0].startswith("The label name '1' says little")
    said.clear()
    assert described(["business", "sport"], [], ask=None, tell=said.append) == {} and said == []


def test_at_a_terminal_descriptions_are_asked_for_and_may_be_left_open() -> None:
    ask, said = Answers({"0": "  a complaint "}), list[str]()
    assert described(["0", "1", "sport"], [], ask=ask, tell=said.append) == {"0": "a complaint"}
    assert len(ask.questions) == 2 and "'1' says little" in said[0]


def test_many_unclear_names_are_told_without_a_question() -> None:
    ask, said = Answers({}), list[str]()
    described([str(number) for number in range(30)], [], ask=ask, tell=said.append)
    assert ask.questions == [] and "'4' and 25 more say little" in said[0]


@pytest.mark.parametrize("level", ["{}", "{}.0"])
def test_levels_of_a_scale_get_one_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"the text {n},{level.format(1 + n % 5)}\n" for n in range(20)]
    Path("d.csv").write_text("text,stars\n" + "".join(rows))
    request = CampaignRequest("d.csv", label_column="stars", text_column="text", learner="head")
    said: list[str] = []
    ask = Answers({})
    propose_campaign(request, tmp_path, said.append, ask=ask, tell=said.append)
    assert [note for note in said if "levels: 5" in note and "`names: […]`" in note]
    assert not [
        note for note in [*said, *ask.questions] if "little about" in note or "mean, in a few" in note
    ]


def test_descriptions_are_written_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text("text,y\n" + "".join(f"the text {n},{n % 2}\n" for n in range(20)))
    request = CampaignRequest("d.csv", label_column="y", text_column="text", learner="head")
    spec = propose_campaign(request, tmp_path, ask=Answers({"0": "a complaint", "1": "praise"}))
    Path("c.yaml").write_text(starter_file(spec), encoding="utf-8")
    labels = load_campaign(Path("c.yaml")).spec.task.labels
    assert [(label.name, label.description) for label in labels] == [("0", "a complaint"), ("1", "praise")]
    lora = propose_campaign(
        CampaignRequest("d.csv", label_column="y", text_column="text"), tmp_path, ask=Answers({})
    )
    assert all(label.description is None for label in lora.task.labels)
