"""What the config of a running campaign may change, and what it has changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from operator import eq
from typing import TypeVar

from star_al.config.dotted_names import flatten
from star_al.config.secret_settings import may_hold_secret
from star_al.config.spec import (
    AcquisitionSpec,
    AdapterSpec,
    CampaignFile,
    CampaignSpec,
    LabelStudioSpec,
    LaplaceSpec,
    LoraLearnerSpec,
    McDropoutSpec,
    Spec,
    TfbSpec,
)
from star_al.config.spec.acquisition import EARLIER_DEFAULTS
from star_al.config.spec.missing_settings import DEFAULT_MEASURES
from star_al.config.spec.posterior import LINEARISED
from star_al.config.writing import plain_label, to_one_line
from star_al.errors import ConfigError
from star_al.types import JsonObject, Round

SpecT = TypeVar("SpecT", bound=Spec)

EARLIER_TRAINING = {"target_modules": "auto", "learning_rate": 5e-4}
"""Earlier defaults of ``adapter``."""

FREE_TO_CHANGE = frozenset(
    {
        "stopping",
        "acquisition.batch_size",
        "acquisition.preset",  # a name for other settings, which are compared
        "acquisition.shortlist",  # costs less or more; the labels so far stay as good as they are
        "labelling",
        "head.cache_gb",
        "learner.train",
        "learner.head",
        "model.device",
        "model.gpus",
        "model.batch_tokens",
        "model.trunk_cache_gb",
        "compute",
        "model.engine",
        "model.engine_memory",
        "database",
        "artefacts",
        *(f"annotator.{name}" for name in LabelStudioSpec.model_fields if name != "kind"),
    }
)
"""What a running campaign accepts at any time, by dotted prefix. Labels may be added to ``task.labels`` too."""

FREE_BETWEEN_ROUNDS = frozenset(
    {
        "adapter.learning_rate",
        "adapter.warmup_ratio",
        "adapter.epochs",
        "adapter.min_steps",
        "adapter.batch_size",
        "adapter.weight_decay_b",
        "adapter.max_grad_norm",
        "adapter.training",
        "posterior.learning_rate",
    }
)
"""How adapters are optimised. A change takes effect with the next adapter.

