"""The part of a causal language model that makes hidden states."""

from __future__ import annotations

import inspect
from typing import Any


def body_of(model: Any) -> Any:
    """Return the part of a causal language model that makes hidden states; the model itself if there is none."""
    body = model.get_decoder()
    if body is model or "input_ids" not in inspect.signature(body.forward).parameters:
        body = model.base_model
    if body is model:  # its prefix names a part of a larger model, as that of Llama 4 does
        embedding = model.get_input_embeddings()
        holders = [part for part in model.children() if embedding in list(part.modules())[1:]]
        body = holders[0] if len(holders) == 1 else model
    return body
