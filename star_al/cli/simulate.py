"""Compare strategies on data with known labels, before anyone is paid for labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star_al.cli import completion
from star_al.cli.console import command_line, complain, make_progress, print_table, resumable, say
from star_al.cli.options import DEFAULT_CONFIG, Config, load
from star_al.common.wording import count
from star_al.display.text import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from star_al.stats.learning_curves import Comparison, StrategyCurve
    from star_al.stats.over_seeds import Difference, Estimate, Saving

TARGET = 0.95
"""The table shows the labels needed for this share of random's gain."""


def simulate(
    config: Config = DEFAULT_CONFIG,
    strategies: Annotated[
        str,
        typer.Option(help="Strategies to compare, comma-separated.", autocompletion=completion.strategies),
    ] = "random,entropy,star",
    posteriors: Annotated[
        str | None,
        typer.Option(
            help="Posteriors to combine with each strategy, comma-separated.",
            show_default=False,
            autocompletion=completion.posteriors,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each strategy, each with its own seed.")] = 5,
    gold: Annotated[
        str | None,
        typer.Option(
            help="Column with the right answers, if the campaign is for people.", show_default=False
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds of training, instead of stopping.max_rounds.", show_default=False),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="Name of the study; by default the campaign's name.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at a time; by default as many as cores and memory allow.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write all results to this JSON file.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep adapters and scores of finished runs.")] = False,
) -> None:
    """Run labelled data through the loop with several strategies and seeds, and compare them.

    Strategies: random, entropy, margin, least_confidence, bald, epig, star
    (blended by the schedule of STAR), star_measured, star_prequential, power,
    batchbald, badge, k_centre, facility_location, idds, cluster_margin,
    uncertainty_herding, recommended, and config (the file as it is). A strategy
    can name how its first batch is chosen (random, base_uncertainty, typical or
    herding), as in margin:herding, and that a head ranks the texts, as in
    margin@head.

    Posteriors: map, mc_dropout, ensemble, laplace, clora and tfb. By default
    each strategy uses the campaign's posterior with its settings; other
    posteriors have their defaults. A strategy can name its own:
    random,entropy@laplace.

    You can stop it at any time (Ctrl-C, even a crash) and start it again, also
    with more strategies, posteriors or seeds.
    """
    words: list[str | Path] = [
        "star-al",
        "simulate",
        config,
        "--strategies",
        strategies,
        "--seeds",
        str(seeds),
    ]
    given = {
        "--posteriors": posteriors,
        "--gold": gold,
        "--rounds": rounds,
        "--study": study,
        "--jobs": jobs,
        "--out": out,
    }
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    words += ["--keep"] if keep else []
    with resumable(*words):
        from star_al.app.predicting import own_files
        from star_al.app.simulating import SimulationRequest, simulate
        from star_al.data import check_out, writable_target

        file = load(config)
        if out is not None:
            check_out(out, own_files(file))
        target = None if out is None else writable_target(out)
        names, kinds = _names(strategies), _names(posteriors or "")
        request = SimulationRequest(
            names, seeds, kinds, study=study, gold=gold, rounds=rounds, jobs=jobs, keep=keep
        )
        done = simulate(file, request, make_progress())
    show(done.comparison)
    if target is not None:
        write_json(done.comparison, target)
        say(f"Wrote {out}.")
    for each in done.failed:
        complain(f"{each.run.strategy}, seed {each.run.seed}, failed: {each.error}")
    if done.failed:
        complain(f"{count(len(done.failed), 'run')} failed; try again with: {command_line(*words)}")
        raise typer.Exit(done.failed[0].error.exit_code)
    page = command_line("star-al", "report", config, "--study", done.comparison.study)
    say(f"To write a page with curves, run: {page}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def show(comparison: Comparison) -> None:
    """Print the table, and what it shows in words."""
    from star_al.stats.learning_curves import in_words

    if not comparison.strategies:
        say("No run has finished yet.")
        return
    print_table(study_table(comparison))
    say("")
    for line in in_words(comparison):
        say(one_line(line))


def study_table(comparison: Comparison) -> Table:
    """Make a table with one line per strategy: means over seeds ± half of a 95 % interval, in percent."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("strategy", no_wrap=True)
    headers = ("seeds", "final\naccuracy %", "AULC %", "AULC − random\n(95 % interval)", "p")
    for header in (*headers, f"labels saved\nat {TARGET:.0%}"):
        table.add_column(header, justify="right", no_wrap=True)
    for curve in comparison.strategies:
        table.add_row(*_cells(curve, comparison))
    return table


def _cells(curve: StrategyCurve, comparison: Comparison) -> list[str]:
    total = sum(run.strategy == curve.strategy for run in comparison.runs)
    done = len(curve.seeds)
    return [
        curve.strategy,
        str(done) if done == total else f"{done} of {total}",
        estimate(curve.final),
        estimate(curve.aulc),
        *difference(curve.aulc_difference),
        saved(curve.saving_at(TARGET)),
    ]


def estimate(value: Estimate | None) -> str:
    """Format a mean in percent, ± half of its interval."""
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{100 * value.mean:.1f}"
    return f"{100 * value.mean:.1f} ±{50 * (value.high - value.low):.1f}"


def difference(value: Difference | None) -> tuple[str, str]:
    """Format a difference in percentage points with its t interval, and p."""
    if value is None:
        return "–", "–"
    text = f"{100 * value.mean:+.2f}"
    if value.t_low is not None and value.t_high is not None:
        text += f" ({100 * value.t_low:+.2f} to {100 * value.t_high:+.2f})"
    return text, "–" if value.p is None else f"{value.p:.3f}" if value.p >= 0.001 else "<0.001"


def saved(value: Saving | None) -> str:
    """Format the share of labels saved with its interval."""
    if value is None:
        return "–"
    if value.saving is None:
        return "not reached"
    if value.reached == 1 and value.low is not None and value.high is not None:
        return f"{100 * value.saving:.0f} % ({100 * value.low:.0f} to {100 * value.high:.0f})"
    often = "" if value.reached == 1 else f", reached in {value.reached:.0%} of resamples"
    return f"{100 * value.saving:.0f} %{often}"


def write_json(comparison: Comparison, path: Path) -> None:
    """Write all results and the curve of every run.

    Raises:
        StoreError: The file cannot be written.
    """
    from star_al.data import write_text

    text = json.dumps(comparison_json(comparison), ensure_ascii=False, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    from star_al.stats.learning_curves import in_words

    properties = ("seeds", "rough", "headline", "above_majority")
    derived = {name: getattr(comparison, name) for name in properties}
    return {**asdict(comparison), **derived, "in_words": in_words(comparison)}
