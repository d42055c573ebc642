"""What a first campaign trains: LoRA every round where that is quick on this machine, else a head that chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al.app.init.request import CampaignRequest
from star_al.app.round_time import SHORT_ROUND, RoundWork, in_words, label_counts, round_work
from star_al.config.spec import CampaignSpec
from star_al.data.languages import MULTILINGUAL_ENCODER, MULTILINGUAL_SIZE, looks_english

LARGE_POOL = 20_000
"""Texts from which on a language model scores only some of them each round."""

CANDIDATES = 10_000
LARGE_BATCH = 50
"""The settings `acquisition.candidates` and `acquisition.batch_size` for a large pool."""

EstimateRound = Callable[[CampaignSpec, RoundWork], float | None]
"""Seconds that a round of LoRA takes on this machine; None if that cannot be told."""

HEAD_SETTINGS: Mapping[str, Any] = {"learner": {"kind": "head"}}
"""The settings of a campaign that trains nothing but a head."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What the choice depends on.

    Attributes:
        n: How many texts there are.
        n_given: How many of them have labels already.
        characters: How long a text is, on average.
    """

    n: int
    n_given: int
    characters: float


def lora_settings(texts: Texts) -> dict[str, Any]:
    """Settings for LoRA every round; of a large pool, only a part is scored, which would take hours on a CPU."""
    large = {"candidates": CANDIDATES, "batch_size": LARGE_BATCH} if texts.n > LARGE_POOL else {}
    return {"learner": {"kind": "lora"}, "acquisition": large}


def learner_settings(
    request: CampaignRequest,
    spec: CampaignSpec,
    texts: Texts,
    tell: Callable[[str], None],
    estimate: EstimateRound | None,
) -> dict[str, Any]:
    """Decide what is trained and which model chooses, and say why in a sentence unless the user decided.

    Args:
        request: What the user says.
        spec: The campaign with LoRA every round.
        texts: What the data holds.
        tell: Called with the sentence.
        estimate: Estimates a round of LoRA; None for LoRA every round without a question.

    Returns:
        The sections ``learner`` and ``acquisition``.
    """
    if request.learner == "lora" or estimate is None:
        return lora_settings(texts)
    parts = spec.task.allowed.extras
    if "head" not in parts:
        tell("LoRA is trained every round, as a head writes no answers.")
        return lora_settings(texts)
    name = Path(spec.model.given_name).name
    seconds = estimate(spec, round_work(spec, texts.n, texts.characters))
    if seconds is None:
        tell(
            f"LoRA is trained every round. How long a round takes is not known, as the size of {name} could not be "
            "read; --learner head needs no language model."
        )
        return lora_settings(texts)
    if seconds <= SHORT_ROUND:
        tell(
            f"LoRA is trained every round: with {name}, a round takes {in_words(seconds)} on this machine "
            "(estimated)."
        )
        return lora_settings(texts)
    if "head_beside" not in parts:
        tell(
            f"A head is trained every round: with {name}, a round of LoRA takes {in_words(seconds)} on this machine "
            "(estimated). --learner lora trains that."
        )
        return {**HEAD_SETTINGS, "evaluation": {"size": spec.evaluation.size, "calibration": 0}}
    counts = label_counts(spec, texts.n, texts.n_given)
    tell(
        f"A head chooses the texts, and LoRA is trained {_when(counts)}: with {name}, a round of LoRA takes "
        f"{in_words(seconds)} on this machine (estimated)."
    )
    return {
        "learner": {"kind": "lora", "train": list(counts) or "at_end"},
        "acquisition": {"scorer": "head"},
    }


def head_settings(texts: Sequence[str], tell: Callable[[str], None]) -> dict[str, Any]:
    """Settings of a head that depend on the texts: an encoder that reads their language."""
    if looks_english(texts):
        return {}
    name = MULTILINGUAL_ENCODER.rpartition("/")[2]
    tell(
        f"The texts are not English: the head reads them with {name} ({MULTILINGUAL_SIZE} to download, once), "
        "which knows about 50 languages (head.encoder)."
    )
    return {"head": {"encoder": MULTILINGUAL_ENCODER}}


def _when(counts: tuple[int, ...]) -> str:
    if not counts:
        return "at the end"
    *others, last = (f"{each:,}" for each in counts)
    numbers = f"{', '.join(others)} and {last}" if others else last
    return f"at {numbers} {'label' if last == '1' else 'labels'} and at the end"
