"""What training moves a text towards: labels or the answer's own tokens, another model's answers, averaged weights."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from star_al.config.spec import AdapterSpec, Loss
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.likelihood import answer_log_likelihoods, label_log_probs
from star_al.models.log_normaliser import LogNormaliser
from star_al.models.lora import attached
from star_al.models.prompts import Prompt
from star_al.models.targets import (
    Target,
    TaughtPrompts,
    answered,
    minibatch_parts,
    target_minibatches,
    taught,
)
from star_al.models.train import step_count, train
from star_al.models.training_loss import training_loss
from support.tiny_model import ARCHITECTURES, build_tiny_model

LABELS = ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71,))
SPEC = AdapterSpec(rank=3, dropout=0.0, batch_size=4, epochs=2, learning_rate=1e-2)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def any_backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = build_tiny_model(tmp_path_factory.mktemp("models") / request.param, architecture=request.param)
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = build_tiny_model(tmp_path_factory.mktemp("models") / "llama", spread=0.3)
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def prompt(length: int, labels: tuple[tuple[int, ...], ...] = LABELS) -> Prompt:
    generator = torch.Generator().manual_seed(length)
    return Prompt(f"i{length}", tuple(torch.randint(3, 300, (length,), generator=generator).tolist()), labels)


EXAMPLES = [(prompt(length), length % 4) for length in (5, 23, 9, 14, 6, 11)]
LESSONS = TaughtPrompts(
    [prompt(length) for length in (7, 8, 10, 12, 13)], np.random.default_rng(0).dirichlet(np.ones(4), 5), 0.5
)


def brute_force(backbone: Backbone, one: Prompt) -> torch.Tensor:
    """Compute Σ log p(token | tokens before) of each label from the model's full logits."""
    totals = []
    for label in one.labels:
        with torch.no_grad():
            logits = backbone.model(torch.tensor([[*one.tokens, *label]])).logits[0].double()
        log_probs, start = logits.log_softmax(dim=-1), len(one.tokens) - 1
        totals.append(torch.stack([log_probs[start + k, token] for k, token in enumerate(label)]).sum())
    return torch.stack(totals)


# -- likelihoods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_has_the_language_models_own_likelihood(any_backbone: Backbone, packed: bool) -> None:
    readout = any_backbone.readout
    prompts = [prompt(5), prompt(23, LABELS[:1]), prompt(9, LABELS[1:])]
    readout.supports_packing = packed
    try:
        with torch.no_grad():
            found = answer_log_likelihoods(readout, collate(prompts, readout))
    finally:
        readout.supports_packing = True
    for row, one in zip(found, prompts, strict=True):
        expected = brute_force(any_backbone, one).float()
        torch.testing.assert_close(row[: len(one.labels)], expected, atol=2e-5, rtol=1e-5)
        assert (row[len(one.labels) :] == -torch.inf).all()


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("biased", [False, True])
def test_the_log_normaliser_and_its_gradient(
    cap: float | None, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_al.models.log_normaliser._CHUNK_ELEMENTS", 1)  # chunks of 1,024 tokens
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 8, generator=generator, requires_grad=True)
    weight = torch.randn(2500, 8, generator=generator) * torch.linspace(0.1, 9, 2500)[:, None]
    bias = torch.randn(2500, generator=generator) if biased else None
    logits = 0.7 * (hidden @ weight.T + (0 if bias is None else bias))
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    expected = logits.logsumexp(dim=-1)
    found = LogNormaliser.apply(hidden, weight, bias, 0.7, cap)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn(5, generator=generator)
    wanted = torch.autograd.grad(expected, hidden, cotangent)[0]
    torch.testing.assert_close(torch.autograd.grad(found, hidden, cotangent)[0], wanted, rtol=1e-4, atol=1e-5)


# -- losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["labels", "answer"])
def test_the_loss_is_the_weighted_cross_entropy(backbone: Backbone, loss: Loss) -> None:
    targets = [answered(one, column, loss) for one, column in EXAMPLES[:3]]
    targets += [Target(one, (0.1, 0.2, 0.3, 0.4), 0.25) for one in LESSONS.prompts[:2]]
    expected, total = 0.0, 0.0
    for target in targets:
        log_probs = brute_force(backbone, target.prompt)
        if loss == "labels":
            log_probs = log_probs.log_softmax(dim=0)
        expected -= target.weight * float(torch.tensor(target.shares).double() @ log_probs)
        total += target.weight
    backbone.readout.lengths.longest(64)
    with attached(backbone.model, SPEC) as model:
        found = training_loss(backbone, model, targets, loss=loss)
    assert found.item() == pytest.approx(expected / total, rel=1e-5)


def test_a_prompt_may_have_fewer_labels_than_others_of_its_minibatch(backbone: Backbone) -> None:
    targets = [answered(prompt(5), 3), answered(prompt(9, LABELS[:2]), 1)]
    with attached(backbone.model, SPEC) as model:
        loss = training_loss(backbone, model, targets)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_only_the_right_label_is_read_for_its_answer() -> None:
    assert answered(*EXAMPLES[1], "answer").prompt.labels == (LABELS[3],)
    assert answered(*EXAMPLES[1], "labels").prompt is EXAMPLES[1][0]


