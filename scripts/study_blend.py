"""Compare blends of base and adapted uncertainty with a head on frozen features, which takes seconds and no GPU.

    python scripts/study_blend.py --cache DIR [--data DIR] [--encoder ENCODER] [--seeds 5] [--report]

The adapted model is a head, and the base model predicts each text by the labels' names alone, with a preference for
some labels as a language model has one. The plain head does not use those names, so that its base model knows something
that it does not. Each cell (set, arm, seed) is a line of JSON under ``--out``, and is left alone when it is there.
``--data``, ``--encoder`` and ``--cache`` are those of ``study_labels.py``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before NumPy is imported
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from blend_grades import Grades  # noqa: E402
from labels_choices import View, at_random, by_herding  # noqa: E402
from labels_data import Split, Texts, load, prepare, split  # noqa: E402
from labels_learners import LEARNERS  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.stats import t as student  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from star_al.acquire.blend import blend, blend_ranks, pool_ranks, scheduled_weight  # noqa: E402
from star_al.acquire.embeddings import unit_vectors  # noqa: E402
from star_al.acquire.facility_location import FacilityLocation  # noqa: E402
from star_al.acquire.greedy import greedy_batch  # noqa: E402
from star_al.acquire.measures import margin, predictive_entropy  # noqa: E402
from star_al.acquire.prequential import shares  # noqa: E402
from star_al.common.files import replacing  # noqa: E402
from star_al.common.user_cache import cache_folder  # noqa: E402
from star_al.config.spec.acquisition import FACILITY_TOP  # noqa: E402
from star_al.head import LabelNames, zero_shot  # noqa: E402
from star_al.stats.label_bias import batch_bias, fit_bias, without_bias  # noqa: E402
from star_al.types import FloatArray, IntArray  # noqa: E402

OUT = Path(__file__).parents[1] / "docs" / "studies" / "data" / "blend"

SETS = ("bbc", "sms_spam", "banking77", "hwu64")


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        learner: The adapted model, by its name in ``LEARNERS``.
        choice: ``star``: random start, entropy, highest first. ``recommended``: herding, margin, facility location.
        blend: ``alone``, ``schedule``, ``prequential``, or ``with head``: prequential with the full head as a
            third model, which begins with half of the weight.
        calibrated: True if the base model's label bias is taken out.
    """

    learner: str
    choice: str
    blend: str
    calibrated: bool = False

    @property
    def name(self) -> str:
        """The arm in words, for files and tables."""
        return ", ".join(
            [self.learner, self.choice, self.blend, *(["calibrated"] if self.calibrated else [])]
        )


def _arms() -> dict[str, Arm]:
    made = []
    for learner, choice in itertools.product(("head", "plain head"), ("star", "recommended")):
        made.append(Arm(learner, choice, "alone"))
        made += [Arm(learner, choice, "schedule"), Arm(learner, choice, "prequential")]
        made.append(Arm(learner, choice, "prequential", calibrated=True))
        if learner == "plain head":
            made.append(Arm(learner, choice, "with head", calibrated=True))
    return {arm.name: arm for arm in made}


ARMS = _arms()


# -- one run --------------------------------------------------------------------------------------------


