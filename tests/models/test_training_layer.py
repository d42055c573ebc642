"""The layers, layout and attention of training give the loss and gradients of stock peft and torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from star_al.config.spec import AdapterSpec
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.fused_lora import LoraLinear, fused_lora_layers
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import SequenceDropout, attached, lora_config, lora_layers, set_dropout_sequences
from star_al.models.minibatch import join
from star_al.models.prompts import Prompt
from star_al.models.readout_checks import open_readout
from star_al.models.sequence_attention import SequenceAttention
from star_al.models.targets import answered
from star_al.models.training_loss import training_loss
from support.tiny_model import ARCHITECTURES, build_tiny_model

LABELS = ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71, 349))
LENGTHS = (23, 5, 5, 40)  # neighbours of one length are computed together
SPEC = AdapterSpec(rank=3, dropout=0.0, target_modules="all-linear")


def backbone_of(folder: Path, architecture: str, dtype: str = "float32") -> Backbone:
    build_tiny_model(folder, architecture=architecture)
    return load_backbone(str(folder), revision=None, dtype=dtype, device="cpu")


def prompts() -> list[Prompt]:
    generator = torch.Generator().manual_seed(0)
    return [
        Prompt(f"i{n}", tuple(torch.randint(3, 300, (n,), generator=generator).tolist()), LABELS)
        for n in LENGTHS
    ]


@contextmanager
def stock_peft(model: Any, spec: AdapterSpec) -> Iterator[peft.PeftModel]:
    """The model as peft wraps it, with its own dropout and casts."""
    config = lora_config(model, spec)
    config.lora_dropout = spec.dropout
    wrapped = peft.get_peft_model(model, config)
    try:
        yield wrapped
    finally:
        wrapped.unload()
        model.requires_grad_(False).eval()


def loss_and_gradients(
    backbone: Backbone,
    spec: AdapterSpec,
    *,
    lean: bool,
    stock: bool = False,
    joined: bool = False,
    seed: int = 0,
) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step, always from the same A, B and masks."""
    batch = collate(prompts(), backbone.readout)
    with ExitStack() as stack:
        model = stack.enter_context((stock_peft if stock else attached)(backbone.model, spec)).train()
        torch.manual_seed(seed)
        for layer in lora_layers(model).values():
            torch.nn.init.normal_(layer.lora_A["default"].weight, std=0.1)
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
        if joined:
            stack.enter_context(SequenceAttention(batch.lengths_R, batch.mask_R_1_S_T))
            batch = join(batch, backbone.readout.dtype)
        if not stock:
            set_dropout_sequences(model, batch)
        if lean:
            stack.enter_context(fused_lora_layers(model))
        if lean and not joined:
            stack.enter_context(SequenceAttention())
        half = backbone.dtype != "float32"
        with torch.autocast("cpu", dtype=torch.bfloat16 if half else None, enabled=half):
            loss = -label_log_probs(backbone.readout, batch)[range(4), [0, 1, 2, 3]].mean()
        loss.backward()
        return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.fixture(autouse=True)
def _own_generator() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_peft(architecture: str, dropout: float, packed: bool, tmp_path: Path) -> None:
    """The reference is stock peft; with dropout, its layers get one mask a sequence."""
    backbone = backbone_of(tmp_path / "m", architecture)
    spec = AdapterSpec(rank=3, dropout=dropout, target_modules="all-linear")
    backbone.readout.supports_packing = packed
    for module in backbone.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # it would draw in another order
    plain_loss, plain = loss_and_gradients(backbone, spec, lean=False, stock=dropout == 0.0)
    lean_loss, lean = loss_and_gradients(backbone, spec, lean=True)
    assert all(gradient.abs().max() > 0 for gradient in plain.values())
    assert lean_loss == pytest.approx(plain_loss, rel=1e-6)
    assert_same(lean, plain)
    if backbone.readout.supports_joining:
        for layers in (True, False):  # peft's own layers too, as a quantised base has them
            loss, gradients = loss_and_gradients(backbone, spec, lean=layers, joined=True)
            assert loss == pytest.approx(plain_loss, rel=1e-5)
            assert_same(gradients, plain)


def assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        atol = 1e-6 + 1e-5 * gradient.abs().max().item()
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=atol)


