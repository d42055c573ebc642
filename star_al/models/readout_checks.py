"""What a model can do, found out by running it: each shortcut must reproduce what the plain model computes.

transformers has hundreds of architectures, and none says whether its attention takes a custom mask, explicit
positions, or a cache that was made separately. A model that cannot fails in its own way, so that each check
also takes an exception for a "no". Shortcuts are checked in float32, whatever the model's dtype: an error of one
layer would hide in the roundings of bfloat16. They are checked on a few tokens; up to which length they hold is
found out when it is known which lengths are used (``LengthProbe``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from star_al.errors import ModelError
from star_al.models.float32_probe import computing_in_float32, widened
from star_al.models.masks import additive_mask, no_mask
from star_al.models.quantised import is_quantised
from star_al.models.readout import Readout
from star_al.models.sequence_attention import WatchedAttention

_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
"""Names that configurations give to a factor or divisor of the logits."""

_ADVICE = "Check the model's weights."


def open_readout(model: Any) -> Readout:
    """Make a model's readout and find out what the model supports.

    Raises:
        ModelError: The model's logits are not finite or not reproduced from its head, or a token sees what
            follows it.
    """
    readout = Readout(model)
    stateful = getattr(model, "_is_stateful", False)  # such as Mamba, whose state knows no mask
    with torch.inference_mode():
        _require_finite(readout, model)
        _require_causal(readout, model)
        readout.logit_scale = _logit_scale(readout, model)
        if not stateful and readout.takes_positions:
            with computing_in_float32(readout.body):
                readout.supports_packing = _packing_works(readout)
                readout.supports_prefix = _prefix_works(readout)
                readout.supports_joining = readout.device.type == "cpu" and _joining_works(readout)
                readout.supports_search = (
                    readout.device.type == "cpu" and readout.supports_prefix and _search_works(readout)
                )
    return readout


def is_close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Return whether two tensors differ by at most ``tolerance`` of the largest absolute value of ``right``."""
    return bool((left.float() - right.float()).abs().max() <= tolerance * right.float().abs().max())


def _exact(readout: Readout) -> float:
    """Return by how much two computations in float32 may differ; layers that are quantised round all the same."""
    return 5e-2 if is_quantised(readout.body) else 1e-4


def _probe(readout: Readout, length: int) -> Tensor:
    """Return token ids that are spread over the vocabulary, (length,)."""
    vocabulary: int = readout.head.weight.shape[0]
    return (torch.arange(length, device=readout.device) * 7919 + 11) % vocabulary


def _require_finite(readout: Readout, model: Any) -> None:
    ids = _probe(readout, 12)[None]
    logits = model(input_ids=ids, use_cache=False).logits
    # A logit of −inf is allowed: some models rule out tokens so.
    if torch.isfinite(readout.hidden(ids)).all() and (logits < torch.inf).all():
        return
    name, dtype = type(model).__name__, str(readout.dtype).removeprefix("torch.")
    for parameter, values in model.named_parameters():
        if not torch.isfinite(values).all():
            raise ModelError(f"{name}: {parameter} holds NaN or infinity in {dtype}. {_ADVICE}")
    raise ModelError(f"{name}: its activations overflow {dtype} or are NaN. {_ADVICE}")


def _require_causal(readout: Readout, model: Any) -> None:
    ids = _probe(readout, 12)[None]
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % readout.head.weight.shape[0]
    if not is_close(readout.hidden(changed)[0, :-1], readout.hidden(ids)[0, :-1], readout.tolerance):
        raise ModelError(f"{type(model).__name__} lets tokens see what follows. Give a causal model.")


def _logit_scale(readout: Readout, model: Any) -> float:
    """Return the factor under which hidden state times head equals the model's own logits.

    Some models multiply their logits by a number of their configuration, others divide by it: both are tried.
    """
    ids = _probe(readout, 12)[None]
    try:
        # The head is wide throughout: some models cast the hidden states to its dtype before they call it.
        with widened(readout.head), computing_in_float32(model):
            expected, hidden = model(input_ids=ids, use_cache=False).logits[0], readout.hidden(ids)[0]
        tolerance = _exact(readout)
    except RuntimeError:  # a layer that insists on its dtype
        expected, hidden = model(input_ids=ids, use_cache=False).logits[0], readout.hidden(ids)[0]
        tolerance = readout.tolerance
    config = model.config.get_text_config()
    values = [float(value) for name in _SCALES if (value := getattr(config, name, None))]
    vocabulary = torch.arange(expected.shape[-1], device=readout.device)
    for scale in [1.0, *values, *(1 / value for value in values)]:
        readout.logit_scale = scale
        if is_close(readout.logits(hidden, vocabulary), expected, tolerance):
            return scale
    raise ModelError(f"{type(model).__name__} changes its logits in a way that star_al does not know.")


