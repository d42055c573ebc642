"""How often a campaign's own figures speak of labels saved, with and without a difference between its arms.

Simulates campaigns with a control arm on encoded text sets (those of ``study_labels.py``), with scikit-learn's
logistic regression as learner. In one half both arms choose at random, so that nothing is different; in the other the
active part chooses by facility location. After each round the figures are computed as the report does.

    python scripts/bench_live_words.py --cache ~/sets --campaigns 100
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from labels_data import load
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import greedy_batch
from star_al.stats import arm_comparison
from star_al.stats.arm_comparison import compare_arms, excludes_zero
from star_al.stats.measured_rounds import MeasuredRounds
from star_al.types import Float32Array, FloatArray, IntArray

POOL, AUDIT, COMPONENTS, CANDIDATES = 2000, 300, 128, 600

SETTINGS = {"bbc": (25, 16, 0.2), "sms_spam": (25, 16, 0.2), "hwu64": (50, 14, 0.3)}
"""Labels of a batch, rounds, and the control arm's share, by set."""


class Campaign:
    """One simulated campaign.

    Args:
        points_N_d: Unit vectors of all texts.
        targets_N: Their labels.
        seed: Of split and choices.
    """

    def __init__(self, points_N_d: Float32Array, targets_N: IntArray, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        order = self._random.permutation(len(points_N_d))
        audit, pool = order[:AUDIT], order[AUDIT : AUDIT + POOL]
        self._audit, self._audit_targets = points_N_d[audit], targets_N[audit]
        self._pool, self._targets = points_N_d[pool], targets_N[pool]
        self._control_order = self._random.permutation(len(pool))
        self._random_order = self._random.permutation(len(pool))

    def run(self, *, at_random: bool, batch: int, rounds: int, share: float) -> list[dict[str, Any]]:
        """Ask, train and measure; one record a round."""
        chosen: list[int] = []
        for_the_arm: set[int] = set()
        found, model = [], None
        for index in range(rounds):
            free = self._control_order[~np.isin(self._control_order, chosen)]
            control = free[: batch if index == 0 else max(1, round(batch * share))]
            for_the_arm |= set(control.tolist())
            chosen += control.tolist()
            chosen += self._active(chosen, batch - len(control), None if at_random else model)
            model, right_N = self._train(chosen)
            arm = self._control_set(set(chosen), for_the_arm)
            found.append(
                {
                    "labels": len(chosen),
                    "right": right_N,
                    "control": len(arm),
                    "control_right": self._train(arm)[1],
                }
            )
        return found

    def _active(self, chosen: list[int], k: int, model: LogisticRegression | None) -> list[int]:
        if model is None:
            free = self._random_order[~np.isin(self._random_order, chosen)]
            return [int(position) for position in free[:k]]
        rest = np.setdiff1d(np.arange(len(self._pool)), chosen)
        top_two = np.sort(model.predict_proba(self._pool[rest]), axis=1)[:, -2:]
        margin = 1.0 - (top_two[:, 1] - top_two[:, 0])
        best = np.argsort(-margin, kind="stable")[:CANDIDATES]
        rule = FacilityLocation(
            self._pool[rest[best]], margin[best].astype(np.float64), self._pool[np.array(chosen)]
        )
        return [int(rest[best[pick.position]]) for pick in greedy_batch(rule, [], len(best), k)]

    def _control_set(self, chosen: set[int], for_the_arm: set[int]) -> list[int]:
        """As ``star_al.steps.control_arm`` has it."""
        prefix: list[int] = []
        for place in self._control_order.tolist():
            if place not in chosen:
                break
            prefix.append(place)
        return prefix[: max(n for n, place in enumerate(prefix, 1) if place in for_the_arm)]

    def _train(self, places: list[int]) -> tuple[LogisticRegression | None, FloatArray]:
        targets = self._targets[places]
        if len(set(targets.tolist())) == 1:  # scikit-learn refuses to learn from a single label
            return None, (self._audit_targets == targets[0]).astype(np.float64)
        model = LogisticRegression(C=10, max_iter=60, tol=1e-3).fit(self._pool[places], targets)
        return model, (model.predict(self._audit) == self._audit_targets).astype(np.float64)


def said(records: list[dict[str, Any]], n_items: int, seed: int) -> list[tuple[int, float | None]]:
    """After each round: the side of a difference that is told (0 for none), and the share of labels saved, if told."""
    found = []
    for t in range(4, len(records) + 1):
        apart = {each["control"]: each for each in records[:t] if each["control"] < each["labels"]}
        active = _rounds([(each["labels"], each["right"][:n_items]) for each in records[:t]])
        control = _rounds([(n, each["control_right"][:n_items]) for n, each in sorted(apart.items())])
        words = compare_arms(active, control, np.random.default_rng(seed))
        speaks = words.mean is not None and excludes_zero(words.mean)
        side = int(np.sign(words.mean.value)) if speaks and words.mean is not None else 0
        found.append((side, None if words.saved is None else words.saved.value))
    return found


def _rounds(rows: list[tuple[int, FloatArray]]) -> MeasuredRounds:
    right_R_N = np.array([right_N for _, right_N in rows])
    labels_R = np.array([n for n, _ in rows], dtype=np.float64)
    return MeasuredRounds(
        labels_R, right_R_N.mean(axis=1), np.full(len(rows), float(right_R_N.shape[1])), right_R_N
    )


def main() -> None:
    """Simulate and print one line of JSON for each set, kind of campaign and size of the audit set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder of encoded sets (study_labels.py)")
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--sets", default=",".join(SETTINGS))
    parser.add_argument("--resamples", type=int, default=arm_comparison.RESAMPLES)
    parsed = parser.parse_args()
    warnings.filterwarnings("ignore")  # of lbfgs, which is stopped early on purpose
    arm_comparison.RESAMPLES = parsed.resamples
    for name in parsed.sets.split(","):
        texts, (batch, rounds, share) = load(parsed.cache / f"{name}.npz"), SETTINGS[name]
        centred = texts.embeddings_N_d - texts.embeddings_N_d.mean(axis=0)
        points = PCA(COMPONENTS, random_state=0).fit_transform(centred)
        points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        for kind in ("random", "facility location"):
            every = [
                Campaign(points, texts.targets_N, seed).run(
                    at_random=kind == "random", batch=batch, rounds=rounds, share=share
                )
                for seed in range(parsed.campaigns)
            ]
            for n_items in (100, AUDIT):
                words = [said(records, n_items, seed) for seed, records in enumerate(every)]
                shares = [share for each in words for _, share in each if share is not None]
                print(
                    json.dumps(
                        {
                            "set": name,
                            "active part": kind,
                            "audit": n_items,
                            "tells a difference in any round": sum(
                                any(side for side, _ in each) for each in words
                            ),
                            "at the end": sum(bool(each[-1][0]) for each in words),
                            "of the wrong side": sum(any(side < 0 for side, _ in each) for each in words),
                            "tells labels saved": sum(
                                any(one is not None for _, one in each) for each in words
                            ),
                            "median share saved": round(float(np.median(shares)), 2) if shares else None,
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
