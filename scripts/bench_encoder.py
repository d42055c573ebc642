"""Time a sentence encoder, the store of features, and the search for neighbours in a large pool.

python scripts/bench_encoder.py encoder --model FOLDER
python scripts/bench_encoder.py windows --model FOLDER
python scripts/bench_encoder.py store --texts 100000
python scripts/bench_encoder.py neighbours --model FOLDER --texts 200000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from star_al.acquire.embeddings import unit_vectors
from star_al.app.demo import demo_encoder, fetch_news
from star_al.models.encoded import Encoded
from star_al.models.encoder import open_encoder
from star_al.models.feature_store import FeatureStore, Positions, paged
from star_al.types import Float32Array

BUDGETS = (25, 50, 100, 200)
TESTED = 500
NEAREST = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["encoder", "windows", "store", "neighbours"])
    parser.add_argument("--model", type=Path, help="folder of an encoder; by default the demo's")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    model = arguments.model or demo_encoder(print)
    measures: dict[str, Callable[[], None]] = {
        "encoder": lambda: time_encoder(model, arguments.texts),
        "windows": lambda: compare_windows(model, arguments.texts, arguments.seeds),
        "store": lambda: time_store(arguments.texts),
        "neighbours": lambda: time_neighbours(model, arguments.texts),
    }
    measures[arguments.what]()


def time_encoder(model: Path, n: int) -> None:
    """Time both dtypes on news articles, long and cut to a sentence, and compare their vectors."""
    articles = [row["text"] for row in fetch_news(print)[:n]]
    for name, texts in {"articles": articles, "sentences": [text[:80] for text in articles]}.items():
        vectors = {}
        for dtype in ("float32", "bfloat16"):
            encoder = open_encoder(str(model), dtype=dtype)
            encoder.encode(texts[:8])
            start = time.perf_counter()
            vectors[dtype] = unit_vectors(encoder.encode(texts).vectors_N_d)
            seconds = time.perf_counter() - start
            print(
                f"{name}, {dtype}: {seconds:.1f} s for {len(texts)} texts, {1000 * seconds / len(texts):.1f} ms each"
            )
        cosines = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1)
        print(f"{name}: cosine between the two at least {cosines.min():.5f}")


def compare_windows(model: Path, n: int, seeds: int) -> None:
    """Compare articles that are cut with the mean over their windows, by accuracy with few labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = fetch_news(print)[:n]
    labels = sorted({row["label"] for row in rows})
    targets = np.array([labels.index(row["label"]) for row in rows])
    found: dict[str, dict[int, list[float]]] = {}
    for name, most in {"cut": 1, "windows": 8}.items():
        encoder = open_encoder(str(model))
        encoder.most_windows = most
        vectors = encoder.encode([row["text"] for row in rows]).vectors_N_d
        names = unit_vectors(encoder.encode(labels).vectors_N_d)
        zero_shot = (np.argmax(unit_vectors(vectors) @ names.T, axis=1) == targets).mean()
        scaled = StandardScaler().fit_transform(vectors)
        found[name] = {budget: [] for budget in BUDGETS}
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(rows))
            test, pool = order[:TESTED], order[TESTED:]
            for budget in BUDGETS:
                fitted = LogisticRegression(C=0.01, max_iter=300).fit(
                    scaled[pool[:budget]], targets[pool[:budget]]
                )
                found[name][budget].append(100 * fitted.score(scaled[test], targets[test]))
        means = ", ".join(f"{np.mean(scores):.1f} % with {budget}" for budget, scores in found[name].items())
        print(f"{name}: zero-shot {100 * zero_shot:.1f} %; {means}")
    for budget in BUDGETS:
        gain = np.subtract(found["windows"][budget], found["cut"][budget])
        print(
            f"windows − cut with {budget} labels: {gain.mean():+.2f} ± {1.96 * gain.std() / seeds**0.5:.2f} points"
        )


def time_store(n: int) -> None:
    """Time the writing and the finding of vectors of 384 numbers."""
    keys = [f"{number:032x}" for number in range(n)]
    vectors = np.random.default_rng(0).standard_normal((n, 384), dtype=np.float32)

    def encode(positions: Positions) -> Encoded:
        return Encoded(vectors[positions], np.zeros(len(positions), dtype=bool))

    with tempfile.TemporaryDirectory() as folder:
        for what in ("written", "found by a new process", "found again"):
            if what != "found again":
                store = FeatureStore(Path(folder), "0" * 64, 10**11, print)
            start = time.perf_counter()
            store.rows(keys, paged(encode))
            print(f"{n} texts {what}: {time.perf_counter() - start:.2f} s")


def time_neighbours(model: Path, n: int) -> None:
    """Time approximate search among mixtures of articles' sentences, and count the nearest that it finds."""
    from star_al.head import UnitVectors, exact_search
    from star_al.models.approximate_search import ApproximateSearch

    sentences = [
        line for row in fetch_news(print)[:600] for line in row["text"].split("\n") if len(line) > 40
    ]
    base = _mixtures(unit_vectors(open_encoder(str(model)).encode(sentences).vectors_N_d), n)
    queries = base[np.random.default_rng(1).choice(n, 500, replace=False)]
    search, texts = ApproximateSearch(), UnitVectors(base)
    start = time.perf_counter()
    search(queries[:1], texts, NEAREST)
    built = time.perf_counter()
    found = search(queries, texts, NEAREST + 1).indices_N_k
    seconds = time.perf_counter() - built
    exact = exact_search(queries, texts, NEAREST + 1).indices_N_k
    shared = np.mean([len(set(a) & set(b)) - 1 for a, b in zip(found, exact, strict=True)]) / NEAREST
    print(f"{n} texts of {base.shape[1]} numbers: built in {built - start:.0f} s")
    print(
        f"all neighbours in about {seconds * n / len(queries):.0f} s; {shared:.1%} of the {NEAREST} nearest found"
    )


def _mixtures(vectors_M_d: Float32Array, n: int) -> Float32Array:
    """Return ``n`` unit vectors: each a vector with up to 40 % of another and some noise."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(vectors_M_d), size=(2, n))
    share = rng.uniform(0, 0.4, (n, 1)).astype(np.float32)
    noise = 0.015 * rng.standard_normal((n, vectors_M_d.shape[1]), dtype=np.float32)
    return unit_vectors((1 - share) * vectors_M_d[first] + share * vectors_M_d[second] + noise)


if __name__ == "__main__":
    main()
