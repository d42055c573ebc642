"""Adapters in the last blocks only, with the activations below them computed once."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import psutil
import pytest
import torch

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError
from star_al.models import activation_cache
from star_al.models.activation_cache import ActivationCache
from star_al.models.adapter_file import load_adapter
from star_al.models.backbone import load_backbone
from star_al.models.collate import collate
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_probs
from star_al.models.limited_folder import LEFT_FREE
from star_al.models.prompts import Prompt
from star_al.models.target_layers import transformer_blocks
from star_al.models.trunk import Trunk
from star_al.task import closed, make_task
from star_al.types import FloatArray, Item
from support import posteriors
from support.posteriors import EVERY
from support.tiny_model import ARCHITECTURES, build_tiny_model

LABELS = ("sport", "sports", "tech", "politics")
TREE = ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71, 349))


def ignore(*_: Any) -> None:
    """Ignore the progress."""


def learner(
    folder: Path, cache: Path | None, *, layers: int | None = 1, say: Any = ignore, **sections: Any
) -> LoraLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": LABELS},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120}
            | sections.pop("model", {}),
            "adapter": {"layers": layers, "target_modules": "all-linear", "epochs": 2, "dropout": 0.2},
            "annotator": {"kind": "oracle", "gold": "gold"},
            **sections,
        }
    )
    method = posterior_method(spec.posterior)
    return LoraLearner(closed(make_task(spec.task)), spec, str(folder), method, cache=cache, say=say)


def items(n: int = 7) -> list[Item]:
    words = ("striker scored", "cup final", "phone chip", "minister election")
    return [Item(f"id{index:03d}", f"The {words[index % 4]} " * (1 + index % 5)) for index in range(n)]


def fitted(one: LoraLearner, folder: Path) -> Path:
    folder.mkdir()
    examples = [(item, LABELS[index % 4]) for index, item in enumerate(items(6))]
    one.fit(examples, seed=0, folder=folder, parent=None, advance=ignore)
    return folder


def scores(one: LoraLearner, folder: Path | None) -> FloatArray:
    found = one.predict(folder, items(), draws=range(2), seed=3, advance=ignore)
    return found.log_probs_N_K_C


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def compute_whole(one: LoraLearner) -> None:
    """Let the learner compute all blocks each time."""
    one.model._open_trunk = lambda: None  # type: ignore[method-assign]


def no_frozen_block_may_run(one: LoraLearner) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a frozen block was computed")

    one.backbone.readout.lengths.longest(256)  # found out once, on the whole model
    for block in list(transformer_blocks(one.backbone.model)[1])[:-1]:
        for part in block.children():
            part.register_forward_pre_hook(refuse)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_the_last_blocks_are_adapted(architecture: str, tmp_path: Path) -> None:
    """This also holds when peft reads the files back."""
    one = learner(build_tiny_model(tmp_path / "m", architecture=architecture), None)
    folder = fitted(one, tmp_path / "a")
    name, _ = transformer_blocks(one.backbone.model)
    names = load_adapter(folder).a
    assert len(names) >= 4 and all(layer.startswith(f"{name}.1.") for layer in names)
    read = peft.PeftModel.from_pretrained(one.backbone.model, str(folder))
    found = {layer for layer, _ in read.named_modules() if layer.endswith("lora_A")}
    assert found == {f"base_model.model.{layer}.lora_A" for layer in names}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_adapter_and_scores_with_and_without_kept_activations(
    architecture: str, tmp_path: Path
) -> None:
    """Fresh, cached and reloaded activations are bitwise equal; those of the whole model are close."""
    folder = build_tiny_model(tmp_path / "m", architecture=architecture)
    whole = learner(folder, None)
    compute_whole(whole)
    adapters, found = [], []
    for name, cache in [("anew", None), ("kept", tmp_path / "c"), ("read", tmp_path / "c")]:
        one = learner(folder, cache)
        assert one.model.inference.trunk is not None
        if name == "kept":
            one.base_predict(items(5)[::-1], ignore)  # from other batches
        if name == "read":
            no_frozen_block_may_run(one)
        adapter = fitted(one, tmp_path / name)
        adapters.append((adapter / "adapter_model.safetensors").read_bytes())
        found.append(scores(one, adapter))
        np.testing.assert_allclose(found[-1], scores(whole, adapter), atol=1e-5)
    assert adapters[0] == adapters[1] == adapters[2]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", EVERY)
def test_every_posterior_starts_at_the_border(name: str, model: Path, tmp_path: Path) -> None:
    """Training and scoring on cached activations compute no frozen block and give the scores of the whole model."""
    adapter = {"layers": 1, "target_modules": "all-linear"}
    one, whole = (posteriors.learner(model, EVERY[name], adapter=adapter) for _ in range(2))
    one.model._cache = tmp_path / "c"
    compute_whole(whole)
    one.base_predict(posteriors.items(), ignore)
    no_frozen_block_may_run(one)
    folder = posteriors.fit(one, tmp_path / "a")
    found = posteriors.predict(one, folder)
    np.testing.assert_allclose(found, posteriors.predict(whole, folder), atol=1e-5, rtol=1e-5)
    assert np.ptp(found, axis=1).max() > 0 or name == "map"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ragged_labels_and_lengths(architecture: str, packed: bool, tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m", architecture=architecture)
    readout = load_backbone(str(folder), revision=None, dtype="float32", device="cpu").readout
    readout.supports_packing = packed
    prompts = [
        Prompt("a", tuple(range(30, 41)), TREE),
        Prompt("b", tuple(range(90, 95)), ((7,), (8,))),
        Prompt("c", tuple(range(60, 69)), TREE[:2]),
    ]
    blocks = readout.body.get_submodule("layers" if hasattr(readout.body, "layers") else "h")
    files = kept_files(tmp_path)
    with torch.inference_mode():
        expected = label_log_probs(readout, collate(prompts, readout))
    for kept in ([prompts[1]], prompts, prompts[::-1]):  # none, one and all of the batch there before
        trunk = Trunk(readout, blocks, 1, files)
        collate(kept, readout, trunk)
        batch = collate(prompts, readout, trunk)
        trunk._compute = None  # type: ignore[assignment,method-assign]  # scoring computes no frozen block
        with torch.inference_mode():
            actual = label_log_probs(readout, batch)
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    assert len(list(tmp_path.glob("*/*.bin"))) == 3


def test_training_mode_does_not_reach_what_is_kept(tmp_path: Path) -> None:
    """GPT-2 has its own dropout, which is on in training."""
    folder = build_tiny_model(tmp_path / "m", architecture="gpt2")
    trained, asked = (learner(folder, tmp_path / name) for name in "ab")
    trained.fit([(item, "tech") for item in items()], seed=0, folder=tmp_path, parent=None, advance=ignore)
    asked.base_predict(items(), ignore)
    kept = {path.name: path for path in (tmp_path / "a").rglob("*.bin")}
    assert len(kept) == len(items())
    for path in (tmp_path / "b").rglob("*.bin"):
        again, once = (np.fromfile(one, np.float32, offset=16) for one in (path, kept[path.name]))
        np.testing.assert_allclose(again, once, atol=1e-5)


def test_a_model_that_cannot_be_started_at_a_block_is_computed_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores(learner(model, None), None)
    monkeypatch.setattr(Trunk, "skipping", lambda self, values: self._readout.body.get_submodule("absent"))
    said: list[str] = []
    one = learner(model, tmp_path / "c", say=said.append)
    np.testing.assert_allclose(scores(one, None), expected, atol=1e-5)
    assert one.model.inference.trunk is None and len(said) == 1 and "all of it is computed" in said[0]


@pytest.mark.parametrize("layers", [2, None])
def test_nothing_is_frozen_when_all_blocks_are_adapted(
    model: Path, tmp_path: Path, layers: int | None
) -> None:
    one = learner(model, tmp_path / "c", layers=layers)
    scores(one, None)
    assert one.model.inference.trunk is None and not (tmp_path / "c").exists()


def test_more_layers_than_blocks(model: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter.layers: 3, but the model has 2 blocks"):
        learner(model, None, layers=3).check()


def test_each_model_and_dtype_has_its_own_folder(model: Path, tmp_path: Path) -> None:
    for sections in ({}, {"model": {"dtype": "bfloat16"}}, {"model": {"max_tokens": 119}}):
        scores(learner(model, tmp_path, **sections), None)
    assert len(list(tmp_path.iterdir())) == 3


# -- files -------------------------------------------------------------------------------------------------

KEY, OTHER, THIRD = ("0123456789abcdef", "fedcba9876543210", "0" * 16)
VALUES = torch.arange(15.0).view(5, 3)
SIZE = 16 + 4 * VALUES.numel()  # of their file


def kept_files(
    root: Path, key: str = KEY, *, dtype: torch.dtype = torch.float32, limit: int = 10**6, say: Any = ignore
) -> ActivationCache:
    return ActivationCache(root, key, dtype, limit, say)


def names(root: Path, key: str = KEY) -> list[str]:
    return sorted(path.name for path in (root / key).glob("*"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_written_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(5, 3).to(dtype)
    kept_files(tmp_path, dtype=dtype).write("a", values)
    read = kept_files(tmp_path, dtype=dtype).read("a", 5)
    assert read is not None and torch.equal(read, values) and read.dtype == dtype


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "foreign", "other rows"])
def test_damaged_files_are_missing_and_rebuilt(tmp_path: Path, damage: str) -> None:
    files = kept_files(tmp_path)
    files.write("a", VALUES)
    path = tmp_path / KEY / "a.bin"
    content = path.read_bytes()
    broken = {"empty": b"", "short": content[:-4], "foreign": b"something else, and long enough"}
    if damage == "other rows":
        assert files.read("a", 7) is None
        return
    path.write_bytes(broken.get(damage, content[:-1] + bytes([content[-1] ^ 1])))
    assert files.read("a", 5) is None
    files.write("a", VALUES)
    read = files.read("a", 5)
    assert read is not None and torch.equal(read, VALUES)


def test_what_is_read_is_the_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process hashes a file once and leaves none open; changes to a tensor stay in memory."""
    kept_files(tmp_path).write("a", VALUES)
    files = kept_files(tmp_path)
    hashed: list[int] = []
    digest = activation_cache._digest

    def counted(values: torch.Tensor) -> bytes:
        hashed.append(len(values))
        return digest(values)

    monkeypatch.setattr(activation_cache, "_digest", counted)
    before = psutil.Process().num_fds()
    read = [files.read("a", 5) for _ in range(3)]
    assert hashed == [4 * VALUES.numel()] and psutil.Process().num_fds() == before
    if Path("/proc/self/maps").exists():
        assert Path("/proc/self/maps").read_text().count(str(tmp_path / KEY / "a.bin")) == 3
    assert read[0] is not None and read[1] is not None
    read[0].zero_()
    assert torch.equal(read[1], VALUES)


