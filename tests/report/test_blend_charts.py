"""What the report says and draws of a blend whose weights change."""

from __future__ import annotations

from star_al.report.round_charts import blend_in_words, blend_weights
from star_al.types import Round, RoundSelection, RoundState


def rounds(*weights: tuple[float | None, float | None]) -> list[Round]:
    return [
        Round(
            index,
            RoundState.COLLECTED,
            1,
            {},
            selection=RoundSelection(5, adapted, "learned from 5 answers", blend_head_weight=head),
        )
        for index, (adapted, head) in enumerate(weights)
    ]


def test_the_weights_are_drawn_by_round_and_listed() -> None:
    picture = blend_weights(rounds((None, None), (0.5, 0.5), (0.5, 0.3)))
    assert picture is not None and picture.table is not None
    assert picture.table.header == ("round", "adapted model", "base model", "head")
    assert picture.table.rows == (("1", "0.50", "0.00", "0.50"), ("2", "0.50", "0.20", "0.30"))
    assert picture.caption == "Newest of 2 rounds: adapted model 0.50, base model 0.20, head 0.30."


def test_without_a_head_there_is_no_line_for_it() -> None:
    picture = blend_weights(rounds((1.0, None), (0.9, None)))
    assert picture is not None and picture.table is not None
    assert picture.table.rows == (("0", "1.00", "0.00"), ("1", "0.90", "0.10"))


def test_weights_that_never_change_are_not_drawn() -> None:
    assert blend_weights(rounds((None, None))) is None
    assert blend_weights(rounds((0.5, None))) is None
    assert blend_weights(rounds((1.0, None), (1.0, None))) is None


def test_the_words_name_the_heads_weight() -> None:
    words = blend_in_words(rounds((0.5, 0.5), (0.5, 0.3)))
    assert words == (
        "The adapted model's uncertainty has the weight λ = 0.50 in the score of round 1 (it was 0.50 in round 0), and "
        "the head's 0.30: learned from 5 answers."
    )
    assert "head" not in blend_in_words(rounds((0.5, None)))
