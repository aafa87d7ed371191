"""docs/quality.md, made from the lines of the study: what was measured, what it says, what is missing."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.cells import EVALUATIONS, Student, Teacher
from benchmarks.quality.gains import Gain, gain, mean_over_tasks, right_rows
from benchmarks.quality.lines import Line, answers_key, key_of
from benchmarks.quality.plans import (
    AGAIN,
    FINAL,
    KEPT,
    KEPT_LATEST,
    NARROW,
    NARROW_TASKS,
    PARTS,
    PASSES,
    PLANS,
    RATES,
    REFERENCES,
    SEEDS,
    TEN_PASSES,
    best_teacher,
    teachers_of,
)
from benchmarks.quality.tasks import SCREENED, TASKS

RULE = 0.2  # points over the mean of the screened tasks that make a lever go on
NONE = "–"  # in a table: not measured
BEST_EPOCH = "its best epoch"
FORMER_TEACHERS = ("calibrated epoch", "best epoch")  # without averaged weights
OF_BEST_EPOCH = ", teacher of the best epoch"  # after the name of what learns from it
Rows = NDArray[np.float64]  # right rows: [S, N], or [N] of one fixed model
Lines = Mapping[str, Line]


@dataclass(frozen=True)
class Conclusion:
    """What a lever of the screening became.

    Attributes:
        lever: what was changed, in words.
        contender: its name in the plan; None is the averaged weights of the base.
        became: a default, an option, or nothing.
    """

    lever: str
    contender: str | None
    became: str


CONCLUSIONS = (
    Conclusion("four augmented rows for each training row, at the same number of steps", "augment 4",
               "default of `normal`; `best` has 8"),
    Conclusion("20,000 sentences of the same kind without labels (reviews)", "unlabelled", "option `--unlabelled`"),
    Conclusion("… and twice the steps", "unlabelled, steps 5", "option"),
    Conclusion("rate 2e-4 instead of 1e-4", "rate 2e-4", "default from 20 classes on (`training/schedule.py`)"),
    Conclusion("averaged weights (`ema`) where the development rows prefer them", None,
               "option `training.averaging`; default of `best`"),
    Conclusion("patience with 0.3 of the gradient, states of length 1", "patience 0.3 length",
               "option `--patience`; the default is 0.1"),
    Conclusion("patience with 0.3 of the gradient, states by units", "patience 0.3 units",
               "option `normalize: units`"),
    Conclusion("start from the first layers instead of spread ones", "start first", "option `--start`"),
)  # fmt: skip


def quality_page(lines: Lines) -> str:
    """The page, in Markdown."""
    sections = (
        _top, _final, _best, _parts, _narrow, _latency, _tags, _teachers, _screening, _conclusions, _shares, _hardware,
        _missing,
    )  # fmt: skip
    return "\n\n".join(part for section in sections for part in section(lines)) + "\n"


# Who is compared ----------------------------------------------------------------------------------------------------


def student_lines(lines: Lines, task: str, contender: str, teacher: str) -> list[Line]:
    """A contender's lines on a task, by seed; where two teachers are the same epoch of one training, of either."""
    both = [lines.get(key_of("teacher", default_teacher(task, which))) for which in FORMER_TEACHERS]
    same = all(both) and len({line["best_epoch"] for line in both if line}) == 1
    wanted = FORMER_TEACHERS if same and teacher == FORMER_TEACHERS[0] else (teacher,)
    found = (
        line for line in lines.values()
        if line["kind"] == "student" and line["task"] == task and line["contender"] == contender
        and line.get("teacher", "grid") in wanted
    )  # fmt: skip
    first = {int(line["seed"]): line for line in reversed(list(found))}  # of two lines the one measured first
    return [first[seed] for seed in sorted(first)]


