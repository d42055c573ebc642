"""Run a demo: a whole campaign with a simulated annotator."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import make_progress, resumable, say
from star_al.cli.options import load
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile
    from star_al.ports import Progress
    from star_al.stats.learning_curves import Comparison


class DemoTasks(StrEnum):
    """What a demo asks about each text."""

    CLASSIFICATION = "classification"
    TEXT = "text"


DEMO_FOLDERS = {
    DemoTasks.CLASSIFICATION: Path("star-al-demo"),
    DemoTasks.TEXT: Path("star-al-demo-text"),
}

WITH_OWN_DATA = {
    DemoTasks.CLASSIFICATION: (
        "With your own data, say data.csv with a column of texts and a column of labels:",
        "  star-al init data.csv --label-column label   # writes campaign.yaml, for you to read and change",
        "  star-al run campaign.yaml                    # runs it; stop with Ctrl-C, continue with the same command",
    ),
    DemoTasks.TEXT: (
        "With your own data, copy the demo's campaign.yaml and change data.path, task.instruction, annotator.gold and",
        "evaluation. Then:",
        "  star-al doctor campaign.yaml   # checks that everything is there",
        "  star-al run campaign.yaml      # runs it; stop with Ctrl-C, continue with the same command",
    ),
}
"""What a demo says last."""


def demo(
    task: Annotated[
        DemoTasks,
        typer.Option(
            help="What is asked: classification, the topic of news; or text, the numbers in a sentence, which the "
            "model learns to write."
        ),
    ] = DemoTasks.CLASSIFICATION,
    folder: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder for everything the demo makes; by default star-al-demo, or star-al-demo-text with "
            "--task text.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a whole campaign in a few minutes: BBC news, a small model, a simulated annotator."""
    start = time.monotonic()
    if folder is None:
        folder = DEMO_FOLDERS[task]
    with resumable("star-al", "demo", "--task", task, "--folder", folder):
        from star_al.app import running
        from star_al.app.demo import NEWS, prepare_demo
        from star_al.app.demo_numbers import NUMBERS

        progress = make_progress()
        which = {DemoTasks.CLASSIFICATION: NEWS, DemoTasks.TEXT: NUMBERS}[task]
        file = load(prepare_demo(folder, progress.say, which))
        for line in which.about:
            progress.say(line)
        running.run(file, progress)
        comparison = _compared(file, progress) if which is NEWS else None
        _show_demo(file, folder, comparison)
    took = count(round(time.monotonic() - start), "second")
    say(f"The demo took {took} and at most {_peak_gigabytes():.1f} GB of memory.")
    say("")
    for line in WITH_OWN_DATA[task]:
        say(line)


def _compared(file: CampaignFile, progress: Progress) -> Comparison:
    """What random choice would have done, by campaigns of the head."""
    from star_al.app.demo_comparison import compare_with_random

    progress.say("Comparing with random texts, by campaigns of the head alone")
    return compare_with_random(file, progress)


def _show_demo(file: CampaignFile, folder: Path, comparison: Comparison | None) -> None:
    from star_al.app.demo_comparison import in_words
    from star_al.app.reporting import write_report
    from star_al.app.stores import reading
    from star_al.cli.history import print_history
    from star_al.cli.pictures import draw

    with reading(file) as (store, campaign):
        print_history(store, campaign)
        draw(store, campaign, folder)
    if comparison is not None:
        say("")
        for line in in_words(comparison):
            say(line)
        say("")
    write_report(file, folder / "report.html")
    say(str(folder / "report.html"))


def _peak_gigabytes() -> float:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)  # bytes on macOS, kilobytes elsewhere
