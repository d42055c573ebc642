"""Multi-label: values, settings, the labelling page, distributions over sets of labels, and their figures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import product
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface.interface import LabelInterface
from pydantic import ValidationError
from scipy.special import entr, logsumexp
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from sklearn.metrics import hamming_loss as sklearn_hamming_loss

from star_al.acquire.label_sets import base_predictions, set_predictions
from star_al.acquire.likeliest_sets import MOST_SETS, likeliest_sets
from star_al.acquire.measures import MEASURES, bald, known_split, uncertainties
from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.annotations import parse_annotation
from star_al.annotators.label_studio.controls import control_of
from star_al.config.spec import CampaignSpec, LabelStudioSpec, task_spec
from star_al.config.spec.base import FROM_FILE
from star_al.data.label_columns import add_label_columns
from star_al.errors import DataError
from star_al.labelling.crowd import Vote, krippendorff_alpha, majority
from star_al.stats.answered import Answered
from star_al.stats.label_sets import hamming_loss, macro_f1, micro_f1, thresholds
from star_al.task import MultiLabel, make_task
from star_al.task.columns import grade_of, is_right
from star_al.types import Annotation, BoolArray, FloatArray, Item, JsonValue

NAMES = ["sport", "tech", "Food, drink"]
TASK = make_task(task_spec({"kind": "multi_label", "labels": NAMES}))
TEXT = Item("i", "text")


# -- columns with 1 and 0 ----------------------------------------------------------------------------------


COLUMNS = ("sport", "tech")


def test_columns_with_1_and_0_are_read_together() -> None:
    rows: list[dict[str, JsonValue]] = [
        {"sport": 1, "tech": "0", "text": "a"},
        {"sport": "no", "tech": True, "text": "b"},
        {"sport": 0.0, "text": "c"},
        {"sport": "", "tech": None, "text": "d"},
    ]
    found = [add_label_columns(row, COLUMNS)["label_columns"] for row in rows]
    assert found == [["sport"], ["tech"], [], None]
    assert [TASK.parse(TEXT, value) for value in found] == found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sport": 2}, "column 'sport' holds 2, which does not say whether the text has the label"),
        ({"sport": 1, "label_columns": "mine"}, "there is a column 'label_columns'"),
    ],
)
def test_columns_that_say_something_else_are_refused(row: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_label_columns(row, COLUMNS)


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        ({"kind": "multi_label", "labels": ["sport", "tech"]}, ["sport", "art"], "'art' is not one of"),
        ({"kind": "classification", "labels": ["sport", "tech"]}, ["sport"], "does not go with task.kind"),
    ],
)
def test_label_columns_are_columns_of_labels(task: dict[str, Any], columns: list[str], message: str) -> None:
    section = {
        "name": "n",
        "data": {"path": "p", "label_columns": columns},
        "task": task,
        "model": {"name": "m"},
        "annotator": {"kind": "oracle", "gold": "label_columns"},
    }
    with pytest.raises(ValueError, match=message):
        CampaignSpec.model_validate(section, context=FROM_FILE)


# -- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (["Tech", "sport"], ["sport", "tech"]),
        (["sport", "sport"], ["sport"]),
        ("tech|sport", ["sport", "tech"]),
        ("tech; sport", ["sport", "tech"]),
        ("tech, food, drink", ["tech", "Food, drink"]),
        ('["tech"]', ["tech"]),
        ("['tech', 'sport']", ["sport", "tech"]),
        ({"sport": 1, "tech": 0, "Food, drink": 0.0}, ["sport"]),
        ({"sport": "0", "tech": False, "Food, drink": None}, []),
        ({"sport": "n", "tech": "Y"}, ["tech"]),
        ('{"tech": true}', ["tech"]),
        ("none", []),
        ("None of these", []),
        (["none"], []),
        ([], []),
        ("[]", []),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_the_forms_that_data_has_are_read(raw: JsonValue, value: JsonValue) -> None:
    assert TASK.parse(TEXT, raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        *("sprt", ["tech", "sprt"], "tech, sprt", 3, ["tech", "none"], '{"sprt": 1}', [["tech"]], ", ;"),
        *({"sprt": 0}, {"tech": "perhaps"}, {"tech": 0.7}),
    ],
)
def test_what_is_no_label_is_refused(raw: JsonValue) -> None:
    with pytest.raises(DataError, match=r"not one of the labels|holds labels and 'none'|says neither"):
        TASK.parse(TEXT, raw)
    assert TASK.find((), raw) is None


def test_a_set_is_written_in_the_tasks_order() -> None:
    assert TASK.spell(TEXT, ["tech", "sport"]) == "sport, tech" and TASK.spell(TEXT, []) == "none"
    assert TASK.read(TEXT, " Tech, food, drink ") == ["tech", "Food, drink"]
    assert TASK.read(TEXT, "tech and sport") is None


def test_a_grade_is_jaccards_index() -> None:
    sets = [[name for name, has in zip(NAMES, row, strict=True) if has] for row in product((0, 1), repeat=3)]
    for one, other in product(sets, sets):
        rows = [[int(name in each) for name in NAMES] for each in (one, other)]
        expected = jaccard_score(*rows, zero_division=1.0)
        assert TASK.grade(TEXT, one, other) == pytest.approx(expected)
        assert TASK.same(TEXT, one, list(reversed(other))) is (one == other)
    assert TASK.grade(TEXT, None, []) == 0.0 and not TASK.same(TEXT, None, [])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"labels": ["a"]}, "at least two labels, found 1"),
        ({"labels": ["a", "A"]}, "are equal"),
        ({"labels": ["a", "None"]}, "gets anyway"),
        ({"labels": ["a", "none of these"]}, "gets anyway"),
        ({"labels": ["a", {"name": "b", "verbaliser": "None"}]}, "the verbaliser 'None'"),
        (
            {"labels": ["bug", "crash", "bug, crash"]},
            "'bug, crash' cannot be told from 'bug' followed by 'crash'",
        ),
        ({"labels": ["a", "b; c", "a|b"]}, r"'a\|b' cannot be told from 'a' followed by 'b; c'"),
        (
            {"labels": [{"name": "a", "verbaliser": "x, y"}, {"name": "b", "verbaliser": "x"}, "y"]},
            "verbalisers: 'x, y' cannot be told from 'x' followed by 'y'",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        task_spec({"kind": "multi_label", **settings})


@pytest.mark.parametrize(("output", "classifies"), [({}, True), ({"output": "label_names"}, False)])
def test_a_language_model_has_a_classifier_by_default(output: dict[str, str], classifies: bool) -> None:
    tree = {
        "name": "n",
        "data": {"path": "d.csv"},
        "task": {"kind": "multi_label", "labels": NAMES},
        "model": {"name": "m"},
        "adapter": output,
        "annotator": {"kind": "oracle", "gold": "label"},
    }
    assert CampaignSpec.model_validate(tree, context=FROM_FILE).has_classifier is classifies


def test_names_may_begin_alike_if_what_follows_tells_them_apart() -> None:
    task = make_task(task_spec({"kind": "multi_label", "labels": ["food", "food, drink", "sport"]}))
    for value in (["food", "food, drink"], ["food", "sport"], ["food, drink", "sport"]):
        assert task.read(TEXT, task.spell(TEXT, list[JsonValue](value))) == value


def test_a_long_cell_is_read_in_one_go() -> None:
    assert TASK.find((), "sport," * 20_000) == ["sport"]
    assert TASK.find((), "sport,x" * 20_000) is None
    assert TASK.parse(TEXT, "Food,\ndrink, tech") == ["tech", "Food, drink"]


def test_a_label_that_was_added_since_is_left_out_of_what_an_earlier_task_measures() -> None:
    assert grade_of(TASK, TEXT, ["sport"], ["sport", "arts"]) is None
    assert is_right(TASK, TEXT, ["sport"], ["sport", "arts"]) is None
    assert TASK.has_no_column(["arts"]) and not TASK.teaches(TEXT, ["arts"])
    assert not TASK.has_no_column(["sport"]) and not TASK.has_no_column([]) and not TASK.has_no_column(None)


def test_none_of_these_cannot_be_the_answer_of_somebody_unsure() -> None:
    tree = {
        "name": "n",
        "data": {"path": "d.csv"},
        "task": {"kind": "multi_label", "labels": NAMES},
        "model": {"name": "m"},
        "annotator": {"kind": "label_studio", "unsure": "None of these"},
    }
    with pytest.raises(ValidationError, match="is also a label"):
        CampaignSpec.model_validate(tree, context=FROM_FILE)


# -- the labelling page ------------------------------------------------------------------------------------


def test_people_choose_any_number_of_labels_or_none_of_these() -> None:
    config = label_config.write(LabelStudioSpec(kind="label_studio"), TASK, "key")
    choices = next(each for each in ElementTree.fromstring(config).iter() if each.tag == "Choices")
    assert choices.get("choice") == "multiple" and choices.get("required") == "true"
    assert [choice.get("alias") for choice in choices] == [*NAMES, "none of these"]
    assert [choice.get("hotkey") for choice in choices] == ["1", "2", "3", "4"]
    region = {
        "from_name": "label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": ["tech", "sport"]},
    }
    interface: Any = LabelInterface(config)
    assert interface.validate_annotation({"result": [region]})
    assert not label_config.faults(config, TASK)


def said(*choices: str) -> Annotation:
    region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [*choices]}}
    raw = {"id": 7, "result": [region], "completed_by": 3, "created_at": "2026-01-02T03:04:05.000006Z"}
    found = parse_annotation(raw, "q", {3: "ann"}, "unsure", TASK)
    assert isinstance(found, Annotation), found
    return found


def test_what_people_choose_is_a_list() -> None:
    assert TASK.find((), said("tech", "sport").value) == ["sport", "tech"]
    assert TASK.find((), said("tech").value) == ["tech"]
    assert TASK.find((), said("none of these").value) == []
    assert said("unsure").skipped and not said("none of these").skipped
    for both in (
        ("tech", "none of these"),
        ("tech", "unsure"),
    ):  # says two things at once, so it says nothing
        assert TASK.find((), said(*both).value) is None


@pytest.mark.parametrize("value", [[], ["sport"], ["sport", "tech"]])
def test_a_suggestion_is_an_answer_that_the_page_takes(value: JsonValue) -> None:
    config = label_config.write(LabelStudioSpec(kind="label_studio"), TASK, "key")
    shown = {"result": label_config.result(value, 0.5, control_of(TASK)), "score": 0.1, "model_version": "x"}
    check: Any = LabelInterface(config).validate_prediction
    assert check(shown)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (
            '<Choice value="sport"/><Choice value="tech"/><Choice value="Food, drink"/>',
            "lacks 1 choice: 'none of",
        ),
        (
            '<Choice value="sport"/><Choice value="none of these"/>',
            "it lacks 2 choices: 'tech', 'Food, drink'",
        ),
    ],
)
def test_a_page_of_somebody_else_must_offer_all_labels_and_none_of_these(page: str, complaint: str) -> None:
    def faults(choice: str) -> str:
        return "; ".join(
            label_config.faults(
                f'<View><Text name="text" value="$text"/><Choices name="label" toName="text" choice="{choice}">'
                f"{page}</Choices></View>",
                TASK,
            )
        )

    assert complaint in faults("multiple") and "choose one label only" not in faults("multiple")
    assert "choose one label only" in faults("single")


# -- several people ----------------------------------------------------------------------------------------


def test_people_are_counted_by_whole_sets_or_label_by_label() -> None:
    votes: list[JsonValue] = [["sport", "tech"], ["sport"], ["sport", "Food, drink"]]
    assert majority(votes, TASK.distance) == []
    assert TASK.by_label(votes) == ["sport"]
    assert TASK.by_label([["sport"], ["sport", "tech"]]) is None  # one of two gave tech
    assert TASK.by_label([["sport"], [], []]) == [] and TASK.by_label([]) is None
    assert (
        majority([["sport", "tech"], ["sport"], ["sport", "tech"]], TASK.distance) == [["sport", "tech"]] * 2
    )


def test_agreement_is_alpha_by_jaccards_distance() -> None:
    votes = [Vote(unit, person, value) for unit, person, value in [
        ("1", "ann", ["sport"]), ("1", "bob", ["sport", "tech"]), ("2", "ann", []), ("2", "bob", []),
        ("3", "ann", ["tech"]), ("3", "bob", ["Food, drink"]),
    ]]  # fmt: skip
    sets: list[set[str]] = [set(vote.value) for vote in votes]  # type: ignore[arg-type]

    def apart(one: set[str], other: set[str]) -> float:
        return 1 - len(one & other) / len(one | other) if one | other else 0.0

    observed = np.mean([apart(*sets[first : first + 2]) for first in (0, 2, 4)])
    expected = np.mean([apart(sets[i], sets[j]) for i in range(6) for j in range(6) if i != j])
    assert krippendorff_alpha(votes, TASK.distance) == pytest.approx(1 - observed / expected)


# -- distributions over sets -------------------------------------------------------------------------------


def logs_of(n: int, samples: int, labels: int, seed: int = 0) -> FloatArray:
    probs = np.random.default_rng(seed).beta(0.7, 0.7, (n, samples, labels))
    return np.log(np.stack([1 - probs, probs], axis=3))


def enumerated(logs_N_K_L_2: FloatArray) -> tuple[BoolArray, FloatArray]:
    """All sets, and the logarithms of their mean probabilities (N, S)."""
    labels = logs_N_K_L_2.shape[2]
    sets_S_L = np.array(list(product((0, 1), repeat=labels)))
    each = logs_N_K_L_2[:, :, np.arange(labels), sets_S_L].sum(axis=3)
    return sets_S_L, logsumexp(each, axis=1) - np.log(logs_N_K_L_2.shape[1])


@pytest.mark.parametrize(("samples", "labels"), [(1, 3), (4, 3), (1, 8), (1, 9)])
def test_the_likeliest_sets_are_those_of_enumeration(samples: int, labels: int) -> None:
    logs = logs_of(7, samples, labels)
    columns = min(MOST_SETS, 2**labels)
    found_N_K_C, sets_N_C_L = likeliest_sets(logs, columns)
    sets_S_L, means_N_S = enumerated(logs)
    for row in range(len(logs)):
        order = np.argsort(-means_N_S[row], kind="stable")[:columns]
        np.testing.assert_array_equal(sets_N_C_L[row], sets_S_L[order].astype(bool))
        means = logsumexp(found_N_K_C[row], axis=0) - np.log(samples)
        np.testing.assert_allclose(means, means_N_S[row][order], atol=1e-9)


def test_the_search_keeps_the_best_beginnings_label_by_label() -> None:
    logs = logs_of(4, 6, 12)
    found_N_K_C, sets_N_C_L = likeliest_sets(logs, MOST_SETS)
    for row, of_text in enumerate(logs):
        best: list[tuple[tuple[bool, ...], FloatArray]] = [((), np.zeros(6))]
        for label in range(12):
            longer = [
                ((*chosen, bool(has)), log_probs_K + of_text[:, label, has])
                for has in (0, 1)
                for chosen, log_probs_K in best
            ]
            best = sorted(longer, key=lambda one: -float(logsumexp(one[1])))[:MOST_SETS]
        assert [tuple(chosen) for chosen in sets_N_C_L[row].tolist()] == [chosen for chosen, _ in best]
        np.testing.assert_array_equal(found_N_K_C[row].T, [log_probs_K for _, log_probs_K in best])


def test_sets_of_a_mixture_hold_nearly_as_much_as_the_best_ones() -> None:
    logs = logs_of(20, 8, 9)
    found_N_K_C, _ = likeliest_sets(logs, MOST_SETS)
    held = np.exp(found_N_K_C).mean(axis=1).sum(axis=1)
    _, means_N_S = enumerated(logs)
    best = np.exp(np.sort(means_N_S, axis=1)[:, -MOST_SETS:]).sum(axis=1)
    assert (held <= best + 1e-9).all() and (held >= 0.95 * best).all()


@pytest.mark.parametrize("labels", [3, 8])
def test_rows_are_distributions_and_signals_the_exact_means(labels: int) -> None:
    logs = logs_of(5, 4, labels)
    names = [f"l{place}" for place in range(labels)]
    found = set_predictions([f"i{row}" for row in range(5)], names, logs)
    np.testing.assert_allclose(np.exp(found.log_probs_N_K_C).sum(axis=2), 1.0)
    for place, name in enumerate(names):
        np.testing.assert_allclose(found.signals[f"p({name})"], np.exp(logs[:, :, place, 1]).mean(axis=1))
    rest = np.exp(found.log_probs_N_K_C[:, :, -1])
    assert (rest == 0).all() if labels == 3 else (rest > 0).all()
    assert all(answers[-1] is None and len(answers) == min(8, 32) + 1 for answers in found.answers) == (
        labels == 3
    )
    one = base_predictions(found)[0]
    assert one.answers == found.answers[0] and len(one.log_probs_C) == len(one.answers)


def test_samples_that_agree_tell_nothing_of_each_other() -> None:
    logs = np.repeat(logs_of(6, 1, 7), 5, axis=1)
    assert (bald(set_predictions(["i"] * 6, list("abcdefg"), logs).log_probs_N_K_C) == 0).all()


def test_certain_labels_stay_finite() -> None:
    logs = np.full((1, 1, 7, 2), -np.inf)
    logs[..., 0] = 0.0
    found = set_predictions(["i"], list("abcdefg"), logs)
    assert found.answers[0][0] == [] and np.exp(found.log_probs_N_K_C[0, 0, 0]) > 0.999
    assert np.isfinite(found.log_probs_N_K_C).all()


def test_no_items_have_no_predictions() -> None:
    assert len(set_predictions([], ["a", "b"], np.zeros((0, 3, 2, 2)))) == 0


def spread_logs(n: int, samples: int, labels: int) -> FloatArray:
    """Labels' probabilities of texts that are differently sure, and whose samples differ more or less."""
    generator = np.random.default_rng(labels)
    sure, apart = generator.uniform(0.3, 4, (n, 1, 1)), generator.exponential(1.0, (n, 1, 1))
    logits = generator.normal(-0.5, 1, (n, 1, labels)) * sure
    logits = logits + generator.normal(0, 1, (n, samples, labels)) * apart
    return -np.logaddexp(0, np.stack([logits, -logits], axis=3))


