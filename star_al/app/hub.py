"""Push a folder to the Hugging Face hub, as a private repository unless it shall be public."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from star_al.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDPOINT = "HF_ENDPOINT"
"""The variable that names another hub."""


class Hub:
    """The hub, with a token that may write.

    Args:
        repo: The repository, as ``owner/name`` or ``name``.
        kind: ``model`` or ``dataset``.
        public: Everybody may read a repository that is created.

    Raises:
        HubError: There is no token, or the repository's name cannot be one.
    """

    def __init__(self, repo: str, kind: str, *, public: bool) -> None:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(repo)
        except HFValidationError as exc:
            raise HubError(
                f"{repo!r} cannot be the name of a repository. Give owner/name, of letters, digits, -, _ and ."
            ) from exc
        token = get_token()
        if token is None:
            raise HubError(
                "there is no token for the Hugging Face hub. Make one that may write at "
                "https://huggingface.co/settings/tokens, then run: export HF_TOKEN=…"
            )
        self.repo, self._kind, self._public = repo, kind, public
        self._token = token
        self._api: HfApi = HfApi(endpoint=os.environ.get(ENDPOINT) or None, token=token)

    def create(self) -> None:
        """Make the repository, or check that the existing one is as private as was asked for.

        Called before the work whose result is pushed, so that a wrong token is found out first.

        Raises:
            HubError: The hub refuses or cannot be reached, or the repository exists and is public.
        """
        with self._errors():
            made = self._api.create_repo(
                self.repo, repo_type=self._kind, private=not self._public, exist_ok=True
            )
            self.repo = made.repo_id
            is_private = self._api.repo_info(self.repo, repo_type=self._kind).private
        if not is_private and not self._public:
            raise HubError(f"{self.repo} exists on the hub and is public. Give --public, or another name.")

    def push(self, folder: Path, message: str) -> str:
        """Upload a folder; returns the repository's address.

        Raises:
            HubError: The hub refuses or cannot be reached.
        """
        with self._errors():
            self._api.upload_folder(
                repo_id=self.repo, repo_type=self._kind, folder_path=folder, commit_message=message
            )
        kind = "datasets/" if self._kind == "dataset" else ""
        return f"{self._api.endpoint}/{kind}{self.repo}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the hub's errors into one line without the token."""
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        try:
            yield
        except HfHubHTTPError as exc:
            status = exc.response.status_code if exc.response is not None else None
            if status == 401:
                raise HubError(
                    f"the hub does not accept the token ({self._without_token(exc)}). Make a new one at "
                    "https://huggingface.co/settings/tokens and set HF_TOKEN."
                ) from None
            if status in (403, 404):
                raise HubError(
                    f"the token may not write to {self.repo} ({self._without_token(exc)}). Use a token that may "
                    "write there, or another owner."
                ) from None
            raise HubError(
                f"{self.repo}: the hub refuses ({self._without_token(exc)}). Try again later."
            ) from None
        except OfflineModeIsEnabled:
            raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed. Unset it.") from None
        except Exception as exc:
            if not _is_of_network(exc):
                raise
            raise HubError(
                f"the hub at {self._api.endpoint} cannot be reached ({self._without_token(exc)}). "
                "Check the network, then run the command again."
            ) from None

    def _without_token(self, exc: Exception) -> str:
        line = next(iter(str(exc).strip().splitlines()), "") or type(exc).__name__
        return line.replace(self._token, "***")[:200]


def _is_of_network(exc: Exception) -> bool:
    """True for errors of a connection, whichever library of the hub's client raises them."""
    names = {kind.__name__ for kind in type(exc).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "TimeoutError", "RequestException"})