def test_sequences_can_be_joined_where_attention_is_torchs(tmp_path: Path) -> None:
    joins = {name: backbone_of(tmp_path / name, name).readout.supports_joining for name in ARCHITECTURES}
    assert joins["llama"] and sum(joins.values()) >= 3
    assert backbone_of(tmp_path / "half", "llama", "bfloat16").readout.supports_joining


@pytest.mark.parametrize("kind", ["eager", "blind"])
def test_sequences_are_not_joined_where_they_would_mix(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is with attention that torch does not compute, or in a model that would lose its positions."""
    architecture = "llama" if kind == "eager" else "gpt2"  # whose positions are not relative
    build_tiny_model(tmp_path / "m", architecture=architecture)
    backbone = load_backbone(str(tmp_path / "m"), revision=None, dtype="float32", device="cpu")
    if kind == "eager":
        backbone.model.set_attn_implementation("eager")
    else:
        body = backbone.model.transformer
        forward = body.forward

        def blind(input_ids: Any, position_ids: Any = None, **others: Any) -> Any:
            return forward(input_ids=input_ids, **others)

        monkeypatch.setattr(body, "forward", blind)
    assert not backbone.readout.supports_joining


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("alibi", [False, True], ids=["rotary", "alibi"])
def test_sequences_are_not_joined_where_the_mask_holds_a_bias(alibi: bool, dtype: torch.dtype) -> None:
    """Our masks would lose the bias, which half-precision activations hardly show."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.FalconConfig(vocab_size=480, alibi=alibi, **sizes)
    torch.manual_seed(0)
    model: Any = transformers.FalconForCausalLM(config)
    model = model.to(dtype).eval()
    assert open_readout(model).supports_joining == (not alibi)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sequences_are_not_joined_where_one_layer_lets_them_see_each_other(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbone_of(tmp_path / "m", "llama", dtype)
    last = backbone.model.model.layers[-1].self_attn
    forward = last.forward

    def leaking(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        out, *rest = forward(hidden_states, *args, **kwargs)
        before = torch.arange(1, out.shape[1] + 1)[:, None]
        return out + 1e-2 * (hidden_states.cumsum(dim=1) / before).to(out.dtype), *rest

    assert open_readout(backbone.model).supports_joining
    monkeypatch.setattr(last, "forward", leaking)
    assert not open_readout(backbone.model).supports_joining


def test_no_mask_of_all_tokens_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For joined sequences its size would be the square of the batch's tokens."""
    backbone = backbone_of(tmp_path / "m", "llama")
    assert backbone.readout.supports_joining
    sizes: list[int] = []
    attention = SequenceAttention._attention

    def watched(*args: Any, **options: Any) -> Any:
        sizes.append(options["attn_mask"].untyped_storage().nbytes())
        return attention(*args, **options)

    monkeypatch.setattr(SequenceAttention, "_attention", watched)
    with attached(backbone.model, SPEC) as model:
        training_loss(backbone, model, [answered(prompt, 0) for prompt in prompts()])
    assert sizes and max(sizes) <= 4


def test_training_takes_the_layout_that_the_extension_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbone_of(tmp_path / "m", "llama")
    examples = [answered(prompt, index) for index, prompt in enumerate(prompts())]
    shapes: list[tuple[int, ...]] = []
    backbone.readout.lengths.longest(2 * max(LENGTHS))
    hidden = backbone.readout.hidden

    def watched(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append(tuple(ids.shape))
        return hidden(ids, *rest)

    monkeypatch.setattr(backbone.readout, "hidden", watched)
    losses = []
    with attached(backbone.model, SPEC) as model:
        for reads in (False, True):
            losses.append(training_loss(backbone, model, examples, extension=_Reading(reads)).item())
        # Now a window that is too short for a prompt and its labels.
        monkeypatch.setattr(backbone.readout.lengths, "is_whole", lambda length: length <= max(LENGTHS))
        losses.append(training_loss(backbone, model, examples).item())
    assert shapes[0][0] == 1 and shapes[1][0] == len(LENGTHS) and shapes[2][0] > 1
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


class _Reading:
    """An extension that adds nothing."""

    def __init__(self, reads: bool) -> None:
        self.reads_sequences = reads

    def attach(self, model: torch.nn.Module) -> tuple[()]:
        return ()

    def before_forward(self, batch: Any) -> None:
        pass

    def penalty(self) -> torch.Tensor:
        return torch.zeros(())


def test_half_precision_is_as_exact_as_stock_peft(tmp_path: Path) -> None:
    whole = backbone_of(tmp_path / "m", "llama")
    half = load_backbone(str(tmp_path / "m"), revision=None, dtype="bfloat16", device="cpu")

    def error(seed: int, **kind: bool) -> float:
        exact = loss_and_gradients(whole, SPEC, lean=False, seed=seed)[1]
        gradients = loss_and_gradients(half, SPEC, seed=seed, **kind)[1]
        difference = sum(float((gradients[name] - exact[name]).square().sum()) for name in exact)
        return math.sqrt(difference / sum(float(one.square().sum()) for one in exact.values()))

    lean = sum(error(seed, lean=True) for seed in range(4))
    assert 0 < lean < 1.3 * sum(error(seed, lean=False, stock=True) for seed in range(4))


@pytest.mark.parametrize("targets", [("v_proj",), ("down_proj", "q_proj")])
def test_nothing_is_differentiated_below_the_first_adapted_layer(
    targets: tuple[str, ...], tmp_path: Path
) -> None:
    backbone = backbone_of(tmp_path / "m", "llama")
    with attached(backbone.model, SPEC.model_copy(update={"target_modules": targets})) as model:
        with fused_lora_layers(model.train()):
            hidden = backbone.readout.hidden(collate(prompts(), backbone.readout).ids_R_S)
        nodes, frozen, adapted = [hidden.grad_fn], 0, 0
        seen = set()
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            adapted += node.name() == "LoraLinearBackward"
            frozen += node.name() == "EmbeddingBackward0"
            nodes.extend(parent for parent, _ in node.next_functions)
    assert adapted == 2 * len(targets) and frozen == 0


def test_layers_compute_by_peft_again_afterwards(tmp_path: Path) -> None:
    backbone = backbone_of(tmp_path / "m", "llama")
    with attached(backbone.model, SPEC) as model:
        layers = list(lora_layers(model).values())
        with pytest.raises(KeyboardInterrupt), fused_lora_layers(model):
            assert all("forward" in vars(layer) for layer in layers)
            raise KeyboardInterrupt
        assert not any("forward" in vars(layer) for layer in layers)


def test_layers_of_other_kinds_are_left_to_peft(tmp_path: Path) -> None:
    class Quantised(torch.nn.Linear):
        """A layer whose weight must not be read."""

    backbone = backbone_of(tmp_path / "m", "llama")
    with attached(backbone.model, SPEC) as model:
        first, second, *others = lora_layers(model).values()
        first.base_layer.__class__ = Quantised
        second.lora_variant["default"] = object()
        with fused_lora_layers(model):
            assert not any("forward" in vars(layer) for layer in (first, second))
            assert all("forward" in vars(layer) for layer in others)
        first.base_layer.__class__ = torch.nn.Linear


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5)], ids=["tokens", "sequences"])
def test_a_layer_on_its_own(shape: tuple[int, ...], masked: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape, requires_grad=True), torch.randn(4, 5), torch.randn(4)
    a, b = torch.randn(3, 5, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    dropout = SequenceDropout(0.4).train()
    masks = dropout.masks(x) if masked else None
    plain = x @ weight.T + bias
    kept = x if masks is None else x * (masks[:, None] if x.ndim == 3 else masks[0])
    plain = plain + 0.7 * kept @ a.T @ b.T
    own = LoraLinear.apply(x, weight, bias, a, b, 0.7, masks)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(own, plain)
    cotangent = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, a, b), cotangent)
    for actual, wanted in zip(torch.autograd.grad(own, (x, a, b), cotangent), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


# -- attention ---------------------------------------------------------------------------------------------


def tree_mask(rows: int, width: int) -> torch.Tensor:
    """A causal mask in which each row hides one more column; padding sees only itself."""
    seen = torch.ones(width, width, dtype=torch.bool).tril().repeat(rows, 1, 1, 1)
    for row in range(rows):
        seen[row, :, row + 1 :, row] = False
    return seen


@pytest.mark.parametrize("keys", [4, 2, 1])
@pytest.mark.parametrize("mask", ["causal", "additive", "none"])
def test_attention_and_its_gradient(mask: str, keys: int) -> None:
    torch.manual_seed(0)
    rows, width = 3, 9
    query = torch.randn(rows, width, 4, 8).transpose(1, 2).requires_grad_()
    key, value = (torch.randn(rows, keys, width, 8).requires_grad_() for _ in range(2))
    seen = tree_mask(rows, width)
    additive = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    given = additive if mask == "additive" else None
    options: dict[str, Any] = {"attn_mask": given, "is_causal": mask == "causal", "enable_gqa": keys != 4}
    with sdpa_kernel([SDPBackend.MATH]):
        expected = scaled_dot_product_attention(query, key, value, scale=0.5, **options)
    cotangent = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, (query, key, value), cotangent)
    with SequenceAttention():
        actual = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.5, **options)
    torch.testing.assert_close(actual, expected)
    own = torch.autograd.grad(actual, (query, key, value), cotangent)
    for one, wanted in zip(own, gradients, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", ["a mask a head", "a boolean mask", "a trained mask", "more keys than queries", "dropout"]
)
def test_attention_of_other_kinds_is_torchs_own(case: str) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 5, 8, requires_grad=True), torch.randn(2, 4, 5, 8)
    masks = {
        "a mask a head": torch.randn(2, 4, 5, 5),
        "a boolean mask": tree_mask(2, 5),
        "a trained mask": torch.randn(2, 1, 5, 5, requires_grad=True),
    }
    options: dict[str, Any] = {"attn_mask": masks[case]} if case in masks else {}
    if case == "more keys than queries":
        key = torch.randn(2, 4, 7, 8)
    if case == "dropout":
        options = {"dropout_p": 0.5}
    state = torch.get_rng_state()
    expected = scaled_dot_product_attention(query, key, key, **options)
    torch.set_rng_state(state)
    with SequenceAttention():
        actual = scaled_dot_product_attention(query, key, key, **options)
    assert torch.equal(actual, expected)
    assert actual.grad_fn is not None and actual.grad_fn.name() == expected.grad_fn.name()  # type: ignore[union-attr]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("masked", [False, True])
