"""The model by which a campaign predicts: the head, the language model, or both by their weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from star_al import __version__, rng
from star_al.acquire.measures import known_split, predictive_entropy, predictive_mean_log
from star_al.app.model_choice import ModelChoice
from star_al.data import ModelAnswer
from star_al.errors import DataError
from star_al.parts import Parts
from star_al.ports import Advance, Learner, Predict, PredictBase
from star_al.replay import find_round
from star_al.stats.delivery import mixed
from star_al.stats.temperature import apply_temperature
from star_al.steps.answers import Answers
from star_al.steps.base_predictions import as_log_probs, pool_of_base
from star_al.steps.delivery import delivery_of
from star_al.steps.measured import confidences
from star_al.steps.pool import all_draws
from star_al.task import Task
from star_al.task.columns import is_open, values_of
from star_al.types import BasePrediction, FloatArray, Item, JsonValue, PlattScaling, Predictions, Round


@dataclass(frozen=True)
class LatestModel:
    """The model that predicts; ``round_index`` is ``None`` for the base model, ``note`` describes it."""

    round_index: int | None
    temperature: float
    note: str
    platt: PlattScaling | None = None


class Predictor:
    """Predicts with what a campaign's newest evaluated round delivers, or else with the base model.

    Args:
        parts: The campaign.
        round_index: The round whose model predicts; None for the newest.
        which: The head or the language model alone, or what the round delivers of both.
        alone: Of a mix, take the model with more weight.

    Raises:
        DataError: There is no such round, or it has no evaluated model of this kind.
    """

    def __init__(
        self,
        parts: Parts,
        round_index: int | None = None,
        *,
        which: ModelChoice = ModelChoice.BEST,
        alone: bool = False,
    ) -> None:
        self._parts = parts
        rounds = parts.store.rounds(parts.campaign.campaign_id)
        if round_index is not None:
            rounds = [find_round(parts.store, parts.campaign, round_index)]
        found = [one for each in rounds if (one := _trained_in(parts, each, which, alone=alone)) is not None]
        if not found and (round_index is not None or which is not ModelChoice.BEST):
            where = "the campaign" if round_index is None else f"round {round_index}"
            other = "Run `star-al run` first." if round_index is None else "Give another round."
            raise DataError(f"{where} has no {_kind(parts, which)} that was trained and evaluated. {other}")
        self._newest = found[-1] if found else None
        self.model = self._newest.described(parts) if self._newest else _base(rounds, parts)

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter or head, the heavier one of a mix; None for the base model.

        Raises:
            StoreError: It is missing or damaged.
        """
        return None if self._newest is None else self._parts.artefacts.path_of(self._newest.heavier.sha256)

    @property
    def learner(self) -> Learner:
        """What predicts, the heavier one of a mix; without a trained model, what ranks the pool."""
        return self._parts.ranker if self._newest is None else self._newest.heavier.learner

    @property
    def is_head(self) -> bool:
        """True if ``learner`` is a head."""
        return self._parts.spec.has_head_learner or self.learner is self._parts.head

    @property
    def is_mix(self) -> bool:
        """True if head and language model predict together."""
        return self._newest is not None and len(self._newest.models) > 1

    @property
    def draws(self) -> range | None:
        """The samples that a prediction of ``learner`` averages over; None for the posterior's mean or mode."""
        return _draws(self._parts, self.learner)

    @property
    def seed(self) -> int:
        """The seed of the samples."""
        return rng.derive_seed(self._parts.campaign.seed, self.model.round_index or 0, "evaluate")

    @property
    def task(self) -> Task:
        """The campaign's task."""
        return self._parts.task

    @property
    def key(self) -> str:
        """A hash of all that its predictions depend on besides the texts."""
        models = () if self._newest is None else self._newest.models
        inputs = [
            __version__,
            self._parts.campaign.key,
            self._parts.spec.task.model_dump(mode="json"),
            self.model.round_index,
            self.model.temperature,
            None if self.model.platt is None else asdict(self.model.platt),
            self.learner.base_key,
            [[one.learner.base_key, one.sha256, one.weight] for one in models],
        ]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()

    def answers(self, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        """Predict items.

        Returns:
            For each item the label, its calibrated probabilities, and the uncertainty of the raw samples.
        """
        log_probs_N_K_C, answers = self._answers(items, advance)
        probs_N_C = np.exp(apply_temperature(answers.log_probs_N_C, self.model.temperature))
        total_N = answers.signals.get("entropy", predictive_entropy(log_probs_N_K_C))
        draws = self._parts.spec.task.answer_draws
        aleatoric_N, epistemic_N = known_split(log_probs_N_K_C, answers.signals, draws)
        right_N = self._right(items, answers)
        is_split_N = ~np.isnan(epistemic_N) & (log_probs_N_K_C.shape[1] > 1)
        return [
            ModelAnswer(
                label=label,
                probabilities_C=tuple(probs_N_C[n, : self._width(items[n], answers.values(n))].tolist()),
                total_uncertainty=float(total_N[n]),
                aleatoric=float(aleatoric_N[n]) if is_split_N[n] else None,
                epistemic=float(epistemic_N[n]) if is_split_N[n] else None,
                answers=answers.values(n),
                signals=answers.signals_of(n),
                right=None if right_N is None else float(right_N[n]),
            )
            for n, (_, label) in enumerate(answers.predicted(self.task, items))
        ]

    def _right(self, items: Sequence[Item], answers: Answers) -> FloatArray | None:
        """The probability that each answer counts as right; None where it was not fitted."""
        if self.model.platt is None:
            return None
        return confidences(answers, items, self.task, self.model.platt)

    def begin(self, items: Sequence[Item]) -> None:
        """Let the workers of a cluster, if there is one, begin with items that ``answers_of`` will be asked for."""
        different, compute = _different(items), self._parts.compute
        if self._newest is None:
            compute.begin(self.learner, self._base_job(different))
            return
        for one in self._newest.models:
            compute.begin(one.learner, self._job(one, different))

    def answers_of(self, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        """Predict items in order, repeated ones once."""
        by_id = self.answers_by_id(items, advance)
        advance(len(items) - len(by_id))
        return [by_id[item.item_id] for item in items]

    def answers_by_id(self, items: Sequence[Item], advance: Advance) -> dict[str, ModelAnswer]:
        """Predict items, repeated ones once; returns the answers by item id."""
        different = _different(items)
        if not different:
            return {}
        answers = self.answers(different, advance)
        return {item.item_id: answer for item, answer in zip(different, answers, strict=True)}

    def _width(self, item: Item, values: Sequence[JsonValue]) -> int:
        """How many columns an item has."""
        return len(values_of(self.task, item, values))

    def _answers(self, items: Sequence[Item], advance: Advance) -> tuple[FloatArray, Answers]:
        """Log-probabilities of every sample (N, K, C), and the answers by their mean, before the temperature."""
        if self._newest is None:
            contextual = self._parts.spec.task.contextual_calibration
            (found,) = self._parts.compute.each(self.learner, [self._base_job(items)], advance)
            mean_N_C = as_log_probs(found, contextual=contextual)
            values_N = tuple(one.answers for one in found) if is_open(self.task) else ()
            return mean_N_C[:, None, :], Answers(mean_N_C, values_N=values_N, signals=_told(found))
        samples = [self._samples(one, items, advance) for one in self._newest.models]
        means = [np.array(predictive_mean_log(each.log_probs_N_K_C)) for each in samples]
        if len(samples) == 1:
            rows = range(len(items)) if samples[0].open_ended else ()
            values_N = tuple(map(samples[0].answers_of, rows))
            answers = Answers(means[0], values_N=values_N, signals=samples[0].signals)
            return samples[0].log_probs_N_K_C, answers
        first, second = (one.weight for one in self._newest.models)
        both = [each.log_probs_N_K_C for each in samples]
        mean_N_C = mixed(means[0], means[1], first, second)
        return mixed(both[0], both[1], first, second), Answers(mean_N_C)

    def _samples(self, one: _Model, items: Sequence[Item], advance: Advance) -> Predictions:
        (found,) = self._parts.compute.each(one.learner, [self._job(one, items)], advance)
        return found

    def _job(self, one: _Model, items: Sequence[Item]) -> Predict:
        folder = self._parts.artefacts.path_of(one.sha256)
        return Predict(folder, items, _draws(self._parts, one.learner), self.seed)

    def _base_job(self, items: Sequence[Item]) -> PredictBase:
        return PredictBase(items, pool_of_base(self._parts, self.learner))


def _different(items: Sequence[Item]) -> list[Item]:
    """Each item once."""
    return list({item.item_id: item for item in items}.values())


def _told(found: Sequence[BasePrediction]) -> dict[str, FloatArray]:
    """The total uncertainty as a base model tells it besides its columns; empty if it does not."""
    told = [one.uncertainty for one in found if one.uncertainty is not None]
    if not told or len(told) < len(found):
        return {}
    return {"entropy": np.array(told)}


@dataclass(frozen=True)
class _Model:
    """A head or an adapter of a round, with its weight in what is delivered.

    Attributes:
        share: The weight of its answers at their own temperature; weights compare models that are differently sure.
    """

    learner: Learner
    sha256: str
    name: str
    weight: float = 1.0
    share: float = 1.0


@dataclass(frozen=True)
class _Trained:
    """What predicts for a round: a model with its temperature, or a head and an adapter by their weights."""

    round_index: int
    models: tuple[_Model, ...]
    temperature: float
    platt: PlattScaling | None = None

    @property
    def heavier(self) -> _Model:
        return max(self.models, key=lambda one: one.share)

    def described(self, parts: Parts) -> LatestModel:
        where = f"of round {self.round_index}"
        if len(self.models) == 1:
            note = f"{self.models[0].name} {where}, temperature {self.temperature:.2f}"
        else:
            total = sum(one.share for one in self.models)
            shares = " and ".join(f"{one.name} ({one.share / total:.0%})" for one in self.models)
            note = f"{shares} {where}"
        return LatestModel(self.round_index, self.temperature, note, self.platt)


def _trained_in(parts: Parts, round_: Round, which: ModelChoice, *, alone: bool) -> _Trained | None:
    """What of a round predicts; None if nothing of it was trained and evaluated."""
    index, found = round_.index, _evaluated(parts, round_)
    head, adapted = found.get(ModelChoice.HEAD), found.get(ModelChoice.LORA)
    delivery = delivery_of(round_.evaluation)
    if which is ModelChoice.BEST and head and adapted and delivery:
        weights = {ModelChoice.HEAD: delivery.head_weight, ModelChoice.LORA: delivery.adapted_weight}
        shares = {name: weight * found[name].temperature for name, weight in weights.items()}
        if alone or 0.0 in weights.values():
            which = max((ModelChoice.LORA, ModelChoice.HEAD), key=shares.__getitem__)
        else:
            models = tuple(
                replace(found[name].models[0], weight=weights[name], share=shares[name]) for name in weights
            )
            return _Trained(index, models, 1.0)
    if which is ModelChoice.BEST:
        return adapted or head
    return found.get(which)


def _evaluated(parts: Parts, round_: Round) -> dict[ModelChoice, _Trained]:
    """The models of a round that were trained and evaluated, each with its own temperature."""
    evaluation, found = round_.evaluation, {}
    if evaluation is None:  # an interrupted round may have been trained
        return {}
    head_ranks = parts.spec.ranking_model == "head"
    adapted = evaluation.adapted_temperature if head_ranks else evaluation.temperature
    main = ModelChoice.HEAD if parts.spec.has_head_learner else ModelChoice.LORA
    if round_.adapter_sha256 is not None and adapted is not None:
        name = "head" if main is ModelChoice.HEAD else "adapter"
        platt = None if head_ranks else evaluation.platt
        models = (_Model(parts.learner, round_.adapter_sha256, name),)
        found[main] = _Trained(round_.index, models, adapted, platt)
    if round_.head_sha256 is not None and parts.head is not None:
        temperature = evaluation.temperature if head_ranks else _head_temperature(parts, round_)
        found[ModelChoice.HEAD] = _Trained(
            round_.index, (_Model(parts.head, round_.head_sha256, "head"),), temperature
        )
    return found


def _head_temperature(parts: Parts, round_: Round) -> float:
    """The temperature of a head that does not rank the pool; 1 if none was fitted for it."""
    rows = parts.store.evaluations(parts.campaign.campaign_id, round_.index)
    return next(
        (one.temperature for one in rows if one.model == "head" and one.scaling == "temperature"), 1.0
    )


def _draws(parts: Parts, learner: Learner) -> range | None:
    return None if learner is parts.head else all_draws(parts.spec)


def _kind(parts: Parts, which: ModelChoice) -> str:
    if which is ModelChoice.BEST:
        return "head" if parts.spec.has_head_learner else "adapter"
    return {ModelChoice.HEAD: "head", ModelChoice.LORA: "language model"}[which]


def _base(rounds: Sequence[Round], parts: Parts) -> LatestModel:
    found = rounds[0].evaluation.base_temperature if rounds and rounds[0].evaluation else None
    scaling = ["contextual calibration"] if parts.spec.task.contextual_calibration else []
    scaling += ["no temperature yet" if found is None else f"temperature {found:.2f} of round 0"]
    what = parts.spec.untrained_head_in_words if parts.spec.head_ranks else "base model"
    trained = "head" if parts.spec.head_ranks else "adapter"
    note = f"{what}, {', '.join(scaling)}; no {trained} has been trained and evaluated yet"
    return LatestModel(None, 1.0 if found is None else found, note)