So a training that diverges or runs out of memory does not end the campaign."""

FREE_BEFORE_TRAINING = frozenset({"adapter", "posterior"})
"""What may change as well until the first adapter is trained."""

NEW_IN_BLEND = ("towards", "calibrate_base")
"""Settings of ``acquisition.blend`` that earlier versions, with or without presets, did not have."""

_LONGEST = 160
"""Characters of a value that a message shows."""

_CONTEXT = 30
"""Characters that a value cut to ``_LONGEST`` shows before the first difference."""


def when_changeable(name: str) -> str:
    """When a running campaign accepts a change to the setting with this dotted name, in words."""
    if _is_in(name, FREE_TO_CHANGE):
        return "Can change at any time"
    if _is_in(name, {"task.labels"}):
        return (
            "Labels can be added at the end at any time, and with `kind: classification` renamed and merged"
        )
    if _is_in(name, {"task.renamed"}):
        return "Names can be added at any time"
    if _is_in(name, FREE_BETWEEN_ROUNDS):
        return "Can change at any time, for the adapters trained from then on"
    if _is_in(name, FREE_BEFORE_TRAINING):
        return "Can change until the first adapter is trained"
    return "Fixed once the campaign has started"


def changed_fields(stored: JsonObject, current: CampaignSpec, *, trained: bool) -> list[str]:
    """The settings that differ and that a running campaign may not change.

    Args:
        stored: The specification in the database. A setting that the version which wrote it did not know has
            its default.
        current: The specification of the campaign file.
        trained: True if an adapter has been trained.

    Returns:
        Dotted names; for a section whose kind differs, only that of its kind.
    """
    free = FREE_TO_CHANGE | (FREE_BETWEEN_ROUNDS if trained else FREE_BEFORE_TRAINING)
    if added_labels(stored, current) or renamed_labels(stored, current):
        free |= {"task.labels", "task.renamed"}
    return differing_fields(stored, current, free)


def differing_fields(stored: JsonObject, current: CampaignSpec, free: Collection[str]) -> list[str]:
    """The settings that differ, except those within ``free``; see ``changed_fields``."""
    flat_stored, flat_current = _flat_settings(stored), flatten(current.model_dump(mode="json"))
    missing = object()
    changed = [
        name
        for name in sorted(flat_stored.keys() | flat_current.keys())
        if flat_stored.get(name, missing) != flat_current.get(name, missing) and not _is_in(name, free)
    ]
    if CampaignSpec.model_validate(stored).has_classifier == current.has_classifier:
        changed = [name for name in changed if name != "adapter.output"]
    kinds = [name.removesuffix("kind") for name in changed if name.endswith(".kind")]
    return [name for name in changed if name.endswith(".kind") or not name.startswith(tuple(kinds))]


def list_differences(stored: JsonObject, current: CampaignSpec, names: Sequence[str]) -> str:
    """Show settings with their stored and their present value, a line each.

    Args:
        stored: The specification in the database.
        current: The specification of the campaign file.
        names: Dotted names of settings that differ.

    Returns:
        Indented lines. Values that may hold a secret are left out, long ones cut around their difference.
    """
    flat_stored, flat_current = _flat_settings(stored), flatten(current.model_dump(mode="json"))
    return "\n".join(
        f"  {name}: {_difference(name, flat_stored.get(name), flat_current.get(name))}" for name in names
    )


def _difference(name: str, before: object, now: object) -> str:
    if may_hold_secret(tuple(name.split("."))):
        return "the values are not shown, because they may hold a secret"
    before_words, now_words = _words(before), _words(now)
    start = max(0, _common_length(before_words, now_words) - _CONTEXT)
    return f"started with {_cut(before_words, start)}; the file says {_cut(now_words, start)}"


def _common_length(one: str, other: str) -> int:
    """How many characters two texts share from their beginning."""
    return sum(takewhile(bool, map(eq, one, other)))


def _words(value: object) -> str:
    """A value as it can be written in a campaign file; a list without its brackets."""
    if value is None or value == []:
        return "no value"
    if isinstance(value, list):
        return ", ".join(to_one_line(plain_label(part)) for part in value)
    return to_one_line(value)


def _cut(text: str, start: int) -> str:
    """``text`` if it is short, otherwise a part of it from ``start``."""
    if len(text) <= _LONGEST:
        return text
    end = start + _LONGEST
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def added_labels(stored: JsonObject, current: CampaignSpec) -> tuple[str, ...]:
    """Names of the labels that ``current`` adds after those of ``stored``; none if it changes those."""
    before, now = CampaignSpec.model_validate(stored).task.labels, current.task.labels
    if CampaignSpec.model_validate(stored).task.renamed != current.task.renamed:
        return ()
    return tuple(label.name for label in now[len(before) :]) if now[: len(before)] == before else ()


def renamed_labels(stored: JsonObject, current: CampaignSpec) -> dict[str, str]:
    """Labels of ``stored`` that are called differently in ``current``, by old name; none if one is lost.

    Every earlier name must lead to a label, and a label that keeps its name must keep its wording, too.
    """
    before, now = CampaignSpec.model_validate(stored).task, current.task
    if any(now.newest_name(old) not in now.label_names for old in before.renamed):
        return {}
    kept = {label.name: label for label in now.labels}
    renamed = {}
    for label in before.labels:
        new = now.newest_name(label.name)
        if new not in kept or (new == label.name and kept[new] != label):
            return {}
        if new != label.name:
            renamed[label.name] = new
    return renamed


def keep_earlier_defaults(file: CampaignFile, stored: JsonObject) -> CampaignFile:
    """The campaign file with the defaults that its campaign began with, where it names no value.

    Before there were presets, ``acquisition`` had other defaults; ``acquisition.batch.near_duplicates`` was off in
    version 0.1; no head taught a language model; a measured blend was shrunk towards the schedule; scoring batches
    had 4096 tokens before they were measured; every label of a text was read; the labels' words predicted; Laplace's
    prior was centred on zero; the training loss limited the noise of TFB; a campaign sampled by MC dropout unless it
    named another posterior; LoRA adapted the layers that peft chose, at half the learning rate; and every kind of task
    had the same measure.
    """
    before, now = CampaignSpec.model_validate(stored), file.spec
    update: dict[str, object] = {
        "acquisition": _earlier_acquisition(before, now),
        "model": _with_unset_from(now.model, before.model, ["batch_tokens", "label_tolerance"]),
    }
    if isinstance(before.learner, LoraLearnerSpec) and isinstance(now.learner, LoraLearnerSpec):
        update["learner"] = _with_unset_from(now.learner, before.learner, ["taught"])
    if before.posterior == McDropoutSpec() and "posterior" not in now.model_fields_set:
        update["posterior"] = before.posterior
    if isinstance(before.posterior, LaplaceSpec) and isinstance(now.posterior, LaplaceSpec):
        update["posterior"] = _with_unset_from(now.posterior, before.posterior, ["prior_mean"])
    if isinstance(before.posterior, TfbSpec) and isinstance(now.posterior, TfbSpec):
        # A tolerance belongs to its rule.
        names = ["tolerance"] if now.posterior.rule == before.posterior.rule else []
        names += [] if "rule" in now.posterior.model_fields_set else ["rule", "tolerance"]
        update["posterior"] = _with_unset_from(now.posterior, before.posterior, names)
    spec = now.model_copy(update=update)
    spec = spec.model_copy(update={"adapter": _earlier_adapter(before, spec)})
    return file.model_copy(update={"spec": spec})


def has_earlier_defaults(stored: JsonObject) -> bool:
    """True for a specification that a version stored before posteriors had the defaults of today."""
    model = stored.get("model")
    return isinstance(model, dict) and "label_tolerance" not in model


def _earlier_adapter(before: CampaignSpec, now: CampaignSpec) -> AdapterSpec:
    """``now.adapter``; what predicts the labels by itself stays as it was when the campaign began."""
    earlier = [name for name, value in EARLIER_TRAINING.items() if getattr(before.adapter, name) == value]
    adapter = _with_unset_from(now.adapter, before.adapter, ["output", *earlier])
    kept = now.model_copy(update={"adapter": adapter})
    if adapter.output != "auto" or kept.has_classifier == before.has_classifier:
        return adapter
    return adapter.model_copy(update={"output": "classifier" if before.has_classifier else "label_names"})


def _earlier_acquisition(before: CampaignSpec, now: CampaignSpec) -> AcquisitionSpec:
    # The default of a whole section names a preset too, which no file has asked for.
    names_preset = "acquisition" in now.model_fields_set and "preset" in now.acquisition.model_fields_set
    earlier = [] if before.acquisition.preset != "none" or names_preset else list(EARLIER_DEFAULTS)
    usual = AcquisitionSpec.model_fields["measure"].default
    if before.task.kind == now.task.kind in DEFAULT_MEASURES and before.acquisition.measure == usual:
        earlier.append("measure")
    acquisition = _with_unset_from(now.acquisition, before.acquisition, earlier)
    blend = _with_unset_from(acquisition.blend, before.acquisition.blend, NEW_IN_BLEND)
    return acquisition.model_copy(update={"blend": blend})


def _with_unset_from(now: SpecT, before: SpecT, names: Collection[str]) -> SpecT:
    """``now`` with those of the named settings that it does not set as ``before`` has them, level by level."""
    update: dict[str, object] = {}
    for name in names:
        value, earlier = getattr(now, name), getattr(before, name)
        if name not in now.model_fields_set:
            update[name] = earlier
        elif isinstance(value, Spec) and isinstance(earlier, Spec):
            update[name] = _with_unset_from(value, earlier, type(earlier).model_fields)
    return now.model_copy(update=update)


def _is_in(name: str, prefixes: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _flat_settings(stored: JsonObject) -> dict[str, object]:
    return flatten(CampaignSpec.model_validate(stored).model_dump(mode="json"))


def refuse_removed_settings(rounds: Sequence[Round]) -> None:
    """Refuse to go on with adapters that were trained under a setting which this version no longer has.

    Raises:
        ConfigError: there is such an adapter.
    """
    for round_ in rounds:
        section = round_.config.get("posterior")
        if round_.adapter_sha256 and isinstance(section, dict) and section.get("predictive") == LINEARISED:
            raise ConfigError(
                f"round {round_.index} was trained with posterior.predictive: linearised, which was removed. "
                "Export the labels with `star-al export`, and start a new campaign from that file "
                "(data.path: the file, data.label: label)."
            )
