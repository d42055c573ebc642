"""Which layers are adapted: those of the language model that tokens pass and peft takes, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from star_al.app.language_learners import posterior_method
from star_al.config.spec import AdapterSpec, CampaignSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import load_adapter
from star_al.models.adapter_record import save_record
from star_al.models.collate import collate
from star_al.models.fitted_posteriors import FORMAT
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import attached, lora_config, lora_layers
from star_al.models.target_layers import choose_layers, kind_of, language_layers, transformer_blocks
from star_al.task import closed, make_task
from star_al.types import Item
from support.tiny_model import build_tokenizer

LABELS = ("sport", "tech", "politics")
WIDTHS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TEXT: dict[str, Any] = {**WIDTHS, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256}
EXPERTS = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
}


def ignore(*_: int) -> None:
    """Ignore the progress."""


def save(folder: Path, make: Any) -> Path:
    """Save a random model and a tokenizer; ``make`` gets the size of the vocabulary."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(len(tokenizer))
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def text_and_images(vocabulary: int) -> Any:
    config: Any = transformers.Gemma3Config
    return transformers.Gemma3ForConditionalGeneration(
        config(
            text_config={**TEXT, "vocab_size": vocabulary},
            vision_config={**WIDTHS, "image_size": 28, "patch_size": 14},
            mm_tokens_per_image=4,
        )
    )


def fused_experts(vocabulary: int) -> Any:
    config: Any = transformers.Glm4MoeConfig
    return transformers.Glm4MoeForCausalLM(
        config(**TEXT, **EXPERTS, n_shared_experts=1, first_k_dense_replace=1, vocab_size=vocabulary)
    )


def state_space(vocabulary: int) -> Any:
    config: Any = transformers.MambaConfig
    return transformers.MambaForCausalLM(
        config(hidden_size=32, num_hidden_layers=2, state_size=4, vocab_size=vocabulary)
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("images"), text_and_images)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("experts"), fused_experts)


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("mamba"), state_space)


def learner(
    folder: Path, said: list[str] | None = None, posterior: str = "map", **adapter: Any
) -> LoraLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": LABELS},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120},
            "annotator": {"kind": "oracle", "gold": "gold"},
            "posterior": {"kind": posterior},
            "adapter": {"learning_rate": 2e-2, "batch_size": 2, **adapter},
        }
    )
    say = (lambda text: None) if said is None else said.append
    return LoraLearner(
        closed(make_task(spec.task)), spec, str(folder), posterior_method(spec.posterior), say=say
    )


def items() -> list[Item]:
    return [Item(f"id{index}", f"The striker scored {'again ' * index}") for index in range(6)]


def fit(one: LoraLearner, folder: Path) -> Path:
    folder.mkdir()
    examples = [(item, LABELS[index % 3]) for index, item in enumerate(items())]
    one.fit(examples, seed=0, folder=folder, parent=None, advance=ignore)
    return folder


def predict(one: LoraLearner, folder: Path | None) -> np.ndarray[Any, Any]:
    return one.predict(folder, items(), draws=None, seed=0, advance=ignore).log_probs_N_K_C[:, 0]


def by_peft(one: LoraLearner, folder: Path) -> np.ndarray[Any, Any]:
    """What plain peft, with the adapter loaded from its folder, predicts by whole forward passes."""
    bare = transformers.AutoModelForCausalLM.from_pretrained(one.backbone.folder, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(bare, str(folder)).eval()
    rows = []
    for prompt in (one.prompts.encode(item) for item in items()):
        sums = []
        for label in prompt.labels:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt.tokens, *label]]), use_cache=False).logits[0]
            steps, start = logits.double().log_softmax(-1), len(prompt.tokens) - 1
            sums.append(sum(steps[start + place, token] for place, token in enumerate(label)))
        rows.append(torch.stack(sums).log_softmax(0))
    return torch.stack(rows).numpy()


# -- models of text and images -----------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["map", "laplace", "clora"])
@pytest.mark.parametrize("layers", [None, 1])
def test_the_image_tower_is_left_alone(
    images: Path, tmp_path: Path, posterior: str, layers: int | None
) -> None:
    one = learner(images, posterior=posterior, layers=layers)
    one.check()
    names = load_adapter(fit(one, tmp_path / "a")).a
    assert len(names) == 7 * (layers or 2)
    start = "model.language_model.layers.1." if layers else "model.language_model.layers."
    assert all(name.startswith(start) for name in names)


@pytest.mark.parametrize("layers", [None, 1])
def test_plain_peft_adapts_the_same_layers(images: Path, tmp_path: Path, layers: int | None) -> None:
    one = learner(images, layers=layers)
    folder = fit(one, tmp_path / "a")
    mine = predict(one, folder)
    np.testing.assert_allclose(mine, by_peft(one, folder), atol=1e-4)
    assert np.abs(mine - predict(one, None)).max() > 1e-2


def test_a_layer_of_another_tower_is_refused_by_name(images: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"'fc1' cannot be adapted, because it gets no gradient from a text\. There are: down_proj",
    ):
        learner(images, target_modules=["q_proj", "fc1"]).check()


