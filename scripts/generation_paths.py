"""Ways to draw and score answers that ``bench_speed.py`` compares."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import transformers

from star_al.models.backbone import Backbone
from star_al.models.inference import Inference
from star_al.models.posterior import Posterior, scores_nothing
from star_al.models.prompts import Prompt
from star_al.models.writing.ending import Ending
from star_al.models.writing.tokens import keyed_uniforms
from star_al.models.writing.writer import Writer
from star_al.ports import ignore

ANSWER_TOKENS = 32
DRAWS = 4

NEVER = Ending((0,), frozenset(), "", None)
"""Answers have the same length on all paths: none ends before the last token."""


def draw_ours(
    backbone: Backbone,
    items: Sequence[Prompt],
    posterior: Posterior | None = None,
    samples: int = 1,
) -> list[list[tuple[int, ...]]]:
    """Draw by our loop with each sample; return the answers to each prompt."""
    own = Writer(backbone, NEVER, ANSWER_TOKENS)
    own.prepare(items)
    found: list[list[tuple[int, ...]]] = [[] for _ in items]
    for sample in range(samples):
        drawn: Any = (
            nullcontext() if posterior is None else posterior.draw(backbone, scores_nothing, 0, sample)
        )
        with drawn:
            written = own.write(items, keyed_uniforms(0, sample), ignore, draws=DRAWS)
        for answers_of_one, new in zip(found, written, strict=True):
            answers_of_one += [tuple(one.tokens) for one in new]
    return found


def draw_stock(
    backbone: Backbone,
    items: Sequence[Prompt],
    texts: int,
    posterior: Posterior | None = None,
    samples: int = 1,
) -> None:
    """Draw by transformers, with padding on the left, texts sorted by length."""
    by_length = sorted(items, key=len)
    config = transformers.GenerationConfig(
        do_sample=True,
        top_k=0,
        top_p=1.0,
        num_return_sequences=DRAWS,
        min_new_tokens=ANSWER_TOKENS,
        max_new_tokens=ANSWER_TOKENS,
        pad_token_id=0,
        use_cache=True,
    )
    for sample in range(samples):
        drawn: Any = (
            nullcontext() if posterior is None else posterior.draw(backbone, scores_nothing, 0, sample)
        )
        with drawn, torch.inference_mode():
            for start in range(0, len(by_length), texts):
                part = [prompt.tokens for prompt in by_length[start : start + texts]]
                width = max(map(len, part))
                ids = torch.tensor([[*[0] * (width - len(tokens)), *tokens] for tokens in part])
                mask = torch.tensor([[*[0] * (width - len(tokens)), *[1] * len(tokens)] for tokens in part])
                backbone.model.generate(
                    ids.to(backbone.device),
                    attention_mask=mask.to(backbone.device),
                    generation_config=config,
                )


def score_answers(
    backbone: Backbone, items: Sequence[Prompt], answers: Sequence[Sequence[tuple[int, ...]]], tokens: int
) -> None:
    """Score the different answers to each prompt once, by the base model."""
    given = [
        replace(prompt, labels=tuple(dict.fromkeys(own))) for prompt, own in zip(items, answers, strict=True)
    ]
    Inference(backbone, None, (), tokens).answer_log_likelihoods(given, None, [None], 0, ignore)


def read_whole(
    backbone: Backbone, items: Sequence[Prompt], answers: Sequence[Sequence[tuple[int, ...]]], texts: int
) -> None:
    """Read each prompt with all its answers behind it as one text, by the stock model, with logits of the answers."""
    by_length = sorted(zip(items, answers, strict=True), key=lambda pair: len(pair[0]))
    with torch.inference_mode():
        for start in range(0, len(by_length), texts):
            part = [
                (prompt.tokens, [token for answer in dict.fromkeys(own) for token in answer])
                for prompt, own in by_length[start : start + texts]
            ]
            width = max(len(tokens) + len(written) for tokens, written in part)
            rows = [[*tokens, *written] for tokens, written in part]
            ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows]).to(backbone.device)
            hidden = backbone.readout.hidden(ids)
            for row, (tokens, written) in zip(hidden, part, strict=True):
                states = row[len(tokens) - 1 : len(tokens) + len(written) - 1]
                logits = backbone.model.get_output_embeddings()(states).float().log_softmax(dim=-1)
                logits.gather(1, torch.tensor(written, device=logits.device)[:, None])
