"""Export a campaign's model as a folder that other programs use: adapter or weights, example, and model card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np

from star_al import rng
from star_al.acquire.label_sets import signal_of
from star_al.app.compose import open_parts
from star_al.app.head_card import head_card
from star_al.app.model_card import ModelFacts, model_card
from star_al.app.model_choice import ModelChoice
from star_al.app.predicting import own_files
from star_al.app.predictor import Predictor
from star_al.app.stores import reading
from star_al.common.files import disk_errors, publish
from star_al.config.spec import CampaignFile
from star_al.data import check_out
from star_al.errors import DataError, ModelError, StoreError
from star_al.parts import Parts
from star_al.ports import Progress
from star_al.replay import find_round
from star_al.stats.platt import LARGEST_LOG_ODDS
from star_al.stats.temperature import apply_temperature
from star_al.types import Evaluation, Item, JsonObject, Role

RECORD = "labeller.json"
"""The file by which an exported model is known."""

COMPARED = 64
"""Texts on which the posterior's mean is compared with the average over samples."""


@dataclass(frozen=True)
class ExportedModel:
    """What was exported.

    Attributes:
        round_index: The round whose model it is.
        samples: How many posterior samples a prediction averages over; 1 for a single function.
        difference: By how much probabilities of the mean alone differ from that average, at most, on some texts;
            None for a single function.
        base: The folder or hub name of the base model that is needed; None if the weights are whole.
        what: What was exported: adapter, weights or head.
        size_bytes: Bytes of the folder.
    """

    round_index: int
    samples: int
    difference: float | None
    base: str | None
    what: str
    size_bytes: int


def export_model(
    file: CampaignFile,
    out: Path,
    progress: Progress,
    *,
    round_index: int | None = None,
    merged: bool = False,
    which: ModelChoice = ModelChoice.BEST,
) -> ExportedModel:
    """Write the model of a round as a folder that other programs use.

    The folder is written beside its place and renamed when it is complete. It holds one model: of a round that
    delivers head and language model together, the one with more weight.

    Args:
        file: The campaign.
        out: A folder that does not exist, is empty, or holds an earlier export, which is replaced.
        progress: Where progress is shown.
        round_index: The round; None for the newest that has an evaluated adapter.
        merged: Write whole weights of the language model in place of an adapter.
        which: The head or the language model, or what is best.

    Raises:
        DataError: There is no such round or model, or ``out`` holds other files.
        StoreError: The campaign has not been started, or the folder cannot be written.
        ModelError: No adapter has been trained yet, or the posterior cannot be exported.
    """
    check_out(out, own_files(file) | {"the artefact folder": file.artefact_folder})
    _require_free(out)
    with reading(file) as (store, campaign):
        parts = open_parts(file, store, campaign, progress)
        if merged and which is ModelChoice.BEST and not parts.spec.has_head_learner:
            which = ModelChoice.LORA
        predictor = Predictor(parts, round_index, which=which, alone=True)
        if predictor.adapter is None or predictor.model.round_index is None:
            raise ModelError(
                f"campaign {file.spec.name!r} has no adapter that was trained and evaluated yet. "
                "Label some texts and run `star-al run` first."
            )
        _say_if_it_is_half(parts, round_index, which)
        try:
            with _replacing_folder(out) as folder:
                return _write(parts, predictor, folder, merged)
        except ModelError as exc:
            if which is not ModelChoice.BEST or not (predictor.is_head and parts.spec.has_head_beside):
                raise
            try:
                predictor = Predictor(parts, round_index, which=ModelChoice.LORA)
            except DataError:  # no round has one yet, so the head is all there is
                raise exc from None
            parts.progress.say(f"The head cannot be exported, so the language model is: {exc}")
            with _replacing_folder(out) as folder:
                return _write(parts, predictor, folder, merged)


def _say_if_it_is_half(parts: Parts, round_index: int | None, which: ModelChoice) -> None:
    whole = Predictor(parts, round_index, which=which)
    if whole.is_mix:
        parts.progress.say(
            f"`star-al predict` uses both models: {whole.model.note}. A folder holds one, so it gets the one with "
            "more weight; --model head or lora chooses."
        )