def test_an_adapter_of_an_image_tower_predicts_as_it_did(images: Path, tmp_path: Path) -> None:
    """Version 0.1 chose layers by their last names in the whole model."""
    one = learner(images, target_modules=["q_proj"])
    bare = transformers.AutoModelForCausalLM.from_pretrained(images, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(bare, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(tmp_path))
    save_record(tmp_path, {"format": FORMAT, "kind": "map", "model_key": one.model_key, "dtype": "float32"})
    assert any("vision_tower" in name for name in load_adapter(tmp_path).a)
    np.testing.assert_allclose(predict(one, tmp_path), by_peft(one, tmp_path), atol=1e-4)


# -- layers that peft treats in its own way -----------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, 1])
def test_fused_experts_are_left_out_with_a_word(experts: Path, tmp_path: Path, layers: int | None) -> None:
    said: list[str] = []
    one = learner(experts, said, layers=layers)
    one.check()
    assert said == [
        "The adapter leaves out the layers down_proj, gate_proj, up_proj, which peft cannot adapt in this model; "
        "and the experts, whose weights are one tensor (44% of the weights of the blocks)"
    ]
    folder = fit(one, tmp_path / "a")
    assert {kind_of(name) for name in load_adapter(folder).a} == {
        f"model.layers.*.self_attn.{part}_proj" for part in "qkvo"
    }
    np.testing.assert_allclose(predict(one, folder), by_peft(one, folder), atol=1e-4)


def test_what_peft_turns_into_experts_is_refused_if_it_is_named(experts: Path) -> None:
    one = learner(experts, target_modules=["q_proj", "down_proj"])
    message = (
        r"peft cannot adapt down_proj of Glm4MoeForCausalLM\. There are: k_proj, o_proj, q_proj, v_proj\."
    )
    with pytest.raises(ModelError, match=message):
        one.check()


def test_mamba_is_trained_without_what_peft_refuses(mamba: Path, tmp_path: Path) -> None:
    said: list[str] = []
    one = learner(mamba, said)
    one.check()
    assert said == ["The adapter leaves out the layers out_proj, which peft cannot adapt in this model"]
    folder = fit(one, tmp_path / "a")
    assert {name.rpartition(".")[2] for name in load_adapter(folder).a} == {"in_proj", "x_proj"}
    mine = predict(one, folder)
    np.testing.assert_allclose(mine, by_peft(one, folder), atol=1e-4)
    assert np.abs(mine - predict(one, None)).max() > 1e-2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out_proj", r"peft cannot adapt out_proj of MambaForCausalLM\. There are: in_proj, x_proj\."),
        (
            "dt_proj",
            r"'dt_proj' cannot be adapted, because it gets no gradient from a text\. There are: in_proj",
        ),
    ],
)
def test_names_that_cannot_work_in_mamba_are_refused(mamba: Path, target: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        learner(mamba, target_modules=[target]).check()


def test_a_model_that_peft_refuses_half_way_is_left_as_it_was(mamba: Path) -> None:
    model = learner(mamba).backbone.model
    before = dict(model.named_modules())
    with pytest.raises(ModelError), attached(model, AdapterSpec(target_modules=("in_proj", "out_proj"))):
        pass
    assert dict(model.named_modules()) == before
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_random_numbers_of_training_do_not_depend_on_the_choice(experts: Path) -> None:
    model = learner(experts).backbone.model
    before = torch.random.get_rng_state()
    lora_config(model, AdapterSpec())
    assert torch.equal(torch.random.get_rng_state(), before)


# -- classes of layers -------------------------------------------------------------------------------------


class Doubled(nn.Linear):
    """A layer that is made from a dense one and computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Linear):
    """A dense layer under another name."""


@pytest.mark.parametrize(("kind", "adapted"), [(Doubled, False), (Renamed, True)])
def test_a_class_made_from_a_dense_layer_must_compute_what_one_does(
    experts: Path, kind: type[nn.Linear], adapted: bool
) -> None:
    model = learner(experts).backbone.model
    for block in model.model.layers:
        block.self_attn.v_proj.__class__ = kind
    names = choose_layers(model, AdapterSpec())
    assert any(name.endswith("v_proj") for name in names) == adapted
    with attached(model, AdapterSpec()) as wrapped:
        assert any(name.endswith("v_proj") for name in lora_layers(wrapped)) == adapted


def test_routers_are_adapted_only_if_they_are_named(images: Path) -> None:
    model = learner(images).backbone.model
    block = model.model.language_model.layers[0].mlp
    block.router, forward = nn.Linear(32, 4), block.forward
    block.forward = lambda x: forward(x) * block.router(x).sigmoid().amax(-1, keepdim=True)
    router = "model.language_model.layers.0.mlp.router"
    assert router in language_layers(model)
    assert router not in choose_layers(model, AdapterSpec(target_modules="all-linear"))
    assert choose_layers(model, AdapterSpec(target_modules=("router",))) == [router]


def test_blocks_are_those_of_the_language_model(images: Path) -> None:
    assert transformer_blocks(learner(images).backbone.model)[0] == "model.language_model.layers"


def test_labels_are_scored_by_the_whole_model(images: Path) -> None:
    """What tokens pass is found out without leaving anything behind in the model."""
    one = learner(images)
    batch = collate([one.prompts.encode(item) for item in items()], one.backbone.readout)
    before = label_log_probs(one.backbone.readout, batch)
    language_layers(one.backbone.model)
    assert not any(module.training or module._forward_hooks for module in one.backbone.model.modules())
    assert torch.equal(label_log_probs(one.backbone.readout, batch), before)
