"""A poll loads what is new, however much the campaign has asked and however long its texts are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
