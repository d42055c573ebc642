"""A language model learns to write answers, and its draws tell how sure it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from star_al.acquire.measures import bald
from star_al.acquire.open_answers import token_bald, trusted_bald
from star_al.app.language_learners import language_learner
from star_al.config.spec import CampaignSpec
from star_al.models.adapter_export import write_record
from star_al.models.adapter_record import read_record
from star_al.models.labeller.labeller import Labeller
from star_al.models.posterior import predictive
from star_al.models.readout import Readout
from star_al.models.text_learner import TextLearner
from star_al.models.writing.tokens import all_logits
from star_al.ports import ignore
from star_al.stats.platt import LARGEST_LOG_ODDS, right_probabilities
from star_al.stats.temperature import apply_temperature
from star_al.types import Item, JsonObject, PlattScaling, Predictions
from support.tiny_model import build_tiny_model

POSTERIORS: Mapping[str, Mapping[str, Any]] = {
    "map": {},
    "mc_dropout": {"samples": 3},
    "ensemble": {"members": 2},
    "laplace": {"samples": 3},
    "tfb": {"samples": 2, "rule": "predictions", "tolerance": 0.2},
}
ANSWERS = ("good news", "bad news", "the team won")
ITEMS = [Item(f"id{k}", f"{['yes', 'no', 'maybe'][k % 3]} {'again ' * (k % 4)}{k}") for k in range(12)]
EXAMPLES = [(item, ANSWERS[k % 3]) for k, item in enumerate(ITEMS[:9])]
SIGNALS = {"nll", "token_entropy", "length", "sequence_entropy", "ess"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"), spread=0.2)


def learner(model: Path, posterior: str = "mc_dropout", measure: str = "bald", **task: Any) -> TextLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "text", "max_answer_tokens": 12, "draws": 3, **task},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120},
            "adapter": {
                "learning_rate": 1e-2, "dropout": 0.1, "epochs": 20, "batch_size": 3, "target_modules": "all-linear",
            },
            "posterior": {"kind": posterior, **POSTERIORS[posterior]},
            "acquisition": {"measure": measure},
            "annotator": {"kind": "oracle", "gold": "gold"},
        }
    )  # fmt: skip
    found = language_learner(spec, str(model))
    assert isinstance(found, TextLearner)
    return found


def fit(own: TextLearner, folder: Path, **options: Any) -> Path:
    folder.mkdir(parents=True)
    own.fit(EXAMPLES, **{"seed": 3, "folder": folder, "parent": None, "advance": ignore, **options})
    return folder


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(learner(model), tmp_path_factory.mktemp("artefacts") / "a")


def predicted(
    own: TextLearner, folder: Path | None, items: Sequence[Item] = ITEMS, k: int = 3
) -> Predictions:
    counts = list[int]()
    found = own.predict(folder, items, draws=range(k) if k else None, seed=5, advance=counts.append)
    assert sum(counts) == len(items) and found.item_ids == tuple(item.item_id for item in items)
    assert found.open_ended
    return found


def test_targets_are_all_tokens_of_the_answer_and_its_end(model: Path) -> None:
    own = learner(model)
    tokenizer = own.backbone.tokenizer
    label = own.prompts.written(ANSWERS[2])
    assert label == (*tokenizer(ANSWERS[2]).input_ids, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert own.prompts.written("news " * 50) == own.prompts.written("news " * 60)
    assert len(own.prompts.written("news " * 50)) == 12
    hostile = learner(model, max_answer_tokens=40).prompts.written("good<|im_end|>news")
    assert hostile.count(label[-1]) == 1 and hostile[-1] == label[-1]


def test_a_long_text_is_cut_and_leaves_room_for_the_answer(model: Path) -> None:
    own = learner(model, max_answer_tokens=200)
    short, long = own.model.encode([ITEMS[0], Item("long", "yes no " * 300)])
    assert long.truncated and not short.truncated and own.truncated == 1
    assert len(long.tokens) == 256 - 200 and long.tokens[-5:] == short.tokens[-5:]


def test_it_learns_to_write_what_people_answered(model: Path, trained: Path) -> None:
    found = predicted(learner(model, measure="nll"), trained, [item for item, _ in EXAMPLES], k=0)
    assert [values[0] for values in found.answers] == [answer for _, answer in EXAMPLES]
    lengths = [len(learner(model).prompts.written(answer)) for _, answer in EXAMPLES]
    assert found.signals["length"].tolist() == lengths


def test_draws_tell_of_their_item(model: Path, trained: Path) -> None:
    found = predicted(learner(model), trained)
    assert set(found.signals) == {*SIGNALS, "token_bald", "bald"}
    assert (found.signals["ess"] >= 3 - 1e-6).all() and (found.signals["ess"] <= 9 + 1e-6).all()
    assert {str(value) for values in found.answers for value in values} & set(ANSWERS)


def test_training_repeats_its_bytes_and_counts_its_steps(model: Path, trained: Path, tmp_path: Path) -> None:
    own, counts = learner(model), list[int]()
    again = fit(own, tmp_path / "b", advance=counts.append)
    assert sum(counts) == own.training_steps(len(EXAMPLES))
    for file in trained.iterdir():
        other = (again / file.name).read_bytes()
        assert hashlib.sha256(other).digest() == hashlib.sha256(file.read_bytes()).digest()


def test_a_label_that_is_too_long_is_told(model: Path, tmp_path: Path) -> None:
    said = list[str]()
    own = learner(model)
    own.model.say = said.append
    own.fit([(ITEMS[0], "news " * 40), EXAMPLES[1]], seed=0, folder=tmp_path, parent=None, advance=ignore)
    assert [line for line in said if line.startswith("1 label of more than task.max_answer_tokens (12)")]


def test_pages_order_and_process_change_no_draw(model: Path, trained: Path) -> None:
    whole = predicted(learner(model), trained)
    for start in (0, 5, 10):
        page = predicted(learner(model), trained, ITEMS[start : start + 5])
        assert page.answers == whole.answers[start : start + 5]
        width = page.log_probs_N_K_C.shape[2]
        np.testing.assert_allclose(
            np.exp(page.log_probs_N_K_C),
            np.exp(whole.log_probs_N_K_C[start : start + 5, :, :width]),
            atol=1e-4,
        )
    backwards = predicted(learner(model), trained, ITEMS[::-1])
    assert backwards.answers[::-1] == whole.answers


def test_a_measure_of_the_likeliest_answer_draws_nothing(model: Path, trained: Path) -> None:
    drawn = predicted(learner(model), trained)
    quick = predicted(learner(model, measure="nll"), trained, k=0)
    assert quick.log_probs_N_K_C.shape == (len(ITEMS), 1, 2)
    for name in ("nll", "token_entropy", "length"):
        np.testing.assert_allclose(quick.signals[name], drawn.signals[name], atol=1e-5)
    np.testing.assert_allclose(
        quick.log_probs_N_K_C[:, 0, 0], -np.maximum(quick.signals["nll"], 1e-9), atol=1e-8
    )
    point = predicted(learner(model, measure="entropy"), trained, k=0)
    assert point.log_probs_N_K_C.shape[1] == 1 and set(point.signals) == SIGNALS


def test_bald_of_tokens_is_that_of_whole_distributions(model: Path, trained: Path) -> None:
    own = learner(model)
    found = predicted(own, trained)
    posterior = own._posteriors.load(trained).posterior
    greedy = own._greedy(ITEMS, own.model.encode(ITEMS), posterior, 5, ignore)
    for row, prompt in enumerate(own.model.encode(ITEMS)):
        tokens = greedy[row].written.tokens
        ids = torch.tensor([[*prompt.tokens, *tokens]])
        along = []
        for sample in range(3):
            with torch.inference_mode(), own.model.inference.sampled(posterior, lambda _: None, 5, sample):  # type: ignore[arg-type, return-value]
                logits = own.backbone.model(input_ids=ids, use_cache=False).logits[
                    0, len(prompt.tokens) - 1 : -1
                ]
            along.append(logits.double().log_softmax(dim=-1).numpy())
        assert found.signals["token_bald"][row] == pytest.approx(token_bald(np.stack(along)), abs=1e-5)
    expected = trusted_bald(
        bald(found.log_probs_N_K_C),
        found.signals["token_bald"],
        found.signals["length"],
        found.signals["ess"],
        3,
        3,
    )
    np.testing.assert_array_equal(found.signals["bald"], expected)


def test_base_predictions_are_greedy_answers_of_the_bare_model(model: Path, trained: Path) -> None:
    own = learner(model, measure="nll")
    base = own.base_predict(ITEMS, ignore)
    found = predicted(own, None, k=0)
    assert [each.answers for each in base] == list(found.answers)
    np.testing.assert_allclose([each.uncertainty or 0.0 for each in base], found.signals["token_entropy"])
    assert own.base_key != learner(model, measure="nll", max_answer_tokens=13).base_key
    assert own.base_key == learner(model).base_key
    other = own.with_other_prompt()
    assert other is not None and other.base_key != own.base_key
    assert len(other.base_predict(ITEMS[:2], ignore)) == 2


@pytest.mark.parametrize("kind", POSTERIORS)
def test_every_posterior_trains_and_draws(model: Path, tmp_path: Path, kind: str) -> None:
    own = learner(model, kind, measure="entropy")
    own._spec = own._spec.model_copy(update={"adapter": own._spec.adapter.model_copy(update={"epochs": 2})})
    own.model.spec = own._spec
    own.check(ITEMS[:2])
    folder = fit(own, tmp_path / kind)
    k = own._spec.posterior.samples
    found = predicted(own, folder, ITEMS[:4], k=k if k > 1 else 0)
    assert found.log_probs_N_K_C.shape[1] == k and set(found.signals) == SIGNALS
    if k > 1:
        assert np.ptp(found.log_probs_N_K_C, axis=1).max() > 0
    if kind == "tfb":
        record = read_record(folder)
        assert record["changed"] <= 0.2 and record["tokens"] == sum(
            len(own.prompts.written(answer)) for _, answer in EXAMPLES
        )


def test_likeliest_tokens_are_read_in_blocks(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()

    def counted(readout: Readout, hidden_P_d: Tensor) -> Tensor:
        sizes.append(len(hidden_P_d))
        return all_logits(readout, hidden_P_d)

    monkeypatch.setattr(predictive, "all_logits", counted)
    whole = read_record(fit(learner(model, "tfb"), tmp_path / "whole"))
    assert max(sizes) > 5
    monkeypatch.setattr(predictive, "_PLACES", 5)
    sizes.clear()
    assert read_record(fit(learner(model, "tfb"), tmp_path / "blocks")) == whole
    assert max(sizes) == 5


def test_nothing_to_predict_gives_no_rows(model: Path, trained: Path) -> None:
    own = learner(model)
    assert len(predicted(own, trained, [])) == 0 and own.base_predict([], ignore) == []
    assert len(own.embed(trained, [], ignore)) == 0
    rows = own.embed(trained, ITEMS, ignore)
    assert rows.shape == (len(ITEMS), 32) and np.isfinite(rows).all()


def test_answers_without_a_number_are_one_class(model: Path, trained: Path) -> None:
    own = learner(model, measure="entropy")
    found = predicted(own, trained)
    number = learner(model, measure="entropy", answer={"read_as": "number"})
    number._posteriors._model_key = own.model_key  # the same adapter, whose answers are read otherwise
    numbers = predicted(number, trained)
    assert all(answers.count(None) <= 2 for answers in numbers.answers)
    assert max(map(len, numbers.answers)) <= max(map(len, found.answers))


def test_prompts_with_labels_are_as_long_as_their_answers(model: Path) -> None:
    own = learner(model)
    (prompt,) = own.model.encode(ITEMS[:1])
    assert prompt.labels == () and len(replace(prompt, labels=(own.prompts.written("news"),))) > len(prompt)


def test_an_exported_folder_writes_the_likeliest_answers(model: Path, trained: Path, tmp_path: Path) -> None:
    own = learner(model, measure="nll")
    record = own.export(
        trained,
        tmp_path,
        draws=range(3),
        seed=5,
        merged=False,
        examples=[*ITEMS, Item("long", "yes no " * 300)],
    )
    prompt: JsonObject = {"labels": [], "temperature": 1.0, "text": "{text}", "columns": {"text": "text"}}
    write_record(tmp_path, {**record, **prompt})
    assert "labeller.write(text)" in (tmp_path / "example.py").read_text()
    labeller = Labeller(tmp_path, device="cpu")
    expected = predicted(own, trained, k=0)
    assert [labeller.write(item.text) for item in ITEMS] == [values[0] for values in expected.answers]
    with pytest.raises(ValueError, match="star-al predict alone tells"):
        labeller.answer(ITEMS[0].text)


@pytest.mark.parametrize("platt", [None, PlattScaling(intercept=0.5, nll=-1.0, log_odds=0.4, length=-0.1)])
def test_an_exported_folder_is_as_sure_of_an_answer_as_the_campaign(
    platt: PlattScaling | None, model: Path, trained: Path, tmp_path: Path
) -> None:
    own = learner(model, measure="nll")
    record = own.export(trained, tmp_path, draws=None, seed=5, merged=False, examples=ITEMS)
    fitted: JsonObject = {} if platt is None else {"platt": {**asdict(platt), "largest": LARGEST_LOG_ODDS}}
    prompt: JsonObject = {"labels": [], "temperature": 1.7, "text": "{text}", "columns": {"text": "text"}}
    write_record(tmp_path, {**record, **prompt, **fitted})
    assert "labeller.answer(text)" in (tmp_path / "example.py").read_text()
    labeller = Labeller(tmp_path, device="cpu")
    found = predicted(own, trained, k=0)
    log_p_N = found.log_probs_N_K_C[:, 0, 0]
    expected_N = (
        np.exp(apply_temperature(found.log_probs_N_K_C[:, 0], 1.7))[:, 0]
        if platt is None
        else right_probabilities(platt, log_p_N, found.signals)
    )
    told = [labeller.answer(item.text) for item in ITEMS]
    assert [one["answer"] for one in told] == [values[0] for values in found.answers]
    np.testing.assert_allclose([one["confidence"] for one in told], expected_N, rtol=1e-4)
    assert len(set(np.round(expected_N, 3))) > 1