def _packing_works(readout: Readout) -> bool:
    """Check that "prompt a b | c" in one sequence gives what "prompt a b" and "prompt c" give."""
    prompt, (a, b, c) = _probe(readout, 8), _probe(readout, 11)[8:]
    ids = torch.cat([prompt, torch.stack([a, b, c])])[None]
    positions = torch.tensor([[*range(8), 8, 9, 8]], device=readout.device)
    visible = torch.ones(11, 11, dtype=torch.bool, device=readout.device).tril()
    visible[10, 8:10] = False
    try:
        packed = readout.hidden(ids, positions, additive_mask(visible[None, None], torch.float32))[0]
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    first = readout.hidden(ids[:, :10])[0, 8:]
    second = readout.hidden(torch.cat([prompt, c[None]])[None])[0, 8:]
    return is_close(packed[8:], torch.cat([first, second]), _exact(readout))


def _prefix_works(readout: Readout) -> bool:
    """Check that two sequences continued from a prefix, one of them padded, give what the whole sequences give."""
    ids = _probe(readout, 18).view(2, 9)
    ids[1, :5] = ids[0, :5]
    try:
        positions = torch.arange(5, 9, device=readout.device).repeat(2, 1)
        after = readout.hidden(ids[:, 5:], positions, prefix=readout.read_prefix(ids[0, :5].tolist()))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    return is_close(after, readout.hidden(ids)[:, 5:], _exact(readout))


def _search_works(readout: Readout) -> bool:
    """Check that a padded prompt continued by "a" and "b", then by "c" after "a", gives what whole sequences give."""
    ids = _probe(readout, 20).view(2, 10)
    (prompt, (a, b, c)), device = (ids[1, :5], ids[1, 7:]), readout.device
    cache = readout.open_cache(None, 2)
    visible = torch.zeros(2, 2, 9, dtype=torch.bool, device=device)
    visible[:, :, :5] = visible[:, 0, 7] = visible[:, 1, 8] = True
    later = torch.cat([visible[1:, :1], visible.new_ones(1, 1, 1)], dim=2)
    try:
        readout.extend(ids[:, :7], None, None, cache)
        positions = torch.full((2, 2), 5, device=device)
        mask = additive_mask(visible[:, None], torch.float32)
        found = readout.extend(torch.stack([a, b]).repeat(2, 1), positions, mask, cache)[1]
        cache.batch_select_indices(torch.tensor([1], device=device))
        mask = additive_mask(later[:, None], torch.float32)
        found = torch.cat([found, readout.extend(c.view(1, 1), positions[:1, :1] + 1, mask, cache)[0]])
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    whole = [torch.cat([prompt, torch.stack(after)])[None] for after in ([a, c], [b])]
    a_c, b_alone = (readout.hidden(sequence)[0, 5:] for sequence in whole)
    return is_close(found, torch.cat([a_c[:1], b_alone, a_c[1:]]), _exact(readout))


def _joining_works(readout: Readout) -> bool:
    """Check that joined sequences give what separate ones give, whatever comes before them in the row.

    Independence of the predecessor gets a tighter tolerance: both computations have the same roundings.
    """
    ids = _probe(readout, 12)[None]
    other = torch.cat([ids[:, 1:8], ids[:, 7:]], dim=1)
    positions = torch.tensor([[*range(7), *range(5)]], device=readout.device)
    attention = WatchedAttention((7, 5))
    try:
        with attention:
            mask = no_mask(12, torch.float32)
            joined, after_other = (readout.hidden(row, positions, mask) for row in (ids, other))
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    separate = torch.cat([readout.hidden(ids[:, :7]), readout.hidden(ids[:, 7:])], dim=1)
    independent = is_close(after_other[:, 7:], joined[:, 7:], 1e-3 * _exact(readout))
    return attention.replaced and independent and is_close(joined, separate, 0.2 * _exact(readout))
