"""What people answer with: the part of a label config that depends on the kind of task."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from star_al.annotators.label_studio.markup import attribute, clean, get, is_on, plain, shown
from star_al.annotators.label_studio.style import MANY, ROWS, SIDE_BY_SIDE
from star_al.common.wording import count
from star_al.config.spec import NONE_OF_THESE, TIE, normalise_label
from star_al.rng import keyed_uniform
from star_al.task import LETTERS, SIDES, Task
from star_al.task.text import storable
from star_al.types import Item, JsonValue

TEXT, CONTROL = "text", "label"
"""Names of the object and of the control. ``TEXT`` is also the key of the text in a task's data."""

OPTIONS = "options"
"""Key of an item's options in a task's data."""

HOTKEYS = "1234567890qwertyuiopasdfghjklzxcvbnm"

VERTICAL_UP_TO = 10
"""Choices that fit on a screen one below the other; more than these are laid out in lines."""

MANY_FROM = 24
"""More labels than this get smaller choices over the whole width."""

TIE_SHOWN = "Both are equally good"
"""How people see a tie."""

NAMED_LABELS = 10
"""Labels that a message lists."""

_COMMON = (
    f'name="{CONTROL}" toName="{TEXT}" choice="single-radio" required="true" '
    'requiredMessage="Choose one, or skip the task."'
)


