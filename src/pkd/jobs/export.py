"""`pkd export`: write a folder that serves without PyTorch, after its logits were verified."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from pkd import progress
from pkd.data.examples import load_examples
from pkd.data.labels import label_array
from pkd.data.outputs import Outputs
from pkd.data.sources import read_split
from pkd.data.tokenize import fingerprint_rows, rows_as_texts
from pkd.data.word_logits import stacked
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, load_classifier, with_outputs
from pkd.encoder.parameters import parameters_of
from pkd.errors import DataError, TeacherError
from pkd.jobs import asking
from pkd.jobs.plan import settle_metric
from pkd.recipe.keyword_types import ExportKeywords
from pkd.recipe.places import AnyPath, local_path, output_folder, path_text
from pkd.recipe.schema import Recipe
from pkd.recipe.spelling import named
from pkd.reporting.export_card import export_sentences, exported_card
from pkd.runs.lock import one_writer
from pkd.runs.seal import write_text
from pkd.runs.stage import Done, library_versions, run_stage
from pkd.serving.classifier import Classifier
from pkd.serving.export import convert, require_exporter, trace, write_companions, write_graph
from pkd.serving.exported_model import format_of, load_exported, model_of, open_graph
from pkd.serving.formats import RUNS, Format, bytes_of, exact, files_of, format_asked, needed_besides
from pkd.serving.loaded import Graph
from pkd.serving.proof import TOLERANCE, Change, Parity, measure_change, prove, refusals
from pkd.serving.texts import Text
from pkd.serving.torch_model import max_length_of, taken_over
from pkd.training.hardware import resolve_device

KIND = asking.EXPORTED
_MOST_ALONE = 2000  # texts that the changed model predicts one at a time, evenly spread over all
_MOST_CALIBRATING = 300  # texts that fixed ranges of activations are taken from, likewise


@dataclass(frozen=True, repr=False)
class ExportResult:
    """An exported folder and the facts in its manifest; prints as a few lines."""

    folder: Path
    facts: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join([*export_sentences(self.facts), f"exported: {self.folder}"])

    __repr__ = __str__


@dataclass(frozen=True)
class Limits:
    """How much a format may change: the metric's largest fall, and the least share of equal predictions."""

    max_drop: float = 0.005
    min_agreement: float = 0.97


class NotGoodEnoughError(TeacherError):
    """A converted format changes more than its limits allow."""


@dataclass(frozen=True)
class MeasuredTexts:
    """The texts that a change is measured on."""

    on: str
    texts: list[Text]
    labels: np.ndarray | None
    metric: str
    fingerprint: dict[str, str]
    outputs: Outputs  # of the classifier, as these texts' labels settled them


def export(
    model: AnyPath,
    *,
    output: AnyPath,
    format: str = "onnx",
    int8: bool = False,
    eval: AnyPath | None = None,
    max_drop: float = Limits.max_drop,
    min_agreement: float = Limits.min_agreement,
    overwrite: bool = False,
    **keys: Unpack[ExportKeywords],
) -> ExportResult:
    """Export a classifier to a folder that its runtime alone can serve: graph, tokenizer, config and model card.

    Nothing is written unless the float32 graph's logits are within 1e-4 of PyTorch's over shapes from 1 × 1 to
    32 × 512 and, in int8, its predictions on the development texts are good enough.

    Args:
        model: folder or hub name of a classifier.
        output: the folder to create.
        format: "onnx" or "onnx-int8", which quantises the weights, and the activations dynamically; "openvino" or
            "openvino-int8", which quantises both, the activations by the ranges that 300 texts of `eval` have.
        int8: the format in int8.
        eval: labelled examples or a .txt of texts to measure int8 on. By default the development data of the recipe
            beside the student, if `pkd distill` or `pkd run` made it.
        max_drop: refuse int8 if the metric falls by more, as a share (0.005 is half a point).
        min_agreement: refuse int8 if a smaller share of predictions stays the same.
        overwrite: set aside an existing folder.
        keys: keys of the recipe that decide how `eval` is read, e.g. `text_columns`.

    Raises:
        RecipeError: if `max_drop` or `min_agreement` is no share, int8 has no texts, or libraries are missing.
        TeacherError: if the model cannot be loaded or exported, the graph is wrong, or int8 is not good enough.
        DataError: if the examples cannot be used.
    """
    given: dict[str, Any] = {"eval": eval, "max_drop": max_drop, "min_agreement": min_agreement, **keys}
    with asking.export(model, output=output, format=format, int8=int8, overwrite=overwrite, **given) as recipe:
        into = format_asked(format, int8=int8)
        assert into is not None  # asked for above
        require_exporter(into)
        model = path_text(model, "model")
        if into.is_converted and eval is None:
            progress.note(
                f"{into.precision} is measured on {recipe.data.eval}, the development data of the run that made {model}"
            )
        return _export(model, output_folder(output), into, recipe, Limits(max_drop, min_agreement), overwrite=overwrite)


