"""`pkd submit`: a classifier's predictions for a benchmark's test rows, in the files of its leaderboard.

One file per task, `index` and `prediction`, as the GLUE benchmark requires (Wang et al. 2019), gluebenchmark.com/faq.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pkd import progress
from pkd.data.sources import read_split, require_sources
from pkd.data.tokenize import encode
from pkd.encoder.families import longest_input
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import load_classifier
from pkd.errors import TeacherError
from pkd.jobs import asking_without_keys
from pkd.recipe.benchmarks import leaderboard_sources, task_of
from pkd.recipe.places import AnyPath, output_folder, path_text
from pkd.recipe.settings import DataSettings
from pkd.runs.seal import write_text
from pkd.tasks import kind_of
from pkd.training.hardware import move_model, resolve_device

_LOWEST, _HIGHEST = 0.0, 5.0  # of a similarity


def submit(
    model: AnyPath,
    *,
    task: str,
    output: AnyPath,
    folder: AnyPath | None = None,
    max_length: int | None = None,
    device: str = "auto",
) -> list[Path]:
    """Predict a GLUE task's test rows, whose labels are hidden, and write the files for its leaderboard.

    Args:
        model: folder or hub name of a classifier that was trained on the task.
        task: as "SST-2" or "sst2"; MNLI has two files, and "ax" needs a classifier of MNLI.
        output: folder for the files, such as `SST-2.tsv`; those of other tasks in it are left alone.
        folder: the benchmark's own files; by default they come from the hub.
        max_length: word pieces a row is cut to (default: as the classifier was trained).
        device: "auto", "cpu" or "cuda".

    Returns:
        The files that were written.

    Raises:
        RecipeError: if the task is not known, or has no leaderboard of this form.
        DataError: if its test rows cannot be read.
        TeacherError: if the classifier cannot be loaded or has other classes than the task.
    """
    with asking_without_keys.submit(
        model, task=task, output=output, folder=folder, max_length=max_length, device=device
    ):  # fmt: skip
        model, folder = path_text(model, "model"), path_text(folder, "folder")
        place, where, known = output_folder(output), resolve_device(device), task_of(task)
    assert known is not None  # it was looked at
    sources = leaderboard_sources(known, folder)
    settings = DataSettings(text_columns=list(known.text_columns) if folder is not None else [])
    for source in sources.values():
        require_sources(DataSettings(test=source), ("test",))
    loaded = load_classifier(model)
    outputs = loaded.outputs
    if outputs.kind is not kind_of(known.problem_type):
        raise TeacherError(f"{model} has learned {outputs.problem_type}, but {task} is {known.problem_type}.")
    order = [] if known.answers == "scores" else class_order(task, known.label_names, model, outputs.label_names)
    longest = min(max_length or loaded.tokenizer.model_max_length, longest_input(loaded.model.config))
    move_model(loaded.model, where)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for name, source in sources.items():
        rows = read_split(source, "predict", settings)
        with progress.stage(f"answer {name}", len(rows), "rows") as stage:
            logits = answer_rows(loaded.model, encode(rows, loaded.tokenizer, longest), on_batch=stage.advance).logits
        write_text(place / name, submission_text(logits, order, known.label_names, known.answers))
        written.append(place / name)
    return written


def submission_text(
    logits: np.ndarray, order: Sequence[int], names: Sequence[str], answers: Literal["ids", "names", "scores"]
) -> str:
    """The text of a leaderboard's file.

    Args:
        logits: [N, C], in the order of the test rows.
        order: the classifier's output for each of the task's classes, as `class_order` gives it.
        names: the task's classes, in the order of their ids.
        answers: class ids, class names, or scores, which are kept between 0 and 5.

    >>> submission_text(np.array([[0.0, 2.0], [3.0, 1.0]]), [1, 0], ["no", "yes"], "names").split()
    ['index', 'prediction', '0', 'no', '1', 'yes']
    """
    if answers == "scores":
        told = [f"{score:.3f}" for score in np.clip(logits[:, 0], _LOWEST, _HIGHEST)]
    else:
        classes = logits[:, list(order)].argmax(axis=1)
        told = [names[index] if answers == "names" else str(index) for index in classes]
    return "index\tprediction\n" + "".join(f"{row}\t{answer}\n" for row, answer in enumerate(told))


def class_order(task: str, names: Sequence[str], classifier: str, classifier_names: Sequence[str]) -> list[int]:
    """The classifier's output for each of a task's classes, matched by name; class ids as names are the task's ids.

    Raises:
        TeacherError: showing both lists, if a class is missing.
    """
    known = {name.casefold(): index for index, name in enumerate(classifier_names)}
    if [name.casefold() for name in names if name.casefold() not in known]:
        ids = [str(index) for index in range(len(names))]
        if set(known) != set(ids):
            raise TeacherError(
                f"{classifier} has the classes {', '.join(classifier_names)}, but {task} has {', '.join(names)}: it "
                "was not trained on this task."
            )
        names = ids
    elif len(known) != len(names):
        raise TeacherError(
            f"{classifier} has {len(known)} classes, {task} {len(names)}; take a classifier of this task."
        )
    return [known[name.casefold()] for name in names]
