"""Each kind of problem is complete, and is one object in every process."""

from __future__ import annotations

import ast
import itertools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import pkd
from pkd.recipe.settings import ProblemType
from pkd.tasks import KINDS, MULTI_LABEL, REGRESSION, SINGLE_LABEL, kind_of, kind_of_head, names_in_config
from pkd.tasks.kind import TaskKind

LABELS = {
    "single_label_classification": np.array([0, 1, 1, 2]),
    "multiple_choice": np.array([0, 1, 1, 2]),
    "multi_label_classification": np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 1, 0]], dtype=np.float32),
    "binary_classification": np.array([0, 1, 1, 0]),
    "regression": np.array([0.5, 1.0, 2.0, 4.0]),
    "token_classification": np.array([[0, 1], [1, 2], [1, -100], [0, 0]]),
}
WORDS = {"token_classification": (2,)}  # of the longest row
TAGS = ("O", "B-food", "I-food")
WIDTH = {"regression": 1, "binary_classification": 1}


@pytest.mark.parametrize("problem_type", get_args(ProblemType))
def test_every_metric_that_may_choose_is_scored_with_its_interval(problem_type: ProblemType) -> None:
    scoring, labels = kind_of(problem_type, TAGS).scoring, LABELS[problem_type]
    shape = (4, *WORDS.get(problem_type, ()), WIDTH.get(problem_type, 2 if "single" in problem_type else 3))
    logits = np.random.default_rng(0).normal(size=shape)
    labels = np.minimum(labels, logits.shape[1] - 1) if problem_type == "single_label_classification" else labels
    found = scoring.score(logits, labels)
    intervals = scoring.bootstrap_intervals(logits, labels, resamples=20, confidence=0.9, seed=0)
    choosing = scoring.metrics_that_choose(logits.shape[-1])
    assert set(choosing) <= set(found)
    assert set(found) == set(intervals)
    assert scoring.metric in choosing
    assert scoring.gain in found


@pytest.mark.parametrize("problem_type", get_args(ProblemType))
def test_the_constant_answer_is_the_best_of_its_kind(problem_type: ProblemType) -> None:
    scoring, labels = kind_of(problem_type, TAGS).scoring, LABELS[problem_type]
    width = WIDTH.get(problem_type, 3)
    best = scoring.gain_by_row(scoring.constant(labels, width, scoring.gain), labels).mean()
    random = np.random.default_rng(1)
    for _ in range(50):
        other = np.broadcast_to(random.normal(size=width) * 3, (4, *WORDS.get(problem_type, ()), width))
        assert scoring.gain_by_row(other, labels).mean() <= best + 1e-12


@pytest.mark.parametrize(
    ("problem_type", "metric"),
    [
        ("single_label_classification", "accuracy"),
        ("single_label_classification", "f1"),
        ("single_label_classification", "macro_f1"),
        ("multi_label_classification", "micro_f1"),
        ("multi_label_classification", "macro_f1"),
        ("multi_label_classification", "accuracy"),
    ],
)
def test_no_other_constant_answer_is_better_by_a_metric(problem_type: ProblemType, metric: str) -> None:
    scoring, random = kind_of(problem_type).scoring, np.random.default_rng(2)
    for _ in range(20):
        if problem_type == "single_label_classification":
            width, labels = 2, (random.random(40) < random.random()).astype(np.int64)
        else:
            width, labels = 4, (random.random((40, 4)) < random.random(4)).astype(np.float32)
            labels[0] = 1
        best = scoring.score(scoring.constant(labels, width, metric), labels)[metric]
        for signs in itertools.product([-1.0, 1.0], repeat=width):
            assert scoring.score(np.tile(signs, (40, 1)), labels)[metric] <= best + 1e-12


def test_negative_flips_are_the_rows_the_teacher_answers_better_the_worst_first() -> None:
    teacher, labels = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 0.0])
    student = np.array([[1.5], [5.0], [2.0]])
    assert REGRESSION.scoring.negative_flips(student, teacher, labels).tolist() == [1, 0]


