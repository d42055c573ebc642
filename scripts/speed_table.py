"""The table of docs/studies/speed.md, from what ``bench_speed.py`` measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")
"""Where the table stands in the page."""

PRODUCTS = "matrix products alone"
"""The path that takes the products of the blocks' weights and nothing else."""


def table(result: Mapping[str, Any]) -> str:
    """Return what was measured, as Markdown."""
    parts = [_machine(result)]
    if "scoring" in result:
        parts.append(_scoring(result["scoring"]))
    if "training" in result:
        parts.append(_training(result["training"]))
    if "generation" in result:
        parts.append(_generation(result["generation"]))
    if "peak memory, MiB" in result:
        rows = [f"| {path} | {value:,} |" for path, value in result["peak memory, MiB"].items()]
        parts.append("\n".join(["| peak memory | MiB |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _machine(result: Mapping[str, Any]) -> str:
    versions = result["versions"]
    threads = f"{versions['threads']} thread{'s' * (versions['threads'] != 1)}"
    where = result.get("machine") or versions["device"]
    libraries = f"torch {versions['torch']}, transformers {versions['transformers']}, peft {versions['peft']}"
    clock = "CPU seconds" if result["clock"] == "cpu" else "wall clock"
    return f"{where}; {threads}, {versions['dtype']}; {libraries}; {clock}."


def _scoring(scoring: Mapping[str, Any]) -> str:
    paths = list(dict.fromkeys(path for shape in scoring.values() for path in shape["paths"]))
    head = [
        f"| one pass, µs a token (best batch) | {' | '.join(scoring)} |",
        f"|---|{'---|' * len(scoring)}",
    ]
    rows = [*head, *(_path_row(path, scoring) for path in paths)]
    if all(PRODUCTS in shape["paths"] for shape in scoring.values()):
        rows += [_rate_row(path, scoring) for path in ("base", "transformers") if path in paths]
    return "\n".join(rows)


def _rate_row(path: str, scoring: Mapping[str, Any]) -> str:
    """The row of a path's rate, and of the share it is of that of the products alone."""
    cells = []
    for shape in scoring.values():
        operations = shape["operations a token"] * shape["tokens"]
        seconds, least = (shape["paths"][each]["seconds"] for each in (path, PRODUCTS))
        cells.append(
            f"{operations / seconds / 1e9:,.0f} GFLOP/s ({100 * least / seconds:.0f} % of the products')"
        )
    return f"| {path}, rate | {' | '.join(cells)} |"


def _path_row(path: str, scoring: Mapping[str, Any]) -> str:
    cells = []
    for shape in scoring.values():
        found, stock = shape["paths"].get(path), shape["paths"].get("transformers")
        if found is None:
            cells.append("")
            continue
        of_stock = "" if stock is None or found is stock else f"; {found['seconds'] / stock['seconds']:.2f}"
        micro = found["seconds"] / shape["tokens"] * 1e6
        unit = " texts" if path.startswith(("transformers", "peft")) else ""
        cells.append(f"{micro:.0f} ({found['batch']:,}{unit}{of_stock})")
    return f"| {path} | {' | '.join(cells)} |"


def _training(training: Mapping[str, Any]) -> str:
    head = [
        "| a training step of 8 texts | ours | peft, its best (texts at once) | ratio |",
        "|---|---|---|---|",
    ]
    rows = []
    for setting, row in training.items():
        ours, stock = row["paths"]["ours"], row["paths"]["stock peft"]
        ratio = ours["seconds"] / stock["seconds"]
        rows.append(
            f"| {setting} | {ours['seconds']:.2f} s | {stock['seconds']:.2f} s ({stock['batch']}) | {ratio:.2f} |"
        )
    return "\n".join([*head, *rows])


def _generation(generation: Mapping[str, Any]) -> str:
    paths = generation["paths"]
    asked = f"{generation['prompts']} prompts, {generation['samples']} samples, {generation['draws']} answers each"
    pairs = {
        f"drawing: {asked}": ("ours", "transformers"),
        "drawing by one sample, against the base model": ("a sample", "base"),
        "scoring what was drawn, against one text of prompt and answers": ("scoring", "reading"),
    }
    rows = [
        f"| {name} | {paths[one]['seconds']:.1f} s | {paths[other]['seconds']:.1f} s | "
        f"{paths[one]['seconds'] / paths[other]['seconds']:.2f} |"
        for name, (one, other) in pairs.items()
    ]
    return "\n".join(["| answers | ours | against | ratio |", "|---|---|---|---|", *rows])