def _export(model: str, folder: Path, into: Format, recipe: Recipe, limits: Limits, *, overwrite: bool) -> ExportResult:
    if format_of(model) is not None:
        raise TeacherError(f"{model} is an exported folder already. Export the classifier that it was made from.")
    loaded = load_classifier(model)
    measured = _texts_of(recipe, loaded) if into.is_converted else None
    if measured is not None:
        loaded = with_outputs(loaded, measured.outputs)
    with one_writer(folder):
        try:
            done = export_stage(folder, loaded, into, measured, limits, overwrite=overwrite)
        except NotGoodEnoughError as error:
            raise TeacherError(
                f"{error} Export it in float32, or allow more with {named('max_drop')} or {named('min_agreement')}."
            ) from error
        write_text(folder / "README.md", exported_card(card_of(model), folder.name, done.manifest.facts))
    return ExportResult(folder, done.manifest.facts)


def export_stage(
    folder: Path,
    loaded: LoadedClassifier,
    into: Format,
    measured: MeasuredTexts | None,
    limits: Limits,
    *,
    overwrite: bool,
    traced: Callable[[], Any] | None = None,
) -> Done:
    """The stage that exports a loaded classifier; its card is written apart.

    Args:
        folder: to fill.
        loaded: the classifier.
        into: the format.
        measured: the texts that what a converted format changes is measured on.
        limits: how much it may change.
        overwrite: set aside what is in the way.
        traced: the classifier's graph, if it has been traced already for another format.

    Raises:
        NotGoodEnoughError: if a converted graph is not good enough on the measured texts.
        TeacherError: if the graph is wrong.
    """
    inputs = {
        "model": loaded.fingerprints,
        "max_length": max_length_of(loaded),
        "format": into.name,
        "tolerance": TOLERANCE,
        "measured": measured
        and {
            "rows": measured.fingerprint,
            "metric": measured.metric,
            **dataclasses.asdict(limits),
        },
        "versions": library_versions(*(needed.modules if (needed := needed_besides(into)) else ())),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        return _build(partial, loaded, into, measured, limits, traced or (lambda: _traced(loaded)))

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite, resumes=False)


def traced_once(loaded: LoadedClassifier) -> Callable[[], Any]:
    """The classifier's graph, traced when it is first asked for: all its formats are made from one."""
    return functools.cache(lambda: _traced(loaded))


def _traced(loaded: LoadedClassifier) -> Any:
    with progress.stage("trace the model into a graph"):
        return trace(loaded)


def _build(
    partial: Path,
    loaded: LoadedClassifier,
    into: Format,
    measured: MeasuredTexts | None,
    limits: Limits,
    traced: Callable[[], Any],
) -> dict[str, Any]:
    """Fill the folder; remove it on a refusal."""
    try:
        program, plain = traced(), exact(into)
        write_graph(convert(program, loaded, plain), partial / plain.graph)
        graph = open_graph(partial, plain, "cpu")
        parity = prove(loaded, graph, RUNS[into.runtime].modules[0])
        change: Change | None = None
        batches: list[Mapping[str, np.ndarray]] = []
        calibrated: dict[str, Any] = {}
        write_companions(loaded, partial, into)
        if measured is not None:
            if into.is_calibrated:
                batches, calibrated = _calibration(partial, plain, graph, measured)
            with progress.stage(f"convert the weights to {into.precision}"):
                write_graph(convert(program, loaded, into, batches), partial / into.graph)
            for file in files_of(partial, plain):
                file.unlink()
            change = _change(partial, loaded, into, measured)
            _require_good_enough(loaded.name, into, change, limits)
    except (TeacherError, DataError):
        shutil.rmtree(partial)
        raise
    return {**_facts(loaded, program, partial, into, parity, change), **calibrated}


