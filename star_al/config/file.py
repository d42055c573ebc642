"""One YAML file → a validated ``CampaignSpec``. The only reader of YAML.

Unknown keys are refused with the file, the key and the nearest right name.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from star_al.config.spec import FROM_FILE, CampaignFile, CampaignSpec
from star_al.errors import ConfigError


def load_campaign(path: Path) -> CampaignFile:
    """Read and validate a campaign file.

    Raises:
        ConfigError: the file is missing, no YAML, or not a valid campaign.
    """
    tree = _read_yaml(path)
    try:
        spec = CampaignSpec.model_validate(tree, context=FROM_FILE)
    except ValidationError as exc:
        raise ConfigError(_explain(path, exc)) from exc
    return CampaignFile(path=path.resolve(), spec=spec)


def _read_yaml(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file. `star-al init` writes one.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not a text file (byte {exc.start} is no UTF-8).") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}).") from exc
    try:
        tree = yaml.load(text, Loader=_CampaignLoader)
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected a campaign (keys like name, data, task), found {type(tree).__name__}."
        )
    return tree


class _CampaignLoader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error and only true and false are booleans.

    Plain YAML 1.1 silently keeps the last of equal keys, and reads the labels yes, no, on and off as booleans.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        plain = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in plain]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = plain[position].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", mark)
        return super().construct_mapping(node, deep)


_CampaignLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_CampaignLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


_MAY_HOLD_SECRETS = {("annotator", "url"), ("annotator", "token_env")}
"""Settings whose wrong values are not printed, as somebody may have put a token there."""


def _explain(path: Path, error: ValidationError) -> str:
    found: dict[str, list[tuple[str, str]]] = {}
    for detail in error.errors():
        name, message, rest = _explain_one(detail)
        found.setdefault(name, []).append((message, rest))
    head = f"{path}: " + ("one setting is wrong" if len(found) == 1 else f"{len(found)} settings are wrong")
    return "\n".join([head, *(f"  {name}: {_either(ways)}" for name, ways in found.items())])


_EXPECTED = "Input should be "


def _either(ways: list[tuple[str, str]]) -> str:
    """One sentence of what is wrong with a setting that may be written in several ways."""
    first, *others = (message for message, _ in ways)
    if all(message.startswith(_EXPECTED) for message, _ in ways):
        said = " or ".join([first, *(message.removeprefix(_EXPECTED) for message in others)])
    else:
        said = "; or: ".join([first, *others])
    return said + max((rest for _, rest in ways), key=len)  # all tell the same value, and one may give advice


def _explain_one(detail: Any) -> tuple[str, str, str]:
    """The setting's name, what is wrong with it, and the value with advice."""
    section, location = _follow(tuple(part for part in detail["loc"] if not _is_union_tag(part)))
    name = ".".join(map(str, location)) or "campaign"
    if detail["type"] == "extra_forbidden":
        return name, f"unknown key.{_nearest(section, location)}", ""
    if detail["type"] == "missing":
        return name, "is needed.", ""
    if detail["type"] == "union_tag_not_found":
        return f"{name}.kind", "is needed.", ""
    if detail["type"] == "union_tag_invalid":
        given, known = detail["ctx"]["tag"], detail["ctx"]["expected_tags"].replace("'", "")
        advice = _did_you_mean(given, known.split(", "))
        return f"{name}.kind", f"there is no {given!r}; there are {known}.", advice
    if detail["type"] == "model_attributes_type":
        return name, f"is a section; write {name}: {{kind: …}}.", ""
    value = detail["input"]
    secret = location[:1] == ("database",) or location in _MAY_HOLD_SECRETS
    hidden = secret or isinstance(value, (dict, list, tuple, BaseModel))
    rest = "" if hidden else f" (given: {value!r})"
    if detail["type"] == "string_type":
        rest += "; put it in quotes"
    if detail["type"] == "literal_error":
        advice = _did_you_mean(value, re.findall("'(.+?)'", detail["ctx"]["expected"]))
        rest += advice and f".{advice}"
    return name, detail["msg"].removeprefix("Value error, "), rest


def _is_union_tag(part: object) -> bool:
    return isinstance(part, str) and bool(
        re.search(r"[\[(]|^OptionsPattern$|^str$|^tuple|^float$|^constrained-", part)
    )


def _nearest(section: type[BaseModel] | None, location: tuple[Any, ...]) -> str:
    if section is None:
        return ""
    names = list(section.model_fields)
    return _did_you_mean(location[-1], names) or f" Known keys: {', '.join(names)}."


def _did_you_mean(given: object, names: list[str]) -> str:
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _follow(location: tuple[Any, ...]) -> tuple[type[BaseModel] | None, tuple[Any, ...]]:
    """The section that the last part of ``location`` is in, null where there is none, and the name as written.

    pydantic puts the kind of a section that comes in several into the location, as if it were a key.
    """
    sections: list[type[BaseModel]] = [CampaignSpec]
    written = []
    for position, part in enumerate(location):
        kinds = [section for section in sections if _kind(section) == part]
        if kinds and len(sections) > 1:
            sections = kinds
            continue
        written.append(part)
        if position == len(location) - 1 or isinstance(part, int):
            continue
        fields = sections[0].model_fields if sections else {}
        sections = _models_in(fields[part].annotation) if part in fields else []
    return (sections[0] if sections else None), tuple(written)


def _kind(section: type[BaseModel]) -> str | None:
    """The value of a section's ``kind`` where it has a single one."""
    field = section.model_fields.get("kind")
    values = get_args(field.annotation) if field is not None else ()
    return values[0] if len(values) == 1 else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
