"""What the calls of one ``star_al.Campaign`` share: its database, its model, and the loop that runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from star_al.annotators.api import ApiAnnotator
from star_al.app import compose, leasing, running
from star_al.app.stores import find_started, open_store
from star_al.config.spec import ApiSpec, CampaignFile
from star_al.errors import LeaseHeldError
from star_al.loop import Loop, Outcome
from star_al.parts import LeasedParts
from star_al.ports import Learner, Progress, Store
from star_al.types import Campaign

PATIENCE = 5.0
"""Seconds to wait for a lease that another process holds, since most hold it only for a moment."""


class Session:
    """A campaign file with what is opened for it, at most once and when it is first needed.

    Attributes:
        file: The campaign file.
        progress: Where progress is shown.
        annotator: Who answers, if the program does.
        lock: Held by the thread that holds the lease.
        running: The parts of a loop that runs in some thread; None without one.
    """

    def __init__(self, file: CampaignFile, progress: Progress) -> None:
        self.file = file
        self.progress = progress
        self.annotator = ApiAnnotator()
        self.lock = threading.RLock()
        self.running: LeasedParts | None = None
        self._learner: Learner | None = None
        self._store: Store | None = None

    def close(self) -> None:
        """Close the database and forget the model."""
        with self.lock:
            if self._store is not None:
                self._store.close()
            self._store = self._learner = None

    @property
    def store(self) -> Store:
        """The campaign's database."""
        if self._store is None:
            self._store = open_store(self.file)
        return self._store

    def campaign(self) -> Campaign | None:
        """The campaign as stored; None if it has not been started."""
        if self._store is None and find_started(self.file) is None:
            return None
        return self.store.find_campaign(self.file.spec.name)

    @property
    def learner(self) -> Learner:
        """The learner, whose model is loaded when it is first used and then stays in memory."""
        if self._learner is None:
            self._learner = compose.deferred_learner(self._open_learner)
        return self._learner

    def _open_learner(self) -> Learner:
        file, campaign = self.file, self.campaign()
        rounds = [] if campaign is None else self.store.rounds(campaign.campaign_id)
        return compose.open_learner(file, file.spec, rounds, self.progress, cache=file.trunk_folder)

    def run(self, max_rounds: int | None, *, wait: bool) -> Outcome:
        """Run the loop; arguments and errors are those of ``Campaign.run``."""
        api = isinstance(self.file.spec.annotator, ApiSpec)
        with self.lock:
            try:
                with running.controlling(
                    self.file,
                    self.progress,
                    no_wait=not wait,
                    annotator=self.annotator if api else None,
                    learner=self.learner,
                ) as parts:
                    self.running = parts
                    return Loop(parts).run(max_rounds)
            finally:
                self.running = None

    @contextmanager
    def leased(self, campaign: Campaign) -> Iterator[LeasedParts]:
        """Hold the campaign's lease for a short write; wait a little for another process that holds it."""
        store, end = self.store, time.monotonic() + PATIENCE
        with ExitStack() as stack:
            while True:
                try:
                    lease, _ = stack.enter_context(leasing.leased(self.file, store, campaign))
                    break
                except LeaseHeldError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.1)
            parts = compose.open_parts(
                self.file, store, campaign, self.progress, self.file.spec, learner=self.learner
            )
            yield parts.leased(lease, self.annotator, lambda waiting: False)
