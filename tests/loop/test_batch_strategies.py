"""Campaigns with each batch strategy: what is asked and why, buffers, restarts, replays, cold starts, EPIG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.acquire.blend import normalise
from star_al.acquire.epig import epig
from star_al.acquire.near_duplicates import NearDuplicates
from star_al.acquire.ranking import rank_order
from star_al.artefacts import score_file
from star_al.replay import find_round, replay_round
from star_al.steps import batch as batches
from star_al.steps import embeddings, score_shards, start
from star_al.steps.batch import choose_batch
from star_al.steps.batch_rules import Ranking
from star_al.steps.known import known_ids
from star_al.steps.score_plan import score_plan
from star_al.types import Float32Array, FloatArray, Item, Predictions, Query
from support import stored
from support.campaigns import make_rows, write_jsonl
from support.world import World

DIVERSIFIED = (
    "batchbald",
    "badge",
    "k_centre",
    "facility_location",
    "cluster_margin",
    "uncertainty_herding",
    "idds",
)
NAMES = (
    "BatchBALD",
    "BADGE",
    "k-centre",
    "facility location",
    "cluster-margin",
    "uncertainty herding",
    "IDDS",
)
CHANGES: dict[str, Any] = {
    "n": 70,
    "posterior__samples": 16,
    "acquisition__batch_size": 8,
    "stopping__max_rounds": 2,
}


def world_of(folder: Path, **batch: Any) -> World:
    return World(folder, **CHANGES, acquisition__batch={"top": 30} | batch)


def batch_of(world: World, round_index: int) -> list[Query]:
    return [q for q in world.store.queries(world.campaign_id, round_index) if q.purpose.value == "pool"]


def ids(queries: Sequence[Query]) -> list[str]:
    return [query.item_id for query in queries]


@pytest.mark.parametrize(("kind", "name"), list(zip(DIVERSIFIED, NAMES, strict=True)))
def test_a_diversified_batch_comes_from_the_top_of_the_ranking_and_says_so(
    tmp_path: Path, kind: str, name: str
) -> None:
    world = world_of(tmp_path, kind=kind)
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert [one.selection and one.selection.asked for one in rounds] == [8, 8, None]
    rank_of = {row.item_id: row.rank for row in stored.ranking(world.store, world.campaign_id, 1)}
    asked = batch_of(world, 1)
    ranks = [rank_of[query.item_id] for query in asked]
    assert max(ranks) <= 30 and len(set(ranks)) == 8
    assert ranks != list(range(1, 9))
    for query, rank in zip(asked, ranks, strict=True):
        first, last = query.reason.text.split(f"rank {rank} of {len(rank_of)}: ")
        assert last and first.startswith(f"{name} within the top 30, ")
        covers = kind in ("facility_location", "uncertainty_herding")
        assert covers or first == f"{name} within the top 30, "
        assert query.reason.blended is not None and query.reason.predicted is not None


@pytest.mark.parametrize("most", [10_000, 20])
def test_uncertainty_herding_covers_the_pool_or_a_draw_by_score(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POOL_TEXTS", most)
    world = world_of(tmp_path, kind="uncertainty_herding", top=None)
    world.run()
    asked = batch_of(world, 1)
    assert len(asked) == 8
    assert all(query.reason.text.startswith("uncertainty herding over the pool, ") for query in asked)
    round_ = find_round(world.store, world.campaign, 1)
    assert replay_round(world.parts().for_round(round_)).same_batch
    ranking = Ranking(*_scored(world, 1))
    whole = [each.item_id for each in choose_batch(world.round_parts(1), ranking, 10_000)]
    assert sorted(whole) == sorted(ranking.item_ids) and whole[:8] == ids(asked)


def _scored(world: World, index: int) -> tuple[tuple[str, ...], FloatArray, Path, Path]:
    """What a ranking of a round's adapted scores consists of."""
    parts, round_ = world.parts(), world.round(index)
    assert round_.scores_sha256 is not None and round_.adapter_sha256 is not None
    file = parts.artefacts.score_file(round_.scores_sha256)
    item_ids, columns = score_file.read_scores(file)
    assert columns.adapted_uncertainty is not None
    scores_N = normalise(columns.adapted_uncertainty, "minmax")
    return item_ids, scores_N, file, parts.artefacts.path_of(round_.adapter_sha256)


