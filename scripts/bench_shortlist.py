"""Measure how much of the full batch a shortlist finds, and what it does to the learning curve.

python scripts/bench_shortlist.py --cache FOLDER --out docs/studies/data/shortlist [--model FOLDER]

Runs one cell for each set and seed, and writes it as JSON; cells that are there are skipped. A cell runs a campaign
that scores all of its pool in each round (the arm ``full``), and one for each shortlist. In each round the batch of an
arm is compared with the batch that the same model would have chosen from all texts.

- ``network``: a network with a hidden layer on the vectors of a sentence encoder stands in for LoRA. It is trained anew
  in each round from another seed and samples by dropout, so its rankings move from round to round. The head is a
  ridge regression on the same vectors.
- ``lora``: SmolLM2-135M with LoRA (``--model``). All shortlists are compared along one campaign that scores all texts,
  so there are overlaps, and no curves.

``--cache`` holds the encoded sets of ``study_labels.py`` (``--data`` and ``--encoder`` make them).
``--report FILE`` prints the tables of finished cells into a page.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from labels_data import Split, divided, load, prepare
from shortlist_report import write_report

from star_al import rng
from star_al.acquire.embeddings import centred_directions, unit_vectors
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import greedy_batch
from star_al.acquire.herding import herding
from star_al.acquire.measures import margin
from star_al.acquire.shortlist import missed, shortlist, texts_to_score
from star_al.common.files import replacing
from star_al.config.spec.acquisition import FACILITY_TOP
from star_al.types import FloatArray, IntArray

BATCHES = {"margin": 25, "facility": 10}
"""Texts of a batch; facility location chooses from 30 times as many, which must be fewer than a shortlist has."""

ROUNDS = 6
"""Trained rounds; the first one scores all texts."""

RANDOM_SHARE = 0.1
SHARES = (0.02, 0.05, 0.1, 0.2)
POOLS = {"bbc": 1600, "sms_spam": 4000, "hwu64": 4000, "banking77": 4000}
TEST = 1000
STARTS = {"bbc": 25, "sms_spam": 25, "hwu64": 64, "banking77": 77}
LORA_POOL, LORA_ROUNDS = 500, 5
KEPT = ("passes", "overlap", "another_training", "accuracy", "missed", "missed_high", "truth")
"""What a cell keeps of each arm, a value a round."""


@dataclass(frozen=True)
class Arm:
    """How texts are shortlisted, and how the batch is taken from them."""

    by: Literal["full", "last_round", "head", "mean", "random"]
    share: float
    rule: Literal["margin", "facility"]

    @property
    def name(self) -> str:
        """The name under which the cell keeps it."""
        return f"{self.rule} {self.by}" + ("" if self.by == "full" else f" {self.share:g}")


def _arms() -> Iterator[Arm]:
    yield Arm("full", 1.0, "margin")
    yield from (Arm(by, share, "margin") for share in SHARES for by in ("last_round", "head", "random"))
    yield Arm("mean", 0.1, "margin")
    yield Arm("full", 1.0, "facility")
    yield from (Arm(by, 0.1, "facility") for by in ("last_round", "head"))


class Learner(Protocol):
    """What is trained each round; its pool is that of a split."""

    def fit(self, rows_n: IntArray, seed: int) -> None:
        """Learn from the labelled texts alone."""

    def predict_pool(self) -> FloatArray:
        """Log-probabilities (P, K, C) of the pool."""

    def predict_mean(self) -> FloatArray:
        """Log-probabilities (P, 1, C) of the pool by the mean or mode of the posterior, in one pass."""

    def predict_test(self) -> FloatArray:
        """Log-probabilities (T, K, C) of the test."""


class Network:
    """A hidden layer with dropout on unit vectors; samples are masks of hidden units."""

    hidden, samples, dropout, steps = 128, 5, 0.2, 100

    def __init__(self, of: Split) -> None:
        self._of = of
        self._pool_P_d, self._test_T_d = unit_vectors(of.pool_P_d), unit_vectors(of.test_T_d)

    def fit(self, rows_n: IntArray, seed: int) -> None:
        """See ``Learner.fit``."""
        import torch
        from torch import nn

        torch.manual_seed(seed % 2**31)
        self._seed = seed
        net = nn.Sequential(
            nn.Linear(self._pool_P_d.shape[1], self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, len(self._of.labels)),
        )
        x, y = torch.tensor(self._pool_P_d[rows_n]).float(), torch.tensor(self._of.targets_P[rows_n])
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
        for _ in range(self.steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
        self._net = net

    def predict_pool(self) -> FloatArray:
        """See ``Learner.predict_pool``."""
        return self._predict(self._pool_P_d)

    def predict_mean(self) -> FloatArray:
        """See ``Learner.predict_mean``."""
        import torch

        self._net.eval()
        with torch.inference_mode():
            logits = self._net(torch.tensor(self._pool_P_d).float()).double()
            return torch.log_softmax(logits, -1).numpy()[:, None]

    def predict_test(self) -> FloatArray:
        """See ``Learner.predict_test``."""
        return self._predict(self._test_T_d)

    def _predict(self, points_N_d: Any) -> FloatArray:
        import torch

        random = np.random.default_rng(self._seed)
        with torch.inference_mode():
            hidden = torch.relu(self._net[0](torch.tensor(points_N_d).float()))
            found = []
            for _ in range(self.samples):
                mask = torch.tensor(random.random(self.hidden) >= self.dropout) / (1 - self.dropout)
                found.append(torch.log_softmax(self._net[3](hidden * mask.float()).double(), -1).numpy())
        return np.stack(found, axis=1)


class Lora:
    """The product's LoRA on the texts of a split; the mode of its posterior (K = 1)."""

    def __init__(self, of: Split, model: Path) -> None:
        from tempfile import TemporaryDirectory

        from star_al.app.language_learners import posterior_method
        from star_al.config.spec import FROM_FILE, CampaignSpec
        from star_al.models.learner import LoraLearner
        from star_al.task import closed, make_task

        spec = CampaignSpec.model_validate(
            {
                "name": "bench",
                "data": {"path": "none.jsonl"},
                "task": {
                    "kind": "classification",
                    "labels": list(of.labels),
                    "instruction": "Topics: {labels}.",
                    "template": "{text}\n\nTopic:",
                    "chat_template": False,
                },
                "model": {"name": str(model), "max_tokens": 48},
                "adapter": {"target_modules": ["q_proj", "v_proj"], "learning_rate": 2e-3, "min_steps": 30},
                "annotator": {"kind": "oracle", "gold": "label"},
            },
            context=FROM_FILE,
        )
        self._of, self._scratch = of, TemporaryDirectory()
        self._learner = LoraLearner(
            closed(make_task(spec.task)), spec, str(model), posterior_method(spec.posterior)
        )

    def fit(self, rows_n: IntArray, seed: int) -> None:
        """See ``Learner.fit``."""
        from star_al.ports import ignore

        self._folder = Path(self._scratch.name) / str(seed)
        self._folder.mkdir()
        examples = [
            (item, self._of.labels[self._of.targets_P[row]])
            for item, row in zip(self._items(self._of.texts_P, rows_n), rows_n.tolist(), strict=True)
        ]
        self._learner.fit(examples, seed=seed, folder=self._folder, parent=None, advance=ignore)

    def predict_pool(self) -> FloatArray:
        """See ``Learner.predict_pool``."""
        return self._predict(self._of.texts_P)

    def predict_mean(self) -> FloatArray:
        """See ``Learner.predict_mean``; there is nothing else."""
        return self.predict_pool()

    def predict_test(self) -> FloatArray:
        """See ``Learner.predict_test``."""
        return self._predict(self._of.texts_T)

    def _predict(self, texts: tuple[str, ...]) -> FloatArray:
        from star_al.ports import ignore

        items = self._items(texts, np.arange(len(texts)))
        found = self._learner.predict(self._folder, items, draws=None, seed=0, advance=ignore)
        return found.log_probs_N_K_C

    @staticmethod
    def _items(texts: tuple[str, ...], rows: IntArray) -> list[Any]:
        from star_al.types import Item

        return [Item(f"{row:06d}", texts[row]) for row in rows.tolist()]