def measured(logs: FloatArray) -> dict[str, FloatArray]:
    found = set_predictions(
        [f"i{row}" for row in range(len(logs))], [f"l{place}" for place in range(logs.shape[2])], logs
    )
    return {name: uncertainties(found, name) for name in MEASURES}


@pytest.mark.parametrize("labels", [5, 6, 10])
def test_measures_rank_texts_as_enumeration_of_all_sets_does(labels: int) -> None:
    logs = spread_logs(60, 6, labels)
    sets_S_L = np.array(list(product((0, 1), repeat=labels)))
    each_N_K_S = np.stack([row[:, np.arange(labels), sets_S_L].sum(axis=2) for row in logs])
    exact = {name: measure(each_N_K_S) for name, measure in MEASURES.items()}
    for name, values_N in measured(logs).items():
        assert spearmanr(values_N, exact[name])[0] > 0.99, name
        np.testing.assert_allclose(values_N, exact[name], rtol=0.15, atol=1e-6, err_msg=name)


def test_with_many_labels_measures_rank_texts_as_closed_forms_do() -> None:
    logs = spread_logs(200, 1, 20)
    probs = np.exp(logs[:, 0, :, 1])
    likelier, less = np.maximum(probs, 1 - probs), np.minimum(probs, 1 - probs)
    best = likelier.prod(axis=1)
    second = best * (less / likelier).max(axis=1)  # the label nearest to one half is flipped
    found = measured(logs)
    np.testing.assert_allclose(found["entropy"], (entr(probs) + entr(1 - probs)).sum(axis=1))
    np.testing.assert_allclose(found["least_confidence"], 1 - best)
    np.testing.assert_allclose(found["margin"], 1 - best + second)
    assert (found["bald"] == 0).all()