def test_labels_and_answers_have_words() -> None:
    names = ("praise", "blame", "food")
    sets = LABELS["multi_label_classification"]
    assert MULTI_LABEL.scoring.label_words(sets, names)[1] == "blame, food"
    assert REGRESSION.scoring.label_words(np.array([1.25]), ("score",)) == ["1.25"]
    assert SINGLE_LABEL.scoring.label_words(np.array([2, 0]), names) == ["food", "praise"]
    answers = MULTI_LABEL.scoring.answers
    assert answers(np.array([[-1.0, -1.0, -2.0], [1.0, -1.0, 1.0]]), names) == ["none", "praise, food"]


@pytest.mark.parametrize("problem_type", get_args(ProblemType))
def test_a_kind_is_known_by_its_name_and_is_itself_in_another_process(problem_type: ProblemType) -> None:
    kind = kind_of(problem_type)
    assert kind.name == problem_type
    assert pickle.loads(pickle.dumps(kind)) is kind
    facts = (kind.has_classes, kind.has_sets, kind.has_scores, kind.has_choices, kind.has_tokens)
    assert facts.count(True) == 1, "a label is one thing"


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name_in_config], ids=lambda kind: kind.name)
def test_a_head_is_read_as_the_kind_that_its_configuration_was_written_for(kind: TaskKind) -> None:
    assert kind_of_head(kind.name_in_config, 1 if kind.has_one_output else 3) is kind
    assert kind.name_in_config in names_in_config()


def test_kinds_are_asked_without_torch_and_without_metrics() -> None:
    script = (
        "import sys; from pkd.tasks import KINDS; import numpy as np; "
        "[kind.words(np.zeros((1, 1)), ('a',)) for kind in KINDS.values()]; "
        "print([name for name in ('torch', 'sklearn', 'scipy', 'datasets', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_other_module_compares_with_the_name_of_a_kind() -> None:
    names = set(get_args(ProblemType))
    package = Path(pkd.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.parent.name == "tasks":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.match_case):
                texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                if names & texts:
                    found.append(f"{path.relative_to(package)}:{getattr(node, 'lineno', '')}")
    templates = sorted(package.rglob("*.jinja"))
    found += [str(path.relative_to(package)) for path in templates if any(name in path.read_text() for name in names)]
    assert templates
    assert found == []


def test_the_mean_of_two_teachers_is_that_of_their_probabilities_at_temperature_1() -> None:
    """Worked by hand: (0.9, 0.1) and (0.5, 0.5) → (0.7, 0.3); odds of 4 and 2/3, that is 0.8 and 0.4, → 0.6; 1 and 4."""
    one, other = np.log([[0.9, 0.1]]) + 5.0, np.log([[0.5, 0.5]]) - 1.0  # a constant more in all logits changes nothing
    for kind in (SINGLE_LABEL, KINDS["multiple_choice"]):
        np.testing.assert_allclose(kind.mean_logits([one, other]), np.log([[0.7, 0.3]]), rtol=1e-6)
    for kind in (MULTI_LABEL, KINDS["binary_classification"]):
        odds = kind.mean_logits([np.log([[4.0]]), np.log([[2 / 3]])])
        np.testing.assert_allclose(odds, np.log([[0.6 / 0.4]]), rtol=1e-6)
    np.testing.assert_allclose(REGRESSION.mean_logits([np.array([[1.0]]), np.array([[4.0]])]), [[2.5]])


@pytest.mark.parametrize("problem_type", get_args(ProblemType))
def test_a_mean_is_finite_of_sure_teachers_and_of_one_its_own_probabilities(problem_type: ProblemType) -> None:
    kind, width = kind_of(problem_type), WIDTH.get(problem_type, 3)
    logits = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
    np.testing.assert_allclose(kind.probabilities(kind.mean_logits([logits])), kind.probabilities(logits), rtol=1e-5)
    sure = np.where(np.arange(width) == 0, 3000.0, -3000.0)[None].astype(np.float32)
    mean = kind.mean_logits([sure, sure])
    assert mean.dtype == np.float32
    assert np.isfinite(mean).all()
