"""The learner as the loop uses it: base predictions, training, posterior samples, files, refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError, ModelError
from star_al.models.adapter_file import load_adapter
from star_al.models.collate import collate
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import SequenceDropout, lora_layers
from star_al.models.minibatch import Minibatch
from star_al.models.posterior.mc_dropout import MaskedAdapter, keep_mask
from star_al.models.train import learning_rate_factor, parameter_groups
from star_al.task import closed, make_task
from star_al.types import Item
from support.tiny_model import ARCHITECTURES, build_tiny_model, build_tokenizer

LABELS = ("sport", "sports", "tech", "politics")  # the first begins the second; all have several tokens
WORDS = {
    "sport": "striker scored",
    "sports": "cup final",
    "tech": "phone chip",
    "politics": "minister election",
}


def ignore(*_: int) -> None:
    """Ignore the progress."""


def learner(
    folder: Path, *, task: Mapping[str, Any] | None = None, dtype: str | None = None, **sections: Any
) -> LoraLearner:
    multiple_choice = (task or {}).get("kind") == "multiple_choice"
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"} | ({"options": "options"} if multiple_choice else {}),
            "task": {"kind": "classification", "labels": LABELS} | dict(task or {}),
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120}
            | sections.pop("model", {}),
            "annotator": {"kind": "oracle", "gold": "gold"},
            **sections,
        }
    )
    return LoraLearner(
        closed(make_task(spec.task)), spec, str(folder), posterior_method(spec.posterior), dtype=dtype
    )


def items(n: int = 12) -> list[Item]:
    return [
        Item(f"id{index:03d}", f"The {list(WORDS.values())[index % 4]} " * (1 + index % 5))
        for index in range(n)
    ]


def examples(n: int = 12) -> list[tuple[Item, str]]:
    return [(item, LABELS[index % 4]) for index, item in enumerate(items(n))]


def fit(one: LoraLearner, folder: Path, *, seed: int = 0, parent: Path | None = None, n: int = 12) -> Path:
    folder.mkdir(parents=True)
    assert one.fit(examples(n), seed=seed, folder=folder, parent=parent, advance=ignore) == "mc_dropout"
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def weights_of(one: LoraLearner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in one.backbone.model.state_dict().items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoraLearner, Path]:
    one = learner(model, adapter={"learning_rate": 1e-2, "dropout": 0.3})
    return one, fit(one, tmp_path_factory.mktemp("adapters") / "a")


# -- base --------------------------------------------------------------------------------------------------


def test_base_predictions_equal_those_without_a_folder(model: Path) -> None:
    one = learner(model)
    counts: list[int] = []
    base = one.base_predict(items(), counts.append)
    predictions = one.predict(None, items(), draws=None, seed=3, advance=ignore)
    assert sum(counts) == len(items())
    assert predictions.log_probs_N_K_C.shape == (12, 1, 4)
    np.testing.assert_array_equal(np.stack([b.log_probs_C for b in base]), predictions.log_probs_N_K_C[:, 0])
    assert [b.item_id for b in base] == [item.item_id for item in items()] and base[0].log_prior_C is None


@pytest.mark.parametrize("budget", [64, 300, 4096])
def test_order_and_batching_do_not_matter(model: Path, budget: int) -> None:
    whole = learner(model).predict(None, items(), draws=None, seed=0, advance=ignore).log_probs_N_K_C
    one = learner(model, model={"batch_tokens": budget})
    backwards = one.predict(None, items()[::-1], draws=None, seed=0, advance=ignore).log_probs_N_K_C[::-1]
    np.testing.assert_allclose(backwards, whole, atol=1e-5)


def test_contextual_prior_is_the_answer_to_a_content_free_text(model: Path) -> None:
    one = learner(model, task={"contextual_calibration": True})
    blank = one.base_predict([Item("blank", "N/A")], ignore)[0]
    assert blank.log_prior_C is not None
    np.testing.assert_allclose(blank.log_prior_C, blank.log_probs_C, atol=1e-6)
    other = one.base_predict(items(2), ignore)
    np.testing.assert_array_equal(other[0].log_prior_C, other[1].log_prior_C)


@pytest.mark.parametrize("answer", ["letter", "text"])
def test_multiple_choice_with_ragged_options(model: Path, answer: str) -> None:
    task = {"kind": "multiple_choice", "labels": (), "answer": answer, "contextual_calibration": True}
    one = learner(model, task=task)
    two, four = (
        Item("a", "Which?", ("yes", "no")),
        Item("b", "Which one?", ("bank", "bank rates", "film", "cup")),
    )
    base = one.base_predict([two, four], ignore)
    assert [b.log_probs_C.shape for b in base] == [(2,), (4,)]
    assert [b.log_prior_C.shape for b in base if b.log_prior_C is not None] == [(2,), (4,)]
    together = one.predict(None, [two, four], draws=None, seed=0, advance=ignore).log_probs_N_K_C
    assert np.isneginf(together[0, 0, 2:]).all() and np.isfinite(together[1, 0]).all()
    alone = one.predict(None, [two], draws=None, seed=0, advance=ignore).log_probs_N_K_C
    np.testing.assert_allclose(alone[0, 0], together[0, 0, :2], atol=1e-5)


def test_no_items(model: Path) -> None:
    assert len(learner(model).predict(None, [], draws=None, seed=0, advance=ignore)) == 0
    assert learner(model).base_predict([], ignore) == []


def test_truncated_items_are_counted_once(model: Path) -> None:
    one = learner(model)
    long = Item("long", "market " * 500)
    one.base_predict([long, *items(3)], ignore)
    one.base_predict([long], ignore)
    assert one.truncated == 1


@pytest.mark.parametrize("answer", ["letter", "text"])
def test_options_longer_than_the_model_reads_are_cut_and_counted(model: Path, answer: str) -> None:
    task = {"kind": "multiple_choice", "labels": (), "answer": answer, "contextual_calibration": True}
    one = learner(model, task=task)
    long = Item("long", "Which?", ("market " * 500, "yes", "rates " * 400))
    base = one.base_predict([Item("short", "Which?", ("yes", "no")), long], ignore)
    assert np.isfinite(base[1].log_probs_C).all() and base[1].log_probs_C.shape == (3,)
    assert one.truncated == 1


def test_check_accepts_what_works(model: Path) -> None:
    one = learner(model, adapter={"target_modules": ["q_proj", "down_proj"]})
    before = torch.random.get_rng_state()
    one.check()
    assert {"model", "readout"} <= vars(one.backbone).keys()  # loaded
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"adapter": {"target_modules": ["q_proj", "v_prj"]}}, "'v_prj' is no layer.*mean 'v_proj'.*q_proj"),
        ({"task": {"template": "no field"}}, r"\{text\} must occur once"),
        (
            {"task": {"kind": "multiple_choice", "labels": (), "instruction": "word " * 200}},
            "tokens, 120 fit",
        ),
        ({"task": {"instruction": "word " * 200}}, "tokens, 120 fit"),
    ],
)
def test_check_refuses(model: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises((ModelError, ConfigError), match=message):
        learner(model, **sections).check()


def test_check_refuses_a_chat_template_that_fails_and_damaged_weights(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    template = folder / "chat_template.jinja"
    usable = template.read_text()
    template.write_text("{{ raise_exception('no') }}")
    with pytest.raises(ModelError, match="chat template cannot be used"):
        learner(folder).check()
    template.write_text(usable)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be loaded"):
        learner(folder).check()


def test_check_refuses_verbalisers_that_are_the_same_to_the_tokenizer(tmp_path: Path) -> None:
    from tokenizers import normalizers

    folder = build_tiny_model(tmp_path / "m")
    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents()]
    )
    tokenizer.save_pretrained(folder)
    labels = [{"name": "x", "verbaliser": "cafe"}, {"name": "y", "verbaliser": "caf\u00e9"}]
    with pytest.raises(ModelError, match="'cafe' and 'caf\u00e9' are the same to the tokenizer"):
        learner(folder, task={"labels": labels}).check()


def test_base_key(model: Path, tmp_path: Path) -> None:
    other = build_tiny_model(tmp_path / "other", seed=1)
    learners = [
        learner(model),
        learner(other),
        learner(model, dtype="bfloat16"),
        learner(model, task={"instruction": "Say it."}),
        learner(model, task={"labels": LABELS[::-1]}),
        learner(model, model={"max_tokens": 100}),
        learner(model, task={"contextual_calibration": True}),
    ]
    assert len({one.base_key for one in learners}) == len(learners)
    same = [learner(model), learner(model, adapter={"rank": 2}), learner(model, model={"batch_tokens": 999})]
    assert {one.base_key for one in same} == {learners[0].base_key}
    assert learners[0].versions()["dtype"] == "float32"


# -- training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_learns_and_leaves_the_base_alone(architecture: str, tmp_path: Path) -> None:
    one = learner(
        build_tiny_model(tmp_path / "m", architecture=architecture),
        adapter={"learning_rate": 2e-2, "epochs": 15, "batch_size": 4, "target_modules": "all-linear"},
    )
    before, base_log_probs = weights_of(one), gold_log_probs(one, None)
    folder = fit(one, tmp_path / "a")
    after = weights_of(one)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in one.backbone.model.parameters())
    assert gold_log_probs(one, None) == base_log_probs
    assert gold_log_probs(one, folder) > base_log_probs / 3


def gold_log_probs(one: LoraLearner, folder: Path | None) -> float:
    predictions = one.predict(folder, items(), draws=None, seed=0, advance=ignore).log_probs_N_K_C
    return float(np.mean([predictions[index, 0, index % 4] for index in range(12)]))


def test_same_seed_same_bytes(model: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    one = learner(model)
    first, again = digest(fit(one, tmp_path / "a")), digest(fit(one, tmp_path / "b"))
    fresh = digest(fit(learner(model), tmp_path / "c"))
    assert first == again == fresh
    assert digest(fit(one, tmp_path / "d", seed=1)) != first
    assert torch.equal(torch.get_rng_state(), state) and not torch.are_deterministic_algorithms_enabled()


def test_the_seed_also_draws_the_start(model: Path, tmp_path: Path) -> None:
    """With one example there is no order to shuffle, so only A's initial values and the masks differ."""
    one = learner(model)
    digests = [digest(fit(one, tmp_path / f"seed{seed}", seed=seed, n=1)) for seed in (0, 1)]
    assert digests[0] != digests[1]