class Campaign:
    """A campaign of one arm, round by round, without a database."""

    def __init__(self, of: Split, arm: Arm, start_n: IntArray) -> None:
        self._of, self._arm, self.rows_n = of, arm, start_n
        self._size = BATCHES[arm.rule]
        self._points_P_d = unit_vectors(of.pool_P_d)
        self._newest_P = np.full(len(of.texts_P), np.nan)
        self.record: dict[str, list[float]] = {name: [] for name in KEPT}

    def choose(
        self, scores_P: FloatArray, round_index: int, mean_P: FloatArray | None = None
    ) -> tuple[IntArray, IntArray]:
        """Choose a batch by the arm, and the one of the full ranking; keep what the arm has seen.

        ``mean_P`` are scores by one pass over the pool, for an arm that goes by them.
        """
        rest = np.setdiff1d(np.arange(len(scores_P)), self.rows_n)
        depth = FACILITY_TOP * self._size if self._arm.rule == "facility" else self._size
        scored, drawn = self._scored(rest, depth, round_index, mean_P)
        self._newest_P[scored] = scores_P[scored]
        full = self._batch(rest, scores_P)
        batch = full if len(scored) == len(rest) else self._batch(scored, scores_P)
        before = 1 / Network.samples if self._arm.by == "mean" else 0.0
        self.record["passes"].append(round(len(scored) / len(rest) + before, 4))
        self.record["overlap"].append(round(len(np.intersect1d(full, batch)) / len(full), 4))
        if len(drawn) and self._arm.by != "random":
            self._note_missed(rest, scored, drawn, scores_P)
        return batch, full

    def note_another_training(self, scores_P: FloatArray, full: IntArray) -> None:
        """Keep the overlap of the full batch with that of a model trained on the same labels from another seed."""
        rest = np.setdiff1d(np.arange(len(scores_P)), self.rows_n)
        other = self._batch(rest, scores_P)
        self.record["another_training"].append(round(len(np.intersect1d(full, other)) / len(full), 4))

    def head_scores(self) -> FloatArray:
        """How close the two first labels are by a ridge regression on the same labels."""
        points_n_d = self._points_P_d[self.rows_n].astype(np.float64)
        answers_n_C = np.eye(len(self._of.labels))[self._of.targets_P[self.rows_n]]
        gram_d_d = points_n_d.T @ points_n_d + np.eye(points_n_d.shape[1])
        weights_d_C = np.linalg.solve(gram_d_d, points_n_d.T @ answers_n_C)
        found_P_C = np.sort(self._points_P_d @ weights_d_C, axis=1)
        scores_P: FloatArray = found_P_C[:, -2] - found_P_C[:, -1]
        return scores_P

    def _scored(
        self, rest: IntArray, depth: int, round_index: int, mean_P: FloatArray | None
    ) -> tuple[IntArray, IntArray]:
        arm, nothing = self._arm, np.zeros(0, dtype=np.int64)
        if arm.by == "full":
            return rest, nothing
        if arm.by == "random":
            size = texts_to_score(len(rest), arm.share, None, depth, 0.0)
            random = rng.generator(self._of.seed, round_index, "bench/candidates")
            return np.sort(random.choice(rest, size, replace=False)), nothing
        known_P = self._newest_P if mean_P is None else mean_P
        if arm.by == "head":
            known_P = self.head_scores()
        size = texts_to_score(len(rest), arm.share, None, depth, RANDOM_SHARE)
        ids = [f"{row:06d}" for row in rest.tolist()]
        seed = rng.derive_seed(self._of.seed, round_index, "bench/shortlist")
        found = shortlist(ids, known_P[rest], size, RANDOM_SHARE, seed)
        return np.array(list(map(int, found.item_ids))), np.array(
            sorted(map(int, found.drawn)), dtype=np.int64
        )

    def _batch(self, candidates: IntArray, scores_P: FloatArray) -> IntArray:
        order = candidates[np.argsort(-scores_P[candidates], kind="stable")]
        if self._arm.rule == "margin":
            return order[: self._size]
        top = order[: FACILITY_TOP * self._size]
        centre_d = self._points_P_d[top].mean(axis=0, dtype=np.float64)
        points, known = (
            centred_directions(self._points_P_d[rows], centre_d).astype(np.float32)
            for rows in (top, self.rows_n)
        )
        weights = scores_P[top] if scores_P[top].any() else np.ones(len(top))
        picks = greedy_batch(FacilityLocation(points, weights, known), [], len(top), self._size)
        return top[[pick.position for pick in picks]]

    def _note_missed(self, rest: IntArray, scored: IntArray, drawn: IntArray, scores_P: FloatArray) -> None:
        told = missed(
            scores_P[scored], np.isin(scored, drawn), len(rest) - len(scored) + len(drawn), self._size
        )
        assert told is not None
        ranked = np.setdiff1d(scored, drawn)
        border = np.sort(scores_P[ranked])[-self._size]
        self.record["truth"].append(int((scores_P[np.setdiff1d(rest, scored)] > border).sum()))
        self.record["missed"].append(round(told.estimate, 2))
        self.record["missed_high"].append(told.high)


