"""Propose a first campaign for a user's data: what is not given is guessed from the data."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from star_al.app.init.answers import Answers, find_answers
from star_al.app.init.found_data import FoundData, look_at
from star_al.app.init.guessing import is_scale
from star_al.app.init.learner import (
    HEAD_SETTINGS,
    EstimateRound,
    Texts,
    head_settings,
    learner_settings,
    lora_settings,
)
from star_al.app.init.names import UnclearNames, described, unclear_by_form
from star_al.app.init.questions import Ask
from star_al.app.init.reading import form_settings
from star_al.app.init.request import CampaignRequest
from star_al.config.defaults import DEFAULT_MODEL
from star_al.config.explaining import explain
from star_al.config.spec import FROM_FILE, CampaignSpec
from star_al.errors import ConfigError
from star_al.models.prompt_template import WORDINGS


def propose_campaign(
    request: CampaignRequest,
    folder: Path,
    say: Callable[[str], None] = lambda note: None,
    ask: Ask | None = None,
    estimate: EstimateRound | None = None,
    tell: Callable[[str], None] = lambda decision: None,
    unclear: UnclearNames = unclear_by_form,
) -> CampaignSpec:
    """Propose a campaign; reads all of the data once.

    Args:
        request: What the user says about it.
        folder: Where the campaign file will be; its paths are relative to it.
        say: Called with each sentence about a doubt.
        ask: Asks the user what cannot be told from the data; without it, guesses stand.
        estimate: Estimates how long a round of LoRA takes, which decides what is trained unless the user does;
            without it, LoRA is trained every round.
        tell: Called with a sentence about each decision, and about names of labels that say nothing.
        unclear: Finds such names.

    Returns:
        A valid specification.

    Raises:
        DataError: The data cannot be read, or lacks a named column or usable labels.
        ConfigError: The labels do not go together, or an oracle is requested and lacks answers.
    """
    found = look_at(request, say, ask, tell)
    answers = find_answers(found.request, found.data, found.task, found.n_rows, say)
    settings = _settings(found, answers, folder)
    settings |= _learner(found, answers, settings, tell, estimate)
    spec = _validated(settings)
    return _for_head(found, settings, ask, tell, unclear) if spec.head_ranks else spec


def _settings(found: FoundData, answers: Answers, folder: Path) -> dict[str, Any]:
    """All settings but those of what is trained."""
    request, n_rows = found.request, found.n_rows
    return {
        "name": request.name or _slug(request.data),
        "data": _data(found, answers.given, folder),
        "task": {**found.task.settings, "template": _template(found.kind, found.columns)},
        "model": _model(request, folder),
        "annotator": answers.annotator,
        "evaluation": {
            "size": max(1, min(100, n_rows // 5)),
            "calibration": 0 if request.learner == "head" else min(30, n_rows // 10),  # a head needs none
        },
        "stopping": {"max_labels": max(1, min(500 + answers.n_given, n_rows))},
    }


def _data(found: FoundData, label: str | None, folder: Path) -> dict[str, object]:
    """The section ``data``; of several columns of text, it names the longest."""
    request, profile = found.request, found.data
    options = request.options[0] if len(request.options) == 1 else tuple(request.options) or None
    return {
        "path": _relative(request.data, folder),
        "subset": request.subset,
        "split": request.split,
        "text": max(found.columns, key=lambda name: profile.columns[name].characters),
        "id": request.id_column,
        "label": label,
        "options": options,
        **found.task.data,
        **form_settings(request, profile.table, found.form),
    }


def _learner(
    found: FoundData,
    answers: Answers,
    settings: dict[str, Any],
    tell: Callable[[str], None],
    estimate: EstimateRound | None,
) -> Mapping[str, Any]:
    """The settings of what is trained, and of which model chooses."""
    if found.request.learner == "head":
        return HEAD_SETTINGS
    texts = Texts(found.n_rows, answers.n_given, found.characters)
    spec = _validated(settings | lora_settings(texts))
    return learner_settings(found.request, spec, texts, tell, estimate)


def _for_head(
    found: FoundData,
    settings: dict[str, Any],
    ask: Ask | None,
    tell: Callable[[str], None],
    unclear: UnclearNames,
) -> CampaignSpec:
    """The campaign with a head that can read the texts and the names of the labels."""
    sample, labels = found.sample(), found.task.labels
    settings = settings | head_settings(sample, tell)
    spec = _validated(settings)
    if not labels or (found.task.answers is not None and is_scale(labels)):
        return spec  # of a scale, a remark has said already how to tell what the levels mean
    descriptions = described(labels, sample, spec.head.encoder, ask=ask, tell=tell, unclear=unclear)
    task = settings["task"] | {"labels": _with_descriptions(labels, descriptions)}
    return _validated(settings | {"task": task})


def _with_descriptions(labels: Sequence[str], descriptions: Mapping[str, str]) -> list[object]:
    return [
        {"name": label, "description": descriptions[label]} if label in descriptions else label
        for label in labels
    ]


def _model(request: CampaignRequest, folder: Path) -> dict[str, str]:
    """The section of the language model; empty for a head, unless the user names one."""
    if request.model is None and request.learner == "head":
        return {}
    return {"name": _relative(request.model or DEFAULT_MODEL, folder)}


def _template(kind: str, columns: Sequence[str]) -> str | None:
    """The template for a text of several columns, a line each; None for one column."""
    if len(columns) < 2:
        return None
    lines = "\n".join(f"{name}: {{{name}}}" for name in columns)
    return lines + WORDINGS[kind].after_text


def _validated(tree: dict[str, Any]) -> CampaignSpec:
    try:
        return CampaignSpec.model_validate(tree, context=FROM_FILE)
    except ValidationError as exc:
        raise ConfigError(explain("these options", None, exc)) from exc


def _relative(name: str, folder: Path) -> str:
    """An existing path as the campaign file in ``folder`` should name it; a hub name is unchanged."""
    path = Path(name).expanduser()
    if not path.exists():
        return name
    if path.is_absolute() and not path.resolve().is_relative_to(folder.resolve()):
        return str(path)
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _slug(name: str) -> str:
    stem = Path(name).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64] or "campaign"
