"""`pkd speed`: compare parameters, bytes, memory and times of models on any runtime in one run."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.outputs import Outputs
from pkd.data.sources import read_sentences, read_texts
from pkd.distillation.student import student_from
from pkd.encoder.load import LoadedClassifier, load_classifier, load_config, load_pretrained, without_bars
from pkd.errors import RecipeError
from pkd.jobs import asking
from pkd.jobs.lineup import Known, exported_as, known_of, line_up
from pkd.recipe.places import AnyPath, AnyPaths, path_text, path_texts
from pkd.recipe.spelling import named
from pkd.reporting.speeds import Latency, SpeedRecord, Throughput, load_sentence, write_speed_chart
from pkd.serving.exported_model import format_of, load_exported
from pkd.serving.limits import usable_cores
from pkd.serving.loaded import LoadedModel
from pkd.serving.speed import Cell, Times, cpu_share, measure_memory, time_models, work_on_random, work_on_texts
from pkd.serving.torch_model import taken_over
from pkd.training.hardware import resolve_device

ROUNDS = 5
MAX_LENGTH = 128
BATCH_SIZES = (1, 8, 32)
_SINGLES = 50  # texts per round


@dataclass(frozen=True)
class _Model:
    """A loaded model, and what is known without running it."""

    ready: LoadedModel
    known: Known
    folder: str  # from which a separate process can load it
    bytes: int  # on disk


def speed(
    models: AnyPaths,
    *,
    layers: Sequence[int] = (),
    test: AnyPath | None = None,
    rows: int = 256,
    max_length: int | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    lengths: Sequence[int] = (),
    rounds: int = ROUNDS,
    device: str = "auto",
    threads: int | None = None,
    memory: bool = True,
    chart: AnyPath | None = None,
    **keys: Any,
) -> list[SpeedRecord]:
    """Measure size, memory and speed of models on the same rows, and compare each with the first.

    Args:
        models: one or several folders or hub names of classifiers, exported or not, or of pretrained encoders, which
            get an untrained head that does not change their speed.
        layers: also time the first model cut to these numbers of layers ("teacher[:6]"), untrained: only size and time
            are meaningful.
        test: a file of texts to predict; without it random word pieces, all rows `max_length` long.
        rows: maximum number of rows.
        max_length: maximum word pieces per row; by default 128, or less if a model reads less.
        batch_sizes: rows per batch for throughput.
        lengths: random word pieces per row for throughput; by default the lengths of the file's texts, or `max_length`.
        rounds: number of rounds; the models take turns.
        device: "auto", "cpu" or "cuda".
        threads: cores per model; None for all cores of this process.
        memory: also measure peak memory, in a separate process per model.
        chart: also draw the figures into this file: .png, .html or .json.
        keys: keys of the recipe that decide how `test` is read, e.g. `text_columns`.

    Returns:
        One record per model: parameters by part, bytes, memory, seconds of each round, latency of one text, throughput,
        ratios to the first model.

    Raises:
        RecipeError: if a depth or length does not fit a model, a number is not positive, or there are fewer cores.
        TeacherError: if a model cannot be loaded.
        DataError: if the file cannot be read.
    """
    asked: dict[str, Any] = {
        "test": test, "rows": rows, "rounds": rounds, "max_length": max_length, "batch_sizes": batch_sizes,
        "lengths": lengths, "threads": threads, "layers": layers, "device": device, "chart": chart,
    }  # fmt: skip
    with (
        asking.speed(models, **asked, **keys) as recipe,
        tempfile.TemporaryDirectory(prefix="pkd-speed-") as scratch,
    ):
        cores = threads or usable_cores()
        if busy := load_sentence([cpu_share(cores)], cores):
            progress.warn(f"{busy} What is timed beside another job does not hold.")
        loaded = dict(_load_all(path_texts(models, "models"), layers, device, cores, Path(scratch)))
        longest = _common_length(loaded, max_length, lengths)
        first = next(iter(loaded))
        recipe.data.problem_type = loaded[first].ready.kind.name  # by which a file is texts, or questions
        file = path_text(test, "test")
        read: Any = read_sentences if loaded[first].ready.kind.has_tokens else read_texts
        texts = None if file is None else list(itertools.islice(read(file, recipe.data), rows))
        own_lengths = [0] if texts is not None and not lengths else []
        cells = [Cell(batch, length) for length in own_lengths or lengths or [longest] for batch in batch_sizes]
        works = {
            name: work_on_random(model.ready, rows, longest, cells, _SINGLES)
            if texts is None
            else work_on_texts(model.ready, texts, longest, cells, _SINGLES)
            for name, model in loaded.items()
        }
        timed = time_models(works, rounds, cores)
        peaks = _peaks(loaded, cores, (max(batch_sizes), max([longest, *lengths]))) if memory else {}
        records = [
            SpeedRecord(
                name=name,
                peak_memory_bytes=peaks.get(name),
                rows=works[name].rows,
                on=file or f"random word pieces, {longest} a row",
                threads=cores,
                cpu_shares=timed.cpu_shares,
                smaller=loaded[first].known.parameters.total / model.known.parameters.total,
                **_about(model),
                **_beside(timed.times[name], timed.times[first]),
            )
            for name, model in loaded.items()
        ]
    if chart is not None:
        write_speed_chart(records, Path(path_text(chart, "chart")))
    return records


def _load_all(
    models: Sequence[str], layers: Sequence[int], device: str, threads: int, scratch: Path
) -> Iterator[tuple[str, _Model]]:
    """Yield every model with its name; the first is followed by its cuts."""
    for number, (name, model) in enumerate(line_up(models).items()):
        if format_of(model) is not None:
            if layers and number == 0:
                raise RecipeError(
                    f"{model} is exported and cannot be cut to {named('layers')}; name the classifier it came from."
                )
            known = exported_as(model)
            yield name, _Model(load_exported(model, device, threads), known, model, known.bytes)
            continue
        loaded, folder = _load(model, scratch / f"whole-{number}")
        cuts = [] if number else [(f"{name}[:{depth}]", student_from(loaded.model, depth, "first")) for depth in layers]
        yield name, _with_torch(loaded, folder, device, threads)
        for cut_name, cut in cuts:
            place = scratch / cut_name.replace("/", "-")
            with without_bars():
                cut.save_pretrained(place)
            loaded.tokenizer.save_pretrained(place)
            yield cut_name, _with_torch(LoadedClassifier(cut, loaded.tokenizer, cut_name), str(place), device, threads)


def _load(model: str, scratch: Path) -> tuple[LoadedClassifier, str]:
    """Load a classifier, or an encoder with an untrained head, which is saved to `scratch`."""
    architectures = load_config(model).architectures or []
    if any(
        name.endswith(("ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification"))
        for name in architectures
    ):
        return load_classifier(model), model
    loaded = load_pretrained(model, Outputs("single_label_classification", ("0", "1")))
    with without_bars():
        loaded.model.save_pretrained(scratch)
    loaded.tokenizer.save_pretrained(scratch)
    return loaded, str(scratch)


def _with_torch(loaded: LoadedClassifier, folder: str, device: str, threads: int) -> _Model:
    import torch

    torch.set_num_threads(threads)
    known = known_of(loaded)
    stored = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))  # 0 for a hub name
    return _Model(taken_over(loaded, resolve_device(device)), known, folder, stored or known.bytes)


def _common_length(loaded: dict[str, _Model], max_length: int | None, lengths: Sequence[int]) -> int:
    """The maximum length of rows.

    Raises:
        RecipeError: if it, or one of `lengths`, is more than a model reads.
    """
    for name, model in loaded.items():
        longest = model.ready.longest
        for asked, value in (("max_length", max_length), *(("lengths", length) for length in lengths)):
            if value is not None and value > longest:
                raise RecipeError(f"{named(asked)} is {value}, but {name} reads at most {longest} word pieces.")
    return max_length or min(MAX_LENGTH, *(model.ready.longest for model in loaded.values()))


def _peaks(loaded: dict[str, _Model], threads: int, shape: tuple[int, int]) -> dict[str, int]:
    with progress.stage("measure memory, a process a model", len(loaded), "models") as stage:
        peaks = {}
        for name, model in loaded.items():
            peaks[name] = measure_memory(model.folder, model.ready.device, threads, shape)
            stage.advance(1)
        return peaks


def _about(model: _Model) -> dict[str, Any]:
    """The fields of a model's record that need no run."""
    parameters = model.known.parameters
    return {
        "runtime": model.ready.runtime,
        "device": model.ready.device,
        "layers": model.known.layers,
        "embeddings": parameters.embeddings,
        "layer_parameters": parameters.layers,
        "head": parameters.head,
        "parameters": parameters.total,
        "bytes": model.bytes,
        "every_position": model.ready.kind.has_tokens,
    }


def _beside(times: Times, of_first: Times) -> dict[str, Any]:
    """The fields of a model's record about its times, relative to the first model's."""
    return {
        "seconds": times.rows,
        "faster": [theirs / own for theirs, own in zip(of_first.rows, times.rows, strict=True)],
        "latency": Latency.of(times.singles, of_first.singles),
        "throughput": [
            Throughput(
                batch=cell.batch,
                length=cell.length or None,
                rows_per_second=rates,
                faster=[own / theirs for own, theirs in zip(rates, of_first.cells[cell], strict=True)],
            )
            for cell, rates in times.cells.items()
        ],
    }