def test_samples_that_differ_more_tell_more_of_each_other() -> None:
    generator = np.random.default_rng(0)
    logits, noise = generator.normal(0, 1, (1, 1, 20)), generator.normal(0, 1, (1, 8, 20))
    levels = np.array([0.0, 1e-4, 0.01, 0.1, 0.5, 1.0, 3.0, 30.0])
    spread = logits + levels[:, None, None] * noise
    found_N = measured(-np.logaddexp(0, np.stack([spread, -spread], axis=3)))["bald"]
    assert found_N[0] == 0 and (np.diff(found_N) > 0).all()
    assert found_N[-1] == pytest.approx(np.log(8), rel=0.01)
    first_order = (np.exp(-np.logaddexp(0, logits) - np.logaddexp(0, -logits)) * noise.var(axis=1)).sum() / 2
    assert found_N[1] == pytest.approx(first_order * 1e-8, rel=0.01)


def test_the_parts_of_the_entropy_are_those_of_sets() -> None:
    logs = spread_logs(5, 4, 12)
    found = set_predictions([f"i{row}" for row in range(5)], [f"l{place}" for place in range(12)], logs)
    aleatoric_N, epistemic_N = known_split(found.log_probs_N_K_C, found.signals, draws=1)
    probs = np.exp(logs[..., 1])
    np.testing.assert_allclose(aleatoric_N, (entr(probs) + entr(1 - probs)).sum(axis=2).mean(axis=1))
    np.testing.assert_array_equal(epistemic_N, uncertainties(found, "bald"))
    told = [one.uncertainty for one in base_predictions(found)]
    np.testing.assert_array_equal(told, uncertainties(found, "entropy"))


