"""Time the encoding of texts against the bare tokenizer, first and again.

python scripts/bench_encoding.py --texts 2000 --added 6000
python scripts/bench_encoding.py --model ~/models/SmolLM2-135M-Instruct
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import transformers
from tokenizers import AddedToken

from star_al.config.spec import ClassificationSpec
from star_al.models.prompts import PromptFormat
from star_al.models.quiet import quiet
from star_al.task import make_task
from star_al.types import Item
from support.tiny_model import SENTENCES, build_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--characters", type=int, default=2_000, help="of each text")
    parser.add_argument("--added", type=int, default=6_000, help="tokens added to the tokenizer")
    parser.add_argument("--model", type=Path, help="folder of a tokenizer; without it, a tiny one is trained")
    arguments = parser.parse_args()
    words = " ".join(SENTENCES)
    texts = [
        f"{n} {words * (arguments.characters // len(words) + 1)}"[: arguments.characters]
        for n in range(arguments.texts)
    ]
    with quiet():
        tokenizer = _tokenizer(arguments.model, arguments.added)
        spec = ClassificationSpec(kind="classification", labels=["sport", "politics", "tech"])
        form = PromptFormat(tokenizer, make_task(spec), max_tokens=4096, context=8192)
        bare = _seconds(lambda: [tokenizer(text) for text in texts])
        before = _peak_mib()
        items = [Item(str(n), text) for n, text in enumerate(texts)]
        first = _seconds(lambda: [form.encode(item) and None for item in items])
        again = _seconds(lambda: [form.encode(item) and None for item in items])
    print(
        f"{len(texts):,} texts of {arguments.characters:,} characters, {arguments.added:,} added tokens: "
        f"the tokenizer takes {1000 * bare / len(texts):.2f} ms of CPU time a text, star_al {first / bare:.2f} "
        f"times that at first and {again / bare:.2f} times again; kept ids raise the peak memory by "
        f"{_peak_mib() - before:.0f} MiB"
    )


def _tokenizer(model: Path | None, added: int) -> Any:
    auto: Any = transformers.AutoTokenizer
    tokenizer = build_tokenizer() if model is None else auto.from_pretrained(model.expanduser())
    tokenizer.add_tokens([AddedToken(f"<unused{n}>", special=n % 2 == 0) for n in range(added)])
    return tokenizer


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