def test_progress_counts_steps_and_min_steps_holds(model: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    one = learner(model, adapter={"epochs": 1, "min_steps": 5})
    (tmp_path / "a").mkdir()
    one.fit(examples(), seed=0, folder=tmp_path / "a", parent=None, advance=seen.append)
    assert sum(seen) == len(seen) == one.training_steps(len(examples())) == 5


def test_learning_rate_warms_up_and_decays() -> None:
    factors = [learning_rate_factor(step, 20, 0.1) for step in range(20)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factors[2:] == sorted(factors[2:], reverse=True) and 0 < factors[-1] < 0.1
    assert learning_rate_factor(0, 1, 1.0) > 0 and learning_rate_factor(0, 1, 0.0) == 1.0


def test_weight_decay_touches_b_alone(model: Path, tmp_path: Path) -> None:
    """After one step with and without decay, A must not have moved: its gradient is zero while B is zero."""
    weights = []
    for decay in (0.0, 50.0):
        parent = learner(model, adapter={"learning_rate": 1e-2})
        start = fit(parent, tmp_path / f"start{decay}")
        one = learner(
            model, adapter={"learning_rate": 1e-3, "weight_decay_b": decay, "epochs": 1, "batch_size": 99}
        )
        weights.append(load_adapter(fit(one, tmp_path / f"end{decay}", parent=start)))
    plain, decayed = weights
    assert all(torch.equal(plain.a[name], decayed.a[name]) for name in plain.a)
    assert all((decayed.b[name].norm() < 0.99 * plain.b[name].norm()) for name in plain.b)


def test_parameter_groups_hold_every_trainable_tensor(model: Path) -> None:
    from star_al.models.lora import attached

    one = learner(model)
    with attached(one.backbone.model, one._spec.adapter) as wrapped:
        groups = parameter_groups(wrapped, 0.5)
        decayed = {
            id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]
        }
        assert decayed == {id(p) for name, p in wrapped.named_parameters() if ".lora_B." in name}
        trainable = {id(parameter) for parameter in wrapped.parameters() if parameter.requires_grad}
        assert {id(parameter) for group in groups for parameter in group["params"]} == trainable
        assert all(parameter.dtype == torch.float32 for group in groups for parameter in group["params"])


def test_warm_start_continues(model: Path, tmp_path: Path) -> None:
    one = learner(model, adapter={"learning_rate": 1e-2, "epochs": 8})
    first = fit(one, tmp_path / "a")
    second = fit(one, tmp_path / "b", parent=first)
    assert gold_log_probs(one, second) > gold_log_probs(one, first)
    with pytest.raises(ModelError, match="warm start"):
        fit(learner(model, adapter={"rank": 3}), tmp_path / "c", parent=first)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("epochs", "when"), [(9, r"at step \d+ of \d+"), (2, "in its last step.*lora_")])
