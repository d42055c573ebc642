"""``Campaign.ask`` and ``tell``: each answer counts once, by the rules of the campaign file."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al import Campaign, Question
from star_al.app.api import session as module
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.errors import ConfigError, DataError, LeaseHeldError
from star_al.loop import Loop
from star_al.types import Annotation
from support.quiet import Quiet

LABELS = ("sport", "business", "tech")


def gold(question: Question) -> str:
    assert question.fields is not None
    return str(question.fields["label"])


def stored_annotations(campaign: Campaign) -> list[Annotation]:
    file = load_campaign(campaign.path)
    store = open_store(file)
    try:
        stored = store.find_campaign(file.spec.name)
        assert stored is not None
        return store.annotations(stored.campaign_id)
    finally:
        store.close()


def records(table: Any) -> list[dict[str, Any]]:
    return table if isinstance(table, list) else table.to_dict("records")


def test_a_program_answers_until_the_campaign_stops(campaign_of: Any) -> None:
    campaign = campaign_of()
    rounds = []
    while questions := campaign.ask(10):
        assert len(questions) == 4 and all(each.labels == LABELS for each in questions)
        rounds.append(questions[0].round)
        for question in questions:
            campaign.tell(question, gold(question), seconds=2.5)
    assert rounds == [0, 1]
    assert campaign.run().kind == "stopped"
    assert [row["labels"] for row in records(campaign.history())] == [0, 4, 8]
    labelled = records(campaign.labels())
    assert len(labelled) == 8 and all(row["label"] in LABELS for row in labelled)
    assert {(each.annotator, each.lead_time) for each in stored_annotations(campaign)} == {("api", 2.5)}
    now = campaign.status()
    assert now is not None and [(each.name, each.answers, each.seconds) for each in now.people] == [
        ("api", 8, 2.5)
    ]


def test_ask_returns_the_open_questions_before_it_trains(campaign_of: Any) -> None:
    campaign = campaign_of()
    first, second = campaign.ask(2)
    campaign.tell(first, "tech")
    still_open = campaign.ask(10)
    assert (len(still_open), still_open[0].id) == (3, second.id)
    assert len(records(campaign.history())) == 1


def test_the_same_answer_told_again_counts_once(campaign_of: Any) -> None:
    campaign = campaign_of()
    (question,) = campaign.ask(1)
    for _ in range(3):
        campaign.tell(question.id, "tech")
    assert [each.value for each in stored_annotations(campaign)] == ["tech"]
    assert len(records(campaign.labels())) == 1


def test_another_answer_corrects_the_first_one(campaign_of: Any) -> None:
    campaign = campaign_of()
    (question,) = campaign.ask(1)
    campaign.tell(question, "tech")
    campaign.tell(question, "sport")
    assert [(each.value, each.revision) for each in stored_annotations(campaign)] == [
        ("tech", 1),
        ("sport", 2),
    ]
    (row,) = records(campaign.labels())
    assert (row["label"], row["version"]) == ("sport", 2)


def test_a_skipped_question_is_dropped_and_may_still_be_answered(campaign_of: Any) -> None:
    campaign = campaign_of()
    question = campaign.ask(1)[0]
    campaign.skip(question)
    assert question.id not in [each.id for each in campaign.ask(10)]
    assert records(campaign.labels()) == []
    campaign.tell(question, "tech")
    assert len(records(campaign.labels())) == 1


def test_an_unknown_label_or_question_is_refused(campaign_of: Any) -> None:
    campaign = campaign_of()
    (question,) = campaign.ask(1)
    with pytest.raises(DataError, match=r"'spam' is not a label .* sport, business, tech"):
        campaign.tell(question, "spam")
    with pytest.raises(DataError, match="no question 'nowhere' in campaign 'small'"):
        campaign.tell("nowhere", "tech")
    assert stored_annotations(campaign) == []


def test_a_number_is_a_level_of_a_rating(campaign_of: Any) -> None:
    campaign = campaign_of(task={"kind": "rating", "levels": 3})
    for question, told in zip(campaign.ask(3), (3.0, np.int64(2), 1), strict=True):
        campaign.tell(question, told)
    assert sorted(row["label"] for row in records(campaign.labels())) == ["1", "2", "3"]
    (question,) = campaign.ask(1)
    for wrong in (0.5, float("nan"), {"1": 1}, [1], object()):
        with pytest.raises(DataError, match="is not a label of this question"):
            campaign.tell(question, wrong)


def test_several_annotators_answer_each_question(campaign_of: Any) -> None:
    campaign = campaign_of(labelling__overlap=2)
    with pytest.raises(ConfigError, match=r"labelling\.overlap is above 1, so the annotator must be named"):
        campaign.ask(1)
    for name in ("ann", "bob"):
        for question in campaign.ask(10, annotator=name):
            campaign.tell(question, gold(question), annotator=name)
    assert campaign.ask(1, annotator="ann")[0].round == 1
    assert len(stored_annotations(campaign)) == 8
    assert len(records(campaign.labels())) == 4


def test_a_question_that_somebody_is_answering_comes_last(campaign_of: Any) -> None:
    campaign = campaign_of()
    ann = campaign.ask(2, annotator="ann")
    bob = campaign.ask(2, annotator="bob")
    assert not {each.id for each in ann} & {each.id for each in bob}


def test_answers_while_another_thread_trains(campaign_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a buffer there are open questions during training; telling does not wait for it."""
    campaign = campaign_of(labelling__buffer=2)
    for question in campaign.ask(4):
        campaign.tell(question, gold(question))
    open_question = campaign.ask(1)[0]
    fit, training, told = Loop.fit, threading.Event(), threading.Event()

    def slow_fit(loop: Loop, round_: Any) -> Any:
        training.set()
        assert told.wait(60)
        return fit(loop, round_)

    monkeypatch.setattr(Loop, "fit", slow_fit)
    thread = threading.Thread(target=campaign.run)
    thread.start()
    assert training.wait(60)
    campaign.tell(open_question, gold(open_question))
    told.set()
    thread.join(60)
    assert open_question.id not in [each.id for each in campaign.ask(10)]
    assert len(records(campaign.labels())) == 5


