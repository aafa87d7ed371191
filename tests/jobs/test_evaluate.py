from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

import pkd
from conftest import BAD, GOOD, SPECIAL, make_teacher, make_tokenizer
from pkd.jobs.check import check_teacher_score
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord

FEW = (*SPECIAL, *GOOD, *BAD)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that knows nothing, with the classes in the other order."""
    folder = tmp_path_factory.mktemp("models") / "untrained"
    make_teacher(layers=2, seed=9, labels=("positive", "negative")).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_models_are_measured_on_the_same_rows_and_classes_matched_by_name(workspace: Path, untrained: Path) -> None:
    records = pkd.evaluate(
        [str(untrained)],
        test=str(workspace / "test.csv"),
        teacher=str(workspace / "teacher"),
        max_length=32,
        resamples=300,
    )
    models = {record.name: record for record in records if isinstance(record, ModelRecord)}
    assert models["teacher"].scores["accuracy"].value > 0.9
    assert models["untrained"].scores["accuracy"].value < 0.8
    assert models["teacher"].rows_per_second
    for model in models.values():
        score = model.scores["accuracy"]
        assert score.low <= score.value <= score.high
    comparison = next(record for record in records if isinstance(record, ComparisonRecord))
    assert comparison.verdict == "DOES NOT"
    assert comparison.tests[0].p < 0.001
    assert comparison.examples == pytest.approx(comparison.difference.value * 60)
    assert any(isinstance(record, FlipRecord) for record in records)
    turned = next(iter(pkd.predict(str(untrained), ["a great film"]))).probabilities
    assert list(turned) == ["positive", "negative"]


def test_the_teacher_among_the_models_stands_once_and_folders_of_one_name_are_told_by_path(
    workspace: Path, untrained: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "untrained"
    other.parent.mkdir()
    other.symlink_to(workspace / "teacher")  # another model in a folder of the same name
    given = [f"{workspace / 'teacher'}/", str(untrained), str(untrained)]
    rows = {"test": str(workspace / "test.csv"), "max_length": 32, "resamples": 50, "measure_speed": False}
    records = pkd.evaluate(given, teacher=str(workspace / "teacher"), **rows)
    assert [record.name for record in records if isinstance(record, ModelRecord)] == ["teacher", "untrained"]
    records = pkd.evaluate([str(untrained), str(other)], **rows)
    named = [record.name for record in records if isinstance(record, ModelRecord)]
    assert named == [f"{untrained.parent.name}/untrained", "other/untrained"]


def test_each_model_reads_the_rows_with_its_own_tokenizer_and_as_far_as_its_positions_reach(
    workspace: Path, tmp_path: Path
) -> None:
    """A model whose tokenizer has fewer words would meet ids that it does not have, were it given another's."""
    config = make_teacher(layers=2).config
    config.vocab_size, config.max_position_embeddings = len(FEW), 12
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "few")
    make_tokenizer(FEW).save_pretrained(tmp_path / "few")
    records = pkd.evaluate(
        [str(tmp_path / "few")],
        test=str(workspace / "test.csv"),
        teacher=str(workspace / "teacher"),
        max_length=32,
        resamples=20,
    )
    models = [record for record in records if isinstance(record, ModelRecord)]
    assert all(model.rows_per_second for model in models)
    assert models[0].scores["accuracy"].value > 0.9


def test_any_two_students_are_compared_by_an_exact_test(workspace: Path, untrained: Path) -> None:
    records = pkd.evaluate(
        [str(workspace / "teacher"), str(untrained)],
        test=str(workspace / "test.csv"),
        max_length=32,
        measure_speed=False,
    )
    comparison = next(record for record in records if isinstance(record, ComparisonRecord))
    assert (comparison.question, comparison.verdict) == ("teacher against untrained", "HELPS")


def test_models_of_other_classes_cannot_be_compared(workspace: Path, tmp_path: Path) -> None:
    make_teacher(labels=("cat", "dog")).save_pretrained(tmp_path / "pets")
    make_tokenizer().save_pretrained(tmp_path / "pets")
    with pytest.raises(pkd.TeacherError, match="cannot be compared"):
        pkd.evaluate([str(workspace / "teacher"), str(tmp_path / "pets")], test=str(workspace / "test.csv"))


def test_a_teacher_surely_worse_than_the_commonest_class_is_refused() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    always_wrong = np.where(labels[:, None] == [0, 1], -1.0, 1.0)
    with pytest.raises(
        pkd.TeacherError, match=r"worse on 100 development rows than always giving.*0\.0 % against 80\.0 %"
    ):
        check_teacher_score(always_wrong, labels, "teacher", "single_label_classification")
    assert check_teacher_score(-always_wrong, labels, "teacher", "single_label_classification") == (1.0, 0.8)
