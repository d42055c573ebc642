"""A linear classifier on the language model's last states, in place of the words of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from star_al.app.compose import open_learner
from star_al.artefacts.folder import content_hash
from star_al.config.file import load_campaign
from star_al.display.progress import SilentProgress
from star_al.errors import ModelError
from star_al.models import fitted_posteriors
from star_al.models.adapter_record import read_record
from star_al.models.classifier import FILE, Classifier, blank_classifier, for_classifier, load_classifier
from star_al.models.collate import collate
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_scorer
from star_al.models.linear_probe import ProbeTexts, _Problem, fit_probe
from star_al.models.minibatch import join
from star_al.models.sequence_attention import SequenceAttention
from star_al.ports import Taught
from star_al.types import Item, JsonObject, RoundFit
from support.campaigns import write_campaign
from support.posteriors import EVERY, LABELS, examples, fit, ignore, items, learner, predict
from support.records import a_round
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def classifying(model: Path, kind: str = "map", **sections: Any) -> LoraLearner:
    adapter = {"output": "classifier"} | sections.pop("adapter", {})
    return learner(model, EVERY[kind], adapter=adapter, **sections)


def some_texts(n: int = 60, size: int = 5, n_labels: int = 3) -> ProbeTexts:
    generator = np.random.default_rng(0)
    targets_N = generator.integers(n_labels, size=n)
    hidden_N_d = generator.normal(size=(n, size)) * 7 + 2
    hidden_N_d[np.arange(n), targets_N] += 8
    return ProbeTexts(hidden_N_d.astype(np.float32), np.eye(n_labels)[targets_N], np.ones(n), n)


def test_a_probe_is_the_logistic_regression_of_scikit_learn() -> None:
    texts = some_texts()
    states_N_d = (texts.hidden_N_d - texts.hidden_N_d.mean(axis=0)) / texts.hidden_N_d.std(axis=0)
    problem = _Problem(
        torch.tensor(states_N_d), torch.tensor(texts.shares_N_C, dtype=torch.float32), torch.ones(60)
    )
    for strength in (0.1, 10.0):
        # scikit-learn minimises C · loss + ½ ‖V‖².
        rival = LogisticRegression(C=1 / (2 * strength), tol=1e-8, max_iter=2_000)
        rival.fit(states_N_d, texts.shares_N_C.argmax(axis=1))
        found = problem.fit(strength).logits(problem.states_N_d, slice(None)).log_softmax(dim=1)
        np.testing.assert_allclose(found.exp(), rival.predict_proba(states_N_d), atol=2e-3)


def test_a_probe_on_plain_states_scores_as_on_standardised_ones() -> None:
    texts = some_texts()
    found = fit_probe(texts, seed=0)
    states_N_d = (texts.hidden_N_d - texts.hidden_N_d.mean(axis=0)) / texts.hidden_N_d.std(axis=0)
    problem = _Problem(
        torch.tensor(states_N_d), torch.tensor(texts.shares_N_C, dtype=torch.float32), torch.ones(60)
    )
    scaled = problem.fit(problem.best_strength(60, 0))
    np.testing.assert_allclose(
        found.logits(torch.tensor(texts.hidden_N_d), slice(None)),
        scaled.logits(problem.states_N_d, slice(None)),
        atol=1e-3,
    )


def test_soft_answers_and_weights_count_as_that_many_texts() -> None:
    hidden_N_d = some_texts(20).hidden_N_d
    shares_N_C = np.tile([0.5, 0.25, 0.25], (20, 1))
    twice = _Problem(
        *(torch.tensor(part, dtype=torch.float32) for part in (hidden_N_d, shares_N_C, np.full(20, 4.0)))
    )
    spread = _Problem(
        *(
            torch.tensor(part, dtype=torch.float32)
            for part in (
                np.repeat(hidden_N_d, 4, axis=0),
                np.tile(np.eye(3)[[0, 0, 1, 2]], (20, 1)),
                np.ones(80),
            )
        )
    )
    for each in (twice, spread):
        assert each.loss(twice.fit(1.0)).item() == pytest.approx(twice.loss(twice.fit(1.0)).item(), rel=1e-5)


def test_few_answers_and_strange_states() -> None:
    texts = some_texts()
    few = ProbeTexts(texts.hidden_N_d[:2], texts.shares_N_C[:2], texts.weights_N[:2], 2)
    assert torch.isfinite(fit_probe(few, seed=0).weight_C_d).all()
    constant = texts.hidden_N_d.copy()
    constant[:, 0] = 3.0
    assert torch.isfinite(
        fit_probe(ProbeTexts(constant, texts.shares_N_C, texts.weights_N, 60), 0).bias_C
    ).all()
    texts.hidden_N_d[4, 1] = np.nan
    with pytest.raises(ModelError, match="hidden state of the language model is NaN"):
        fit_probe(texts, seed=0)


@pytest.mark.parametrize("kind", sorted(EVERY))
def test_every_posterior_learns_below_a_classifier(kind: str, model: Path, tmp_path: Path) -> None:
    one = classifying(model, kind)
    one.check(items())
    folder = fit(one, tmp_path / "a")
    assert (folder / FILE).is_file()
    log_probs_N_K_C = predict(one, folder)
    assert log_probs_N_K_C.shape[2] == len(LABELS)
    np.testing.assert_allclose(np.exp(log_probs_N_K_C).sum(axis=-1), 1.0)
    np.testing.assert_array_equal(predict(classifying(model, kind), folder), log_probs_N_K_C)
    again = fit(classifying(model, kind), tmp_path / "b")
    assert content_hash(again) == content_hash(folder)


def test_training_starts_where_the_frozen_model_is_the_probe(model: Path, tmp_path: Path) -> None:
    one = classifying(model, adapter={"learning_rate": 1e-9, "epochs": 1})
    folder = fit(one, tmp_path / "a")
    hidden_N_d = one._frozen.embed_texts(items(), ignore)
    np.testing.assert_array_equal(hidden_N_d[:, 32:], one.embed(None, items(), ignore))
    shares_N_C = np.eye(len(LABELS))[np.arange(8) % 4]
    probe = fit_probe(ProbeTexts(hidden_N_d, shares_N_C, np.ones(8), 8), seed=0)
    expected = log_softmax(probe.logits(torch.tensor(hidden_N_d), slice(None)).numpy(), axis=1)
    np.testing.assert_allclose(predict(one, folder)[:, 0], expected, atol=1e-3)


def naive_scores(one: LoraLearner, classifier: Classifier, prompts: Sequence[Any]) -> torch.Tensor:
    """Read each prompt by itself, and average the states of its text's tokens one by one."""
    rows = []
    for prompt in prompts:
        states_S_d = one.backbone.model.base_model(torch.tensor([prompt.tokens])).last_hidden_state[0]
        start, end = prompt.text
        of_text = [states_S_d[place] for place in range(start, end)] or [states_S_d[-1]]
        mean_d = torch.stack(of_text).sum(dim=0) / len(of_text)
        rows.append(classifier.weight_C_d @ torch.cat([mean_d, states_S_d[-1]]) + classifier.bias_C)
    return torch.stack(rows)