def contenders(lines: Lines, task: str) -> dict[str, Rows]:
    """Name -> right rows on a task, of what any user could have and what it is compared with."""
    found: dict[str, Rows] = {}
    if (words := lines.get(f"words/{task}")) is not None:
        found["word counts"] = right_rows(words)
    if (best := best_teacher(lines, task)) is not None:
        found["best of the grid"] = right_rows(lines[key_of("teacher", best)])
    now = which_teacher(lines, task)
    for which, after in ((now, ""), *((each, f", teacher of the {each}") for each in FORMER_TEACHERS)):
        if (teacher := lines.get(key_of("teacher", default_teacher(task, which)))) is not None:
            found[after.removeprefix(", ") or "teacher"] = right_rows(teacher)
        for name in ("normal", "ft", "v1"):
            if of_name := student_lines(lines, task, name, which):
                found[name + after] = np.stack([right_rows(line, kept_by(line)) for line in of_name])
    if of_normal := student_lines(lines, task, "normal", now):
        found[BEST_EPOCH] = np.stack([right_rows(line) for line in of_normal])
    if of_before := student_lines(lines, task, TEN_PASSES, "best epoch"):
        found[TEN_PASSES + OF_BEST_EPOCH] = np.stack([right_rows(line) for line in of_before])
    if reference := chosen_reference(lines, task):
        of_reference = student_lines(lines, task, reference, now)
        found["reference"] = np.stack([right_rows(line) for line in of_reference])
    return found


def which_teacher(lines: Lines, task: str) -> str:
    """The teacher of a task's students: the default, or as long as `normal` has none of it, a former one."""
    of = (which for which in ("default", *FORMER_TEACHERS) if student_lines(lines, task, "normal", which))
    return next(of, "default")


def kept_by(line: Line) -> str:
    """Which of a line's contenders the package keeps: by effort `normal` the latest that is level with the best."""
    return "_latest" if line["contender"] in KEPT_LATEST and "right_latest" in line else ""


def default_teacher(task: str, which: str = "default") -> Teacher:
    """That of `pkd finetune` with the task's files alone, or without averaged weights."""
    return Teacher(task=task, rate="auto", epochs="auto", kept=KEPT[which])


def chosen_reference(lines: Lines, task: str) -> str | None:
    """The setting of the reference implementation that the development rows choose, by the first seed."""
    scores = {
        name: float(of_name[0]["dev"])
        for name in REFERENCES
        if (of_name := student_lines(lines, task, name, which_teacher(lines, task)))
    }
    return max(scores, key=lambda name: scores[name]) if scores else None


def screened_gain(lines: Lines, task: str, contender: str | None) -> Gain | None:
    """What a lever gives over the base on a task, both from one machine and so from one teacher; None if unknown."""
    bases = student_lines(lines, task, "base", "grid")
    if not bases:
        return None
    base = bases[0]
    if contender is None:
        end = "_ema" if base["dev_ema"] > base["dev"] else ""
        return gain(right_rows(base, end)[None], right_rows(base)[None])
    for line in student_lines(lines, task, contender, "grid"):
        if _machine(line) == _machine(base):
            return gain(right_rows(line)[None], right_rows(base)[None])
    return None


def screened_time(lines: Lines, contender: str) -> float | None:
    """How many times as long as the base's a lever's training takes, over the tasks where both ran on a GPU."""
    took, of_base = 0.0, 0.0
    for task in SCREENED:
        bases, with_lever = (student_lines(lines, task, name, "grid") for name in ("base", contender))
        if bases and with_lever and {_device(bases[0]), _device(with_lever[0])} == {"cuda"}:
            took, of_base = took + with_lever[0]["seconds"], of_base + bases[0]["seconds"]
    return took / of_base if of_base else None


# Sections -----------------------------------------------------------------------------------------------------------


def _top(lines: Lines) -> Iterator[str]:
    yield "# What does each lever give a student?"
    yield _paragraph(
        "Made from the lines of `benchmarks/quality.jsonl` by `python -m benchmarks.quality page`: a line for each "
        "finished cell, with its settings, seed, seconds, hardware and which test rows it answers right. The encoder "
        "is the demo's (all-MiniLM-L6-v2: 6 layers, 384 hidden units), students have 3 layers, batches 32 rows. The "
        f"development rows choose the best of {EVALUATIONS} evaluations; the test rows measure, once. All figures are "
        "points of accuracy on test rows; intervals are 95 %, over rows and seeds ([verdicts.md](verdicts.md)), of one "
        "seed over rows alone. A mean over tasks is the plain mean, its interval from the tasks' own standard errors "
        "as independent ones."
    )
    rows = {"reviews": "3,600 / 400 / 4,530 sentences of film reviews, 2 classes",
            "sst2": "9,000 / 1,000 / 4,872 phrases, 2 classes",
            "mrpc": "3,300 / 367 / 408 pairs, 2 classes",
            "banking77": "9,003 / 1,000 / 3,080 messages, 77 classes",
            "emotion": "3,257 / 374 / 1,421 tweets, 4 classes",
            "irony": "2,862 / 955 / 784 tweets, 2 classes"}  # fmt: skip
    yield _table(["task", "training / development / test rows"], [[task, rows[task]] for task in TASKS])


