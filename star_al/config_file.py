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

from star_al.config import CampaignFile, CampaignSpec
from star_al.errors import ConfigError


def load_campaign(path: Path) -> CampaignFile:
    """Read and validate a campaign file.

    Raises:
        ConfigError: the file is missing, no YAML, or not a valid campaign.
    """
    tree = _read_yaml(path)
    try:
        spec = CampaignSpec.model_validate(tree)
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


def _explain(path: Path, error: ValidationError) -> str:
    lines = [_explain_one(detail) for detail in error.errors()]
    head = f"{path}: " + ("one setting is wrong" if len(lines) == 1 else f"{len(lines)} settings are wrong")
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _explain_one(detail: Any) -> str:
    location = tuple(part for part in detail["loc"] if not _is_union_tag(part))
    name = ".".join(map(str, location)) or "campaign"
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key.{_nearest(location)}"
    if detail["type"] == "missing":
        return f"{name}: is needed."
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "string_type":
        message += "; put it in quotes"
    hidden = location[:1] == ("database",) or isinstance(detail["input"], (dict, list, tuple, BaseModel))
    given = "" if hidden else f" (given: {detail['input']!r})"
    return f"{name}: {message}{given}"


def _is_union_tag(part: object) -> bool:
    return isinstance(part, str) and bool(re.search(r"[\[(]|^OptionsPattern$|^str$|^tuple", part))


def _nearest(location: tuple[Any, ...]) -> str:
    section = _section(location[:-1])
    if section is None:
        return ""
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known keys: {', '.join(names)}."


def _section(location: tuple[Any, ...]) -> type[BaseModel] | None:
    section: Any = CampaignSpec
    for part in location:
        if isinstance(part, int):
            continue
        if part not in section.model_fields:
            return None
        section = _model_in(section.model_fields[part].annotation)
        if section is None:
            return None
    return section if isinstance(section, type) and issubclass(section, BaseModel) else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
