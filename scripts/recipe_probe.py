"""LP-FT (Kumar et al. 2022; for LoRA arXiv 2405.16747): a linear probe on frozen states first, then LoRA beside it.

    log p(c | x) = s_θ(c, x) + (γ − 1) s_0(c, x) + w_c·h(x) + b_c − log Z

s is the language model's log-likelihood of label c, with LoRA (θ) and without (0); h is the frozen model's last state
at the prompt's end. The probe is the product's head on h with s_0 as offset, its strength and γ chosen by
cross-validation. LoRA starts at B = 0, where the model is the probe, and is trained with the probe in the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import peft
import torch
from labels_data import Split
from scipy.special import log_softmax
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec
from star_al.head import ZERO_SHOT, Examples, HeadOptions, HeadPredictor, PoolTexts, TextFeatures, fit_head
from star_al.models.adapter_file import save_adapter
from star_al.models.adapter_record import save_record
from star_al.models.bare_base import left_as_it_was
from star_al.models.collate import collate
from star_al.models.devices import DTYPES
from star_al.models.fitted_posteriors import FORMAT
from star_al.models.fused_lora import fused_lora_layers
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_likelihoods
from star_al.models.lora import ADAPTER, attached, set_dropout_sequences
from star_al.models.targets import Target, target_minibatches
from star_al.models.train import learning_rate_factor, parameter_groups, reproducible, step_count
from star_al.models.training_loss import for_device
from star_al.ports import ignore
from star_al.types import Float32Array, FloatArray, IntArray, Item, JsonObject

FURTHER = 100
"""Texts of the pool without a label on which the states are standardised beside the labelled ones."""

SHORTLIST = 8
"""Labels of a training text that are read: the right one and the likeliest others by the probe."""


@dataclass(frozen=True)
class Probe:
    """A probe's part of the log-probabilities, and what it predicts alone.

    Attributes:
        adds_n_C: What is added to LoRA's log-likelihoods of the labelled texts.
        adds_T_C: The same of the test texts.
        alone_n_C: The probe's log-probabilities of the labelled texts.
        alone_T_C: The same of the test texts.
    """

    adds_n_C: FloatArray
    adds_T_C: FloatArray
    alone_n_C: FloatArray
    alone_T_C: FloatArray


def fit_probe(learner: LoraLearner, of: Split, n_labelled: int) -> Probe:
    """Fit a probe to the first texts of the pool."""
    pool = [Item(f"pool-{row}", text) for row, text in enumerate(of.texts_P[: n_labelled + FURTHER])]
    test = [Item(f"test-{row}", text) for row, text in enumerate(of.texts_T)]
    (states_N_d, base_N_C), (states_T_d, base_T_C) = (_read(learner, items) for items in (pool, test))
    texts = PoolTexts({"model": states_N_d}, {ZERO_SHOT: base_N_C})
    rows_n: IntArray = np.arange(n_labelled)
    examples = Examples(rows_n, of.targets_P[:n_labelled])
    fitted = fit_head(texts, examples, len(of.labels), HeadOptions(neighbours=0, seed=of.seed))
    predictor = HeadPredictor(fitted, texts)
    alone_n_C = predictor.predict_new(_features(states_N_d[rows_n], base_N_C[rows_n]))[:, 0]
    alone_T_C = predictor.predict_new(_features(states_T_d, base_T_C))[:, 0]
    return Probe(alone_n_C - base_N_C[rows_n], alone_T_C - base_T_C, alone_n_C, alone_T_C)


def _features(states_N_d: Float32Array, base_N_C: FloatArray) -> TextFeatures:
    return TextFeatures({"model": states_N_d}, {ZERO_SHOT: base_N_C})


def _read(learner: LoraLearner, items: Sequence[Item]) -> tuple[Float32Array, FloatArray]:
    """Return states (N, d) and log-probabilities (N, C) of the base model."""
    found = learner.predict(None, items, draws=None, seed=0, advance=ignore)
    return learner.embed(None, items, ignore), found.log_probs_N_K_C[:, 0]


def fit_beside(
    learner: LoraLearner, adapter: AdapterSpec, probe: Probe, of: Split, *, seed: int, folder: Path
) -> None:
    """Train LoRA beside a probe and write the adapter as ``LoraLearner.fit`` does.

    Args:
        learner: Prompts and model.
        adapter: Settings of the training.
        probe: The probe, which stays as it is.
        of: The texts.
        seed: Of everything random.
        folder: An empty folder.
    """
    examples, adds = [], {}
    for row in range(len(probe.adds_n_C)):
        prompt = learner.prompts.encode(Item(f"pool-{row}", of.texts_P[row]))
        right = int(of.targets_P[row])
        others = [each for each in np.argsort(-probe.alone_n_C[row]).tolist() if each != right]
        columns = [right, *others[: SHORTLIST - 1]]
        examples.append((replace(prompt, labels=tuple(prompt.labels[each] for each in columns)), 0))
        adds[prompt.item_id] = probe.adds_n_C[row, columns]
    own = adapter.model_copy(update={"loss": "labels"})
    total = step_count(len(examples), own)
    minibatches = islice(target_minibatches(examples, None, own, seed), total)
    # A check of the bare model, so it must run before the adapter is in.
    learner.backbone.readout.lengths.longest(max(len(prompt) for prompt, _ in examples))
    tensors, config = _train(learner, own, minibatches, total, adds, seed)
    save_adapter(folder, tensors, config, base="", dropout=own.dropout)
    record: JsonObject = {
        "format": FORMAT,
        "kind": "map",
        "model_key": learner.model_key,
        "dtype": learner.backbone.dtype,
    }
    save_record(folder, record)


def _train(
    learner: LoraLearner,
    spec: AdapterSpec,
    minibatches: Iterator[list[Target]],
    total: int,
    adds: Mapping[str, FloatArray],
    seed: int,
) -> tuple[Mapping[str, Tensor], peft.PeftConfig]:
    backbone = learner.backbone
    with left_as_it_was(backbone.model), reproducible(seed), attached(backbone.model, spec) as model:
        adam = torch.optim.AdamW(parameter_groups(model, spec.weight_decay_b), lr=spec.learning_rate)
        parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
        model.train()
        for step, targets in enumerate(minibatches):
            for group in adam.param_groups:
                group["lr"] = spec.learning_rate * learning_rate_factor(step, total, spec.warmup_ratio)
            _loss(learner, model, targets, adds).backward()
            nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
            adam.step()
            adam.zero_grad()
        tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}, model.peft_config[ADAPTER]


def _loss(
    learner: LoraLearner, model: nn.Module, targets: Sequence[Target], adds: Mapping[str, FloatArray]
) -> Tensor:
    """The mean −log p of the right labels, which come first, normalised over each text's shortlist."""
    backbone = learner.backbone
    batch = collate([target.prompt for target in targets], backbone.readout)
    batch, attention = for_device(batch, backbone, keep_rows=False)
    set_dropout_sequences(model, batch)
    half = backbone.dtype != "float32"
    dtype = DTYPES[backbone.dtype] if half else None
    with (
        fused_lora_layers(model),
        attention,
        torch.autocast(backbone.device.type, dtype=dtype, enabled=half),
    ):
        scores_B_C = label_log_likelihoods(backbone.readout, batch)
    added_B_C = torch.tensor(
        np.array([adds[target.prompt.item_id] for target in targets]), device=scores_B_C.device
    )
    return -(scores_B_C + added_B_C.float()).log_softmax(dim=-1)[:, 0].mean()


def beside(log_probs_T_C: FloatArray, adds_T_C: FloatArray) -> FloatArray:
    """Add a probe's part to LoRA's log-probabilities, (T, C)."""
    added: FloatArray = log_softmax(log_probs_T_C + adds_T_C, axis=1)
    return added
