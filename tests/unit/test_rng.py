"""Seeds and keyed draws are stable over processes and releases and independent of input order."""

from __future__ import annotations

import numpy as np
import pytest

from star_al.rng import derive_seed, draw, draw_by_weight, generator, keyed_order, keyed_uniform

IDS = [f"item-{i}" for i in range(2000)]


def test_seeds_are_pinned_so_that_a_release_cannot_change_old_campaigns() -> None:
    # By hand: the first 16 hex digits of `printf '0/1/fit' | sha256sum`, shifted right by one bit.
    assert derive_seed(0, 1, "fit") == int("d7dbc16d8b1a239e", 16) >> 1
    assert (
        keyed_order(7, "a") == "681ebd31f1942012739312a095442ff5c473d0896902e122a989b3b7f9fadc9f"
    )  # printf '7/a' | sha256sum


def test_seeds_differ_by_campaign_round_and_purpose_and_fit_in_63_bits() -> None:
    seeds = [derive_seed(c, r, p) for c in (0, 1, 11) for r in (0, 1, 11) for p in ("fit", "select")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_starts_afresh_at_every_call() -> None:
    first, again, other = (generator(5, 2, purpose).random(4).tolist() for purpose in ("a", "a", "b"))
    assert first == again != other


def test_keyed_uniforms_are_uniform_and_ordered_like_the_keys() -> None:
    uniforms = np.array([keyed_uniform(3, item_id) for item_id in IDS])
    assert ((uniforms >= 0) & (uniforms < 1)).all()
    assert np.abs(np.sort(uniforms) - (np.arange(2000) + 0.5) / 2000).max() < 0.036  # Kolmogorov, p = 0.01
    by_key = sorted(range(2000), key=lambda i: keyed_order(3, IDS[i]))
    assert (np.diff(uniforms[by_key]) >= 0).all()


@pytest.mark.parametrize("n", [0, 1, 10, 1999, 2000, 5000])
def test_a_draw_takes_the_smallest_keys_in_order_from_any_order_of_the_stream(n: int) -> None:
    expected = tuple(sorted(IDS, key=lambda item_id: keyed_order(9, item_id))[:n])
    assert draw(iter(IDS), n, 9) == expected
    assert draw(reversed(IDS), n, 9) == expected


def test_draws_of_other_seeds_are_other_draws_and_larger_ones_extend_smaller_ones() -> None:
    assert draw(IDS, 50, 1) != draw(IDS, 50, 2)
    assert draw(IDS, 50, 1) == draw(IDS, 100, 1)[:50]


def test_a_draw_by_weight_takes_heavy_ids_more_often_and_those_without_weight_last() -> None:
    ids = [f"item-{number}" for number in range(40)]
    weights = [0.0] * 10 + [1.0] * 20 + [8.0] * 10
    counts: dict[str, int] = dict.fromkeys(ids, 0)
    for seed in range(200):
        drawn = draw_by_weight(ids, weights, 10, seed)
        assert len(set(drawn)) == 10
        assert draw_by_weight(ids[::-1], weights[::-1], 10, seed) == drawn
        for item_id in drawn:
            counts[item_id] += 1
    light, heavy = sum(counts[each] for each in ids[10:30]) / 20, sum(counts[each] for each in ids[30:]) / 10
    assert sum(counts[each] for each in ids[:10]) == 0
    assert heavy > 3 * light > 0
    assert sorted(draw_by_weight(ids, weights, 99, 1)) == sorted(ids)
