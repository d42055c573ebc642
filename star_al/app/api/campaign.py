"""A campaign in Python: ask questions, tell answers, train, and look at the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any

from star_al.app import compose, exporting, model_export, predicting, reporting
from star_al.app.api import answering
from star_al.app.api.creating import create_file
from star_al.app.api.input_data import Texts, rows_of
from star_al.app.api.question import Question
from star_al.app.api.session import Session
from star_al.app.api.tables import Records, as_table
from star_al.app.model_choice import ModelChoice
from star_al.app.model_export import ExportedModel
from star_al.app.status import Status
from star_al.app.status import status as read_status
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.data import OutOptions
from star_al.display.progress import make_progress
from star_al.errors import ConfigError, DataError, StarALError, StoreError
from star_al.loop import Outcome
from star_al.ports import Progress
from star_al.types import JsonValue


class Campaign:
    """An active-learning campaign.

    The campaign is the same as on the command line: everything is in the campaign file and its database, so
    Python and ``star-al`` can take turns. Each method holds the campaign's lease only while it runs. The methods
    may be called from several threads; ``tell`` and ``skip`` do not wait for training in another thread.

    Example:
        ```python
        campaign = Campaign.create("tickets.csv", labels=["bug", "question"])
        while questions := campaign.ask(10):
            for question in questions:
                campaign.tell(question, my_answer(question.text))
        campaign.predict(["It crashes when I log in"])
        ```
    """

    def __init__(self, file: CampaignFile, progress: Progress | None = None) -> None:
        """Use ``Campaign.create`` or ``Campaign.open``."""
        self._session = Session(file, progress or make_progress())

    @classmethod
    def create(
        cls,
        data: str | Path | Texts,
        labels: Sequence[str] | None = None,
        *,
        model: str | None = None,
        learner: str = "lora",
        path: str | Path | None = None,
        name: str | None = None,
        text_column: str | None = None,
        id_column: str | None = None,
        label_column: str | None = None,
        options: Sequence[str] = (),
        annotator: str = "api",
        settings: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Campaign:
        """Write a campaign file and open it; nothing is imported or trained yet.

        Calling it again with the same arguments opens the existing campaign, so a notebook cell can be rerun.

        Args:
            data: A ``.jsonl``, ``.csv`` or ``.parquet`` file, a ``datasets`` name, or the texts themselves: a list
                of strings, a list of dictionaries or a pandas data frame, which are written beside the file.
            labels: The labels; by default those in ``label_column``.
            model: A causal language model: a hub name or a folder; by default a small one, and none with a head.
            learner: ``lora`` for a language model that is trained every round, ``head`` for a light model on a
                sentence encoder. A head that chooses for LoRA is a matter of ``settings``:
                ``{"acquisition.scorer": "head", "learner.train": "at_end"}``.
            path: The campaign file; by default ``campaign.yaml`` beside the data.
            name: The campaign's name; by default from the data.
            text_column: The column of texts; guessed by default.
            id_column: The column of your own ids.
            label_column: A column with labels that some texts already have.
            options: Multiple choice: one column with lists of options, or several columns.
            annotator: ``api`` for ``ask`` and ``tell``, ``label_studio`` for people in Label Studio, ``oracle`` for
                a simulation that answers from ``label_column``.
            settings: Further settings, nested or by dotted name: ``{"acquisition.batch_size": 10}``.
            progress: Where progress is shown; by default in the notebook or the terminal.

        Raises:
            ConfigError: The settings are not valid, or the file exists with different settings.
            DataError: The data cannot be used.
        """
        file = create_file(
            data,
            None if path is None else Path(path),
            settings or {},
            labels=_as_names(labels),
            model=model,
            learner=learner,
            name=name,
            text_column=text_column,
            id_column=id_column,
            label_column=label_column,
            options=_as_names(options) or (),
            annotator=annotator,
        )
        return cls(file, progress)

    @classmethod
    def open(cls, path: str | Path = "campaign.yaml", *, progress: Progress | None = None) -> Campaign:
        """Open a campaign file, whoever wrote it.

        Args:
            path: The campaign file.
            progress: Where progress is shown; by default in the notebook or the terminal.

        Raises:
            ConfigError: The file is missing or not valid.
        """
        return cls(load_campaign(Path(path)), progress)

    def close(self) -> None:
        """Close the database and forget the model. The campaign can be opened again at any time."""
        self._session.close()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- ask and tell ------------------------------------------------------------------------------------

    def ask(self, n: int = 1, *, annotator: str | None = None) -> list[Question]:
        """Return up to ``n`` open questions, the most informative first.

        If no question is open, the loop runs until there is one: it trains, scores the pool and selects a batch.
        Questions that somebody else is answering come last.

        Args:
            n: How many questions.
            annotator: Who will answer, by default ``api``; needed if several people answer each text.

        Returns:
            The questions; none if the campaign has stopped or waits for other annotators.

        Raises:
            ConfigError: The campaign's annotator is not ``api``, or an annotator must be named.
            LeaseHeldError: Another process runs the campaign.
            StarALError: As ``run``.
        """
        return answering.ask(self._session, n, annotator)

    def tell(
        self,
        question: Question | str,
        label: JsonValue | Collection[str],
        *,
        annotator: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Store the answer to a question.

        The same answer may be told again, for example after a crash: it counts once. Another answer by the same
        annotator replaces the earlier one, also after the question has been closed.

        Args:
            question: A question, or its id.
            label: One of ``question.labels`` or ``question.label_texts``, or what somebody wrote; a list where a
                text may have several.
            annotator: Who answered; by default ``api``.
            seconds: How long it took.

        Raises:
            ConfigError: The campaign's annotator is not ``api``, or an annotator must be named.
            DataError: The question or the label is unknown.
            LeaseHeldError: Another process runs the campaign.
        """
        answering.answer(self._session, question, label, annotator, seconds)

    def skip(
        self, question: Question | str, *, annotator: str | None = None, seconds: float | None = None
    ) -> None:
        """Store that an annotator cannot or will not answer a question.

        What happens then is set in ``labelling.skipped``: by default the text is dropped.

        Args:
            question: A question, or its id.
            annotator: Who skipped it; by default ``api``.
            seconds: How long it took.

        Raises:
            ConfigError: The campaign's annotator is not ``api``, or an annotator must be named.
            DataError: The question is unknown.
            LeaseHeldError: Another process runs the campaign.
        """
        answering.answer(self._session, question, None, annotator, seconds)

    # -- run -----------------------------------------------------------------------------------------------

    def step(self, *, wait: bool = True) -> Outcome:
        """Run to the end of the current round, or until labels are missing.

        Args:
            wait: Wait for people in Label Studio. With ``ask`` and ``tell`` it never waits.

        Returns:
            How it ended: ``kind`` is ``stopped``, ``paused`` (the round is complete), ``waiting``, or ``held`` (by
            `star-al pause`).

        Raises:
            StarALError: As ``run``.
        """
        return self.run(max_rounds=1, wait=wait)

    def run(self, *, max_rounds: int | None = None, wait: bool = True) -> Outcome:
        """Run rounds until a rule stops the campaign, or until labels are missing.

        It may be interrupted at any moment and called again: nothing is lost or done twice.

        Args:
            max_rounds: Complete at most this many rounds.
            wait: Wait for people in Label Studio. With ``ask`` and ``tell`` it never waits.

        Returns:
            How it ended: ``kind`` is ``stopped``, ``paused`` (after ``max_rounds``), ``waiting``, or ``held`` (by
            `star-al pause`).

        Raises:
            LeaseHeldError: Another process runs the campaign.
            StarALError: Data, model, database or annotation tool cannot be used; the message says what to do.
        """
        return self._session.run(max_rounds, wait=wait)

    # -- look ------------------------------------------------------------------------------------------------

    def status(self) -> Status | None:
        """Return where the campaign stands; ``None`` if it has not been started."""
        campaign = self._session.campaign()
        return None if campaign is None else read_status(self._session.file, self._session.store, campaign)

    def history(self) -> Records:
        """Return one row per round: labels, accuracy with its interval, calibration, questions, stopping."""
        campaign = self._session.campaign()
        return as_table([] if campaign is None else self._session.store.history(campaign.campaign_id))

    def labels(self) -> Records:
        """Return one row per labelled text, with your own ids and columns."""
        session, campaign = self._session, self._session.campaign()
        if campaign is None:
            return as_table([])
        return as_table(exporting.label_rows(session.file, session.store, campaign))

    def predict(self, texts: Texts, *, model: str = "best") -> Records:
        """Predict texts with the newest evaluated model.

        Args:
            texts: Strings, or rows with the campaign's columns (needed for multiple choice).
            model: Where a head stands beside the language model: ``head``, ``lora``, or ``best``, which may be both
                together.

        Returns:
            One row per text: ``predicted``, ``confidence``, ``probability_<label>`` for each label, and
            ``total_uncertainty`` with its parts, in nats.

        Raises:
            DataError: A text is empty, a column is missing, or there is no such model.
            StoreError: The campaign has not been started.
            ModelError: The model cannot predict.
        """
        which = _which(model)
        session = self._session
        rows = rows_of(texts, session.file.spec.data.text)
        with session.lock:
            campaign = session.campaign()
            if campaign is None:
                raise StoreError(f"campaign {self.name!r} has not been started. Call ask() or run() first.")
            parts = compose.open_parts(
                session.file, session.store, campaign, session.progress, learner=session.learner
            )
            return as_table(predicting.predict_rows(parts, rows, session.progress, which))

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the campaign's page, a single HTML file that needs no network.

        Raises:
            DataError: ``path`` is a file of the campaign.
            StoreError: The campaign has not been started, or the file cannot be written.
        """
        reporting.write_report(self._session.file, Path(path))
        return Path(path)

    def export(
        self,
        path: str | Path,
        *,
        rows: str = "all",
        with_predictions: bool = False,
        bom: bool = False,
        spreadsheet_safe: bool = False,
    ) -> int:
        """Write the rows of your data, with what is known of them, to a ``.jsonl``, ``.csv`` or ``.parquet`` file.

        Args:
            path: The file.
            rows: ``all`` rows of the data in their order, the ``labelled`` ones, or ``answers``: one row for each
                answer.
            with_predictions: Add the model's predictions for texts without a label.
            bom: CSV: begin with a byte order mark, so that Excel reads it as UTF-8.
            spreadsheet_safe: CSV: put ``'`` before cells that a spreadsheet would take for a formula.

        Returns:
            The number of rows.

        Raises:
            DataError: The suffix or ``rows`` is unknown, or ``path`` is a file of the campaign.
            StoreError: The campaign has not been started, or the file cannot be written.
        """
        kinds = [each.value for each in exporting.Rows]
        if rows not in kinds:
            raise DataError(f"rows is {rows!r}. Give one of {', '.join(kinds)}.")
        done = exporting.export_file(
            self._session.file,
            Path(path),
            self._session.progress,
            rows=exporting.Rows(rows),
            with_predictions=with_predictions,
            options=OutOptions(bom=bom, spreadsheet_safe=spreadsheet_safe),
        )
        for note in done.notes:
            self._session.progress.say(note)
        return done.n

    def export_model(
        self,
        folder: str | Path,
        *,
        round_index: int | None = None,
        merged: bool = False,
        model: str = "best",
    ) -> ExportedModel:
        """Write the model as a folder that other programs use.

        Args:
            folder: A folder that does not exist, is empty, or holds an earlier export.
            round_index: The round whose model to write; by default the newest.
            merged: Write whole weights, which need no base model, in place of an adapter.
            model: Where a head stands beside the language model: ``head``, ``lora``, or ``best``.

        Returns:
            What was written.

        Raises:
            DataError: There is no such round, or the folder holds other files.
            StoreError: The campaign has not been started, or the folder cannot be written.
            ModelError: No adapter has been trained yet, or the posterior cannot be exported.
        """
        return model_export.export_model(
            self._session.file,
            Path(folder),
            self._session.progress,
            round_index=round_index,
            merged=merged,
            which=_which(model),
        )

    @property
    def path(self) -> Path:
        """The campaign file."""
        return self._session.file.path

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self._session.file.spec.name

    def __repr__(self) -> str:
        return f"Campaign({str(self.path)!r}): " + ", ".join(
            f"{what} {value}" for what, value in self._facts()
        )

    def _repr_html_(self) -> str:
        """Show where the campaign stands in a notebook."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(what)}</th><td>{escape(value)}</td></tr>"
            for what, value in self._facts()
        )
        return f"<table><caption>Campaign {escape(self.name)}</caption>{rows}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        """Return what to show of the campaign; a representation never raises."""
        try:
            now = self.status()
        except StarALError as exc:
            return [("error", str(exc))]
        if now is None:
            return [("state", "not started")]
        metrics = now.latest_metrics
        accuracy = "not evaluated" if metrics is None else f"{float(str(metrics['accuracy'])):.3f}"
        return [
            ("texts", f"{sum(now.sizes.values()):,}"),
            ("labels", f"{sum(now.labels.values()):,}"),
            ("accuracy", accuracy),
            ("open questions", f"{now.open_queries:,}"),
            ("state", now.next_step),
        ]


def _as_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names as a tuple; a single string would otherwise count as a list of letters.

    Raises:
        ConfigError: ``names`` is a string.
    """
    if isinstance(names, str):
        raise ConfigError(f"{names!r} is a single string. Give a list: [{names!r}, …].")
    return None if names is None else tuple(names)


def _which(model: str) -> ModelChoice:
    """Return which model is meant.

    Raises:
        DataError: There is no such one.
    """
    if model not in list(ModelChoice):
        raise DataError(f"model is {model!r}. Give one of {', '.join(ModelChoice)}.")
    return ModelChoice(model)
