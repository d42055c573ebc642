"""The sets of ``study_lora.py``: those of ``study_labels.py``, with smaller pools and tests and few trainings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from labels_data import Split, Texts, split


@dataclass(frozen=True)
class Sizes:
    """How a set is used.

    Attributes:
        labels: How many labels there are.
        pool: Texts in the pool. All of those without a label are ranked, so that it bounds what a batch costs.
        test: Texts in the test.
        counts: Labels at which LoRA is trained and measured; the first are those of the start.
        batch: Labels of a batch that the head asks for between two counts.
    """

    labels: int
    pool: int
    test: int
    counts: tuple[int, ...]
    batch: int


SIZES: dict[str, Sizes] = {
    "hwu64": Sizes(labels=64, pool=1000, test=300, counts=(64, 114, 164, 264), batch=50),
    "bbc": Sizes(labels=5, pool=800, test=300, counts=(25, 50, 100, 200), batch=25),
    "sms_spam": Sizes(labels=2, pool=1000, test=500, counts=(25, 50, 100, 200), batch=25),
    "banking77": Sizes(labels=77, pool=1000, test=300, counts=(77, 127, 177, 277), batch=50),
    "banking77_tail": Sizes(labels=77, pool=1000, test=300, counts=(50, 100, 150, 250), batch=50),
}
"""The sets by name, in the order in which they run."""


def small_split(name: str, texts: Texts, seed: int) -> Split:
    """Return the first texts of the pool and the test that ``study_labels.py`` draws for a seed; both are shuffled."""
    whole, sizes = split(name, texts, seed), SIZES[name]
    return replace(
        whole,
        texts_P=whole.texts_P[: sizes.pool],
        pool_P_d=whole.pool_P_d[: sizes.pool],
        targets_P=whole.targets_P[: sizes.pool],
        texts_T=whole.texts_T[: sizes.test],
        test_T_d=whole.test_T_d[: sizes.test],
        test_targets_T=whole.test_targets_T[: sizes.test],
    )
