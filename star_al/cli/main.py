"""`star-al`: the list of its commands, and the place where errors become messages and exit codes."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer

from star_al import __version__
from star_al.cli import (
    add_data,
    campaigns,
    config,
    database,
    demo,
    doctor,
    explain,
    export,
    history,
    init,
    label_config,
    model,
    pictures,
    predict,
    report,
    run,
    server,
    simulate,
    status,
)
from star_al.cli.console import TerminatedError, complain, log_on_stderr, stdout_errors_reported
from star_al.cli.everywhere import EPILOG as OPTIONS_OF_ALL
from star_al.cli.everywhere import Everywhere, everywhere, fresh_options, moved_to_front
from star_al.errors import StarALError

PROGRAM = "star-al"
"""The name in usage lines and completion scripts, also for `python -m star_al`."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a process that was ended by SIGINT or SIGTERM, as shells report them."""

EPILOG = (
    "Exit codes: 0 success, 1 internal error or a replay that differs, 2 usage, campaign file or data, "
    "3 database or artefact folder, 4 annotation tool, 5 model, 6 waiting for labels or paused, "
    "7 Hugging Face hub, 130 and 143 stopped by Ctrl-C or SIGTERM."
)


app = typer.Typer(
    name="star-al",
    help="Active-learning campaigns for language models: label less text, and know how sure the model is.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
databases = typer.Typer(help="Create, upgrade and check the database.", no_args_is_help=True)
configs = typer.Typer(help="Show all settings, or their JSON schema.", no_args_is_help=True)

START, LOOK, USE, WHOLE, KEEP = (
    "Start and run",
    "Inspect",
    "Data in and out",
    "Change your mind",
    "Maintenance",
)
app.command("demo", rich_help_panel=START, epilog=OPTIONS_OF_ALL)(demo.demo)
app.command("init", rich_help_panel=START, epilog=OPTIONS_OF_ALL)(init.init)
app.command("up", rich_help_panel=START, epilog=OPTIONS_OF_ALL)(server.up)
app.command("run", rich_help_panel=START, epilog=OPTIONS_OF_ALL)(run.run)
app.command("simulate", rich_help_panel=START, epilog=OPTIONS_OF_ALL)(simulate.simulate)
app.command("status", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(status.status)
app.command("history", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(history.history)
app.command("explain", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(explain.explain)
app.command("pictures", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(pictures.pictures)
app.command("report", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(report.report)
app.command("replay", rich_help_panel=LOOK, epilog=OPTIONS_OF_ALL)(run.replay)
app.command("predict", rich_help_panel=USE, epilog=OPTIONS_OF_ALL)(predict.predict)
app.command("export", rich_help_panel=USE, epilog=OPTIONS_OF_ALL)(export.export)
app.command("export-model", rich_help_panel=USE, epilog=OPTIONS_OF_ALL)(model.export_model)
app.command("add-data", rich_help_panel=USE, epilog=OPTIONS_OF_ALL)(add_data.add_data)
app.command("list", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.list_)
app.command("clone", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.clone)
app.command("rename-label", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.rename_label)
app.command("pause", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.pause)
app.command("resume", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.resume)
app.command("close-round", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.close_round)
app.command("archive", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.archive)
app.command("delete", rich_help_panel=WHOLE, epilog=OPTIONS_OF_ALL)(campaigns.delete)
app.command("doctor", rich_help_panel=KEEP, epilog=OPTIONS_OF_ALL)(doctor.doctor)
app.command("label-config", rich_help_panel=KEEP, epilog=OPTIONS_OF_ALL)(label_config.label_config)
databases.command("upgrade")(database.upgrade)
databases.command("check")(database.check)
databases.command("separate")(database.separate)
databases.command("claim")(database.claim)
app.add_typer(databases, name="db", rich_help_panel=KEEP)
configs.command("reference")(config.reference)
configs.command("schema")(config.schema)
app.add_typer(configs, name="config", rich_help_panel=KEEP)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"star-al {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Use this value in place of the campaign file's, for this command; may be repeated. "
            "Example: --set acquisition.batch_size=10",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress, only results and errors.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also show what libraries log, such as requests, and warnings."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="STAR_AL_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    options = everywhere()
    options.debug, options.quiet, options.verbose = debug, quiet, verbose
    options.settings = tuple(settings or ())
    if verbose:
        context.with_resource(log_on_stderr())
    elif not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")  # those of libraries; ours go through the progress display


def main() -> NoReturn:
    """Run the command of this process and exit."""
    sys.exit(run_command())


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every error is handled here.

    Args:
        arguments: The words after the program's name; None for those of this process.
    """
    _never_fail_on_characters()
    with fresh_options() as options:
        return _run(moved_to_front(sys.argv[1:] if arguments is None else arguments), options)


def _run(arguments: Sequence[str], options: Everywhere) -> int:
    try:
        with _sigterm_raises(), stdout_errors_reported():
            app(arguments, prog_name=PROGRAM)
        return 0
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except TerminatedError:
        return TERMINATED
    except StarALError as exc:
        _print_traceback(options)
        complain(f"star-al: {exc}")
        return exc.exit_code
    except Exception as exc:
        _print_traceback(options)
        what = " ".join(f"{type(exc).__name__}: {exc}".split())
        complain(f"star-al: internal error: {what[:500]}; run with --debug for the traceback")
        return 1


def _print_traceback(options: Everywhere) -> None:
    if options.debug:
        import traceback

        complain(traceback.format_exc())


def _never_fail_on_characters() -> None:
    """Make streams write "?" for characters that a terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that it releases the lease as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
