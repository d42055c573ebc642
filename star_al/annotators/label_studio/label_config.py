"""The XML of a label config, which defines the labelling page: write it, and check the one that a project has.

Names in it are fixed: the object ``text`` shows ``data.text``, the control ``label`` holds the answer. A
comment carries the campaign's key and a hash of the rest, which shows whether somebody edited it by hand.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from star_al.annotators.label_studio.style import MANY, PAGE, ROWS, STYLE, TEXT_BOX, UNSURE, WHY_LINE
from star_al.common.wording import count
from star_al.config.spec import LabelStudioSpec
from star_al.errors import ConfigError
from star_al.task import LETTERS, ClosedTask
from star_al.types import Item, JsonValue

TEXT, CONTROL = "text", "label"
"""Names of the object and of the control. ``TEXT`` is also the key of the text in a task's data."""

OPTIONS, WHY = "options", "why"
"""Keys in a task's data: an item's options, and the reason why it was selected."""

HOTKEYS = "1234567890qwertyuiopasdfghjklzxcvbnm"

VERTICAL_UP_TO = 10
"""Choices that fit on a screen one below the other; more than these are laid out in lines."""

MANY_FROM = 24
"""More labels than this get smaller choices over the whole width."""

NAMED_LABELS = 10
"""Labels that a message lists."""

UNUSABLE_CHARACTERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
"""What XML cannot hold, and so no label in a label config."""

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