def _facts(
    loaded: LoadedClassifier, program: Any, partial: Path, into: Format, parity: Parity, change: Change | None
) -> dict[str, Any]:
    return {
        "format": into.runtime,
        "precision": into.precision,
        "problem_type": loaded.outputs.problem_type,
        "opset": program.opset_imports[""],
        "layers": depth_of(loaded.model.config),
        "parameters": dataclasses.asdict(parameters_of(loaded.model)),
        "bytes": bytes_of(partial, into),
        "parity": parity.to_dict(),
        **({into.precision: change.to_dict()} if change else {}),
    }


def _change(partial: Path, loaded: LoadedClassifier, into: Format, measured: MeasuredTexts) -> Change:
    texts = measured.texts
    asked_alone = _spread_over(len(texts), _MOST_ALONE)
    with progress.stage(f"measure what {into.precision} changes", 2 * len(texts) + len(asked_alone), "texts") as stage:
        logits = []
        for model in (taken_over(loaded, resolve_device("cpu")), load_exported(partial, device="cpu")):
            logits.append(Classifier(model).logits(texts))
            stage.advance(len(texts))
        before, after = logits
        singles = []
        for row in asked_alone:
            singles.append(Classifier(model).logits([texts[row]]))
            stage.advance()
    return measure_change(
        before,
        after,
        stacked(singles, after),
        asked_alone,
        measured.labels,
        loaded.outputs,
        measured.metric,
        measured.on,
    )


def _calibration(
    partial: Path, plain: Format, graph: Graph, measured: MeasuredTexts
) -> tuple[list[Mapping[str, np.ndarray]], dict[str, Any]]:
    """What the graph is given for some of the measured texts, one at a time, as it will be served; and which texts."""
    batches: list[Mapping[str, np.ndarray]] = []

    def run(given: Mapping[str, np.ndarray]) -> np.ndarray:
        batches.append(given)
        return graph.run(given)

    classifier = Classifier(model_of(str(partial), plain, dataclasses.replace(graph, run=run)))
    rows = _spread_over(len(measured.texts), _MOST_CALIBRATING)
    for row in rows:
        classifier.logits([measured.texts[row]])
    return batches, {"calibrated": {"on": measured.on, "rows": len(rows)}}


def _spread_over(count: int, most: int) -> np.ndarray:
    """The indices of at most so many rows, evenly spread over all."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def _require_good_enough(name: str, into: Format, change: Change, limits: Limits) -> None:
    if reasons := refusals(change, limits.max_drop, limits.min_agreement):
        raise NotGoodEnoughError(f"{into.precision} is not good enough for {name}: {'; '.join(reasons)}.")


def _texts_of(recipe: Recipe, loaded: LoadedClassifier) -> MeasuredTexts:
    """The texts that a change is measured on: the recipe's development data."""
    metric: str = loaded.outputs.kind.scoring.metric
    source = str(recipe.data.eval)
    if local_path(source).suffix.lower() == ".txt":
        data = dataclasses.replace(recipe.data, problem_type=loaded.outputs.problem_type)
        rows = read_split(source, "unlabelled", data)
        return MeasuredTexts(
            Path(source).name, rows_as_texts(rows), None, metric, fingerprint_rows(rows), loaded.outputs
        )
    examples = load_examples(recipe.data, splits=("eval",), teacher=loaded.outputs)
    rows = examples.splits["eval"]
    metric = settle_metric(recipe, examples.outputs).evaluation.metric
    name, labels = Path(source).name, label_array(rows)
    return MeasuredTexts(name, rows_as_texts(rows), labels, metric, fingerprint_rows(rows), examples.outputs)


def card_of(model: str | Path) -> str | None:
    """The card in a model's folder; None without one."""
    path = Path(model) / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None
