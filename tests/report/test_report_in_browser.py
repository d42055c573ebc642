"""Report pages in a real browser request nothing, run no foreign script, and work at any width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from star_al.data import write_text
from star_al.report.page import campaign_page
from star_al.report.questions import COLUMNS, shown_text
from star_al.report.snapshot import AskedQuery, CampaignSnapshot, Person
from star_al.report.study_page import study_page
from star_al.types import Item
from support.browser import chromium
from support.report_pages import PHONE, OpenPage, open_page
from support.report_snapshot import a_snapshot, an_asked_query
from support.report_study import a_study

pytestmark = pytest.mark.browser

MANY_LABELS = tuple(f"a_rather_long_name_of_intent_{n}" for n in range(77))
MANY_ROWS = 50_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def usual(folder: Path) -> Path:
    """Page of a campaign of 120 queries over 77 labels."""
    return written(a_snapshot(MANY_LABELS, queries=120), folder / "usual.html")


@pytest.fixture(scope="module")
def study(folder: Path) -> Path:
    write_text(folder / "study.html", study_page(a_study()))
    return folder / "study.html"


@pytest.fixture(scope="module")
def large(folder: Path) -> Path:
    labels = ("business", "politics", "sport")
    asked = tuple(an_asked_query(n, labels, 6) for n in range(MANY_ROWS))
    texts = {f"item-{n}": f"{'word ' * 40} number_{n}_" for n in range(MANY_ROWS)}
    return written(a_snapshot(labels, asked=asked, texts=texts), folder / "large.html")


def written(snapshot: CampaignSnapshot, path: Path) -> Path:
    write_text(path, campaign_page(snapshot))
    return path


def column(name: str) -> int:
    return COLUMNS.index(name)


def click(opened: OpenPage, heading: str) -> None:
    opened.page.locator("#asked-table th button").get_by_text(heading, exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["campaign", "study"])
def test_a_page_has_no_errors_and_asks_for_nothing(
    browser: Browser, usual: Path, study: Path, kind: str, scheme: str
) -> None:
    opened = open_page(browser, usual if kind == "campaign" else study, scheme=scheme)  # type: ignore[arg-type]
    expect(opened.page.locator("h1")).to_have_text("news")
    assert opened.page.locator("svg").count() >= 5
    assert opened.complaints == []


def test_pictures_and_page_follow_the_theme(browser: Browser, usual: Path) -> None:
    colours: dict[str, Callable[[OpenPage], str]] = {
        "paper": lambda opened: style(opened, "body", "background-color"),
        "ink": lambda opened: style(opened, "svg text", "fill"),
        "line": lambda opened: style(opened, "svg path[style*='stroke: var(--blue)']", "stroke"),
    }
    light, dark = open_page(browser, usual), open_page(browser, usual, scheme="dark")
    for name, look in colours.items():
        assert look(light) != look(dark), name
    assert "none" not in {look(dark) for look in colours.values()}


def style(opened: OpenPage, selector: str, name: str) -> str:
    script = "(element, name) => getComputedStyle(element).getPropertyValue(name)"
    return str(opened.page.locator(selector).last.evaluate(script, name))


def test_svg_pictures_share_no_ids(browser: Browser, usual: Path) -> None:
    ids = open_page(browser, usual).page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", ["campaign", "study"])
def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Browser, usual: Path, study: Path, kind: str
) -> None:
    opened = open_page(browser, usual if kind == "campaign" else study, width=PHONE)
    assert opened.too_wide <= 0


def test_the_table_is_as_wide_as_the_window_and_its_reasons_are_shown(browser: Browser, folder: Path) -> None:
    """With annotators known by their e-mail addresses, at the width of a small laptop and on paper."""
    asked = tuple(
        replace(
            one,
            answers={
                f"{name}.long.name@department.example.org": answer for name, answer in one.answers.items()
            },
        )
        for one in a_snapshot(queries=60).asked
    )
    path = written(a_snapshot(queries=60, asked=asked), folder / "addresses.html")
    for width in (1280, 720):
        opened = open_page(browser, path, width=width)
        opened.page.emulate_media(media="screen" if width == 1280 else "print")
        table, box = (opened.page.locator(name) for name in ("#asked-table", "#asked .scroll"))
        assert table.evaluate("it => it.scrollWidth") <= box.evaluate("it => it.clientWidth")
        expect(opened.page.locator("#asked-table .why").first).to_contain_text("blended")


# -- the table ------------------------------------------------------------------------------------------


def test_the_table_searches_filters_and_sorts(browser: Browser, usual: Path) -> None:
    opened = open_page(browser, usual)
    opened.shows("1 to 25 of 120")
    opened.page.fill("#search", "NUMBER 57:")
    opened.shows("1 to 1 of 1 (120 in total)")
    assert opened.column(column("Text"))[0].startswith("Text number 57:")
    opened.page.fill("#search", "")
    opened.shows("1 to 25 of 120")
    click(opened, "Score")
    rising = [float(text) for text in opened.column(column("Score"))]
    click(opened, "Score")
    falling = [float(text) for text in opened.column(column("Score"))]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True) and rising[0] < falling[0]
    expect(opened.page.locator("th[aria-sort=descending]")).to_have_text("Score")
    opened.page.select_option("#of-note", "control")
    assert all("control" in notes for notes in opened.column(column("Notes")))
    opened.page.select_option("#of-note", "training")
    opened.shows("1 to 25 of 96 (120 in total)")  # every fifth is an audit item


def test_rows_without_a_value_come_last_either_way(browser: Browser, usual: Path) -> None:
    opened = open_page(browser, usual)
    for _ in range(2):
        click(opened, "Label")
        assert "" not in opened.column(column("Label"))
        opened.page.click("#last-page")
        assert opened.column(column("Label"))[-1] == ""


def test_the_table_can_be_used_by_keyboard(browser: Browser, usual: Path) -> None:
    opened = open_page(browser, usual)
    opened.page.focus("#next-page")
    opened.page.keyboard.press("Enter")
    opened.shows("26 to 50 of 120")
    opened.page.focus("#asked-table th button")
    opened.page.keyboard.press("Enter")
    expect(opened.page.locator("th[aria-sort=ascending]")).to_have_text("Round")
    opened.shows("1 to 25 of 120")


def test_fifty_thousand_rows_stay_usable(browser: Browser, large: Path) -> None:
    opened = open_page(browser, large)
    opened.page.set_default_timeout(20_000)  # each of these takes about a second on an idle machine
    opened.shows("1 to 25 of 50,000")
    assert opened.page.locator("#asked-table tbody tr").count() == 25
    opened.page.fill("#search", f"number_{MANY_ROWS - 1}_")
    opened.shows("1 to 1 of 1 (50,000 in total)")
    opened.page.fill("#search", "")
    opened.shows("1 to 25 of 50,000")
    click(opened, "Text")
    opened.page.click("#next-page")
    opened.shows("26 to 50 of 50,000")
    opened.page.click("#last-page")
    opened.shows("49,976 to 50,000 of 50,000")
    assert opened.complaints == []


# -- hostile content ------------------------------------------------------------------------------------

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    '"><img src="https://example.org/x.png" onerror="window.hacked = 1">',
    "<svg onload='window.hacked = 1'><style>body { display: none }</style>",
    "]]></style></title><!-- {{ 7 * 7 }} {% raw %} $x_1$ \\u003cb>",
    "\u202eright to left\u2066 \u2028 end",
    "zero \x00 and bell \x07",
)


def hostile_snapshot() -> CampaignSnapshot:
    """A record with hostile text wherever a page shows text: texts, labels, people, reasons, versions."""
    snapshot = a_snapshot(HOSTILE, queries=0)
    asked = tuple(hostile_question(n) for n in range(len(HOSTILE)))
    rounds = tuple(
        replace(
            one,
            fit=one.fit and replace(one.fit, versions={HOSTILE[0]: HOSTILE[1]}),
            decision=one.decision and replace(one.decision, stop_reason=HOSTILE[1], stop_advice=HOSTILE[2]),
            selection=one.selection and replace(one.selection, blend_note=HOSTILE[0]),
        )
        for one in snapshot.rounds
    )
    people = (Person(HOSTILE[2], 3, 1, 2.0, 3, 2),)
    texts = {f"item-{n}": shown_text(Item(f"item-{n}", text)) for n, text in enumerate(HOSTILE)}
    return replace(snapshot, asked=asked, texts=texts, rounds=rounds, people=people)


def hostile_question(n: int) -> AskedQuery:
    asked = an_asked_query(n, HOSTILE, 6)
    query = replace(asked.query, reason=replace(asked.query.reason, text=HOSTILE[n]))
    return replace(asked, query=query, answers={HOSTILE[n]: HOSTILE[0]})


def test_foreign_texts_are_shown_and_do_nothing(browser: Browser, folder: Path) -> None:
    opened = open_page(browser, written(hostile_snapshot(), folder / "hostile.html"))
    shown = opened.page.locator("#asked-table td[data-name=Text] > bdi").all_inner_texts()
    assert shown[: len(HOSTILE) - 1] == [" ".join(text.split()) for text in HOSTILE[:-1]]
    assert opened.page.locator("#asked-table .why").first.inner_text() == HOSTILE[0]
    assert opened.page.locator(".confusion tbody th").first.inner_text() == HOSTILE[0]
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("script").count() == 2  # the rows, and what moves them
    assert opened.complaints == []


def test_a_script_that_got_in_would_not_run(browser: Browser, usual: Path, folder: Path) -> None:
    """This is the second line of defence: the page's policy names the one script it allows."""
    page = usual.read_text(encoding="utf-8")
    broken = folder / "broken.html"
    broken.write_text(
        page.replace("<header>", "<script>window.hacked = 1</script><header>", 1), encoding="utf-8"
    )
    opened = open_page(browser, broken)
    assert opened.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