def test_label_margins_count_how_close_labels_are_to_one_half() -> None:
    probs = np.array([[0.5, 1 - 1e-12], [0.25, 0.9]])
    found = set_predictions(["i", "j"], ["a", "b"], np.log(np.stack([1 - probs, probs], axis=2))[:, None])
    np.testing.assert_allclose(uncertainties(found, "label_margin_mean"), [0.5, (0.5 + 0.2) / 2], atol=1e-6)
    np.testing.assert_allclose(uncertainties(found, "label_margin_max"), [1.0, 0.5], atol=1e-6)


# -- figures -----------------------------------------------------------------------------------------------


def answered(predicted_N_L: BoolArray, right_N_L: BoolArray) -> Answered:
    names = tuple(f"l{place}" for place in range(right_N_L.shape[1]))

    def values(rows: BoolArray) -> list[JsonValue]:
        return [[name for name, has in zip(names, row, strict=True) if has] for row in rows]

    right_N = (predicted_N_L == right_N_L).all(axis=1)
    items = [Item(str(row), "") for row in range(len(right_N))]
    return Answered(
        items, values(predicted_N_L), values(right_N_L), right_N * 1.0, right_N, np.ones(len(right_N)), names
    )


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    right, predicted = generator.random((2, 40, 6)) < generator.random(6)
    right[:, 5] = predicted[:, 5] = False  # a label that nobody has
    found = answered(predicted, right)
    assert micro_f1(found) == pytest.approx(f1_score(right, predicted, average="micro"))
    assert macro_f1(found) == pytest.approx(f1_score(right, predicted, average="macro", zero_division=0))
    assert hamming_loss(found) == pytest.approx(sklearn_hamming_loss(right, predicted))
    assert found.right_N.mean() == pytest.approx(accuracy_score(right, predicted))


