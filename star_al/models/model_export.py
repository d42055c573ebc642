"""Export a fitted model with its prompts as files that run without star_al."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.errors import ModelError
from star_al.models.adapter_export import LORA_NEEDS, low_rank, write_adapters, write_merged, write_reader
from star_al.models.classifier import FILE as CLASSIFIER_FILE
from star_al.models.fitted_posteriors import Fitted
from star_al.models.licence import find_licence
from star_al.models.prompted_model import PromptedModel
from star_al.types import Item, JsonObject


def export_model(
    model: PromptedModel,
    fitted: Fitted,
    folder: Path,
    out: Path,
    *,
    draws: range | None,
    seed: int,
    merged: bool,
    examples: Sequence[Item],
) -> JsonObject:
    """Write a fitted model and the code that reads texts by it, see ``Learner.export``.

    Args:
        model: The language model.
        fitted: The posterior, and its classifier.
        folder: The artefact that it was read from.
        out: Where to write.
        draws: The samples; ``None`` for the mean alone.
        seed: Their seed.
        merged: Write whole weights in place of adapters.
        examples: Texts to check on.

    Raises:
        ModelError: The samples depend on the text, or the files would read texts differently.
        StoreError: The folder cannot be written.
    """
    if merged and model.compares:
        raise ModelError(
            "completions are compared by this model and the base model, and merged weights have none beside them. "
            "Leave out --merged."
        )
    _ = model.inference
    spec = model.spec
    posterior = low_rank(fitted.posterior, spec.posterior.kind)
    local = Path(model.path).is_dir()
    base = str(Path(model.path).resolve()) if local else model.path
    samples = list(draws or ())
    if merged:
        names = write_merged(out, model.backbone, posterior, folder, samples, seed)
    else:
        names = write_adapters(out, posterior, folder, base, samples, seed)
    write_reader(out, model.backbone, model.prompts, examples)
    if fitted.classifier is not None:
        fitted.classifier.save(out)
    return {
        "base": None if merged else base,
        "revision": None if merged or local else spec.model.revision,
        "dtype": model.backbone.dtype,
        "quantise": model.backbone.quantise,
        **({} if model.backbone.quantise == "none" else {"needs": f"{LORA_NEEDS}, and bitsandbytes"}),
        "samples": names,
        "classifier": None if fitted.classifier is None else CLASSIFIER_FILE,
        "classifier_reads_text": fitted.classifier is not None and fitted.classifier.reads_text,
        "base_licence": find_licence(model.backbone.folder, model.path),
        "sets": model.prompts.paired,
        "template": model.prompts.template,
        "prompt": model.prompts.record(),
    }
