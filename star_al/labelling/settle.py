"""From annotations to a label: what the answers to a query amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from star_al.config.spec import LabellingSpec
from star_al.errors import DataError
from star_al.labelling.crowd import Vote, dawid_skene, majority
from star_al.task import ClosedTask
from star_al.types import Annotation, Label, Query

LEAST_POSTERIOR = 0.6
"""A label by Dawid and Skene that is less likely than this counts as disputed."""

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Ballot:
    """The answers to one query: each person's newest, in the order in which people first answered.

    ``values`` are labels of the task; ``skips`` are people who passed, or whose answer is no label of the
    item; ``refused`` are such answers, in words.
    """

    query: Query
    values: Mapping[str, str]
    skips: frozenset[str]
    refused: tuple[str, ...]


@dataclass(frozen=True)
class Settled:
    """What queries amount to; those that are in none of the three wait for more answers."""

    labels: tuple[tuple[str, Label], ...] = ()  # by query id
    skipped: tuple[Query, ...] = ()
    disputed: tuple[Query, ...] = ()
    refused: tuple[str, ...] = ()  # in words


@dataclass
class _Sorted:
    """Queries as they are being sorted."""

    labels: list[tuple[str, Label]] = field(default_factory=list)
    skipped: list[Query] = field(default_factory=list)
    disputed: list[Query] = field(default_factory=list)


def settle(
    queries: Sequence[Query],
    others: Sequence[Query],
    annotations: Sequence[Annotation],
    task: ClosedTask,
    rules: LabellingSpec,
) -> Settled:
    """Settle those of ``queries`` that have their answers.

    ``others`` are queries that are not to be settled but whose answers count: earlier attempts at the same
    items, and for ``dawid_skene``, which judges people by all their answers, the whole campaign.
    """
    ballots = ballots_of([*queries, *others], annotations, task)
    joined = {query_id: _with_earlier(ballot, ballots, rules) for query_id, ballot in ballots.items()}
    complete = [query.query_id for query in queries if _is_complete(ballots[query.query_id], rules)]
    posterior = None
    if complete and rules.settle == "dawid_skene":
        posterior = dawid_skene(_votes(joined.values()))
    found = _Sorted()
    for query_id in complete:
        _decide(joined[query_id], posterior, found)
    refused = tuple(complaint for query in queries for complaint in ballots[query.query_id].refused)
    return Settled(tuple(found.labels), tuple(found.skipped), tuple(found.disputed), refused)


def ballots_of(
    queries: Sequence[Query], annotations: Sequence[Annotation], task: ClosedTask
) -> dict[str, Ballot]:
    """The ballot of each query, by query id."""
    answers = _in_force(annotations)
    return {query.query_id: _ballot(query, answers.get(query.query_id, []), task) for query in queries}


def newest_revisions(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Each annotation as it is now: of its revisions the newest."""
    ordered = sorted(annotations, key=lambda each: each.revision)
    return list({annotation.external_id: annotation for annotation in ordered}.values())


def votes_of(ballots: Sequence[Ballot]) -> list[Vote]:
    """All votes, with the item as their unit; of a person who was asked an item twice, the last."""
    latest = {
        (ballot.query.item.item_id, person): value
        for ballot in sorted(ballots, key=lambda each: each.query.attempt)
        for person, value in ballot.values.items()
    }
    return [Vote(item_id, person, value) for (item_id, person), value in latest.items()]


def _in_force(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    """The newest revision of each annotation by query, oldest first; withdrawn ones only where there is no other."""
    by_query: dict[str, list[Annotation]] = {}
    for annotation in sorted(newest_revisions(annotations), key=_age):
        by_query.setdefault(annotation.query_id, []).append(annotation)
    return {
        query_id: [each for each in answers if not each.withdrawn] or answers
        for query_id, answers in by_query.items()
    }


def _age(annotation: Annotation) -> tuple[datetime, str]:
    return annotation.created_at or _LONG_AGO, annotation.external_id


def _ballot(query: Query, answers: Sequence[Annotation], task: ClosedTask) -> Ballot:
    values: dict[str, str] = {}
    skips: set[str] = set()
    refused: list[str] = []
    for answer in answers:
        person = answer.annotator or answer.external_id
        if answer.skipped:
            skips.add(person)
            continue
        try:
            column = task.column(query.item, answer.value)
        except DataError as exc:
            skips.add(person)
            refused.append(f"annotation {answer.external_id} by {person}: {exc}")
        else:
            values[person] = str(task.value(query.item, column))
    return Ballot(query, values, frozenset(skips - values.keys()), tuple(refused))


def _with_earlier(ballot: Ballot, ballots: Mapping[str, Ballot], rules: LabellingSpec) -> Ballot:
    """The ballot with the votes of earlier attempts, where another person was asked to join them."""
    if rules.disputed != "ask_another" or ballot.query.attempt == 1:
        return ballot
    item_id = ballot.query.item.item_id
    attempts = sorted(
        (
            each
            for each in ballots.values()
            if each.query.item.item_id == item_id and each.query.attempt <= ballot.query.attempt
        ),
        key=lambda each: each.query.attempt,
    )
    values = {person: value for each in attempts for person, value in each.values.items()}
    return Ballot(ballot.query, values, ballot.skips, ballot.refused)


def _votes(ballots: Iterable[Ballot]) -> list[Vote]:
    """Votes with the query as their unit."""
    return [
        Vote(ballot.query.query_id, person, value)
        for ballot in ballots
        for person, value in ballot.values.items()
    ]


def _is_complete(ballot: Ballot, rules: LabellingSpec) -> bool:
    """Whether nobody else is to answer the query.

    A skip stands for an answer, unless another person is to be asked instead; then it takes as many skips
    as there may be attempts.
    """
    wanted, n_votes, n_skips = ballot.query.wanted, len(ballot.values), len(ballot.skips)
    if n_votes >= wanted:
        return True
    if rules.skipped == "ask_another" and n_skips < rules.max_attempts:
        return False
    return n_skips > 0 and n_votes + n_skips >= wanted


def _decide(ballot: Ballot, posterior: Mapping[str, Mapping[str, float]] | None, found: _Sorted) -> None:
    query = ballot.query
    if not ballot.values:
        found.skipped.append(query)
        return
    value = _likeliest(posterior[query.query_id]) if posterior else _winner(ballot)
    if value is None:
        found.disputed.append(query)
    else:
        found.labels.append((query.query_id, Label(query.item.item_id, value, round_index=query.round_index)))


def _likeliest(probabilities: Mapping[str, float]) -> str | None:
    """The label that is likely enough; null when none is."""
    best = max(sorted(probabilities), key=lambda value: probabilities[value])
    return best if probabilities[best] >= LEAST_POSTERIOR else None


def _winner(ballot: Ballot) -> str | None:
    """The label of most votes; a tie by more people than were asked goes by those who came first, else null."""
    values, wanted = list(ballot.values.values()), ballot.query.wanted
    winner = majority(values)
    if winner is None and ballot.query.attempt == 1 and len(values) > wanted:
        return majority(values[:wanted])
    return winner
