"""`pkd speed`: parameters, bytes, memory and seconds of models of any runtime, side by side in one run."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.data.outputs import Outputs
from pkd.data.sources import read_texts
from pkd.distillation.student import student_from
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, load_config, load_pretrained, load_teacher, without_bars
from pkd.encoder.parameters import Parameters, parameters_of
from pkd.errors import RecipeError
from pkd.jobs import asking
from pkd.jobs.lineup import line_up
from pkd.recipe.places import AnyPath, AnyPaths, path_text, path_texts
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named
from pkd.reporting.speeds import Latency, SpeedRecord, Throughput, load_sentence
from pkd.serving.export_facts import facts_of
from pkd.serving.limits import usable_cores
from pkd.serving.loaded import LoadedModel
from pkd.serving.memory import measure_memory
from pkd.serving.onnx_model import graph_of, load_onnx
from pkd.serving.texts import Text
from pkd.serving.timing import Cell, Times, Work, time_models, work_on_random, work_on_texts
from pkd.serving.torch_model import taken_over
from pkd.serving.turns import cpu_share
from pkd.training.hardware import resolve_device

ROUNDS = 5
MAX_LENGTH = 128
BATCH_SIZES = (1, 8, 32)
_SINGLES = 50  # texts a round


@dataclass(frozen=True)
class _Model:
    """A model that is ready, and what is known of it without running it."""

    ready: LoadedModel
    folder: str  # where a process of its own can load it from
    layers: int
    parameters: Parameters
    bytes: int


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
    """Count, weigh and time models on the same rows; the first one is what the others are compared with.

    Args:
        models: a folder or hub name, or several: of classifiers, exported or not, or of pretrained encoders, which get
            an untrained head: that makes them neither faster nor slower.
        layers: also time the first model cut to its first layers, so many ("teacher[:6]"). It is not trained for it:
            only size and time mean anything.
        test: a file whose texts are answered; without it random word pieces, all rows `max_length` long.
        rows: at most so many.
        max_length: word pieces a row is cut to; by default 128, or what the model that reads least can.
        batch_sizes: rows a batch for throughput.
        lengths: word pieces a row for throughput, of random ones; by default those of the file's own texts, or
            `max_length`.
        rounds: how often; the models take turns.
        device: "auto", "cpu" or "cuda".
        threads: cores that each model may use; None for all that this process may.
        memory: measure peak memory too, in a process of its own for each model.
        chart: also draw the figures there, as .png, .html or .json.
        keys: keys of the recipe that say how `test` is read, e.g. `text_columns`.

    Returns:
        A record a model: parameters by part, bytes, memory, seconds of each round, latency of one text, throughput,
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
    with asking.speed(models, **asked, **keys) as recipe:
        records = _speed(
            path_texts(models, "models"), path_text(test, "test"), recipe.data, layers=layers, rows=rows,
            max_length=max_length, batch_sizes=batch_sizes, lengths=lengths, rounds=rounds, device=device,
            threads=threads, memory=memory,
        )  # fmt: skip
    if chart is not None:
        from pkd.reporting.speed_chart import write_speed_chart  # altair takes a second

        write_speed_chart(records, Path(path_text(chart, "chart")))
    return records


def _speed(
    models: Sequence[str],
    test: str | None,
    data: DataSettings,
    *,
    layers: Sequence[int],
    rows: int,
    max_length: int | None,
    batch_sizes: Sequence[int],
    lengths: Sequence[int],
    rounds: int,
    device: str,
    threads: int | None,
    memory: bool,
) -> list[SpeedRecord]:
    cores = threads or usable_cores()
    if busy := load_sentence([cpu_share(cores)], cores):
        progress.warn(f"{busy} What is timed beside another job does not hold.")
    with tempfile.TemporaryDirectory(prefix="pkd-speed-") as scratch:
        loaded = dict(_load_all(models, layers, device, cores, Path(scratch)))
        longest = _common_length(loaded, max_length, lengths)
        data.problem_type = next(iter(loaded.values())).ready.kind.name  # by which a file is texts, or questions
        texts = None if test is None else list(itertools.islice(read_texts(test, data), rows))
        on_file = [0] if texts is not None and not lengths else []
        cells = [Cell(batch, length) for length in on_file or lengths or [longest] for batch in batch_sizes]
        works = {name: _work(model.ready, texts, rows, longest, cells) for name, model in loaded.items()}
        timed = time_models(works, rounds, cores)
        times = timed.times
        peaks = _peaks(loaded, cores, (max(batch_sizes), max([longest, *lengths]))) if memory else {}
    on = test or f"random word pieces, {longest} a row"
    first = next(iter(loaded))
    return [
        _record(
            name,
            model,
            works[name],
            times[name],
            times[first],
            loaded[first],
            on,
            cores,
            timed.cpu_shares,
            peaks.get(name),
        )
        for name, model in loaded.items()
    ]


