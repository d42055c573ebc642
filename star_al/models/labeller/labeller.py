"""Label probabilities of texts by an exported model. Needs torch, transformers and peft, and nothing else."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from star_al.models.labeller.prompt import Prompt, PromptReader
from star_al.models.model_body import body_of
from star_al.models.quantised import keep_differentiable, quantised_on

ROWS = 16
"""Rows of one length that the model reads at once."""


class Labeller:
    """Reads texts with an exported model.

    Args:
        folder: The exported folder.
        device: Where the model runs, such as "cuda"; a GPU if there is one.
        base: The base model's folder or hub name, if it is not where it was.

    Attributes:
        labels: The names of the labels; empty if each text has options of its own.
    """

    def __init__(self, folder: str | Path, device: str | None = None, base: str | None = None) -> None:
        folder = Path(folder)
        self._record: dict[str, Any] = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self._record["labels"]
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._reader = PromptReader(self._tokenizer, self._record["prompt"])
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = getattr(torch, self._record["dtype"])
        source = base or self._record["base"] or str(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=None if base else self._record["revision"],
            dtype=dtype,
            **quantised_on(self._device, self._record.get("quantise", "none"), dtype),
        )
        keep_differentiable(model, dtype)
        self._samples: list[str] = self._record["samples"]
        if self._samples:
            from peft import PeftModel

            first, *others = self._samples
            model = PeftModel.from_pretrained(model, folder / first, adapter_name=_name(first))
            for sample in others:
                model.load_adapter(folder / sample, adapter_name=_name(sample))
        _use_float32_head(model)
        self._model = model.to(self._device).eval()
        plain = model.get_base_model() if self._samples else model
        self._body = body_of(plain)
        classifier = self._record.get("classifier")
        self._classifier = load_file(folder / classifier, self._device) if classifier else None
        self._keeps_logits = "logits_to_keep" in inspect.signature(plain.forward).parameters

    def __call__(self, text: str | Mapping[str, object], options: Sequence[str] = ()) -> dict[str, float]:
        """Return the calibrated probability of each label, or of each option's letter.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
            options: The options, if each text has its own.
        """
        log_probs = self._by_sample(text, options)
        mean = log_probs.logsumexp(dim=0)  # of the samples' probabilities, up to a constant
        probabilities = (mean / self._record["temperature"]).softmax(dim=0)
        names = self.labels or self._reader.letters(options)
        return dict(zip(names, probabilities.tolist(), strict=True))

    def _by_sample(self, text: str | Mapping[str, object], options: Sequence[str] = ()) -> Tensor:
        """Log-probabilities of the labels by each posterior sample."""
        if not isinstance(text, str):
            text = self._filled(text)
        prompt = self._reader.read(text, options)
        with torch.inference_mode():
            return torch.stack([self._log_probs(prompt) for _ in self._each_sample()])

    def write(self, text: str | Mapping[str, object]) -> str:
        """Return the answer that the model writes, each time its likeliest token.

        Args:
            text: The text, or a row, as for a call.
        """
        answer, _ = self._written(text)
        return answer

    def answer(self, text: str | Mapping[str, object]) -> dict[str, Any]:
        """Return the answer that ``write`` returns, and how probable it is that it is right, as in ``star-al predict``.

        Args:
            text: The text, or a row, as for a call.

        Raises:
            ValueError: In the campaign, draws from posterior samples tell how sure an answer is, which are not here.
        """
        if not self._record["writes"]["sure"]:
            raise ValueError("this folder writes answers, but star-al predict alone tells how sure they are")
        answer, log_probs = self._written(text)
        return {"answer": answer, "confidence": self._confidence(-float(log_probs.mean()), len(log_probs))}

    def _written(self, text: str | Mapping[str, object]) -> tuple[str, Tensor]:
        """The likeliest answer, and the log-probabilities of its tokens, its end among them."""
        if not isinstance(text, str):
            text = self._filled(text)
        writes = self._record["writes"]
        ids = torch.tensor([self._reader.read(text).tokens], device=self._device)
        found = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=writes["longest"],
            eos_token_id=writes["ends"] or None,
            pad_token_id=(writes["ends"] or [0])[0],
            return_dict_in_generate=True,
            output_logits=True,
            **({"stop_strings": writes["end"], "tokenizer": self._tokenizer} if writes["end"] else {}),
        )
        tokens = found.sequences[0, ids.shape[1] :]
        logits = torch.cat(found.logits).double()
        log_probs = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
        answer: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return (answer.partition(writes["end"])[0] if writes["end"] else answer).strip(), log_probs

    def _confidence(self, nll: float, length: int) -> float:
        """The probability that an answer is right, by its negative log-likelihood a token and its tokens."""
        nll = max(nll, 1e-9)
        log_odds = -nll - math.log(-math.expm1(-nll))
        platt = self._record.get("platt")
        if platt is None:
            log_odds = log_odds / self._record["temperature"]
        else:
            bounded = min(max(log_odds, -platt["largest"]), platt["largest"])
            features = (platt["nll"] * nll, platt["log_odds"] * bounded, platt["length"] * length)
            log_odds = platt["intercept"] + sum(features)
        return float(torch.tensor(log_odds, dtype=torch.float64).sigmoid())

    def _filled(self, row: Mapping[str, object]) -> str:
        """The text that a row's columns make."""
        columns: dict[str, str] = self._record["columns"]
        field = re.compile("|".join(re.escape(f"{{{name}}}") for name in columns))

        def cell(match: re.Match[str]) -> str:
            value = row[columns[match[0][1:-1]]]
            return "" if value is None else str(value)

        return field.sub(cell, self._record["text"])

    def _each_sample(self) -> Iterator[None]:
        """The model becomes each posterior sample in turn."""
        for sample in self._samples:
            self._model.set_adapter(_name(sample))
            yield
        if not self._samples:
            yield

    def _log_probs(self, prompt: Prompt) -> Tensor:
        """Log-probabilities of a prompt's labels, normalised over them."""
        return self._scores(prompt).log_softmax(dim=0)

    def _scores(self, prompt: Prompt) -> Tensor:
        """What a prompt's labels are compared by."""
        if self._classifier is not None:
            logits_C: Tensor = self._classifier["weight"] @ self._states(prompt) + self._classifier["bias"]
            return logits_C.double()
        scores = self._log_likelihoods(prompt)
        completion = self._record["prompt"].get("completion")
        if completion:  # they are compared by how much likelier than the base model this one writes them
            with self._model.disable_adapter():
                reference = self._log_likelihoods(prompt)
            scores = completion["beta"] * (scores - reference)
        return scores

    def _log_likelihoods(self, prompt: Prompt) -> Tensor:
        scores: dict[tuple[int, ...], Tensor] = {}
        for size in sorted({len(label) for label in prompt.labels}):
            labels = [label for label in dict.fromkeys(prompt.labels) if len(label) == size]
            for start in range(0, len(labels), ROWS):
                scores |= self._score(prompt.tokens, labels[start : start + ROWS])
        return torch.stack([scores[label] for label in prompt.labels])

    def _states(self, prompt: Prompt) -> Tensor:
        """What a classifier reads: the last state of the prompt's end; before it the mean one of the text's tokens."""
        ids = torch.tensor([prompt.tokens], device=self._device)
        states_S_d: Tensor = self._body(input_ids=ids, use_cache=False).last_hidden_state[0].float()
        if not self._record.get("classifier_reads_text"):
            return states_S_d[-1]
        start, end = prompt.text if prompt.text[1] > prompt.text[0] else (-1, None)
        return torch.cat([states_S_d[start:end].mean(dim=0), states_S_d[-1]])

    def _score(self, tokens: Sequence[int], labels: list[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
        """The log-likelihood of labels of one length, given the prompt."""
        size = len(labels[0])
        begun = list(dict.fromkeys(label[:-1] for label in labels))
        ids = torch.tensor([[*tokens, *part] for part in begun], device=self._device)
        keep = {"logits_to_keep": size} if self._keeps_logits else {}
        logits = self._model(input_ids=ids, use_cache=False, **keep).logits[:, -size:]
        log_probs = logits.double().log_softmax(dim=-1)
        rows = torch.tensor([begun.index(label[:-1]) for label in labels], device=self._device)
        columns = torch.tensor(labels, device=self._device)
        found = log_probs[rows].gather(2, columns[:, :, None]).sum(dim=(1, 2))
        return dict(zip(labels, found, strict=True))


def _name(sample: str) -> str:
    return "mean" if sample == "." else sample


def _use_float32_head(model: Any) -> None:
    """Let the head compute in float32: in bfloat16 a logit of 16 is rounded to steps of 0.125."""
    head = model.get_output_embeddings()
    if head.weight.dtype in (torch.bfloat16, torch.float16):
        head.weight = nn.Parameter(head.weight.detach().float(), requires_grad=False)
        if getattr(head, "bias", None) is not None:
            head.bias = nn.Parameter(head.bias.detach().float(), requires_grad=False)
        head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
