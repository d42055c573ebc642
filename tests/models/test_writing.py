"""Answers are drawn as a hand-made inverse CDF of the stock model draws them, whatever is drawn beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from star_al.models.backbone import Backbone
from star_al.models.inference import Inference
from star_al.models.prompts import Prompt
from star_al.models.writing import attention
from star_al.models.writing.ending import Ending
from star_al.models.writing.tokens import draw_tokens, keyed_uniforms
from star_al.models.writing.writer import Writer, Written
from star_al.ports import ignore
from support.tiny_model import ARCHITECTURES, build_tiny_model

PREFIX = tuple(range(20, 60))
LONGEST = 12


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("model")
    build_tiny_model(folder, architecture=request.param, spread=0.4)
    return Backbone(folder, "float32", torch.device("cpu"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("llama"), spread=0.4)


def prompts(n: int, seed: int = 0) -> list[Prompt]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 90, size=n)
    return [
        Prompt(f"id{k:02d}", (*PREFIX, *map(int, rng.integers(3, 400, size=length))), ())
        for k, length in enumerate(lengths)
    ]


def writer(
    backbone: Backbone, ends: Sequence[int] = range(0, 480, 9), prefix: tuple[int, ...] = PREFIX
) -> Writer:
    return Writer(backbone, Ending((0,), frozenset(ends), "", None), LONGEST, prefix)


def drawn(backbone: Backbone, asked: Sequence[Prompt], draws: int = 3, **options: Any) -> list[list[Written]]:
    own = writer(backbone, **options)
    own.prepare(asked)
    return own.write(asked, keyed_uniforms(7, 2), ignore, draws=draws)


def stock_logits(backbone: Backbone, tokens: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = backbone.model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[
            0
        ]
    return found


def test_draws_are_those_of_a_hand_made_inverse_cdf(backbone: Backbone) -> None:
    asked = prompts(6)
    uniform = keyed_uniforms(7, 2)
    for prompt, answers in zip(asked, drawn(backbone, asked), strict=True):
        for draw, written in enumerate(answers):
            tokens, total = list[int](), 0.0
            for step in range(LONGEST):
                probs = stock_logits(backbone, [*prompt.tokens, *tokens])[-1].double().softmax(dim=-1)
                upto = np.cumsum(probs.numpy())
                tokens.append(
                    int(np.searchsorted(upto, uniform(prompt.item_id, draw, step) * upto[-1], "right"))
                )
                total += float(probs[tokens[-1]].log())
                if tokens[-1] % 9 == 0:
                    break
            assert written.tokens == tokens and written.is_over == (tokens[-1] % 9 == 0)
            assert written.log_prob == pytest.approx(total, abs=1e-4)


def test_greedy_answers_are_those_of_generate(backbone: Backbone) -> None:
    asked, own = prompts(5), writer(backbone, ends=(2,))
    own.prepare(asked)
    answers = own.write(asked, None, ignore, with_entropy=True)
    for prompt, (written,) in zip(asked, answers, strict=True):
        found = backbone.model.generate(
            torch.tensor([prompt.tokens]),
            max_new_tokens=LONGEST,
            do_sample=False,
            eos_token_id=2,
            use_cache=True,
        )
        assert written.tokens == found[0, len(prompt.tokens) :].tolist()
        logits = stock_logits(backbone, [*prompt.tokens, *written.tokens])[len(prompt.tokens) - 1 : -1]
        entropy = torch.distributions.Categorical(logits=logits.double()).entropy().mean()
        assert written.entropy == pytest.approx(float(entropy), abs=1e-4)


def test_steps_do_not_copy_keys_for_the_heads_that_share_them(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    own = attention._attention

    def watched(query: torch.Tensor, key: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        seen.append((*query.shape[1:3], key.shape[1]))
        return own(query, key, *args, **options)

    monkeypatch.setattr(attention, "_attention", watched)
    drawn(Backbone(llama, "float32", torch.device("cpu")), prompts(3), ends=())
    assert set(seen) == {(4, 3, 2)}  # four heads of three answers, and two heads with keys


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_draws_do_not_depend_on_the_batch_or_its_order(llama: Path, dtype: str) -> None:
    backbone, asked = Backbone(llama, dtype, torch.device("cpu")), prompts(14)
    together = [[one.tokens for one in answers] for answers in drawn(backbone, asked)]
    assert len({len(tokens) for answers in together for tokens in answers}) > 4
    for size in (1, 5):
        paged = [
            [one.tokens for one in answers]
            for start in range(0, len(asked), size)
            for answers in drawn(backbone, asked[start : start + size])
        ]
        assert paged == together
    backwards = [[one.tokens for one in answers] for answers in drawn(backbone, asked[::-1])]
    assert backwards[::-1] == together
    if dtype == "float32":  # the number of draws decides where keys lie, so it may move the last bits
        more = [[one.tokens for one in answers[:3]] for answers in drawn(backbone, asked, draws=5)]
        assert more == together


def test_the_prefix_changes_nothing(llama: Path) -> None:
    backbone, asked = Backbone(llama, "float32", torch.device("cpu")), prompts(8)
    with_prefix, without = drawn(backbone, asked), drawn(backbone, asked, prefix=())
    assert [[one.tokens for one in answers] for answers in with_prefix] == [
        [one.tokens for one in answers] for answers in without
    ]


def test_a_model_without_a_cache_writes_the_same(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, asked = Backbone(llama, "float32", torch.device("cpu")), prompts(4)
    cached = drawn(backbone, asked)
    monkeypatch.setattr(backbone.readout, "supports_packing", False)
    reread = drawn(backbone, asked)
    assert [[one.tokens for one in answers] for answers in cached] == [
        [one.tokens for one in answers] for answers in reread
    ]


def test_what_does_not_fit_is_answered_in_parts(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, asked = Backbone(llama, "float32", torch.device("cpu")), prompts(7)
    whole = [[one.tokens for one in answers] for answers in drawn(backbone, asked)]
    write, failed = Writer._write, list[int]()

    def limited(self: Writer, own: Sequence[Prompt], *args: Any, **options: Any) -> Any:
        if len(own) > 2:
            failed.append(len(own))
            raise torch.OutOfMemoryError("out of memory")
        return write(self, own, *args, **options)

    monkeypatch.setattr(Writer, "_write", limited)
    assert [[one.tokens for one in answers] for answers in drawn(backbone, asked)] == whole and failed


def test_log_likelihoods_agree_on_all_paths(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(6)
    answers = drawn(backbone, asked)
    given = [
        replace(prompt, labels=tuple(dict.fromkeys(tuple(one.tokens) for one in own)))
        for prompt, own in zip(asked, answers, strict=True)
    ]

    def scored(prefix: tuple[int, ...], tokens: int) -> Any:
        inference = Inference(backbone, None, prefix, tokens)
        return inference.answer_log_likelihoods(given, None, [None], 0, ignore)[:, 0]

    packed, with_prefix = scored((), 4096), scored(PREFIX, 4096)
    with monkeypatch.context() as without:
        without.setattr(backbone.readout, "supports_packing", False)
        separate = scored((), 300)
    for row, (prompt, own) in enumerate(zip(given, answers, strict=True)):
        for column, tokens in enumerate(prompt.labels):
            logits = stock_logits(backbone, [*prompt.tokens, *tokens])[len(prompt.tokens) - 1 : -1]
            stock = float(logits.double().log_softmax(dim=-1).gather(1, torch.tensor(tokens)[:, None]).sum())
            while_writing = next(one.log_prob for one in own if tuple(one.tokens) == tokens)
            # Sums of up to twelve logarithms: each within 1e-5 of its size.
            for found in (
                packed[row, column],
                with_prefix[row, column],
                separate[row, column],
                while_writing,
            ):
                assert found == pytest.approx(stock, rel=1e-5, abs=1e-5)


def test_states_along_an_answer_give_its_likelihood(backbone: Backbone) -> None:
    asked = prompts(5)
    given = [
        replace(prompt, labels=(tuple(own[0].tokens),))
        for prompt, own in zip(asked, drawn(backbone, asked), strict=True)
    ]
    inference = Inference(backbone, None, PREFIX, 300)
    log_likelihoods = inference.answer_log_likelihoods(given, None, [None], 0, ignore)[:, 0, 0]
    states = inference.answer_states(given, None, None, 0)
    for prompt, rows_L_d, expected in zip(given, states, log_likelihoods, strict=True):
        (tokens,) = prompt.labels
        assert len(rows_L_d) == len(tokens)
        logits = backbone.readout.logits(torch.tensor(rows_L_d), slice(None)).log_softmax(dim=-1)
        assert float(logits.gather(1, torch.tensor(tokens)[:, None]).sum()) == pytest.approx(
            expected, abs=1e-4
        )


def test_probabilities_of_all_answers_add_up_to_one(tmp_path: Path) -> None:
    build_tiny_model(tmp_path)
    config = transformers.LlamaConfig(
        vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=1.0, eos_token_id=0, bos_token_id=1, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    backbone = Backbone(tmp_path, "float32", torch.device("cpu"))
    every = [
        s
        for n in (1, 2, 3)
        for s in product(range(3), repeat=n)
        if 0 not in s[:-1] and (s[-1] == 0 or n == 3)
    ]
    asked = [Prompt("a", (1, 2, 1, 1), tuple(every)), Prompt("b", (2, 1), tuple(every))]
    log_p = Inference(backbone, None, (), 300).answer_log_likelihoods(asked, None, [None], 0, ignore)[:, 0]
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1.0, atol=1e-5)
    own = Writer(backbone, Ending((0,), frozenset({0}), "", None), 3)
    bare = [replace(prompt, labels=()) for prompt in asked]
    own.prepare(bare)
    answers = own.write(bare, keyed_uniforms(0, 0), ignore, draws=300)
    for row, written in enumerate(answers):
        found = np.array([sum(tuple(one.tokens) == s for one in written) for s in every]) / 300
        expected = np.exp(log_p[row])
        assert (np.abs(found - expected) < 4 * np.sqrt(expected / 300) + 1e-3).all()


def test_a_uniform_picks_the_token_within_whose_share_it_lies() -> None:
    rng = np.random.default_rng(0)
    for vocabulary in (3, 256, 1000):
        probs = torch.tensor(rng.dirichlet(np.full(vocabulary, 0.05), size=50), dtype=torch.float32)
        uniforms = torch.tensor(rng.random(50))
        upto = probs.double().cumsum(dim=1).numpy()
        expected = [
            int(np.searchsorted(row, u * row[-1], "right")) for row, u in zip(upto, uniforms, strict=True)
        ]
        assert draw_tokens(probs, uniforms).tolist() == expected
        highest = draw_tokens(probs, torch.full((50,), 1 - 2**-53, dtype=torch.float64))
        assert (probs[torch.arange(50), highest] > 0).all()


def test_an_ending_of_several_tokens_is_found_however_it_is_split(llama: Path) -> None:
    tokenizer = Backbone(llama, "float32", torch.device("cpu")).tokenizer
    chat = Ending.of((2,), frozenset({1, 2}), None, tokenizer)
    assert chat.text == "" and chat.tokens == {2} and not chat.is_over([5, 6]) and chat.is_over([5, 2])
    plain = Ending.of(tuple(tokenizer("\n###").input_ids), frozenset(), None, tokenizer)
    letters = [token for letter in "news\n###" for token in tokenizer(letter).input_ids]
    assert plain.text == "\n###" and plain.is_over(letters) and not plain.is_over(letters[:-1])
    assert plain.answer(letters) == "news" and chat.answer([*tokenizer(" news ").input_ids, 2]) == "news"
    assert plain.answer([]) == ""
