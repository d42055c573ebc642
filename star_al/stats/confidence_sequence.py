"""A confidence sequence for a model's accuracy, for rules that look after every round.

The level of an interval holds for one look. A rule that stops at the first round whose interval is above a
target looks many times, and each look is another chance to be wrong. Here look t spends α_t = α / (t·(t + 1))
of the whole α, with Σ_t α_t = α, on an exact interval (Clopper and Pearson 1934). So all intervals hold at once
with probability 1 − α, however the models of the rounds depend on each other. The items must be random, and no
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
    # The quantiles of scipy.stats.beta, digit for digit, without the second that importing scipy.stats takes.
    from scipy.special import betainccinv, betaincinv

    if look < 1 or not 0 <= successes <= n:
        raise ValueError(f"look {look}, {successes} right answers of {n}")
    half = (1.0 - level) / (look * (look + 1)) / 2.0
    low = float(betaincinv(successes, n - successes + 1, half)) if successes else 0.0
    high = float(betainccinv(successes + 1, n - successes, half)) if successes < n else 1.0
    return low, high
