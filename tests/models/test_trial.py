"""What cannot be trained or scored is found out by ``check``, which changes nothing and says what is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from star_al.artefacts.folder import content_hash
from star_al.errors import ModelError, OutOfMemoryError
from star_al.models import trial
from star_al.models.adapter_file import load_adapter
from star_al.models.learner import LoraLearner
from star_al.models.prompts import Prompt
from star_al.models.token_rows import require_rows
from star_al.types import Item
from support.posteriors import EVERY, fit, ignore, items, learner
from support.small_models import save_small_model, small_config
from support.tiny_model import build_tiny_model

MAP = EVERY["map"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def watched(one: LoraLearner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of prompts of each trial."""
    tried: list[int] = []
    try_out = trial.try_out

    def watch(method: Any, training: Any, inference: Any) -> None:
        tried.append(len(training.examples))
        try_out(method, training, inference)

    monkeypatch.setattr("star_al.models.adapter_trainer.try_out", watch)
    return tried


@pytest.mark.parametrize("name", EVERY)
def test_a_check_changes_nothing(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither numbers, nor files, nor what is trained and predicted afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    checked, untouched = learner(model, EVERY[name]), learner(model, EVERY[name])
    before, state = list(tmp_path.iterdir()), torch.random.get_rng_state()
    checked.check(items())
    assert torch.equal(torch.random.get_rng_state(), state) and list(tmp_path.iterdir()) == before
    assert checked.truncated == 0
    assert not any("lora" in name for name, _ in checked.backbone.model.named_modules())
    a, b = (one.base_predict(items(), ignore) for one in (checked, untouched))
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left.log_probs_C, right.log_probs_C)
    folders = [fit(one, tmp_path / f"{index}") for index, one in enumerate((checked, untouched))]
    assert content_hash(folders[0]) == content_hash(folders[1])


