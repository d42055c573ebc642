"""Dawid-Skene and Krippendorff's alpha agree with closed forms and naive implementations."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from crowdkit.aggregation import DawidSkene

from star_al.labelling.crowd import CrowdVotes, Vote, _frame, dawid_skene, krippendorff_alpha, majority


def votes(rows: dict[str, str]) -> list[Vote]:
    """{"person": "abc-"} says a, b, c to units 0, 1, 2 and nothing to unit 3."""
    return [
        Vote(str(unit), person, value)
        for person, row in rows.items()
        for unit, value in enumerate(row)
        if value != "-"
    ]


def naive_alpha(given: list[Vote]) -> float:
    """Compute 1 − observed / expected disagreement over every ordered pair of votes (Krippendorff 2011)."""
    units: dict[str, list[str]] = {}
    for vote in given:
        units.setdefault(vote.unit, []).append(str(vote.value))
    paired = [values for values in units.values() if len(values) > 1]
    n = sum(map(len, paired))
    observed = (
        sum(sum(a != b for a, b in permutations(values, 2)) / (len(values) - 1) for values in paired) / n
    )
    totals = Counter(value for values in paired for value in values)
    expected = sum(totals[a] * totals[b] for a, b in permutations(totals, 2)) / (n * (n - 1))
    return 1 - observed / expected


def test_majority() -> None:
    assert majority(["a", "b", "a"]) == ["a", "a"]
    assert majority(["a"]) == ["a"]
    assert majority(["a", "b"]) == []
    assert majority(["a", "b", "c", "c", "b"]) == []
    assert majority([]) == []


def test_a_majority_of_values_that_are_near() -> None:
    def near(one: object, other: object) -> float:
        return max(0, abs(int(str(one)) - int(str(other))) - 2)

    assert majority([1, 9, 3], near) == [1, 3]
    assert majority([1, 5, 9, 3], near) == [1, 5, 3]  # 1 and 5 are one by way of 3
    assert majority([5, 1, 3, 9], near) == [5, 1, 3]
    assert majority([1, 9], near) == []


def test_alpha_of_krippendorffs_own_example() -> None:
    # Krippendorff 2011, section C: four observers, twelve units, missing values; nominal alpha is 0.743
    rows = {
        "A": "12332141 2---".replace(" ", ""),
        "B": "12332241 25-3".replace(" ", ""),
        "C": "-3332342 251-".replace(" ", ""),
        "D": "12332441 251-".replace(" ", ""),
    }
    assert krippendorff_alpha(votes(rows)) == pytest.approx(0.743, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_equals_the_count_of_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = {person: "".join(random.choice(list("abc-"), 30)) for person in "pqr"}
    assert krippendorff_alpha(votes(rows)) == pytest.approx(naive_alpha(votes(rows)))


def test_alpha_is_one_for_agreement_and_none_if_undefined() -> None:
    assert krippendorff_alpha(votes({"p": "abab", "q": "abab"})) == pytest.approx(1.0)
    assert krippendorff_alpha(votes({"p": "aaaa", "q": "aaaa"})) is None  # one label: not defined
    assert krippendorff_alpha(votes({"p": "ab--", "q": "--ab"})) is None  # nobody shares a unit
    assert krippendorff_alpha([]) is None


def test_dawid_skene_trusts_those_who_are_right_more_often() -> None:
    truth = "abcabcabcabcabcabcabcabcabcabc"
    swapped = truth.translate(str.maketrans("abc", "bca"))  # always wrong, in the same way
    rows = {"good": truth, "fine": truth[:-1] + "-", "bad": swapped}
    posterior = dawid_skene(votes(rows))
    by_unit = [posterior[str(unit)] for unit in range(len(truth))]
    assert [max(p, key=p.__getitem__) for p in by_unit] == [*truth]
    last = posterior[str(len(truth) - 1)]  # one good and one bad vote: majority could not tell
    assert last[truth[-1]] > 0.9


def test_dawid_skene_posteriors_are_distributions_and_do_not_depend_on_order() -> None:
    given = votes({"p": "abab", "q": "abba", "r": "-bab"})
    posterior = dawid_skene(given)
    assert all(sum(values.values()) == pytest.approx(1.0) for values in posterior.values())
    assert dawid_skene(given[::-1]) == posterior
    assert dawid_skene([]) == {}


@pytest.mark.parametrize("seed", range(5))
def test_dawid_skene_equals_that_of_crowd_kit(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.choice(list("abcd"), 80)
    given = [
        Vote(
            f"unit {unit}",
            f"person {person}",
            value if random.random() < 0.7 else str(random.choice(list("abcd"))),
        )
        for unit, value in enumerate(truth)
        for person in range(random.integers(1, 4))
    ]
    expected = DawidSkene(n_iter=100, tol=1e-6).fit_predict_proba(_frame(given))
    found = dawid_skene(given)
    assert set(found) == set(expected.index)
    for unit, row in expected.iterrows():
        assert found[str(unit)] == pytest.approx(row.to_dict(), abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_votes_that_change_unit_by_unit_give_what_all_votes_give_to_the_last_bit(seed: int) -> None:
    random = np.random.default_rng(seed)
    given: dict[str, dict[str, str]] = {}
    kept = CrowdVotes()
    for _ in range(60):
        unit = f"unit {random.integers(12)}"
        people = random.choice(list("pqrst"), random.integers(0, 4), replace=False)
        given[unit] = {str(person): str(random.choice(list("abcd"))) for person in people}
        kept.put(unit, given[unit])
        now = [Vote(unit, person, value) for unit, of in given.items() for person, value in of.items()]
        assert kept.posteriors() == dawid_skene(now)
        assert list(kept.posteriors(["unit 3", "no unit"])) == ["unit 3"] * bool(given.get("unit 3"))