class Run:
    """One campaign in memory."""

    def __init__(self, arm: Arm, of: Split) -> None:
        self.arm, self.of = arm, of
        self.learner = LEARNERS[arm.learner](of)
        self.beside = LEARNERS["head"](of)
        self.base_P_C = zero_shot(LabelNames(of.names_C_d).similarities(of.pool_P_d))
        self.rows_n: IntArray = np.zeros(0, dtype=np.int64)
        self.graded = Grades()
        self.measure = predictive_entropy if arm.choice == "star" else margin

    def run(self) -> dict[str, Any]:
        """Choose, answer and learn until the budget is spent; measure after each batch."""
        began, rounds = time.process_time(), []
        self._ask(self._start())
        while True:
            self.learner.fit(self.rows_n, self.of.targets_P[self.rows_n])
            right_T = self.learner.predict_test().argmax(axis=1) == self.of.test_targets_T
            found = {"labels": len(self.rows_n), "accuracy": round(float(right_T.mean()), 5)}
            if len(self.rows_n) >= self.of.sizes.budget:
                rounds.append(found)
                break
            rounds.append(found | self._next_batch(len(rounds) + 1))
        return {"seconds": round(time.process_time() - began, 2), "rounds": rounds}

    def _start(self) -> IntArray:
        choose = at_random if self.arm.choice == "star" else by_herding
        return choose(self._view(self.of.sizes.start, self.base_P_C))

    def _ask(self, chosen: IntArray) -> None:
        self.rows_n = np.concatenate([self.rows_n, chosen])

    def _view(self, k: int, log_probs_P_C: FloatArray | None) -> View:
        answers_n = self.of.targets_P[self.rows_n]
        return View(self.of, unit_vectors(self.of.pool_P_d), self.rows_n, answers_n, log_probs_P_C, k)

    def _next_batch(self, trained_round: int) -> dict[str, Any]:
        k = min(self.of.sizes.batch, self.of.sizes.budget - len(self.rows_n))
        log_probs_P_C = self.learner.predict_pool()
        view = self._view(k, log_probs_P_C)
        rest = view.unlabelled
        scores_J_M = self._scores(log_probs_P_C, rest)
        weights_J = self._weights(trained_round, len(scores_J_M))
        if self.arm.blend == "schedule":
            blended_M = blend(scores_J_M[0], scores_J_M[1], float(weights_J[0]), "minmax")
        else:
            blended_M = blend_ranks(scores_J_M, weights_J.tolist(), "minmax")
        chosen = self._choose(view, rest, blended_M)
        wrong_P = log_probs_P_C.argmax(axis=1) != self.of.targets_P
        ranks_M_J = np.stack([pool_ranks(each) for each in scores_J_M], axis=1)
        self.graded.add(ranks_M_J[np.searchsorted(rest, chosen)], wrong_P[chosen])
        self._ask(chosen)
        return {"weights": np.round(weights_J, 4).tolist()} | _diagnosis(ranks_M_J, wrong_P[rest])

    def _scores(self, log_probs_P_C: FloatArray, rest: IntArray) -> list[FloatArray]:
        found = [self.measure(log_probs_P_C[rest][:, None, :]), self._base(rest)]
        if self.arm.blend == "with head":
            self.beside.fit(self.rows_n, self.of.targets_P[self.rows_n])
            found.append(self.measure(self.beside.predict_pool()[rest][:, None, :]))
        return found

    def _base(self, rest: IntArray) -> FloatArray:
        base_P_C = self.base_P_C
        if self.arm.calibrated:
            bias_C = fit_bias(base_P_C[self.rows_n], self.of.targets_P[self.rows_n], batch_bias(base_P_C))
            base_P_C = without_bias(base_P_C, bias_C)
        return predictive_entropy(base_P_C[rest][:, None, :])

    def _weights(self, trained_round: int, n: int) -> FloatArray:
        if self.arm.blend == "alone":
            return np.array([1.0, 0.0])
        if self.arm.blend == "schedule":
            weight = scheduled_weight("schedule", trained_round, 0.5)
            assert weight is not None
            return np.array([weight, 1.0 - weight])
        prior_J = np.array([1.0, 0.0, 1.0])[:n]
        return self.graded.weights(prior_J)

    def _choose(self, view: View, rest: IntArray, blended_M: FloatArray) -> IntArray:
        order = np.argsort(-blended_M, kind="stable")
        if self.arm.choice == "star":
            return rest[order[: view.k]]
        top = order[: FACILITY_TOP * view.k]
        weights = blended_M[top] if blended_M[top].any() else np.ones(len(top))
        texts = rest[top]
        rule = FacilityLocation(view.directions(texts, texts), weights, view.directions(view.rows_n, texts))
        return texts[[pick.position for pick in greedy_batch(rule, [], len(texts), view.k)]]


