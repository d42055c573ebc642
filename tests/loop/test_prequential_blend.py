"""A blend that learns its weights from the answers runs through the loop; resumed and replayed, it learns the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from star_al.acquire.blend import blend_ranks
from star_al.acquire.prequential import Graded, fit_slopes, shares
from star_al.artefacts.score_file import read_predictions, read_scores
from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError
from star_al.replay import replay_round
from star_al.stats.label_bias import batch_bias, fit_bias, without_bias
from star_al.steps import blend_weight, score_shards
from star_al.steps.base_predictions import base_log_probs
from star_al.task import closed
from star_al.types import FloatArray, Role, Round
from support.campaigns import write_campaign
from support.world import World

LEARNED: dict[str, Any] = {
    "n": 150,
    "seed": 1,  # in which the base model foretells some errors, by chance
    "acquisition": {
        "batch_size": 12,
        "cold_start": "random",
        "measure": "entropy",
        "batch": {"kind": "top_k"},
        "blend": {"kind": "prequential"},
    },
    "evaluation": {"kind": "none", "calibration": 0, "stop_set": 0},
    "stopping__max_rounds": 4,
}
WITH_HEAD = {**LEARNED, "learner": {"kind": "lora", "head": True}}


def file_of(world: World, round_: Round) -> Path:
    return world.parts().artefacts.score_file(round_.scores_sha256 or "")


def graded_by_hand(world: World, before: int, names: tuple[str, ...]) -> Graded:
    """The answers to the questions before a round, from the score files and the labels, without stored ranks."""
    task, labels = world.parts().task, world.store.training_labels(world.campaign_id, before)
    value_of = {label.item_id: label.value for label in labels}
    ranks, errors, groups = [], [], []
    for round_ in world.store.rounds(world.campaign_id)[1:before]:
        item_ids, scores = read_scores(file_of(world, round_))
        columns = [getattr(scores, f"{name}_uncertainty") for name in names]
        ranks_N_J = np.stack([(rankdata(each) - 1) / (len(each) - 1) for each in columns], axis=1)
        for query in world.store.queries(world.campaign_id, round_.index):
            if query.purpose is not Role.POOL or query.item_id not in value_of:
                continue
            [log_probs_K_C] = read_predictions([file_of(world, round_)], [query.item_id])
            column = int(np.exp(log_probs_K_C).mean(axis=0).argmax())
            ranks.append(ranks_N_J[item_ids.index(query.item_id)])
            errors.append(closed(task).value(world.item(query), column) != value_of[query.item_id])
            groups.append(round_.index - 1)
    groups_M = np.array(groups, dtype=np.int64)
    return Graded(
        np.array(ranks).reshape(-1, len(names)),
        np.array(errors, dtype=bool),
        groups_M,
        ((before - 2) - groups_M).astype(np.float64),
    )


def weights(world: World) -> list[tuple[float | None, float | None, str | None]]:
    made = [one.selection for one in world.store.rounds(world.campaign_id)]
    return [(one.blend_weight, one.blend_head_weight, one.blend_note) for one in made if one]


@pytest.mark.parametrize("control", [0.0, 0.25], ids=["no control", "control"])
def test_the_weights_are_those_of_the_answers_to_earlier_questions(tmp_path: Path, control: float) -> None:
    changes = {**LEARNED, "acquisition": {**LEARNED["acquisition"], "control_share": control}}
    world = World(tmp_path, **changes)
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert weights(world)[0] == (None, None, None)  # nothing was trained
    assert weights(world)[1] == (
        1.0,
        None,
        "no answer has graded the models yet: adapted model 1.00, base model 0.00",
    )
    for index in (2, 3):
        graded = graded_by_hand(world, index, ("adapted", "base"))
        assert len(graded.errors_M) == 12 * (index - 1)
        expected = shares(fit_slopes(graded, np.array([1.0, 0.0])))[0]
        value, _, note = weights(world)[index]
        assert value == pytest.approx(expected)
        assert note is not None and note.startswith(f"learned from {12 * (index - 1)} answers")
        assert replay_round(world.parts().for_round(rounds[index])).same_batch
    assert any(value not in (None, 1.0) for value, _, _ in weights(world)), "the base model never had a part"


def test_the_batch_is_the_top_of_the_blended_ranks_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, **LEARNED)
    world.run()
    round_ = world.round(3)
    assert round_.selection is not None and round_.selection.blend_weight is not None
    item_ids, scores = read_scores(file_of(world, round_))
    assert scores.adapted_uncertainty is not None and scores.base_uncertainty is not None
    weight = round_.selection.blend_weight
    columns = [scores.adapted_uncertainty, scores.base_uncertainty]
    blended_N = blend_ranks(columns, [weight, 1.0 - weight], "minmax")
    top = {item_ids[place] for place in np.argsort(-blended_N)[:12]}
    queries = world.store.queries(world.campaign_id, 3)
    assert {query.item_id for query in queries} == top
    for query in queries:
        place, reason = item_ids.index(query.item_id), query.reason
        assert reason.blended == pytest.approx(blended_N[place])
        assert reason.base_rank == pytest.approx((rankdata(columns[1])[place] - 1) / (len(item_ids) - 1))
        assert reason.head_rank is None and reason.head_uncertainty is None
        assert f"weight of the adapted model {weight:.2f}" in reason.text
        assert f"(above {100 * (reason.base_rank or 0.0):.0f} % of the texts)" in reason.text


def test_control_items_keep_their_ranks_but_no_score(tmp_path: Path) -> None:
    changes = {**LEARNED, "acquisition": {**LEARNED["acquisition"], "control_share": 0.25}}
    world = World(tmp_path, **changes)
    world.run(max_rounds=2)
    control = [query for query in world.store.queries(world.campaign_id, 1) if query.control]
    assert len(control) == 3
    for query in control:
        assert query.reason.adapted_rank is not None and query.reason.predicted is not None
        assert query.reason.blended is None and query.reason.blend_weight is None


def test_a_blend_that_does_not_learn_keeps_no_ranks(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition={"batch_size": 4, "blend": {"kind": "schedule"}})
    world.run()
    assert all(query.reason.adapted_rank is None for query in world.asked())


def test_resuming_and_replaying_give_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_shards, "SHARD_ITEMS", 16)
    whole, pieces = World(tmp_path / "whole", **WITH_HEAD), World(tmp_path / "pieces", **WITH_HEAD)
    whole.run()
    while pieces.run(max_rounds=1).kind != "stopped":
        pass
    assert weights(whole) == weights(pieces)
    assert [query.item_id for query in whole.asked()] == [query.item_id for query in pieces.asked()]
    for round_ in whole.store.rounds(whole.campaign_id)[:4]:
        assert replay_round(whole.parts().for_round(round_)).same_batch


def test_a_head_beside_has_a_weight_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, **WITH_HEAD)
    world.run()
    assert weights(world)[1][:2] == (1.0, 0.0)
    for index in (2, 3):
        graded = graded_by_hand(world, index, ("adapted", "base", "head"))
        expected_J = shares(fit_slopes(graded, np.array([1.0, 0.0, 0.0])))
        value, head, note = weights(world)[index]
        assert [value, head] == pytest.approx([expected_J[0], expected_J[2]])
        assert note is not None and "head" in note
    for query in world.store.queries(world.campaign_id, 3):
        assert query.reason.head_rank is not None and "and of the head" in query.reason.text
    selection = world.round(3).selection
    assert selection is not None and "head" in selection.histograms


def test_held_out_labels_join_and_a_measured_weight_is_shrunk_towards_the_answers(tmp_path: Path) -> None:
    held_out = {"kind": "audit", "size": 20, "calibration": 10, "stop_set": 0}
    joined = World(tmp_path / "joined", **{**LEARNED, "evaluation": held_out})
    joined.run()
    note = weights(joined)[2][2]
    assert note is not None and note.startswith("learned from 12 answers and 30 held-out labels")
    blend = {"kind": "measured"}
    few = {"kind": "audit", "size": 2, "calibration": 2, "stop_set": 0}  # too few to measure on
    changes = {**LEARNED, "acquisition": {**LEARNED["acquisition"], "blend": blend}, "evaluation": few}
    measured = World(tmp_path / "measured", **changes)
    measured.run()
    value, _, note = weights(measured)[3]
    graded = graded_by_hand(measured, 3, ("adapted", "base"))
    assert value == pytest.approx(shares(fit_slopes(graded, np.array([1.0, 0.0])))[0])
    assert note is not None and note.startswith("learned from the answers: measuring needs 10 errors")


def test_held_out_labels_grade_a_head_beside_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Graded] = []

    def spy(graded: Graded, prior_J: FloatArray) -> FloatArray:
        seen.append(graded)
        return fit_slopes(graded, prior_J)

    monkeypatch.setattr(blend_weight, "fit_slopes", spy)
    world = World(
        tmp_path,
        **{**WITH_HEAD, "evaluation": {"kind": "audit", "size": 20, "calibration": 10, "stop_set": 0}},
    )
    world.run()
    _, scores = read_scores(file_of(world, world.round(2)))
    assert scores.head_uncertainty is not None
    graded = seen[1]  # that of round 2; the first round with a blend is round 1
    assert len(graded.errors_M) == 12 + 30
    held_out = graded.ranks_M_J[12:]
    known = np.isfinite(held_out[:, 2])
    assert (
        known.sum() == 20 and np.isfinite(held_out[:, :2]).all()
    )  # the head is not asked about calibration items
    assert set(graded.groups_M[12:][known]) == {1} and set(graded.groups_M[12:][~known]) == {2}
    assert set(graded.ages_M) == {0.0}
    head = next(one for one in world.store.held_out(world.campaign_id, 2) if one.model == "head")
    probs_C = np.exp(head.log_probs_C)
    entropy = float(-(probs_C * np.log(probs_C)).sum())
    pool_N = scores.head_uncertainty
    rank = ((pool_N < entropy).sum() + (pool_N <= entropy).sum() - 1) / 2 / (len(pool_N) - 1)
    assert np.isclose(held_out[:, 2], rank.clip(0.0, 1.0)).any()


def test_the_base_models_label_bias_is_taken_out_by_the_pool_and_the_labels(tmp_path: Path) -> None:
    blend = {"kind": "prequential", "calibrate_base": True}
    world = World(tmp_path, **{**LEARNED, "acquisition": {**LEARNED["acquisition"], "blend": blend}})
    world.run()
    parts, store = world.parts(), world.store
    prior_C = batch_bias(base_log_probs(parts, store.pool_ids(world.campaign_id, 0)))
    for round_ in store.rounds(world.campaign_id)[1:4]:
        labels = store.training_labels(world.campaign_id, round_.index)
        ids = [label.item_id for label in labels]
        items = store.items(world.campaign_id, ids)
        targets = [
            closed(parts.task).column(item, label.value) for item, label in zip(items, labels, strict=True)
        ]
        bias_C = fit_bias(base_log_probs(parts, ids), np.array(targets), prior_C)
        item_ids, scores = read_scores(file_of(world, round_))
        probs_N_C: FloatArray = np.exp(without_bias(base_log_probs(parts, item_ids), bias_C))
        expected_N = -(probs_N_C * np.log(probs_N_C)).sum(axis=1)
        assert scores.base_uncertainty is not None
        np.testing.assert_allclose(scores.base_uncertainty, expected_N)
        assert replay_round(parts.for_round(round_)).same_batch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "label_probability", "target_label": "sport"}, "looks for a label and not for errors"),
        (
            {"measure": "label_probability", "target_label": "sport", "blend": {"kind": "measured"}},
            "kind: measured .* looks for a label and not for errors",
        ),
        ({"adaptive_samples": 4}, "does not go with acquisition.blend.kind: prequential"),
    ],
)
def test_what_cannot_learn_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    acquisition = {"batch_size": 4, "blend": {"kind": "prequential"}, **changes}
    posterior = {"kind": "mc_dropout", "samples": 32}
    with pytest.raises(ConfigError, match=message):
        load_campaign(write_campaign(tmp_path, acquisition=acquisition, posterior=posterior))


def test_a_campaign_that_began_with_a_measured_blend_keeps_the_schedule(tmp_path: Path) -> None:
    file = load_campaign(write_campaign(tmp_path, acquisition__blend={"kind": "measured"}))
    assert file.spec.acquisition.blend.towards == "prequential"
    stored = file.spec.model_dump(mode="json")
    for name in ("towards", "calibrate_base"):
        del stored["acquisition"]["blend"][name]
    assert CampaignSpec.model_validate(stored).acquisition.blend.towards == "schedule"
    kept = keep_earlier_defaults(file, stored)
    assert kept.spec.acquisition.blend.towards == "schedule"
    assert not changed_fields(stored, kept.spec, trained=True)
    again = keep_earlier_defaults(file, kept.spec.model_dump(mode="json"))  # as the first start has stored it
    assert again.spec.acquisition.blend == kept.spec.acquisition.blend