def write(spec: LabelStudioSpec, task: ClosedTask, campaign_key: str) -> str:
    """The label config of a campaign.

    Args:
        spec: Question, unsure choice, and whether the reason is shown.
        task: The labels.
        campaign_key: Goes into the comment.

    Raises:
        ConfigError: A label cannot be part of a label config; the message names it.
    """
    _refuse_unusable(spec, task)
    lines = [
        f"  <Style>{STYLE}  </Style>",
        f'  <View className="{_classes(spec, task)}">',
        f'    <Header value={_shown(_question(spec, task))} size="4"/>',
        f'    <View className="{TEXT_BOX}">',
        f'      <Text name="{TEXT}" value="${TEXT}" valueType="text"/>',
        "    </View>",
        *_choices(spec, task),
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


def faults(config: str, task: ClosedTask) -> list[str]:
    """Why a config that is not ours cannot collect our labels, one phrase for each reason."""
    try:
        tree = ElementTree.fromstring(config)
    except ElementTree.ParseError as exc:
        return [f"it is not valid XML ({exc})"]
    shown = {_get(element, "name") for element in tree.iter() if _get(element, "value") == f"${TEXT}"} - {
        None
    }
    found = [] if shown else [f'it does not show the text (a Text with value="${TEXT}")']
    control = next((element for element in tree.iter() if _is_control(element)), None)
    if control is None:
        return [*found, f'it has no Choices with name="{CONTROL}"']
    if control.tag.lower() != "choices":
        return [*found, f'its "{CONTROL}" is a {control.tag}, not a Choices']
    found += _wrong_target(control, shown) if shown else []
    return found + _several_choices(control) + _missing(control, task)


def remarks(config: str, task: ClosedTask, unsure: str | None) -> list[str]:
    """What people should know of a config without faults that is not ours, one phrase each."""
    control = next(filter(_is_control, ElementTree.fromstring(config).iter()), None)
    if control is None:
        return []
    found = []
    if not task.is_multiple_choice:
        others = [name for name in _offered(control) if name != unsure and task.find((), name) is None]
        verb = "is not a label" if len(others) == 1 else "are not labels"
        if others:
            found.append(
                f"it also offers {_listed(others)}, which {verb} of the campaign: such an answer does not count"
            )
    if not _is_on(control, "required"):
        found.append(
            'it lets people submit without a choice, which counts as a skip (required="true" prevents that)'
        )
    return found


def _is_control(element: ElementTree.Element) -> bool:
    return _get(element, "name") == CONTROL and _get(element, "toname") is not None


def _get(element: ElementTree.Element, attribute: str) -> str | None:
    """An attribute by its name in lower case: Label Studio does not distinguish the case."""
    return next((value for name, value in element.attrib.items() if name.lower() == attribute), None)


def _wrong_target(control: ElementTree.Element, shown: AbstractSet[str | None]) -> list[str]:
    targets = (_get(control, "toname") or "").split(",")
    if shown & {target.strip() for target in targets}:
        return []
    return [f'its Choices belong to "{targets[0]}", not to the text (toName="{min(map(str, shown))}")']


def _several_choices(control: ElementTree.Element) -> list[str]:
    """What lets people give more than one label, or something else than a label."""
    found = []
    if (_get(control, "choice") or "single").lower() not in ("single", "single-radio"):
        found.append('its Choices let people choose several labels (choice="single")')
    for attribute, what in (("perRegion", "region"), ("perItem", "item")):
        if _is_on(control, attribute.lower()):
            found.append(
                f'its Choices ask once for each {what}, not once for each text ({attribute}="false")'
            )
    if _is_on(control, "allownested"):
        found.append('its Choices are nested (allowNested="false")')
    return found


def _is_on(control: ElementTree.Element, attribute: str) -> bool:
    return (_get(control, attribute) or "").lower() in ("true", "1")


def _missing(control: ElementTree.Element, task: ClosedTask) -> list[str]:
    if task.is_multiple_choice:
        if _get(control, "value") == f"${OPTIONS}":
            return []
        return [f'its Choices do not come from the task (value="${OPTIONS}")']
    there = {task.find((), name) for name in _offered(control)}
    missing = [name for name in task.spec.label_names if name not in there]
    return [f"it lacks {count(len(missing), 'label')}: {_listed(missing)}"] if missing else []


def _offered(control: ElementTree.Element) -> list[str]:
    """What an annotation holds for each choice."""
    choices = (element for element in control.iter() if element.tag.lower() == "choice")
    return [_get(choice, "alias") or _get(choice, "value") or "" for choice in choices]


def _listed(names: Sequence[str]) -> str:
    """The first of the names in quotes, and how many more there are."""
    more = f" and {len(names) - NAMED_LABELS:,} more" if len(names) > NAMED_LABELS else ""
    return ", ".join(map(repr, names[:NAMED_LABELS])) + more


def options(item: Item, unsure: str | None) -> list[dict[str, str]]:
    """The choices of a multiple-choice item; each is shown with its letter, which is also its value."""
    choices = [
        {"value": _plain(clean(f"{letter}. {option}")), "alias": letter, "hotkey": hotkey}
        for letter, option, hotkey in zip(LETTERS, item.options, HOTKEYS, strict=False)
    ]
    if unsure is not None:
        choices.append({"value": _plain(unsure), "alias": unsure, "hotkey": HOTKEYS[len(choices)]})
    return choices


def clean(text: str) -> str:
    """Replace what JSON or the server's database cannot hold: NUL and halves of surrogate pairs."""
    return re.sub(r"[\x00\ud800-\udfff]", "\ufffd", text)


def result(value: JsonValue, confidence: float | None) -> list[dict[str, JsonValue]]:
    """The ``result`` of an annotation or prediction that chooses this label."""
    region: dict[str, JsonValue] = {
        "from_name": CONTROL,
        "to_name": TEXT,
        "type": "choices",
        "value": {"choices": [value]},
    }
    return [region if confidence is None else {**region, "score": confidence}]


def _refuse_unusable(spec: LabelStudioSpec, task: ClosedTask) -> None:
    names: Sequence[str] = LETTERS if task.is_multiple_choice else task.spec.label_names
    if spec.unsure is not None and spec.unsure in names:
        raise ConfigError(
            f"annotator.unsure: {spec.unsure!r} is also a label, so the two answers could not be distinguished. "
            "Use another text."
        )
    for name in [*names, spec.unsure or "", _question(spec, task)]:
        if re.search(UNUSABLE_CHARACTERS, name):
            raise ConfigError(
                f"{name!r} contains a control character, which a label config cannot contain. "
                "Remove it from task.labels, annotator.question or annotator.unsure."
            )


def _question(spec: LabelStudioSpec, task: ClosedTask) -> str:
    if spec.question is not None:
        return spec.question
    return "Which option is right?" if task.is_multiple_choice else "Which label fits this text?"


def _classes(spec: LabelStudioSpec, task: ClosedTask) -> str:
    many = not task.is_multiple_choice and len(task.spec.label_names) > MANY_FROM
    return " ".join(
        [
            PAGE,
            *([ROWS] if task.is_multiple_choice else []),
            *([MANY] if many else []),
            *([] if spec.unsure is None else [UNSURE]),
        ]
    )


def _choices(spec: LabelStudioSpec, task: ClosedTask) -> list[str]:
    common = f'name="{CONTROL}" toName="{TEXT}" choice="single-radio" required="true"'
    required = 'requiredMessage="Choose one, or skip the task."'
    if task.is_multiple_choice:
        return [f'    <Choices {common} {required} layout="vertical" value="${OPTIONS}"/>']
    names = [*task.spec.label_names, *([] if spec.unsure is None else [spec.unsure])]
    layout = "vertical" if len(names) <= VERTICAL_UP_TO else "inline"
    hotkeys = [f' hotkey="{key}"' for key in HOTKEYS] + [""] * len(names)
    choices = [
        f"      <Choice value={_shown(name)} alias={_attribute(name)}{hotkey}/>"
        for name, hotkey in zip(names, hotkeys, strict=False)
    ]
    # Answers with an earlier name stay valid for the server, which refuses a config without them.
    hidden = [
        f'      <Choice value={_shown(old)} alias={_attribute(old)} style="display: none"/>'
        for old in task.spec.renamed
    ]
    return [f'    <Choices {common} {required} layout="{layout}">', *choices, *hidden, "    </Choices>"]


def _shown(text: str) -> str:
    return _attribute(_plain(text))


def _plain(text: str) -> str:
    """Text for a place where Label Studio would replace ``$name`` by a field of the task.

    An invisible word joiner (U+2060) after the dollar sign prevents that.
    """
    return text.replace("$", "$\u2060")


def _attribute(text: str) -> str:
    """A quoted XML attribute that keeps line breaks."""
    for character in "&<>\"'\n\r\t":
        text = text.replace(character, f"&#{ord(character)};")
    return f'"{text}"'


def _digest(body: str) -> str:
    return hashlib.sha256(body.strip().encode()).hexdigest()[:16]