def _final(lines: Lines) -> Iterator[str]:
    yield "## What any user could have"
    yield _paragraph(
        "`teacher`: `pkd finetune` with the files alone. From its answers, three seeds: `normal`: spread start, T 4, α "
        f"0.5, KD summed over classes, patience 0.1 of the gradient, the package's rate, {PASSES:g} passes, four "
        "augmented rows for each training row at the same number of steps (none from 20 classes on), the latest "
        "evaluation within a standard error of the best. `ft`: the labels alone, all else the same. `v1`: version "
        "one's defaults (4 epochs at 5e-5, "
        "T 10, β 100). "
        "`reference`: the reference implementation's way (the untuned encoder's first layers and a new head, 4 epochs, "
        "T 10, the best of β 100 or 1,000 and rate 2e-5 or 5e-5 on development rows). `word counts`: TF-IDF of one and "
        f"two words with logistic regression. `{BEST_EPOCH}`: `normal` with the evaluation of the best score. "
        f"`{TEN_PASSES}`: `normal` as it was before: ten passes, 1e-4 below 20 classes, the best score kept."
    )
    of_former = [f"{task} ({which})" for task in TASKS if (which := which_teacher(lines, task)) in FORMER_TEACHERS]
    if of_former:
        yield _paragraph(
            f"Not measured again since a teacher's default has averaged weights: {', '.join(of_former)}. There teacher "
            "and students are of that epoch, and `normal` has four augmented rows of 77 classes too."
        )
    found = {task: contenders(lines, task) for task in TASKS}
    names = ("word counts", "best of the grid", "teacher", "reference", "v1", "ft", "normal")
    yield "Test accuracy with its interval, the mean over seeds (number of seeds in brackets, if more than one):"
    yield _table(["task", *names], [[task, *(_accuracy(found[task].get(name)) for name in names)] for task in TASKS])
    macro = [_macro_f1(lines, "emotion", name) for name in names]
    if set(macro) != {NONE}:
        yield _table(["macro F1", *names], [["emotion", *macro]])
    settings = {
        task: sum(bool(student_lines(lines, task, name, which_teacher(lines, task))) for name in REFERENCES)
        for task in TASKS
    }
    few = [f"{task} {count}" for task, count in settings.items() if 0 < count < len(REFERENCES)]
    if few:
        yield _paragraph(f"Of the four settings of `reference`, so many are measured: {', '.join(few)}.")
    pairs = (
        ("normal", "teacher", "−0.8 or above"), ("normal", BEST_EPOCH, ""),
        ("normal" + OF_BEST_EPOCH, TEN_PASSES + OF_BEST_EPOCH, ""),
        ("ft", "teacher", ""), ("v1", "teacher", ""),
        ("reference", "teacher", ""), ("normal", "ft", "+0.5"), ("normal", "v1", ""), ("normal", "reference", "+1.5"),
        ("teacher", "best of the grid", "−0.5 or above"), ("teacher", "word counts", ""),
    )  # fmt: skip
    rows = []
    for name, other, aim in pairs:
        gains = {task: gain(each[name], each[other]) for task, each in found.items() if name in each and other in each}
        if gains:
            rows.append([f"{name} − {other}", *_gains_and_mean(gains, TASKS), aim])
    if rows:
        yield "Differences, and what is aimed at for the mean of six tasks:"
        yield _table(["", *TASKS, "mean", "aim"], rows)
    else:
        yield "None of these teachers and students is measured yet."
    yield from _weights_of_the_teacher(lines)
    times = [f"{task} {ratio:.1f}" for task in TASKS if (ratio := time_ratio(lines, task, "normal", "v1")) is not None]
    if times:
        yield _paragraph(
            f"Answers and training of `normal` take as many times as long as those of `v1`: {', '.join(times)} "
            "(processor time where they ran on a CPU); at most 4 is aimed at."
        )