def test_another_process_that_holds_the_lease_is_named(
    campaign_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    campaign = campaign_of()
    question = campaign.ask(1)[0]
    file = load_campaign(campaign.path)
    store = open_store(file)
    stored = store.find_campaign(file.spec.name)
    assert stored is not None
    lease = store.acquire_lease(stored.campaign_id, "elsewhere:1:2", 60, may_take=lambda owner: False)
    with pytest.raises(LeaseHeldError, match="process 1 on elsewhere"):
        campaign.tell(question, "tech")
    store.release_lease(lease)
    store.close()
    campaign.tell(question, "tech")
    assert len(stored_annotations(campaign)) == 1


def test_the_campaign_goes_on_after_it_was_closed(campaign_of: Any) -> None:
    with campaign_of() as campaign:
        question = campaign.ask(1)[0]
    again = Campaign.open(campaign.path, progress=Quiet())
    again.tell(question.id, "tech")
    assert len(again.ask(10)) == 3
    again.close()


def test_asking_and_telling_load_no_torch(campaign_of: Any) -> None:
    campaign = campaign_of()
    question = campaign.ask(1)[0]
    assert "<" not in repr(question.why)
    loaded = "torch" in sys.modules
    campaign.tell(question, "tech")
    assert ("torch" in sys.modules) == loaded


def test_multiple_choice_takes_letters_and_options(tmp_path: Path, campaign_of: Any) -> None:
    from support.campaigns import write_jsonl

    rows = [{"text": f"what {n}", "options": ["now", "then"]} for n in range(20)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    campaign = campaign_of(
        data={"path": "pool.jsonl", "options": "options"}, task={"kind": "multiple_choice"}
    )
    first, second = campaign.ask(2)
    assert (first.labels, first.options) == (
        ("A", "B"),
        ("now", "then"),
    ) and first.label_texts == first.options
    campaign.tell(first, "B")
    campaign.tell(second, "then")
    assert [each.value for each in stored_annotations(campaign)] == ["B", "B"]
    assert "A. now" in first._repr_html_()


def test_a_rating_takes_numbers_and_names(campaign_of: Any) -> None:
    campaign = campaign_of(task={"kind": "rating", "levels": 3, "names": ["bad", "so-so", "<good>"]})
    first, second, third = campaign.ask(3)
    assert (first.labels, first.label_texts) == (("1", "2", "3"), ("bad", "so-so", "<good>"))
    assert "2. so-so<" in first._repr_html_() and "3. &lt;good&gt;" in first._repr_html_()
    campaign.tell(first, 3)
    campaign.tell(second, "2.0")
    campaign.tell(third, "Bad")
    values = {each.query_id: each.value for each in stored_annotations(campaign)}
    assert values == {first.id: "3", second.id: "2", third.id: "1"}


def test_other_annotators_are_not_asked_here(campaign_of: Any) -> None:
    campaign = campaign_of(annotator={"kind": "oracle", "gold": "label"})
    with pytest.raises(ConfigError, match=r"need annotator\.kind: api, but it is oracle"):
        campaign.ask()
    assert campaign.step().kind == "paused"
    assert campaign.run().kind == "stopped"
