"""What every learner must do, a language model with LoRA and a head alike."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError
from star_al.models.learner import LoraLearner
from star_al.ports import Learner, StoredItems, Taught, ignore
from star_al.task import closed, make_task
from star_al.types import Float32Array, FloatArray, Item
from support.head_learners import head_learner, head_spec, pool_of
from support.tiny_encoder import build_tiny_encoder
from support.tiny_model import build_tiny_model

LABELS = ("sport", "tech", "politics")
WORDS = ("striker scored in the cup final", "phone with a faster chip", "minister answered on the election")


def texts(n: int, first: int = 0) -> list[Item]:
    numbers = range(first, first + n)
    return [Item(f"id{k:03d}", f"The {WORDS[k % 3]} {'again ' * (k % 5)}{k}") for k in numbers]


POOL, NEW = texts(24), texts(7, first=100)
EXAMPLES = [(item, LABELS[k % 3]) for k, item in enumerate(POOL[:12])]
BOTH = POOL[9:20] + NEW

Open = Callable[..., Learner]


@dataclass(frozen=True)
class Kind:
    """A kind of learner, by what opens one; each call opens another, as in a new process."""

    open: Open

    def fit(self, folder: Path, learner: Learner | None = None, **changes: Any) -> Path:
        folder.mkdir(parents=True)
        arguments: dict[str, Any] = {"pool": pool_of(POOL), "seed": 3, "parent": None, "advance": ignore}
        kind = (learner or self.open()).fit(EXAMPLES, folder=folder, **arguments | changes)
        assert kind
        return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module", params=["lora", "head"])
def kind(
    request: pytest.FixtureRequest, model: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Kind:
    if request.param == "lora":
        return Kind(lambda labels=LABELS: lora(model, labels))
    features = tmp_path_factory.mktemp("features")
    return Kind(lambda labels=LABELS: head_learner(encoder, features, head_spec(labels), [pool_of(POOL)]))


def lora(model: Path, labels: Sequence[Any]) -> LoraLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": list(labels)},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120},
            "adapter": {"learning_rate": 1e-2, "dropout": 0.3},
            "annotator": {"kind": "oracle", "gold": "gold"},
        }
    )
    return LoraLearner(closed(make_task(spec.task)), spec, str(model), posterior_method(spec.posterior))


@pytest.fixture(scope="module")
def trained(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kind.fit(tmp_path_factory.mktemp("artefacts") / "a")


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def predicted(
    learner: Learner, folder: Path | None, items: Sequence[Item] = BOTH, draws: range | None = None
) -> FloatArray:
    found = learner.predict(folder, items, draws=draws, seed=5, advance=ignore)
    assert found.item_ids == tuple(item.item_id for item in items)
    (answers,) = found.answers
    assert not items or (answers[:3] == LABELS and len(answers) == found.log_probs_N_K_C.shape[2])
    return found.log_probs_N_K_C


def test_the_check_runs_and_changes_nothing(kind: Kind, trained: Path) -> None:
    learner = kind.open()
    before = predicted(learner, trained)
    learner.check(POOL[:3])
    np.testing.assert_array_equal(predicted(learner, trained), before)
    assert learner.versions()["device"] and learner.versions()["weights"]


def test_base_predictions_are_those_without_an_artefact(kind: Kind) -> None:
    learner, counts = kind.open(), list[int]()
    base = learner.base_predict(BOTH, counts.append)
    assert sum(counts) == len(BOTH) and [each.item_id for each in base] == [item.item_id for item in BOTH]
    np.testing.assert_allclose(
        np.stack([each.log_probs_C for each in base]), predicted(learner, None)[:, 0], atol=1e-5
    )


def test_training_twice_writes_the_same_bytes(kind: Kind, trained: Path, tmp_path: Path) -> None:
    learner = kind.open()
    assert digest(kind.fit(tmp_path / "b", learner)) == digest(trained)
    assert digest(kind.fit(tmp_path / "c", learner)) == digest(trained)


def test_training_counts_its_steps(kind: Kind, tmp_path: Path) -> None:
    learner, counts = kind.open(), list[int]()
    kind.fit(tmp_path / "b", learner, advance=counts.append)
    assert sum(counts) == learner.training_steps(len(EXAMPLES))


def test_training_on_taught_texts_counts_its_steps_and_repeats_its_bytes(kind: Kind, tmp_path: Path) -> None:
    learner, counts = kind.open(), list[int]()
    others = POOL[12:]
    taught = Taught(others, np.random.default_rng(0).dirichlet(np.ones(3), len(others)), weight=0.5)
    once = kind.fit(tmp_path / "b", learner, taught=taught, advance=counts.append)
    assert sum(counts) == learner.training_steps(len(EXAMPLES), len(taught))
    assert digest(kind.fit(tmp_path / "c", kind.open(), taught=taught)) == digest(once)


def test_what_was_trained_predicts_its_labels(kind: Kind, trained: Path) -> None:
    columns = predicted(kind.open(), trained, [item for item, _ in EXAMPLES])[:, 0].argmax(axis=1)
    assert np.mean(columns == [k % 3 for k in range(len(EXAMPLES))]) >= 0.5


def test_a_new_process_predicts_the_same(kind: Kind, trained: Path, tmp_path: Path) -> None:
    learner = kind.open()
    own = kind.fit(tmp_path / "b", learner)
    np.testing.assert_array_equal(predicted(learner, own), predicted(kind.open(), trained))


@pytest.mark.parametrize("draws", [None, range(3)])
def test_predictions_do_not_depend_on_the_pages_or_the_order(
    kind: Kind, trained: Path, draws: range | None
) -> None:
    learner = kind.open()
    whole = predicted(learner, trained, draws=draws)
    paged = [
        predicted(kind.open(), trained, BOTH[start : start + 5], draws) for start in range(0, len(BOTH), 5)
    ]
    np.testing.assert_allclose(np.concatenate(paged), whole, atol=1e-4)
    np.testing.assert_allclose(predicted(learner, trained, BOTH[::-1], draws)[::-1], whole, atol=1e-4)


def test_samples_are_functions_with_numbers(kind: Kind, trained: Path) -> None:
    learner = kind.open()
    four = predicted(learner, trained, draws=range(4))
    np.testing.assert_allclose(predicted(learner, trained, draws=range(2, 4)), four[:, 2:], atol=1e-4)
    assert np.ptp(four, axis=1).max() > 1e-4
    np.testing.assert_allclose(np.exp(four).sum(axis=2), 1.0, atol=1e-5)


def test_stored_items_are_predicted_like_loaded_ones(kind: Kind, trained: Path) -> None:
    learner, by_id = kind.open(), {item.item_id: item for item in BOTH}
    stored = StoredItems(tuple(by_id), lambda ids: [by_id[item_id] for item_id in ids])
    np.testing.assert_allclose(predicted(learner, trained, stored), predicted(learner, trained), atol=1e-5)
    np.testing.assert_allclose(learner.embed(trained, stored, ignore), embedded(learner, trained), atol=1e-5)


def embedded(learner: Learner, folder: Path | None) -> Float32Array:
    return learner.embed(folder, BOTH, ignore)


def test_embeddings_are_finite_rows_in_order(kind: Kind, trained: Path) -> None:
    learner = kind.open()
    rows = embedded(learner, trained)
    assert rows.dtype == np.float32 and rows.shape == (len(BOTH), 32) and np.isfinite(rows).all()
    np.testing.assert_allclose(learner.embed(trained, BOTH[::-1], ignore)[::-1], rows, atol=1e-4)
    assert embedded(learner, None).shape == rows.shape


def test_nothing_to_predict_gives_no_rows(kind: Kind, trained: Path) -> None:
    learner = kind.open()
    assert len(predicted(learner, trained, [])) == 0 and len(predicted(learner, trained, [], range(2))) == 0
    assert len(learner.embed(trained, [], ignore)) == 0 and learner.base_predict([], ignore) == []


def test_other_labels_have_another_base_key_and_no_artefact_in_common(kind: Kind, trained: Path) -> None:
    one, other = kind.open(), kind.open((*LABELS, "culture"))
    assert one.base_key == kind.open().base_key != other.base_key
    assert one.versions()["weights"] == other.versions()["weights"]
    with pytest.raises(ModelError):
        predicted(other, trained)


def test_damaged_artefacts_are_noticed(kind: Kind, trained: Path, tmp_path: Path) -> None:
    for file in trained.iterdir():
        for damage in (b"", b"{}", file.read_bytes()[:-7], None):
            folder = shutil.copytree(trained, tmp_path / f"{file.name}-{damage and len(damage)}")
            if damage is None:
                (folder / file.name).unlink()
            else:
                (folder / file.name).write_bytes(damage)
            with pytest.raises(ModelError, match=r"damaged|missing|adapter"):
                predicted(kind.open(), folder)
