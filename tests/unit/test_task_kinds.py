"""Kinds of tasks differ by tables and classes, never by a comparison with a kind's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from star_al.annotators.label_studio.controls import CONTROLS
from star_al.app.card_words import CARD_WORDS
from star_al.app.heads import HEADS
from star_al.app.init.kinds import PROPOSALS
from star_al.app.language_learners import LEARNERS
from star_al.cli.init import init
from star_al.config.sections import kind_of, sections_in
from star_al.config.spec import CampaignSpec, TaskSpec, task_spec
from star_al.config.spec.acquisition import AcquisitionSpec, BatchSpec
from star_al.config.spec.adapter import AdapterSpec
from star_al.config.spec.labelling import LabellingSpec
from star_al.config.spec.task import kinds_with
from star_al.config.spec.task.base import TaskSettings
from star_al.models.prompt_template import WORDINGS
from star_al.stats.figures import FIGURES
from star_al.task import KINDS, Task, closed, make_task
from star_al.types import Item, JsonValue

ROOT = Path(__file__).parents[2]
SPECS: Mapping[str, Any] = {str(kind_of(spec)): spec for spec in sections_in(TaskSpec)}
TABLES: Mapping[str, Mapping[str, Any]] = {
    "star_al/task/__init__.py: KINDS": KINDS,
    "star_al/models/prompt_template.py: WORDINGS": WORDINGS,
    "star_al/annotators/label_studio/controls.py: CONTROLS": CONTROLS,
    "star_al/app/heads.py: HEADS": HEADS,
    "star_al/app/language_learners.py: LEARNERS": LEARNERS,
    "star_al/app/init/kinds.py: PROPOSALS": PROPOSALS,
    "star_al/app/card_words.py: CARD_WORDS": CARD_WORDS,
    "star_al/stats/figures.py: FIGURES": FIGURES,
}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "classification": {"labels": ["sport", {"name": "tech", "verbaliser": "technology"}]},
    "multiple_choice": {},
    "rating": {"levels": 4},
    "text": {},
    "multi_label": {"labels": ["sport", {"name": "tech", "verbaliser": "technology"}]},
    "preference": {},
}
"""Settings of each kind."""
EXAMPLES = [*SETTINGS.items(), ("rating", {"levels": 3, "names": ["bad", "fair", "v3.0"]})]
"""Those, and others that change what is read or written."""
ANSWERS: Mapping[str, Sequence[JsonValue]] = {
    "text": ("a dog", "two cats"),
    "multi_label": ([], ["sport"], ["sport", "tech"]),
}
"""Different answers to one item, by kind, where no list holds them."""

OTHER_WORDS = {"text"}
"""Kinds whose name means something else too, unless it is compared with something that is called kind."""

STORED = {"instruction": None, "template": None, "template_columns": True, "chat_template": True} | {
    "contextual_calibration": False,
    "answer": "letter",
    "renamed": {},
}
"""Settings as versions before 0.2 stored them, for every kind."""


def choices_of_a_kind(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module that compare something with a kind of task."""
    classes = {each.__name__ for each in (*SPECS.values(), *KINDS.values())}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue | ast.MatchClass):
            parts = [node]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            parts = list(node.args[1:])
        else:
            continue
        inner = [each for part in parts for each in ast.walk(part)]
        says_kind = isinstance(node, ast.MatchValue) or any(
            "kind" in (getattr(each, "id", None), getattr(each, "attr", None)) for each in inner
        )
        names = {name for name in SPECS if says_kind or name not in OTHER_WORDS}
        if any(isinstance(each, ast.Constant) and each.value in names for each in inner) or any(
            isinstance(each, ast.Name) and each.id in classes for each in inner
        ):
            yield node


