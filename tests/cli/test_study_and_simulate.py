"""The study of labels runs in memory: it must choose the texts that `star-al simulate` chooses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from labels_choices import CHOOSERS, View
from labels_data import Split
from labels_learners import Head

from star_al.acquire.embeddings import unit_vectors
from star_al.app.stores import open_store
from star_al.cli.main import run_command
from star_al.config.file import load_campaign
from star_al.head import HeadOptions
from star_al.head.label_names import name_text
from star_al.models.encoder import open_encoder
from star_al.rng import derive_seed
from star_al.types import IntArray, Item, Query, Round
from support.campaigns import WORDS, write_campaign
from support.tiny_encoder import build_tiny_encoder

LABELS = tuple(WORDS)


def test_simulate_asks_for_the_texts_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_encoder(tmp_path / "encoder", words=tuple(word for words in WORDS.values() for word in words))
    config = write_campaign(
        tmp_path,
        n=90,
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        model={"dtype": "float32"},  # else a short probe decides, in each process anew
        acquisition={"batch_size": 6, "batch": {"near_duplicates": None}},
        evaluation={"kind": "audit", "size": 8, "stop_set": 0},
        stopping__max_rounds=2,
    )
    options = ["--strategies", "recommended", "--seeds", "1", "--jobs", "1"]
    assert run_command(["simulate", str(config), *options]) == 0
    rounds, queries, items, seed = stored(config, "small.recommended.0")
    # Whether the names' classes are compact is decided against random ones, and these few texts are near the limit.
    monkeypatch.setattr(View, "seed", lambda _, purpose: derive_seed(seed, 0, purpose) % 2**32)
    gold = {row["text"]: row["label"] for row in map(json.loads, (tmp_path / "pool.jsonl").open())}
    split = split_of(items, gold, tmp_path / "encoder")
    position = {item.item_id: number for number, item in enumerate(items)}
    rows_n: IntArray = np.zeros(0, dtype=np.int64)
    head = Head(split)
    of_pool_and_test = head.without_labels()
    assert of_pool_and_test is not None
    log_probs_P_C = of_pool_and_test[: len(items)]
    for number, round_ in enumerate(rounds[:3]):
        asked = [position[query.item_id] for query in queries if query.round_index == round_.index]
        if number:
            head.options = HeadOptions(seed=round_.seed)
            head.fit(np.sort(rows_n), split.targets_P[np.sort(rows_n)])
            log_probs_P_C = head.predict_pool()
        view = View(
            split, unit_vectors(split.pool_P_d), rows_n, split.targets_P[rows_n], log_probs_P_C, len(asked)
        )
        chosen = CHOOSERS["facility_location" if number else "herding"](view)
        assert chosen.tolist() == asked
        rows_n = np.concatenate([rows_n, chosen])
    assert len(rows_n) >= 12


def stored(config: Path, name: str) -> tuple[list[Round], list[Query], list[Item], int]:
    """The rounds of a campaign, its queries of the pool in order, the items of its pool by id, and its seed."""
    store = open_store(load_campaign(config))
    try:
        campaign = store.find_campaign(name)
        assert campaign is not None
        pool_ids = sorted(store.pool_ids(campaign.campaign_id, 0))
        queries = [each for each in store.queries(campaign.campaign_id) if each.purpose.value == "pool"]
        items = store.items(campaign.campaign_id, pool_ids)
        return store.rounds(campaign.campaign_id), queries, items, campaign.seed
    finally:
        store.close()


def split_of(items: list[Item], gold: dict[str, str], folder: Path) -> Split:
    encoder = open_encoder(str(folder), device="cpu", dtype="float32")
    vectors_P_d = encoder.encode([item.text for item in items]).vectors_N_d
    return Split(
        name="bbc",
        seed=0,
        texts_P=tuple(item.text for item in items),
        pool_P_d=vectors_P_d,
        targets_P=np.array([LABELS.index(gold[item.text]) for item in items]),
        texts_T=(items[0].text,),
        test_T_d=vectors_P_d[:1],
        test_targets_T=np.zeros(1, dtype=np.int64),
        labels=LABELS,
        names_C_d=encoder.encode([name_text(label) for label in LABELS]).vectors_N_d,
    )
