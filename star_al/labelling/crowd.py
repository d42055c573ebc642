"""Aggregate the labels of several annotators (majority, Dawid and Skene), and measure their agreement.

The only importer of crowd-kit, which is loaded when it is first needed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Vote:
    """The label that one person gave to one unit (an item, or one of its queries)."""

    unit: str
    person: str
    value: str


def majority(values: Sequence[str]) -> str | None:
    """The value that more people gave than any other; None for a tie or without values."""
    counts = Counter(values).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def dawid_skene(votes: Sequence[Vote]) -> dict[str, dict[str, float]]:
    """The posterior of each unit's label, from a confusion matrix for each person.

    Expectation maximisation, starting from the majority. Source: Dawid and Skene 1979, Applied Statistics
    28(1).

    Returns:
        The probability of each value, by unit.
    """
    if not votes:
        return {}
    from crowdkit.aggregation import DawidSkene

    probas = DawidSkene(n_iter=100, tol=1e-6).fit_predict_proba(_frame(votes))
    return {
        str(unit): {str(value): float(p) for value, p in row.items()}
        for unit, row in probas.to_dict("index").items()
    }


def krippendorff_alpha(votes: Sequence[Vote]) -> float | None:
    """Krippendorff's alpha for nominal labels: 1 for full agreement, 0 for agreement by chance.

    Units with one vote are left out. Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Returns:
        Alpha; None if it is not defined, because no unit has two votes or only one label was ever given.
    """
    paired = [vote for unit in _by_unit(votes).values() if len(unit) > 1 for vote in unit]
    if len({vote.value for vote in paired}) < 2:
        return None
    from crowdkit.metrics.data import alpha_krippendorff

    return float(alpha_krippendorff(_frame(paired)))


def _by_unit(votes: Sequence[Vote]) -> dict[str, list[Vote]]:
    units: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        units[vote.unit].append(vote)
    return units


def _frame(votes: Sequence[Vote]) -> pd.DataFrame:
    """The votes in the columns that crowd-kit reads, in an order that does not depend on when they came."""
    import pandas as pd

    ordered = sorted(votes, key=lambda vote: (vote.unit, vote.person))
    return pd.DataFrame(
        {
            "task": [vote.unit for vote in ordered],
            "worker": [vote.person for vote in ordered],
            "label": [vote.value for vote in ordered],
        }
    )
