"""The trackers that a training reports to: which are missing here, and which the Trainer does not know."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from pkd.errors import RecipeError
from pkd.recipe.spelling import named

_MODULES = {  # one of which is enough; others have the tracker's name
    "azure_ml": ("azureml",),
    "tensorboard": ("tensorboard", "tensorboardX"),
}
_WITHOUT_MODULE = ("all", "none", "kubeflow")  # the last is there where a variable names its server


def is_missing(tracker: str) -> bool:
    """Whether no module of a tracker is installed, as known without importing any."""
    modules = _MODULES.get(tracker, (tracker,))
    return tracker not in _WITHOUT_MODULE and not any(name.isidentifier() and find_spec(name) for name in modules)


def refuse_unknown(trackers: Sequence[str]) -> None:
    """Check that the Trainer can report to each of `trackers`; imports transformers unless nothing is to be checked.

    Raises:
        RecipeError: if it cannot.
    """
    if list(trackers) in ([], ["none"], ["all"]):
        return
    from transformers import integrations

    there: list[str] = integrations.get_available_reporting_integrations()  # type: ignore[attr-defined,no-untyped-call]
    for tracker in trackers:
        if tracker not in there:
            installed = f" (installed: {', '.join(there)})" if there else ""
            raise RecipeError(f"{named('training.report_to')} {refusal(tracker)}{installed}.")


def refusal(tracker: str) -> str:
    """What is wrong with a tracker, as a clause behind its key."""
    return f"names {tracker!r}, which is no tracker that is installed here. Install it, or leave it out"
