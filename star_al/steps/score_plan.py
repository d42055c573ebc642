"""What a round scores: the items, the samples, the measure, and the items that EPIG is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from star_al import rng
from star_al.acquire.adaptive_sampling import BatchRule, sample_stages
from star_al.acquire.measures import MEASURES, Measure, label_probability, uncertainties
from star_al.acquire.ranking import power_noise
from star_al.config.spec.task import normalise_label
from star_al.parts import RoundParts
from star_al.steps.base_bias import base_bias
from star_al.steps.blend_weight import planned_weight
from star_al.steps.control_arm import control_size
from star_al.steps.pool import batch_sizes, candidates, posterior_seed, scoring_draws
from star_al.types import FloatArray, Predictions


@dataclass(frozen=True)
class AdaptivePlan:
    """Adaptive sampling: the samples that every candidate gets, and the choice that decides who gets more."""

    first: int
    choice: BatchRule


@dataclass(frozen=True)
class PlannedShortlist:
    """A plan that leaves out texts: how many the pool has, and ids of the scored ones that were drawn at random."""

    pool: int
    drawn: frozenset[str]


@dataclass(frozen=True)
class ScorePlan:
    """All that a round's scores depend on, besides the model.

    Attributes:
        item_ids: The candidates, sorted.
        adapter: Hash of the artefact that ranks; None if the base model ranks alone (a cold start).
        seed: Seed of the posterior's samples.
        draws: The samples to predict with; None for the posterior's mean or mode alone.
        measure: The acquisition measure.
        with_base: True if base uncertainties are needed, for the blend or for a cold start.
        adaptive: How samples are spread over the candidates; None if each gets all of ``draws``.
        target_label: Column of the label to look for; None for other measures than its probability.
        head: Hash of a head that has a part in the blend; None if it has none.
        base_bias: The label bias to add to the base model's log-probabilities; empty if it is left as it is.
        shortlist: What ``item_ids`` are of the pool; None if they are all candidates.
        targets: Sorted ids of the items whose answers EPIG is about; empty for other measures.
        keeps_samples: True if the score file keeps the predictions of all samples, False for their mean alone. A
            head's samples cost so little that those of some items are drawn again where they are needed.
    """

    item_ids: tuple[str, ...]
    adapter: str | None
    seed: int
    draws: range | None
    measure: str
    with_base: bool
    adaptive: AdaptivePlan | None = None
    targets: tuple[str, ...] = ()
    keeps_samples: bool = True
    target_label: int | None = None
    head: str | None = None
    base_bias: tuple[float, ...] = ()
    shortlist: PlannedShortlist | None = None

    def uncertainties(self, predictions: Predictions, *, per_option: bool) -> FloatArray:
        """Score predictions by the measure, (N,); not for EPIG, which needs more than the item's own predictions."""
        if self.target_label is None:
            return uncertainties(predictions, self.measure, per_option=per_option)
        return self.uncertainty(predictions.log_probs_N_K_C, per_option=per_option)

    @property
    def uncertainty(self) -> Measure:
        """The measure as a function of the columns alone."""
        if self.target_label is None:
            return MEASURES[self.measure]
        return partial(label_probability, column=self.target_label)

    def stages(self) -> list[range | None]:
        """The samples to draw, stage by stage."""
        if self.adaptive is None or self.draws is None:
            return [self.draws]
        return list(sample_stages(self.adaptive.first, len(self.draws)))

    def key(self, shard: Sequence[str], draws: range | None, base_key: str) -> str:
        """A hash of all that a shard's scores depend on; it names the shard's file.

        Args:
            shard: Ids of the shard's items, in order.
            draws: The samples that the stage adds; None for the posterior's mean or mode.
            base_key: The learner's hash of all that base predictions depend on.
        """
        samples = None if draws is None else [draws.start, draws.stop]
        inputs: list[object] = [
            base_key,
            self.adapter,
            self.seed,
            samples,
            self.measure,
            self.with_base,
            list(shard),
        ]
        inputs += [list(self.targets)] if self.targets else []
        inputs += [] if self.keeps_samples else ["mean"]
        inputs += [] if self.target_label is None else [f"label {self.target_label}"]
        inputs += [] if self.head is None else [f"head {self.head}"]
        inputs += [list(self.base_bias)] if self.base_bias else []
        if self.shortlist is not None:
            inputs.append(["drawn", *(item_id for item_id in shard if item_id in self.shortlist.drawn)])
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def score_plan(parts: RoundParts) -> ScorePlan | None:
    """What to score in a round; None if the batch is drawn at random or a cold start takes typical texts."""
    acquisition, adapter = parts.spec.acquisition, parts.ranker_sha256(parts.round)
    is_cold = adapter is None
    if acquisition.cold_start != "base_uncertainty" if is_cold else acquisition.batch.kind == "random":
        return None
    item_ids = candidates(parts)
    with_base = is_cold or acquisition.blend.kind != "off"
    bias_C = base_bias(parts) if with_base else None
    has_head_part = acquisition.blend.kind == "prequential" and parts.spec.ranking_model == "adapted"
    return ScorePlan(
        item_ids=item_ids,
        adapter=adapter,
        seed=posterior_seed(parts),
        draws=None if is_cold else scoring_draws(parts.spec),
        measure=acquisition.measure,
        with_base=with_base,
        adaptive=None if is_cold else _adaptive_plan(parts, len(item_ids)),
        targets=() if is_cold else _epig_targets(parts, item_ids),
        keeps_samples=not parts.spec.head_ranks,
        target_label=_target_label(parts),
        head=parts.round.head_sha256 if has_head_part and not is_cold else None,
        base_bias=() if bias_C is None else tuple(bias_C.tolist()),
    )


def _target_label(parts: RoundParts) -> int | None:
    acquisition = parts.spec.acquisition
    if acquisition.measure != "label_probability":
        return None
    wanted = normalise_label(acquisition.target_label or "")
    return [normalise_label(name) for name in parts.spec.task.label_names].index(wanted)


def _epig_targets(parts: RoundParts, item_ids: Sequence[str]) -> tuple[str, ...]:
    """A random sample of the first pool, the same in every round; of ``item_ids`` if that pool was empty."""
    acquisition = parts.spec.acquisition
    if acquisition.measure != "epig":
        return ()
    first_pool = parts.store.pool_ids(parts.campaign.campaign_id, 0)
    seed = rng.derive_seed(parts.campaign.seed, 0, "epig targets")
    return tuple(sorted(rng.draw(first_pool or item_ids, acquisition.epig_targets, seed)))


def _adaptive_plan(parts: RoundParts, n: int) -> AdaptivePlan | None:
    """Adaptive sampling of ``n`` candidates, if it is configured."""
    acquisition = parts.spec.acquisition
    if acquisition.adaptive_samples is None:
        return None
    size, buffer = batch_sizes(parts)
    size -= control_size(size, acquisition.control_share)
    noise_N = None
    if acquisition.batch.kind == "power":  # the noise that the batch will be drawn with
        random = rng.generator(parts.campaign.seed, parts.round.index, "select")
        noise_N = power_noise(n, acquisition.batch.beta, random)
    choice = BatchRule((size, size + buffer), planned_weight(parts), acquisition.blend.normalise, noise_N)
    return AdaptivePlan(acquisition.adaptive_samples, choice)
