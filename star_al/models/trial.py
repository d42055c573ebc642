"""One training step and one sample, so that what cannot be trained is found out before a label is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from star_al.common.wording import count
from star_al.errors import ModelError, StarALError
from star_al.models.adapter_file import WEIGHTS, load_adapter
from star_al.models.devices import first_line
from star_al.models.inference import Inference
from star_al.models.out_of_memory import translate_out_of_memory
from star_al.models.posterior import Method, Training
from star_al.models.prompts import Prompt
from star_al.models.target_layers import kind_of


def choose_prompts(prompts: Sequence[Prompt], batch_size: int, device: torch.device) -> list[Prompt]:
    """Return the prompts to try: a minibatch of those that take most memory; on a CPU the shortest.

    A CPU has memory to spare for one minibatch, and a step on long prompts takes long there.
    """
    by_length = sorted(prompts, key=len, reverse=True)
    return by_length[-1:] if device.type == "cpu" else by_length[:batch_size]


def try_out(method: Method, training: Training, inference: Inference) -> None:
    """Train one step on all examples together and score them by the mean and by one sample.

    It leaves nothing behind: the adapter goes into a temporary folder, and the generators of random numbers are
    as before. It costs a step, and about as many passes over its examples as the posterior adds to a training.

    Args:
        method: The posterior in use.
        training: The campaign's settings, with a few examples.
        inference: Scores prompts.

    Raises:
        ModelError: Something fails, a layer gets no gradient, or an answer is not finite.
    """
    prompts = [prompt for prompt, _ in training.examples]
    step = {"epochs": 1, "min_steps": 1, "batch_size": len(prompts), "warm_start": False}
    training = replace(training, adapter=training.adapter.model_copy(update=step), parent=None)
    longest = max(map(len, prompts))
    message = (
        f"one training step on {count(len(prompts), 'text')} of up to {longest} tokens runs out of memory on "
        f"{training.backbone.device}. Lower adapter.batch_size or model.max_tokens, or set another model.device."
    )
    try:
        with (
            TemporaryDirectory(prefix="star_al") as name,
            translate_out_of_memory(message),
            training.processes or nullcontext(),
        ):
            folder = Path(name)
            quick = method.quick()
            record = quick.fit(training, folder)
            _require_gradients(folder)
            posterior = quick.load(folder, record)
            inference.label_log_probs(prompts, posterior, [None, 0], training.seed, lambda _: None)
    except StarALError:
        raise
    except Exception as exc:  # each architecture and quantiser fails in its own way
        raise ModelError(
            f"{type(training.backbone.model).__name__} cannot be trained with these settings: one step on "
            f"{count(len(prompts), 'text')} ends with {type(exc).__name__}: {first_line(exc)}"
        ) from exc


def _require_gradients(folder: Path) -> None:
    """Refuse layers of a kind that one step left as they were; of many experts, a step reaches only some.

    B starts as zero, and the optimiser moves each entry that has a gradient.
    """
    moved: dict[str, bool] = {}
    for file in folder.rglob(WEIGHTS):
        for name, b in load_adapter(file.parent).b.items():
            moved[kind_of(name)] = moved.get(kind_of(name), False) or bool(b.any())
    still = sorted({kind.rpartition(".")[2] for kind, has_moved in moved.items() if not has_moved})
    if still:
        raise ModelError(
            f"the layers {', '.join(still)} get no gradient, so that they would learn nothing. "
            "Leave them out of adapter.target_modules."
        )