def test_a_check_runs_once_and_reads_the_longest_text(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(model, MAP)
    tried = watched(one, monkeypatch)
    lengths: list[int] = []
    hook = one.backbone.model.model.norm.register_forward_hook(
        lambda _, __, out: lengths.append(out.shape[1])
    )
    texts = [Item("short", "cup"), *items(), Item("long", "final " * 50)]
    one.check(texts)
    one.check(texts)
    hook.remove()
    assert tried == [1] and max(lengths) >= max(len(one.prompts.encode(text)) for text in texts)


def test_a_gpu_tries_a_whole_minibatch() -> None:
    prompts = [prompt_of(length) for length in (3, 9, 5, 7)]
    chosen = trial.choose_prompts(prompts, 3, torch.device("cuda"))
    assert [len(prompt.tokens) for prompt in chosen] == [9, 7, 5]
    chosen = trial.choose_prompts(prompts, 3, torch.device("cpu"))
    assert [len(prompt.tokens) for prompt in chosen] == [3]


def prompt_of(length: int) -> Prompt:
    return Prompt(f"i{length}", tuple(range(length)), ((1,), (2,)))


@pytest.mark.parametrize("architecture", ["Mamba", "Glm4Moe"])
def test_what_peft_treats_in_its_own_way_trains_or_is_refused_at_the_check(
    architecture: str, tmp_path: Path
) -> None:
    """A check that passes promises that the campaign's training works."""
    settings: dict[str, dict[str, Any]] = {
        "Mamba": {"state_size": 4, "vocab_size": 480},
        "Glm4Moe": {
            "vocab_size": 480,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
    }
    folder = save_small_model(tmp_path / "m", small_config(architecture, **settings[architecture]))
    one = learner(folder, MAP)
    one.check(items())
    fit(one, tmp_path / "a")


def test_layers_without_a_gradient_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(model, MAP, adapter={"target_modules": ["q_proj", "v_proj"]})
    monkeypatch.setattr("star_al.models.trial.load_adapter", _without_moves(load_adapter, "v_proj"))
    with pytest.raises(ModelError, match=r"the layers v_proj get no gradient.*adapter\.target_modules"):
        one.check(items())


def _without_moves(load: Any, part: str) -> Any:
    def loaded(folder: Path) -> Any:
        weights = load(folder)
        for name, b in weights.b.items():
            if part in name:
                b.zero_()
        return weights

    return loaded


def test_a_library_s_error_is_told_in_one_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no gradient of this kernel\nsecond line")

    monkeypatch.setattr("star_al.models.train.add_gradients", fail)
    with pytest.raises(ModelError) as caught:
        learner(model, MAP).check(items())
    assert str(caught.value) == (
        "LlamaForCausalLM cannot be trained with these settings: one step on 1 text ends with "
        "NotImplementedError: no gradient of this kernel"
    )


def test_too_little_memory_is_told_with_the_length(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("star_al.models.train.add_gradients", fail)
    with pytest.raises(OutOfMemoryError, match=r"on 1 text of up to \d+ tokens runs out of memory on cpu"):
        learner(model, MAP).check(items())


@pytest.mark.parametrize("rate", [1e-4, 1e30])
def test_the_learning_rate_is_blamed_only_when_training_diverged(
    rate: float, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = learner(model, MAP, adapter={"learning_rate": rate})
    if rate > 1:
        with pytest.raises(ModelError, match=r"learning_rate"):
            fit(one, tmp_path / "a")
        return
    monkeypatch.setattr(
        "star_al.models.train.add_gradients",
        lambda *_, **__: torch.full((), torch.nan, requires_grad=True),
    )
    with pytest.raises(ModelError, match=r"before the first training step the loss is nan") as caught:
        one.check(items())
    assert "learning_rate" not in str(caught.value)


# -- tokens and rows ---------------------------------------------------------------------------------------


def with_added_tokens(folder: Path, *, rows: int | None = None, special: bool = True, chat: str = "") -> Path:
    """Save a tiny model whose tokenizer got two tokens more; the model has ``rows`` rows, or as before."""
    build_tiny_model(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<|question|>", "<|reply|>"], special_tokens=special)
    if chat:
        tokenizer.chat_template = chat
    tokenizer.save_pretrained(folder)
    if rows is not None:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        model.resize_token_embeddings(rows)
        model.save_pretrained(folder)
    return folder


CHAT = (
    "{% for m in messages %}"
    "{{ ('<|reply|>' if m['role'] == 'assistant' else '<|question|>') + m['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)


def test_a_token_of_the_prompt_without_a_row_is_named(tmp_path: Path) -> None:
    folder = with_added_tokens(tmp_path / "m", chat=CHAT)
    with pytest.raises(ModelError) as caught:
        learner(folder, MAP).check(items())
    message = str(caught.value)
    assert "the prompt has the token <|reply|> (" in message and "but the model has" in message
    assert "resize_token_embeddings" in message


def test_a_word_of_texts_without_a_row_is_named(tmp_path: Path) -> None:
    folder = with_added_tokens(tmp_path / "m", special=False)
    with pytest.raises(ModelError, match=r"a text may have the token <\|reply\|> \(\d+\)"):
        learner(folder, MAP).check(items())


def test_special_tokens_that_no_prompt_has_need_no_row(tmp_path: Path) -> None:
    learner(with_added_tokens(tmp_path / "m"), MAP).check(items())


def test_more_rows_than_tokens_are_no_fault(tmp_path: Path) -> None:
    learner(with_added_tokens(tmp_path / "m", rows=512, chat=CHAT), MAP).check(items())


def test_a_head_without_the_row_of_a_label(tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_config(small_config("Llama", vocab_size=480))
    tokenizer = transformers.AutoTokenizer.from_pretrained(build_tiny_model(tmp_path / "m"))
    model.set_output_embeddings(torch.nn.Linear(32, 300, bias=False))
    require_rows(model, tokenizer, [Prompt("a", (479,), ((1,), (299,)))])
    with pytest.raises(ModelError, match=r"a label has the token .* \(300\), but the model has 300 tokens"):
        require_rows(model, tokenizer, [Prompt("a", (479,), ((1,), (300,)))])


def test_a_window_shorter_than_the_texts_is_told(tmp_path: Path) -> None:
    folder = save_small_model(
        tmp_path / "m", small_config("Mistral", sliding_window=64, vocab_size=480), spread=0.05
    )
    said: list[str] = []
    one = learner(folder, MAP)
    one.model.say = said.append
    one.check([Item("a", "final " * 300)])
    assert said == [
        "Prompts of more than 64 tokens take longer: not every layer of the model sees further back, "
        "so each label is read in a sequence of its own"
    ]
