"""Links of the files at the root, and the paths that pages name; `make docs` checks the links in `docs/`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.doc_blocks import PAGES, ROOT, name_of

AT_THE_ROOT = [page for page in PAGES if page.parent == ROOT]
OURS = re.compile(r"`((?:configs|db|docs|migrations|scripts|star_al|tests)/[\w./-]*)`")


@pytest.mark.parametrize("page", AT_THE_ROOT, ids=name_of)
def test_each_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    named = OURS.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_can_be_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900