def test_divergence_stops_at_once(model: Path, tmp_path: Path, dtype: str, epochs: int, when: str) -> None:
    one = learner(
        model,
        dtype=dtype,
        adapter={"learning_rate": 1e30, "epochs": epochs, "batch_size": 12, "target_modules": "auto"},
    )
    with pytest.raises(ModelError, match=rf"diverged {when}.*learning_rate"):
        fit(one, tmp_path / "a")
    assert not list((tmp_path / "a").iterdir())
    assert np.isfinite(gold_log_probs(one, None))


def test_samples_that_overflow_are_found_before_the_adapter_is_kept(model: Path, tmp_path: Path) -> None:
    one = learner(model, posterior={"kind": "laplace", "prior_precision": 1e-70})
    with pytest.raises(ModelError, match=r"a sample of layer .* overflows float32"):
        fit(one, tmp_path / "a")


def test_bfloat16_trains(model: Path, tmp_path: Path) -> None:
    one = learner(model, dtype="bfloat16", adapter={"learning_rate": 2e-2, "epochs": 15, "batch_size": 4})
    assert gold_log_probs(one, fit(one, tmp_path / "a")) > gold_log_probs(one, None) / 2


def test_no_examples(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no labelled example"):
        learner(model).fit([], seed=0, folder=tmp_path, parent=None, advance=ignore)


@pytest.mark.parametrize("target", ["nothing_proj", "lm_head", "embed_tokens"])
def test_layers_that_cannot_be_adapted(model: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(ModelError, match=f"'{target}' is no layer.*q_proj"):
        fit(learner(model, adapter={"target_modules": [target]}), tmp_path / "a")


def test_dropout_masks_whole_sequences() -> None:
    dropout = SequenceDropout(0.4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        out = dropout(torch.ones(3, 50, 200))
        dropout.prompt_rows = torch.tensor([0, 0, 1])
        shared = dropout(torch.ones(3, 50, 200))
    assert (out == out[:, :1]).all() and not torch.equal(out[0], out[1])
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert abs(out.mean().item() - 1) < 0.1
    assert torch.equal(shared[0], shared[1]) and not torch.equal(shared[1], shared[2])
    assert torch.equal(dropout.eval()(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


# -- posterior ---------------------------------------------------------------------------------------------


class FixedDropout(SequenceDropout):
    """Dropout with one fixed mask (d,), 1 for kept, also in evaluation mode."""

    def __init__(self, mask: torch.Tensor, p: float) -> None:
        super().__init__(p)
        self._mask = mask

    def masks(self, x: torch.Tensor) -> torch.Tensor:
        return self._mask[None] / (1 - self.p)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("sample", [None, 0, 2])
def test_a_merged_sample_is_pefts_own_forward(architecture: str, sample: int | None, tmp_path: Path) -> None:
    """The reference is the adapter loaded by peft, with the sample's masks in place of its dropout."""
    adapter = {"learning_rate": 1e-2, "dropout": 0.3, "target_modules": "all-linear"}
    one = learner(build_tiny_model(tmp_path / "m", architecture=architecture), adapter=adapter)
    folder = fit(one, tmp_path / "a")
    batch = collate([one.prompts.encode(item) for item in items(5)], one.backbone.readout)

    def score(batch: Minibatch) -> torch.Tensor:
        return label_log_probs(one.backbone.readout, batch)

    posterior = MaskedAdapter(load_adapter(folder), 0.3)
    with torch.no_grad(), posterior.draw(one.backbone, score, 7, sample) as scored:
        merged = scored(batch)
    base = label_log_probs(one.backbone.readout, batch)

    wrapped = peft.PeftModel.from_pretrained(one.backbone.model, str(folder)).eval()
    for name, module in wrapped.named_modules():
        if module in set(lora_layers(wrapped).values()) and sample is not None:
            own = name.removeprefix("base_model.model.")
            mask = keep_mask(module.in_features, 0.3, own, 7, sample)
            module.lora_dropout["default"] = FixedDropout(mask, 0.3)
    with torch.no_grad():
        expected = label_log_probs(one.backbone.readout, batch)
    torch.testing.assert_close(merged, expected, atol=2e-5, rtol=1e-5)
    assert (merged - base).abs().max() > 1e-2


def test_samples_differ_and_are_shared_by_all_items(trained: tuple[LoraLearner, Path]) -> None:
    one, folder = trained
    counts: list[int] = []
    whole = one.predict(folder, items(), draws=range(4), seed=5, advance=counts.append).log_probs_N_K_C
    assert whole.shape == (12, 4, 4) and sum(counts) == 12
    for k in range(1, 4):
        assert np.abs(whole[:, 0] - whole[:, k]).max() > 1e-4
    part = one.predict(folder, items()[3:5], draws=range(4), seed=5, advance=ignore).log_probs_N_K_C
    np.testing.assert_allclose(part, whole[3:5], atol=1e-5)
    fewer = one.predict(folder, items(), draws=range(2), seed=5, advance=ignore).log_probs_N_K_C
    np.testing.assert_array_equal(fewer, whole[:, :2])
    other = one.predict(folder, items(), draws=range(4), seed=6, advance=ignore).log_probs_N_K_C
    assert np.abs(other - whole).max() > 1e-4


def test_no_draws_are_the_mean_and_a_range_names_its_samples(trained: tuple[LoraLearner, Path]) -> None:
    one, folder = trained
    means = [one.predict(folder, items(), draws=None, seed=seed, advance=ignore) for seed in (0, 1)]
    np.testing.assert_array_equal(means[0].log_probs_N_K_C, means[1].log_probs_N_K_C)
    whole = one.predict(folder, items(), draws=range(5), seed=0, advance=ignore)
    later = one.predict(folder, items(), draws=range(2, 5), seed=0, advance=ignore)
    np.testing.assert_array_equal(later.log_probs_N_K_C, whole.log_probs_N_K_C[:, 2:])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_predicting_restores_the_base_bitwise(
    trained: tuple[LoraLearner, Path], model: Path, dtype: str
) -> None:
    _, folder = trained
    one = learner(model, dtype=dtype)
    before = weights_of(one)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    one.predict(folder, items(), draws=range(3), seed=0, advance=ignore)
    with pytest.raises(KeyboardInterrupt):
        one.predict(folder, items(), draws=range(3), seed=0, advance=interrupt)
    after = weights_of(one)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_batch_that_does_not_fit_into_memory_is_halved(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_al.models import inference as module

    sizes: list[int] = []

    def small_device(prompts: Any, *rest: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return collate(prompts, *rest)

    task = {"kind": "multiple_choice", "labels": ()}
    choices = [Item(f"id{n}", "Which?", ("a", "b", "c", "d")[: 2 + n % 3]) for n in range(7)]
    whole = learner(model, task=task).predict(None, choices, draws=None, seed=0, advance=ignore)
    monkeypatch.setattr(module, "collate", small_device)
    limit = 2
    halved = learner(model, task=task).predict(None, choices, draws=None, seed=0, advance=ignore)
    assert sizes[0] == 7 and max(size for size in sizes if size <= limit) == 2
    np.testing.assert_allclose(halved.log_probs_N_K_C, whole.log_probs_N_K_C, atol=1e-5)
    limit = 0
    with pytest.raises(ModelError, match="item id0 does not fit into the memory of cpu"):
        learner(model, task=task).predict(None, choices, draws=None, seed=0, advance=ignore)


# -- files -------------------------------------------------------------------------------------------------


def test_files_name_no_machine_path_and_no_time(trained: tuple[LoraLearner, Path], model: Path) -> None:
    _, folder = trained
    assert sorted(digest(folder)) == ["adapter_config.json", "adapter_model.safetensors", "star_al.json"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["lora_dropout"]) == ("tiny", 0.3)
    assert all(str(model).encode() not in path.read_bytes() for path in folder.iterdir())


def copy(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "star_al.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_adapter(trained: tuple[LoraLearner, Path], tmp_path: Path, name: str, damage: str) -> None:
    one, folder = trained
    path = copy(folder, tmp_path / "a") / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"\x00garbage")
    with pytest.raises(ModelError, match=rf"{name}: this part of the adapter is damaged or missing"):
        one.predict(path.parent, items(2), draws=None, seed=0, advance=ignore)


def test_an_adapter_with_nan_names_the_layer(trained: tuple[LoraLearner, Path], tmp_path: Path) -> None:
    one, folder = trained
    path = copy(folder, tmp_path / "a") / "adapter_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name][0, 0] = torch.nan
    save_file(tensors, path)
    with pytest.raises(ModelError, match=f"{name} holds NaN"):
        one.predict(path.parent, items(2), draws=None, seed=0, advance=ignore)


def test_an_adapter_is_loaded_once_until_its_files_change(
    trained: tuple[LoraLearner, Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(trained[1], tmp_path / "adapter")
    one = learner(model)
    loads: list[Path] = []
    load = one._method.load

    def watched(folder: Path, record: Any) -> Any:
        loads.append(folder)
        return load(folder, record)

    monkeypatch.setattr(one._method, "load", watched)

    def predict() -> Any:
        return one.predict(folder, items(), draws=range(2), seed=0, advance=ignore).log_probs_N_K_C

    first = predict()
    assert np.array_equal(predict(), first) and len(loads) == 1
    fit(one, tmp_path / "other", seed=5)
    shutil.copytree(tmp_path / "other", folder, dirs_exist_ok=True)
    assert not np.array_equal(predict(), first)
    assert np.array_equal(predict(), fresh_prediction(model, folder))


def fresh_prediction(model: Path, folder: Path) -> Any:
    """Prediction of a learner that has loaded nothing yet."""
    one = learner(model)
    return one.predict(folder, items(), draws=range(2), seed=0, advance=ignore).log_probs_N_K_C


def test_an_adapter_of_another_prompt_is_refused(trained: tuple[LoraLearner, Path], model: Path) -> None:
    one = learner(model, task={"instruction": "Say it."})
    with pytest.raises(ModelError, match="another base model, prompt or label set"):
        one.predict(trained[1], items(2), draws=None, seed=0, advance=ignore)


def test_a_model_that_answers_nan(model: Path) -> None:
    one = learner(model)
    _ = one.backbone.readout
    next(one.backbone.model.parameters()).data[:] = torch.nan
    with pytest.raises(ModelError, match="answers NaN for item id0"):
        one.base_predict(items(), ignore)


# -- models that are none ----------------------------------------------------------------------------------


def test_what_is_not_a_model(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for path in ("file", "empty", "absent"):
        with pytest.raises(ModelError, match="not a model folder"):
            _ = learner(tmp_path / path).base_key


def test_weights_that_are_not_safetensors(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only \.bin weights.*save_pretrained"):
        _ = learner(folder).base_key


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_damaged_model_files(tmp_path: Path, name: str) -> None:
    folder = build_tiny_model(tmp_path / "m")
    (folder / name).write_bytes(b"\x00garbage")
    with pytest.raises(ModelError, match=str(folder)):
        learner(folder).base_predict(items(1), ignore)


def test_incomplete_weights(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, such as model\.layers\.1\.mlp\.up_proj"):
        learner(folder).base_predict(items(1), ignore)


def test_an_unknown_hub_model_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="neither a folder nor obtainable from the hub"):
        _ = learner(Path("nobody/no-such-model-9f3a")).base_key


def test_a_device_that_is_not_there(model: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.device 'cuda:77' cannot be used"):
        _ = learner(model, model={"device": "cuda:77"}).base_key


def test_nothing_is_printed(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = learner(model)
    one.predict(fit(one, tmp_path / "a"), items(), draws=range(2), seed=0, advance=ignore)
    assert capfd.readouterr() == ("", "")


def test_the_other_prompt_shares_the_weights_and_predicts_as_if_it_were_configured(model: Path) -> None:
    chat, plain = learner(model), learner(model, task={"chat_template": False})
    for one, configured in ((chat, plain), (plain, chat)):
        other = one.with_other_prompt()
        assert other is not None and other.backbone is one.backbone
        assert other.base_key == configured.base_key != one.base_key
        found, expected = (each.base_predict(items(4), ignore) for each in (other, configured))
        for a, b in zip(found, expected, strict=True):
            assert np.array_equal(a.log_probs_C, b.log_probs_C)


def test_a_model_without_a_chat_template_has_one_prompt(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "plain")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        path = tmp_path / "plain" / name
        if name.endswith(".jinja"):
            path.unlink(missing_ok=True)
            continue
        settings = json.loads(path.read_text())
        settings.pop("chat_template", None)
        path.write_text(json.dumps(settings))
    assert learner(tmp_path / "plain").with_other_prompt() is None
