"""Aggregate the labels of several annotators (majority, Dawid and Skene), and measure their agreement.

The only importer of crowd-kit, which is loaded when it is first needed.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse

from star_al.task.grouping import grouped
from star_al.types import FloatArray, IntArray, JsonValue

if TYPE_CHECKING:
    import pandas as pd

STEPS, TOLERANCE, LEAST = 100, 1e-6, 1e-10
"""Of expectation maximisation: steps at most, gain in the bound (nats a vote) that ends it, smallest probability."""


class Vote(NamedTuple):
    """The label that one person gave to one unit (an item, or one of its queries)."""

    unit: str
    person: str
    value: JsonValue


def different(one: JsonValue, other: JsonValue) -> float:
    """The distance of nominal labels."""
    return float(one != other)


def majority(
    values: Sequence[JsonValue], distance: Callable[[JsonValue, JsonValue], float] = different
) -> list[JsonValue]:
    """The values of those that more people gave than any other; none for a tie or without values.

    Args:
        values: What people gave.
        distance: How far two values are apart; those with distance 0 count as one.
    """
    groups = grouped(values, lambda one, other: not distance(one, other))
    sizes = sorted(map(len, groups), reverse=True)
    if not groups or sizes[0] in sizes[1:2]:
        return []
    return [values[position] for position in max(groups, key=len)]


def median(values: Sequence[JsonValue], place: Callable[[JsonValue], int]) -> JsonValue:
    """The value in the middle; None without values, or if the two in the middle differ.

    Args:
        values: What people gave.
        place: Where a value stands in their order.
    """
    ordered = sorted(values, key=place)
    if not ordered:
        return None
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return lower if lower == upper else None


class CrowdVotes:
    """The votes of all units, numbered for ``dawid_skene``, of which some may change at a time.

    Numbering 20,000 votes anew takes longer than the algorithm itself.

    Args:
        votes: What people gave, at most one vote of a person in each unit.
    """

    def __init__(self, votes: Iterable[Vote] = ()) -> None:
        # In an order that does not depend on when they came.
        ordered = sorted(votes, key=itemgetter(0, 1))  # unit and person
        self._person_codes: dict[str, int] = {}
        self._value_codes: dict[str, int] = {}
        self._units: list[str] = []
        sizes: list[int] = []
        for unit, of_unit in groupby(ordered, key=itemgetter(0)):
            self._units.append(unit)
            sizes.append(sum(1 for _ in of_unit))
        self._sizes_U = np.array(sizes, dtype=np.int64)
        self._person_N, self._value_N = self._coded((vote.person, vote.value) for vote in ordered)

    def put(self, unit: str, values: Mapping[str, JsonValue]) -> None:
        """Replace the votes of a unit.

        Args:
            unit: The unit, which may be new.
            values: What each person gave; empty to remove the unit.
        """
        place = bisect_left(self._units, unit)
        known = self._units[place : place + 1] == [unit]
        start = int(self._sizes_U[:place].sum())
        end = start + (int(self._sizes_U[place]) if known else 0)
        persons, answers = self._coded(sorted(values.items(), key=itemgetter(0)))
        self._person_N = np.concatenate([self._person_N[:start], persons, self._person_N[end:]])
        self._value_N = np.concatenate([self._value_N[:start], answers, self._value_N[end:]])
        self._units[place : place + known] = [unit] if values else []
        after = self._sizes_U[place + known :]
        self._sizes_U = np.concatenate(
            [self._sizes_U[:place], [len(values)] if values else [], after]
        ).astype(np.int64)

    def posteriors(self, wanted: Iterable[str] | None = None) -> dict[str, dict[str, float]]:
        """Return what ``dawid_skene`` does."""
        if not self._units:
            return {}
        unit_N = np.repeat(np.arange(len(self._units)), self._sizes_U)
        names = list(self._value_codes)
        order, value_N = _renumbered(self._value_N, len(names))
        values = [names[code] for code in order]
        _, person_N = _renumbered(self._person_N, len(self._person_codes))
        # What one person answered: the pairs of person and value that occur.
        code_N = person_N * len(values) + value_N
        occurs = np.bincount(code_N) > 0
        pairs_P, pair_N = np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[code_N]
        shape = (len(self._units), len(pairs_P))
        votes_U_P = scipy.sparse.coo_matrix((np.ones(len(unit_N)), (unit_N, pair_N)), shape=shape).tocsr()
        shares_U_V = votes_U_P @ np.eye(len(values))[pairs_P % len(values)]
        probs_U_V = _expectation_maximisation(votes_U_P, pairs_P // len(values), shares_U_V)
        rows = self._rows(self._units if wanted is None else wanted)
        return {unit: dict(zip(values, probs_U_V[row].tolist(), strict=True)) for unit, row in rows}

    def _coded(self, votes: Iterable[tuple[str, JsonValue]]) -> tuple[IntArray, IntArray]:
        """Numbers of persons and of values, which stay theirs."""
        people, names = self._person_codes, self._value_codes
        codes = [
            (people.setdefault(person, len(people)), names.setdefault(str(value), len(names)))
            for person, value in votes
        ]
        persons_and_values = np.array(codes, dtype=np.int64).reshape(-1, 2).T
        return persons_and_values[0], persons_and_values[1]

    def _rows(self, units: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Those of ``units`` that have votes, with their rows."""
        for unit in units:
            row = bisect_left(self._units, unit)
            if self._units[row : row + 1] == [unit]:
                yield unit, row


