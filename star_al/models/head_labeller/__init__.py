"""What an exported head is used with: copied beside it, so that only sentence-transformers is needed."""

from star_al.models.head_labeller.labeller import Labeller

__all__ = ["Labeller"]
