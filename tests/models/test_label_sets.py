"""A language model that answers yes or no for each label: likelihoods, training, curvature, predictions, classifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.acquire.measures import predictive_mean_log
from star_al.config.spec import AdapterSpec, CampaignSpec
from star_al.errors import ModelError
from star_al.models.adapter_export import write_record
from star_al.models.adapter_file import LoraWeights
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.label_set_learner import LabelSetLearner, questions_of
from star_al.models.labeller.set_labeller import Labeller
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import attached
from star_al.models.posterior import Training
from star_al.models.posterior.curvature import Curvature, curvature
from star_al.models.posterior.laplace import Laplace
from star_al.models.posterior.mc_dropout import McDropout
from star_al.models.posterior.point import Map
from star_al.models.prompts import Prompt
from star_al.models.target_layers import dense_layers
from star_al.models.targets import answered, some_answers
from star_al.models.training_loss import training_loss
from star_al.ports import Pool, ignore
from star_al.stats.temperature import apply_temperature
from star_al.task import MultiLabel
from star_al.types import Item, JsonValue, Predictions
from support.tiny_model import build_tiny_model

# Two questions of different lengths; their answers begin alike.
QUESTIONS = ((85, 297, 4), (85, 297, 8), (85, 90, 12, 4), (85, 90, 12, 8), (71, 4), (71, 8))
LABELS = ["billing", "delivery", "refund"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"), spread=0.3)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def prompt(length: int, *, paired: bool = True) -> Prompt:
    generator = torch.Generator().manual_seed(length)
    tokens = tuple(torch.randint(3, 300, (length,), generator=generator).tolist())
    return Prompt(f"i{length}", tokens, QUESTIONS, paired=paired)


def plain_answers(backbone: Backbone, one: Prompt) -> torch.Tensor:
    """log p of no and yes a question (Q, 2), from the model's full logits after prompt and question."""
    rows = []
    for no, yes in zip(one.labels[::2], one.labels[1::2], strict=True):
        with torch.no_grad():
            logits = backbone.model(torch.tensor([[*one.tokens, *no[:-1]]])).logits[0, -1].double()
        rows.append(logits[[no[-1], yes[-1]]].log_softmax(dim=0))
    return torch.stack(rows)


@pytest.mark.parametrize("packed", [True, False])
def test_a_label_has_the_probability_of_its_yes_against_its_no(backbone: Backbone, packed: bool) -> None:
    prompts = [prompt(5), prompt(23)]
    backbone.readout.supports_packing = packed
    try:
        with torch.no_grad():
            found = label_log_probs(backbone.readout, collate(prompts, backbone.readout))
    finally:
        backbone.readout.supports_packing = True
    np.testing.assert_allclose(found.exp().sum(dim=1), 1.0, atol=1e-5)
    for row, one in zip(found, prompts, strict=True):
        np.testing.assert_allclose(
            row.unflatten(0, (-1, 2)) + np.log(3), plain_answers(backbone, one), atol=1e-5
        )


def test_the_loss_is_the_mean_binary_cross_entropy(backbone: Backbone) -> None:
    prompts, right = [prompt(5), prompt(14)], [(1, 2, 5), (0, 2, 4)]
    with attached(backbone.model, AdapterSpec(rank=2, dropout=0.0)) as model:
        loss = training_loss(
            backbone, model, [answered(one, columns) for one, columns in zip(prompts, right, strict=True)]
        )
    expected = [
        -plain_answers(backbone, one).flatten()[list(columns)].mean()
        for one, columns in zip(prompts, right, strict=True)
    ]
    assert loss.item() == pytest.approx(np.mean(expected) + np.log(3), abs=1e-5)


def test_a_trial_answers_each_question() -> None:
    assert some_answers(prompt(5), 0) == (0, 3, 4) and some_answers(prompt(5), 1) == (1, 2, 5)
    assert some_answers(prompt(5, paired=False), 7) == 1


def curve(backbone: Backbone, weights: LoraWeights, examples: Any) -> Curvature:
    training = Training(backbone, examples, AdapterSpec(batch_size=4), "tiny", 0, None, lambda _: None)
    return curvature(training, weights, layers=sorted(weights.a), n_kfac=64, seed=0)


