"""How often a verdict falls between methods that do not differ: students of one recipe against students of the same.

Students of the demo's encoder are trained from one teacher pass with nothing but their seeds apart, and two groups of
them, drawn again and again, are judged as two methods. Every verdict is a false one.

    python -m benchmarks.verdicts --work runs/aa      # on the demo's reviews; goes on where it was stopped
    python -m benchmarks.verdicts --train banking77/train.csv --test banking77/test.csv
    python -m benchmarks.verdicts --simulate          # two minutes: the worst shares of rows, seeds and residual
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.data.demo import demo_encoder_folder, demo_reviews
from pkd.data.examples import load_data
from pkd.evaluation import judge
from pkd.jobs.evaluate import read_logits
from pkd.jobs.run import run
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import recipe_from

Gains = NDArray[np.float64]

_TRAIN_ROWS, _TEST_ROWS = 2000, 3000  # of the demo's reviews
_TEACHER = {"num_train_epochs": 4, "learning_rate": 2e-4}
_STUDENTS = {"layers": 3, "num_train_epochs": 2, "learning_rate": 1e-4}
_ROWS, _SEEDS = (300, 1066), (3, 5, 10)  # and all rows, and halves of the students
_SHARES = (0.0, 0.03, 0.14, 0.5, 3.0)  # variances beside a seed's own
_PAIRS = ((3, 3), (5, 5), (10, 10), (3, 10), (3, 0), (5, 0), (10, 0), (2, 2), (2, 0))  # seeds; 0 is a fixed model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="labelled examples; by default 2,000 of the demo's reviews")
    parser.add_argument("--test", type=Path, help="held-out ones; by default 3,000 others of the demo")
    parser.add_argument("--work", type=Path, help="where the students are trained; by default gone afterwards")
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--draws", type=int, default=2000, help="of two groups, or of a simulated pair")
    parser.add_argument("--simulate", action="store_true", help="simulated gains instead of trained students")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    if (given.train is None) != (given.test is None):
        parser.error("--train and --test go together")
    with tempfile.TemporaryDirectory() as scratch:
        figures = _simulated(given.draws) if given.simulate else _trained(given, given.work or Path(scratch))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _trained(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """The shares of verdicts between groups of students of one recipe."""
    train, test = (given.train, given.test) if given.train else _write_reviews(place / "data")
    gains = _train(train, test, place / "run", given.students)
    students, all_rows = gains.shape
    accuracies = gains.mean(axis=1)
    about = {
        "accuracy": float(accuracies.mean()),
        "deviation over seeds": float(accuracies.std(ddof=1)),
        "rows on which two seeds disagree": float(
            np.mean([(one != other).mean() for one, other in itertools.combinations(gains, 2)])
        ),
    }
    print(f"{students} students, {all_rows:,} held-out rows, {given.draws:,} draws of two groups")
    for name, value in about.items():
        print(f"{name:<34} {value:.2%}")
    figures: dict[str, Any] = {"students": students, "held-out rows": all_rows, **about}
    print(f"{'rows':>6} {'seeds':>6} {'over rows and seeds':>20} {'over rows alone':>16}")
    for rows, seeds in itertools.product([*_ROWS, all_rows], sorted({*_SEEDS, students // 2})):
        generator, told = np.random.default_rng(0), np.zeros(2)
        for _ in range(given.draws):
            drawn = gains[generator.permutation(students)[: 2 * seeds]]
            a, b = np.split(drawn[:, generator.permutation(all_rows)[:rows]], 2)
            told += [is_told(a, b), is_told(a.mean(axis=0), b.mean(axis=0))]  # a mean student has no spread over seeds
        both, alone = told / given.draws
        figures[f"{rows} rows, {seeds} seeds"] = {"rows and seeds": both, "rows alone": alone}
        print(f"{rows:>6,} {seeds:>6} {both:>20.1%} {alone:>16.1%}", flush=True)
    return figures


def _write_reviews(folder: Path) -> tuple[Path, Path]:
    """The demo's reviews as a file to train on and one to measure on, none in both."""
    reviews = demo_reviews()
    rows = [(row["text"], row["label"]) for split in ("train", "eval", "test") for row in reviews[split]]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "train.csv", folder / "test.csv"
    for path, part in zip(paths, (rows[:_TRAIN_ROWS], rows[_TRAIN_ROWS:][:_TEST_ROWS]), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *part])
    return paths


def _train(train: Path, test: Path, folder: Path, students: int) -> Gains:
    """Which held-out rows each student of one recipe has right, [students, rows]."""
    keys = {
        "teacher": str(demo_encoder_folder()), "train": str(train), "test": str(test), "seeds": students,
        "controls": False, "measure_speed": False, "resamples": 100, **_STUDENTS,
    }  # fmt: skip
    values = place_keywords(keys)
    values["teacher"] = {"model": values["teacher"]["model"], "finetune": _TEACHER}
    finished = run(recipe_from({**values, "output": str(folder)}, where="benchmarks.verdicts")).folder
    labels = np.array(load_data(train=train, test=test)["test"]["label"])
    answers = sorted((finished / "predictions").iterdir())
    return np.stack([read_logits(one).argmax(axis=1) == labels for one in answers]).astype(np.float64)


def _simulated(draws: int) -> dict[str, Any]:
    """The largest share of verdicts for each number of seeds, over the shares of rows, seeds and residual."""
    figures: dict[str, Any] = {}
    print(f"{'seeds':>12} {'false verdicts at most':>24} {'of rows':>9} {'of residual':>12}")
    for pair in _PAIRS:
        found = {
            (of_rows, residual): np.mean([is_told(a, b) for a, b in _normal_pairs(draws, *pair, of_rows, residual)])
            for of_rows, residual in itertools.product(_SHARES, repeat=2)
        }
        (of_rows, residual), most = max(found.items(), key=lambda item: item[1])
        figures[f"{pair[0]} against {pair[1]}"] = {"most": most, "rows": of_rows, "residual": residual}
        name = f"{pair[0]} and {pair[1] or 'fixed'}"
        print(f"{name:>12} {most:>24.1%} {of_rows:>9} {residual:>12}", flush=True)
    return figures


def _normal_pairs(
    draws: int, seeds_a: int, seeds_b: int, of_rows: float, residual: float, rows: int = 200
) -> Iterator[tuple[Gains, Gains]]:
    """Gains of two methods of one mean; variances of the mean over rows, beside a seed's of 1."""
    generator = np.random.default_rng(0)

    def method(seeds: int, row: Gains) -> Gains:
        shift, noise = generator.standard_normal((seeds, 1)), generator.standard_normal((seeds, rows))
        return row + shift + np.sqrt(residual * rows) * noise

    for _ in range(draws):
        row = np.sqrt(of_rows * rows) * generator.standard_normal(rows)
        yield method(seeds_a, row), method(seeds_b, 0 * row) if seeds_b else np.zeros(rows)


def is_told(a: Gains, b: Gains) -> bool:
    """Whether a verdict falls."""
    return judge(a, b, confidence=0.95).verdict != "UNCLEAR"


if __name__ == "__main__":
    main()
