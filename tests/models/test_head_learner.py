"""A head as the loop uses it: features that are kept, pools, zero-shot predictions, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.acquire.embeddings import unit_vectors
from star_al.errors import ModelError
from star_al.head import UnitVectors, exact_search
from star_al.models.encoded import Encoded
from star_al.models.encoder import SentenceEncoder
from star_al.models.head_learner import HeadLearner
from star_al.models.nearest_search import RememberingSearch
from star_al.ports import StoredItems, ignore
from star_al.types import FloatArray, Item
from support.head_learners import head_learner, head_spec, pool_of
from support.tiny_encoder import build_tiny_encoder

LABELS = ("sport", "tech", "politics")
WORDS = ("striker scored in the cup final", "phone with a faster chip", "minister answered on the election")


def texts(n: int, first: int = 0) -> list[Item]:
    return [
        Item(f"id{k:03d}", f"The {WORDS[k % 3]} {'again ' * (k % 5)}{k}") for k in range(first, first + n)
    ]


POOL, NEW = texts(40), texts(9, first=100)
EXAMPLES = [(item, LABELS[k % 3]) for k, item in enumerate(POOL[:15])]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def opened(encoder: Path, folder: Path, *, labels: Sequence[Any] = LABELS, **changes: Any) -> HeadLearner:
    keep = changes.pop("keep", True)
    return head_learner(encoder, folder, head_spec(labels, **changes), [pool_of(POOL)], keep=keep)


def fit(learner: HeadLearner, folder: Path, pool: Sequence[Item] = POOL) -> Path:
    folder.mkdir(parents=True)
    learner.fit(EXAMPLES, pool=pool_of(pool), seed=1, folder=folder, parent=None, advance=ignore)
    return folder


def predicted(
    learner: HeadLearner, folder: Path | None, items: Sequence[Item], draws: range | None = None
) -> FloatArray:
    return learner.predict(folder, items, draws=draws, seed=5, advance=ignore).log_probs_N_K_C


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


def test_each_text_is_read_once_in_all_processes(encoder: Path, tmp_path: Path, read: list[str]) -> None:
    learner = opened(encoder, tmp_path / "features")
    folder = fit(learner, tmp_path / "a")
    predicted(learner, folder, NEW)
    once = sorted([*(item.text for item in POOL + NEW), "sport?", "tech?", "politics?"])
    assert sorted(read) == once
    again = opened(encoder, tmp_path / "features")
    fit(again, tmp_path / "b")
    predicted(again, folder, NEW)
    again.base_predict(POOL, ignore)
    again.embed(None, POOL, ignore)
    assert sorted(read) == once


def test_known_texts_are_not_loaded(encoder: Path, tmp_path: Path) -> None:
    learner = opened(encoder, tmp_path / "features")
    folder = fit(learner, tmp_path / "a")

    def refuse(_: Sequence[str]) -> list[Item]:
        raise AssertionError("no text is needed")

    stored = StoredItems(tuple(item.item_id for item in POOL), refuse)
    assert predicted(learner, folder, stored).shape == (40, 1, 3)
    assert learner.embed(folder, stored, ignore).shape == (40, 32)


def test_a_reading_command_keeps_the_features_of_the_pool_alone(
    encoder: Path, tmp_path: Path, read: list[str]
) -> None:
    folder = fit(opened(encoder, tmp_path / "features"), tmp_path / "a")
    read.clear()
    for _ in range(2):
        predicted(opened(encoder, tmp_path / "features", keep=False), folder, POOL + NEW)
    assert sorted(read) == sorted([item.text for item in NEW] * 2)


@pytest.mark.parametrize("draws", [None, range(4)])
def test_a_prediction_does_not_depend_on_what_is_predicted_with_it(
    encoder: Path, tmp_path: Path, draws: range | None
) -> None:
    learner, items = opened(encoder, tmp_path / "features"), POOL[11:31] + NEW
    folder = fit(learner, tmp_path / "a")
    whole = predicted(learner, folder, items, draws)
    alone = np.concatenate([predicted(learner, folder, [item], draws) for item in items])
    # The products of some processors (AVX2) give a row other last bits at other places.
    np.testing.assert_allclose(alone, whole, rtol=1e-4 if draws else 1e-5, atol=1e-5)


def test_neighbours_have_a_say(encoder: Path, tmp_path: Path) -> None:
    with_, without = (
        opened(encoder, tmp_path / "features", head={"neighbours": number}) for number in (5, 0)
    )
    one, other = fit(with_, tmp_path / "a"), fit(without, tmp_path / "b")
    assert np.abs(predicted(with_, one, NEW) - predicted(without, other, NEW)).max() > 1e-3


def test_names_and_descriptions_decide_without_labels(encoder: Path, tmp_path: Path) -> None:
    described = [{"name": "x1", "description": WORDS[0]}, {"name": "x2", "description": WORDS[1]}]
    learner = opened(encoder, tmp_path / "features", labels=described)
    found = learner.base_predict([Item("a", WORDS[0]), Item("b", WORDS[1])], ignore)
    assert [int(each.log_probs_C.argmax()) for each in found] == [0, 1]
    other = opened(encoder, tmp_path / "features", labels=["x1", "x2"])
    assert other.base_key != learner.base_key


def test_zero_shot_over_a_pool_is_a_head_without_labels(encoder: Path, tmp_path: Path) -> None:
    learner, folder = opened(encoder, tmp_path / "features"), tmp_path / "a"
    folder.mkdir()
    learner.fit([], pool=pool_of(POOL), seed=1, folder=folder, parent=None, advance=ignore)
    found = [each.log_probs_C for each in learner.base_predict(POOL + NEW, ignore, pool_of(POOL))]
    np.testing.assert_array_equal(found, predicted(learner, folder, POOL + NEW)[:, 0])
    for item, row in zip([POOL[3], NEW[2]], [found[3], found[42]], strict=True):
        (alone,) = opened(encoder, tmp_path / "features").base_predict([item], ignore, pool_of(POOL))
        np.testing.assert_array_equal(alone.log_probs_C, row)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_pool_of_few_texts_is_predicted_without_labels(encoder: Path, tmp_path: Path, n: int) -> None:
    learner = opened(encoder, tmp_path / "features")
    for each in learner.base_predict(POOL[:n] + NEW, ignore, pool_of(POOL[:n])):
        np.testing.assert_allclose(np.exp(each.log_probs_C).sum(), 1)


def test_a_campaign_that_began_without_the_pool_goes_on_without_it(encoder: Path, tmp_path: Path) -> None:
    now, earlier = (
        head_learner(encoder, tmp_path / "features", head_spec(LABELS), prototypes=prototypes)
        for prototypes in (True, False)
    )
    assert now.base_key != earlier.base_key
    assert "zero_shot" in now.versions() and "zero_shot" not in earlier.versions()
    assert not earlier.base_reads_pool
    given, none = (earlier.base_predict(NEW, ignore, pool) for pool in (pool_of(POOL), None))
    np.testing.assert_array_equal([a.log_probs_C for a in given], [b.log_probs_C for b in none])
    unnamed = opened(encoder, tmp_path / "features", head={"label_names": False})
    assert not unnamed.base_reads_pool  # without names a head without labels predicts nothing


def test_contextual_calibration_changes_nothing(encoder: Path, tmp_path: Path) -> None:
    prior = opened(encoder, tmp_path / "features").base_predict(POOL[:1], ignore)[0].log_prior_C
    assert prior is not None
    np.testing.assert_allclose(prior, -np.log(3))


def test_a_grown_pool_is_another_pool(encoder: Path, tmp_path: Path) -> None:
    learner = opened(encoder, tmp_path / "features")
    small, grown = fit(learner, tmp_path / "a"), fit(learner, tmp_path / "b", POOL + NEW)
    of_grown, before = predicted(learner, grown, POOL), predicted(learner, small, POOL)
    assert not np.array_equal(of_grown, before)
    np.testing.assert_array_equal(predicted(opened(encoder, tmp_path / "features"), small, POOL), before)
    with pytest.raises(ModelError, match="not in the campaign's database"):
        predicted(opened(encoder, tmp_path / "features"), grown, POOL)


def test_examples_must_be_in_the_pool(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="id000 is not in the pool"):
        fit(opened(encoder, tmp_path / "features"), tmp_path / "a", POOL[1:])


def test_a_head_is_refused_by_another_encoder(encoder: Path, tmp_path: Path) -> None:
    folder = fit(opened(encoder, tmp_path / "features"), tmp_path / "a")
    other = build_tiny_encoder(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match="trained for another encoder"):
        predicted(opened(other, tmp_path / "features"), folder, POOL)


def test_damaged_neighbours_are_found_again(encoder: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    folder = fit(opened(encoder, features), tmp_path / "a")
    before = predicted(opened(encoder, features), folder, POOL)
    (graph,) = (features / "neighbours").iterdir()
    graph.write_bytes(graph.read_bytes()[:50])
    np.testing.assert_array_equal(predicted(opened(encoder, features), folder, POOL), before)


class States:
    """A language model whose states tell the label."""

    states_key = "0" * 64

    def states(self, items: Sequence[Item], advance: Any) -> Encoded:
        found = np.zeros((len(items), 6), dtype=np.float32)
        for row, item in zip(found, items, strict=True):
            row[int(item.item_id[2:]) % 3] = 4.0
            row[3:] = [len(item.text) % 7, len(item.text) % 5, 1.0]
        return Encoded(found, np.zeros(len(items), dtype=bool))


def test_the_states_of_a_language_model_are_read_where_they_tell_more(encoder: Path, tmp_path: Path) -> None:
    spec = head_spec(LABELS, head={"neighbours": 0, "label_names": False})
    learner = head_learner(encoder, tmp_path / "features", spec, [pool_of(POOL)], language_model=States())
    columns = predicted(learner, fit(learner, tmp_path / "a"), NEW)[:, 0].argmax(axis=1)
    assert columns.tolist() == [int(item.item_id[2:]) % 3 for item in NEW]
    alone = opened(encoder, tmp_path / "features", head={"neighbours": 0, "label_names": False})
    with pytest.raises(ModelError, match="trained for another encoder"):
        predicted(alone, tmp_path / "a", NEW)


def test_a_search_remembers_and_does_not_depend_on_its_company() -> None:
    calls: list[int] = []
    random = np.random.default_rng(0)
    points, queries = (unit_vectors(random.standard_normal((n, 8)).astype(np.float32)) for n in (300, 40))
    base = UnitVectors(points)

    def counted(*given: Any) -> Any:
        calls.append(len(given[0]))
        return exact_search(*given)

    search = RememberingSearch(counted)
    found = search(queries, base, 5)
    expected = np.argsort(-(queries @ points.T), axis=1)[:, :5]
    np.testing.assert_array_equal(found.indices_N_k, expected)
    np.testing.assert_array_equal(search(queries[::-1], base, 3).indices_N_k, expected[::-1, :3])
    assert len(calls) == 1
    search(queries, base, 30)
    assert len(calls) == 2