@pytest.mark.parametrize("way", ["padded", "joined", "after a prefix"])
def test_the_text_is_read_as_in_a_plain_loop(way: str, model: Path) -> None:
    one = classifying(model)
    prompts = for_classifier([one.prompts.encode(item) for item in [*items(), Item("empty", "")]])
    classifier = blank_classifier(len(LABELS), 32, reads_text=True)
    prefix = one.prompts.prefix if way == "after a prefix" else ()
    readout = one.backbone.readout
    with torch.inference_mode(), readout.classifying(classifier):
        batch = collate(prompts, readout, prefix=prefix)
        assert batch.prefix == prefix
        attention = SequenceAttention(batch.lengths_R, batch.mask_R_1_S_T)
        with attention if way == "joined" else nullcontext():
            found = label_scorer(readout)(join(batch, readout.dtype) if way == "joined" else batch)
        expected = naive_scores(one, classifier, prompts)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_campaign_that_began_earlier_reads_the_end_alone(model: Path, tmp_path: Path) -> None:
    now, earlier = classifying(model), classifying(model, classifier_reads_text=False)
    folder = fit(earlier, tmp_path / "earlier")
    assert read_record(folder)["classifier"] is True
    assert load_file(folder / FILE)["weight"].shape == (len(LABELS), 32)
    np.testing.assert_array_equal(predict(now, folder), predict(earlier, folder))
    assert load_file(fit(now, tmp_path / "now") / FILE)["weight"].shape == (len(LABELS), 64)
    assert "classifier" in now.versions() and "classifier" not in earlier.versions()
    assert "classifier" not in learner(model, EVERY["map"]).versions()