def test_nothing_compares_the_kind_of_a_task() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]
        for folder in ("star_al", "db")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in choices_of_a_kind(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, f"put what differs by kind into a table or into the kind's class: {found}"


@pytest.mark.parametrize(
    "code",
    [
        'task.kind == "multiple_choice"',
        'spec.kind in ("classification", "x")',
        "isinstance(task, MultipleChoice)",
        'self._task.spec.kind != "text"',
        'match kind:\n    case "classification":\n        pass',
    ],
)
def test_a_comparison_would_be_found(code: str) -> None:
    assert list(choices_of_a_kind(ast.parse(code)))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_every_kind(name: str) -> None:
    assert list(TABLES[name]) == list(SPECS)


def test_every_kind_is_tested_here() -> None:
    assert list(SETTINGS) == list(SPECS)


@pytest.mark.parametrize(("kind", "settings"), EXAMPLES)
def test_what_a_model_must_write_is_read_back(kind: str, settings: Mapping[str, Any]) -> None:
    task = make_task(task_spec({"kind": kind, **settings}))
    item = Item("i", "text", options=("first", "second") if task.has_options else ())
    choices = task.choices(item)
    assert (choices is None) is (kind in ANSWERS)
    values = ANSWERS[kind] if choices is None else choices
    for value in values:
        assert task.read(item, f" {task.spell(item, value)} ") == value == task.parse(item, value)
        assert task.find(item.options, value) == value
        assert task.parse(item, task.text(item, value)) == value
        for other in values:
            assert task.same(item, value, other) is (value == other)
            assert (task.grade(item, value, other) >= task.right_at) is (value == other)
    assert task.read(item, " ") is None
    assert task.parse(item, " ") is None


@pytest.mark.parametrize(("kind", "settings"), [each for each in EXAMPLES if each[0] not in ANSWERS])
def test_a_column_stands_for_each_label_of_a_list(kind: str, settings: Mapping[str, Any]) -> None:
    task = closed(make_task(task_spec({"kind": kind, **settings})))
    item = Item("i", "text", options=("first", "second") if task.has_options else ())
    for column, value in enumerate(task.choices(item)):
        assert (task.value(item, column), task.column(item, value)) == (value, column)
    assert task.read(item, "something else") is None


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_that_are_no_list_have_no_columns(kind: str) -> None:
    with pytest.raises(TypeError, match="are not a list of labels"):
        closed(make_task(task_spec({"kind": kind, **SETTINGS[kind]})))


@pytest.mark.parametrize("kind", ["classification", "multiple_choice"])
def test_settings_are_stored_and_hashed_as_before_kinds_had_their_own(kind: str) -> None:
    labels = [{"name": name, "verbaliser": None, "description": None} for name in ("a", "b")]
    stored = STORED | {"kind": kind, "labels": labels if kind == "classification" else []}
    assert task_spec(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_kind_says_what_it_goes_with(kind: str) -> None:
    allowed = SPECS[kind].allowed
    posteriors = [kind_of(each) for each in sections_in(CampaignSpec.model_fields["posterior"].annotation)]
    for values, known in (
        (allowed.measures, get_args(AcquisitionSpec.model_fields["measure"].annotation)),
        (allowed.batches, get_args(BatchSpec.model_fields["kind"].annotation)),
        (allowed.settling, get_args(LabellingSpec.model_fields["settle"].annotation)),
        (allowed.posteriors, posteriors),
        (allowed.losses, get_args(AdapterSpec.model_fields["loss"].annotation)),
    ):
        assert values and set(values) <= set(known)


def test_every_measure_batch_and_rule_goes_with_some_kind() -> None:
    assert {each for spec in SPECS.values() for each in spec.allowed.measures} == set(
        get_args(AcquisitionSpec.model_fields["measure"].annotation)
    )
    assert {each for spec in SPECS.values() for each in spec.allowed.batches} == set(
        get_args(BatchSpec.model_fields["kind"].annotation)
    )
    assert {each for spec in SPECS.values() for each in spec.allowed.settling} == set(
        get_args(LabellingSpec.model_fields["settle"].annotation)
    )
    assert {each for spec in SPECS.values() for each in spec.allowed.posteriors} == set(
        map(kind_of, sections_in(CampaignSpec.model_fields["posterior"].annotation))
    )


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_documentation_names_every_table() -> None:
    for path, _, table in (name.partition(": ") for name in TABLES):
        assert f"`{path}`: `{table}`" in page("docs/adding-a-task.md")


@pytest.mark.parametrize("class_", [TaskSettings, Task])
def test_the_documentation_names_all_that_a_kind_may_say(class_: type) -> None:
    fields = {*TaskSettings.model_fields, "spec", "split_template"}
    says = {name for name in vars(class_).keys() | class_.__annotations__.keys() if not name.startswith("_")}
    named = set(re.findall(r"`(\w+)(?:\([\w, ]*\))?`", page("docs/adding-a-task.md")))
    assert says - fields - vars(BaseModel).keys() - named == set()


@pytest.mark.parametrize("spec", SPECS.values())
@pytest.mark.parametrize("name", ["labels", "label_names", "renamed"])
def test_settings_say_what_has_no_default(spec: type, name: str) -> None:
    assert hasattr(spec, name) or name in getattr(spec, "model_fields", {})


@pytest.mark.parametrize("kind", SPECS)
def test_users_find_every_kind(kind: str) -> None:
    assert f"| `{kind}` |" in page("docs/concepts.md")
    assert f"`{kind}`" in page("README.md") or f"kind: {kind}," in page("README.md")
    option = get_type_hints(init, include_extras=True)["kind"].__metadata__[0]
    assert kind in option.help


def test_messages_name_the_kinds_that_have_something() -> None:
    assert kinds_with("has_options") == "multiple_choice and preference"
    assert kinds_with("has_label_sets") == "multi_label"


@pytest.mark.parametrize("kind", PROPOSALS)
def test_a_prompt_of_several_columns_ends_as_that_of_one(kind: str) -> None:
    wording = WORDINGS[kind]
    assert (wording.message + wording.ending).endswith("{text}" + wording.after_text)


def test_what_a_kind_does_not_go_with_is_refused() -> None:
    campaign = {
        "name": "n",
        "data": {"path": "d.csv", "options": "options"},
        "task": {"kind": "multiple_choice"},
        "model": {"name": "m"},
        "annotator": {"kind": "oracle", "gold": "answer"},
        "acquisition": {"measure": "label_probability", "target_label": "A"},
    }
    with pytest.raises(
        ValidationError, match=r"does not go with task\.kind: multiple_choice; choose from entropy"
    ):
        CampaignSpec.model_validate(campaign)