def _renumbered(codes_N: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Number codes below ``n`` by their first occurrence, so that sums have an order of their own.

    Returns:
        The codes that occur, in this order, and the number of each entry's code.
    """
    first_C = np.full(n, len(codes_N))
    first_C[codes_N[::-1]] = np.arange(len(codes_N))[::-1]  # of equal ones, the last assignment stays
    order = np.argsort(first_C, kind="stable")[: int((first_C < len(codes_N)).sum())]
    number_C = np.empty(n, dtype=np.int64)
    number_C[order] = np.arange(len(order))
    return order, number_C[codes_N]


def dawid_skene(votes: Iterable[Vote], wanted: Iterable[str] | None = None) -> dict[str, dict[str, float]]:
    """The posteriors of units' labels, from a confusion matrix for each person.

    Expectation maximisation, starting from the shares of the votes. Source: Dawid and Skene 1979, Applied
    Statistics 28(1). Written out here because it runs for each answer that may close a query: crowd-kit's, which
    the tests compare it with, takes a second where this takes hundredths.

    Args:
        votes: What people gave.
        wanted: The units to return, as far as they have votes; None for all.

    Returns:
        The probability of each value, by unit.
    """
    return CrowdVotes(votes).posteriors(wanted)


def _expectation_maximisation(
    votes_U_P: scipy.sparse.csr_matrix, person_P: IntArray, shares_U_V: FloatArray
) -> FloatArray:
    """The posteriors of the units' values, by alternating between them and the persons' confusion matrices."""
    n_persons = int(person_P.max()) + 1
    votes_of_U = shares_U_V.sum(axis=1)
    probs_U_V = shares_U_V / votes_of_U[:, None]
    bound, votes_P_U = -math.inf, votes_U_P.T
    for step in range(STEPS + 1):
        priors_V = np.maximum(probs_U_V.mean(axis=0), LEAST)
        errors_P_V = np.maximum(votes_P_U @ probs_U_V, LEAST)
        sums = np.zeros((n_persons, errors_P_V.shape[1]))
        np.add.at(sums, person_P, errors_P_V)
        logs_P_V = np.log(errors_P_V / sums[person_P])
        log_likelihood_U_V = votes_U_P @ logs_P_V
        if step:
            joint = log_likelihood_U_V + votes_of_U[:, None] * np.log(priors_V)
            entropy = -(probs_U_V * np.log(np.maximum(probs_U_V, LEAST))).sum()
            new_bound = float(((probs_U_V * joint).sum() + entropy) / votes_of_U.sum())
            if new_bound - bound < TOLERANCE or step == STEPS:
                break
            bound = new_bound
        log_probs_U_V = log_likelihood_U_V + np.log(priors_V)
        probs_U_V = np.exp(log_probs_U_V - log_probs_U_V.max(axis=1, keepdims=True))
        probs_U_V /= probs_U_V.sum(axis=1, keepdims=True)
    found_U_V: FloatArray = probs_U_V
    return found_U_V


def krippendorff_alpha(
    votes: Sequence[Vote], distance: Callable[[JsonValue, JsonValue], float] = different
) -> float | None:
    """Krippendorff's alpha: 1 for full agreement, 0 for agreement by chance.

    Units with one vote are left out. Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Args:
        votes: The labels that people gave.
        distance: How far two labels are apart, 0 for the same.

    Returns:
        Alpha; None if it is not defined, because no unit has two votes or only one label was ever given.
    """
    paired = [vote for unit in _by_unit(votes).values() if len(unit) > 1 for vote in unit]
    written = {json.dumps(vote.value): vote.value for vote in paired}
    if len(written) < 2:
        return None
    from crowdkit.metrics.data import alpha_krippendorff

    def between(one: Hashable, other: Hashable) -> float:
        return distance(written[str(one)], written[str(other)])

    named = [vote._replace(value=json.dumps(vote.value)) for vote in paired]
    return float(alpha_krippendorff(_frame(named), between))


def _by_unit(votes: Sequence[Vote]) -> dict[str, list[Vote]]:
    units: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        units[vote.unit].append(vote)
    return units


def _ordered(votes: Sequence[Vote]) -> list[Vote]:
    """The votes in an order that does not depend on when they came."""
    return sorted(votes, key=itemgetter(0, 1))  # unit and person


def _frame(votes: Sequence[Vote]) -> pd.DataFrame:
    """The votes in the columns that crowd-kit reads."""
    import pandas as pd

    ordered = _ordered(votes)
    return pd.DataFrame(
        {
            "task": [vote.unit for vote in ordered],
            "worker": [vote.person for vote in ordered],
            "label": [vote.value for vote in ordered],
        }
    )
