"""Resolve `auto` learning rates, epochs and augmented rows.

A teacher's depend on its rows, classes and encoder. They were chosen on four tasks (scores in docs/guide.md): a high
rate helps many classes and hurts few.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from pkd import ranks
from pkd.recipe.settings import Effort, TrainingSettings, TransferSettings

Averaging = Literal["none", "ema", "swa"]
KeptEpoch = Literal["best", "latest", "calibrated"]

STUDENT_RATE, STUDENT_EPOCHS = 5e-5, 4.0
_STUDENT_PASSES: dict[Effort, tuple[float, float]] = {  # passes over the number of labelled rows; minimum epochs
    "quick": (STUDENT_EPOCHS, STUDENT_EPOCHS),
    "normal": (12.5, 2.5),
    "best": (36.0, 4.0),
}
_VARIANTS: dict[Effort, int] = {"quick": 0, "normal": 4, "best": 8}  # of each training row, of few classes
_RATE = 1e-4  # for an encoder of _WIDTH hidden units and few classes
_WIDTH = 384
_NARROW, _WIDE = 2.0, 0.25  # bounds of the width's factor on the rate
_MANY_CLASSES, _MANY_FACTOR = 20, 2.0
_EPOCHS, _FEWEST_EPOCHS = 10, 4
_FEWEST_STEPS, _MOST_STEPS = 400, 6_000
_PATIENCE, _FEWEST_PATIENT = 0.4, 3  # patience: share of the epochs, and minimum number


def teacher_schedule(settings: TrainingSettings, *, rows: int, outputs: int, width: int) -> TrainingSettings:
    """A teacher's settings with numbers for `auto`; given numbers stay.

    The rate is inversely proportional to the encoder's width, as it should be for Adam, and twice as high for many
    classes. Ten epochs; more if they have few steps, fewer if they have many. Training ends early when development
    scores no longer rise, unless the user set the epochs.

    Args:
        settings: from the recipe.
        rows: number of training rows.
        outputs: number of outputs of the head.
        width: hidden units of the encoder.

    >>> chosen = teacher_schedule(TrainingSettings(), rows=9_003, outputs=77, width=384)
    >>> chosen.learning_rate, chosen.num_train_epochs, chosen.early_stopping_patience
    (0.0002, 10.0, 4)
    >>> chosen = teacher_schedule(TrainingSettings(num_train_epochs=3), rows=9_003, outputs=2, width=768)
    >>> chosen.learning_rate, chosen.num_train_epochs, chosen.early_stopping_patience
    (5e-05, 3, 'none')
    """
    rate, epochs, patience = settings.learning_rate, settings.num_train_epochs, settings.early_stopping_patience
    if rate == "auto":
        rate = _rate(outputs, width)
    if patience == "auto" and epochs != "auto":
        patience = "none"
    if epochs == "auto":
        steps = steps_an_epoch(rows, settings)
        fewest, most = math.ceil(_FEWEST_STEPS / steps), max(_FEWEST_EPOCHS, _MOST_STEPS // steps)
        epochs = float(min(max(_EPOCHS, fewest), most))
    if patience == "auto":
        patience = max(_FEWEST_PATIENT, math.ceil(_PATIENCE * epochs))
    return dataclasses.replace(
        settings,
        learning_rate=rate,
        num_train_epochs=epochs,
        early_stopping_patience=patience,
        averaging=("none" if ranks.shard_weights() else "ema") if settings.averaging == "auto" else settings.averaging,
        kept_epoch="calibrated" if settings.kept_epoch == "auto" else settings.kept_epoch,
    )


def student_schedule(
    settings: TrainingSettings,
    effort: Effort = "quick",
    *,
    outputs: int = 2,
    width: int = _WIDTH,
    rows_a_label: float = 1.0,
) -> TrainingSettings:
    """A student's settings with numbers for `auto`.

    By effort `quick` they are fixed. By the others the rate is a teacher's, and the epochs, in halves, are so many as
    make a fixed number of passes over as many rows as have labels, with a floor: unlabelled and augmented rows take
    their part.

    Args:
        settings: as they were asked for.
        effort: of the recipe.
        outputs: classes, labels or scores that the head answers.
        width: hidden units of the encoder.
        rows_a_label: all training rows over those that have a label, at least 1.

    >>> chosen = student_schedule(TrainingSettings(), "normal", outputs=77, rows_a_label=5)
    >>> chosen.learning_rate, chosen.num_train_epochs
    (0.0002, 2.5)
    """
    rate, epochs, patience = settings.learning_rate, settings.num_train_epochs, settings.early_stopping_patience
    if rate == "auto":
        rate = STUDENT_RATE if effort == "quick" else _rate(outputs, width)
    if epochs == "auto":
        passes, fewest = _STUDENT_PASSES[effort]
        epochs = max(fewest, round(2 * passes / rows_a_label) / 2)
    return dataclasses.replace(
        settings,
        learning_rate=rate,
        num_train_epochs=epochs,
        early_stopping_patience="none" if patience == "auto" else patience,
        averaging="none" if settings.averaging == "auto" else settings.averaging,
        kept_epoch="best" if settings.kept_epoch == "auto" else settings.kept_epoch,
    )


def variants_of(settings: TransferSettings, effort: Effort, outputs: int) -> int:
    """The number of rows made of each training row, by effort where it is `auto`; of many classes none.

    A row that is crossed with another or loses words says little about which of many similar classes it is of.

    >>> [variants_of(TransferSettings(augment="auto"), "normal", outputs) for outputs in (2, 19, 20, 150)]
    [4, 4, 0, 0]
    """
    if settings.augment != "auto":
        return settings.augment
    return 0 if outputs >= _MANY_CLASSES else _VARIANTS[effort]


def encoder_schedule(
    settings: TrainingSettings,
    effort: Effort = "quick",
    *,
    rows: int,
    outputs: int = 2,
    width: int = _WIDTH,
    rows_a_label: float = 1.0,
) -> TrainingSettings:
    """The settings, with numbers for `auto`, of a student that is an encoder of its own.

    Unlike layers of a fine-tuned teacher it has not seen the task, and its head is new. So by every effort its rate is
    a teacher's of its width, and it takes no fewer steps than a teacher.

    Args:
        settings: as they were asked for.
        effort: of the recipe.
        rows: of an epoch.
        outputs: classes, labels or scores that the head answers.
        width: hidden units of the encoder.
        rows_a_label: all training rows over those that have a label, at least 1.

    >>> chosen = encoder_schedule(TrainingSettings(), "normal", rows=500, rows_a_label=5, width=384)
    >>> chosen.learning_rate, chosen.num_train_epochs
    (0.0001, 25.0)
    """
    rate, epochs = settings.learning_rate, settings.num_train_epochs
    settled = student_schedule(settings, effort, outputs=outputs, width=width, rows_a_label=rows_a_label)
    fewest = math.ceil(_FEWEST_STEPS / steps_an_epoch(rows, settings))
    return dataclasses.replace(
        settled,
        learning_rate=_rate(outputs, width) if rate == "auto" else rate,
        num_train_epochs=max(epochs_of(settled), float(fewest)) if epochs == "auto" else epochs,
    )


def _rate(outputs: int, width: int) -> float:
    """The learning rate: inversely proportional to the encoder's width, and twice as high for many classes."""
    return _RATE * min(_NARROW, max(_WIDE, _WIDTH / width)) * (_MANY_FACTOR if outputs >= _MANY_CLASSES else 1.0)


def steps_an_epoch(rows: int, settings: TrainingSettings) -> int:
    """Optimiser steps per epoch, at least 1; a partial last step counts."""
    batches = math.ceil(rows / settings.per_device_train_batch_size)
    return max(1, math.ceil(batches / settings.gradient_accumulation_steps))


def epochs_of(settings: TrainingSettings) -> float:
    """The number of epochs of resolved settings."""
    assert settings.num_train_epochs != "auto"
    return settings.num_train_epochs


def kept_epoch_of(settings: TrainingSettings) -> KeptEpoch:
    """Which epoch resolved settings keep."""
    assert settings.kept_epoch != "auto"
    return settings.kept_epoch


def averaging_of(settings: TrainingSettings) -> Averaging:
    """How resolved settings average the weights."""
    assert settings.averaging != "auto"
    return settings.averaging


def patience_of(settings: TrainingSettings) -> int | None:
    """The epochs without a better score after which training ends; None for never."""
    patience = settings.early_stopping_patience
    return None if isinstance(patience, str) else patience