@pytest.mark.parametrize(
    ("versions", "reads_text"),
    [([], True), ([{"classifier": "text_and_end"}, {}], True), ([{}, {"classifier": "text_and_end"}], False)],
)
def test_what_the_first_round_read_is_kept(versions: Sequence[Any], reads_text: bool, tmp_path: Path) -> None:
    file = load_campaign(write_campaign(tmp_path, model__name="tiny", adapter__output="classifier"))
    (tmp_path / "tiny").mkdir()
    rounds = [a_round(index, fit=RoundFit("", each)) for index, each in enumerate(versions)]
    one = open_learner(file, file.spec, rounds, SilentProgress())
    assert isinstance(one, LoraLearner) and one._reads_text == reads_text


def test_what_the_head_teaches_moves_the_classifier(model: Path, tmp_path: Path) -> None:
    others = [Item(f"other{n}", f"{n} notes on music and film") for n in range(12)]
    found = {}
    for column in (0, 2):
        one = classifying(model)
        (tmp_path / str(column)).mkdir()
        one.fit(
            examples(),
            seed=0,
            folder=tmp_path / str(column),
            parent=None,
            advance=ignore,
            taught=Taught(others, np.eye(4)[[column] * 12], 1.0),
        )
        found[column] = predict(one, tmp_path / str(column), others)[:, 0]
    assert (found[0].argmax(axis=1) == 0).all()
    assert (found[2].argmax(axis=1) == 2).all()


def test_the_base_model_still_predicts_by_the_words_of_the_labels(model: Path, tmp_path: Path) -> None:
    plain, one = learner(model, EVERY["map"]), classifying(model)
    fit(one, tmp_path / "a")
    predict(one, tmp_path / "a")
    np.testing.assert_array_equal(predict(one, None), predict(plain, None))


def test_prompts_hold_no_label(model: Path) -> None:
    one = classifying(model)
    prompts = [one.prompts.encode(item) for item in items()]
    bare: Sequence[Any] = for_classifier(prompts)
    assert [len(prompt) for prompt in bare] == [len(prompt.tokens) for prompt in prompts]
    assert all(len(prompt.labels) == len(LABELS) for prompt in bare)


def test_a_classifier_is_read_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fit(classifying(model), tmp_path / "a")
    read: list[Path] = []

    def load(path: Path, record: JsonObject) -> Classifier | None:
        read.append(path)
        return load_classifier(path, record)

    monkeypatch.setattr(fitted_posteriors, "load_classifier", load)
    one = classifying(model)
    first = predict(one, folder)
    np.testing.assert_array_equal(predict(one, folder), first)
    one.embed(folder, items(), ignore)
    assert read == [folder]


def test_a_damaged_classifier_is_named(model: Path, tmp_path: Path) -> None:
    one = classifying(model)
    folder = fit(one, tmp_path / "a")
    (folder / FILE).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=FILE):
        predict(one, folder)
    (folder / FILE).unlink()
    with pytest.raises(ModelError, match=FILE):
        predict(one, folder)