def _diagnosis(ranks_M_J: FloatArray, wrong_M: NDArray[np.bool_]) -> dict[str, Any]:
    """How well each model's ranks tell the errors on all of the unlabelled pool, which no campaign could know."""
    if not 5 <= wrong_M.sum() <= len(wrong_M) - 5:
        return {}
    auroc = [round(float(roc_auc_score(wrong_M, ranks_M)), 4) for ranks_M in ranks_M_J.T]
    fitted = LogisticRegression(C=1e3).fit(np.sqrt(12.0) * (ranks_M_J - 0.5), wrong_M)
    return {"auroc": auroc, "slopes": np.round(fitted.coef_[0], 3).tolist()}


# -- cells ----------------------------------------------------------------------------------------------


def path_of(out: Path, set_name: str, arm: str) -> Path:
    return out / set_name / f"{arm.replace(', ', '+').replace(' ', '_')}.jsonl"


def records(path: Path) -> dict[int, dict[str, Any]]:
    """The finished cells of a set and an arm by seed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {record["seed"]: record for record in map(json.loads, lines)}


def run_missing(arguments: argparse.Namespace) -> None:
    loaded: dict[str, Texts] = {}
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60.0 * arguments.minutes
    for seed, set_name, arm in itertools.product(range(arguments.seeds), arguments.sets, arguments.arms):
        path = path_of(arguments.out, set_name, arm)
        there = records(path)
        if seed in there or time.monotonic() > until:
            continue
        if set_name not in loaded:
            loaded[set_name] = load(prepare(set_name, arguments.data, arguments.encoder, arguments.cache))
        record = {"seed": seed} | Run(ARMS[arm], split(set_name, loaded[set_name], seed)).run()
        lines = there | {seed: record}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            new.write_text(
                "".join(json.dumps(lines[each], separators=(",", ":")) + "\n" for each in sorted(lines)),
                encoding="utf-8",
            )
        print(f"{set_name}, {arm}, seed {seed}: {record['rounds'][-1]} in {record['seconds']} s", flush=True)


# -- the tables -----------------------------------------------------------------------------------------


def aulc(record: Mapping[str, Any]) -> float:
    """Area under the learning curve, divided by its span, in points."""
    labels = [each["labels"] for each in record["rounds"]]
    accuracy = [each["accuracy"] for each in record["rounds"]]
    return float(100.0 * np.trapezoid(accuracy, labels) / (labels[-1] - labels[0]))


def report(out: Path) -> None:
    """Print the difference of each blend's AULC to the adapted model alone, paired by seed, and what λ was."""
    print("| adapted model | choice | blend |" + " | ".join((*SETS, "pooled")) + " | λ |")
    print("|---" * (len(SETS) + 5) + "|")
    for arm in ARMS.values():
        alone = Arm(arm.learner, arm.choice, "alone")
        rows = {name: _paired(out, name, arm, alone) for name in SETS}
        words = f"{arm.blend}{', calibrated' if arm.calibrated else ''}"
        if arm == alone:
            cells = [f"{np.mean([both[1] for both in rows[name]]):.1f}" for name in SETS] + ["", ""]
        else:
            gains = {name: [mine - other for mine, other in rows[name]] for name in SETS}
            by_seed = np.mean([gains[name][: min(map(len, gains.values()))] for name in SETS], axis=0)
            cells = [_interval(gains[name]) for name in SETS] + [_interval(by_seed)] + [_weights(out, arm)]
        print(f"| {arm.learner} | {arm.choice} | {words} | " + " | ".join(cells) + " |")


