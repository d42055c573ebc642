"""Small records for tests of the store and the loop."""

from __future__ import annotations

import numpy as np

from star_al.ports import Store
from star_al.types import (
    Adapter,
    BasePrediction,
    CalibrationBin,
    Campaign,
    Dataset,
    Evaluation,
    Event,
    Item,
    JsonValue,
    Label,
    Lease,
    Query,
    Reason,
    Role,
    Round,
    RoundState,
    SourceItem,
)

LABELS = ("neg", "pos")
ADAPTER = Adapter("f" * 64, "lora", "adapters/f", 2**33)
FUNNY = 'naïve 😀 “quote” \\u0000 \t\n"'
"""Text that a store must give back as it was."""

EVENT = Event("select", "chose two items", 0, 1.5, {"items": ["a", "b"]})


def item(name: str, **changes: object) -> Item:
    """Return an item whose id is its name."""
    return Item(**{"item_id": name, "text": f"text of {name}", **changes})  # type: ignore[arg-type]


def source(name: str, label: JsonValue = None, **changes: object) -> SourceItem:
    """Return an item as read from a file."""
    return SourceItem(item(name, **changes), label)


def never(_: str) -> bool:
    """Answer that no controller is dead."""
    return False


def campaign(
    store: Store,
    sources: list[SourceItem],
    *,
    name: str = "one",
    tests: list[SourceItem] | None = None,
    held_out: dict[str, Role] | None = None,
) -> Campaign:
    """Create a campaign over these items."""
    dataset_id = _dataset(store, f"{name} data", sources)
    test_id = None if tests is None else _dataset(store, f"{name} test", tests)
    return store.create_campaign(
        name, dataset_id, {"name": name}, 7, held_out=held_out or {}, test_dataset_id=test_id
    )


def begin(
    store: Store, key: str = "key", name: str = "pool", importer: str = "me", *, dead: str = ""
) -> Dataset:
    """Begin a data set; ``dead`` names an importer that is no longer running."""
    return store.begin_dataset(key, name, importer, may_replace=lambda other: other == dead)


def _dataset(store: Store, key: str, sources: list[SourceItem]) -> int:
    dataset = begin(store, key, key)
    store.add_items(dataset.dataset_id, sources)
    return store.finish_dataset(dataset.dataset_id, n_duplicates=0, n_empty=0).dataset_id


def held(store: Store, campaign_: Campaign, owner: str = "me") -> Lease:
    """Take the campaign's lease for a minute."""
    return store.acquire_lease(campaign_.campaign_id, owner, 60.0, may_take=never)


def abc(store: Store, **changes: object) -> tuple[int, Lease]:
    """Create a campaign over the items a, b and c, and take its lease."""
    made = campaign(store, [source("a"), source("b"), source("c")], **changes)  # type: ignore[arg-type]
    return made.campaign_id, held(store, made)


def a_round(index: int = 0, **changes: object) -> Round:
    """Return a round that has just started."""
    values = {"index": index, "state": RoundState.STARTED, "seed": 11, "config": {"a": 1}, **changes}
    return Round(**values)  # type: ignore[arg-type]


def query(name: str, round_index: int = 0, rank: int = 1, **changes: object) -> Query:
    """Return a query for the item of this name."""
    values = {
        "query_id": f"q-{name}-1",
        "item_id": name,
        "round_index": round_index,
        "purpose": Role.POOL,
        "rank": rank,
        "reason": Reason("the model is unsure", "entropy", 0.5, 0.25, 0.75, 0.5, "pos", 0.6),
        **changes,
    }
    return Query(**values)  # type: ignore[arg-type]


def label(store: Store, lease: Lease, *labels: Label) -> None:
    """Label items as annotators do: ask each of them and settle its query."""
    queries = [query(one.item_id, attempt=9, query_id=f"q-{one.item_id}-label") for one in labels]
    store.add_queries(lease, queries, EVENT)
    store.close_queries(
        lease, [(asked.query_id, one) for asked, one in zip(queries, labels, strict=True)], []
    )


def evaluation(model: str = "adapted", scaling: str = "raw", **changes: object) -> Evaluation:
    """Return metrics over two labels."""
    values: dict[str, object] = {
        "model": model,
        "scaling": scaling,
        "split": Role.AUDIT,
        "n": 10,
        "accuracy": 0.7,
        "accuracy_low": 0.4,
        "accuracy_high": 0.9,
        "macro_f1": 0.65,
        "recall": {"neg": 0.6, "pos": None},
        "confusion_C_C": ((6, 4), (0, 0)),
        "nll": 0.61,
        "brier": 0.41,
        "ece": 0.11,
        "ece_equal_mass": 0.12,
        "temperature": 1.0,
        "bins": (CalibrationBin(0.0, 0.5, 0, None, None), CalibrationBin(0.5, 1.0, 10, 0.8, 0.7)),
        **changes,
    }
    return Evaluation(**values)  # type: ignore[arg-type]


def base_prediction(name: str, positive: float = 0.3) -> BasePrediction:
    """Return a prediction over two labels with a prior."""
    return BasePrediction(name, np.log([1 - positive, positive]), np.log([0.5, 0.5]))
