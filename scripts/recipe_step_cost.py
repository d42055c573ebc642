"""What a training step costs with few and with many labels (``bench_recipe.py --step-cost``)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from labels_data import Texts
from recipe_cells import Workplace, draw_texts
from recipes import Recipe

from star_al.config.spec import AdapterSpec, Loss
from star_al.models.lora import attached
from star_al.models.prompts import Prompt
from star_al.models.targets import Target, answered, taught
from star_al.models.train import reproducible
from star_al.models.training_loss import training_loss
from star_al.types import Item

FEW, BATCH, TURNS = 5, 8, 3
"""Labels of the cheap step, texts of a minibatch, and steps of which the median counts."""


def step_costs(place: Workplace, texts: Texts) -> Iterator[str]:
    """Yield a line for each loss: CPU seconds of a step with all labels of banking77, and with its first five.

    Half of the texts of a minibatch are taught, with probabilities that are spread over all labels.
    """
    learner = place.model.learner("banking77", Recipe(), texts.labels)
    pool = draw_texts("banking77", texts, 0).texts_P[:BATCH]
    prompts = [learner.prompts.encode(Item(f"pool-{row}", text)) for row, text in enumerate(pool)]
    few = [replace(prompt, labels=prompt.labels[:FEW]) for prompt in prompts]
    learner.backbone.readout.lengths.longest(max(map(len, prompts)))
    with reproducible(0), attached(learner.backbone.model, AdapterSpec()) as model:
        model.train()

        def seconds(targets: Sequence[Target], loss: Loss) -> float:
            spent = []
            for _ in range(TURNS + 1):  # the first step warms up
                started = time.process_time()
                training_loss(learner.backbone, model, targets, loss=loss).backward()
                spent.append(time.process_time() - started)
            return float(np.median(spent[1:]))

        for loss in cast(tuple[Loss, ...], ("answer", "labels")):
            many_s, few_s = (seconds(_targets(own, loss), loss) for own in (prompts, few))
            n = len(prompts[0].labels)
            yield f"loss: {loss}: {many_s:.2f} s with {n} labels, {few_s:.2f} s with {FEW}: {many_s / few_s:.2f} times"


def _targets(prompts: Sequence[Prompt], loss: Loss) -> list[Target]:
    n = len(prompts[0].labels)
    half = len(prompts) // 2
    own = [answered(prompt, row % n, loss) for row, prompt in enumerate(prompts[:half])]
    return own + [taught(prompt, np.full(n, 1 / n), 1.0, loss) for prompt in prompts[half:]]
