"""How fast graphs answer one text: all on the same texts, in turns with the teacher, with intervals over the rounds.

A graph is timed alone, batch 1, without tokenising; so is the teacher, as PyTorch runs it: its whole float32 forward
pass, without the shortcut to [CLS]. Rounds are resampled, not calls: what disturbs a machine lasts longer than a call.
"""

from __future__ import annotations

import contextlib
import itertools
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from pkd import progress
from pkd.data.choices import Question
from pkd.data.tokenize import rows_as_texts
from pkd.encoder.load import LoadedClassifier
from pkd.evaluation.resampling import percentile_intervals
from pkd.jobs.plan import RunPlan
from pkd.reporting.front import Figures
from pkd.reporting.results import Score
from pkd.reporting.speeds import load_sentence
from pkd.serving.limits import usable_cores
from pkd.serving.speed import Call, Cell, Times, Work, cpu_share, random_batch, time_a_round, warm_up
from pkd.serving.texts import Batch, Text, TextEncoder, backend_of, rows_of, text_of
from pkd.serving.torch_model import names_read

Round: TypeAlias = Mapping[str, Times]  # by model

TEACHER = "teacher"
ROUNDS = 7
_TEXTS = 64  # of a round
_RESAMPLES = 500


@dataclass(frozen=True)
class Timed:
    """What models are timed on.

    Attributes:
        texts: of the user, typical in length; those of a round, in an order of which every beginning is typical too.
        lengths: of random word pieces instead; empty where the texts are read.
        batch_sizes: for the throughput; empty where it is not measured.
        threads: cores.
        calls: of a round, on one text each.
    """

    texts: Sequence[Text]
    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    threads: int
    calls: int = _TEXTS

    @property
    def cells(self) -> list[Cell]:
        """The batches that the throughput is measured on."""
        return [Cell(size, length) for length in self.lengths or (0,) for size in self.batch_sizes]

    def singles(self, encoder: TextEncoder) -> list[Batch]:
        """The texts of a round one at a time, as an encoder reads them; of a question all choices."""
        if self.lengths:
            made = [random_batch(1, length, encoder.vocabulary, seed=length) for length in self.lengths]
            return [made[number % len(made)] for number in range(self.calls)]
        read = [encoder.pad(encoder.encode(rows_of(text))) for text in self.texts]
        return [read[number % len(read)] for number in range(self.calls)]

    def batches(self, encoder: TextEncoder, cell: Cell) -> list[Batch]:
        """The batches of a cell."""
        if cell.length:
            return [random_batch(cell.batch, cell.length, encoder.vocabulary)]
        begins = range(0, len(self.texts), cell.batch)
        texts = [self.texts[begin : begin + cell.batch] for begin in begins]
        return [encoder.pad(encoder.encode([row for text in some for row in rows_of(text)])) for some in texts]

    def work(self, forward: Callable[[Batch], object], encoder: TextEncoder) -> Work:
        """What a graph is timed on."""
        return Work(
            rows=0,
            all_rows=(),
            singles=[_call(forward, [batch]) for batch in self.singles(encoder)],
            cells={
                cell: (cell.batch if cell.length else len(self.texts), _call(forward, self.batches(encoder, cell)))
                for cell in self.cells
            },
        )


def _call(forward: Callable[[Batch], object], batches: Sequence[Batch]) -> Call:
    def call() -> None:
        for batch in batches:
            forward(batch)

    return call


def timed_on(plan: RunPlan, *, throughput: bool | None = None, texts: Sequence[Text] | None = None) -> Timed:
    """What the shapes and the exports of a run are timed on, by its budget.

    Args:
        plan: of the run.
        throughput: whether it is measured; by default if the budget limits it.
        texts: of which typical ones are taken; by default the development rows.
    """
    budget = plan.budget
    measured = budget.throughput is not None if throughput is None else throughput
    splits = plan.examples.splits
    if texts is None:
        texts = rows_as_texts(splits["eval" if "eval" in splits else "train"])
    return Timed(
        texts=typical(texts, teacher_encoders(plan)[0]),
        lengths=tuple(budget.lengths),
        batch_sizes=tuple(budget.batch_sizes) if measured else (),
        threads=budget.threads or usable_cores(),
    )


