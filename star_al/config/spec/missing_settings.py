"""What a setting means that is missing: in a campaign file, and in a campaign that an earlier version stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_al.config.spec.template import split_template

DEFAULT_MEASURES: Mapping[str, str] = {"text": "nll"}
"""Measures of campaign files that name none, by kind of task; without an entry, the default of the setting.

For the usual measure answers would have to be drawn, which takes several times as long."""

EARLIER_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "learner": {"kind": "lora", "taught": False},
    "adapter": {"output": "label_names"},
    "model": {"label_tolerance": 0.0},
}
"""What earlier versions did, which had no such settings, by section; a kind names the one that they belong to."""


def with_missing_settings(tree: Any, *, from_file: bool) -> Any:
    """Return settings with those that are missing and do not have the default of their field.

    Args:
        tree: The settings as written; what is no mapping is returned as it is.
        from_file: True for a campaign file, False for settings that a campaign was stored with.
    """
    if not isinstance(tree, dict):
        return tree
    if from_file:
        return _with_dropout(tree) if _needs_samples(tree.get("acquisition")) else tree
    tree = _with_earlier_sections(_with_dropout(_with_template_of_0_1(tree)))
    # A missing section has what earlier versions chose by, like one without a preset.
    return {"acquisition": {}, **tree}


def measure_of_kind(tree: Any) -> str | None:
    """The measure of a campaign file that names none; None for the default of the setting, or if it names one."""
    task, acquisition = tree.get("task"), tree.get("acquisition", {})
    if not isinstance(task, dict) or not isinstance(acquisition, dict) or "measure" in acquisition:
        return None
    return None if acquisition.get("preset") == "star" else DEFAULT_MEASURES.get(str(task.get("kind")))


def _needs_samples(acquisition: Any) -> bool:
    """True for STAR, and for BALD, which has no meaning without samples; if the head ranks, they are the head's."""
    return isinstance(acquisition, dict) and (
        acquisition.get("preset") == "star"
        or (acquisition.get("measure") in ("bald", "token_bald") and acquisition.get("scorer") != "head")
    )


def _with_dropout(tree: dict[str, Any]) -> dict[str, Any]:
    """MC dropout, where there is no section ``posterior``."""
    return {"posterior": {"kind": "mc_dropout"}, **tree}


def _with_earlier_sections(tree: dict[str, Any]) -> dict[str, Any]:
    for name, earlier in EARLIER_SETTINGS.items():
        section = tree.get(name, {})
        if isinstance(section, dict) and section.get("kind", earlier.get("kind")) == earlier.get("kind"):
            tree = tree | {name: {**earlier, **section}}
    return tree


def _with_template_of_0_1(tree: dict[str, Any]) -> dict[str, Any]:
    """In a campaign that version 0.1 stored, braces other than its three fields are text."""
    data, task = tree.get("data"), tree.get("task")
    if not isinstance(data, dict) or not isinstance(task, dict) or "header" in data or "subset" not in data:
        return tree
    template = task.get("template")
    if not isinstance(template, str) or "{text}" not in template or not split_template(template).columns:
        return tree
    return tree | {"task": {"template_columns": False} | task}