def gains_of_averaging(lines: Lines) -> dict[tuple[str, str], dict[str, Gain]]:
    """(name, former) -> gain on each task: of the default teacher, and of its `normal`, over those without averages."""
    found = {task: contenders(lines, task) for task in TASKS if student_lines(lines, task, "normal", "default")}
    pairs = [
        (name, f"{before}teacher of the {which}")
        for which in FORMER_TEACHERS
        for name, before in (("teacher", ""), ("normal", "normal, "))
    ]
    return {
        (name, former): {
            task: gain(each[name], each[former]) for task, each in found.items() if {name, former} <= each.keys()
        }
        for name, former in pairs
    }


def _weights_of_the_teacher(lines: Lines) -> Iterator[str]:
    """What averaged weights and the calibrated epoch give, teacher and student, on the tasks that have both."""
    found = {names: gains for names, gains in gains_of_averaging(lines).items() if gains}
    tasks = [task for task in TASKS if any(task in gains for gains in found.values())]
    if not found:
        return
    yield _paragraph(
        "The teacher's weights. By default they are averaged over about the last epoch, where the development rows do "
        "not prefer the raw ones, and of the epochs within half a standard error of the best score that of the lowest "
        "cross-entropy is kept. A late epoch of raw weights has learned its rows by heart, so that its answers to them "
        "say no more than their labels; the average scores as well some epochs earlier. Beside it raw weights alone, "
        "of the calibrated epoch (then within a whole standard error) and of the best one, and what `normal` learns "
        "from each:"
    )
    rows = [
        [f"{name} − {former}", *_gains_and_mean(gains, tasks, len(TASKS))] for (name, former), gains in found.items()
    ]
    yield _table(["", *tasks, "mean"], rows)


def _parts(lines: Lines) -> Iterator[str]:
    """Nothing until `normal` without one of its parts is measured."""
    rows = []
    for name in PARTS:
        gains = {}
        for task in TASKS:
            again = student_lines(lines, task, AGAIN, "default")
            of_normal = again if again and name != AGAIN else student_lines(lines, task, "normal", "default")
            of_part = student_lines(lines, task, name, "default")
            both = sorted({line["seed"] for line in of_normal} & {line["seed"] for line in of_part})
            if both:
                pair = [
                    np.stack([right_rows(line, kept_by(line)) for line in each if line["seed"] in both])
                    for each in (of_normal, of_part)
                ]
                gains[task] = gain(*pair)
        if gains:
            rows.append([f"normal − {name}", *_gains_and_mean(gains, TASKS)])
    if rows:
        yield "## Each part of `normal`"
        yield _paragraph(
            "What `normal` gives over the same student with one thing changed, from the default teacher (plan "
            "`parts`): a start from layers 1, 3 and 5 over 1, 2 and 6, patience 0.1 of the gradient over none, four "
            "augmented rows for each over none at the same number of steps, α 0.5 over 0.9, T 4 over 2. Where teacher "
            f"and `normal` were made again with the same seed, equal but for rounding, `{AGAIN}` is what the others "
            "are held against; what it differs from the first is how much such a figure moves by chance. Intervals of "
            "one seed are over rows alone."
        )
        yield _table(["", *TASKS, "mean"], rows)


def _narrow(lines: Lines) -> Iterator[str]:
    """Nothing until one of its students is measured."""
    planned = PLANS["narrow"].students
    measured = sum(key_of("student", student) in lines for student in planned)
    if not measured:
        return
    yield "## Narrower students"
    yield _paragraph(
        "Of the default teacher's feed-forward neurons each layer keeps the more important half (`width: 0.5`). "
        "`6 narrow` is as deep as its teacher, `3 narrow` starts from every second layer. All else is as in `normal`, "
        "which has 3 whole layers and patience; without patience β is 0. Gains of three seeds are over rows and seeds, "
        "of one over "
        f"rows alone. {measured} of {len(planned)} students are measured."
    )
    found: dict[str, dict[str, Rows]] = {}
    for task in NARROW_TASKS:
        found[task] = {name: rows for name, rows in contenders(lines, task).items() if name in ("teacher", "normal")}
        for name in NARROW:
            if of_name := student_lines(lines, task, name, "default"):
                found[task][name] = np.stack([right_rows(line, kept_by(line)) for line in of_name])
    names = ("teacher", "normal", *NARROW)
    yield _table(["task", *names], [[task, *(_accuracy(found[task].get(name)) for name in names)] for task in found])
    pairs = [(f"{depth} narrow, patience 0.1", f"{depth} narrow") for depth in (6, 3)]
    pairs += [("6 narrow", "teacher"), ("6 narrow", "normal"), ("3 narrow, patience 0.1", "normal")]
    rows = []
    for name, other in pairs:
        gains = {task: gain(each[name], each[other]) for task, each in found.items() if name in each and other in each}
        if gains:
            rows.append([f"{name} − {other}", *_gains_and_mean(gains, NARROW_TASKS)])
    if rows:
        yield _table(["", *NARROW_TASKS, "mean"], rows)