def typical(texts: Sequence[Text], encoder: TextEncoder) -> list[Text]:
    """Some of the texts, evenly over their lengths in word pieces; of every beginning of the list the same holds."""
    lengths = [sum(map(len, encoder.encode(rows_of(text)))) for text in texts]
    order = np.argsort(lengths, kind="stable")
    count = min(_TEXTS, len(order))
    places = ((np.arange(count) + 0.5) / count * len(order)).astype(int)
    return [texts[order[places[place]]] for place in sorted(range(count), key=_from_the_middle)]


def _from_the_middle(number: int) -> int:
    """The number with its bits reversed, by which 0, 1, 2, ... come as 0, 32, 16, 48, 8, ..."""
    return int(f"{number:016b}"[::-1], 2)


def lengths_of(timed: Timed, encoder: TextEncoder) -> list[int]:
    """The word pieces of each text of a round."""
    return [int(batch["attention_mask"].sum()) for batch in timed.singles(encoder)]


def teacher_encoders(plan: RunPlan) -> list[TextEncoder]:
    """How each teacher reads texts."""
    readers = zip(plan.teachers.each, plan.teacher_readers, strict=True)
    return [
        TextEncoder(
            backend_of(reader.tokenizer),
            reader.max_length,
            pad_token_id=teacher.model.config.pad_token_id or 0,
            truncation_side=reader.tokenizer.truncation_side,
        )
        for teacher, reader in readers
    ]


@contextlib.contextmanager
def teacher_work(plan: RunPlan, timed: Timed) -> Iterator[Work]:
    """The teacher's work, several one after the other, while PyTorch has the cores that are asked for."""
    before = torch.get_num_threads()
    torch.set_num_threads(timed.threads)
    try:
        works = [
            replace(timed, batch_sizes=()).work(_bare(teacher), encoder)
            for teacher, encoder in zip(plan.teachers.each, teacher_encoders(plan), strict=True)
        ]
        singles = [_after_one_another(calls) for calls in zip(*(work.singles for work in works), strict=True)]
        yield _singles_only(singles, timed)
    finally:
        torch.set_num_threads(before)


def _after_one_another(calls: Sequence[Call]) -> Call:
    def call() -> None:
        for each in calls:
            each()

    return call


def _bare(teacher: LoadedClassifier) -> Callable[[Batch], object]:
    """A model's whole forward pass in PyTorch."""
    model, several, names = teacher.model.train(False), teacher.outputs.kind.has_choices, names_read(teacher)

    def forward(batch: Batch) -> object:
        with torch.inference_mode():
            given = {name: torch.from_numpy(batch[name]) for name in names}
            if several:  # each row as a question with one choice, as a graph reads it
                given = {name: tensor[:, None] for name, tensor in given.items()}
            return model(**given).logits

    return forward


def time_in_rounds(
    works: Mapping[str, Work],
    name: str,
    *,
    rounds: int = ROUNDS,
    before: Sequence[Round] = (),
    on_round: Callable[[list[Round]], None] = lambda _: None,
) -> list[Round]:
    """Time models in turns; the times of each round by model.

    Args:
        works: by model.
        name: of the stage in the progress.
        rounds: how many.
        before: rounds of an earlier call, which are not repeated.
        on_round: receives all rounds so far after each.
    """
    done = list(before[:rounds])
    if len(done) < rounds:
        warm_up(works)
    with progress.stage(name, rounds, "rounds") as stage:
        stage.reach(len(done))
        while len(done) < rounds:
            times = {name: Times(cells={cell: [] for cell in work.cells}) for name, work in works.items()}
            time_a_round(works, times, len(done))
            done.append(times)
            on_round(done)
            stage.advance()
    return done


