"""A head for multiple choice learns which option answers a question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError
from star_al.models.head_choices import ChoiceHeadLearner, pair_pool, pair_spec
from star_al.models.head_learner import HeadLearner
from star_al.models.head_texts import TextReader
from star_al.ports import ignore
from star_al.task import ClosedTask
from star_al.types import FloatArray, Item
from support.head_learners import head_spec, opener, pool_of
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder

GOOD, BAD = "The striker scored twice in the final", "The market fell sharply after the bank"


def spec() -> CampaignSpec:
    task, data = {"kind": "multiple_choice"}, {"path": "pool.jsonl", "options": "options"}
    return head_spec((), task=task, data=data)


def questions(n: int, first: int = 0) -> list[Item]:
    """Questions with 2 to 4 options, one of which is about sport."""
    items = []
    for k in range(first, first + n):
        options = [f"{BAD} {k}{column}" for column in range(2 + k % 3)]
        options[k % len(options)] = f"{GOOD} {k}"
        items.append(Item(f"id{k:03d}", f"Which is about sports {k}", tuple(options)))
    return items


def right(item: Item) -> int:
    return next(column for column, option in enumerate(item.options) if option.startswith(GOOD))


POOL, NEW = questions(30), questions(9, first=100)


def opened(encoder: Path, folder: Path) -> ChoiceHeadLearner:
    whole, progress = spec(), Quiet()
    of_pairs, pairs = pair_spec(whole), pair_pool(pool_of(POOL))
    reader = TextReader(of_pairs, str(encoder), opener(encoder), folder, progress)
    inner = HeadLearner(ClosedTask(of_pairs.task), of_pairs, reader, {pairs.key: pairs}.get, progress.say)
    return ChoiceHeadLearner(ClosedTask(whole.task), reader, inner)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    features, folder = tmp_path_factory.mktemp("features"), tmp_path_factory.mktemp("head")
    examples = [(item, "ABCD"[right(item)]) for item in POOL[:20]]
    learner = opened(encoder, features)
    learner.fit(examples, pool=pool_of(POOL), seed=1, folder=folder, parent=None, advance=ignore)
    return features, folder


def predicted(
    learner: ChoiceHeadLearner, folder: Path | None, items: list[Item], draws: range | None
) -> FloatArray:
    return learner.predict(folder, items, draws=draws, seed=2, advance=ignore).log_probs_N_K_C


@pytest.mark.parametrize("draws", [None, range(3)])
def test_it_learns_which_option_is_right(
    encoder: Path, trained: tuple[Path, Path], draws: range | None
) -> None:
    features, folder = trained
    items = POOL[15:] + NEW
    found = predicted(opened(encoder, features), folder, items, draws)
    assert np.mean(found.mean(axis=1).argmax(axis=1) == [right(item) for item in items]) > 0.8
    for item, row in zip(items, found, strict=True):
        assert (
            np.isfinite(row[:, : len(item.options)]).all() and (row[:, len(item.options) :] == -np.inf).all()
        )
    alone = np.concatenate(
        [
            np.pad(row, ((0, 0), (0, 0), (0, found.shape[2] - row.shape[2])), constant_values=-np.inf)
            for row in (predicted(opened(encoder, features), folder, [item], draws) for item in items[:3])
        ]
    )
    np.testing.assert_allclose(alone, found[:3], rtol=1e-4, atol=1e-5)


def test_without_labels_the_likeness_of_question_and_option_decides(encoder: Path, tmp_path: Path) -> None:
    learner = opened(encoder, tmp_path)
    item = Item("a", GOOD, (BAD, GOOD, "phone"))
    (base,) = learner.base_predict([item], ignore)
    assert base.log_probs_C.argmax() == 1 and base.log_probs_C.shape == (3,)
    np.testing.assert_allclose(predicted(learner, None, [item], None)[0, 0], base.log_probs_C)
    assert learner.embed(None, [item], ignore).shape == (1, 32)
    assert predicted(learner, None, [], None).shape[0] == 0


def test_it_is_not_exported(encoder: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="multiple choice cannot be exported"):
        opened(encoder, trained[0]).export(
            trained[1], tmp_path, draws=None, seed=0, merged=False, examples=[]
        )