def test_random_sets_score_what_they_must() -> None:
    generator = np.random.default_rng(0)
    shares = np.array([0.1, 0.3, 0.5])
    right, predicted = generator.random((2, 5_000, 3)) < shares
    found = answered(predicted, right)
    assert micro_f1(found) == pytest.approx((shares**2).sum() / shares.sum(), abs=0.02)
    assert macro_f1(found) == pytest.approx(shares.mean(), abs=0.02)
    assert hamming_loss(found) == pytest.approx((2 * shares * (1 - shares)).mean(), abs=0.02)


def test_a_threshold_is_the_best_one_of_the_texts_it_was_chosen_on() -> None:
    generator = np.random.default_rng(1)
    right = generator.random((60, 3)) < [0.2, 0.5, 0.03]
    probs = np.clip(right * 0.2 + generator.random((60, 3)) * 0.4, 0, 1)
    found = thresholds(probs, right)
    assert found[2] == 0.5  # too few texts have the label
    for label in range(2):
        score = f1_score(right[:, label], probs[:, label] >= found[label])
        every = [f1_score(right[:, label], probs[:, label] >= level) for level in np.linspace(0.01, 0.99, 99)]
        assert score >= max(every) - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_is_the_best_of_all_levels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shares = [0.75, 0.5, 0.3]  # if most texts have a label, it may be best to predict it for all
    right = generator.random((60, 3)) < shares
    probs = generator.random((60, 3))
    found = thresholds(probs, right)
    for label in range(3):
        score = f1_score(right[:, label], probs[:, label] >= found[label])
        every = [f1_score(right[:, label], probs[:, label] >= level) for level in np.unique(probs[:, label])]
        assert score == pytest.approx(max(every))


def test_the_matrix_of_values_has_the_tasks_order() -> None:
    assert isinstance(TASK, MultiLabel)
    rows: list[JsonValue] = [["Food, drink", "sport"], []]
    assert TASK.matrix([(TEXT, row) for row in rows]).tolist() == [[True, False, True], [False] * 3]
