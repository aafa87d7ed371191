"""The study's page (docs/quality.md): its arithmetic by hand, and that it is what the committed lines say."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from transformers import AutoModel

from conftest import make_reviews, make_teacher, make_tokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package `benchmarks.quality` with its modules."""
    monkeypatch.syspath_prepend(ROOT)
    for name in ("gains", "lines", "page", "plans", "__main__"):
        importlib.import_module(f"benchmarks.quality.{name}")
    return importlib.import_module("benchmarks.quality")


def line_of(study: Any, cell: Any, right: Sequence[int], **more: Any) -> dict[str, Any]:
    """A line as a finished cell writes it; `right` are 0 and 1 by test row."""
    kind = "teacher" if type(cell).__name__ == "Teacher" else "student"
    bits = np.packbits(np.array(right, dtype=bool)).tobytes().hex()
    values = {
        "key": study.lines.key_of(kind, cell), "kind": kind, **vars(cell), "dev": 0.5, "dev_ema": 0.5,
        "test": sum(right) / len(right), "right": bits, "test_ema": sum(right) / len(right), "right_ema": bits,
        "seconds": 10.0, "cpu_seconds": 10.0, "shares": {"ce": 1.0}, "hardware": "cuda (H100), 1",
    }  # fmt: skip
    return values | more


def by_key(*lines: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["key"]: line for line in lines}


def test_the_right_rows_come_back_from_bits_that_are_padded_to_bytes(study: Any) -> None:
    # 1101 0 is padded to d0; 3 right of a share of 0.6 are 5 rows
    assert study.gains.right_rows({"right": "d0", "test": 0.6}).tolist() == [1, 1, 0, 1, 0]
    right = (np.arange(1421) % 7 > 0).astype(int)
    bits = np.packbits(right.astype(bool)).tobytes().hex()
    assert study.gains.right_rows({"right": bits, "test": right.sum() / 1421}).tolist() == right.tolist()


def test_a_gain_of_one_seed_has_the_interval_of_its_rows(study: Any) -> None:
    """98 rows, of which the first method has ten more right, and two that are counted beside them.

    The mean difference of the 100 is 0.1, of the squares (10 + 2) / 100; the variance of the mean
    (0.12 − 0.01) / 100 = 0.0011, its root 0.033166; Student's t with 97 degrees of freedom 1.98472: 0.1 ± 0.065826.
    """
    more, base = np.zeros((1, 98)), np.zeros((1, 98))
    more[0, :10] = 1
    gain = study.gains.gain(more, base)
    assert gain.points == pytest.approx(1000 / 98)
    assert (gain.low, gain.high) == (pytest.approx(3.4174, abs=1e-3), pytest.approx(16.5826, abs=1e-3))
    assert gain.seeds == 1


def test_a_mean_over_tasks_is_plain_and_its_interval_of_independent_tasks(study: Any) -> None:
    # half intervals 3, 4 and 12 points: √(9 + 16 + 144) / 3 = 13 / 3
    gains = [study.gains.Gain(1, -2, 4), study.gains.Gain(2, -2, 6), study.gains.Gain(6, -6, 18)]
    mean = study.gains.mean_over_tasks(gains)
    assert (mean.points, mean.tasks) == (3, 3)
    assert (mean.low, mean.high) == (pytest.approx(3 - 13 / 3), pytest.approx(3 + 13 / 3))


def test_a_lever_is_compared_with_the_base_of_its_own_machine_alone(study: Any) -> None:
    base = study.cells.Student(task="emotion", contender="base")
    lever = study.cells.Student(task="emotion", contender="augment 4", augmented=4)
    of_base = line_of(study, base, [1, 0, 0, 0] * 10)
    same = by_key(of_base, line_of(study, lever, [1, 1, 0, 0] * 10))
    assert study.page.screened_gain(same, "emotion", "augment 4").points == pytest.approx(25)
    other = by_key(of_base, line_of(study, lever, [1, 1, 0, 0] * 10, hardware="cpu, AVX2, 1"))
    assert study.page.screened_gain(other, "emotion", "augment 4") is None
    assert study.page.screened_gain(same, "mrpc", "augment 4") is None


def test_averaged_weights_count_where_the_development_rows_prefer_them(study: Any) -> None:
    base = study.cells.Student(task="emotion", contender="base")
    average = {"right_ema": np.packbits([1, 1, 1, 0] * 2).tobytes().hex(), "test_ema": 0.75}
    better = line_of(study, base, [1, 0, 0, 0] * 2, **average, dev=0.5, dev_ema=0.6)
    assert study.page.screened_gain(by_key(better), "emotion", None).points == pytest.approx(50)
    equal = line_of(study, base, [1, 0, 0, 0] * 2, **average, dev=0.5, dev_ema=0.5)
    assert study.page.screened_gain(by_key(equal), "emotion", None).points == 0


