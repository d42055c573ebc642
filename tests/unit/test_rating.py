"""A rating: values, settings, the labelling page, settling, agreement and error of an ordered scale."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface.interface import LabelInterface
from pydantic import ValidationError

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.controls import control_of
from star_al.config.spec import CampaignSpec, LabelStudioSpec, task_spec
from star_al.errors import ConfigError, DataError
from star_al.labelling.crowd import Vote, krippendorff_alpha, median
from star_al.stats import metrics
from star_al.stats.figures import FIGURES, figures_in_words
from star_al.task import make_task
from star_al.types import Item, JsonValue, Role

NAMES = ["bad", "fair", "good"]
STARS = make_task(task_spec({"kind": "rating"}))
NAMED = make_task(task_spec({"kind": "rating", "levels": 3, "names": NAMES}))
TEXT = Item("i", "text")


@pytest.mark.parametrize("raw", [4, 4.0, "4", " 4 ", "4.0"])
def test_a_level_is_read_from_numbers_and_texts(raw: JsonValue) -> None:
    assert STARS.parse(TEXT, raw) == "4"


@pytest.mark.parametrize("raw", [0, 6, 4.5, True, "four", [4], "-1"])
def test_what_is_no_level_is_refused(raw: JsonValue) -> None:
    with pytest.raises(DataError, match="not in the label set"):
        STARS.parse(TEXT, raw)


def test_a_level_is_found_by_its_name() -> None:
    assert NAMED.parse(TEXT, "Good") == "3" and NAMED.spell(TEXT, "good") == "3"
    assert NAMED.listing == "1 (bad), 2 (fair), 3 (good)"


def test_a_level_is_found_by_a_name_that_ends_like_a_number() -> None:
    versions = make_task(task_spec({"kind": "rating", "levels": 2, "names": ["v1.0", "v2.0"]}))
    assert versions.parse(TEXT, "V2.0") == versions.parse(TEXT, "2.0") == versions.parse(TEXT, 2.0) == "2"
    with pytest.raises(DataError, match="not in the label set"):
        versions.parse(TEXT, "v2")


def test_a_grade_falls_with_the_distance() -> None:
    assert [STARS.grade(TEXT, "5", gold) for gold in STARS.spec.label_names] == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"levels": 1}, "greater than or equal to 2"),
        ({"levels": 11}, "less than or equal to 10"),
        ({"names": NAMES}, "names: 3 names for 5 levels"),
        ({"levels": 2, "names": ["x", "X"]}, "are equal"),
        ({"levels": 2, "names": ["2", "1"]}, "names: '2' reads as a number"),
        ({"levels": 2, "names": ["low", " 1.0"]}, "names: ' 1.0' reads as a number"),
        ({"labels": ["a", "b"]}, "labels"),
    ],
)
def test_settings_that_make_no_scale_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        task_spec({"kind": "rating", **settings})


def test_settings_are_read_back_as_stored() -> None:
    for task in (STARS, NAMED):
        assert task_spec(task.spec.model_dump(mode="json")) == task.spec


def test_people_choose_a_level_by_its_number_and_see_its_name() -> None:
    spec = LabelStudioSpec(kind="label_studio", unsure="no idea")
    config = label_config.write(spec, NAMED, "key")
    choices = [choice.attrib for choice in ElementTree.fromstring(config).iter("Choice")]
    assert [(each["value"], each["alias"], each["hotkey"]) for each in choices] == [
        ("1: bad", "1", "1"),
        ("2: fair", "2", "2"),
        ("3: good", "3", "3"),
        ("no idea", "no idea", "4"),
    ]
    assert label_config.faults(config, NAMED) == [] and label_config.remarks(config, NAMED, "no idea") == []
    assert label_config.faults(config, STARS) == ["it lacks 2 labels: '4', '5'"]


@pytest.mark.parametrize("unsure", ["3", "good", "3: good"])
def test_the_unsure_choice_differs_from_what_a_level_is_called(unsure: str) -> None:
    with pytest.raises(ConfigError, match="is also a label"):
        label_config.write(LabelStudioSpec(kind="label_studio", unsure=unsure), NAMED, "key")


def test_a_control_character_is_sought_in_what_people_see() -> None:
    task = make_task(task_spec({"kind": "rating", "levels": 2, "names": ["bad", "go\x07od"]}))
    with pytest.raises(
        ConfigError, match=r"'2: go\\x07od' contains a control .* Remove it from task\.names\."
    ):
        label_config.write(LabelStudioSpec(kind="label_studio"), task, "key")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"annotator": {"kind": "label_studio", "unsure": " GOOD"}}, "' GOOD' is also a label"),
        (
            {"acquisition": {"measure": "label_probability", "target_label": "4"}},
            "needs acquisition.target_label, one of 1, 2, 3",
        ),
    ],
)
def test_other_settings_must_fit_the_levels(changes: dict[str, Any], complaint: str) -> None:
    campaign = {
        "name": "n",
        "data": {"path": "d.csv"},
        "task": {"kind": "rating", "levels": 3, "names": NAMES},
        "model": {"name": "m"},
        "annotator": {"kind": "oracle", "gold": "stars"},
    }
    with pytest.raises(ValidationError, match=complaint):
        CampaignSpec.model_validate(campaign | changes)


def test_a_predicted_level_can_be_shown_to_people() -> None:
    interface = LabelInterface(label_config.write(LabelStudioSpec(kind="label_studio"), NAMED, "key"))
    control = control_of(NAMED)
    for level, fits in {"3": True, "4": False}.items():
        shown = {"result": label_config.result(level, 0.5, control), "score": 0.1, "model_version": "x"}
        check: Any = interface.validate_prediction
        assert check(shown) is fits


def test_the_median_is_the_level_in_the_middle() -> None:
    assert median(["10", "2", "3"], STARS.place) == "3"
    assert median(["1", "3", "3", "5"], STARS.place) == "3"
    assert median(["3", "4"], STARS.place) is None and median([], STARS.place) is None


def test_the_median_of_named_labels_is_by_their_order() -> None:
    order = ["low", "middle", "high"]
    assert median(["high", "low", "middle"], lambda value: order.index(str(value))) == "middle"


def test_only_a_rating_is_settled_by_the_median() -> None:
    campaign = {
        "name": "n",
        "data": {"path": "d.csv"},
        "task": {"kind": "rating"},
        "model": {"name": "m"},
        "annotator": {"kind": "oracle", "gold": "stars"},
        "labelling": {"settle": "median"},
    }
    assert CampaignSpec.model_validate(campaign).labelling.settle == "median"
    with pytest.raises(
        ValidationError, match=r"labelling\.settle: median does not go with task\.kind: class"
    ):
        CampaignSpec.model_validate(campaign | {"task": {"kind": "classification", "labels": ["1", "2"]}})


def test_agreement_counts_how_far_apart_people_are() -> None:
    given = {"ann": "12345543", "bob": "12354434", "cem": "21345553"}
    votes = [Vote(str(unit), who, value) for who, row in given.items() for unit, value in enumerate(row)]
    units = [[int(row[unit]) for row in given.values()] for unit in range(8)]
    every = [value for unit in units for value in unit]
    observed = np.mean([(a - b) ** 2 for unit in units for a, b in permutations(unit, 2)])
    expected = np.mean([(a - b) ** 2 for a, b in permutations(every, 2)])
    found = krippendorff_alpha(votes, STARS.distance)
    assert found == pytest.approx(1 - observed / expected)
    nominal = krippendorff_alpha(votes)
    assert (
        found is not None and nominal is not None and found > nominal
    )  # neighbours are no full disagreement


def test_the_mean_absolute_error_is_that_of_the_predicted_levels() -> None:
    generator = np.random.default_rng(0)
    targets_N = generator.integers(0, 5, 40)
    log_probs_N_C = np.log(generator.dirichlet(np.ones(5), 40))
    found = metrics.evaluate(
        log_probs_N_C,
        targets_N,
        STARS.spec.label_names,
        model="m",
        scaling="raw",
        split=Role.TEST,
        temperature=1,
    )
    (figure,) = FIGURES["rating"]
    apart_N = np.abs(log_probs_N_C.argmax(axis=1) - targets_N)
    assert figure.of(found) == pytest.approx(apart_N.mean())
    assert figures_in_words("rating", found) == [f"mean absolute error {apart_N.mean():.2f} levels"]
