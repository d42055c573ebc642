"""What the demo says about chosen texts and random ones."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.app.demo_comparison import in_words
from star_al.stats.learning_curves import Comparison, RunCurve, compare


def compared(random: Sequence[Sequence[float]], chosen: Sequence[Sequence[float]]) -> Comparison:
    """A comparison of finished runs, by their accuracies with 30, 60 and 90 labels; one sequence a seed."""
    both = {"random": random, "recommended": chosen}
    return compare(
        "demo",
        [
            RunCurve(strategy, seed, f"{strategy}-{seed}", True, (30, 60, 90), tuple(accuracies))
            for strategy, runs in both.items()
            for seed, accuracies in enumerate(runs)
        ],
    )


def test_it_tells_both_accuracies_their_difference_and_from_where_fewer_labels_are_enough() -> None:
    random = [[0.5, 0.6, 0.7], [0.5, 0.6, 0.72], [0.5, 0.6, 0.68]]
    chosen = [[0.5, 0.75, 0.8], [0.5, 0.75, 0.83], [0.5, 0.75, 0.79]]
    assert in_words(compared(random, chosen)) == [
        "Chosen or random texts? The head alone, 3 campaigns with each:",
        "  random texts  70.0 % right with 90 labels",
        "  chosen texts  80.7 % right with 90 labels, better than that from 60 on",
        "  difference    +10.7 points (95 % interval +9.2 to +12.1)",
    ]


def test_a_difference_that_may_be_chance_is_told_as_such() -> None:
    lines = in_words(compared([[0.5, 0.6, 0.7], [0.5, 0.6, 0.8]], [[0.5, 0.8, 0.78], [0.5, 0.6, 0.74]]))
    assert lines[2] == "  chosen texts  76.0 % right with 90 labels"
    assert lines[3].startswith("  difference    +1.0 points (95 %") and lines[3].endswith(
        ", which may be chance"
    )
    assert all(len(line) <= 80 for line in lines)


def test_nothing_is_told_of_a_comparison_without_runs_in_common() -> None:
    assert in_words(compared([], [[0.5, 0.6, 0.7]])) == []
    assert in_words(compared([], [])) == []