@pytest.mark.parametrize("kind", [*DIVERSIFIED, "top_k", "power", "random"])
def test_a_round_is_replayed_and_a_restart_asks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    batch = {} if kind == "random" else {"balance": True, "near_duplicates": 0.7}
    unbroken, broken = (world_of(tmp_path / name, kind=kind, **batch) for name in ("whole", "broken"))
    unbroken.run()
    replayed = replay_round(unbroken.parts().for_round(find_round(unbroken.store, unbroken.campaign, 1)))
    assert replayed.same_batch
    commit, deaths = broken.store.commit_step, 0

    def and_die(*args: Any, **kwargs: Any) -> None:
        """Die once at each commit, before it."""
        nonlocal deaths
        deaths += 1
        if deaths % 2:
            raise KeyboardInterrupt
        commit(*args, **kwargs)

    monkeypatch.setattr(broken.store, "commit_step", and_die)
    while True:
        try:
            broken.run()
            break
        except KeyboardInterrupt:
            continue
    assert deaths > 10
    for index in (0, 1):
        assert ids(batch_of(broken, index)) == ids(batch_of(unbroken, index))


@pytest.mark.parametrize("kind", [*DIVERSIFIED, "top_k", "random"])
def test_the_buffer_comes_after_the_batch_and_does_not_change_it(tmp_path: Path, kind: str) -> None:
    plain = world_of(tmp_path / "plain", kind=kind)
    buffered = World(
        tmp_path / "buffered",
        **CHANGES,
        acquisition__batch={"top": 30, "kind": kind},
        labelling__buffer=3,
    )
    asked = []
    for world in (plain, buffered):
        world.run(max_rounds=1)
        queries = batch_of(world, 0)
        assert [query.rank for query in queries] == list(range(1, len(queries) + 1))
        asked.append(ids([query for query in queries if not query.buffer]))
    assert asked[0] == asked[1] and len(asked[0]) == 8
    assert sum(query.buffer for query in batch_of(buffered, 0)) == 3


@pytest.mark.parametrize("kind", [*DIVERSIFIED, "top_k", "power"])
def test_a_choice_depends_on_scores_and_ids_alone_and_larger_ones_begin_with_smaller(
    tmp_path: Path, kind: str
) -> None:
    world = world_of(tmp_path, kind=kind, balance=True, near_duplicates=0.9)
    world.run(max_rounds=2)
    parts, round_ = world.parts(), world.store.rounds(world.campaign_id)[1]
    assert round_.scores_sha256 is not None and round_.adapter_sha256 is not None
    file, adapter = (
        parts.artefacts.score_file(round_.scores_sha256),
        parts.artefacts.path_of(round_.adapter_sha256),
    )
    item_ids, columns = score_file.read_scores(file)
    assert columns.adapted_uncertainty is not None
    scores_N = columns.adapted_uncertainty.round(1)  # many are equal
    shuffled = np.random.default_rng(0).permutation(len(item_ids))
    rankings = [
        Ranking(tuple(item_ids[i] for i in order), scores_N[order], file, adapter)
        for order in (np.arange(len(item_ids)), shuffled)
    ]

    def chosen(ranking: Ranking, size: int, **without: Any) -> list[str]:
        return [each.item_id for each in choose_batch(parts.for_round(round_), ranking, size, **without)]

    whole = chosen(rankings[0], 10_000)
    assert sorted(whole) == sorted(item_ids)
    for size in (0, 5, 29, 40):
        batch = chosen(rankings[0], size)
        assert chosen(rankings[1], size) == batch
        if kind != "power":
            assert batch == whole[:size]
        assert len(set(batch)) == size
    beyond = whole[30:] if kind != "power" else []
    by_rank = [item_ids[i] for i in rank_order(scores_N, item_ids)]
    assert beyond == [item_id for item_id in by_rank if item_id in set(beyond)]  # below the top, by rank
    left_out = whole[:3]
    assert not set(left_out) & set(chosen(rankings[0], 10_000, without=left_out))


