"""Several processes train the adapter that one trains, and parts of a minibatch have the gradient of the whole."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import LoraConfig
from torch import Tensor

from star_al.errors import ModelError
from star_al.models.learner import LoraLearner
from star_al.models.lora import attached, lora_layers
from star_al.models.parallel.group import Group
from star_al.models.parallel.launch import TrainingProcesses, processes_for
from star_al.models.posterior.ensemble import FunctionDecay
from star_al.models.targets import Target, answered
from star_al.models.train import Trained, train
from star_al.models.training_loss import add_gradients
from star_al.ports import ignore
from support.posteriors import LABELS, fit, items, learner
from support.tiny_model import build_tiny_model

WHOLE = {"dropout": 0.0, "batch_size": 4, "epochs": 2, "learning_rate": 1e-3}
UNEVEN = 9
"""Texts; the last minibatch of an epoch has a single one, so that one of two processes has none."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model") / "m")


def divided(model: Path, **training: Any) -> LoraLearner:
    return learner(model, adapter={**WHOLE, "training": training})


# -- parts of a minibatch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "accumulated"), [(1, 3), (2, 1), (2, 2), (3, 2)])
def test_parts_have_the_gradient_of_the_whole(model: Path, size: int, accumulated: int) -> None:
    """With five texts, weights of their own and a penalty; six parts leave one empty."""
    one = divided(model)
    prompts = one.model.encode(items(5))
    targets = [
        Target(prompt, answered(prompt, place % 4).shares, 1.0 + place)
        for place, prompt in enumerate(prompts)
    ]
    with torch.random.fork_rng(devices=[]), attached(one.backbone.model, one._spec.adapter) as adapted:
        decay = FunctionDecay(0.1)
        decay.attach(adapted)
        for layer in lora_layers(adapted).values():
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)

        def gradients(parts: list[tuple[Any, float]]) -> tuple[float, dict[str, Tensor]]:
            adapted.zero_grad()
            losses = [
                add_gradients(one.backbone, adapted, part, share, extension=decay) for part, share in parts
            ]
            found = {name: p.grad.clone() for name, p in adapted.named_parameters() if p.grad is not None}
            return float(sum(losses)), found

        whole, expected = gradients([(targets, 1.0)])
        groups = [Group(rank, size) for rank in range(size)]
        loss, summed = gradients([part for group in groups for part in group.own_parts(targets, accumulated)])
    assert loss == pytest.approx(whole, rel=1e-5)
    assert summed.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(summed[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_trains_the_same_bytes(model: Path, tmp_path: Path, dropout: float) -> None:
    fits = [
        fit(
            learner(
                model,
                adapter={**WHOLE, "dropout": dropout, "training": {"gradient_checkpointing": recomputes}},
            ),
            tmp_path / str(recomputes),
        )
        for recomputes in (False, True)
    ]
    assert_same_bytes(*fits)


def test_checkpointing_recomputes_blocks(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = []
    for recomputes in (False, True):
        one, runs = divided(model, gradient_checkpointing=recomputes), [0]
        block = one.backbone.model.model.layers[0]
        forward = block.mlp.forward

        def counted(*arguments: Any, runs: list[int] = runs, forward: Any = forward) -> Any:
            runs[0] += torch.is_grad_enabled()
            return forward(*arguments)

        monkeypatch.setattr(block.mlp, "forward", counted)
        fit(one, tmp_path / str(recomputes), n=4)
        counts.append(runs[0])
        assert not block.gradient_checkpointing
    assert counts[1] == counts[0] + 2, "each of two steps computes the block again for the gradient"


# -- processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(model: Path, strategy: str) -> None:
    one = divided(model, processes=2, strategy=strategy)
    alone, _ = trained(one, partial(train, one.backbone))
    processes = processes_for(one.backbone, one._spec.adapter.training)
    assert processes is not None
    with processes:
        (first, config), (again, _) = trained(one, processes.train), trained(one, processes.train)
        assert {place.laddr.ip for place in listening()} <= {"127.0.0.1"}, "nobody else can join"
        assert isinstance(config, LoraConfig) and config.r == one._spec.adapter.rank
        for name, tensor in alone.items():
            torch.testing.assert_close(first[name], tensor, rtol=1e-3, atol=1e-5)
            assert torch.equal(first[name], again[name])
        {"ddp": one_is_killed, "fsdp": their_parent_dies}[strategy](one, processes)
    assert not children()


def one_is_killed(one: LoraLearner, processes: TrainingProcesses) -> None:
    with pytest.raises(ModelError, match=r"training process 2 of 2 was ended by SIGKILL"):
        trained(one, processes.train, advance=lambda _: children()[1].kill())
    assert not children(), "the other one, which waits for it, was ended"


def their_parent_dies(_: LoraLearner, processes: TrainingProcesses) -> None:
    for process in processes._running:
        assert process._process.stdin is not None
        process._process.stdin.close()  # as the system does
        assert process._process.wait(60) == 1


def trained(one: LoraLearner, fit_: Any, advance: Any = ignore) -> Trained:
    examples = [(prompt, place % len(LABELS)) for place, prompt in enumerate(one.model.encode(items(UNEVEN)))]
    found: Trained = fit_(examples, one._spec.adapter, seed=0, parent=None, advance=advance)
    return found


def listening() -> list[Any]:
    """Where this process and those that train for it listen."""
    found = [
        place
        for process in (psutil.Process(), *children())
        for place in process.net_connections(kind="tcp")
        if place.status == psutil.CONN_LISTEN
    ]
    assert found
    return found


def children() -> list[psutil.Process]:
    found = [
        child for child in psutil.Process().children() if "star_al.models.parallel.worker" in child.cmdline()
    ]
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


def assert_same_bytes(one: Path, other: Path) -> None:
    names = ["adapter_model.safetensors", "adapter_config.json"]
    assert [(one / name).read_bytes() for name in names] == [(other / name).read_bytes() for name in names]


# -- refusals ----------------------------------------------------------------------------------------------


def test_too_few_gpus_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = divided(model, processes=4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    object.__setattr__(one.backbone, "device", torch.device("cuda:1"))
    with pytest.raises(ModelError, match=r"processes is 4, .* has 1 GPU from cuda:1 on\. Set it to 1\."):
        processes_for(one.backbone, one._spec.adapter.training)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"adapter": {"training": {"strategy": "fsdp"}}}, "needs processes of at least 2"),
        ({"adapter": {"batch_size": 3, "training": {"processes": 4}}}, "too small for 4 parts"),
        (
            {"adapter": {"training": {"processes": 2}}, "posterior": {"kind": "clora"}},
            "does not go with posterior.kind: clora",
        ),
        (
            {"adapter": {"training": {"processes": 2}}, "model": {"gpus": 2}},
            "does not go with model.gpus above 1",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(model: Path, sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        learner(model, **{"posterior": {"kind": "map"}, **sections})
