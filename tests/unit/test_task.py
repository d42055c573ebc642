"""Label values: canonical names, columns, and refusals with a hint."""

from __future__ import annotations

import pytest

from star_al.config.spec import ClassificationSpec, MultipleChoiceSpec
from star_al.errors import DataError
from star_al.task import closed, make_task
from star_al.types import Item, JsonValue

NEWS = closed(
    make_task(ClassificationSpec(kind="classification", labels=("Sport", "Business News", "3", "true")))
)
CHOICE = closed(make_task(MultipleChoiceSpec(kind="multiple_choice")))
TEXT = Item("0" * 32, "text", external_id="u1")
QUESTION = Item("1" * 32, "question", ("warm", "COLD", "b", "3"))


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("Sport", "Sport"),
        ("  sPORT ", "Sport"),
        ("business\n news", "Business News"),
        (3, "3"),
        (3.0, "3"),
        ("3", "3"),
        (True, "true"),
        (None, None),
        ("", None),
        (" \t", None),
        (float("nan"), None),
    ],
)
def test_labels_in_data_become_names_or_none(raw: JsonValue, label: str | None) -> None:
    assert NEWS.parse(TEXT, raw) == label


@pytest.mark.parametrize("raw", ["sports", 4, 3.5, False, ["Sport"], {"label": "Sport"}, float("inf")])
def test_anything_else_is_refused_with_the_item(raw: JsonValue) -> None:
    with pytest.raises(DataError, match=r"item u1: the label .* is not in the label set"):
        NEWS.parse(TEXT, raw)


def test_a_refusal_gives_the_nearest_label_or_all() -> None:
    with pytest.raises(DataError, match="did you mean 'Sport'"):
        NEWS.parse(TEXT, "Sports")
    with pytest.raises(DataError, match="the labels are Sport, Business News, 3, true"):
        NEWS.parse(TEXT, "§§")
    with pytest.raises(DataError) as caught:
        NEWS.parse(TEXT, "x" * 10_000)
    assert len(str(caught.value)) < 250


def test_columns_and_values_are_inverse() -> None:
    for task, item in ((NEWS, TEXT), (CHOICE, QUESTION)):
        names = task.choices(item)
        assert [task.column(item, task.value(item, column)) for column in range(len(names))] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("raw", "letter"),
    [
        ("A", "A"),
        (" d", "D"),
        ("warm", "A"),
        ("Cold ", "B"),
        ("b", "B"),  # a letter comes before the text of an option
        (3, "D"),
        (None, None),
    ],
)
def test_multiple_choice_takes_letters_and_texts_of_options(raw: JsonValue, letter: str | None) -> None:
    assert CHOICE.parse(QUESTION, raw) == letter


def test_multiple_choice_knows_only_the_items_own_options() -> None:
    assert CHOICE.choices(QUESTION) == ("A", "B", "C", "D")
    two = Item("2" * 32, "question", ("same", " SAME"))
    assert CHOICE.choices(two) == ("A", "B")
    for raw in ("C", "same"):  # "same" names two options
        with pytest.raises(DataError, match="item 2222"):
            CHOICE.parse(two, raw)
