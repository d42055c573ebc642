"""The three data sets of ``bench_calibration.py`` and their splits by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from star_al import rng
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.data.item_labels import content_id
from star_al.data.item_reader import ImportCounts
from star_al.data.items import read_items
from star_al.data.source import locate, source_of
from star_al.task import make_task
from star_al.types import Item

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SETS = ("bbc", "obqa", "boolq")
MAX_TOKENS = {"bbc": 48, "obqa": 96, "boolq": 64}
"""Nearly all questions fit. News texts are cut short: that saves time and leaves errors to measure."""

PROMPTS: dict[str, dict[str, Any]] = {
    "bbc": {},
    "obqa": {"chat_template": False},
    "boolq": {"chat_template": False, "template": "{text}\n\nAnswer:"},
}
"""Task settings that differ from those in ``configs/``."""

Labelled: TypeAlias = tuple[Item, str]
"""An item and the value of its true label."""


@dataclass(frozen=True)
class Settings:
    """Settings of a study; a study folder never mixes cells of different settings."""

    model: str
    data: str
    test_size: int
    ood_size: int
    calibration: int
    samples: int
    epochs: int
    layers: int | None  # how many of the last blocks are adapted; None: all


@dataclass(frozen=True)
class Split:
    """Items of one seed; a smaller training set is a prefix of a larger one."""

    test: Sequence[Labelled]
    calibration: Sequence[Labelled]
    train: Sequence[Labelled]
    ood: Sequence[Item]

    @property
    def predicted(self) -> list[Item]:
        """All items that a cell predicts: test, calibration, ood."""
        return [*(item for item, _ in (*self.test, *self.calibration)), *self.ood]


class Study:
    """Campaign specs and items of all sets."""

    def __init__(self, settings: Settings, news: Path) -> None:
        self._settings = settings
        self.specs = {name: set_spec(name, settings) for name in SETS}
        self._sets = {name: test_and_rest(name, spec, settings, news) for name, spec in self.specs.items()}

    def split(self, name: str, seed: int, labels: int) -> Split:
        """Return the items for a set, seed and number of labels."""
        test, rest = self._sets[name]
        calibration, train = draw_labels(rest, self._settings.calibration, labels, seed)
        pairs = list(test.values())
        return Split(pairs, calibration, train, self._ood(name, [item for item, _ in pairs]))

    def _ood(self, name: str, own: Sequence[Item]) -> list[Item]:
        """Return test texts of the other sets, the same number of each, in this set's prompt."""
        others = [other for other in SETS if other != name]
        share = self._settings.ood_size // len(others)
        texts = [item.text for other in others for item, _ in list(self._sets[other][0].values())[:share]]
        return foreign_items(own, texts)


def set_spec(name: str, settings: Settings) -> CampaignSpec:
    """Return the campaign of ``configs/`` with the demo's short training and short plain prompts."""
    demo = load_campaign(CONFIGS / "demo.yaml").spec
    spec = demo if name == "bbc" else load_campaign(CONFIGS / f"{name}.yaml").spec
    tree = spec.model_dump()
    tree["task"] |= PROMPTS[name]
    tree["model"] |= {"name": settings.model, "dtype": "bfloat16", "max_tokens": MAX_TOKENS[name]}
    tree["adapter"] = demo.adapter.model_dump() | {"epochs": settings.epochs}
    if settings.layers is not None:
        tree["adapter"]["layers"] = settings.layers
    tree["posterior"] = {"kind": "map"}
    return CampaignSpec.model_validate(tree)


def read_labelled(path: Path, spec: CampaignSpec) -> dict[str, Labelled]:
    """Read the items of a file by id, each with its label."""
    source = source_of(locate(path.name, path.parent), spec, gold=None)
    source = replace(source, label=spec.gold_column)
    found: dict[str, Labelled] = {}
    for row in read_items(source, make_task(spec.task), ImportCounts()):
        found.setdefault(row.item.item_id, (row.item, str(row.given_label)))
    return found


def test_and_rest(
    name: str, spec: CampaignSpec, settings: Settings, news: Path
) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """Return the test items, which are the same for all seeds, and the items that may be trained on."""
    if name == "bbc":
        rest = read_labelled(news, spec)
        held_out = rest
    else:
        folder = Path(settings.data) / name
        rest, held_out = (read_labelled(folder / f"{part}.jsonl", spec) for part in ("train", "test"))
    chosen = rng.draw(held_out, settings.test_size, rng.derive_seed(0, 0, f"bench/test/{name}"))
    test = {item_id: held_out[item_id] for item_id in chosen}
    return test, {item_id: pair for item_id, pair in rest.items() if item_id not in test}


def draw_labels(
    rest: Mapping[str, Labelled], n_calibration: int, n_train: int, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """Draw a seed's calibration and training items; a larger number keeps the items already drawn."""
    of_calibration = rng.draw(rest, n_calibration, rng.derive_seed(seed, 0, "bench/calibration"))
    left = [item_id for item_id in rest if item_id not in set(of_calibration)]
    of_training = rng.draw(left, n_train, rng.derive_seed(seed, 0, "bench/train"))
    return [rest[item_id] for item_id in of_calibration], [rest[item_id] for item_id in of_training]


def foreign_items(own: Sequence[Item], texts: Sequence[str]) -> list[Item]:
    """Return items with ``texts`` and the options of ``own``."""
    pairs = [(text, own[number % len(own)].options) for number, text in enumerate(texts)]
    return [Item(content_id(text, options), text, options) for text, options in pairs]
