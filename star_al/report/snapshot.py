"""What a campaign's page shows, gathered from the store at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from star_al.config.spec import CampaignSpec
from star_al.stats.learning_curves import Comparison
from star_al.types import Campaign, Evaluation, JsonObject, Label, Query, Round


@dataclass(frozen=True)
class Person:
    """One annotator's work. ``agreed`` of ``compared`` answers equal the label in force of their item."""

    name: str
    answers: int
    skips: int
    seconds: float | None  # median seconds per answer
    compared: int
    agreed: int


@dataclass(frozen=True)
class AskedQuery:
    """A query with the label of its item, if there is one, and the answers by annotator; ``None`` is a skip.

    ``wrong`` is True if the model predicted something else when the item was chosen.
    """

    query: Query
    label: Label | None
    answers: Mapping[str, str | None]
    wrong: bool = False


@dataclass(frozen=True)
class OnSameTexts:
    """How often one model alone was right, in a round whose predictions are kept.

    Attributes:
        round_index: The round.
        only_adapted: Texts that the language model alone gets right.
        only_head: Texts that the head alone gets right.
        n: All texts.
    """

    round_index: int
    only_adapted: int
    only_head: int
    n: int


@dataclass(frozen=True)
class GradedAnswer:
    """A model's answer to a held-out text.

    Attributes:
        text: The text, cut to what the page shows.
        answer: What the model answered, for people to read; None where no answer was found in it.
        gold: What people answered.
        confidence: The calibrated probability of the answer.
        right: Whether it counts as right.
        grade: How right it is, from 0 to 1.
    """

    text: str
    answer: str | None
    gold: str
    confidence: float
    right: bool
    grade: float


@dataclass(frozen=True)
class CampaignSnapshot:
    """Everything that a campaign's page shows.

    Attributes:
        sizes: Number of items by role.
        labels: Number of labels by role.
        evaluations: Evaluations by round index.
        history: Rows of ``Store.history``.
        texts: The texts of the queries' items, cut to what the page shows, by item id.
        lead_times: Seconds that each answer took, by round.
        program: Version of star_al that makes the page.
        simulated: The study with the campaign's name, whose runs took place on the same texts; None without one.
        right_answers: Which audit items each model predicted right, by round, model and item id; empty where single
            answers are not stored.
        on_same_texts: Language model and head in the newest round that has predictions of both; None without one.
        answers: Answers to audit items in the newest evaluated round, where answers are open.
        effort: What people did with drafts, in words; empty if they saw none.
    """

    campaign: Campaign
    spec: CampaignSpec
    sizes: Mapping[str, int]
    labels: Mapping[str, int]
    rounds: tuple[Round, ...]
    evaluations: Mapping[int, Sequence[Evaluation]]
    history: tuple[JsonObject, ...]
    asked: tuple[AskedQuery, ...]
    texts: Mapping[str, str]
    people: tuple[Person, ...]
    lead_times: Mapping[int, Sequence[float]]
    made_at: datetime
    program: str
    right_answers: Mapping[int, Mapping[str, Mapping[str, bool]]] = field(default_factory=dict)
    on_same_texts: OnSameTexts | None = None
    answers: Sequence[GradedAnswer] = ()
    effort: str = ""
    simulated: Comparison | None = None

    @property
    def evaluated(self) -> tuple[EvaluatedRound, ...]:
        """The rounds whose model was evaluated on held-out labels, in order."""
        model = self.spec.ranking_model
        return tuple(
            EvaluatedRound(round_, self.evaluations[round_.index], model)
            for round_ in self.rounds
            if find_evaluation(self.evaluations[round_.index], model) is not None
        )


@dataclass(frozen=True)
class EvaluatedRound:
    """A round and its evaluations, with at least one of the model that ranks the pool.

    Attributes:
        round: The round.
        evaluations: Its evaluations.
        model: That model: ``adapted``, or ``head`` beside a language model.
    """

    round: Round
    evaluations: Sequence[Evaluation]
    model: str = "adapted"

    @property
    def main(self) -> Evaluation:
        """The model that ranks the pool, temperature-scaled where a temperature was fitted."""
        found = find_evaluation(self.evaluations, self.model, "temperature", "raw")
        assert found is not None
        return found

    @property
    def beside(self) -> Evaluation | None:
        """The other of language model and head, scaled likewise; None if it was not measured in this round."""
        other = "adapted" if self.model == "head" else "head"
        return find_evaluation(self.evaluations, other, "temperature", "raw")

    @property
    def delivered(self) -> Evaluation | None:
        """What is delivered of language model and head; None if the round has not both."""
        return find_evaluation(self.evaluations, "delivered", "raw")

    @property
    def result(self) -> Evaluation:
        """What predictions of this round come from: what is delivered of both models, or ``main``."""
        return self.delivered or self.main

    @property
    def base(self) -> Evaluation | None:
        """The base model before any temperature, with contextual calibration if the task asks for it."""
        return find_evaluation(self.evaluations, "base", "contextual", "raw")

    @property
    def fits_right_answers(self) -> bool:
        """True if the confidence of ``main`` is the probability of a right answer, where answers are graded."""
        return self.round.evaluation is not None and self.round.evaluation.platt is not None

    @property
    def sequence(self) -> tuple[float | None, float | None]:
        """The confidence sequence of the accuracy at this round; None and None until the round is decided."""
        decision = self.round.decision
        return (decision.sequence_low, decision.sequence_high) if decision else (None, None)

    @property
    def shadow_labels(self) -> int | None:
        """How many labels the control arm's model was trained on; ``None`` without a control arm."""
        return self.round.fit.shadow_labels if self.round.fit else None

    @property
    def shadow(self) -> Evaluation | None:
        """The control arm's model, trained on the labels of random texts only."""
        return find_evaluation(self.evaluations, "shadow", "raw")


def find_evaluation(evaluations: Sequence[Evaluation], model: str, *scalings: str) -> Evaluation | None:
    """Return a model's evaluation with the first of ``scalings`` that exists, or with any if none is named."""
    of_model = {each.scaling: each for each in evaluations if each.model == model}
    names = scalings or tuple(of_model)
    return next((of_model[name] for name in names if name in of_model), None)
