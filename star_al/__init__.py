"""star_al: active-learning campaigns for language models, based on STAR (arXiv 2403.01165).

The Python interface is ``Campaign``; the command line is ``star-al``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from star_al.app.api.campaign import Campaign
    from star_al.app.api.question import Question
    from star_al.errors import StarALError

__version__ = "0.2.0"

__all__ = ["Campaign", "Question", "StarALError", "__version__"]

_PUBLIC = {
    "Campaign": "star_al.app.api.campaign",
    "Question": "star_al.app.api.question",
    "StarALError": "star_al.errors",
}
"""The module of each public name. They are imported on first use, so that `star-al --help` stays fast."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