def _of_kind(lines: Lines, kind: str) -> list[Line]:
    """The lines of a kind, by key."""
    return sorted((line for line in lines.values() if line["kind"] == kind), key=lambda line: str(line["key"]))


def _latency(lines: Lines) -> Iterator[str]:
    """Nothing until a task is measured."""
    measured = _of_kind(lines, "latency")
    if not measured:
        return
    yield "## At equal latency"
    yield _paragraph(
        "Another encoder as the student beside the teacher's own layers, from one teacher pass, by `normal`, with one "
        "seed (`python -m benchmarks.equal_latency`). Each is exported in int8 and timed as exported: one test text "
        "after the other, from text to logits, on one core, in turns. The intervals are over rows."
    )
    for line in measured:
        teacher = line["teacher"]
        yield _paragraph(
            f"{line['task']}: the teacher is {teacher['encoder']} of {teacher['layers']} layers, fine-tuned, with "
            f"{_interval(teacher['test'])} ({line['machine']})."
        )
        rows = [
            [
                each["name"],
                f"{each['milliseconds']:.2f}",
                f"{each['bytes'] / 1e6:.1f}",
                _interval(each["int8"]),
                f"{100 * sum(each['float32']) / len(each['float32']):.1f}",
                _signed(100 * (each["int8"]["value"] - teacher["test"]["value"])),
            ]
            for each in sorted(line["students"], key=lambda each: float(each["milliseconds"]))
        ]
        yield _table(["student", "ms a text", "MB", "int8", "float32", "int8 − teacher"], rows)


def _tags(lines: Lines) -> Iterator[str]:
    """Nothing until tags of words are measured."""
    measured = _of_kind(lines, "tags")
    if not measured:
        return
    yield "## Tags of words"
    yield _paragraph(
        "Entities by `normal` (`python -m benchmarks.tags`): a fine-tuned teacher, students of its answers, and `ft`, "
        "the same students from the labels alone. Strict F1 of spans and the share of sentences whose spans are all "
        "right, on test rows: the mean over seeds with the least and the most; of one model its interval over rows."
    )
    for line in measured:
        yield from _run_tables(line, {"span F1": "span_f1", "precision": "span_precision", "recall": "span_recall",
                                      _ALL_RIGHT: "rows_right"}, _ALL_RIGHT)  # fmt: skip


def _best(lines: Lines) -> Iterator[str]:
    """Nothing until a task is measured."""
    measured = _of_kind(lines, "best")
    if not measured:
        return
    yield "## By `best`"
    yield _paragraph(
        "Students of effort `best` from the default teacher's answers (`python -m benchmarks.best`): the start that "
        "wins a race, averaged weights where the development rows prefer them, eight augmented rows for each (none "
        "from 20 classes on), 36 passes, three seeds. The mean over seeds with the least and the most; of one model "
        "its interval over rows."
    )
    for line in measured:
        yield from _run_tables(
            line, {"accuracy": "accuracy", "the teacher's answer": "agreement"}, "accuracy",
            with_text=", with 20,000 sentences of the same kind without labels" if line["unlabelled"] else "",
        )  # fmt: skip


def _run_tables(line: Line, columns: Mapping[str, str], compared: str, *, with_text: str = "") -> Iterator[str]:
    """The models of a whole run by name, with the scores of these columns, and their comparisons."""
    rows_and_machine = f"{line['rows']['test']:,} test rows ({line['machine']})"
    yield _paragraph(f"{line['task']}, {line['encoder']}{with_text}, {rows_and_machine}:")
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for each in line["models"]:
        by_name.setdefault(each["name"], []).append(each)
    rows = [
        [
            name,
            str(of[0]["layers"]),
            *(_over_seeds([each["scores"].get(key) for each in of]) for key in columns.values()),
        ]
        for name, of in by_name.items()
    ]
    yield _table(["model", "layers", *columns], rows)
    yield _table(
        ["compared", f"{compared}, difference", "verdict"],
        [[f"{each['a']} − {each['b']}", _gain_of(each), each["verdict"].lower()] for each in line["comparisons"]],
    )


