"""The Hugging Face hub: a repository opened before the job, and a folder uploaded in one commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pkd.errors import RecipeError, ResourceError, first_line

T = TypeVar("T")


def open_repository(repo: str, *, private: bool | None = None) -> str:
    """Create a model repository unless it exists; called before anything long begins.

    Args:
        repo: OWNER/NAME, or NAME for one of the user's own.
        private: whether a new one is private; None leaves it to the owner's settings.

    Returns:
        Its full name.

    Raises:
        RecipeError: if the name is invalid, or this user may not write there.
        ResourceError: if the hub does not respond.
    """
    from huggingface_hub import HfApi

    return _or_error(
        repo, lambda: HfApi().create_repo(repo, private=private, exist_ok=True, repo_type="model").repo_id
    )  # fmt: skip


def check_name(repo: str) -> None:
    """Check the name of a repository by the hub's own rules, offline.

    Raises:
        RecipeError: if it is invalid.
    """
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # it is re-exported

    _or_error(repo, lambda: validate_repo_id(repo))


def upload(folder: Path, repo: str, message: str) -> str:
    """Upload every file of a folder in one commit.

    Returns:
        The address of the commit.

    Raises:
        RecipeError: if this user may not write there.
        ResourceError: if the hub does not respond, or the upload fails.
    """
    from huggingface_hub import HfApi

    return _or_error(
        repo, lambda: str(HfApi().upload_folder(repo_id=repo, folder_path=folder, commit_message=message).commit_url)
    )


def _or_error(repo: str, ask: Callable[[], T]) -> T:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return ask()
    except HFValidationError as error:
        raise RecipeError(f"{repo!r} is no name of a repository: {_reason(error)} Give OWNER/NAME.") from error
    except LocalTokenNotFoundError as error:
        raise RecipeError(f"The hub needs to know who writes to {repo}: `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise RecipeError(
                f"The hub does not let you write to {repo} ({status}): {first_line(error)} Check `hf auth whoami`, "
                "and that the token may write."
            ) from error
        raise ResourceError(f"The hub refused the upload to {repo} ({status}): {first_line(error)}") from error
    except OfflineModeIsEnabled as error:
        raise ResourceError(f"HF_HUB_OFFLINE is set, so nothing can be pushed to {repo}. Unset it.") from error
    except (OSError, _transport_errors()) as error:
        raise ResourceError(
            f"The hub does not answer ({first_line(error)}), so {repo} is as it was. The same command tries anew."
        ) from error


def _reason(error: Exception) -> str:
    """Why a name is invalid, without the advice for programmers."""
    return first_line(error).replace(" Use `repo_type` argument if needed.", "")


def _transport_errors() -> type[Exception]:
    """What the hub's HTTP client, which depends on its version, raises without a connection."""
    from huggingface_hub import get_session

    module = type(get_session()).__module__.split(".")[0]
    found: type[Exception] = getattr(__import__(module), "TransportError", ConnectionError)
    return found
