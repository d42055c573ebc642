"""What several annotators say together: labels by Dawid and Skene, and how far they agree.

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
    """The label that one person gives to one unit (an item, or one of its queries)."""

    unit: str
    person: str
    value: str


def majority(values: Sequence[str]) -> str | None:
    """The value that more people gave than any other; null for a tie, or without values."""
    counts = Counter(values).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def dawid_skene(votes: Sequence[Vote]) -> dict[str, dict[str, float]]:
    """The posterior of each unit's label, by unit and value, from the confusion of each person.

    Expectation maximisation, begun at the majority (Dawid and Skene 1979, Applied Statistics 28(1)).
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
    """Krippendorff's alpha for nominal labels: 1 for agreement, 0 for what chance would give.

    Units with one vote tell nothing and are left out; null when none is left, or when only one label was
    ever given, where alpha is not defined (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").
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
    """The votes in the columns that crowd-kit reads, in an order that does not depend on their arrival."""
    import pandas as pd

    ordered = sorted(votes, key=lambda vote: (vote.unit, vote.person))
    return pd.DataFrame(
        {
            "task": [vote.unit for vote in ordered],
            "worker": [vote.person for vote in ordered],
            "label": [vote.value for vote in ordered],
        }
    )