@pytest.mark.parametrize(
    ("probs", "labels", "shares"),
    [
        ((0.97, 0.01, 0.01, 0.01), LABELS[:1], (1.0,)),
        ((0.3, 0.01, 0.66, 0.03), (LABELS[0], LABELS[2]), (0.3125, 0.6875)),
        ((0.4, 0.3, 0.2, 0.1), LABELS, (0.4, 0.3, 0.2, 0.1)),
    ],
)
def test_the_likeliest_labels_of_a_taught_text_are_read(
    probs: tuple[float, ...], labels: tuple[tuple[int, ...], ...], shares: tuple[float, ...]
) -> None:
    target = taught(prompt(5), np.array(probs), 0.5, "answer")
    assert target.prompt.labels == labels and target.weight == 0.5
    assert target.shares == pytest.approx(shares)


def test_of_many_labels_a_few_are_read() -> None:
    many = tuple((100 + label,) for label in range(77))
    assert len(taught(prompt(5, many), np.full(77, 1 / 77), 1.0, "answer").prompt.labels) == 5


# -- minibatches -------------------------------------------------------------------------------------------


def test_minibatches_mix_answered_and_taught_texts() -> None:
    spec = SPEC.model_copy(update={"taught_share": 0.5})
    parts = list(islice(target_minibatches(EXAMPLES, LESSONS, spec, 3), 15))
    for part in parts:
        assert [target.weight for target in part] == sorted((t.weight for t in part), reverse=True)
    seen = [target.prompt.item_id for part in parts for target in part if target.weight == 0.5]
    assert len(seen) == 2 * len(parts)
    assert {seen.count(one.item_id) for one in LESSONS.prompts} == {6}
    assert parts == list(islice(target_minibatches(EXAMPLES, LESSONS, spec, 3), 15))
    assert parts != list(islice(target_minibatches(EXAMPLES, LESSONS, spec, 4), 15))


@pytest.mark.parametrize(
    ("examples", "n_taught", "batch_size", "share", "expected"),
    [
        (100, 0, 8, 0.5, (8, 0)),
        (100, 2000, 8, 0.5, (4, 4)),
        (100, 2000, 8, 0.75, (2, 6)),
        (90, 10, 8, 0.75, (7, 1)),
        (100, 2000, 8, 1.0, (1, 7)),
        (100, 2000, 1, 0.5, (1, 1)),
    ],
)
def test_parts_of_a_minibatch(
    examples: int, n_taught: int, batch_size: int, share: float, expected: tuple[int, int]
) -> None:
    spec = SPEC.model_copy(update={"batch_size": batch_size, "taught_share": share})
    assert minibatch_parts(examples, n_taught, spec) == expected


def test_steps_are_passes_over_what_people_answered() -> None:
    assert step_count(100, SPEC) == 50
    assert step_count(100, SPEC, 2000) == 100
    assert step_count(100, SPEC.model_copy(update={"min_steps": 300}), 2000) == 300


# -- training ----------------------------------------------------------------------------------------------


def trained(
    backbone: Backbone, spec: AdapterSpec = SPEC, lessons: TaughtPrompts | None = None
) -> dict[str, torch.Tensor]:
    tensors, _ = train(backbone, EXAMPLES, spec, seed=1, parent=None, advance=lambda n: None, taught=lessons)
    return dict(tensors)


@pytest.mark.parametrize("loss", ["labels", "answer"])
def test_a_model_learns_what_it_is_taught(backbone: Backbone, loss: Loss) -> None:
    """It learns labels of texts that nobody labelled, which it does not know without being taught."""
    single = ((85,), (297,), (71,), (12,))
    columns = [2, 0, 3, 1, 2]
    prompts = [prompt(length, single) for length in (7, 8, 10, 12, 13)]
    lessons = TaughtPrompts(prompts, np.full((5, 4), 0.02) + 0.92 * np.eye(4)[columns], 1.0)
    spec = SPEC.model_copy(update={"min_steps": 60, "learning_rate": 2e-2, "loss": loss})

    def nll(taught: TaughtPrompts | None) -> float:
        weights = trained(backbone, spec, taught)
        with attached(backbone.model, spec) as model, torch.no_grad():
            for name, parameter in model.named_parameters():
                if (short := name.replace(".default", "")) in weights:
                    parameter.copy_(weights[short])
            log_probs = label_log_probs(backbone.readout, collate(prompts, backbone.readout))
            return -float(log_probs[range(5), columns].mean())

    assert nll(lessons) < 0.5 < 1.0 < nll(None)


def test_the_average_is_the_mean_of_the_last_steps_weights(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: object) -> object:
        out = step(self, *args)
        parameters = [p for group in self.param_groups for p in group["params"]]
        seen.append({str(k): p.detach().clone() for k, p in enumerate(parameters)})
        return out

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    spec = SPEC.model_copy(update={"min_steps": 10, "average": 0.3})
    averaged = trained(backbone, spec)
    assert len(seen) == 10
    means = [torch.stack([each[key] for each in seen[7:]]).mean(dim=0) for key in seen[0]]
    sums = sorted(float(value.double().square().sum()) for value in averaged.values())
    assert sums == pytest.approx(sorted(float(m.double().square().sum()) for m in means), rel=1e-5)
    last = sorted(float(value.double().square().sum()) for value in seen[-1].values())
    assert sums != pytest.approx(last, rel=1e-4)


def test_without_average_the_last_weights_stay(backbone: Backbone) -> None:
    plain = trained(backbone)
    again = trained(backbone, SPEC.model_copy(update={"average": 0.0}))
    assert all(torch.equal(plain[name], again[name]) for name in plain)