def test_the_rule_says_what_the_tasks_that_are_left_would_have_to_give(study: Any) -> None:
    def of(*points: float) -> list[Any]:
        return [study.gains.Gain(each, each - 1, each + 1) for each in points]

    assert study.page._rule(of(0.5, 0.1, 0.1, 0.1), 4) == "yes"  # the mean is 0.2
    assert study.page._rule(of(0.5, 0.1, 0.1, 0.0), 4) == "no"
    # 4 · 0.2 − (0.5 + 0.1 + 1.2) = −1
    assert study.page._rule(of(0.5, 0.1, 1.2), 4) == "open: yes if the one left gives −1.0 or more"
    assert study.page._rule(of(-0.2, 0.0), 4) == "open: yes if the 2 left give +0.5 or more"
    assert study.page._rule(of(0.9), 1) == "one kind of task: no"
    assert study.page._rule([], 4) == "not measured"


def test_the_development_rows_choose_among_the_settings_of_the_reference_implementation(study: Any) -> None:
    def line(name: str, dev: float, right: list[int]) -> dict[str, Any]:
        student = study.cells.Student(task="mrpc", contender=name, teacher="default", **study.plans.REFERENCES[name])
        return line_of(study, student, right, dev=dev)

    lines = by_key(line("reference", 0.7, [1, 1, 1, 1]), line("reference, 2e-5", 0.8, [1, 0, 0, 0]))
    assert study.page.chosen_reference(lines, "mrpc") == "reference, 2e-5"
    assert study.page.contenders(lines, "mrpc")["reference"].tolist() == [[1, 0, 0, 0]]


def test_a_students_time_is_its_training_and_the_answers_to_the_rows_that_it_reads(study: Any) -> None:
    def student(name: str, **more: Any) -> dict[str, Any]:
        cell = study.cells.Student(task="irony", contender=name, teacher="default")
        return line_of(study, cell, [1, 0], **more)

    answers = {
        "key": study.lines.answers_key(study.page.default_teacher("irony")), "kind": "answers",
        "rows": {"train": 100, "augmented-1": 100}, "seconds": 999.0, "cpu_seconds": 20.0, "hardware": "cpu, AVX2, 1",
    }  # fmt: skip
    cpu = {"hardware": "cpu, AVX2, 1"}
    normal, v1 = student("normal", rows=200, cpu_seconds=100.0, **cpu), student("v1", rows=100, cpu_seconds=40.0, **cpu)
    # 100 and all 20 seconds of the answers, over 40 and half of them
    assert study.page.time_ratio(by_key(normal, v1, answers), "irony", "normal", "v1") == pytest.approx(2.4)
    of_a_gpu = student("v1", rows=100, cpu_seconds=40.0)
    assert study.page.time_ratio(by_key(normal, of_a_gpu, answers), "irony", "normal", "v1") is None


