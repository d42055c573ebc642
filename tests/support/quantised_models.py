"""Models quantised by bitsandbytes, each with what its weights stand for beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from peft.utils.integrations import dequantize_module_weight
from transformers.pytorch_utils import Conv1D

from star_al.models.quiet import quiet
from star_al.models.target_layers import dense_layers

NF4: dict[str, Any] = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "float32",
}
INT8: dict[str, Any] = {"load_in_8bit": True}


def quantise(folder: Path, into: Path, dtype: str = "float32", device: str = "cpu", **settings: Any) -> Path:
    """Save the model quantised by bitsandbytes, and the dequantised one beside it; return the first folder."""
    auto: Any = transformers.AutoModelForCausalLM
    with quiet(), torch.no_grad():
        config = transformers.BitsAndBytesConfig(**settings)
        packed = auto.from_pretrained(
            folder, quantization_config=config, dtype=getattr(torch, dtype), device_map={"": device}
        )
        plain = auto.from_pretrained(folder, dtype=torch.float32)
        for name, layer in dense_layers(packed).items():
            own = plain.get_submodule(name)
            weight = dequantize_module_weight(layer)
            own.weight.copy_(weight.T if isinstance(own, Conv1D) else weight)
    for model, place in ((packed, into), (plain, dequantised(into))):
        with quiet():
            model.save_pretrained(place)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(folder / name, place / name)
    return into


def dequantised(folder: Path) -> Path:
    """Return the folder of the model whose weights are what the codes of ``folder`` stand for."""
    return folder.with_name(folder.name + "-float")
