"""Open the language model that the settings name, with its adapter and its posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from star_al.config.spec import CampaignFile, CampaignSpec, PosteriorSpec
from star_al.errors import ConfigError
from star_al.ports import Progress
from star_al.task import MultiLabel, Task, Text, closed, make_task
from star_al.types import Round, RoundFit

if TYPE_CHECKING:
    from star_al.models.learner import LoraLearner
    from star_al.models.posterior import Method
    from star_al.models.text_learner import TextLearner

    LanguageLearner: TypeAlias = LoraLearner | TextLearner


def open_language_learner(
    file: CampaignFile, spec: CampaignSpec, rounds: Sequence[Round], progress: Progress, cache: Path | None
) -> LanguageLearner:
    """The language model of ``spec`` with its adapter and posterior; arguments are those of ``open_learner``."""
    return language_learner(
        _on_this_machine(file, spec, rounds),
        model_path(file, spec.model.given_name),
        cache=cache,
        features=None if cache is None else file.feature_folder,
        say=progress.say,
        **how_texts_are_read(rounds),
    )


def _on_this_machine(file: CampaignFile, spec: CampaignSpec, rounds: Sequence[Round]) -> CampaignSpec:
    """The settings with what the file says of this machine, and the dtype that the first round found here."""
    of_this_machine = {"device", "gpus", "trunk_cache_gb", "engine", "engine_memory"} | (
        {"batch_tokens"} & file.spec.model.model_fields_set
    )
    here = file.spec.model.model_dump(include=of_this_machine)
    fits = [round_.fit for round_ in rounds if round_.fit]
    dtypes = [fit.versions["dtype"] for fit in fits if "dtype" in fit.versions]
    if dtypes and spec.model.dtype == "auto":
        here["dtype"] = str(dtypes[0])
    return spec.model_copy(update={"model": spec.model.model_copy(update=here)})


def how_texts_are_read(rounds: Sequence[Round]) -> dict[str, Any]:
    """The options of a language learner that a campaign keeps as its first rounds had them, as plain values."""
    fits = [round_.fit for round_ in rounds if round_.fit]
    return {
        "batches": _recorded_batches(fits),
        "packs_base_embeddings": bool(fits) and "base_embeddings" not in fits[0].versions,
        "classifier_reads_text": not fits or "classifier" in fits[0].versions,
    }


def language_learner(spec: CampaignSpec, path: str, **options: Any) -> LanguageLearner:
    """A language model with an adapter for the kind of task.

    Args:
        spec: The campaign's settings.
        path: The model's folder or hub name.
        options: As ``LoraLearner`` has them.
    """
    return LEARNERS[spec.task.kind](
        make_task(spec.task), spec, path, posterior_method(spec.posterior), **options
    )


def _label_learner(task: Task, *arguments: Any, **options: Any) -> LoraLearner:
    """A language model that is scored on labels."""
    from star_al.models.learner import LoraLearner

    return LoraLearner(closed(task), *arguments, **options)


def _label_set_learner(task: Task, *arguments: Any, **options: Any) -> LoraLearner:
    """A language model that is asked for each label of a text."""
    from star_al.models.label_set_learner import LabelSetLearner

    return LabelSetLearner(cast("MultiLabel", task), *arguments, **options)


def _text_learner(
    task: Task,
    *arguments: Any,
    packs_base_embeddings: bool = False,
    classifier_reads_text: bool = True,
    **options: Any,
) -> TextLearner:
    """A language model that writes answers; no campaign with one reads texts as earlier versions did."""
    from star_al.models.text_learner import TextLearner

    return TextLearner(cast("Text", task), *arguments, **options)


LEARNERS: Mapping[str, Callable[..., LanguageLearner]] = {
    "classification": _label_learner,
    "multiple_choice": _label_learner,
    "rating": _label_learner,
    "text": _text_learner,
    "multi_label": _label_set_learner,
    "preference": _label_learner,
}
"""By kind of task."""


def _recorded_batches(fits: Sequence[RoundFit]) -> dict[str, int]:
    """The scoring batch that a campaign first used on each device."""
    recorded: dict[str, int] = {}
    for fit in fits:
        tokens = fit.versions.get("batch_tokens")
        if isinstance(tokens, int):
            recorded.setdefault(str(fit.versions.get("device")), tokens)
    return recorded


def posterior_method(spec: PosteriorSpec) -> Method:
    """The posterior method that the settings name."""
    from star_al.models.posterior.clora import CLora
    from star_al.models.posterior.ensemble import Ensemble
    from star_al.models.posterior.laplace import Laplace
    from star_al.models.posterior.mc_dropout import McDropout
    from star_al.models.posterior.point import Map
    from star_al.models.posterior.tfb import Tfb

    methods: dict[str, Callable[[Any], Method]] = {
        "clora": CLora,
        "ensemble": Ensemble,
        "laplace": Laplace,
        "map": lambda _: Map(),
        "mc_dropout": McDropout,
        "tfb": Tfb,
    }
    return methods[spec.kind](spec)


def model_path(file: CampaignFile, name: str, setting: str = "model.name") -> str:
    """The model's folder, relative to the campaign file; if there is none, ``name`` as the name on the hub.

    Args:
        file: The campaign file.
        name: The value of the setting.
        setting: The setting that names the model.

    Raises:
        ConfigError: ``name`` is a path, and there is no such folder.
    """
    folder = file.resolve(name)
    if folder.exists():
        return str(folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(
            f"{file.path}: {setting}: there is no folder {folder}. "
            "Correct the path, or give the model's name on the Hugging Face hub."
        )
    return name
