"""What `init` took for what, and what the campaign it wrote will do, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.app.init.starter_file import Written
from star_al.common.wording import count
from star_al.config.spec import LABEL_COLUMNS, CampaignSpec
from star_al.data import data_source, source_of
from star_al.data.dialects import describe, text_form
from star_al.data.source import TEXT_FORMATS

SHOWN = 8
"""Names of columns or labels that a sentence lists."""


def findings(written: Written) -> list[str]:
    """How the file was read, which column holds the texts, the labels, and how many questions come when."""
    spec, table = written.file.spec, data_source(written.file).table
    sentences = [f"Read {describe(table, text_form(table))}"] if table.format in TEXT_FORMATS else []
    labelled = answers_of(spec)
    texts = source_of(table, spec, gold=None).text_columns
    options = spec.data.options if isinstance(spec.data.options, tuple) else ()
    known = {*texts, *options, *labelled, spec.data.id, LABEL_COLUMNS}
    others = [name for name in written.columns if name not in known]
    noun = "column" if len(texts) == 1 else "columns"
    sentences.append(f"Texts: {noun} {', '.join(map(repr, texts))}.{_other_columns(others)}")
    column = f" ({columns_in_words(labelled)})" if labelled else ""
    sentences.append(f"Labels: {_labels(spec)}{column}.")
    sentences.append(questions(spec, written.texts))
    candidates = spec.acquisition.candidates
    if candidates is not None:
        sentences.append(
            f"The pool is large: each round scores {count(candidates, 'random text')} of it (acquisition.candidates)."
        )
    return sentences


def answers_of(spec: CampaignSpec) -> tuple[str, ...]:
    """The columns of labels that the data have already; none if people give them all."""
    name = spec.gold_column or spec.data.label
    if name == LABEL_COLUMNS and spec.data.label_columns:
        return spec.data.label_columns
    return () if name is None else (name,)


def columns_in_words(names: Sequence[str]) -> str:
    """One or several columns by their names."""
    more = f" and {count(len(names) - SHOWN, 'more', 'more')}" if len(names) > SHOWN else ""
    return f"{'column' if len(names) == 1 else 'columns'} {', '.join(map(repr, names[:SHOWN]))}{more}"


def _labels(spec: CampaignSpec) -> str:
    task = spec.task
    if task.is_written:
        return "answers in free words"
    if task.has_completions:
        return "the two completions of each prompt, or a tie"
    names = ", ".join(task.label_names) or "the options of each text"
    return f"any number of {names}" if task.has_label_sets else names


def _other_columns(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {count(len(names) - SHOWN, 'more', 'more')}" if len(names) > SHOWN else ""
    others = f"{', '.join(names[:SHOWN])}{more}"
    return f" Other columns: {others}. To take another one, or several (a,b), use --text-column."


def questions(spec: CampaignSpec, n_texts: int) -> str:
    """How many questions come before the first training, and how far the label budget goes."""
    audit = min(spec.evaluation.size, n_texts) if spec.evaluation.kind == "audit" else 0
    first = audit + spec.evaluation.calibration
    batch, budget = spec.acquisition.batch_size, spec.stopping.max_labels
    start = (
        f"{count(first, 'text')} to measure the model, then batches of {batch:,}"
        if first
        else f"batches of {batch:,}"
    )
    sentence = f"Questions: {start}."
    if budget is None:
        return sentence
    if budget >= n_texts:
        return f"{sentence} The budget of {count(budget, 'label')} (stopping.max_labels) covers every text."
    left = (budget - first) // batch
    return (
        f"{sentence} The budget of {count(budget, 'label')} (stopping.max_labels) is reached after "
        f"{count(max(1, left), 'batch', 'batches')}."
    )
