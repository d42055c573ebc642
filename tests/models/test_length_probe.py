"""Shortcuts are taken up to the length at which they are exact, in models whose attention changes with length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.float32_probe import computing_in_float32, parts_of
from star_al.models.length_probe import SHORTEST, LengthProbe
from star_al.models.likelihood import label_log_probs, label_scorer
from star_al.models.minibatch import Minibatch
from star_al.models.minibatch_plan import plan_minibatches
from star_al.models.model_body import body_of
from star_al.models.prompts import Prompt
from star_al.models.readout_checks import open_readout
from star_al.models.training_loss import for_device
from support.small_models import VOCABULARY, plain_log_probs, save_small_model, small_config, small_model

WINDOW = 64
PREFIX = tuple(range(20, 60))
TREE = ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71, 349))

WINDOWED: dict[str, dict[str, Any]] = {
    "GPTNeo": {
        "window_size": WINDOW,
        "attention_types": [[["global", "local"], 1]],
        "num_layers": 2,
        "num_heads": 4,
        "num_hidden_layers": None,
        "num_attention_heads": None,
        "num_key_value_heads": None,
        "head_dim": None,
        "resid_dropout": 0.0,
        "embed_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "Mistral": {"sliding_window": WINDOW},
    "Qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "Gemma3Text": {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "Exaone4": {"sliding_window": WINDOW, "sliding_window_pattern": 2},
    "GptOss": {"sliding_window": WINDOW, "num_local_experts": 2, "num_experts_per_tok": 1},
    "Llama4Text": {
        "attention_chunk_size": WINDOW,
        "layer_types": ["chunked_attention", "full_attention"],
        "num_local_experts": 2,
        "intermediate_size_mlp": 64,
    },
}
WHOLE: dict[str, dict[str, Any]] = {"Llama": {}, "SmolLM3": {"no_rope_layer_interval": 2}}
OTHER: dict[str, dict[str, Any]] = {
    "Bloom": {"n_layer": 2, "n_head": 4, "num_hidden_layers": None, "num_attention_heads": None},
    "Lfm2": {"layer_types": ["conv", "full_attention"], "block_ff_dim": 64},
    "Mamba": {"state_size": 4},
    "RecurrentGemma": {
        "attention_window_size": WINDOW,
        "num_hidden_layers": 3,
        "lru_width": 32,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
}
"""Biases by distance, convolutions and recurrent states."""

EVERY = {**WINDOWED, **WHOLE, **OTHER}


def prompts(longest: int) -> list[Prompt]:
    generator = torch.Generator().manual_seed(0)
    lengths = [longest - len(PREFIX) - 7 * index for index in range(3)]
    texts = [torch.randint(3, 400, (length,), generator=generator).tolist() for length in lengths]
    return [Prompt(f"i{index}", (*PREFIX, *text), TREE) for index, text in enumerate(texts)]


def saved(folder: Path, name: str, dtype: str = "float32") -> Backbone:
    save_small_model(folder, small_config(name, **EVERY[name]))
    return load_backbone(str(folder), revision=None, dtype=dtype, device="cpu")


@pytest.mark.parametrize("longest", [WINDOW - 6, WINDOW + 30, 200])
@pytest.mark.parametrize("name", EVERY)
def test_probabilities_are_those_of_plain_forward_passes(name: str, longest: int, tmp_path: Path) -> None:
    backbone, ones = saved(tmp_path / "m", name), prompts(longest)
    expected = plain_log_probs(backbone.model, ones)
    with torch.inference_mode():
        batch = collate(ones, backbone.readout, prefix=PREFIX)
        actual = label_scorer(backbone.readout)(batch).double().log_softmax(-1).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_those_of_plain_forward_passes(name: str, tmp_path: Path) -> None:
    """Those of the embedding, through sequences that are joined where the model can."""
    backbone, ones = saved(tmp_path / "m", name), prompts(130)
    readout, embedding = backbone.readout, backbone.model.get_input_embeddings()
    plainly = copy.copy(readout)
    plainly.supports_packing = plainly.supports_prefix = plainly.supports_joining = False

    def gradient(batch: Minibatch) -> torch.Tensor:
        embedding.weight.requires_grad_(True)
        found: torch.Tensor
        (found,) = torch.autograd.grad(label_log_probs(readout, batch)[:, 0].mean(), embedding.weight)
        embedding.weight.requires_grad_(False)
        return found

    expected = torch.stack([gradient(collate([one], plainly)) for one in ones]).mean(dim=0)
    batch, attention = for_device(collate(ones, readout), backbone, keep_rows=False)
    with attention:
        actual = gradient(batch)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", EVERY)
def test_the_dtype_decides_nothing(name: str) -> None:
    model = small_model(small_config(name, **EVERY[name]))
    lengths = (8, WINDOW, WINDOW + 1, 3 * WINDOW)

    def answers(dtype: torch.dtype) -> tuple[object, ...]:
        readout = open_readout(copy.deepcopy(model).to(dtype))
        shortcuts = readout.supports_packing, readout.supports_prefix, readout.supports_joining
        return *shortcuts, *(readout.lengths.is_whole(length) for length in lengths)

    found = answers(torch.float32)
    assert answers(torch.bfloat16) == found
    if name in WINDOWED:
        assert found[3:] == (True, True, False, False)
    if name in WHOLE:
        assert found[3:] == (True, True, True, True)


@pytest.mark.parametrize("name", ["Mistral", "Mamba"])
def test_float32_leaves_the_model_as_it_was(name: str) -> None:
    model = small_model(small_config(name, **EVERY[name])).to(torch.bfloat16)
    body, ids = body_of(model), torch.arange(9)[None]

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    weights = {name: (id(weight), weight.clone()) for name, weight in model.named_parameters()}
    with torch.no_grad():
        before = body(input_ids=ids).last_hidden_state
        with computing_in_float32(body):
            wide = body(input_ids=ids).last_hidden_state
            hook = next(parts_of(body)[1].children()).register_forward_hook(fail)
            with pytest.raises(KeyboardInterrupt):
                body(input_ids=ids)
            hook.remove()
        after = body(input_ids=ids).last_hidden_state
        exact = copy.deepcopy(body).float()(input_ids=ids).last_hidden_state
    assert wide.dtype == torch.float32
    torch.testing.assert_close(wide, exact, rtol=1e-4, atol=1e-5)
    assert torch.equal(after, before)
    for key, weight in model.named_parameters():
        assert id(weight) == weights[key][0] and torch.equal(weight, weights[key][1])
    assert not any("forward" in vars(part) for part in parts_of(body))


# -- which lengths are probed ------------------------------------------------------------------------------


def probe(name: str, context: int = 512) -> tuple[LengthProbe, list[int]]:
    """Return a probe and the lengths of the sequences that it runs."""
    body = small_model(small_config(name, **EVERY[name])).get_decoder()
    ran: list[int] = []

    def run(ids: torch.Tensor) -> torch.Tensor:
        ran.append(ids.shape[1])
        hidden: torch.Tensor = body(input_ids=ids).last_hidden_state
        return hidden

    return LengthProbe(body, run, VOCABULARY, context), ran


def test_a_length_is_probed_once_and_covers_shorter_ones() -> None:
    lengths, ran = probe("Llama")
    assert lengths.is_whole(100) and lengths.is_whole(128) and lengths.is_whole(3) and ran == [128]
    assert lengths.is_whole(129) and ran == [128, 160]


def test_what_fails_covers_longer_ones() -> None:
    lengths, ran = probe("Mistral")
    assert not lengths.is_whole(WINDOW + 1) and not lengths.is_whole(500) and ran == [WINDOW + 32]
    assert lengths.is_whole(WINDOW) and not lengths.is_whole(WINDOW + 1) and ran == [WINDOW + 32, WINDOW]


def test_the_longest_whole_length_is_found_from_above() -> None:
    lengths, ran = probe("Mistral")
    assert lengths.longest(400) == WINDOW and ran == [448, 256, 128, 64]
    lengths.longest(400)
    assert not lengths.is_whole(WINDOW + 1) and len(ran) == 4
    assert probe("Llama")[0].longest(400) == 400
    assert probe("Lfm2")[0].longest(400) == 0  # its convolutions see three tokens


def test_no_probe_is_longer_than_the_context() -> None:
    lengths, ran = probe("Llama", context=300)
    assert lengths.is_whole(290) and lengths.is_whole(5) and ran == [300]


def test_short_lengths_share_a_probe() -> None:
    lengths, ran = probe("Llama")
    assert lengths.is_whole(1) and ran == [SHORTEST]


def test_prompts_that_are_not_packed_share_no_minibatch_with_packed_ones() -> None:
    ones = [Prompt(f"i{n}", tuple(range(3, 3 + n)), TREE) for n in (10, 20, 58, 60, 70)]
    plan = plan_minibatches(ones, 10_000, packed_up_to=WINDOW)
    assert plan == [[0, 1, 2, 3], [4]]  # the labels are 4 tokens more