def test_power_sampling_under_no_constraints_is_asked_in_order_of_score(tmp_path: Path) -> None:
    world = world_of(tmp_path, kind="power")
    world.run(max_rounds=2)
    asked = batch_of(world, 1)
    blended = [query.reason.blended or 0.0 for query in asked]
    assert blended == sorted(blended, reverse=True)
    assert all(query.reason.text.startswith("drawn by power sampling, rank ") for query in asked)


def test_a_random_campaign_scores_nothing(tmp_path: Path) -> None:
    world = World(
        tmp_path, **CHANGES, acquisition__batch={"kind": "random"}, acquisition__cold_start="random"
    )
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert rounds[1].adapter_sha256 is not None
    assert all(one.scores_sha256 is None for one in rounds)
    assert all(one.selection.blend_weight is None for one in rounds if one.selection)
    assert not stored.ranking(world.store, world.campaign_id, 1)
    assert batch_of(world, 0)[0].reason.text == "cold start (no labels to train on): drawn at random"
    assert {query.reason.text for query in batch_of(world, 1)} == {"drawn at random"}
    other = World(
        tmp_path / "other",
        **CHANGES,
        acquisition__batch={"kind": "random"},
        acquisition__cold_start="random",
        seed=8,
    )
    other.run()
    assert set(ids(batch_of(world, 1))) != set(ids(batch_of(other, 1)))


def test_the_labels_with_the_fewest_labels_have_their_turn(tmp_path: Path) -> None:
    world = world_of(tmp_path, kind="top_k", balance=True, top=1000)
    world.run()
    given: dict[Any, int] = dict.fromkeys(world.file.spec.task.label_names, 0)
    for label in world.store.training_labels(world.campaign_id, 1):
        given[label.value] += 1
    assert len(set(given.values())) > 1
    sha256 = world.store.rounds(world.campaign_id)[1].scores_sha256
    assert sha256 is not None
    file = world.parts().artefacts.score_file(sha256)
    log_probs_N_K_C = score_file.read_predictions([file], score_file.read_scores(file)[0])
    columns = np.exp(log_probs_N_K_C).mean(axis=1).argmax(axis=1)
    left = Counter(world.file.spec.task.label_names[column] for column in columns)
    assert len(left) == 3
    for query in batch_of(world, 1):
        predicted = str(query.reason.predicted)
        assert given[predicted] == min(given[name] for name in left if left[name])
        assert query.reason.text.startswith(f"to balance labels: {predicted}, rank ")
        given[predicted] += 1
        left[predicted] -= 1


def copies(folder: Path) -> None:
    """A pool of 30 texts with three near duplicates of each."""
    rows = [
        {**row, "id": f"{row['id']}/{copy}", "text": f"{row['text']} and more of it {'!' * copy}"}
        for row in make_rows(30)
        for copy in range(3)
    ]
    folder.mkdir()
    write_jsonl(folder / "pool.jsonl", rows)


def asked_twice(folder: Path, threshold: float | None, kind: str) -> int:
    """Number of texts in the second round that nearly duplicate one asked before."""
    changes = {**CHANGES, "name": f"copies-{threshold}", "evaluation": {"kind": "none", "calibration": 0}}
    world = World(folder, **changes, acquisition__batch={"kind": kind, "near_duplicates": threshold})
    world.run()
    texts = [world.item(query).text for index in (0, 1) for query in batch_of(world, index)]
    likes = [NearDuplicates([texts[place]], texts[:place], 0.85) for place in range(8, len(texts))]
    return sum(not like.prefers(np.ones(1, dtype=bool))[0] for like in likes)


