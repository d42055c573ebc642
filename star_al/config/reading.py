"""Read YAML 1.2 safely into plain values, keeping texts as written and the line of each value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from star_al.config.given_settings import put_settings
from star_al.config.sections import kind_of, sections_in
from star_al.config.spec import Spec
from star_al.errors import ConfigError

MAX_LENGTH = 1_000_000
"""Characters of a file; a million take about 10 seconds to read."""

MAX_OPEN = 200
"""Brackets that may be open at once; the time to read them grows with the square of their number."""

MAX_VALUES = 100_000
"""Values that a file may hold once its aliases are expanded; a few lines of aliases can stand for billions."""

_TAG = "tag:yaml.org,2002:"
_TEXT, _NULL, _MERGE = _TAG + "str", _TAG + "null", _TAG + "merge"


@dataclass(frozen=True)
class Document:
    """The values of a YAML file, and where each stands."""

    tree: dict[str, Any]
    _root: Node
    _given: frozenset[tuple[str, ...]] = frozenset()

    def is_given(self, location: Sequence[str | int]) -> bool:
        """True if the value at ``location`` is not from the file, but was given beside it."""
        return any(tuple(location[: len(given)]) == given for given in self._given)

    def line(self, location: Sequence[str | int]) -> int | None:
        """The line, from 1, of the value at ``location``, or of the innermost section around it.

        None if the file has not even that section.
        """
        node: Node = self._root
        line = None
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line


def _child(node: Node, part: str | int) -> tuple[Node, int] | None:
    """The value under a key or at a position, with the line where its entry begins; None also if no file has it."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part and key.start_mark is not None:
                return value, key.start_mark.line + 1
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value, value.start_mark.line + 1
    return None


def read_document(path: Path, shape: type[Spec], settings: Sequence[str] = ()) -> Document:
    """Read a YAML file whose content is to become a ``shape``.

    A setting that takes text gets it as it is written, without quotes too: ``007``, ``1e3``, ``no`` and
    ``2026-01-31`` are fine labels and names.

    Args:
        path: The file.
        shape: What it is to become.
        settings: ``NAME=VALUE`` each, with a dotted name; they replace what the file says.

    Raises:
        ConfigError: The file cannot be read, is not valid YAML, names a key twice, or holds no mapping.
    """
    text = _read_text(path)
    try:
        yaml = YAML(typ="safe", pure=True)
        root = _compose(yaml, text)
        if not isinstance(root, MappingNode):
            raise ConfigError(
                f"{path}: expected a campaign (keys like name, data, task), found {_what(root)}."
            )
        given = put_settings(root, settings, lambda text: _compose(yaml, text))
        _Check().visit(root)
        _keep_text(root, shape)
        return Document(yaml.constructor.construct_document(root), root, given)
    except (YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: not valid YAML: {_reason(exc)}") from exc


def _compose(yaml: YAML, text: str) -> Node | None:
    _refuse_slow(text)
    node: Node | None = yaml.compose(text)
    return node


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such file. Name your campaign file, or let `star-al init` write one."
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not a text file (byte {exc.start} is not UTF-8).") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}).") from exc


def _refuse_slow(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise YAMLError(f"it is longer than {MAX_LENGTH:,} characters.")
    if max(accumulate((each in "[{") - (each in "]}") for each in text), default=0) > MAX_OPEN:
        raise RecursionError


def _what(root: Node | None) -> str:
    if root is None:
        return "an empty file"
    return "a list" if isinstance(root, SequenceNode) else "a single value"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {' '.join(str(error.problem).split())}."
    return " ".join(str(error).split())


class _Check:
    """Refuses keys that are given twice or are not text, aliases that contain themselves, and too many values."""

    def __init__(self) -> None:
        self._sizes: dict[int, int | None] = {}  # by node; None while the node's own values are counted

    def visit(self, node: Node) -> int:
        """The values in ``node``, with aliases expanded."""
        if id(node) not in self._sizes:
            self._sizes[id(node)] = None
            if isinstance(node, MappingNode):
                self._check_keys(node)
            self._sizes[id(node)] = 1 + sum(self.visit(child) for child in _children(node))
        size = self._sizes[id(node)]
        if size is None:
            raise _problem(node, "an alias contains itself")
        if size > MAX_VALUES:
            raise _problem(node, f"it holds more than {MAX_VALUES:,} values")
        return size

    def _check_keys(self, node: MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise _problem(key, "a key must be text")
            if key.tag != _MERGE:
                key.tag = _TEXT
            if key.value in seen:
                raise _problem(key, f"the key {key.value!r} is given twice")
            seen.add(key.value)


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        yield from (value for _, value in node.value)
    elif isinstance(node, SequenceNode):
        yield from node.value


def _problem(node: Node, words: str) -> YAMLError:
    return MarkedYAMLError(problem=words, problem_mark=node.start_mark)


# -- texts as they are written -------------------------------------------------------------------------


def _keep_text(node: Node, annotation: Any) -> None:
    """Make plain scalars text wherever ``annotation`` takes text and no number."""
    options = list(_alternatives(annotation))
    if isinstance(node, ScalarNode):
        if node.style is None and _takes_text(node, options):
            node.tag = _TEXT
    elif isinstance(node, SequenceNode):
        inner = [part for option in options if get_origin(option) is tuple for part in get_args(option)]
        for child in node.value:
            _keep_text(child, Union[tuple(inner)] if inner else None)  # noqa: UP007 (made from a list)
    elif isinstance(node, MappingNode):
        section = _section(node, options)
        for key, value in node.value:
            if key.tag == _MERGE:
                _keep_text(value, annotation)
            elif section is not None and key.value in section.model_fields:
                _keep_text(value, section.model_fields[key.value].annotation)
            elif any(get_origin(option) is dict for option in options):  # names and texts
                _keep_text(value, str)


def _takes_text(node: ScalarNode, options: list[Any]) -> bool:
    if {int, float, bool} & set(options):
        return False
    if node.tag == _NULL and (type(None) in options or node.value == ""):
        return False
    return str in options or any(getattr(option, "plain_form", None) for option in options)


def _section(node: MappingNode, options: list[Any]) -> type[Spec] | None:
    """The section that a mapping is, by its ``kind`` where there are several."""
    sections = [section for option in options for section in sections_in(option)]
    kinds = [value.value for key, value in node.value if key.value == "kind"]
    matching = [section for section in sections if kind_of(section) in kinds]
    return next(iter(matching or sections), None)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, through ``Annotated``; any other annotation is its only one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield annotation
