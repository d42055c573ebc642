"""Labels read best first: never farther from the exact prediction than the tolerance, and the same for each prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.label_search import (
    FEWEST_NODES,
    NODES_AT_ONCE,
    bare,
    bfloat16_products,
    collate_for_search,
    search_labels,
)
from star_al.models.label_tree import label_tree
from star_al.models.likelihood import label_log_probs
from star_al.models.prompts import Prompt
from star_al.ports import ignore
from star_al.types import FloatArray, Item
from support.posteriors import EVERY, fit, items, learner
from support.small_models import plain_log_probs
from support.tiny_model import ARCHITECTURES, build_tiny_model

PREFIX = tuple(range(20, 36))


def spelled(seed: int, n: int = 40) -> tuple[tuple[int, ...], ...]:
    """Return distinct labels of one to six tokens, many of which begin alike, and none of which begins another."""
    generator = np.random.default_rng(seed)
    found: set[tuple[int, ...]] = set()
    while len(found) < n:
        length = int(generator.integers(0, 6))
        found.add((*generator.integers(60, 64, size=length).tolist(), int(generator.integers(70, 90))))
    return tuple(sorted(found, key=lambda label: label[::-1]))


def prompts(n: int = 5, *, same_labels: bool = True, start: tuple[int, ...] = ()) -> list[Prompt]:
    generator = np.random.default_rng(0)
    return [
        Prompt(
            f"i{index}",
            start + tuple(generator.integers(3, 300, size=3 + 4 * index).tolist()),
            spelled(0 if same_labels else index, 40 if same_labels else 20 + 7 * index),
        )
        for index in range(n)
    ]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("m") / request.param
    build_tiny_model(folder, architecture=request.param, spread=0.3)
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def searched(
    backbone: Backbone, of: Sequence[Prompt], tolerance: float, prefix: tuple[int, ...] = ()
) -> FloatArray:
    readout = backbone.readout
    assert readout.supports_search
    with torch.inference_mode():
        batch = collate_for_search(of, readout, prefix)
        cache = readout.read_prefix(batch.prefix) if batch.prefix else None
        return np.asarray(search_labels(readout, batch, cache, tolerance).log_softmax(-1))


def distances(found: FloatArray, exact: FloatArray) -> FloatArray:
    """Total variation distances of predictions, (N,)."""
    found_N: FloatArray = 0.5 * np.abs(np.exp(found) - np.exp(exact)).sum(axis=-1)
    return found_N


@pytest.mark.parametrize("same_labels", [True, False], ids=["same labels", "labels of their own"])
def test_without_tolerance_all_labels_are_read(backbone: Backbone, same_labels: bool) -> None:
    of = prompts(same_labels=same_labels)
    found = searched(backbone, of, 0.0)
    for row, exact, one in zip(found, whole(backbone, of), of, strict=True):
        n = len(one.labels)
        np.testing.assert_allclose(row[:n], exact[:n], atol=3e-5)
        np.testing.assert_allclose(row[:n], plain_log_probs(backbone.model, [one])[0], atol=3e-5)
        assert (row[n:] == -np.inf).all()


def whole(backbone: Backbone, of: Sequence[Prompt]) -> FloatArray:
    with torch.inference_mode():
        return np.asarray(label_log_probs(backbone.readout, collate(of, backbone.readout)))


@pytest.mark.parametrize("tolerance", [0.3, 0.03, 0.001])
def test_a_prediction_is_within_the_tolerance(backbone: Backbone, tolerance: float) -> None:
    of = prompts()
    found, exact = searched(backbone, of, tolerance), whole(backbone, of)
    assert np.isfinite(found).all()
    assert (distances(found, exact) <= tolerance).all()
    unread = np.abs(found - exact).max(axis=1) > 1e-3
    assert unread.any() or tolerance < 0.03  # a search that reads all of them proves nothing


@pytest.mark.parametrize("tolerance", [0.3, 0.01])
def test_equals_a_naive_search(backbone: Backbone, tolerance: float) -> None:
    of = prompts(4, same_labels=False)
    found = searched(backbone, of, tolerance)
    for row, one in zip(found, of, strict=True):
        expected = naive(backbone, one, tolerance)
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-4)


def naive(backbone: Backbone, one: Prompt, tolerance: float) -> FloatArray:
    """Search with a plain forward pass for each node; dictionaries by the tokens of labels."""

    def after(tokens: tuple[int, ...]) -> FloatArray:
        with torch.no_grad():
            logits_V = backbone.model(torch.tensor([[*one.tokens, *tokens]])).logits[0, -1]
            return np.asarray(logits_V.double())

    first = after(())
    bounds = {label: first[label[0]] for label in one.labels}
    read, losses = dict.fromkeys(one.labels, 1), []
    nodes = list(label_tree(one.labels).edges)
    number = {
        label[:depth]: node
        for label, path in zip(one.labels, nodes, strict=True)
        for depth, (node, _) in enumerate(path)
    }
    while True:
        waiting = [label for label in one.labels if read[label] < len(label)]
        mass = sum(math.exp(bounds[label]) for label in waiting)
        if mass <= tolerance * sum(map(math.exp, bounds.values())):
            break
        shares: dict[tuple[int, ...], float] = {}
        for label in waiting:
            start = label[: read[label]]
            shares[start] = shares.get(start, 0.0) + math.exp(bounds[label])
        for start in sorted(shares, key=lambda start: (-shares[start], number[start]))[:NODES_AT_ONCE]:
            logits = after(start)
            log_probs = logits - np.logaddexp.reduce(logits)
            for label in waiting:
                if label[: read[label]] == start:
                    term = log_probs[label[len(start)]]
                    losses.append(term)
                    bounds[label] += term
                    read[label] += 1
    for label in one.labels:
        bounds[label] += 0.5 * (np.mean(losses) if losses else 0.0) * (len(label) - read[label])
    scores = np.array([bounds[label] for label in one.labels])
    found: FloatArray = scores - np.logaddexp.reduce(scores)
    return found


def test_what_is_read_does_not_depend_on_the_neighbours(backbone: Backbone) -> None:
    of = prompts(same_labels=False)
    together = searched(backbone, of, 0.03)
    for row, one in zip(together, of, strict=True):
        (alone,) = searched(backbone, [one], 0.03)
        np.testing.assert_allclose(row[: len(alone)], alone, atol=3e-5)


def test_behind_a_shared_prefix(backbone: Backbone) -> None:
    of = prompts(3, start=PREFIX)
    assert collate_for_search(of, backbone.readout, PREFIX).prefix == PREFIX
    found = searched(backbone, of, 0.03, PREFIX)
    np.testing.assert_allclose(found, searched(backbone, of, 0.03), atol=3e-5)


def test_few_labels_are_left_unread_in_vain(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are read a few at a time, so at most so many too many for each prompt."""
    of, columns = prompts(1), []
    original = type(backbone.readout).extend

    def extend(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        columns.append(ids.shape[1])
        return original(backbone.readout, ids, *rest)

    monkeypatch.setattr(backbone.readout, "extend", extend)
    searched(backbone, of, 0.3)
    assert set(columns[1:]) == {NODES_AT_ONCE}
    assert sum(columns[1:]) < len(label_tree(of[0].labels))


def test_nan_is_not_searched_for_ever(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone.readout, "logit_scale", math.nan)
    assert np.isnan(searched(backbone, prompts(2), 0.1)).all()


def test_products_of_bfloat16_are_exact(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    readout = load_backbone(str(folder), revision=None, dtype="bfloat16", device="cpu").readout
    hidden = torch.randn(9, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    before = torch.get_float32_matmul_precision()
    expected = readout.log_normalisers(hidden)
    with bfloat16_products(readout, hidden):
        assert torch.get_float32_matmul_precision() == "medium"
        torch.testing.assert_close(readout.log_normalisers(hidden), expected, atol=1e-5, rtol=1e-6)
    with bfloat16_products(readout, hidden.float()):  # would be rounded
        assert torch.get_float32_matmul_precision() == before
    assert torch.get_float32_matmul_precision() == before


# -- in a learner --------------------------------------------------------------------------------------------

WORDS = ("cup", "chip tech", "tech cup sport", "sport chip tech cup sport cup")
MANY = [f"{letter} {words}" for words in WORDS for letter in "abcdefgh"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("m") / "llama", spread=0.3)


def many_labels(folder: Path, kind: str = "mc_dropout", **sections: Any) -> Any:
    task = {"kind": "classification", "instruction": "Name the topic.", "labels": MANY}
    one = learner(folder, EVERY[kind], task=task, **sections)
    assert len(label_tree(one.prompts.encode(items(1)[0]).labels)) >= FEWEST_NODES
    return one


def trained(one: Any, folder: Path) -> Path:
    folder.mkdir()
    labelled = [(item, MANY[index]) for index, item in enumerate(items())]
    one.fit(labelled, seed=0, folder=folder, parent=None, advance=ignore)
    return folder


def predicted(
    one: Any, folder: Path | None, tolerance: float, of: Sequence[Item] | None = None
) -> FloatArray:
    samples = range(one._spec.posterior.samples)
    found = one.predict(
        folder, of or items(), draws=samples, seed=0, advance=ignore, tolerance=tolerance
    ).log_probs_N_K_C
    assert isinstance(found, np.ndarray)
    return found


def test_samples_of_a_posterior_are_within_the_tolerance(model: Path, tmp_path: Path) -> None:
    one = many_labels(model)
    folder = trained(one, tmp_path / "a")
    exact, found = predicted(one, folder, 0.0), predicted(one, folder, 0.05)
    assert (distances(found, exact) <= 0.05).all()
    assert not np.allclose(found, exact, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "sections"),
    [("clora", {}), ("mc_dropout", {"adapter": {"layers": 1}})],
    ids=["weights that depend on the text", "frozen blocks"],
)
def test_what_cannot_be_continued_is_read_whole(
    model: Path, tmp_path: Path, kind: str, sections: dict[str, Any]
) -> None:
    one = many_labels(model, kind, **sections)
    folder = trained(one, tmp_path / "a")
    assert np.array_equal(predicted(one, folder, 0.05), predicted(one, folder, 0.0))


def test_the_base_model_and_few_labels_are_read_whole(model: Path, tmp_path: Path) -> None:
    one, few = many_labels(model), learner(model, EVERY["mc_dropout"])
    assert np.array_equal(predicted(one, None, 0.05), predicted(one, None, 0.0))
    folder = fit(few, tmp_path / "few")
    assert np.array_equal(predicted(few, folder, 0.05), predicted(few, folder, 0.0))


def test_smaller_batches_give_the_same_answer(model: Path, tmp_path: Path) -> None:
    """Where a batch does not fit into memory, it is halved; the labels that are read stay the same."""
    whole_batch, halved = (many_labels(model, model={"batch_tokens": size}) for size in (2000, 2000))
    folder = trained(whole_batch, tmp_path / "a")
    expected = predicted(whole_batch, folder, 0.05)
    failed: list[int] = []

    def small_device(_: Any, args: Any, kwargs: Any) -> None:
        rows = len(kwargs["input_ids"])
        if rows > 3:
            failed.append(rows)
            raise torch.OutOfMemoryError

    hook = halved.backbone.readout.body.register_forward_pre_hook(small_device, with_kwargs=True)
    try:
        found = predicted(halved, folder, 0.05)
    finally:
        hook.remove()
    assert failed
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_options_are_searched_too(model: Path, tmp_path: Path) -> None:
    task = {"kind": "multiple_choice", "labels": (), "answer": "text"}
    one = learner(
        model,
        EVERY["mc_dropout"],
        task=task,
        data={"path": "pool.jsonl", "options": "options"},
        model={"max_tokens": 200},
    )
    questions = [
        Item(
            f"q{index}",
            f"Which one? {index}",
            options=tuple(f"{n} " + "cup " * n for n in range(1, 9)),
        )
        for index in range(6)
    ]
    folder = tmp_path / "a"
    folder.mkdir()
    labelled = [(question, index) for index, question in enumerate(questions)]
    one.fit(labelled, seed=0, folder=folder, parent=None, advance=ignore)
    exact, found = (predicted(one, folder, tolerance, questions) for tolerance in (0.0, 0.05))
    assert (distances(found, exact) <= 0.05).all() and not np.array_equal(found, exact)


def test_a_bare_prompt_has_no_label_behind_it() -> None:
    one = prompts(1)[0]
    assert len(bare(one)) == len(one.tokens) < len(one)