def test_the_page_has_what_was_measured_and_names_what_was_not(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [student for student in study.plans.PLANS["final"].students if student.task == "irony"]
    right = {"normal": [1, 1, 1, 0], "ft": [1, 1, 0, 0]}
    students = [
        line_of(study, student, right[student.contender] * 50)
        for student in plan
        if student.contender in right and student.seed == 42
    ]
    used = {"learning_rate": 1e-4, "num_train_epochs": 10.0, "early_stopping_patience": 4}
    teacher = line_of(study, study.page.default_teacher("irony"), [1, 1, 1, 1] * 50, used=used, best_epoch=3.0)
    results = tmp_path / "quality.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in [*students, teacher]), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["benchmarks.quality", "page", "--results", str(results)])
    study.__main__.main()
    page = capsys.readouterr().out
    # 100 of 200 right: √((102 / 202 − (100 / 202)²) / 202) = 0.035868, Student's t with 199 degrees 1.97196
    assert "| irony | – | – | 100.0 ± 1.9 | – | – | 50.0 ± 7.1 | 75.0 ± 6.2 |" in page
    rows = {row.split(" | ")[0]: row.split(" | ") for row in page.splitlines() if row.startswith("| normal −")}
    assert rows["| normal − teacher"][6].startswith("−25.0 (−")
    assert rows["| normal − ft"][7].endswith(", 1 of 6 tasks")
    assert "| irony | – | – | – | – | – | 100.0 (rate 0.0001, epoch 3 of at most 10) |" in page
    assert "2 of 90 students are measured" in page
    assert "- `normal`, `ft`: reviews, sst2, mrpc, banking77, emotion (seed 42); " in page


def test_a_teachers_averaged_weights_are_compared_with_its_former_epochs_where_they_are_measured(study: Any) -> None:
    used = {"learning_rate": 1e-4, "num_train_epochs": 10.0, "early_stopping_patience": 4}
    lines = []
    of = (("default", 3.0, [1, 1, 1, 0]), ("calibrated epoch", 2.0, [1, 1, 0, 0]), ("best epoch", 6.0, [1, 0, 0, 0]))
    for which, epoch, right in of:
        teacher = study.page.default_teacher("irony", which)
        lines.append(line_of(study, teacher, [1, 1, 1, 1] * 50, used=used, best_epoch=epoch))
        normal = study.cells.Student(task="irony", contender="normal", teacher=which, **study.plans.FINAL["normal"])
        lines.append(line_of(study, normal, right * 50))
    page = study.page.quality_page(by_key(*lines))
    rows = {
        row.split(" | ")[0]: row.split(" | ")[1] for row in page.splitlines() if row.startswith("| normal − normal")
    }
    assert rows["| normal − normal, teacher of the calibrated epoch"].startswith("+25.0 (+")
    assert rows["| normal − normal, teacher of the best epoch"].startswith("+50.0 (+")
    told = page.replace("\n", " ")
    assert "over raw ones of the calibrated epoch teachers gain 0.0 (0.0 to 0.0), 1 of 6 tasks, and" in told
    assert "students of `normal` +25.0 (+" in told
    without = by_key(*(line for line in lines if line.get("teacher") != "default" and line.get("kept") != "auto"))
    assert "Not measured again since a teacher's default has averaged weights: irony (calibrated epoch)." in (
        study.page.quality_page(without).replace("\n", " ")
    )
    same = [line | {"best_epoch": 2.0} if line["kind"] == "teacher" else line for line in without.values()]
    of_either = by_key(*(line for line in same if line.get("teacher") != "calibrated epoch"))
    assert len(study.page.student_lines(of_either, "irony", "normal", "calibrated epoch")) == 1  # one by two names


def test_narrow_students_have_a_section_once_one_is_measured_and_keys_of_whole_ones_stay(study: Any) -> None:
    whole = study.cells.Student(task="emotion", contender="base")
    assert "width" not in study.lines.key_of("student", whole)
    planned = study.plans.PLANS["narrow"].students
    assert len(planned) == 3 * 3 * 4
    assert {(student.layers, student.width) for student in planned} == {(6, 0.5), (3, 0.5)}
    assert "width=0.5" in study.lines.key_of("student", planned[0])
    one, patient = (student for student in planned[:4] if student.layers == 6)
    assert (one.contender, patient.contender) == ("6 narrow", "6 narrow, patience 0.1")
    assert "Narrower" not in study.page.quality_page({})
    lines = by_key(line_of(study, one, [1, 0, 0, 0] * 50), line_of(study, patient, [1, 1, 0, 0] * 50))
    page = study.page.quality_page(lines)
    assert "2 of 36 students are measured" in " ".join(page.split())
    [row] = [row for row in page.splitlines() if row.startswith("| 6 narrow, patience 0.1 − 6 narrow |")]
    assert row.split(" | ")[1].startswith("+25.0 (+")
    assert row.endswith(", 1 of 3 tasks |")


def test_a_part_of_normal_is_judged_over_the_seeds_that_both_have(study: Any) -> None:
    assert "Each part" not in study.page.quality_page({})
    without = [student for student in study.plans.PLANS["parts"].students if student.contender == "without patience"]
    part = next(student for student in without if student.task == "irony")
    assert (part.patience, part.beta, part.augmented) == (0.0, 0.0, 4)
    whole = dataclasses.replace(part, contender="normal", **study.plans.FINAL["normal"])
    lines = by_key(
        line_of(study, whole, [1, 1, 0, 0] * 50),
        line_of(study, dataclasses.replace(whole, seed=43), [0, 0, 0, 0] * 50),  # no seed of the part's
        line_of(study, part, [1, 0, 0, 0] * 50),
    )
    [row] = [row for row in study.page.quality_page(lines).splitlines() if row.startswith("| normal − without")]
    assert row.split(" | ")[6].startswith("+25.0 (+")
    assert row.endswith(", 1 of 6 tasks |")
    # made again, it had the part's own teacher, so the part is held against that
    lines |= by_key(line_of(study, dataclasses.replace(whole, contender=study.plans.AGAIN), [1, 1, 1, 0] * 50))
    page = study.page.quality_page(lines).splitlines()
    rows = {
        row.split(" | ")[0]: row.split(" | ")[6]
        for row in page
        if row.startswith("| normal −") and row.count(" | ") > 6
    }
    assert rows["| normal − without patience"].startswith("+50.0 (+")
    assert rows[f"| normal − {study.plans.AGAIN}"].startswith("−25.0 (−")


def test_a_student_waits_for_its_teacher_and_for_the_answers_that_it_learns_from(study: Any, tmp_path: Path) -> None:
    given = argparse.Namespace(
        data=tmp_path, work=tmp_path, device="cpu", results=tmp_path / "none", minutes=1, plan="final", tasks=["irony"]
    )
    runner = study.__main__.Runner(given, "encoder")
    folder = study.cells.Study(*runner.setup)
    teacher = study.page.default_teacher("irony")

    def wanted() -> list[str]:
        return list(dict.fromkeys(key for key, _ in runner._ready()))

    runner.lines = {"words/irony": {}}
    assert wanted()[0] == "teacher/irony/rate=auto,epochs=auto,seed=42"
    runner.lines[study.lines.key_of("teacher", teacher)] = {
        "kind": "teacher",
        "task": "irony",
        "rate": "auto",
        "seed": 42,
    }
    assert wanted()[0] == "teacher/irony/rate=auto,epochs=auto,seed=42"  # its line came from another machine
    folder.teacher_folder(teacher).mkdir(parents=True)
    (folder.teacher_folder(teacher) / "config.json").touch()
    assert wanted()[0] == "answers/irony/default-42"
    runner.lines[study.lines.answers_key(teacher)] = {"kind": "answers", "rows": {"train": 2, "augmented-1": 2}}
    for part in ("train", "augmented-1"):
        assert wanted()[0] == "answers/irony/default-42"
        folder.answers_folder(teacher, part).mkdir(parents=True)
        (folder.answers_folder(teacher, part) / study.cells.DONE).touch()
    names = [key.split("/")[2] for key in wanted() if key.startswith("student/")]
    assert names[:4] == ["normal", "ft", "v1", "reference"]
    assert len(names) == 15  # four contenders of three seeds, and three more settings of the last of one


@pytest.mark.slow
def test_cells_train_and_measure_with_the_package_as_it_is(study: Any, tmp_path: Path) -> None:
    """A default teacher, its answers, and students of the kinds that the plans have, of a tiny encoder."""
    model = make_teacher(layers=4)
    model.config.max_position_embeddings = 128
    encoder = tmp_path / "encoder"
    AutoModel.from_config(model.config).save_pretrained(encoder)
    make_tokenizer().save_pretrained(encoder)
    (tmp_path / "irony").mkdir()
    for seed, (split, count) in enumerate({"train": 1280, "dev": 60, "test": 60}.items()):
        rows = [json.dumps({"text": text, "label": label}) for text, label in make_reviews(count, seed)]
        (tmp_path / "irony" / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    folder, teacher = study.cells.Study(tmp_path, tmp_path, str(encoder), "cpu"), study.page.default_teacher("irony")
    lines = [study.cells.fit_teacher(folder, teacher), study.cells.annotate(folder, teacher, 4, everything=True)]
    assert lines[1]["rows"].keys() == {"train", *(f"augmented-{number}" for number in range(1, 5))}
    final = study.plans.FINAL
    kinds = {name: final[name] for name in ("normal", "ft", "reference")}
    kinds["units"] = {"start": "greedy", "patience": 0.3, "units": True, "beta": None}
    narrow = study.plans.NARROW["3 narrow, patience 0.1"]
    kinds["narrow"] = {name: value for name, value in narrow.items() if name != "layers"}
    for name, changed in kinds.items():
        few = {**changed, "steps": 0.125}
        student = study.cells.Student(task="irony", contender=name, layers=2, teacher="default", **few)
        lines.append(study.cells.fit_student(folder, student, [teacher]))
    lines = [{"key": f"{number}", **line} for number, line in enumerate(json.loads(json.dumps(lines)))]
    lines[0]["key"] = study.lines.key_of("teacher", teacher)
    of = study.page.contenders(by_key(*lines), "irony")
    assert {name: rows.shape for name, rows in of.items()} == {
        "teacher": (60,), "normal": (1, 60), "its best epoch": (1, 60), "ft": (1, 60), "reference": (1, 60),
    }  # fmt: skip
    assert lines[0]["used"]["learning_rate"] == 2e-4  # twice 1e-4 for an encoder as narrow as this
    by_name = {line["contender"]: line for line in lines[2:]}
    assert by_name["normal"]["shares"]["pt"] == pytest.approx(0.1)
    assert by_name["units"]["shares"]["pt"] == pytest.approx(0.3)
    assert by_name["narrow"]["shares"]["pt"] == pytest.approx(0.1)
    assert by_name["narrow"]["width"] == 0.5
    assert len(by_name["units"]["start_layers"]) == 2
    # 1,280 rows make 40 steps a pass: four passes and an eighth of them
    assert (by_name["normal"]["steps_made"], by_name["normal"]["rate_used"]) == (20, 2e-4)
    assert by_name["normal"]["rows"] > 4 * by_name["ft"]["rows"] == 4 * 1280


def test_every_committed_student_is_one_of_a_plan_so_that_it_is_not_run_again(study: Any) -> None:
    planned = {study.lines.key_of("student", each) for plan in study.plans.PLANS.values() for each in plan.students}
    lines = study.lines.read_lines(study.lines.RESULTS)
    assert {key for key, line in lines.items() if line["kind"] == "student"} <= planned


def test_the_committed_page_is_what_the_committed_lines_say(study: Any) -> None:
    lines = study.lines.read_lines(study.lines.RESULTS)
    assert (ROOT / "docs" / "quality.md").read_text(encoding="utf-8") == study.page.quality_page(lines), (
        "run python -m benchmarks.quality page --output docs/quality.md"
    )


def test_students_at_equal_latency_stand_from_the_fastest(study: Any) -> None:
    def student(name: str, milliseconds: float, value: float) -> dict[str, Any]:
        score = {"value": value, "low": value - 0.02, "high": value + 0.02}
        return {"name": name, "int8": score, "float32": [0.8, 0.7], "milliseconds": milliseconds, "bytes": 12_340_000}

    line = {
        "key": "latency/emotion/big", "kind": "latency", "task": "emotion", "machine": "AVX512", "cpu_shares": [1.0],
        "teacher": {"encoder": "big", "layers": 12, "test": {"value": 0.8, "low": 0.78, "high": 0.82}},
        "students": [student("other", 2.5, 0.79), student("own", 1.25, 0.805)],
    }  # fmt: skip
    page = study.page.quality_page(by_key(line))
    assert "big of 12 layers, fine-tuned, with 80.0 (78.0 to 82.0)" in page.replace("\n", " ")
    rows = [row for row in page.splitlines() if row.startswith(("| own", "| other"))]
    assert rows == [
        "| own | 1.25 | 12.3 | 80.5 (78.5 to 82.5) | 75.0 | +0.5 |",
        "| other | 2.50 | 12.3 | 79.0 (77.0 to 81.0) | 75.0 | −1.0 |",
    ]


def test_students_of_a_whole_run_are_told_by_their_mean_over_seeds(study: Any) -> None:
    def model(name: str, seed: int, layers: int, value: float) -> dict[str, Any]:
        of_teacher = {} if name == "teacher" else {"agreement": {"value": 0.9, "low": 0.85, "high": 0.95}}
        score = {"value": value, "low": value - 0.02, "high": value + 0.02}
        return {"name": name, "seed": seed, "layers": layers, "scores": {"accuracy": score, **of_teacher}}

    line = {
        "key": "best/reviews", "kind": "best", "task": "reviews", "encoder": "small", "unlabelled": True,
        "machine": "AVX512", "rows": {"train": 10, "test": 4530},
        "models": [model("teacher", 42, 6, 0.83), *(model("L3", 42 + n, 3, 0.82 + n / 100) for n in range(3))],
        "comparisons": [{"a": "L3", "b": "teacher", "value": 0.0, "low": -0.01, "high": 0.01, "verdict": "UNCLEAR"}],
    }  # fmt: skip
    page = study.page.quality_page(by_key(line))
    told = "reviews, small, with 20,000 sentences of the same kind without labels, 4,530 test rows (AVX512):"
    assert told in page.replace("\n", " ")
    rows = [row for row in page.splitlines() if row.startswith(("| teacher | 6", "| L3"))]
    assert rows == [
        "| teacher | 6 | 83.0 (81.0 to 85.0) | – |",
        "| L3 | 3 | 83.0 (82.0 to 84.0) | 90.0 (90.0 to 90.0) |",
        "| L3 − teacher | 0.0 (−1.0 to +1.0) | unclear |",
    ]
