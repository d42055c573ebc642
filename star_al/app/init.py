"""A first campaign file from a data file: columns guessed where not named, every setting commented."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from star_al.config.spec import CampaignSpec, LabelSpec, normalise_label, scalar_text
from star_al.config.writing import to_one_line
from star_al.data.readers import read_rows
from star_al.data.source import Table, locate_here
from star_al.errors import ConfigError, DataError

MAX_LABELS = 100
"""A column with more distinct values than this is no column of labels."""

FEW_LABELS = 10
"""More labels than this must each be there twice on average, else they are taken for names or ids."""

TEXT_NAMES = ("text", "content", "body", "message", "question", "sentence", "review", "comment", "document")
"""Names of text columns, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says about the campaign to propose; null is for star_al to find out.

    ``data`` and ``model`` are names, or paths relative to the current folder. ``labels`` are all the labels;
    without them those in ``label_column`` are taken. ``options`` makes it multiple choice: one column of
    lists, or several columns. ``annotator`` is ``oracle`` or ``label_studio``; null: people, unless a column
    has the answer to every row, so that a rehearsal costs nobody's time.
    """

    data: str
    model: str
    name: str | None = None
    labels: Sequence[str] | None = None
    label_column: str | None = None
    text_column: str | None = None
    id_column: str | None = None
    options: Sequence[str] = ()
    annotator: str | None = None
    subset: str | None = None
    split: str = "train"


def propose_campaign(wish: Wish, folder: Path, say: Callable[[str], None] = lambda note: None) -> str:
    """The commented YAML of a campaign whose file will lie in ``folder``; reads all of the data once.

    ``say`` is told what the user should look at again.

    Raises:
        DataError: the data cannot be read, or a named column or usable labels are not in it.
        ConfigError: the labels cannot be used together, or an oracle is wished for and has not every answer.
    """
    _refuse_few_labels(wish)
    table = locate_here(wish.data, subset=wish.subset, split=wish.split)
    columns = _profile(table)
    named = (wish.label_column, wish.text_column, wish.id_column, *wish.options)
    _require(table, columns, [name for name in named if name is not None])
    text = wish.text_column or _guess_text(table, columns, {*named} - {None})
    if text == wish.label_column:
        raise ConfigError(
            f"{table.name}: column {text!r} cannot be both text and label. Name another --text-column or "
            f"--label-column. Columns: {', '.join(columns)}."
        )
    labels = () if wish.options else _labels(table, columns, wish)
    n_rows = columns[text].filled
    answers = wish.label_column or _answers(columns, labels, n_rows)
    if answers is not None:
        _tell_unused(table, columns[answers], answers, labels, say)
    n_answers = 0 if answers is None else columns[answers].filled
    rehearsal = _is_rehearsal(table, wish, answers, complete=n_answers >= n_rows)
    given = None if rehearsal else _given(table, answers, n_answers, n_rows, say)
    tree = {
        "name": wish.name or _slug(wish.data),
        "data": _data(wish, folder, text, given),
        "task": {"kind": "multiple_choice" if wish.options else "classification", "labels": labels},
        "model": {"name": _relative(wish.model, folder)},
        "annotator": {"kind": "oracle", "gold": answers} if rehearsal else {"kind": "label_studio"},
        "evaluation": {"size": max(1, min(100, n_rows // 5)), "calibration": min(30, n_rows // 10)},
        "stopping": {"max_labels": max(1, min(500 + (n_answers if given else 0), n_rows))},
    }
    try:
        spec = CampaignSpec.model_validate(tree)
    except ValidationError as exc:
        reasons = "; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())
        raise ConfigError(f"{wish.data}: no campaign can be made of this: {reasons}.") from exc
    return render(spec)


# -- what is in the data -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Column:
    """What one column holds, over all rows; ``values`` is null once there are too many for labels."""

    filled: int = 0
    characters: int = 0  # of the values that are text
    values: Counter[str] | None = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        if value is None or value != value or (isinstance(value, str) and not value.strip()):  # noqa: PLR0124 (NaN)
            return
        self.filled += 1
        if isinstance(value, str):
            self.characters += len(value)
        if self.values is None:
            return
        label = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value)
        if isinstance(label, str):
            self.values[" ".join(label.split())] += 1
        if not isinstance(label, str) or len(self.values) > MAX_LABELS:
            self.values = None


def _profile(table: Table) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    for row in read_rows(table):
        for name, value in row.values.items():
            columns.setdefault(name, _Column()).add(value)
    return columns


def _require(table: Table, columns: dict[str, _Column], names: list[str]) -> None:
    for name in names:
        if name not in columns:
            raise DataError(f"{table.name}: there is no column {name!r}. Columns: {', '.join(columns)}.")


def _guess_text(table: Table, columns: dict[str, _Column], taken: set[str | None]) -> str:
    texts = {name: column for name, column in columns.items() if column.characters and name not in taken}
    if not texts:
        raise DataError(f"{table.name}: no column holds text. Columns: {', '.join(columns)}.")
    by_name = {name.casefold(): name for name in reversed(texts)}
    likely = next((by_name[name] for name in TEXT_NAMES if name in by_name), None)
    return likely or max(texts, key=lambda name: texts[name].characters)


def _labels(table: Table, columns: dict[str, _Column], wish: Wish) -> tuple[str, ...]:
    """The labels given, or those of the label column, the most frequent first."""
    if wish.labels is not None:
        _refuse_others(table, columns, wish)
        return tuple(wish.labels)
    if wish.label_column is None:
        raise ConfigError(
            f"{table.name}: which labels are there? Give --labels with their names, or --label-column with a "
            f"column that holds them. Columns: {', '.join(columns)}."
        )
    values = columns[wish.label_column].values
    if values is None:
        raise DataError(
            f"{table.name}: column {wish.label_column!r} holds more than {MAX_LABELS} values, or values that "
            "are no labels. Name another column, or give --labels with the names."
        )
    spellings: dict[str, str] = {}
    totals: Counter[str] = Counter()
    for value, count in values.most_common():
        spellings.setdefault(normalise_label(value), value)  # the most frequent spelling stands for all
        totals[normalise_label(value)] += count
    if len(totals) < 2:
        raise DataError(
            f"{table.name}: column {wish.label_column!r} holds {len(totals)} label(s); two are needed."
        )
    n_filled = totals.total()
    if len(totals) > FEW_LABELS and 2 * len(totals) > n_filled:
        raise DataError(
            f"{table.name}: column {wish.label_column!r} holds {len(totals)} different values in {n_filled} rows, "
            "which are hardly labels. Name another column, or give --labels with the names."
        )
    return tuple(spellings[key] for key in sorted(totals, key=lambda key: (-totals[key], key)))


def _refuse_few_labels(wish: Wish) -> None:
    if wish.labels is not None and not wish.options and len(wish.labels) < 2:
        raise ConfigError(f"--labels gives {len(wish.labels)} label(s); two labels are needed, as a,b.")


def _tell_unused(
    table: Table, column: _Column, name: str, labels: tuple[str, ...], say: Callable[[str], None]
) -> None:
    """Tell of labels that no row has, which may be slips, and of rows that have each a label of their own."""
    found = {normalise_label(value) for value in column.values or ()}
    unused = [label for label in labels if normalise_label(label) not in found]
    if unused:
        say(f"{table.name}: no row has the label {' or '.join(map(repr, unused))} in column {name!r}.")
    if labels and len(found) == column.filled:
        say(f"{table.name}: no two rows have the same label in column {name!r}. Is it the column of labels?")


def _refuse_others(table: Table, columns: dict[str, _Column], wish: Wish) -> None:
    """Refuse a label column that holds what is not among the given labels."""
    found = columns[wish.label_column].values if wish.label_column else Counter()
    known = {normalise_label(label) for label in wish.labels or ()}
    others = None if found is None else [value for value in found if normalise_label(value) not in known]
    if others is None or others:
        what = "many values" if others is None else ", ".join(map(repr, others[:5]))
        raise DataError(
            f"{table.name}: column {wish.label_column!r} holds {what}, not among the labels "
            f"{', '.join(wish.labels or ())}. Add them to --labels, or correct the column."
        )


def _is_rehearsal(table: Table, wish: Wish, answers: str | None, *, complete: bool) -> bool:
    """Whether an oracle answers, from a column that holds every answer."""
    if wish.annotator == "label_studio" or (wish.annotator is None and not complete):
        return False
    if complete:
        return True
    state = "no column is" if answers is None else f"column {answers!r} is not"
    raise ConfigError(
        f"{table.name}: {state} filled with labels in every row, as a rehearsal by an oracle needs. Give "
        "--label-column with a fully labelled file, or --annotator label_studio for people to label."
    )


def _given(
    table: Table, answers: str | None, n_answers: int, n_rows: int, say: Callable[[str], None]
) -> str | None:
    """The column of labels that people need not give again; null where nothing would be left to ask."""
    if answers is None or n_answers == 0:
        return None
    if n_answers >= n_rows:
        say(f"{table.name}: column {answers!r} labels every row; it is left aside, people label anew.")
        return None
    say(f"{table.name}: the {n_answers:,} labels in column {answers!r} start round 0 (data.label).")
    return answers


def _answers(columns: dict[str, _Column], labels: tuple[str, ...], n_rows: int) -> str | None:
    """The first column that holds nothing but the labels, if possible in every row."""
    known = {normalise_label(label) for label in labels}
    found = [
        name
        for name, column in columns.items()
        if column.values and {normalise_label(value) for value in column.values} <= known
    ]
    return next((name for name in found if columns[name].filled >= n_rows), found[0] if found else None)


# -- paths and names -----------------------------------------------------------------------------------


def _data(wish: Wish, folder: Path, text: str, label: str | None) -> dict[str, object]:
    options = wish.options[0] if len(wish.options) == 1 else tuple(wish.options) or None
    return {
        "path": _relative(wish.data, folder),
        "subset": wish.subset,
        "split": wish.split,
        "text": text,
        "id": wish.id_column,
        "label": label,
        "options": options,
    }


def _relative(name: str, folder: Path) -> str:
    """An existing path as the campaign file in ``folder`` should name it; a hub name as it is."""
    path = Path(name).expanduser()
    if not path.exists():
        return name
    if path.is_absolute() and not path.resolve().is_relative_to(folder.resolve()):
        return str(path)
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _slug(name: str) -> str:
    stem = Path(name).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64] or "campaign"


# -- YAML ----------------------------------------------------------------------------------------------


def render(spec: CampaignSpec) -> str:
    """A specification as YAML with all its settings, each with a comment; ``load_campaign`` reads it back."""
    head = "# A star_al campaign. Run it with: star-al run THIS-FILE\n"
    return head + "\n".join(_render_fields(spec, "", "")) + "\n"


def _render_fields(section: BaseModel, prefix: str, indent: str) -> list[str]:
    lines: list[str] = []
    for name in type(section).model_fields:
        value, comment = getattr(section, name), COMMENTS[prefix + name]
        if not prefix and name not in ("name", "seed"):
            lines.append("")
        if isinstance(value, BaseModel):
            lines += [
                f"{indent}{name}:  # {comment}",
                *_render_fields(value, f"{prefix}{name}.", indent + "  "),
            ]
        elif isinstance(value, tuple) and value:
            lines += [f"{indent}{name}:  # {comment}", *(f"{indent}  - {_entry(entry)}" for entry in value)]
        else:
            lines.append(f"{indent}{name}: {to_one_line(list(value) if value == () else value)}  # {comment}")
    return lines


def _entry(value: Any) -> str:
    if isinstance(value, LabelSpec):
        return to_one_line(value.name if value.verbaliser is None else value.model_dump())
    return to_one_line(value)


COMMENTS = {
    "name": "letters, digits, dot, dash; unique in the database",
    "seed": "every random choice follows from it",
    "data": "the texts to label",
    "data.path": "a .jsonl, .csv or .parquet file, a saved datasets folder, or a datasets name",
    "data.subset": "configuration of a datasets name",
    "data.split": "split of a datasets name or folder",
    "data.text": "the column with the text",
    "data.id": "your own id column, or null",
    "data.label": "a column of labels that people have given already; they start round 0",
    "data.options": "multiple choice: a column of lists, several columns, or {pattern: …} on the text",
    "data.options.pattern": "each match is one option, in its group (?P<option>…), and leaves the text",
    "task": "what is asked about each text",
    "task.kind": "classification | multiple_choice",
    "task.labels": "a name, or {name: …, verbaliser: how the model says it}",
    "task.instruction": "first lines of the prompt; null: a plain one",
    "task.template": "the user's message, with {text}, {labels}, {options}; null: a plain one",
    "task.chat_template": "use the model's chat template where it has one",
    "task.answer": "multiple choice: score the letter or the text of an option",
    "task.contextual_calibration": "divide base probabilities by those of an empty input",
    "model": "any causal language model of transformers",
    "model.name": "a hub name or a folder with safetensors",
    "model.revision": "branch, tag or commit of a hub name",
    "model.dtype": "auto | bfloat16 | float32; auto: a short probe decides",
    "model.device": "auto | cpu | cuda | cuda:1 | mps",
    "model.max_tokens": "of prompt and text; the text is cut to fit",
    "model.batch_tokens": "padded tokens in a scoring batch",
    "model.trunk_cache_gb": "of disk, at most, for what adapter.layers lets be kept",
    "adapter": "LoRA and its training; the defaults suit a few hundred labels",
    "adapter.rank": "of the two matrices",
    "adapter.alpha": "scale is alpha / rank",
    "adapter.dropout": "on the adapter's input; the posterior samples draw from it",
    "adapter.target_modules": "auto | all-linear | a list of module names",
    "adapter.layers": "adapt the last so many blocks alone; null: all",
    "adapter.learning_rate": "of AdamW",
    "adapter.epochs": "passes over the labels each round",
    "adapter.min_steps": "train longer when few labels make few steps",
    "adapter.batch_size": "examples a step",
    "adapter.warmup_ratio": "share of the steps in which the learning rate rises",
    "adapter.weight_decay_b": "decoupled, on matrix B alone (STAR)",
    "adapter.max_grad_norm": "gradients are clipped to it",
    "adapter.warm_start": "start from the last round's adapter instead of a fresh one",
    "posterior": "how the model's uncertainty is sampled",
    "posterior.kind": "map | mc_dropout | ensemble | laplace | clora | tfb",
    "posterior.samples": "more cost more time and are less noisy",
    "posterior.members": "adapters trained each round, each with its own seed and order",
    "posterior.function_decay": "keeps the members near the base model",
    "posterior.subset": "all | last_layer: which adapted matrices are uncertain",
    "posterior.n_kfac": "rank of the wide Kronecker factors",
    "posterior.prior_precision": "higher is narrower, wide models: 3 × hidden size; or evidence, often far too wide",
    "posterior.context": "sequence | token: what the Gaussian depends on",
    "posterior.prior_std": "of the Gaussian's entries",
    "posterior.hidden": "width of the context networks",
    "posterior.kl_weight": "auto: chosen on held-out labels; or a number",
    "posterior.learning_rate": "of the context networks",
    "posterior.tolerance": "how much the training loss may rise by the noise",
    "acquisition": "which texts are asked next",
    "acquisition.measure": "entropy | margin | least_confidence | bald | epig",
    "acquisition.epig_targets": "epig: random texts whose answers it is to help with",
    "acquisition.blend": "how base and adapted uncertainty are combined (STAR)",
    "acquisition.blend.kind": "schedule | constant | off | measured (on held-out labels)",
    "acquisition.blend.weight": "of the adapted model, for kind: constant",
    "acquisition.blend.normalise": "minmax | rank",
    "acquisition.batch": "how the batch is taken from the ranking",
    "acquisition.batch.kind": "top_k | power | random | batchbald | badge | k_centre | facility_location",
    "acquisition.batch.beta": "power: higher is greedier",
    "acquisition.batch.top": "of the ranking, that a diversified batch is chosen from",
    "acquisition.batch.near_duplicates": "texts this similar are not asked twice, e.g. 0.8; null: off",
    "acquisition.batch.balance": "labels that have been given least come first",
    "acquisition.batch_size": "labels asked each round",
    "acquisition.cold_start": "random | base_uncertainty | typical: round 0 without any label",
    "acquisition.control_share": "of each batch at random, to see what active learning brings; trains twice",
    "acquisition.candidates": "score a random part of the pool each round; null: all of it",
    "acquisition.adaptive_samples": "of 16 or more, drawn first; then more for close cases; null: all for each",
    "annotator": "who answers",
    "annotator.kind": "oracle: a rehearsal that answers from a column | label_studio: people",
    "annotator.gold": "the column with the right answers",
    "annotator.accuracy": "below 1: it errs at this rate, the same way each time",
    "annotator.skips": "share of the texts that it skips",
    "annotator.url": "of a Label Studio server; null: the local one that `star-al up` starts",
    "annotator.token_env": "with a url: the environment variable that holds your access token",
    "annotator.project": "the id of a project to use; null: one is made, and found again",
    "annotator.title": "of the new project; null: the campaign's name",
    "annotator.guidelines": "plain text, shown to annotators as the project's instruction",
    "annotator.question": "the line above the labels; null: a plain one",
    "annotator.unsure": "the text of one more choice, which counts as a skip; null: none",
    "annotator.show_prediction": "show annotators the model's answer; it biases them",
    "annotator.show_reason": "show annotators why a text was asked",
    "annotator.deleted": "restore | drop: open tasks that somebody deletes in Label Studio",
    "annotator.timeout": "seconds that one request may take",
    "labelling": "how answers become labels, and when a round has enough of them",
    "labelling.overlap": "people who answer each text",
    "labelling.settle": "majority | dawid_skene",
    "labelling.skipped": "drop | ask_again: as a new task | ask_another: person",
    "labelling.disputed": "drop | ask_again: only the new answers count | ask_another: person, to decide",
    "labelling.max_attempts": "tasks a text at most, then it is dropped",
    "labelling.close_share": "a round closes when this share is answered; late answers still count",
    "labelling.close_after_hours": "or after this time; null: it waits",
    "labelling.buffer": "further texts to label while the model trains",
    "evaluation": "on what the model is measured",
    "evaluation.kind": "test: a labelled file | audit: random texts, asked first, never trained on | none",
    "evaluation.path": "test: the file",
    "evaluation.split": "test: the split of a datasets name or folder",
    "evaluation.label": "test: its label column; null: as in the data",
    "evaluation.size": "audit: how many texts",
    "evaluation.grow": "audit: further texts asked each round, drawn at import too",
    "evaluation.max_size": "audit: until there are so many",
    "evaluation.calibration": "further random texts for the temperature, asked with kind: none too; 0: none",
    "evaluation.stop_set": "texts whose predictions are compared over the rounds",
    "stopping": "when the campaign ends; null: the rule is off",
    "stopping.automatic": "goals (target, stable, gain) end the campaign, too; false: they are advice",
    "stopping.max_labels": "human labels in all, audit and calibration included",
    "stopping.max_rounds": "trained rounds after round 0",
    "stopping.target_accuracy": "between 0 and 1; reached when a confidence sequence lies above it",
    "stopping.confidence": "of that sequence, over all rounds together",
    "stopping.stable_agreement": "of the stop set's predictions with the round before, between 0 and 1",
    "stopping.stable_rounds": "rounds in a row that must agree",
    "stopping.min_gain": "accuracy that 100 further labels are expected to bring, at least",
    "database": "where rounds, labels and statistics are kept",
    "database.url": "null: SQLite beside this file; Postgres: postgresql://user:${PASSWORD}@host/name",
    "database.lease_seconds": "a silent controller loses the campaign after this",
    "artefacts": "folder of adapters and score files; null: <name>-artefacts beside this file",
}
"""The comment of each setting, by dotted name."""
