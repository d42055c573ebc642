"""Propose a first campaign for a user's data: what is not given is guessed from the data."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from star_al.app.guessing import guess_text, is_scale
from star_al.app.init_kinds import PROPOSALS, with_kind
from star_al.app.init_learner import (
    HEAD_SETTINGS,
    EstimateRound,
    Texts,
    head_settings,
    learner_settings,
    lora_settings,
)
from star_al.app.init_names import UnclearNames, described, unclear_by_form
from star_al.app.init_questions import Ask, with_answers
from star_al.app.init_reading import form_settings, read_data, text_columns_of
from star_al.app.init_request import CampaignRequest
from star_al.common.wording import count
from star_al.config.defaults import DEFAULT_MODEL
from star_al.config.spec import FROM_FILE, CampaignSpec
from star_al.data.columns import Profile
from star_al.data.languages import TEXTS_READ
from star_al.data.readers import read_rows
from star_al.errors import ConfigError
from star_al.models.prompt_template import WORDINGS


@dataclass(frozen=True, slots=True)
class _Answers:
    """A column of labels, if there is one, and how many rows it labels."""

    column: str | None
    filled: int
    n_rows: int

    @property
    def complete(self) -> bool:
        return self.filled >= self.n_rows


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
    request, form, data = read_data(request, say, ask)
    request = with_kind(request, data, tell, ask)
    if ask is not None:
        request = with_kind(with_answers(request, data, ask), data, tell)
    named = [request.label_column, request.text_column, request.id_column, *request.options]
    columns = text_columns_of(request, data) or [
        guess_text(data, {name for name in named if name is not None})
    ]
    text = max(columns, key=lambda name: data.columns[name].characters)
    _refuse_text_as_label(request, data, columns)
    n_rows = max(data.columns[name].filled for name in columns)
    kind = request.kind or ("multiple_choice" if request.options else "classification")
    task = PROPOSALS[kind].propose(request, data, n_rows)
    labels, answers = task.labels, _Answers(task.answers, task.filled, n_rows)
    for doubt in task.doubts:
        say(doubt)
    rehearsal = _is_rehearsal(request, data, answers)
    given = None if rehearsal else _given(data, answers, say)
    n_given = answers.filled if given else 0
    texts = Texts(n_rows, n_given, sum(data.columns[name].characters for name in columns) / max(1, n_rows))
    tree: dict[str, Any] = {
        "name": request.name or _slug(request.data),
        "data": _data(request, folder, text, given)
        | dict(task.data)
        | form_settings(request, data.table, form),
        "task": {**task.settings, "template": _template(kind, columns)},
        "model": _model(request, folder),
        "annotator": {"kind": "oracle", "gold": answers.column}
        if rehearsal
        else {"kind": request.annotator or "label_studio"},
        "evaluation": {
            "size": max(1, min(100, n_rows // 5)),
            "calibration": 0 if request.learner == "head" else min(30, n_rows // 10),  # a head needs none
        },
        "stopping": {"max_labels": max(1, min(500 + n_given, n_rows))},
    }
    if request.learner == "head":
        chosen = dict(HEAD_SETTINGS)
    else:
        spec = _validated(request, tree | lora_settings(texts))
        chosen = learner_settings(request, spec, texts, tell, estimate)
    spec = _validated(request, tree | chosen)
    if not spec.head_ranks:
        return spec
    sample = _sample(data, columns)
    chosen |= head_settings(sample, tell)
    spec = _validated(request, tree | chosen)
    if not labels or (answers.column is not None and is_scale(labels)):
        return spec  # of a scale, a remark has said already how to tell what the levels mean
    encoder = spec.head.encoder
    descriptions = described(labels, sample, encoder, ask=ask, tell=tell, unclear=unclear)
    tree["task"]["labels"] = _with_descriptions(labels, descriptions)
    return _validated(request, tree | chosen)


def _with_descriptions(labels: Sequence[str], descriptions: Mapping[str, str]) -> list[object]:
    return [
        {"name": label, "description": descriptions[label]} if label in descriptions else label
        for label in labels
    ]


def _sample(data: Profile, columns: Sequence[str]) -> list[str]:
    """The first texts of the data, as many as tell the language."""
    rows = (row.values for row in islice(read_rows(data.table), TEXTS_READ))
    return [" ".join(str(row[name]) for name in columns if row.get(name)) for row in rows]


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


def _validated(request: CampaignRequest, tree: dict[str, Any]) -> CampaignSpec:
    try:
        return CampaignSpec.model_validate(tree, context=FROM_FILE)
    except ValidationError as exc:
        reasons = "; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())
        raise ConfigError(
            f"{request.data}: cannot make a valid campaign from these options: {reasons}."
        ) from exc


def _refuse_text_as_label(request: CampaignRequest, data: Profile, columns: Sequence[str]) -> None:
    if request.label_column in columns and request.label_column not in request.options:
        raise ConfigError(
            f"{data.table.name}: column {request.label_column!r} cannot hold both the texts and the labels. Name "
            f"another --text-column or --label-column. Columns: {data.names}."
        )


def _is_rehearsal(request: CampaignRequest, data: Profile, answers: _Answers) -> bool:
    """Return whether an oracle answers, from a column that holds every answer."""
    if request.annotator in ("label_studio", "api") or (request.annotator is None and not answers.complete):
        return False
    if answers.complete:
        return True
    found = "no column has one" if answers.column is None else f"column {answers.column!r} has gaps"
    raise ConfigError(
        f"{data.table.name}: a rehearsal needs a column with a label in every row, and {found}. Name such a column "
        "with --label-column, or use --annotator label_studio to have people label."
    )


def _given(data: Profile, answers: _Answers, say: Callable[[str], None]) -> str | None:
    """The column of labels that people need not give again; None if nothing would be left to ask."""
    if not answers.filled:
        return None
    where = f"{data.table.name}: column {answers.column!r}"
    if answers.complete:
        say(f"{where} labels every row. It is not used: people label all texts again.")
        return None
    say(f"{where} has {count(answers.filled, 'label')}, which the first round trains on (data.label).")
    return answers.column


# -- paths and names -----------------------------------------------------------------------------------


def _data(request: CampaignRequest, folder: Path, text: str, label: str | None) -> dict[str, object]:
    options = request.options[0] if len(request.options) == 1 else tuple(request.options) or None
    return {
        "path": _relative(request.data, folder),
        "subset": request.subset,
        "split": request.split,
        "text": text,
        "id": request.id_column,
        "label": label,
        "options": options,
    }


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