def test_joined_sequences_do_not_see_each_other(masked: bool, dropout: float) -> None:
    """This holds whatever mask the model makes for the single row it gets."""
    torch.manual_seed(0)
    lengths = (4, 1, 7)
    query = torch.randn(1, 12, 4, 8).transpose(1, 2).requires_grad_()
    key, value = (torch.randn(1, 2, 12, 8).requires_grad_() for _ in range(2))
    seen = tree_mask(3, 7)
    seen[:, :, range(7), range(7)] = True
    masks = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min) if masked else None
    state = torch.get_rng_state()
    parts = [part.split(lengths, dim=2) for part in (query, key, value)]
    expected = torch.cat(
        [
            scaled_dot_product_attention(
                q,
                k,
                v,
                None if masks is None else masks[row, :, :n, :n],
                dropout,
                not masked,
                enable_gqa=True,
            )
            for row, (n, q, k, v) in enumerate(zip(lengths, *parts, strict=True))
        ],
        dim=2,
    )
    torch.set_rng_state(state)
    with SequenceAttention(lengths, masks):
        everything = torch.ones(1, 1, 12, 12, dtype=torch.bool)
        actual = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, everything, dropout, enable_gqa=True
        )
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (query, key, value), cotangent)
    for one, other in zip(torch.autograd.grad(actual, (query, key, value), cotangent), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_model_may_change_the_output_of_an_adapted_layer_in_place() -> None:
    x, weight = torch.randn(2, 3, 4), torch.randn(5, 4)
    a, b = torch.randn(2, 4, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    plain = (x @ (weight + b @ a).T) * 2
    expected = torch.autograd.grad(plain.square().sum(), (a, b))
    out: torch.Tensor = LoraLinear.apply(x, weight, None, a, b, 1.0, None, None)  # type: ignore[no-untyped-call]
    out *= 2
    for mine, right in zip(torch.autograd.grad(out.square().sum(), (a, b)), expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-4)