_ALL_RIGHT = "all spans right"


def _over_seeds(scores: Sequence[Mapping[str, float] | None]) -> str:
    """The mean over seeds with the least and the most; of one model its interval; the teacher does not meet itself."""
    scores = [each for each in scores if each is not None]
    if not scores:
        return NONE
    if len(scores) == 1:
        return _interval(scores[0])
    values = [each["value"] for each in scores]
    return _interval({"value": sum(values) / len(values), "low": min(values), "high": max(values)})


def _gain_of(difference: Mapping[str, float]) -> str:
    value, low, high = (_signed(100 * difference[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _interval(score: Mapping[str, float]) -> str:
    """A share and its interval as points.

    >>> _interval({"value": 0.5, "low": 0.4, "high": 0.625})
    '50.0 (40.0 to 62.5)'
    """
    value, low, high = (f"{100 * score[key]:.1f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _teachers(lines: Lines) -> Iterator[str]:
    yield "## Teachers"
    yield _paragraph(
        "The small grid, six epochs with the best of ten evaluations kept, beside the default and what it was before: "
        "raw weights of the best and of the calibrated epoch. The development rows choose the grid's best, which is "
        "marked."
    )
    rows = []
    for task in TASKS:
        best = best_teacher(lines, task)
        cells = []
        for teacher in teachers_of(task):
            line = lines.get(key_of("teacher", teacher))
            cells.append(NONE if line is None else f"{100 * line['test']:.1f}" + (" *" if teacher == best else ""))
        for which in (*reversed(FORMER_TEACHERS), "default"):
            line = lines.get(key_of("teacher", default_teacher(task, which)))
            if line is None:
                cells.append(NONE)
                continue
            used = line["used"]
            cells.append(
                f"{100 * line['test']:.1f} (rate {used['learning_rate']:g}, epoch {line['best_epoch']:g} of at most "
                f"{used['num_train_epochs']:g})"
            )
        rows.append([task, *cells])
    yield _table(["task", *(f"rate {rate:g}" for rate in RATES), *reversed(FORMER_TEACHERS), "default"], rows)


def _screening(lines: Lines) -> Iterator[str]:
    yield "## Each lever alone"
    yield _paragraph(
        "One seed on four tasks, from the grid's best teacher. The base: KD summed over classes at T 4, α 0.5, no "
        "patience, spread start, ten epochs at 1e-4. Gains over it; only cells of the same machine are compared, for "
        "they had the same teacher. The intervals are over rows alone: another seed would move each figure too."
    )
    names = list(dict.fromkeys(student.contender for student in PLANS["screening"].students))
    rows = []
    for name in [None, *names]:
        gains = {task: got for task in SCREENED if (got := screened_gain(lines, task, name)) is not None}
        if not gains or name == "base":
            continue
        rows.append([
            name or "averaging (ema)", *_gains_and_mean(gains, SCREENED, _planned(name)), _cost(lines, name),
        ])  # fmt: skip
    bases = [student_lines(lines, task, "base", "grid") for task in SCREENED]
    scores = [f"{100 * of_task[0]['test']:.1f} %" if of_task else NONE for of_task in bases]
    seconds = [of_task[0]["seconds"] for of_task in bases if of_task and _device(of_task[0]) == "cuda"]
    timed = f"{sum(seconds) / len(seconds):.0f} s" if seconds else NONE
    yield _table(["", *SCREENED, "mean", "time"], [["base", *scores, "", timed], *rows])


def _conclusions(lines: Lines) -> Iterator[str]:
    yield "## Conclusions"
    yield _paragraph(
        f"A lever goes on if its mean over the four tasks is {RULE} points or more, or if it gives one kind of task a "
        "point and a rule or a race can choose it."
    )
    rows = []
    for each in CONCLUSIONS:
        gains = [got for task in SCREENED if (got := screened_gain(lines, task, each.contender)) is not None]
        wanted = _planned(each.contender)
        cost = _cost(lines, each.contender)
        rows.append([each.lever, _mean(gains, wanted), cost, _rule(gains, wanted), each.became])
    yield _table(["lever", "gain", "time", f"{RULE} points or more", "became"], rows)
    of_epoch = [
        gain(each["normal"], each[BEST_EPOCH]) for task in TASKS if "normal" in (each := contenders(lines, task))
    ]
    if of_epoch:
        yield _paragraph(
            "The latest evaluation within a standard error of the best, instead of the best, gives "
            f"{_mean(of_epoch, len(TASKS))} in one and the same training of `normal`, and costs nothing: it became the "
            "default of `normal` and `best` (`kept_epoch`)."
        )
    of_averaging = gains_of_averaging(lines)
    told = []
    for which in FORMER_TEACHERS:
        of_teacher = of_averaging["teacher", f"teacher of the {which}"]
        of_student = of_averaging["normal", f"normal, teacher of the {which}"]
        if of_teacher and of_student:
            told.append(
                f"over raw ones of the {which} teachers gain {_mean(list(of_teacher.values()), len(TASKS))}, and "
                f"students of `normal` {_mean(list(of_student.values()), len(TASKS))}"
            )
    if told:
        yield _paragraph(
            "A teacher's averaged weights (`averaging: ema`, `kept_epoch: calibrated`), its default, cost an "
            f"evaluation more each epoch; {'; '.join(told)}."
        )


def _planned(contender: str | None) -> int:
    """On how many tasks a lever is to be screened."""
    return sum(student.contender == (contender or "base") for student in PLANS["screening"].students)


def _cost(lines: Lines, contender: str | None) -> str:
    if contender is None:
        return "one evaluation more each time"
    ratio = screened_time(lines, contender)
    return NONE if ratio is None else f"{ratio:.1f} ×"


def _rule(gains: Sequence[Gain], wanted: int) -> str:
    """Whether a lever's mean reaches the rule; with tasks missing, what they would have to give."""
    if not gains:
        return "not measured"
    mean = round(mean_over_tasks(gains).points, 9)
    if wanted < len(SCREENED):
        return "one kind of task: " + ("yes" if mean >= 1 else "no")
    if len(gains) == wanted:
        return "yes" if mean >= RULE else "no"
    left = wanted - len(gains)
    least = (RULE * wanted - mean * len(gains)) / left
    of = "the one left" if left == 1 else f"the {left} left"
    return f"open: yes if {of} {'gives' if left == 1 else 'give'} {_signed(least)} or more"


def _shares(lines: Lines) -> Iterator[str]:
    yield "## The terms' shares of the gradient"
    yield _paragraph(
        "As the student starts, in per cent; 5 at least is aimed at. `v1` divides KD by the number of classes."
    )
    rows = []
    for task in TASKS:
        cells = []
        for name in ("v1", "normal"):
            which = which_teacher(lines, task)
            found = student_lines(lines, task, name, which) or student_lines(lines, task, name, "grid")
            shares = found[0]["shares"] if found else {}
            cells += [f"{100 * shares[term]:.1f}" if term in shares else NONE for term in ("ce", "kd", "pt")]
        rows.append([task, *cells])
    yield _table(["task", *(f"{name}: {term}" for name in ("v1", "normal") for term in ("CE", "KD", "patience"))], rows)


def _hardware(lines: Lines) -> Iterator[str]:
    yield "## Which machine"
    yield _paragraph(
        "A cell that ran on a CPU shared it with other work: its seconds are no measure, and times are taken from the "
        "GPU alone, or are processor time."
    )
    counts = Counter((_machine(line), line["kind"]) for line in lines.values() if "hardware" in line)
    machines = sorted({hardware for hardware, _ in counts})
    kinds = ("teacher", "answers", "student")
    yield _table(
        ["machine", *kinds], [[machine, *(str(counts[machine, kind]) for kind in kinds)] for machine in machines]
    )


def _missing(lines: Lines) -> Iterator[str]:
    yield "## Not measured yet"
    for plan, words in (("final", "what any user could have"), ("screening", "each lever alone")):
        students = [student for student in PLANS[plan].students if plan == "screening" or student.teacher == "default"]
        missing = [student for student in students if key_of("student", student) not in lines]
        yield _paragraph(
            f"`{plan}`, {words}: {len(students) - len(missing)} of {len(students)} students are measured."
            + (" Missing:" if missing else "")
        )
        if missing:
            yield "\n".join(_missing_words(missing))
    without = [task for task in TASKS if best_teacher(lines, task) is None]
    if without:
        yield _paragraph(f"The grid of teachers on {' and '.join(without)}.")
    yield _paragraph("Not in a plan yet: `averaging: swa`, 12 augmented rows, and a full-size encoder.")


def _missing_words(missing: Iterable[Student]) -> Iterator[str]:
    """A line for each contender: tasks and seeds without a cell."""
    by_name: dict[str, dict[int, list[str]]] = {}
    for student in missing:
        by_name.setdefault(student.contender, {}).setdefault(student.seed, []).append(student.task)
    by_words: dict[str, list[str]] = {}
    for name, by_seed in by_name.items():
        seeds: dict[str, list[int]] = {}
        for seed, tasks in by_seed.items():
            seeds.setdefault(", ".join(task for task in TASKS if task in tasks), []).append(seed)
        told = "; ".join(
            tasks + (f" (seed {', '.join(map(str, of))})" if len(SEEDS) > len(of) or seeds.keys() - {tasks} else "")
            for tasks, of in seeds.items()
        )
        by_words.setdefault(told, []).append(f"`{name}`")
    for told, of_words in by_words.items():
        yield f"- {', '.join(of_words)}: {told}"


# Words --------------------------------------------------------------------------------------------------------------


def _accuracy(rows: Rows | None) -> str:
    if rows is None:
        return NONE
    of = gain(rows, np.zeros(rows.shape[-1]))
    told = f"{of.points:.1f} ± {(of.high - of.low) / 2:.1f}"
    return told + (f" ({of.seeds})" if of.seeds > 1 else "")


def _macro_f1(lines: Lines, task: str, name: str) -> str:
    """Of the lines that have it; the first of the study do not."""
    if name == "teacher":
        found = [lines.get(key_of("teacher", default_teacher(task, which_teacher(lines, task))), {})]
    elif name in FINAL:
        chosen = (chosen_reference(lines, task) or name) if name == "reference" else name
        found = student_lines(lines, task, chosen, which_teacher(lines, task))
    else:
        return NONE
    values = [line[f"macro_f1{kept_by(line) if 'contender' in line else ''}"] for line in found if "macro_f1" in line]
    return f"{100 * sum(values) / len(values):.1f}" if values else NONE


def _gain(of: Gain | None) -> str:
    return NONE if of is None else f"{_signed(of.points)} ({_signed(of.low)} to {_signed(of.high)})"


def _gains_and_mean(gains: Mapping[str, Gain], tasks: Sequence[str], wanted: int | None = None) -> list[str]:
    """The cells of a row: the gain on each task, then the mean, of so many tasks that are wanted (default: all)."""
    return [*(_gain(gains.get(task)) for task in tasks), _mean(list(gains.values()), wanted or len(tasks))]


def _mean(gains: Sequence[Gain], wanted: int) -> str:
    """The mean over tasks; fewer than are wanted are counted beside it."""
    if not gains:
        return NONE
    of = f", {len(gains)} of {wanted} tasks" if len(gains) < wanted else ""
    return _gain(mean_over_tasks(gains)) + of


def _signed(points: float) -> str:
    rounded = f"{abs(points):.1f}"
    return rounded if float(rounded) == 0 else ("+" if points > 0 else "−") + rounded


def time_ratio(lines: Lines, task: str, name: str, other: str) -> float | None:
    """How many times as long a student takes as another of the same machine: answers and training."""
    which = which_teacher(lines, task)
    pair = [student_lines(lines, task, each, which)[:1] for each in (name, other)]
    answers = lines.get(answers_key(default_teacher(task, which)))
    if answers is None or not all(pair):
        return None
    (line,), (other_line,) = pair
    if len({_machine(each) for each in (answers, line, other_line)}) > 1:
        return None
    return _time_of(line, answers) / _time_of(other_line, answers)


def _time_of(line: Line, answers: Line) -> float:
    """Of a student's training and of the answers to the rows that it reads."""
    clock = "seconds" if _device(line) == "cuda" else "cpu_seconds"
    return float(line[clock] + answers[clock] * line["rows"] / sum(answers["rows"].values()))


def _device(line: Line) -> str:
    return str(line["hardware"]).split()[0].rstrip(",")


def _machine(line: Line) -> str:
    """Without the number of processes, which is 1."""
    return str(line["hardware"]).rpartition(", ")[0]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _paragraph(text: str, width: int = 120) -> str:
    """A paragraph in lines; a number and its % stay together."""
    filled = textwrap.fill(text.replace(" %", "\0%"), width, break_on_hyphens=False, break_long_words=False)
    return filled.replace("\0", " ")
