"""The XML of a label config, which defines the labelling page: write it, and check the one that a project has.

Names in it are fixed: the object ``text`` shows ``data.text``, the control ``label`` holds the answer. A
comment carries the campaign's key and a hash of the rest, which shows whether somebody edited it by hand.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Set as AbstractSet

from star_al.annotators.label_studio.controls import CONTROL, TEXT, Control, control_of
from star_al.annotators.label_studio.markup import UNUSABLE_CHARACTERS, get, is_on, shown
from star_al.annotators.label_studio.style import PAGE, STYLE, TEXT_BOX, UNSURE, WHY_LINE
from star_al.config.spec import LabelStudioSpec
from star_al.errors import ConfigError
from star_al.task import Task
from star_al.types import JsonValue

WHY = "why"
"""Key of the reason why an item was selected in a task's data."""

_MARK = re.compile(r"star_al:([A-Za-z0-9_-]+)")
_STAMP = re.compile(r" ?star_al-database:([0-9a-f]{16})")
_COMMENT = re.compile(r"<!-- star_al:([A-Za-z0-9_-]+) ([0-9a-f]{16}) -->\n?")


def mark(key: str) -> str:
    """The text in a project that says which campaign it belongs to."""
    return f"star_al:{key}"


def marks(*texts: str) -> frozenset[str]:
    """The keys of all campaigns that are marked in a project's description and label config."""
    return frozenset(key for text in texts for key in _MARK.findall(text))


def stamp(description: str) -> str | None:
    """The stamp of the database that a project is used from; None without one."""
    found = _STAMP.search(description)
    return None if found is None else found[1]


def with_stamp(description: str, new: str) -> str:
    """The description with this stamp in place of an earlier one."""
    return f"{_STAMP.sub('', description).strip()} star_al-database:{new}"


def write(spec: LabelStudioSpec, task: Task, campaign_key: str) -> str:
    """The label config of a campaign.

    Args:
        spec: Question, unsure choice, and whether the reason is shown.
        task: The labels.
        campaign_key: Goes into the comment.

    Raises:
        ConfigError: A label cannot be part of a label config; the message names it.
    """
    control = control_of(task)
    _refuse_unusable(spec, control, task)
    classes = [PAGE, *control.classes(task), *([] if spec.unsure is None else [UNSURE])]
    lines = [
        f"  <Style>{STYLE}  </Style>",
        f'  <View className="{" ".join(classes)}">',
        f'    <Header value={shown(_question(spec, control))} size="4"/>',
        f'    <View className="{TEXT_BOX}">',
        f'      <Text name="{TEXT}" value="${TEXT}" valueType="text"/>',
        "    </View>",
        *control.xml(task, spec.unsure),
    ]
    if spec.show_reason:
        lines.append(f'    <View className="{WHY_LINE}"><Header value="${WHY}" size="6"/></View>')
    lines.append("  </View>")
    body = "<View>\n" + "\n".join(lines) + "\n</View>"
    return body.replace("<View>\n", f"<View>\n<!-- {mark(campaign_key)} {_digest(body)} -->\n", 1)


def is_unedited(config: str) -> bool:
    """Return whether nobody has edited it since ``write`` made it, perhaps for earlier labels or another question."""
    config = config.replace("\r\n", "\n")
    found = _COMMENT.search(config)
    return found is not None and found[2] == _digest(_COMMENT.sub("", config, count=1))


def faults(config: str, task: Task) -> list[str]:
    """Why a config that is not ours cannot collect our labels, one phrase for each reason."""
    try:
        tree = ElementTree.fromstring(config)
    except ElementTree.ParseError as exc:
        return [f"it is not valid XML ({exc})"]
    showing = {get(element, "name") for element in tree.iter() if get(element, "value") == f"${TEXT}"} - {
        None
    }
    found = [] if showing else [f'it does not show the text (a Text with value="${TEXT}")']
    control, ours = next((element for element in tree.iter() if _is_control(element)), None), control_of(task)
    if control is None:
        return [*found, f'it has no {ours.tag} with name="{CONTROL}"']
    if control.tag.lower() != ours.tag.lower():
        return [*found, f'its "{CONTROL}" is a {control.tag}, not a {ours.tag}']
    found += _wrong_target(control, showing, ours.tag) if showing else []
    return found + ours.faults(control, task)


def remarks(config: str, task: Task, unsure: str | None) -> list[str]:
    """What people should know of a config without faults that is not ours, one phrase each."""
    control = next(filter(_is_control, ElementTree.fromstring(config).iter()), None)
    if control is None:
        return []
    found = control_of(task).foreign(control, task, unsure)
    if not is_on(control, "required"):
        found.append(
            f"it lets people submit {control_of(task).without}, which counts as a skip "
            '(required="true" prevents that)'
        )
    return found


def _is_control(element: ElementTree.Element) -> bool:
    return get(element, "name") == CONTROL and get(element, "toname") is not None


def _wrong_target(control: ElementTree.Element, showing: AbstractSet[str | None], tag: str) -> list[str]:
    targets = (get(control, "toname") or "").split(",")
    if showing & {target.strip() for target in targets}:
        return []
    belongs = f'{tag} belong{"" if tag.endswith("s") else "s"} to "{targets[0]}"'
    return [f'its {belongs}, not to the text (toName="{min(map(str, showing))}")']


def result(value: JsonValue, confidence: float | None, control: Control) -> list[dict[str, JsonValue]]:
    """The ``result`` of an annotation or prediction that gives this label."""
    region: dict[str, JsonValue] = {"from_name": CONTROL, "to_name": TEXT, **control.region(value)}
    return [region if confidence is None else {**region, "score": confidence}]


def _refuse_unusable(spec: LabelStudioSpec, control: Control, task: Task) -> None:
    names = control.names(task)
    wordings = [control.wording(task, name) for name in names]
    if spec.unsure is not None and spec.unsure in (*names, *wordings, *task.spec.other_names):
        raise ConfigError(
            f"annotator.unsure: {spec.unsure!r} is also a label, so the two answers could not be distinguished. "
            "Use another text."
        )
    places = [(text, control.setting) for text in (*names, *wordings)]
    places += [(spec.unsure or "", "annotator.unsure"), (_question(spec, control), "annotator.question")]
    for text, setting in places:
        if re.search(UNUSABLE_CHARACTERS, text):
            raise ConfigError(
                f"{text!r} contains a control character, which a label config cannot contain. Remove it from {setting}."
            )


def _question(spec: LabelStudioSpec, control: Control) -> str:
    return control.question if spec.question is None else spec.question


def _digest(body: str) -> str:
    return hashlib.sha256(body.strip().encode()).hexdigest()[:16]
