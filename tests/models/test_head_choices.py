"""A head for multiple choice learns which option answers a question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from star_al.acquire.embeddings import unit_vectors
from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError
from star_al.models.choice_reader import ChoiceModel, ChoiceReader, pair_features
from star_al.models.encoded import Encoded
from star_al.models.encoder import SentenceEncoder
from star_al.models.head_choices import ChoiceHeadLearner
from star_al.models.head_labeller.choice_labeller import Labeller
from star_al.models.head_texts import TextReader
from star_al.ports import ignore
from star_al.task import closed, make_task
from star_al.types import BasePrediction, FloatArray, Item
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


def opened(
    encoder: Path, folder: Path, language_model: ChoiceModel | None = None, *, keep: bool = True
) -> ChoiceHeadLearner:
    settings, pool = spec(), pool_of(POOL)
    texts = TextReader(settings, str(encoder), opener(encoder), folder, Quiet(), keep=keep)
    reader = ChoiceReader(texts, language_model)
    return ChoiceHeadLearner(closed(make_task(settings.task)), reader, {pool.key: pool}.get)


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


def test_an_exported_head_answers_as_the_head_does(
    encoder: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    learner, temperature = opened(encoder, trained[0]), 1.5
    record = learner.export(trained[1], tmp_path, draws=None, seed=0, merged=False, examples=[])
    whole = {"labels": [], "temperature": temperature, "text": "{text}", "columns": {"text": "text"}}
    (tmp_path / "labeller.json").write_text(json.dumps({**record, **whole}))
    labeller = Labeller(tmp_path, device="cpu")
    for item, row in zip(NEW, predicted(learner, trained[1], NEW, None)[:, 0], strict=True):
        expected = softmax(row[: len(item.options)] / temperature)
        found = labeller(item.text, item.options)
        assert list(found) == list("ABCD"[: len(item.options)])
        np.testing.assert_allclose(list(found.values()), expected, atol=1e-5)
    with pytest.raises(ValueError, match="give 1 to 26 options"):
        labeller("Which?", [])


def test_a_head_that_reads_a_language_model_is_not_exported(encoder: Path, tmp_path: Path) -> None:
    learner, folder = opened(encoder, tmp_path / "features", Oracle()), tmp_path / "head"
    folder.mkdir()
    learner.fit([], pool=pool_of(POOL), seed=1, folder=folder, parent=None, advance=ignore)
    with pytest.raises(ModelError, match="reads the language model as well"):
        learner.export(folder, tmp_path, draws=None, seed=0, merged=False, examples=[])
    with pytest.raises(ModelError, match="no weights to merge"):
        learner.export(folder, tmp_path, draws=None, seed=0, merged=True, examples=[])


def fit(learner: ChoiceHeadLearner, folder: Path, pool: list[Item] = POOL) -> Path:
    folder.mkdir()
    examples = [(item, "ABCD"[right(item)]) for item in POOL[:20]]
    learner.fit(examples, pool=pool_of(pool), seed=1, folder=folder, parent=None, advance=ignore)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the encoder has read."""
    seen: list[str] = []
    encode = SentenceEncoder.encode

    def counted(self: SentenceEncoder, given: Sequence[str], *rest: Any) -> Any:
        seen.extend(given)
        return encode(self, given, *rest)

    monkeypatch.setattr(SentenceEncoder, "encode", counted)
    return seen


def test_features_are_the_option_its_difference_and_its_similarity(encoder: Path) -> None:
    opened_encoder = opener(encoder)()
    items = [Item("a", "Which?", ("this", "that")), Item("b", "Who?", ("this",))]
    found = pair_features(opened_encoder, items, ignore).vectors_N_d
    pairs = [("Which?", "this"), ("Which?", "that"), ("Who?", "this")]
    for row, texts in zip(found, pairs, strict=True):
        question, option = (unit_vectors(opened_encoder.encode([text]).vectors_N_d)[0] for text in texts)
        difference = np.abs(question - option) / np.linalg.norm(question - option)
        np.testing.assert_allclose(row, np.concatenate([option, difference, [question @ option]]), atol=1e-6)


def test_options_are_read_once_in_all_processes(encoder: Path, tmp_path: Path, read: list[str]) -> None:
    folder = fit(opened(encoder, tmp_path / "features"), tmp_path / "a")
    before = predicted(opened(encoder, tmp_path / "features"), folder, POOL + NEW, None)
    read.clear()
    again = opened(encoder, tmp_path / "features")
    np.testing.assert_array_equal(predicted(again, folder, POOL + NEW, None), before)
    again.base_predict(POOL, ignore)
    assert read == []
    unkept = opened(encoder, tmp_path / "features", keep=False)
    other = questions(2, first=200)
    for _ in range(2):
        predicted(unkept, folder, other, None)
    assert read.count(other[0].text) == 2


def test_the_same_answers_make_the_same_bytes(encoder: Path, tmp_path: Path) -> None:
    one, other = (fit(opened(encoder, tmp_path / "features"), tmp_path / name) for name in ("a", "b"))
    assert [file.read_bytes() for file in sorted(one.iterdir())] == [
        file.read_bytes() for file in sorted(other.iterdir())
    ]


def test_a_head_is_refused_by_another_encoder_or_without_its_pool(encoder: Path, tmp_path: Path) -> None:
    learner = opened(encoder, tmp_path / "features")
    grown = fit(learner, tmp_path / "a", POOL + NEW)
    assert predicted(learner, grown, NEW, None).shape == (9, 1, 4)
    with pytest.raises(ModelError, match="not in the campaign's database"):
        predicted(opened(encoder, tmp_path / "features"), grown, POOL, None)
    other = build_tiny_encoder(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match="trained for another encoder"):
        predicted(opened(other, tmp_path / "features"), grown, POOL, None)


def test_examples_must_be_in_the_pool(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="id000 is not in the pool"):
        fit(opened(encoder, tmp_path / "features"), tmp_path / "a", POOL[1:])


class Oracle:
    """A language model whose answers are right and whose states say nothing."""

    states_key, base_key = "0" * 64, "1" * 64

    def states(self, items: Sequence[Item], advance: Any) -> Encoded:
        rows = sum(len(item.options) for item in items)
        return Encoded(np.ones((rows, 3), dtype=np.float32), np.zeros(rows, dtype=bool))

    def base_predict(self, items: Sequence[Item], advance: Any) -> list[BasePrediction]:
        found = []
        for item in items:
            logits = np.where(np.arange(len(item.options)) == right(item), 4.0, 0.0)
            found.append(BasePrediction(item.item_id, log_softmax(logits)))
        return found


def test_the_answers_of_a_language_model_lead_the_head(encoder: Path, tmp_path: Path) -> None:
    learner = opened(encoder, tmp_path / "features", Oracle())
    folder = tmp_path / "head"
    folder.mkdir()
    learner.fit([], pool=pool_of(POOL), seed=1, folder=folder, parent=None, advance=ignore)
    found = predicted(learner, folder, NEW, None)[:, 0]
    assert [int(row.argmax()) for row in found] == [right(item) for item in NEW]
    with pytest.raises(ModelError, match="trained for another encoder"):
        predicted(opened(encoder, tmp_path / "features"), folder, NEW, None)
