"""A confidence sequence for a model's accuracy, for rules that look after every round.

The nominal level of an interval holds for one look. A rule that stops at the first round whose interval
clears a target looks many times, and each look is another chance to be wrong. Here look t spends
α_t = α / (t·(t + 1)) of the whole α, Σ_t α_t = α, on an exact interval (Clopper and Pearson 1934), so that with
probability 1 − α all of them hold at once, however the rounds' models depend on each other. The items must be
random and no model may have been trained on them. A blend measured on them passes on one number a round, which
is neglected.
"""

from __future__ import annotations


def confidence_sequence(successes: int, n: int, look: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of look ``look`` (from 1) from ``successes`` right answers of ``n``; (0, 1) for n = 0.

    Raises:
        ValueError: a look before the first, or counts that are none.
    """
    # The quantiles of scipy.stats.beta, digit for digit, without the second that importing scipy.stats takes.
    from scipy.special import betainccinv, betaincinv

    if look < 1 or not 0 <= successes <= n:
        raise ValueError(f"look {look}, {successes} right answers of {n}")
    half = (1.0 - level) / (look * (look + 1)) / 2.0
    low = float(betaincinv(successes, n - successes + 1, half)) if successes else 0.0
    high = float(betainccinv(successes + 1, n - successes, half)) if successes < n else 1.0
    return low, high
