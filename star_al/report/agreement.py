"""Who agrees with whom on the texts that several people answered, and between which labels they differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from star_al.report.formatting import number, percent
from star_al.report.render import Table
from star_al.report.snapshot import AskedQuery

PAIRS = 20
"""How many pairs of people and of labels are listed, those with most texts first."""


def pairs_of_people(asked: Sequence[AskedQuery]) -> Table | None:
    """A row for each pair of people: the texts that both labelled, their agreement, and Cohen's kappa.

    Kappa (Cohen 1960) is 1 for full agreement and 0 for what chance gives. It is missing where both gave the same
    label to all their texts.

    Returns:
        The table; None if no text was labelled by two people.
    """
    answers = defaultdict(list)
    for one, other, labels in _shared(asked):
        answers[one, other].append(labels)
    most_first = sorted(answers.items(), key=lambda each: (-len(each[1]), each[0]))
    rows = tuple(
        (one, other, f"{len(both):,}", percent(sum(a == b for a, b in both) / len(both), 0), _kappa(both))
        for (one, other), both in most_first[:PAIRS]
    )
    return Table(("annotator", "and", "texts", "agree", "Cohen's κ"), rows) if rows else None


def disputed_labels(asked: Sequence[AskedQuery]) -> Table | None:
    """A row for each pair of labels that two people gave to the same text, the most frequent first; None if none."""
    counts = Counter(tuple(sorted(labels)) for _, _, labels in _shared(asked) if labels[0] != labels[1])
    rows = tuple((one, other, f"{n:,}") for (one, other), n in counts.most_common(PAIRS))
    return Table(("one says", "the other says", "times"), rows) if rows else None


def _shared(asked: Sequence[AskedQuery]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Each pair of people with their labels of one text; skips are not compared."""
    for each in asked:
        given = sorted((name, label) for name, label in each.answers.items() if label is not None)
        for (one, first), (other, second) in combinations(given, 2):
            yield one, other, (first, second)


def _kappa(both: Sequence[tuple[str, str]]) -> str:
    from sklearn.metrics import cohen_kappa_score  # slow to import, and few pages need it

    if len({label for labels in both for label in labels}) < 2:
        return number(None)
    return number(float(cohen_kappa_score(*zip(*both, strict=True))), 2)