def test_no_text_is_asked_that_is_nearly_one_asked_in_this_round_or_before(tmp_path: Path) -> None:
    copies(tmp_path / "copies")
    assert asked_twice(tmp_path / "copies", None, "top_k") > 0
    assert asked_twice(tmp_path / "copies", 0.85, "top_k") == 0
    assert asked_twice(tmp_path / "copies", 0.85, "badge") == 0


def test_what_is_known_is_what_was_trained_on_or_asked_before(tmp_path: Path) -> None:
    world = World(tmp_path, **CHANGES, labelling__buffer=2)
    world.run(max_rounds=2)
    parts, rounds = world.parts(), world.store.rounds(world.campaign_id)
    assert known_ids(parts.for_round(rounds[0])) == []
    trained = {label.item_id for label in world.store.training_labels(world.campaign_id, 1)}
    assert set(known_ids(parts.for_round(rounds[1]))) >= trained
    assert not set(known_ids(parts.for_round(rounds[1]))) & set(ids(batch_of(world, 1)))


# -- cold start ----------------------------------------------------------------------------------------


def test_a_typical_start_asks_texts_of_different_groups_and_scores_nothing(tmp_path: Path) -> None:
    changes = {**CHANGES, "acquisition__cold_start": "typical", "labelling__buffer": 2}
    world = World(tmp_path, **changes, acquisition__min_cluster=1)
    world.run(max_rounds=1)
    round_ = world.store.rounds(world.campaign_id)[0]
    assert round_.decision is not None and round_.selection is not None
    assert round_.scores_sha256 is None and round_.selection.asked == 8
    queries = batch_of(world, 0)
    start = "cold start (no labels to train on): typical of "
    sizes = [int(q.reason.text.removeprefix(start).split()[0]) for q in queries]
    assert all(query.reason.text.startswith(start) for query in queries)
    assert sizes[:8] == sorted(sizes[:8], reverse=True)
    assert sum(sizes[:8]) == round_.decision.pool_size
    replayed = replay_round(world.parts().for_round(find_round(world.store, world.campaign, 0)))
    assert replayed.same_batch


