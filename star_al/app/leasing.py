"""Hold the lease of a campaign."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from star_al.app.heartbeat import Heartbeat
from star_al.common.patience import Patience
from star_al.common.process_identity import ProcessIdentity, has_ended
from star_al.config.spec import CampaignFile
from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import Campaign, Lease


@contextmanager
def leased(
    file: CampaignFile, store: Store, campaign: Campaign, patience: Patience | None = None
) -> Iterator[tuple[Lease, Heartbeat]]:
    """Hold the lease of a campaign, renewed by a heartbeat.

    Args:
        file: The campaign file.
        store: The store that holds the campaign.
        campaign: The campaign.
        patience: What ``store`` waits by. It ends with an error or Ctrl-C, which must not be kept waiting.

    Raises:
        LeaseHeldError: Another living process holds it.
    """
    seconds = file.spec.database.lease_seconds
    lease = store.acquire_lease(campaign.campaign_id, str(ProcessIdentity.of()), seconds, may_take=has_ended)
    try:
        with Heartbeat(store, lease, seconds) as heartbeat:
            try:
                yield lease, heartbeat
            except BaseException:
                if patience is not None:
                    patience.end()
                raise
    finally:
        with suppress(StoreError):  # it must not hide an earlier error; the lease expires by itself
            store.release_lease(lease)
