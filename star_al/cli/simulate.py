"""Compare strategies on data with known labels, before anyone is paid for labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from star_al.cli import simulate_options as options
from star_al.cli.console import command_line, complain, make_progress, resumable, say, words_of
from star_al.cli.options import DEFAULT_CONFIG, Config, load, names_in
from star_al.cli.study_results import show, write_json
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.app.missing_runs import FailedRun
    from star_al.config.spec import CampaignFile


def simulate(
    config: Config = DEFAULT_CONFIG,
    strategies: options.Strategies = "random,entropy,star",
    posteriors: options.Posteriors = None,
    seeds: options.Seeds = 5,
    gold: options.Gold = None,
    rounds: options.Rounds = None,
    study: options.StudyName = None,
    jobs: options.Jobs = None,
    out: options.Out = None,
    keep: options.Keep = False,
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
    given = {
        "--strategies": strategies,
        "--seeds": seeds,
        "--posteriors": posteriors,
        "--gold": gold,
        "--rounds": rounds,
        "--study": study,
        "--jobs": jobs,
        "--out": out,
        "--keep": keep,
    }
    again = ["star-al", "simulate", str(config), *words_of(given)]
    with resumable(*again):
        from star_al.app.simulating import SimulationRequest, simulate

        file = load(config)
        target = None if out is None else _file_to_write(out, file)
        names, kinds = names_in(strategies), names_in(posteriors)
        request = SimulationRequest(
            names, seeds, kinds, study=study, gold=gold, rounds=rounds, jobs=jobs, keep=keep
        )
        done = simulate(file, request, make_progress())
    show(done.comparison)
    if target is not None:
        write_json(done.comparison, target)
        say(f"Wrote {out}.")
    _end_if_runs_failed(done.failed, command_line(*again))
    page = command_line("star-al", "report", config, "--study", done.comparison.study)
    say(f"To write a page with curves, run: {page}")


def _file_to_write(out: Path, file: CampaignFile) -> Path:
    from star_al.app.predicting import own_files
    from star_al.data import check_out, writable_target

    check_out(out, own_files(file))
    return writable_target(out)


def _end_if_runs_failed(failed: Sequence[FailedRun], again: str) -> None:
    for each in failed:
        complain(f"{each.run.strategy}, seed {each.run.seed}, failed: {each.error}")
    if failed:
        complain(f"{count(len(failed), 'run')} failed; try again with: {again}")
        raise typer.Exit(failed[0].error.exit_code)