def _load_all(
    models: Sequence[str], layers: Sequence[int], device: str, threads: int, scratch: Path
) -> Iterator[tuple[str, _Model]]:
    """Every model by its name; the first one, cut to each depth, behind it."""
    for number, (name, model) in enumerate(line_up(models).items()):
        if graph_of(model) is not None:
            if layers and number == 0:
                raise RecipeError(
                    f"{model} is exported and cannot be cut to {named('layers')}; name the classifier it came from."
                )
            yield name, _exported(model, device, threads)
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
    """A classifier as it is; an encoder with a head that nothing has trained, saved to `scratch`."""
    architectures = load_config(model).architectures or []
    if any(name.endswith(("ForSequenceClassification", "ForMultipleChoice")) for name in architectures):
        return load_teacher(model), model
    loaded = load_pretrained(model, Outputs("single_label_classification", ("0", "1")))
    with without_bars():
        loaded.model.save_pretrained(scratch)
    loaded.tokenizer.save_pretrained(scratch)
    return loaded, str(scratch)


def _with_torch(loaded: LoadedClassifier, folder: str, device: str, threads: int) -> _Model:
    import torch

    torch.set_num_threads(threads)
    parameters = parameters_of(loaded.model)
    stored = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))  # none of a hub name
    ready = taken_over(loaded, resolve_device(device))
    return _Model(ready, folder, depth_of(loaded.model.config), parameters, stored or 4 * parameters.total)


def _exported(folder: str, device: str, threads: int) -> _Model:
    ready, facts = load_onnx(folder, device, threads), facts_of(folder)
    return _Model(ready, folder, facts.layers, facts.parameters, facts.bytes)


def _common_length(loaded: dict[str, _Model], max_length: int | None, lengths: Sequence[int]) -> int:
    """The length that rows are cut to.

    Raises:
        RecipeError: if it, or one of `lengths`, is more than a model reads.
    """
    for name, model in loaded.items():
        longest = model.ready.longest
        for asked, value in (("max_length", max_length), *(("lengths", length) for length in lengths)):
            if value is not None and value > longest:
                raise RecipeError(f"{named(asked)} is {value}, but {name} reads at most {longest} word pieces.")
    return max_length or min(MAX_LENGTH, *(model.ready.longest for model in loaded.values()))


def _work(model: LoadedModel, texts: list[Text] | None, rows: int, length: int, cells: Sequence[Cell]) -> Work:
    if texts is not None:
        return work_on_texts(model, texts, length, cells, _SINGLES)
    return work_on_random(model, rows, length, cells, _SINGLES)


def _peaks(loaded: dict[str, _Model], threads: int, shape: tuple[int, int]) -> dict[str, int]:
    with progress.stage("measure memory, a process a model", len(loaded), "models") as stage:
        peaks = {}
        for name, model in loaded.items():
            peaks[name] = measure_memory(model.folder, model.ready.device, threads, shape)
            stage.advance(1)
        return peaks


def _record(
    name: str, model: _Model, work: Work, times: Times, of_first: Times, first: _Model, on: str, threads: int,
    cpu_shares: list[float], peak_bytes: int | None,
) -> SpeedRecord:  # fmt: skip
    throughput = [
        Throughput(
            batch=cell.batch,
            length=cell.length or None,
            rows_per_second=[work.rows_of_cell[cell] / second for second in seconds],
            faster=[theirs / second for theirs, second in zip(of_first.cells[cell], seconds, strict=True)],
        )
        for cell, seconds in times.cells.items()
    ]
    return SpeedRecord(
        name=name,
        runtime=model.ready.runtime,
        layers=model.layers,
        embeddings=model.parameters.embeddings,
        layer_parameters=model.parameters.layers,
        head=model.parameters.head,
        parameters=model.parameters.total,
        bytes=model.bytes,
        peak_memory_bytes=peak_bytes,
        rows=work.rows,
        on=on,
        device=model.ready.device,
        threads=threads,
        cpu_shares=cpu_shares,
        seconds=times.rows,
        latency=Latency.of(times.singles, of_first.singles),
        throughput=throughput,
        smaller=first.parameters.total / model.parameters.total,
        faster=[a / b for a, b in zip(of_first.rows, times.rows, strict=True)],
    )