def test_the_curvature_of_a_text_is_the_sum_over_its_questions(backbone: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    name, module = sorted(dense_layers(backbone.model).items())[0]
    d_out, d_in = (int(size) for size in module.weight.shape)  # type: ignore[union-attr]
    weights = LoraWeights(
        {name: 0.2 * torch.randn(3, d_in, generator=generator)},
        {name: 0.2 * torch.randn(d_out, 3, generator=generator)},
        scale=1.0,
    )
    # Answers of one token each: every question is read at the end of the same prompt.
    one = replace(prompt(9), labels=((4,), (8,), (71,), (90,), (12,), (85,)))
    whole = curve(backbone, weights, [(one, (0, 3, 5))])
    parts = [
        curve(backbone, weights, [(replace(one, labels=one.labels[first : first + 2], paired=False), right)])
        for first, right in ((0, 0), (2, 1), (4, 1))
    ]
    assert whole.log_likelihood == pytest.approx(sum(part.log_likelihood for part in parts), abs=1e-4)
    for half in (0, 1):  # the trace of the curvature of A and of B
        traces = [float(part.blocks[name][half].curvature_n_r.sum()) for part in parts]
        assert float(whole.blocks[name][half].curvature_n_r.sum()) == pytest.approx(sum(traces), rel=1e-3)


# -- the learner -------------------------------------------------------------------------------------------


def spec_of(model: Path, **sections: Any) -> CampaignSpec:
    adapter = {"rank": 2, "epochs": 12, "learning_rate": 2e-2, "batch_size": 4} | sections.pop("adapter", {})
    tree = {
        "name": "test",
        "data": {"path": "pool.jsonl"},
        "task": {"kind": "multi_label", "labels": LABELS},
        "learner": {"kind": "lora"},
        "model": {"name": str(model), "device": "cpu", "dtype": "float32"},
        "adapter": adapter,
        "annotator": {"kind": "oracle", "gold": "gold"},
    }
    return CampaignSpec.model_validate(tree | sections)


def learner(model: Path, method: Any = None, **sections: Any) -> LabelSetLearner:
    spec = spec_of(model, **sections)
    return LabelSetLearner(MultiLabel(spec.task), spec, str(model), method or Map())  # type: ignore[arg-type]


def labelled(n: int) -> list[tuple[Item, JsonValue]]:
    """Texts whose words say their labels."""
    found: list[tuple[Item, JsonValue]] = []
    for number in range(n):
        chosen = [name for place, name in enumerate(LABELS) if (number >> place) % 2]
        words = " ".join({"billing": "bill", "delivery": "dog", "refund": "cash"}[name] for name in chosen)
        found.append((Item(f"i{number:03}", f"{words} text {number}"), list[JsonValue](chosen)))
    return found


def fitted(one: LabelSetLearner, folder: Path, rows: Iterable[tuple[Item, JsonValue]]) -> None:
    folder.mkdir(exist_ok=True)
    examples = list(rows)
    by_id = {item.item_id: item for item, _ in examples}
    pool = Pool(tuple(sorted(by_id)), lambda ids: [by_id[each] for each in ids])
    one.fit(examples, pool=pool, seed=1, folder=folder, parent=None, advance=ignore)


def predicted(
    one: LabelSetLearner, folder: Path | None, items: list[Item], draws: range | None = None
) -> Predictions:
    return one.predict(folder, items, draws=draws, seed=3, advance=ignore)


def test_the_questions_are_labels_of_a_closed_task() -> None:
    spec = spec_of(Path("m")).task
    asked = questions_of(MultiLabel(spec))  # type: ignore[arg-type]
    assert asked.label_names[:3] == ("billing: no", "billing: yes", "delivery: no")
    assert asked.instruction is not None and "billing, delivery, refund" in asked.instruction


@pytest.mark.parametrize("output", ["label_names", "classifier"])
def test_it_learns_several_labels_a_text(folder: Path, tmp_path: Path, output: str) -> None:
    one = learner(folder, adapter={"output": output})
    one.check([item for item, _ in labelled(4)])
    rows = labelled(24)
    fitted(one, tmp_path / "a", rows)
    found = predicted(one, tmp_path / "a", [item for item, _ in rows])
    right = one._sets.matrix(rows)
    probs = np.column_stack([found.signals[f"p({name})"] for name in LABELS])
    assert ((probs >= 0.5) == right).mean() > 0.7  # by chance it would be one half
    sets = [[name in answers[0] for name in LABELS] for answers in found.answers]  # type: ignore[operator]
    np.testing.assert_array_equal(
        sets, probs >= 0.5
    )  # one sample: the likeliest set has the likelier answers
    untrained = one.base_predict([rows[0][0]], ignore)[0]
    assert len(untrained.answers) == 9 and untrained.answers[-1] is None


def test_samples_do_not_depend_on_what_else_is_asked(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(folder, posterior={"kind": "laplace"})
    one = learner(folder, Laplace(spec.posterior), posterior={"kind": "laplace"})  # type: ignore[arg-type]
    rows = labelled(12)
    fitted(one, tmp_path / "a", rows)
    items = [item for item, _ in rows]
    whole = predicted(one, tmp_path / "a", items, range(3))
    part = predicted(one, tmp_path / "a", items[4:6], range(1, 3))
    assert whole.log_probs_N_K_C.shape == (12, 3, 9)
    assert not np.allclose(whole.log_probs_N_K_C[:, 0], whole.log_probs_N_K_C[:, 1])
    for name, values in part.signals.items():
        assert np.isfinite(values).all() and values.shape == (2,), name
    again = predicted(one, tmp_path / "a", items, range(1, 3))
    np.testing.assert_allclose(
        [again.signals[f"p({name})"][4:6] for name in LABELS],
        [part.signals[f"p({name})"] for name in LABELS],
        atol=1e-5,
    )


def test_an_adapter_of_other_questions_is_refused(folder: Path, tmp_path: Path) -> None:
    one = learner(folder, adapter={"epochs": 1})
    fitted(one, tmp_path / "a", labelled(4))
    other = learner(folder, task={"kind": "multi_label", "labels": [*LABELS, "praise"]})
    with pytest.raises(ModelError, match="another base model, prompt or label set"):
        predicted(other, tmp_path / "a", [Item("i", "text")])


@pytest.mark.parametrize("merged", [False, True], ids=["adapter", "merged"])
@pytest.mark.parametrize("output", ["label_names", "classifier"])
@pytest.mark.parametrize(
    "labels", [LABELS, [*LABELS, "praise", "loss", "price"]], ids=["all sets", "32 sets"]
)
def test_an_exported_folder_gives_the_same_labels_and_sets(
    folder: Path, tmp_path: Path, labels: list[str], output: str, merged: bool
) -> None:
    posterior = {"kind": "mc_dropout", "samples": 2}
    task = {"kind": "multi_label", "labels": labels}
    spec = spec_of(folder, posterior=posterior)
    adapter = {"output": output, "epochs": 3, "dropout": 0.3}
    one = learner(folder, McDropout(spec.posterior), posterior=posterior, task=task, adapter=adapter)  # type: ignore[arg-type]
    rows = labelled(8)
    fitted(one, tmp_path / "a", rows)
    items = [item for item, _ in rows]
    out = tmp_path / "out"
    out.mkdir()
    record = one.export(tmp_path / "a", out, draws=range(2), seed=3, merged=merged, examples=items)
    write_record(out, {"labels": labels, "temperature": 1.7, **record})
    found = predicted(one, tmp_path / "a", items, range(2))
    sets_N_C = np.exp(apply_temperature(predictive_mean_log(found.log_probs_N_K_C), 1.7))
    labeller = Labeller(out, device="cpu")
    for row, item in enumerate(items):
        expected = {name: found.signals[f"p({name})"][row] for name in labels}
        assert labeller(item.text) == pytest.approx(expected, abs=1e-4)
        assert labeller.choose(item.text) == found.answers[row][0]
        sets = {tuple(names): p for names, p in labeller.sets(item.text)}
        for names, p in zip(found.answers[row][:6], sets_N_C[row], strict=False):
            assert sets[tuple(names)] == pytest.approx(p, abs=1e-4)  # type: ignore[arg-type]
        assert len(sets) == min(32, 2 ** len(labels))
    assert "labeller.choose(text)" in (out / "example.py").read_text()
