"""``model``: the language model that is adapted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from star_al.config.defaults import DEFAULT_MODEL
from star_al.config.spec.base import FROM_FILE, Positive, Spec, choices


class ModelSpec(Spec):
    """A causal language model of transformers."""

    name: str | None = Field(
        default=None,
        description=(
            "A causal language model: its name on the Hugging Face hub, or a folder. "
            "The folder holds safetensors; a relative one starts at the campaign file's folder. "
            "Only `learner.kind: head` does without."
        ),
        examples=[DEFAULT_MODEL],
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub name.", examples=["main"]
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="Number format of the weights of the language model and the sentence encoder.",
        json_schema_extra=choices(
            auto="bfloat16 if a short test finds it no slower than float32 on this device, else float32",
            bfloat16="half the memory of float32",
            float32="the most precise",
        ),
    )
    quantise: Literal["none", "8bit", "4bit"] = Field(
        default="none",
        description=(
            "Quantise the weights of the blocks by bitsandbytes when the model is loaded. Needs `star-al[quantised]`. "
            "For a model that was saved without quantisation."
        ),
        json_schema_extra=choices(
            none="take the weights as they were saved",
            **{
                "8bit": "LLM.int8(): half the memory of bfloat16",
                "4bit": "NF4 with quantised scales, as in QLoRA: less than a third",
            },
        ),
    )
    device: str = Field(
        default="auto",
        description="Where the model runs: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.",
        examples=["cuda"],
    )
    gpus: Positive = Field(
        default=1,
        description=(
            "Spread the blocks of the model over this many GPUs, from that of `device` on. "
            "They compute one after another: this is for a model that does not fit one."
        ),
        examples=[2],
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        default=512,
        description="Tokens of prompt and text together, at most; longer texts are cut to fit.",
    )
    batch_tokens: Literal["auto"] | Annotated[int, Field(ge=64, strict=True)] = Field(
        default="auto",
        description=(
            "Tokens in a scoring minibatch, padding included: a number, or `auto`. `auto` times a few sizes when a "
            "model is first used on a machine, and keeps the best in the user's cache."
        ),
        examples=["auto", 4096],
    )
    label_tolerance: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        default="auto",
        description=(
            "How much of the probability may be wrong in a prediction for a text of the pool; 0 reads every label. "
            "With many labels of several tokens, a CPU then leaves unlikely ones unread. `auto` is 0.01, but 0 with "
            "BALD, EPIG, BatchBALD and `measure: label_probability`. Held-out texts are read exactly."
        ),
        examples=["auto", 0.001],
    )
    trunk_cache_gb: Annotated[float, Field(ge=0)] = Field(
        default=4.0,
        description=(
            "Disk limit (GB) for cached activations. With `adapter.layers`, the frozen blocks below the "
            "adapted ones are computed once per text and kept; 0 keeps none."
        ),
    )
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description="What scores labels and draws answers with samples of the posterior.",
        json_schema_extra=choices(
            transformers="the model that is also trained, in this process",
            vllm=(
                "vLLM, on a GPU: fast where answers are drawn; each sample is a LoRA adapter. Needs `star-al[vllm]`. "
                "Training and whatever reads hidden states stay with transformers"
            ),
        ),
    )
    engine_memory: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Share of the GPU's memory that `engine: vllm` takes while it works."
    )

    @property
    def given_name(self) -> str:
        """``name``, which every campaign has that uses a language model."""
        if self.name is None:
            raise ValueError("the campaign has no language model")
        return self.name

    @field_validator("dtype", mode="before")
    @classmethod
    def _float16_was_a_choice(cls, dtype: Any, info: ValidationInfo) -> Any:
        """Read a stored float16 as auto: each stored round knows the dtype it ran with. A file is refused."""
        return "auto" if dtype == "float16" and info.context != FROM_FILE else dtype
