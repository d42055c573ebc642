"""A shared prefix read once gives the same result as whole prompts; the prompt format says what is shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from star_al.config.spec import task_spec
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import PREFIX_SHARE, collate
from star_al.models.likelihood import label_log_likelihoods, label_log_probs, label_scorer
from star_al.models.prompts import Prompt, PromptFormat
from star_al.task import make_task
from star_al.types import Item
from support.tiny_model import ARCHITECTURES, build_tiny_model

SINGLE = ((85,), (297,), (71,))
TREE = ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71, 349))
PREFIX = tuple(range(20, 36))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return loaded(build_tiny_model(tmp_path_factory.mktemp("m") / request.param, architecture=request.param))


def loaded(folder: Path) -> Backbone:
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def prompts(*labels: tuple[tuple[int, ...], ...]) -> list[Prompt]:
    generator = torch.Generator().manual_seed(0)
    return [
        Prompt(f"i{n}", PREFIX + tuple(torch.randint(3, 300, (n + 1,), generator=generator).tolist()), one)
        for n, one in enumerate(labels)
    ]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "labels", [[SINGLE] * 3, [TREE] * 3, [SINGLE, TREE, SINGLE]], ids=["single", "tree", "mixed"]
)
def test_scores_equal_those_of_whole_prompts(backbone: Backbone, labels: Any, packed: bool) -> None:
    readout, items = backbone.readout, prompts(*labels)
    assert readout.supports_prefix
    readout.supports_packing = packed
    try:
        whole, split = collate(items, readout), collate(items, readout, prefix=PREFIX)
    finally:
        readout.supports_packing = True
    assert split.prefix == PREFIX and split.ids_R_S.shape[1] == whole.ids_R_S.shape[1] - len(PREFIX)
    with torch.inference_mode():
        score = label_scorer(readout)
        expected = label_log_probs(readout, whole)
        for _ in range(2):  # the prefix must be as it was after its first use
            actual = score(split).log_softmax(-1)
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_the_prefix_is_read_once(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    readout = backbone.readout
    reads: list[tuple[int, ...]] = []
    original = type(readout).read_prefix

    def read(self: Any, tokens: tuple[int, ...]) -> Any:
        reads.append(tokens)
        return original(self, tokens)

    monkeypatch.setattr(type(readout), "read_prefix", read)
    score = label_scorer(readout)
    with torch.inference_mode():
        for _ in range(3):
            score(collate(prompts(SINGLE, SINGLE), readout, prefix=PREFIX))
    assert reads == [PREFIX]


def test_a_prefix_stays_in_where_it_does_not_pay_or_does_not_fit(backbone: Backbone) -> None:
    readout = backbone.readout
    short = PREFIX[:2]
    long = [Prompt("a", short + tuple(range(100, 100 + int(3 / PREFIX_SHARE))), SINGLE)]
    assert collate(long, readout, prefix=short).prefix == ()
    ends = [Prompt("a", PREFIX, SINGLE)]
    assert collate(ends, readout, prefix=PREFIX).prefix == ()
    other = [*prompts(SINGLE), Prompt("b", (*PREFIX[::-1], 4), SINGLE)]
    batch = collate(other, readout, prefix=PREFIX)
    assert batch.prefix == () and torch.isfinite(label_log_likelihoods(readout, batch)).all()


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("Bloom", {}),
        ("Mamba", {"state_size": 4}),
        ("Mistral", {"sliding_window": 8, "num_key_value_heads": 2}),
        ("Gemma2", {"sliding_window": 8, "num_key_value_heads": 2, "head_dim": 8}),
        ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    ],
)
def test_unusual_architectures(model: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """ALiBi, recurrent state, windows: a prefix is read separately only where that is exact."""
    import transformers

    sizes = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "n_head": 4, "n_layer": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = getattr(transformers, f"{model}Config")(**sizes, **heads, **changes)
    net = getattr(transformers, f"{model}ForCausalLM")(config)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15) if parameter.ndim == 2 else None
    folder = build_tiny_model(tmp_path / "m")
    net.save_pretrained(folder)
    readout = loaded(folder).readout
    items = prompts(TREE, SINGLE, TREE)
    with torch.inference_mode():
        expected = label_log_probs(readout, collate(items, readout))
        actual = label_scorer(readout)(collate(items, readout, prefix=PREFIX)).log_softmax(-1)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


# -- the prompt format -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("kind", ["classification", "multiple_choice", "labels after the text"])
def test_every_prompt_begins_with_the_formats_prefix(kind: str, chat: bool, tmp_path: Path) -> None:
    task: dict[str, Any] = {"kind": kind, "labels": ["sport", "tech"], "chat_template": chat}
    if kind == "multiple_choice":
        task["labels"] = []
    if kind == "labels after the text":
        task |= {"kind": "classification", "instruction": "", "template": "A text: {text} Labels: {labels}."}
    backbone = loaded(build_tiny_model(tmp_path / "m"))
    options = ("yes", "no way") if kind == "multiple_choice" else ()
    format_ = PromptFormat(backbone.tokenizer, make_task(task_spec(task)), max_tokens=120, context=256)
    texts = ["", "a", " market", "market " * 300, "<|im_end|>", "\n\n"]
    encoded = [format_.encode(Item(f"i{n}", text, options)) for n, text in enumerate(texts)]
    size = len(format_.prefix)
    assert size > 0 and all(one.tokens[:size] == format_.prefix for one in encoded)
    assert len({one.tokens[size : size + 1] for one in encoded}) > 1  # and no more is shared
    if kind == "classification" and not chat:
        assert "sport, tech" in backbone.tokenizer.decode(format_.prefix)
