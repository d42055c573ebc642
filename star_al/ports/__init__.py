"""What the loop needs from the world, as Protocols: a learner and where it computes, an annotator, a store, and so on.

Adapters import this package, never the reverse. Every method may be called again after a crash: writes are
upserts or are guarded by the lease's epoch, and the same inputs give the same result.
"""

from star_al.ports.annotator import Annotator, LoadItems, StillOurs
from star_al.ports.background import Background
from star_al.ports.compute import HERE, Compute, Embed, FitMember, Job, MemberFiles, Predict, PredictBase
from star_al.ports.learner import NO_SAMPLES, Learner, Pool, StoredItems, Taught, ids_of
from star_al.ports.progress import Advance, Progress, ignore
from star_al.ports.store import Store

__all__ = [
    "HERE",
    "NO_SAMPLES",
    "Advance",
    "Annotator",
    "Background",
    "Compute",
    "Embed",
    "FitMember",
    "Job",
    "Learner",
    "LoadItems",
    "MemberFiles",
    "Pool",
    "Predict",
    "PredictBase",
    "Progress",
    "StillOurs",
    "Store",
    "StoredItems",
    "Taught",
    "ids_of",
    "ignore",
]
