"""Settle queries: turn the ballot of each into a label, a skip or a dispute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from star_al.config.spec import LabellingSpec
from star_al.labelling.ballots import Ballot, Refused, votes_by_query
from star_al.labelling.crowd import CrowdVotes, Vote, majority, median
from star_al.task import Task
from star_al.types import JsonValue, Label, Query, Role

LEAST_POSTERIOR = 0.6
"""A label by Dawid and Skene with a lower probability than this counts as disputed."""

Rule: TypeAlias = Callable[[Sequence[JsonValue]], JsonValue]
"""Makes the votes of one query a label; None for no clear one."""


@dataclass(frozen=True)
class Settled:
    """How queries ended; one that is in none of the first three still waits for answers.

    Attributes:
        labels: Query ids with the label of their item.
        skipped: Queries that nobody gave a label.
        disputed: Queries whose annotators disagree.
        refused: Answers that are not labels of their item.
    """

    labels: tuple[tuple[str, Label], ...] = ()
    skipped: tuple[Query, ...] = ()
    disputed: tuple[Query, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass
class _Sorted:
    """The queries of a ``Settled`` while they are being collected."""

    labels: list[tuple[str, Label]] = field(default_factory=list)
    skipped: list[Query] = field(default_factory=list)
    disputed: list[Query] = field(default_factory=list)


def settle(
    queries: Sequence[Query],
    ballots: Mapping[str, Ballot],
    rules: LabellingSpec,
    task: Task,
    crowd: CrowdVotes | None = None,
) -> Settled:
    """Settle the queries that have enough answers.

    Args:
        queries: The queries to settle.
        ballots: By query id, of these queries and of those whose answers count as well: earlier attempts at
            the same items.
        rules: How answers become labels.
        task: Says which answers are one.
        crowd: For ``dawid_skene``, which judges people by all of their answers, the votes of the whole campaign;
            ``None`` if ``ballots`` are those of all its queries.
    """
    joined = _joined_ballots(ballots, rules)
    complete = [query.query_id for query in queries if _is_complete(ballots[query.query_id], rules)]
    posterior = None
    if complete and rules.settle == "dawid_skene":
        crowd = CrowdVotes(votes_of(ballots, rules)) if crowd is None else crowd
        posterior = crowd.posteriors(complete)
    found = _Sorted()
    for query_id in complete:
        _decide(joined[query_id], posterior, _rule(rules, task, joined[query_id].query), found)
    refused = tuple(each for query in queries for each in ballots[query.query_id].refused)
    return Settled(tuple(found.labels), tuple(found.skipped), tuple(found.disputed), refused)


def _rule(rules: LabellingSpec, task: Task, query: Query) -> Rule:
    """How the votes of a query become a label where people do not differ in reliability."""
    if rules.settle == "median":
        return partial(median, place=task.place)
    if rules.settle == "majority_by_label":
        return task.by_label
    join = task.settled if query.purpose is Role.POOL else task.references

    def most_given(values: Sequence[JsonValue]) -> JsonValue:
        winners = majority(values, task.distance)
        return join(winners) if winners else None

    return most_given


def votes_of(ballots: Mapping[str, Ballot], rules: LabellingSpec) -> list[Vote]:
    """The votes by which people are judged; a further attempt counts once somebody has answered or skipped it."""
    joined = _joined_ballots(ballots, rules)
    return votes_by_query(
        joined[query_id] for query_id, ballot in ballots.items() if ballot.values or ballot.skips
    )


def _joined_ballots(ballots: Mapping[str, Ballot], rules: LabellingSpec) -> Mapping[str, Ballot]:
    """The ballots; those of further attempts, which asked one more person to decide a dispute, with earlier votes."""
    if rules.disputed != "ask_another":
        return ballots
    further = [ballot for ballot in ballots.values() if ballot.query.attempt > 1]
    items = {ballot.query.item_id for ballot in further}
    by_item: dict[str, list[Ballot]] = defaultdict(list)
    for ballot in ballots.values() if items else ():
        if ballot.query.item_id in items:
            by_item[ballot.query.item_id].append(ballot)
    return {**ballots, **{each.query.query_id: _with_earlier(each, by_item) for each in further}}


def _with_earlier(ballot: Ballot, by_item: Mapping[str, Sequence[Ballot]]) -> Ballot:
    attempts = [each for each in by_item[ballot.query.item_id] if each.query.attempt <= ballot.query.attempt]
    attempts.sort(key=lambda each: each.query.attempt)
    values = {person: value for each in attempts for person, value in each.values.items()}
    return Ballot(ballot.query, values, ballot.skips, ballot.refused)


def _is_complete(ballot: Ballot, rules: LabellingSpec) -> bool:
    """True if the query waits for no further answer.

    A skip counts as an answer, unless the rules ask another person instead. Then a query is only complete
    by skips once there are ``max_attempts`` of them.
    """
    wanted, n_votes, n_skips = ballot.query.wanted, len(ballot.values), len(ballot.skips)
    if n_votes >= wanted:
        return True
    if rules.skipped == "ask_another" and n_skips < rules.max_attempts:
        return False
    return n_skips > 0 and n_votes + n_skips >= wanted


def _decide(
    ballot: Ballot,
    posterior: Mapping[str, Mapping[str, float]] | None,
    rule: Rule,
    found: _Sorted,
) -> None:
    query = ballot.query
    if not ballot.values:
        found.skipped.append(query)
        return
    value = _likeliest(posterior[query.query_id]) if posterior else _winner(ballot, rule)
    if value is None:
        found.disputed.append(query)
    else:
        found.labels.append((query.query_id, Label(query.item_id, value, round_index=query.round_index)))


def _likeliest(probabilities: Mapping[str, float]) -> str | None:
    """The most likely label; None if it is not likely enough."""
    best = max(sorted(probabilities), key=lambda value: probabilities[value])
    return best if probabilities[best] >= LEAST_POSTERIOR else None


def _winner(ballot: Ballot, rule: Rule) -> JsonValue:
    """The label that a rule finds; None for a tie.

    If more people answered than were asked, a tie is decided by those who answered first.
    """
    values, wanted = list(ballot.values.values()), ballot.query.wanted
    winner = rule(values)
    if winner is None and ballot.query.attempt == 1 and len(values) > wanted:
        return rule(values[:wanted])
    return winner
