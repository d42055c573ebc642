"""Which settings of a campaign go together: every combination that is refused, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from star_al.config.spec.acquisition import ADAPTIVE_SAMPLES, JOINT_SAMPLES
from star_al.config.spec.annotator import LabelStudioSpec
from star_al.config.spec.learner import LoraLearnerSpec
from star_al.config.spec.posterior import McDropoutSpec
from star_al.config.spec.shortlist import OPEN_MEASURES
from star_al.config.spec.task import EXTRAS, kinds_with, normalise_label

if TYPE_CHECKING:
    from star_al.config.spec.campaign import CampaignSpec


def refuse_combinations(spec: CampaignSpec) -> None:
    """Refuse settings that do not go together.

    Raises:
        ValueError: They do not; the message names the settings as a campaign file has them.
    """
    for rule in RULES:
        rule(spec)


def _require_model(spec: CampaignSpec) -> None:
    if spec.model.name is None and (
        isinstance(spec.learner, LoraLearnerSpec) or spec.head.features in ("model", "both")
    ):
        raise ValueError(
            "model.name is missing. Name a language model, or set learner.kind: head, which needs none"
        )


def _require_ranker(spec: CampaignSpec) -> None:
    if (
        isinstance(spec.learner, LoraLearnerSpec)
        and spec.learner.train != "each_round"
        and not spec.head_ranks
    ):
        raise ValueError(
            "learner.train: at_end and a list of label counts need acquisition.scorer: head, which chooses the "
            "texts in the other rounds"
        )
    if isinstance(spec.learner, LoraLearnerSpec) and spec.learner.taught is True and not spec.has_head_beside:
        raise ValueError(
            "learner.taught: true needs a head beside the language model. Set learner.head: true or "
            "acquisition.scorer: head"
        )
    if spec.head_ranks and spec.acquisition.adaptive_samples is not None:
        raise ValueError(
            "acquisition.adaptive_samples does not go with a head that ranks the pool, as its samples cost "
            "next to nothing"
        )


def _require_options(spec: CampaignSpec) -> None:
    if spec.task.has_options and spec.data.options is None:
        raise ValueError(f"task.kind: {spec.task.kind} needs data.options")
    if not spec.task.has_options and spec.data.options is not None:
        raise ValueError(f"data.options belongs to task.kind: {kinds_with('has_options')}")
    columns = spec.data.options
    if spec.task.has_completions and isinstance(columns, tuple) and len(columns) != 2:
        raise ValueError(
            f"task.kind: {spec.task.kind} takes two columns in data.options, or one that holds lists of two, not "
            f"[{', '.join(columns)}]; a column of lists is named without brackets"
        )


def _require_labels_to_classify(spec: CampaignSpec) -> None:
    if spec.adapter.output == "classifier" and spec.task.has_options:
        raise ValueError(
            f"adapter.output: classifier needs the same labels for all texts, and task.kind: {spec.task.kind} has "
            "options of each text"
        )


def _require_what_the_task_allows(spec: CampaignSpec) -> None:
    allowed = spec.task.allowed
    for setting, value, values in (
        ("acquisition.measure", spec.acquisition.measure, allowed.measures),
        ("acquisition.batch.kind", spec.acquisition.batch.kind, allowed.batches),
        ("labelling.settle", spec.labelling.settle, allowed.settling),
        ("posterior.kind", spec.posterior.kind, allowed.posteriors),
        ("adapter.loss", spec.adapter.loss, allowed.losses),
    ):
        if value not in values:
            raise ValueError(
                f"{setting}: {value} does not go with task.kind: {spec.task.kind}; choose from "
                f"{', '.join(values)}"
            )

    extras = {
        "head": spec.has_head_learner or spec.has_head_beside,
        "head_beside": spec.has_head_beside,
        "classifier": spec.adapter.output == "classifier",
        "adaptive_samples": spec.acquisition.adaptive_samples is not None,
        "balance": spec.acquisition.batch.balance,
        "calibrate_base": bool(spec.acquisition.blend.calibrate_base),
        "contextual_calibration": spec.task.contextual_calibration,
    }
    for name, setting in EXTRAS.items():
        if extras[name] and name not in allowed.extras:
            raise ValueError(
                f"{setting} does not go with task.kind: {spec.task.kind}, whose answers are not a list of labels"
            )


def _require_samples_for_measure(spec: CampaignSpec) -> None:
    if spec.acquisition.measure == "label_probability":
        _require_target_label(spec)
    if spec.acquisition.measure in ("bald", "token_bald") and spec.samples < 2:
        raise ValueError(
            f"acquisition.measure: {spec.acquisition.measure} needs a posterior of at least 2 samples"
        )
    kind = spec.acquisition.blend.kind
    if spec.acquisition.measure == "label_probability" and kind in ("prequential", "measured"):
        raise ValueError(
            f"acquisition.blend.kind: {kind} does not go with acquisition.measure: label_probability, which "
            "looks for a label and not for errors"
        )
    if spec.acquisition.measure == "epig" and spec.acquisition.blend.kind == "measured":
        raise ValueError(
            "acquisition.blend.kind: measured does not go with acquisition.measure: epig, which is not "
            "measured on held-out items"
        )


def _require_target_label(spec: CampaignSpec) -> None:
    names = list(map(normalise_label, spec.task.label_names))
    target = spec.acquisition.target_label
    if target is None or normalise_label(target) not in names:
        raise ValueError(
            "acquisition.measure: label_probability needs acquisition.target_label, one of "
            f"{', '.join(spec.task.label_names)}"
        )


def _require_samples_for_adaptive(spec: CampaignSpec) -> None:
    first, samples = spec.acquisition.adaptive_samples, spec.posterior.samples
    if first is None:
        return
    wants_all = {
        "measure: bald": spec.acquisition.measure == "bald",
        "measure: epig": spec.acquisition.measure == "epig",
        f"blend.kind: {spec.acquisition.blend.kind}": spec.acquisition.blend.kind
        in ("measured", "prequential"),
        f"batch.kind: {spec.acquisition.batch.kind}": spec.acquisition.batch.diversifies,
        "batch.balance": spec.acquisition.batch.balance,
        "batch.near_duplicates": spec.acquisition.batch.near_duplicates is not None,
    }
    for setting, wants in wants_all.items():
        if wants:
            raise ValueError(
                f"acquisition.adaptive_samples does not go with acquisition.{setting}, which needs all samples"
            )
    if samples < ADAPTIVE_SAMPLES:
        raise ValueError(
            f"acquisition.adaptive_samples needs a posterior of at least {ADAPTIVE_SAMPLES} samples; "
            f"this one has {_samples_as_set(spec)}"
        )
    if first >= samples:
        raise ValueError(f"acquisition.adaptive_samples: {first} leaves none of {samples} samples for later")


def _require_what_shortlists(spec: CampaignSpec) -> None:
    """What puts texts on a shortlist must be there, and cost less than scoring them."""
    by = spec.acquisition.shortlist.by
    if not spec.acquisition.shortlist.is_on or by == "last_round":
        return
    why = ""
    if by == "head" and (spec.head_ranks or not spec.has_head_beside):
        why = "needs a head beside the language model that ranks the pool: learner.head: true"
    elif by in OPEN_MEASURES and not spec.task.is_written:
        why = f"is a measure of written answers; task.kind: {spec.task.kind} takes last_round, head or mean"
    elif by == "mean" and spec.task.is_written:
        why = f"does not go with task.kind: {spec.task.kind}; choose {' or '.join(OPEN_MEASURES)}"
    elif by in OPEN_MEASURES and spec.acquisition.measure in OPEN_MEASURES:
        why = f"saves nothing with acquisition.measure: {spec.acquisition.measure}, which takes one pass as well"
    elif by == "mean" and (spec.head_ranks or spec.samples < 2):
        why = "saves nothing without posterior samples of a language model, as one pass is all there is"
    if why:
        raise ValueError(f"acquisition.shortlist.by: {by} {why}")


def _require_joint_samples(spec: CampaignSpec) -> None:
    joint = {
        "acquisition.measure: epig": spec.acquisition.measure == "epig",
        "acquisition.batch.kind: batchbald": spec.acquisition.batch.kind == "batchbald",
    }
    for setting, wanted in joint.items():
        if wanted and spec.samples < JOINT_SAMPLES:
            raise ValueError(
                f"{setting} needs a posterior of at least {JOINT_SAMPLES} samples, 32 are better; this one "
                f"has {_samples_as_set(spec)}"
            )


def _require_dropout(spec: CampaignSpec) -> None:
    if not isinstance(spec.posterior, McDropoutSpec) or spec.posterior.samples == 1:
        return
    if spec.posterior.dropout is None and spec.adapter.dropout == 0.0:
        raise ValueError(
            "posterior.kind: mc_dropout needs adapter.dropout above 0, or posterior.dropout, to draw several "
            "samples"
        )


def _require_what_can_be_divided(spec: CampaignSpec) -> None:
    if spec.posterior.kind == "clora" and spec.adapter.training.processes > 1:
        raise ValueError(
            "adapter.training.processes above 1 does not go with posterior.kind: clora, whose networks are trained "
            "in one process"
        )
    if spec.model.gpus > 1 and spec.adapter.training.processes > 1:
        raise ValueError(
            "adapter.training.processes above 1 does not go with model.gpus above 1: each process has one GPU; "
            "strategy: fsdp shares the base model among processes"
        )


def _require_what_vllm_can_do(spec: CampaignSpec) -> None:
    if spec.model.engine != "vllm" or spec.has_head_learner:
        return
    for setting, usual in (("quantise", "none"), ("gpus", 1)):
        if getattr(spec.model, setting) != usual:
            raise ValueError(
                f"model.engine: vllm does not go with model.{setting}, which the engine would not follow; name a "
                "model that fits one GPU as it was saved"
            )
    if spec.posterior.kind == "clora":
        raise ValueError(
            "model.engine: vllm does not go with posterior.kind: clora, whose samples change with each text"
        )
    if spec.has_classifier:
        raise ValueError(
            "model.engine: vllm does not go with a classifier, which reads hidden states; set "
            "adapter.output: label_names, or model.engine: transformers"
        )
    if spec.task.has_completions:
        raise ValueError(
            f"model.engine: vllm does not go with task.kind: {spec.task.kind}, which reads the base model beside "
            "each sample"
        )


def _require_distinct_unsure(spec: CampaignSpec) -> None:
    unsure = spec.annotator.unsure if isinstance(spec.annotator, LabelStudioSpec) else None
    names = (*spec.task.label_names, *spec.task.other_names)
    if unsure is not None and normalise_label(unsure) in map(normalise_label, names):
        raise ValueError(f"annotator.unsure: {unsure!r} is also a label")


def _require_labels_to_train_on(spec: CampaignSpec) -> None:
    audit = spec.evaluation.size if spec.evaluation.kind == "audit" else 0
    held_out, budget = spec.evaluation.calibration + audit, spec.stopping.max_labels
    if budget is not None and budget <= held_out:
        raise ValueError(
            f"stopping.max_labels: {budget} leaves no label to train on; "
            f"{held_out} are for audit and calibration (evaluation.size, evaluation.calibration)"
        )


def _require_test_labels(spec: CampaignSpec) -> None:
    if spec.evaluation.kind == "test" and spec.test_label_column is None:
        raise ValueError("evaluation.kind: test needs evaluation.label, the label column of the test file")


def _check_label_columns(spec: CampaignSpec) -> None:
    columns, names = spec.data.label_columns or (), set(map(normalise_label, spec.task.label_names))
    if columns and not spec.task.has_label_sets:
        raise ValueError(
            f"data.label_columns does not go with task.kind: {spec.task.kind}, only with "
            f"{kinds_with('has_label_sets')}"
        )
    for name in columns:
        if normalise_label(name) not in names:
            raise ValueError(f"data.label_columns: {name!r} is not one of task.labels")


def _refuse_labels_in_the_text(spec: CampaignSpec) -> None:
    split = spec.task.split_template
    answers = {
        spec.data.label,
        spec.gold_column,
        spec.test_label_column,
        *(spec.data.label_columns or ()),
    }
    for name in split.columns if split else ():
        if name in answers:
            raise ValueError(
                f"task.template names {{{name}}}, the column of labels, so that the model would see the answer. "
                "Remove it; if the braces are text, set task.template_columns: false"
            )


def _samples_as_set(spec: CampaignSpec) -> str:
    """How many samples there are, and by which setting."""
    if spec.head_ranks:
        return f"{spec.samples} (head.samples)"
    setting = {"ensemble": "members", "map": "kind: map"}.get(spec.posterior.kind, "samples")
    return f"{spec.posterior.samples} (posterior.{setting})"


RULES = (
    _require_model,
    _require_ranker,
    _require_options,
    _require_labels_to_classify,
    _require_what_the_task_allows,
    _require_samples_for_measure,
    _require_samples_for_adaptive,
    _require_what_shortlists,
    _require_joint_samples,
    _require_dropout,
    _require_what_can_be_divided,
    _require_what_vllm_can_do,
    _require_distinct_unsure,
    _require_labels_to_train_on,
    _require_test_labels,
    _check_label_columns,
    _refuse_labels_in_the_text,
)
"""In the order in which they are checked: of several mistakes, the first is told."""
