"""A confidence sequence for a model's accuracy, for rules that look after every round.

The level of an interval holds for one look. A rule that stops at the first round whose interval is above a
target looks many times, and each look is another chance to be wrong. Here look t spends α_t = α / (t·(t + 1))
of the whole α, with Σ_t α_t = α, on an exact interval or bound (Clopper and Pearson 1934). So all of them hold at
once with probability 1 − α, however the models of the rounds depend on each other. The items must be random, and no
model may have been trained on them. If the blend's weight is measured on the same items, each round leaks one
number to the selection; this is neglected.
"""

from __future__ import annotations


def confidence_sequence(successes: int, n: int, look: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of one look.

    Args:
        successes: Right answers.
        n: Answers.
        look: The number of the look, from 1.
        level: Of all looks together.

    Returns:
        Its ends; (0, 1) for n = 0.

    Raises:
        ValueError: ``look`` is below 1, or ``successes`` is not between 0 and ``n``.
    """
    half = _spent(successes, n, look, level) / 2.0
    return _lower(successes, n, half), 1.0 - _lower(n - successes, n, half)


def lower_confidence_sequence(successes: int, n: int, look: int, level: float = 0.95) -> float:
    """The one-sided lower bound of one look, for a rule that stops above a target.

    Such a rule is wrong only if the accuracy is lower than it says, so that all of α_t is spent on this side.

    Args:
        successes: Right answers.
        n: Answers.
        look: The number of the look, from 1.
        level: Of all looks together.

    Returns:
        The bound; 0 for n = 0.

    Raises:
        ValueError: ``look`` is below 1, or ``successes`` is not between 0 and ``n``.
    """
    return _lower(successes, n, _spent(successes, n, look, level))


def _spent(successes: int, n: int, look: int, level: float) -> float:
    """α_t of a look."""
    if look < 1 or not 0 <= successes <= n:
        raise ValueError(f"look {look}, {successes} right answers of {n}")
    return (1.0 - level) / (look * (look + 1))


def _lower(successes: int, n: int, alpha: float) -> float:
    """The exact lower bound of a binomial share; that of the failures gives the upper bound."""
    # A quantile of scipy.stats.beta, digit for digit, without the second that importing scipy.stats takes.
    from scipy.special import betaincinv

    return float(betaincinv(successes, n - successes + 1, alpha)) if successes else 0.0