def network_cell(of: Split) -> dict[str, Any]:
    """Run each arm as a campaign of its own; all begin with the same texts."""
    start, found = _start(of), {}
    for arm in _arms():
        campaign, learner = Campaign(of, arm, start), Network(of)
        for index in range(1, ROUNDS + 1):
            learner.fit(campaign.rows_n, rng.derive_seed(of.seed, index, "bench/network"))
            campaign.record["accuracy"].append(_accuracy(learner, of))
            mean_P = margin(learner.predict_mean()) if arm.by == "mean" else None
            batch, full = campaign.choose(margin(learner.predict_pool()), index, mean_P)
            if arm.name == "margin full":
                learner.fit(campaign.rows_n, rng.derive_seed(of.seed, index, "bench/again"))
                campaign.note_another_training(margin(learner.predict_pool()), full)
            campaign.rows_n = np.concatenate([campaign.rows_n, batch])
        found[arm.name] = campaign.record
    return found


def lora_cell(of: Split, model: Path) -> dict[str, Any]:
    """Run the full campaign by margin, and compare what each shortlist would have chosen in it."""
    arms = [arm for arm in _arms() if arm.rule == "margin" and arm.by != "mean"]
    campaigns = [Campaign(of, arm, _start(of)) for arm in arms]
    learner = Lora(of, model)
    for index in range(1, LORA_ROUNDS + 1):
        learner.fit(campaigns[0].rows_n, rng.derive_seed(of.seed, index, "bench/lora"))
        scores_P = margin(learner.predict_pool())
        asked: IntArray = np.zeros(0, dtype=np.int64)
        for campaign in campaigns:
            _, asked = campaign.choose(scores_P, index)
        learner.fit(campaigns[0].rows_n, rng.derive_seed(of.seed, index, "bench/again"))
        campaigns[0].note_another_training(margin(learner.predict_pool()), asked)
        for campaign in campaigns:
            campaign.rows_n = np.concatenate([campaign.rows_n, asked])
    return {arm.name: campaign.record for arm, campaign in zip(arms, campaigns, strict=True)}


