"""A poll loads what is new, however much the campaign has asked and however long its texts are."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from star_al.labelling.ballots import ballots_of
from star_al.labelling.crowd import dawid_skene
from star_al.labelling.settle import votes_of
from star_al.types import Annotation
from support.polling import Loaded, Round

SMALL, LARGE = 40, 400


def one_answer(folder: Path, n: int, **changes: Any) -> Loaded:
    """What a poll with one answer loads."""
    round_ = Round(folder, n, answered=n // 4, **changes)
    round_.poll()
    with round_.counted() as loaded:
        waiting = round_.poll()
    assert (waiting.asked, waiting.closed, dict(waiting.answers)) == (n, n // 4 + 2, {"ann": n // 4 + 2})
    round_.close()
    return loaded


def test_it_does_not_grow_with_the_campaign_or_its_texts(tmp_path: Path) -> None:
    small = one_answer(tmp_path / "small", SMALL)
    large = one_answer(tmp_path / "large", LARGE, characters=20_000)
    assert (small.statements, small.rows) == (large.statements, large.rows)
    assert large.rows < SMALL  # not one a query
    assert abs(small.characters - large.characters) < 20  # ranks have more digits


def test_an_open_query_is_not_loaded_by_an_answer_to_another(tmp_path: Path) -> None:
    round_ = Round(tmp_path, SMALL, labelling={"overlap": 2})
    with round_.counted() as loaded:
        waiting = round_.poll(0)
    assert waiting.closed == 0
    assert loaded.rows < SMALL
    round_.close()


def test_an_answer_that_is_no_label_loads_its_own_item_alone(tmp_path: Path) -> None:
    round_ = Round(tmp_path, SMALL, characters=5_000)
    round_.poll()
    with round_.counted() as loaded:
        round_.poll(value="cricket")
    assert 5_000 < loaded.characters < 10_000
    assert any("'cricket' is not in the label set" in line for line in round_.parts.progress.said)  # type: ignore[attr-defined]
    round_.close()


@pytest.mark.parametrize("disputed", ["ask_again", "ask_another"])
def test_people_are_judged_by_what_all_polls_brought(tmp_path: Path, disputed: Any) -> None:
    rules = {"settle": "dawid_skene", "overlap": 2, "disputed": disputed, "max_attempts": 3}
    round_ = Round(tmp_path, SMALL, labelling=rules)
    random, number = Random(0), count()
    for _ in range(12):
        asked = round_.store.open_queries(round_.campaign.campaign_id)
        round_.people.answers = tuple(
            Annotation(f"a{next(number)}", one.query_id, random.choice(["sport", "tech"]), annotator=person)
            for one in random.sample(asked, min(6, len(asked)))
            for person in random.sample(["ann", "bo", "cy"], random.choice([1, 2]))
        )
        round_.inbox.take_in()
        queries = round_.store.queries(round_.campaign.campaign_id)
        answers = round_.store.annotations(round_.campaign.campaign_id)
        ballots = ballots_of(queries, answers, {}, round_.parts.task)
        assert round_.inbox._crowd is not None
        assert round_.inbox._crowd.posteriors() == dawid_skene(votes_of(ballots, round_.parts.spec.labelling))
    assert {query.attempt for query in queries} > {1}
    round_.close()
