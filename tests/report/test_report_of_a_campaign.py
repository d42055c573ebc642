"""Report pages of real campaigns: begun, running, ended, without held-out labels, multiple choice."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from star_al.app.reporting import gather
from star_al.config.spec import CampaignSpec
from star_al.report.page import campaign_page
from star_al.report.snapshot import find_evaluation
from star_al.steps.held_out import held_out_queries
from star_al.types import Event, Role
from support.campaigns import write_campaign, write_jsonl
from support.world import World

OPTIONS = ("now", "then", "never")


def page_of(world: World) -> str:
    return campaign_page(gather(world.store, world.campaign))


def words_of(page: str) -> str:
    """Visible text of a page on one line, without the table rows."""
    body = re.sub(r"<(script|style|pre).*?</\1>", " ", page.partition("<body>")[2], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_campaign_that_has_only_asked_its_audit_items(tmp_path: Path) -> None:
    world = World(tmp_path)
    lease = world.lease()
    queries = held_out_queries(world.parts(), Role.AUDIT)
    world.store.add_queries(lease, queries, Event("prepare", "requesting labels for 8 audit texts"))
    words = words_of(page_of(world))
    assert "The campaign has asked for labels of 8 held-out texts; 0 have been answered." in words
    assert "No round has started; 8 questions are waiting for an answer." in words
    assert "How accurate the model is: no round has been evaluated on held-out labels yet." in words


def test_a_campaign_that_has_asked_nothing(tmp_path: Path) -> None:
    assert "it has not asked for any labels yet" in words_of(page_of(World(tmp_path)))


def test_a_running_campaign_says_where_it_stands(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(max_rounds=1)
    words = words_of(page_of(world))
    assert "Without training labels, the base model classifies" in words
    assert "The campaign is running: round 0 is finished." in words


def test_a_campaign_that_has_ended_says_what_it_reached(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    page, newest = page_of(world), world.store.rounds(world.campaign_id)[-1]
    evaluation = find_evaluation(world.store.evaluations(world.campaign_id, newest.index), "adapted")
    words = words_of(page)
    assert evaluation is not None
    assert (
        f"Trained on 12 labels, the model classifies {100 * evaluation.accuracy:.1f} % of 8 held-out texts correctly"
        in words
    )
    assert f"stopped at round 3: {newest.stop_reason}." in words
    assert "this campaign has no control arm" in words
    assert "the labels come from column 'label'" in words
    for query in world.asked():
        assert world.item(query).text in page and query.reason.text in page


def test_without_held_out_labels_the_page_says_that_accuracy_is_not_known(tmp_path: Path) -> None:
    world = World(tmp_path, evaluation={"kind": "none", "calibration": 0, "stop_set": 4})
    world.run()
    words = words_of(page_of(world))
    assert "the accuracy of its model is not known" in words
    assert "the campaign has no held-out split (evaluation.kind is none)" in words
    assert words.count("No round has been evaluated on held-out labels.") == 3


def test_multiple_choice_shows_options_and_letters(tmp_path: Path) -> None:
    rows = [
        {
            "text": f"which is {OPTIONS[n % 3]} {n}",
            "options": list(OPTIONS[: 2 + n % 2]),
            "label": "AB"[n % 2],
        }
        for n in range(40)
    ]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    task: dict[str, Any] = {"kind": "multiple_choice"}
    write_campaign(tmp_path, data={"path": "pool.jsonl", "options": "options"}, task=task)
    world = World(tmp_path)
    world.run()
    page = page_of(world)
    assert "[A] now [B] then" in page
    assert '<th scope="row"><bdi>A</bdi></th>' in page


def test_the_page_has_every_setting_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWS_PASSWORD", "hunter2-of-the-database")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "token-of-label-studio")
    world = World(tmp_path, database__url="postgresql://me:${NEWS_PASSWORD}@localhost/news")
    world.run(max_rounds=1)
    page = page_of(world)
    assert "hunter2" not in page and "token-of-label-studio" not in page
    settings = html.unescape(page.partition("<pre")[2].partition("</pre>")[0])
    assert all(f"{name}:" in settings for name in CampaignSpec.model_fields)
    assert "weight_decay_b: 0.5" in settings  # a default


def test_the_page_names_no_address_to_fetch_from(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    page = page_of(world)
    assert "default-src 'none'" in page
    addresses = Addresses()
    addresses.feed(page)
    assert addresses.found and all(one.startswith(("#", "data:,")) for one in addresses.found)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)


class Addresses(HTMLParser):
    """Collects every address in an attribute that a browser may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        followed = {
            "src",
            "srcset",
            "href",
            "xlink:href",
            "action",
            "formaction",
            "data",
            "poster",
            "background",
        }
        self.found += [value or "" for name, value in attrs if name in followed]