def _start(of: Split) -> IntArray:
    """The first texts: those that cover a part of the pool, with every label's first text so that all are known."""
    points = centred_directions(
        unit_vectors(of.pool_P_d)[:2000], unit_vectors(of.pool_P_d)[:2000].mean(axis=0, dtype=np.float64)
    ).astype(np.float32)
    picks = greedy_batch(herding(points, points[:0]), [], len(points), STARTS[of.name])
    first = np.unique(of.targets_P, return_index=True)[1]
    chosen: IntArray = np.unique(np.concatenate([[pick.position for pick in picks], first])).astype(np.int64)
    return chosen


def _accuracy(learner: Learner, of: Split) -> float:
    mean_T_C = np.exp(learner.predict_test()).mean(axis=1)
    return round(float((mean_T_C.argmax(axis=1) == of.test_targets_T).mean()), 4)


def _split(name: str, options: argparse.Namespace, seed: int, pool: int, test: int) -> Split:
    texts = load(prepare(name, options.data, options.encoder, options.cache))
    order = rng.generator(seed, 0, f"bench/{name}").permutation(len(texts.texts))
    test = min(test, len(order) - pool)
    return divided(name, seed, texts, order[:pool], order[pool : pool + test])


def _cells(options: argparse.Namespace) -> Iterator[tuple[Path, Callable[[], Mapping[str, Any]]]]:
    """Each cell's file, and what computes it."""
    for seed in range(options.seeds):
        for name in options.sets:
            yield (
                options.out / f"{name}-network-{seed}.json",
                partial(_network, name, seed, options),
            )
        if options.model and seed < options.lora_seeds:
            yield options.out / f"bbc-lora-{seed}.json", partial(_lora, seed, options)


def _network(name: str, seed: int, options: argparse.Namespace) -> Mapping[str, Any]:
    return network_cell(_split(name, options, seed, POOLS[name], TEST))


def _lora(seed: int, options: argparse.Namespace) -> Mapping[str, Any]:
    return lora_cell(_split("bbc", options, seed, LORA_POOL, 1), options.model)


def main() -> None:
    """Run what is missing, then write the tables."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    for path, run in _cells(options) if options.cache else ():
        if not path.exists():
            began = time.process_time()
            record = {"arms": run(), "seconds": round(time.process_time() - began, 1)}
            with replacing(path) as new:
                new.write_text(json.dumps(record) + "\n", encoding="utf-8")
            print(f"{path.name}: {record['seconds']} s", flush=True)
    if options.report:
        write_report(options.out, options.report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder of encoded sets; without it, nothing is run")
    parser.add_argument("--data", type=Path, help="folder with the sets, to encode them")
    parser.add_argument("--encoder", help="the encoder, to encode them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells")
    parser.add_argument("--sets", nargs="+", default=list(POOLS), choices=list(POOLS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", type=Path, help="folder of SmolLM2-135M, for the cells with LoRA")
    parser.add_argument("--lora-seeds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="page whose tables are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
