"""Read and write the XML of a label config: attributes, and texts as Label Studio shows them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

UNUSABLE_CHARACTERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
"""What XML cannot hold, and so no label in a label config."""


def get(element: ElementTree.Element, attribute: str) -> str | None:
    """Return an attribute by its name in lower case: Label Studio does not distinguish the case."""
    return next((value for name, value in element.attrib.items() if name.lower() == attribute), None)


def is_on(element: ElementTree.Element, attribute: str) -> bool:
    """Return whether an attribute says true."""
    return (get(element, attribute) or "").lower() in ("true", "1")


def shown(text: str) -> str:
    """Return a text as a quoted attribute that Label Studio shows as it is."""
    return attribute(plain(text))


def plain(text: str) -> str:
    """Return text for a place where Label Studio would replace ``$name`` by a field of the task.

    An invisible word joiner (U+2060) after the dollar sign prevents that.
    """
    return text.replace("$", "$\u2060")


def attribute(text: str) -> str:
    """Return a quoted XML attribute that keeps line breaks."""
    for character in "&<>\"'\n\r\t":
        text = text.replace(character, f"&#{ord(character)};")
    return f'"{text}"'


def clean(text: str) -> str:
    """Replace what JSON or the server's database cannot hold: NUL and halves of surrogate pairs."""
    return re.sub(r"[\x00\ud800-\udfff]", "\ufffd", text)