def figures_of(
    rounds: Sequence[Times], of_teacher: Sequence[Times], size: int, confidence: float, calls: Sequence[Times] = ()
) -> Figures:
    """The figures of a graph, with intervals over rounds.

    Args:
        rounds: of the graph, one after the other.
        of_teacher: of the teacher, the same rounds.
        size: bytes of the graph's folder.
        confidence: of the intervals.
        calls: of whole calls, if they were timed.
    """
    throughput, batch = _throughput(rounds, confidence)

    def speed_up(drawn: Sequence[int]) -> float:
        return _middle([of_teacher[number] for number in drawn]) / _middle([rounds[number] for number in drawn])

    return Figures(
        latency=latency_of(rounds, confidence),
        p95=_score(lambda drawn: _middle([rounds[number] for number in drawn], 95), len(rounds), confidence),
        throughput=throughput,
        batch=batch,
        speed_up=_score(speed_up, len(rounds), confidence),
        bytes=size,
        call=latency_of(calls, confidence) if calls else None,
    )


def latency_of(rounds: Sequence[Times], confidence: float) -> Score:
    """The median milliseconds of one text."""
    return _score(lambda drawn: _middle([rounds[number] for number in drawn]), len(rounds), confidence)


def _middle(rounds: Sequence[Times], percentile: float = 50) -> float:
    return 1000 * float(np.percentile(np.concatenate([times.singles for times in rounds]), percentile))


def _score(value: Callable[[Sequence[int]], float], rounds: int, confidence: float) -> Score:
    """A figure of all rounds, and its interval when rounds are drawn with replacement."""
    draws = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))
    samples = np.array([value(draw.tolist()) for draw in draws])
    low, high = percentile_intervals({"value": samples}, confidence)["value"]
    return Score(value=value(range(rounds)), low=low, high=high)


def _throughput(rounds: Sequence[Times], confidence: float) -> tuple[Score | None, int | None]:
    """Rows per second at the best batch size; of several lengths the slowest counts."""
    rates = {cell: [times.cells[cell][0] for times in rounds] for cell in rounds[0].cells}
    best: list[tuple[Score, int]] = []
    for length in dict.fromkeys(cell.length for cell in rates):
        cell = max((each for each in rates if each.length == length), key=lambda each: float(np.median(rates[each])))
        of_cell = np.array(rates[cell])
        best.append((_score(partial(_median_of, of_cell), len(rounds), confidence), cell.batch))
    return min(best, key=lambda pair: pair[0].value, default=(None, None))


def _median_of(rates: np.ndarray, drawn: Sequence[int]) -> float:
    return float(np.median(rates[list(drawn)]))


def whole_calls(forward: Callable[[Batch], object], encoder: TextEncoder, timed: Timed) -> Work:
    """From one text to its logits, tokenising included."""
    return _singles_only(
        [
            partial(_whole_call, forward, encoder, text)
            for text in itertools.islice(itertools.cycle(timed.texts), timed.calls)
        ],
        timed,
    )


def _whole_call(forward: Callable[[Batch], object], encoder: TextEncoder, text: Text) -> None:
    forward(encoder.pad(encoder.encode(rows_of(text))))


def _singles_only(singles: Sequence[Call], timed: Timed) -> Work:
    """Work without a throughput: in its cells nothing is done."""
    nothing: dict[Cell, tuple[int, Call]] = {cell: (0, lambda: None) for cell in timed.cells}
    return Work(rows=0, all_rows=(), singles=singles, cells=nothing)


def one_at_a_time(answer: Callable[[Sequence[str]], object], timed: Timed) -> Work:
    """A model that reads texts and not word pieces: each text of a round alone, the two of a pair joined."""
    some = itertools.islice(itertools.cycle(timed.texts), timed.calls)
    return _singles_only([partial(answer, [" ".join(_parts(text))]) for text in some], timed)


def _parts(text: Text) -> tuple[str, ...]:
    if isinstance(text, Question):
        return (text.question, *text.choices)
    return text if isinstance(text, tuple) else (text_of(text),)


def machine() -> dict[str, str | int]:
    """What a time depends on besides the work: the processor, its instruction sets, the cores, the runtime."""
    import onnxruntime

    cpuinfo = Path("/proc/cpuinfo")
    names = []
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": usable_cores(),
        "onnxruntime": ".".join(onnxruntime.__version__.split(".")[:2]),
    }


def warn_of_load(threads: int) -> float:
    """Warn if other jobs use the cores; return the share of them that this process gets."""
    share = cpu_share(threads)
    if busy := load_sentence([share], threads):
        progress.warn(f"{busy} What is timed beside another job does not hold.")
    return share