@pytest.mark.parametrize("cold_start", ["typical", "herding"])
def test_a_start_by_texts_reads_no_more_than_its_share_of_a_large_pool(
    cold_start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (embeddings, start):
        monkeypatch.setattr(module, "POOL_TEXTS", 20)
    world = World(tmp_path, **CHANGES, acquisition__cold_start=cold_start)
    embed, read = world.learner.embed, 0

    def counted(folder: Path | None, items: Sequence[Item], advance: Any) -> Float32Array:
        nonlocal read
        assert folder is None
        read += len(items)
        return embed(folder, items, advance)

    monkeypatch.setattr(world.learner, "embed", counted)
    world.run(max_rounds=1)
    assert read == 20 + (
        8 if cold_start == "herding" else 0
    )  # the chosen are embedded to say what they cover
    assert len(batch_of(world, 0)) == 8


# -- EPIG ----------------------------------------------------------------------------------------------

EPIG = {**CHANGES, "acquisition__measure": "epig", "acquisition__epig_targets": 12}


def test_epig_looks_at_targets_of_the_first_pool_by_the_pools_own_samples(tmp_path: Path) -> None:
    world = World(tmp_path, **EPIG)
    world.run()
    parts, rounds = world.parts(), world.store.rounds(world.campaign_id)
    plans = [score_plan(parts.for_round(round_)) for round_ in rounds[1:]]
    first_pool = set(world.store.pool_ids(world.campaign_id, 0))
    targets = {plan.targets for plan in plans if plan is not None}
    assert len(targets) == 1 and len(plans) == 2
    [chosen] = targets
    assert len(chosen) == 12 and set(chosen) <= first_pool
    round_, plan = rounds[1], plans[0]
    assert round_.scores_sha256 is not None and round_.adapter_sha256 is not None and plan is not None
    file = parts.artefacts.score_file(round_.scores_sha256)
    item_ids, columns = score_file.read_scores(file)
    predicted = world.learner.predict(
        parts.artefacts.path_of(round_.adapter_sha256),
        world.store.items(world.campaign_id, chosen),
        draws=plan.draws,
        seed=plan.seed,
        advance=lambda n: None,
    )
    targets_T_K_C = predicted.log_probs_N_K_C.astype(np.float32).astype(np.float64)
    expected = epig(score_file.read_predictions([file], item_ids), targets_T_K_C)
    assert columns.adapted_uncertainty is not None
    np.testing.assert_allclose(columns.adapted_uncertainty, expected, atol=1e-12)
    assert expected.min() >= 0 and expected.std() > 0


def test_epigs_targets_are_predicted_once_a_round_whatever_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_shards, "SHARD_ITEMS", 8)
    unbroken, broken = World(tmp_path / "unbroken", **EPIG), World(tmp_path / "broken", **EPIG)
    for world in (unbroken, broken):
        world.run(max_rounds=1)
    unbroken.run(max_rounds=1)
    parts, predict, calls, of_targets = broken.parts(), broken.learner.predict, 0, 0

    def and_die(folder: Path | None, items: Sequence[Item], **kwargs: Any) -> Predictions:
        nonlocal calls, of_targets
        predictions = predict(folder, items, **kwargs)
        round_ = broken.store.rounds(broken.campaign_id)[-1]
        plan = score_plan(parts.for_round(round_)) if round_.adapter_sha256 else None
        if plan is None or kwargs["seed"] != plan.seed:
            return predictions
        calls += 1
        if calls % 3 == 0:
            raise KeyboardInterrupt
        of_targets += tuple(item.item_id for item in items) == plan.targets
        return predictions

    monkeypatch.setattr(broken.learner, "predict", and_die)
    while True:
        try:
            broken.run(max_rounds=1)
            break
        except KeyboardInterrupt:
            continue
    assert calls > 5 and of_targets == 1
    assert ids(batch_of(broken, 1)) == ids(batch_of(unbroken, 1))
    names = {world.store.rounds(world.campaign_id)[1].scores_sha256 for world in (unbroken, broken)}
    assert len(names) == 1


def test_a_cold_start_of_epig_goes_by_base_entropy(tmp_path: Path) -> None:
    world = World(tmp_path, **EPIG, acquisition__preset="star", acquisition__cold_start="base_uncertainty")
    world.run(max_rounds=1)
    ranking = stored.ranking(world.store, world.campaign_id, 0)
    base = [row.base_uncertainty or 0.0 for row in ranking]
    assert base == sorted(base, reverse=True) and base[0] > 0
    assert ids(batch_of(world, 0)) == [row.item_id for row in ranking[:8]]


@pytest.mark.parametrize("cold_start", ["random", "base_uncertainty", "typical", "herding"])
def test_a_random_strategy_starts_as_the_others_do(cold_start: str, tmp_path: Path) -> None:
    """Runs of a study are compared in pairs, so their first batch must be the same."""
    first = []
    for kind in ("random", "top_k", "badge"):
        world = World(tmp_path / kind, acquisition__batch={"kind": kind}, acquisition__cold_start=cold_start)
        world.run(max_rounds=2)
        first.append([query.item_id for query in world.asked() if query.round_index == 0])
        reasons = {query.reason.text for query in world.asked() if query.round_index == 1}
        assert (reasons == {"drawn at random"}) == (kind == "random")
    assert first[0] == first[1]
    assert sorted(first[0]) == sorted(first[2]) or cold_start == "base_uncertainty"