def report_told(out: Path) -> None:
    """Print how well each model's ranks told the errors on all of the unlabelled pool, and which weights that asks for.

    The best weights are the shares of the slopes of a regression on the whole pool, whose answers no campaign knows.
    """
    heads = (
        "adapted model",
        "set",
        "AUROC adapted",
        "base",
        "base, calibrated",
        "best λ",
        "λ found",
        "calibrated",
    )
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for learner, name in itertools.product(("head", "plain head"), SETS):
        plain, calibrated = (_rounds(out, name, learner, "prequential", each) for each in (False, True))
        told = [_mean(plain, "auroc", 0), _mean(plain, "auroc", 1), _mean(calibrated, "auroc", 1)]
        weights = [_best(plain)[:1], _mean(plain, "weights", 0), _mean(calibrated, "weights", 0)]
        print(f"| {learner} | {name} | " + " | ".join(map(_figures, [*told, *weights])) + " |")
    _report_told_with_head(out)


def _report_told_with_head(out: Path) -> None:
    columns = ("set", "AUROC adapted, head", "best weights adapted, base, head", "found")
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name in SETS:
        rounds = _rounds(out, name, "plain head", "with head", True)
        told = [*_mean(rounds, "auroc", 0), *_mean(rounds, "auroc", 2)]
        print(
            f"| {name} | " + " | ".join(map(_figures, [told, _best(rounds), _mean(rounds, "weights")])) + " |"
        )


def _rounds(out: Path, set_name: str, learner: str, blend: str, calibrated: bool) -> list[dict[str, Any]]:
    """The rounds of all seeds and both choices that have a diagnosis."""
    arms = [Arm(learner, choice, blend, calibrated) for choice in ("star", "recommended")]
    found = [record for arm in arms for record in records(path_of(out, set_name, arm.name)).values()]
    return [each for record in found for each in record["rounds"] if "auroc" in each]


def _mean(rounds: Sequence[Mapping[str, Any]], key: str, model: int | None = None) -> list[float]:
    """The means over rounds of a figure of all models, or of one; empty without rounds."""
    if not rounds:
        return []
    means: list[float] = np.mean([each[key] for each in rounds], axis=0).tolist()
    return means if model is None else [means[model]]


def _best(rounds: Sequence[Mapping[str, Any]]) -> list[float]:
    slopes = _mean(rounds, "slopes")
    return shares(np.maximum(slopes, 0.0)).tolist() if slopes else []


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) or "–"


def _paired(out: Path, set_name: str, arm: Arm, other: Arm) -> list[tuple[float, float]]:
    mine, theirs = (records(path_of(out, set_name, each.name)) for each in (arm, other))
    return [(aulc(mine[seed]), aulc(theirs[seed])) for seed in sorted(mine.keys() & theirs.keys())]


def _interval(gains: Sequence[float] | NDArray[np.float64]) -> str:
    """The mean and its 95 % interval by Student's t."""
    if len(gains) < 2:
        return "–"
    half = student.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / np.sqrt(len(gains))
    return f"{np.mean(gains):+.2f} ± {half:.2f}"


def _weights(out: Path, arm: Arm) -> str:
    """Mean weights of the adapted model (and the head) in the last round that chose."""
    found = [
        record["rounds"][-2]["weights"]
        for name in SETS
        for record in records(path_of(out, name, arm.name)).values()
    ]
    mean = np.mean(found, axis=0) if found else []
    return ", ".join(f"{each:.2f}" for position, each in enumerate(mean) if position != 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the sets; only for sets that are not in the cache"
    )
    parser.add_argument("--encoder", help="the encoder; only for sets that are not in the cache")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "study", help="folder of encoded sets")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of finished cells")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--report", action="store_true", help="run nothing; print the table")
    arguments = parser.parse_args(sys.argv[1:])
    if not arguments.report:
        run_missing(arguments)
    report(arguments.out)
    print()
    report_told(arguments.out)


if __name__ == "__main__":
    main()