def _write(parts: Parts, predictor: Predictor, folder: Path, merged: bool) -> ExportedModel:
    adapter, round_index = predictor.adapter, predictor.model.round_index
    assert adapter is not None and round_index is not None
    parts.progress.say(f"Exporting the {predictor.model.note}")
    draws, items = predictor.draws, _some_items(parts)
    record = predictor.learner.export(
        adapter, folder, draws=draws, seed=predictor.seed, merged=merged, examples=items
    )
    if record.get("writes"):  # one model writes answers; its samples tell how sure it is
        draws = None
    is_head = predictor.is_head
    exported = ExportedModel(
        round_index=round_index,
        samples=1 if draws is None else len(draws),
        difference=None if draws is None else _difference(parts, predictor, adapter, items),
        base=None if record["base"] is None else str(record["base"]),
        what="head" if is_head else "weights" if merged else "adapter",
        size_bytes=sum(path.stat().st_size for path in folder.rglob("*")),
    )
    whole: JsonObject = {
        "labels": list(parts.task.spec.label_names),
        "temperature": predictor.model.temperature,
        **_platt(predictor),
        **_text_of_a_row(parts),
        "made_from": {"campaign": parts.campaign.name, "round": round_index},
        **record,
    }
    from star_al.models.adapter_export import example_code, write_record

    write_record(folder, whole)
    facts = ModelFacts(
        round=find_round(parts.store, parts.campaign, round_index),
        evaluations=_evaluations(parts, round_index, of_head_beside=is_head and parts.spec.has_head_beside),
        record=whole,
        example=example_code(whole),
        samples=exported.samples,
        difference=exported.difference,
        merged=merged,
    )
    with _disk_errors(folder):
        card = head_card(parts, facts, exported.size_bytes) if is_head else model_card(parts, facts)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return exported


def _evaluations(parts: Parts, round_index: int, *, of_head_beside: bool) -> tuple[Evaluation, ...]:
    """What was measured of the exported model, as ``adapted``, and of its base model."""
    found = parts.store.evaluations(parts.campaign.campaign_id, round_index)
    if not of_head_beside:
        return tuple(found)
    return tuple(replace(one, model="adapted") for one in found if one.model == "head")


def _platt(predictor: Predictor) -> JsonObject:
    """What the confidence of graded answers is computed by, if it was fitted."""
    platt = predictor.model.platt
    return {} if platt is None else {"platt": {**asdict(platt), "largest": LARGEST_LOG_ODDS}}


def _text_of_a_row(parts: Parts) -> JsonObject:
    """What a text is made of: a template, and the column behind each of its names."""
    data, split = parts.spec.data, parts.spec.task.split_template
    if split is None or split.item_text is None:
        return {"text": "{text}", "columns": {"text": data.text}}
    columns: JsonObject = {name: data.text if name == "text" else name for name in split.columns}
    return {"text": split.item_text, "columns": columns}


def _some_items(parts: Parts) -> list[Item]:
    """Random texts of the pool."""
    campaign_id = parts.campaign.campaign_id
    pool = parts.store.item_ids(campaign_id, Role.POOL)
    chosen = rng.draw(pool, min(COMPARED, len(pool)), rng.derive_seed(parts.campaign.seed, 0, "export"))
    return parts.store.items(campaign_id, sorted(chosen))


def _difference(parts: Parts, predictor: Predictor, adapter: Path, items: Sequence[Item]) -> float:
    """The largest difference between probabilities of the posterior's mean and the average over samples."""
    with parts.progress.task("Comparing with the mean alone", 2 * len(items)) as advance:
        averaged = predictor.answers(items, advance)
        mean = predictor.learner.predict(adapter, items, draws=None, seed=predictor.seed, advance=advance)
    if mean.open_ended:  # columns differ; what is compared is the probabilities of labels
        names = list(map(signal_of, parts.task.spec.label_names))
        return max(
            abs(float(mean.signals[name][n]) - answer.signals[name])
            for n, answer in enumerate(averaged)
            for name in names
        )
    probs_N_C = np.exp(apply_temperature(mean.log_probs_N_K_C[:, 0], predictor.model.temperature))
    return max(
        float(np.abs(probs_N_C[n, : len(answer.probabilities_C)] - answer.probabilities_C).max())
        for n, answer in enumerate(averaged)
    )


# -- the folder ----------------------------------------------------------------------------------------


def _require_free(out: Path) -> None:
    with _disk_errors(out):
        if out.exists() and not out.is_dir():
            raise DataError(f"{out}: this is a file. Give a folder.")
        if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
            raise DataError(f"{out}: this folder holds other files. Give a new or empty one.")


@contextmanager
def _replacing_folder(out: Path) -> Iterator[Path]:
    """A folder to write, which takes the place of ``out`` on leaving; on an error nothing is left of it."""
    with _disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = out.parent / f".{out.name}.{uuid4().hex}.tmp"
        folder.mkdir()
    try:
        yield folder
        with _disk_errors(out):
            if out.exists():
                shutil.rmtree(out)
            publish(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _disk_errors(out: Path) -> AbstractContextManager[None]:
    return disk_errors(StoreError, f"{out}: the model cannot be written", "Check the folder and the disk.")
