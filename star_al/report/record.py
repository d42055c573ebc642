"""What a campaign looks like, gathered from the store: what pages and commands show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from star_al.config.spec import CampaignSpec
from star_al.types import Campaign, Evaluation, JsonObject, Label, Query, Round


@dataclass(frozen=True)
class Person:
    """One annotator's work. ``agreed`` of the ``compared`` answers are the label in force of their item."""

    name: str
    answers: int
    skips: int
    seconds: float | None  # the median lead time of an answer
    compared: int
    agreed: int


@dataclass(frozen=True)
class Asked:
    """A query, the label its item got, if any, and the answers to it by annotator; null for a skip."""

    query: Query
    label: Label | None
    answers: Mapping[str, str | None]


@dataclass(frozen=True)
class CampaignRecord:
    """All that a campaign's page shows.

    ``sizes`` and ``labels`` count items and labels by role, ``evaluations`` are by round, ``lead_times`` the
    seconds of the answers to each round's queries. ``history`` is ``Store.history``. ``versions`` are those
    of the newest round.
    """

    campaign: Campaign
    spec: CampaignSpec
    sizes: Mapping[str, int]
    labels: Mapping[str, int]
    rounds: tuple[Round, ...]
    evaluations: Mapping[int, Sequence[Evaluation]]
    history: tuple[JsonObject, ...]
    asked: tuple[Asked, ...]
    people: tuple[Person, ...]
    lead_times: Mapping[int, Sequence[float]]
    made_at: datetime
    program: str  # the version of star_al that made the page

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The rounds whose model was measured on held-out labels, in order."""
        return tuple(
            Measured(round_, self.evaluations[round_.index])
            for round_ in self.rounds
            if find(self.evaluations[round_.index], "adapted") is not None
        )


@dataclass(frozen=True)
class Measured:
    """A round and its evaluations, of which there is one of the adapted model at least."""

    round: Round
    evaluations: Sequence[Evaluation]

    @property
    def adapted(self) -> Evaluation:
        """The adapted model, temperature-scaled where a temperature was fitted."""
        found = find(self.evaluations, "adapted", "temperature", "raw")
        assert found is not None
        return found

    @property
    def base(self) -> Evaluation | None:
        """The base model before any temperature, contextually calibrated if the task asks for it."""
        return find(self.evaluations, "base", "contextual", "raw")

    @property
    def shadow(self) -> Evaluation | None:
        """The model of the control arm, from the labels of random texts alone."""
        return find(self.evaluations, "shadow", "raw")


def find(evaluations: Sequence[Evaluation], model: str, *scalings: str) -> Evaluation | None:
    """The evaluation of a model with the first of these scalings that there is; with none named, any."""
    of_model = {each.scaling: each for each in evaluations if each.model == model}
    names = scalings or tuple(of_model)
    return next((of_model[name] for name in names if name in of_model), None)