def test_the_limit_is_of_all_folders_and_processes(tmp_path: Path) -> None:
    """Three folders are in use, one by two processes; each finds the others' files only on disk."""
    said: list[str] = []
    users = [kept_files(tmp_path, key, limit=9 * SIZE, say=said.append) for key in (KEY, OTHER, THIRD, KEY)]
    for number in range(4):
        for index, files in enumerate(users):
            files.write(f"{index}-{number}", VALUES)
    assert len(list(tmp_path.glob("*/*"))) == 9 and len(said) == len(users)


def test_a_long_run_passes_the_limit_by_little(tmp_path: Path) -> None:
    """Files are not counted at every write; here two processes write in turn."""
    limit = 1000 * SIZE
    users = [kept_files(tmp_path, limit=limit) for _ in range(2)]
    for number in range(600):
        for index, files in enumerate(users):
            files.write(f"{index}-{number}", VALUES)
    used = sum(path.stat().st_size for path in tmp_path.glob("*/*"))
    assert 0.99 * limit <= used <= 1.01 * limit


def test_folders_that_nobody_uses_make_room(tmp_path: Path) -> None:
    """Such are those of a run with other threads, or of another campaign in the same artefact folder."""
    said: list[str] = []
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("not ours")
    for key in (OTHER, THIRD):
        files = kept_files(tmp_path, key)
        files.write("old", VALUES)
        if key == OTHER:
            del files  # its process has ended
    running = files
    mine = kept_files(tmp_path, limit=4 * SIZE, say=said.append)
    mine.write("a", VALUES)
    assert names(tmp_path, OTHER) == ["old.bin"]  # there is room: it may be used again
    for name in "bcd":
        mine.write(name, VALUES)
    assert not (tmp_path / OTHER).exists() and names(tmp_path, THIRD) == ["old.bin"]
    assert names(tmp_path) == ["a.bin", "b.bin"] and names(tmp_path, "notes") == ["mine.txt"]
    assert len(said) == 1 and running.read("old", 5) is not None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """As on a full disk, the write fails when part of the file exists."""
    said: list[str] = []
    files = kept_files(tmp_path, say=said.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        files.write("a", VALUES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    files.write("b", VALUES)
    assert names(tmp_path) == [] and len(said) == 1 and "cannot be written" in said[0]


def test_a_small_disk_keeps_room_for_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full up to the reserve, and then has room for two files more."""
    said: list[str] = []
    free = [LEFT_FREE + SIZE // 2]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    kept_files(tmp_path, say=said.append).write("a", VALUES)
    assert names(tmp_path) == [] and len(said) == 1 and "would leave less than 2 GB free" in said[0]
    free[0] = LEFT_FREE + 2 * SIZE
    kept_files(tmp_path).write("a", VALUES)
    assert len(names(tmp_path)) == 1


def test_the_limit_holds_and_is_reported_once(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    limit = 20_000
    one = learner(model, tmp_path / "c", say=said.append, model={"trunk_cache_gb": limit / 1e9})
    expected = scores(learner(model, None), None)
    np.testing.assert_allclose(scores(one, None), expected, atol=1e-5)
    np.testing.assert_allclose(scores(one, None), expected, atol=1e-5)
    sizes = [path.stat().st_size for path in (tmp_path / "c").rglob("*.bin")]
    assert 0 < sum(sizes) <= limit and len(sizes) < len(items())
    assert len(said) == 1 and "model.trunk_cache_gb = 2e-05" in said[0]


def test_another_key_s_activations_count_or_go(model: Path, tmp_path: Path) -> None:
    """Another dtype's files count while their learner lives, and make room when it is gone."""
    limit = {"trunk_cache_gb": 20_000 / 1e9}
    first = learner(model, tmp_path, model=limit)
    scores(first, None)
    (folder,) = tmp_path.iterdir()
    second = learner(model, tmp_path, model={**limit, "dtype": "bfloat16"})
    scores(second, None)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 20_000 and folder.exists()
    del first
    gc.collect()
    scores(learner(model, tmp_path, model={**limit, "dtype": "bfloat16"}), None)
    assert not folder.exists() and sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 20_000


def test_a_folder_that_cannot_be_written_is_reported_once(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "c").write_text("a file where the folder belongs")
    one = learner(model, tmp_path / "c", say=said.append)
    np.testing.assert_allclose(scores(one, None), scores(learner(model, None), None), atol=1e-5)
    assert len(said) == 1 and "cannot be written" in said[0]