class Control(ABC):
    """What people answer with: a Choices of which they choose one, unless a subclass says otherwise.

    Attributes:
        tag: The element of a label config.
        type: The type of its results.
        key: Where the value of a result holds what was said.
        question: What people are asked unless the user words it.
        setting: Where the user words the answers.
        takes_several: True if an answer may say several things.
        free: True if an answer may be any text.
        without: How a page lets people submit nothing, in words.
    """

    tag: ClassVar[str] = "Choices"
    type: ClassVar[str] = "choices"
    key: ClassVar[str] = "choices"
    question: str
    setting: str
    takes_several: ClassVar[bool] = False
    free: ClassVar[bool] = False
    without: ClassVar[str] = "without a choice"

    def region(self, value: JsonValue) -> dict[str, JsonValue]:
        """Return the type and value of a result that says this."""
        said: list[JsonValue] = list(value) if isinstance(value, list) else [value]
        return {"type": self.type, "value": {self.key: said}}

    def joined(self, said: Sequence[str]) -> JsonValue:
        """Return the answer that the different things make which were said, one unless ``takes_several``."""
        return said[0]

    def faults(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return why the control of somebody else cannot collect our labels, a phrase each."""
        return several_answers(control, task) + self.missing(control, task)

    def classes(self, task: Task) -> list[str]:
        """Return the style classes of the page beside those of every page."""
        return []

    @abstractmethod
    def names(self, task: Task) -> Sequence[str]:
        """Return what an answer may say besides the unsure choice."""

    def wording(self, task: Task, name: str) -> str:
        """Return how people see an answer: by default as it is."""
        return name

    @abstractmethod
    def xml(self, task: Task, unsure: str | None) -> list[str]:
        """Return the lines of the control in a label config."""

    def data(self, item: Item, unsure: str | None, query_id: str) -> Mapping[str, Any]:
        """Return what the data of a query's task holds for the control."""
        return {}

    @abstractmethod
    def missing(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return which answers a Choices of somebody else cannot give, a phrase each."""

    def foreign(self, control: ElementTree.Element, task: Task, unsure: str | None) -> list[str]:
        """Return what a Choices of somebody else offers that is no answer, in quotes."""
        return []

    def accepts(self, task: Task, value: str) -> bool:
        """Return whether an answer can be a label. Which labels an item has is checked where the item is known."""
        return True


class LabelChoices(Control):
    """A choice for each label of the task."""

    question = "Which label fits this text?"
    setting = "task.labels"

    def classes(self, task: Task) -> list[str]:
        """Return that of many labels, if there are many."""
        return [MANY] if len(self.names(task)) > MANY_FROM else []

    def names(self, task: Task) -> Sequence[str]:
        """Return the labels."""
        return task.spec.label_names

    def xml(self, task: Task, unsure: str | None) -> list[str]:
        """Return the control with its choices."""
        names = [*self.names(task), *([] if unsure is None else [unsure])]
        layout = "vertical" if len(names) <= VERTICAL_UP_TO else "inline"
        hotkeys = [f' hotkey="{key}"' for key in HOTKEYS] + [""] * len(names)
        choices = [
            f"      <Choice value={shown(self.wording(task, name))} alias={attribute(name)}{hotkey}/>"
            for name, hotkey in zip(names, hotkeys, strict=False)
        ]
        # Answers with an earlier name stay valid for the server, which refuses a config without them.
        hidden = [
            f'      <Choice value={shown(old)} alias={attribute(old)} style="display: none"/>'
            for old in task.spec.renamed
        ]
        return [f'    <Choices {_COMMON} layout="{layout}">', *choices, *hidden, "    </Choices>"]

    def missing(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return the labels that it does not offer."""
        there = {task.find((), name) for name in _offered(control)}
        missing = [name for name in self.names(task) if name not in there]
        return [f"it lacks {count(len(missing), 'label')}: {_listed(missing)}"] if missing else []

    def foreign(self, control: ElementTree.Element, task: Task, unsure: str | None) -> list[str]:
        """Return a phrase about choices that are no labels."""
        others = [name for name in _offered(control) if name != unsure and task.find((), name) is None]
        if not others:
            return []
        verb = "is not a label" if len(others) == 1 else "are not labels"
        return [
            f"it also offers {_listed(others)}, which {verb} of the campaign: such an answer does not count"
        ]

    def accepts(self, task: Task, value: str) -> bool:
        """Return whether it is a label."""
        return task.find((), value) is not None


class LevelChoices(LabelChoices):
    """A choice for each level of a scale, with its name."""

    question = "How do you rate this text?"
    setting = "task.names"

    def wording(self, task: Task, name: str) -> str:
        """Return the number, and the level's name if it has one."""
        named = {label.name: label.description for label in task.spec.labels}.get(name)
        return name if named is None else f"{name}: {named}"


class LabelSetChoices(LabelChoices):
    """A choice for each label of the task, of which people choose any number, and one for none of them."""

    question = "Which labels fit this text?"
    takes_several = True

    def region(self, value: JsonValue) -> dict[str, JsonValue]:
        """Return the choices, which name none of the labels too."""
        return super().region(value or [NONE_OF_THESE])

    def joined(self, said: Sequence[str]) -> JsonValue:
        """Return all that was chosen."""
        return list[JsonValue](said)

    def names(self, task: Task) -> Sequence[str]:
        """Return the labels, and what is chosen if none of them fits."""
        return (*task.spec.label_names, NONE_OF_THESE)

    def xml(self, task: Task, unsure: str | None) -> list[str]:
        """Return the control with its choices."""
        first, *rest = super().xml(task, unsure)
        several = first.replace('choice="single-radio"', 'choice="multiple"')
        return [several.replace("Choose one, or skip", "Choose all that fit, or skip"), *rest]

    def missing(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return the labels that it does not offer, and whether it lacks a choice for none of them."""
        there = set(map(normalise_label, _offered(control)))
        missing = [name for name in self.names(task) if normalise_label(name) not in there]
        return [f"it lacks {count(len(missing), 'choice')}: {_listed(missing)}"] if missing else []


class OptionChoices(Control):
    """A choice for each option of the item, from the task's data."""

    question = "Which option is right?"
    setting = "data.options"

    def classes(self, task: Task) -> list[str]:
        """Return that of options, which take a line each."""
        return [ROWS]

    def names(self, task: Task) -> Sequence[str]:
        """Return the letters."""
        return LETTERS

    def xml(self, task: Task, unsure: str | None) -> list[str]:
        """Return the control, which takes its choices from the task."""
        return [f'    <Choices {_COMMON} layout="vertical" value="${OPTIONS}"/>']

    def data(self, item: Item, unsure: str | None, query_id: str) -> Mapping[str, Any]:
        """Return the choices of an item; each is shown with its letter, which is also its value."""
        choices = [
            _choice(clean(f"{letter}. {option}"), letter, hotkey)
            for letter, option, hotkey in zip(LETTERS, item.options, HOTKEYS, strict=False)
        ]
        if unsure is not None:
            choices.append(_choice(unsure, unsure, HOTKEYS[len(choices)]))
        return {OPTIONS: choices}

    def missing(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return whether it takes its choices from somewhere else."""
        if get(control, "value") == f"${OPTIONS}":
            return []
        return [f'its Choices do not come from the task (value="${OPTIONS}")']


class WrittenAnswer(Control):
    """A text area. Several submissions are several answers, all of them right; blank ones are none."""

    tag = "TextArea"
    type = "textarea"
    key = "text"
    question = "What is the answer?"
    setting = "annotator.question"
    takes_several = True
    free = True
    without = "without an answer"

    def joined(self, said: Sequence[str]) -> JsonValue:
        """Return what was written, a list if there are several answers, None if all are blank."""
        texts = list(dict.fromkeys(text for each in said if (text := storable(each))))
        return list[JsonValue](texts) if len(texts) > 1 else next(iter(texts), None)

    def names(self, task: Task) -> Sequence[str]:
        """Return none: anything may be said."""
        return ()

    def xml(self, task: Task, unsure: str | None) -> list[str]:
        """Return the text area; what counts as a skip is named in it while it is empty."""
        hint = "" if unsure is None else f" placeholder={shown(f'If you cannot tell, write: {unsure}')}"
        return [
            f'    <TextArea name="{CONTROL}" toName="{TEXT}" rows="4" editable="true" maxSubmissions="1" '
            f'required="true" requiredMessage="Write an answer, or skip the task."{hint}/>'
        ]

    def faults(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return whether it asks for something else than the text's answer."""
        return [
            f'its TextArea asks once for each {what}, not once for each text ({name}="false")'
            for name, what in (("perRegion", "region"), ("perItem", "item"))
            if is_on(control, name.lower())
        ]

    def missing(self, control: ElementTree.Element, task: Task) -> list[str]:
        """Return nothing: a text area takes every answer."""
        return []


class CompletionChoices(OptionChoices):
    """A choice for each of two completions, side by side, and one for a tie.

    Which completion is on the left is drawn for each query, so that people who prefer a side prefer neither completion.
    What an annotation holds is the completion's own letter, whichever side it was on.
    """

    question = "Which answer is better?"

    def classes(self, task: Task) -> list[str]:
        """Return that of two texts side by side."""
        return [SIDE_BY_SIDE]

    def names(self, task: Task) -> Sequence[str]:
        """Return the letters and the word for a tie."""
        return (*SIDES, TIE)

    def data(self, item: Item, unsure: str | None, query_id: str) -> Mapping[str, Any]:
        """Return the completions in the query's order, then the tie."""
        shown = [*zip(map(clean, item.options), SIDES, strict=True)]
        if keyed_uniform(0, f"sides/{query_id}") < 0.5:
            shown.reverse()
        shown.append((TIE_SHOWN, TIE))
        if unsure is not None:
            shown.append((unsure, unsure))
        return {
            OPTIONS: [_choice(text, alias, key) for (text, alias), key in zip(shown, HOTKEYS, strict=False)]
        }

    def accepts(self, task: Task, value: str) -> bool:
        """Return whether it is a letter or a tie."""
        return value in self.names(task)


def _choice(text: str, alias: str, hotkey: str) -> dict[str, str]:
    return {"value": plain(text), "alias": alias, "hotkey": hotkey}


CONTROLS: Mapping[str, Control] = {
    "classification": LabelChoices(),
    "multiple_choice": OptionChoices(),
    "rating": LevelChoices(),
    "text": WrittenAnswer(),
    "multi_label": LabelSetChoices(),
    "preference": CompletionChoices(),
}
"""By kind of task."""


def control_of(task: Task) -> Control:
    """Return what people answer this task with."""
    return CONTROLS[task.spec.kind]


def several_answers(control: ElementTree.Element, task: Task) -> list[str]:
    """Return what lets people give more or fewer labels with a Choices, or something else than a label."""
    found = []
    is_single = (get(control, "choice") or "single").lower() in ("single", "single-radio")
    if control_of(task).takes_several == is_single:
        found.append(
            'its Choices let people choose one label only (choice="multiple")'
            if is_single
            else 'its Choices let people choose several labels (choice="single")'
        )
    for name, what in (("perRegion", "region"), ("perItem", "item")):
        if is_on(control, name.lower()):
            found.append(f'its Choices ask once for each {what}, not once for each text ({name}="false")')
    if is_on(control, "allownested"):
        found.append('its Choices are nested (allowNested="false")')
    return found


def _offered(control: ElementTree.Element) -> list[str]:
    """What an annotation holds for each choice."""
    choices = (element for element in control.iter() if element.tag.lower() == "choice")
    return [get(choice, "alias") or get(choice, "value") or "" for choice in choices]


def _listed(names: Sequence[str]) -> str:
    """The first of the names in quotes, and how many more there are."""
    more = f" and {len(names) - NAMED_LABELS:,} more" if len(names) > NAMED_LABELS else ""
    return ", ".join(map(repr, names[:NAMED_LABELS])) + more
