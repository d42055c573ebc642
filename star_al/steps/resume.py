"""Where a stored round goes on: after its last step, or from an earlier one that must be repeated."""

from __future__ import annotations

from dataclasses import replace

from star_al.errors import ModelError, StoreError
from star_al.parts import Parts, round_spec
from star_al.steps.decide import stops_still
from star_al.steps.fit import learner_versions
from star_al.types import JsonObject, Round, RoundState

_TRAINED = (RoundState.FITTED, RoundState.EVALUATED, RoundState.DECIDED, RoundState.SCORED)


def resumed(parts: Parts, round_: Round) -> Round:
    """The newest round in the state from which it goes on.

    It goes back to an earlier step if the task's labels have changed, if an artefact was lost, or if it has
    stopped and today's rules no longer stop it.
    """
    round_ = _with_prompts(parts, _with_labels(parts, round_))
    if round_.state is RoundState.STOPPED and not stops_still(parts, round_):
        round_ = replace(round_, state=RoundState.EVALUATED, decision=None)
    return _with_artefacts(parts, round_)


def refuse_another_model(parts: Parts) -> None:
    """Keep a campaign on the base model, dtype, prompt and encoder that its rounds were made with.

    Labels that were added or renamed change the prompt, and so may a new version of star_al; then only weights and
    dtype must be the same.

    Raises:
        ModelError: The model, its dtype, its prompt or the encoder differs.
    """
    versions = learner_versions(parts)
    head = versions.get("head")
    for round_ in parts.store.rounds(parts.campaign.campaign_id):
        made_with = round_.fit.versions if round_.fit else {}
        same_labels = _same_labels(parts, round_)
        if _differs(made_with, versions, same_labels):
            what = "encoder" if parts.spec.has_head_learner else "model, its dtype or its prompt"
            name = parts.spec.head.encoder if parts.spec.has_head_learner else parts.spec.model.name
            raise ModelError(_another_model(name, what, round_))
        had = made_with.get("head")
        if isinstance(had, dict) and isinstance(head, dict) and _differs(had, head, same_labels):
            raise ModelError(_another_model(parts.spec.head.encoder, "encoder", round_))


def _differs(made_with: JsonObject, versions: JsonObject, same_labels: bool) -> bool:
    same_prompt = same_labels and made_with.get("prompts") == versions.get("prompts")
    names = ("base_key", "dtype") if same_prompt else ("weights", "dtype")
    return any(made_with.get(name, versions.get(name)) != versions.get(name) for name in names)


def _another_model(name: str | None, what: str, round_: Round) -> str:
    return (
        f"{name}: the {what} differs from that of round {round_.index}. "
        "Restore it, or start a new campaign under another name."
    )


def _with_artefacts(parts: Parts, round_: Round) -> Round:
    """The round, set back to the step that makes an artefact that is missing or damaged."""
    if round_.state in (RoundState.PUSHED, RoundState.COLLECTED, RoundState.STOPPED):
        return round_
    try:
        for sha256 in (parts.ranker_sha256(round_), round_.shadow_sha256):
            if sha256:
                parts.artefacts.path_of(sha256)
    except StoreError:
        return _trained_again(parts, round_, f"its {_artefact(parts)} is missing or damaged")
    try:
        if round_.scores_sha256:
            parts.artefacts.score_file(round_.scores_sha256)
    except StoreError:
        parts.progress.say(f"Scoring round {round_.index} again because its scores are missing or damaged")
        return replace(round_, state=RoundState.DECIDED, scores_sha256=None, selection=None)
    return round_


def _with_labels(parts: Parts, round_: Round) -> Round:
    """The round, set back to its start if the task's labels have changed since its model was trained."""
    if _same_labels(parts, round_) or round_.state not in (*_TRAINED, RoundState.STOPPED):
        return round_
    lacks_model = round_spec(round_).ranking_model == "head" and round_.adapter_sha256 is None
    if round_.state is RoundState.STOPPED and not lacks_model and stops_still(parts, round_):
        return round_
    return _trained_again(parts, round_, "the labels of the task have changed")


def _with_prompts(parts: Parts, round_: Round) -> Round:
    """The round, set back to its start if an earlier version of star_al trained its model on prompts read otherwise."""
    if round_.state not in _TRAINED or round_.fit is None:
        return round_
    made_with, learner = round_.fit.versions, parts.learner
    if made_with.get("prompts") == learner.versions().get("prompts"):
        return round_
    if made_with.get("base_key", learner.base_key) == learner.base_key:
        return round_
    return _trained_again(parts, round_, "this version of star_al shows texts to the model otherwise")


def _trained_again(parts: Parts, round_: Round, why: str) -> Round:
    parts.progress.say(f"Training round {round_.index} again because {why}")
    return replace(
        round_,
        state=RoundState.STARTED,
        fit=None,
        evaluation=None,
        decision=None,
        scores_sha256=None,
        selection=None,
    )


def _artefact(parts: Parts) -> str:
    return "head" if parts.spec.head_ranks else "adapter"


def _same_labels(parts: Parts, round_: Round) -> bool:
    return round_spec(round_).task.labels == parts.spec.task.labels
