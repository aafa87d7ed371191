from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

import pkd
from conftest import BAD, GOOD, SPECIAL, make_teacher, make_tokenizer
from pkd.data.examples import load_examples
from pkd.jobs.check import check_teacher_score
from pkd.jobs.evaluate import describe_rows, measuring_split
from pkd.recipe.settings import DataSettings
from pkd.reporting.evaluated_rows import rows_in_words
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


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": "train", "eval": "dev", "test": "test"}, "60 held-out rows"),
        ({"train": "train", "eval": "dev"}, "60 development rows (which chose the epoch)"),
        ({"train": "train", "test": "train"}, "160 test rows (all of them are training rows too)"),
        (
            {"train": "train", "eval": "train"},
            "160 development rows (which chose the epoch; all of them are training rows too)",
        ),
        (
            {"train": "train", "eval": "dev", "test": "dev"},
            "60 test rows (all of them are development rows too, which chose the epoch)",
        ),
        (
            {"train": "train", "eval": "dev", "test": "mixed"},
            "9 test rows (3 of them are training rows too; 2 of them are development rows too, which chose the epoch)",
        ),
        (
            {"train": "train", "test": "test", "unlabelled": "test"},
            "60 test rows (all of them are unlabelled texts too)",
        ),
    ],
)
def test_what_a_model_may_have_known_of_the_rows_is_said_of_them(
    splits: dict[str, str], words: str, workspace: Path, tmp_path: Path
) -> None:
    rows = {name: (workspace / f"{name}.csv").read_text().splitlines() for name in ("train", "dev", "test")}
    mixed = [rows["train"][0], *rows["train"][1:4], *rows["dev"][1:3], *rows["test"][1:5]]
    (tmp_path / "mixed.csv").write_text("\n".join(mixed) + "\n")
    places = {name: str((tmp_path if name == "mixed" else workspace) / f"{name}.csv") for name in (*rows, "mixed")}
    examples = load_examples(
        DataSettings(
            **{split: [places[name]] if split == "unlabelled" else places[name] for split, name in splits.items()}
        )
    )
    split = measuring_split(examples)
    assert split is not None
    described = describe_rows(examples, split, trained_here=True, chose=["epoch"])
    assert rows_in_words(split, len(examples.splits[split]), described) == words
    assert described.held_out is (words == "60 held-out rows")
    assert described.source == Path(places[splits[split]]).name
    of_any_model = describe_rows(examples, split, trained_here=False)
    assert rows_in_words(split, 9, of_any_model) == f"9 rows of {described.source}"


def test_a_teacher_surely_worse_than_the_commonest_class_is_refused() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    always_wrong = np.where(labels[:, None] == [0, 1], -1.0, 1.0)
    with pytest.raises(
        pkd.TeacherError, match=r"worse on 100 development rows than always giving.*0\.0 % against 80\.0 %"
    ):
        check_teacher_score(always_wrong, labels, "teacher", "single_label_classification", "accuracy")
    assert check_teacher_score(-always_wrong, labels, "teacher", "single_label_classification", "accuracy") == (
        1.0,
        0.8,
    )
