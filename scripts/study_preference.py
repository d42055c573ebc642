"""Whether a small model learns a preference from few pairs: of two answers, the one that says thank you.

python scripts/study_preference.py MODEL --pairs 60 --seeds 1

Pairs are made up. Accuracy on pairs that were held out is told before training and after it, with the base model's
likelihood a token as the prediction before.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.models.learner import LoraLearner
from star_al.ports import ignore
from star_al.task import closed, make_task
from star_al.types import Item

THINGS = [
    "the invoice",
    "my parcel",
    "the blue lamp",
    "a refund",
    "my password",
    "the meeting",
    "this recipe",
    "the train",
]
ASKED = ("Where is {}?", "What about {}?", "Can you help me with {}?", "I have a question about {}.")
PLAIN = (
    "I will look into {} today.",
    "You can find out about {} on our page.",
    "Somebody takes care of {} now.",
    "There is news about {} tomorrow.",
)
POLITE = ("Thank you for asking. ", "Thanks for your message. ", "Many thanks for writing to us. ")
CURT = ("As I said before. ", "That is nothing new. ", "It is always the same with you. ")


def pair(number: int, dice: random.Random) -> tuple[Item, str]:
    """A prompt with two answers of about the same length, and the letter of the polite one."""
    thing = dice.choice(THINGS)
    good = dice.choice(POLITE) + dice.choice(PLAIN).format(thing)
    bad = dice.choice(CURT) + dice.choice(PLAIN).format(thing)
    prompt = f"{dice.choice(ASKED).format(thing)} ({number})"
    is_first = dice.random() < 0.5
    return Item(f"i{number:04d}", prompt, (good, bad) if is_first else (bad, good)), "A" if is_first else "B"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=60, help="pairs to train on")
    parser.add_argument("--held-out", type=int, default=100, help="pairs to measure on")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        dice = random.Random(seed)
        pairs = [pair(number, dice) for number in range(arguments.held_out + arguments.pairs)]
        held_out, train = pairs[: arguments.held_out], pairs[arguments.held_out :]
        start = time.monotonic()
        learner = _learner(arguments.model)
        before = _accuracy(learner, None, held_out)
        with tempfile.TemporaryDirectory() as folder:
            learner.fit(train, seed=seed, folder=Path(folder), parent=None, advance=ignore)
            after = _accuracy(learner, Path(folder), held_out)
        took = time.monotonic() - start
        print(
            f"seed {seed}: {before:.2f} before, {after:.2f} with {len(train)} pairs ({took:.0f} s)",
            flush=True,
        )


def _learner(model: str) -> LoraLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "preference",
            "data": {"path": "pairs.jsonl", "options": ["a", "b"]},
            "task": {"kind": "preference"},
            "model": {"name": model, "device": "cpu", "max_tokens": 128},
            "annotator": {"kind": "oracle", "gold": "better"},
        }
    )
    return LoraLearner(closed(make_task(spec.task)), spec, model, posterior_method(spec.posterior))


def _accuracy(learner: LoraLearner, folder: Path | None, pairs: list[tuple[Item, str]]) -> float:
    items = [item for item, _ in pairs]
    found = learner.predict(folder, items, draws=None, seed=0, advance=ignore).log_probs_N_K_C[:, 0]
    return float(
        np.mean(["AB"[column] == letter for column, (_, letter) in zip(found.argmax(1), pairs, strict=True)])
    )


if __name__ == "__main__":
    main()
