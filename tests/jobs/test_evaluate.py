import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

import pkd
from conftest import BAD, GOOD, SPECIAL, make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.data.examples import load_examples
from pkd.jobs.check import check_teacher_score
from pkd.jobs.evaluate import describe_rows, measuring_split
from pkd.recipe.settings import DataSettings
from pkd.reporting.evaluated_rows import rows_in_words
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord
from pkd.reporting.wording import comparison_sentence
from pkd.tasks import SINGLE_LABEL
from serving.exported import Exported

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
    assert (comparison.seeds_a, comparison.seeds_b) == (None, None)  # two folders are two models, of whatever seeds
    assert comparison_sentence(comparison).startswith("teacher against untrained ABOVE: teacher is ")


def test_models_of_other_classes_cannot_be_compared(workspace: Path, tmp_path: Path) -> None:
    make_teacher(labels=("cat", "dog")).save_pretrained(tmp_path / "pets")
    make_tokenizer().save_pretrained(tmp_path / "pets")
    with pytest.raises(pkd.TeacherError, match="do not go together"):
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
        check_teacher_score(always_wrong, labels, "teacher", SINGLE_LABEL, "accuracy")
    assert check_teacher_score(-always_wrong, labels, "teacher", SINGLE_LABEL, "accuracy") == (
        1.0,
        0.8,
    )


def test_exported_folders_stand_beside_the_models_they_came_from(exported: Exported, workspace: Path) -> None:
    records = pkd.evaluate(
        [exported.float32, exported.int8], teacher=exported.torch, test=workspace / "test.csv", resamples=50
    )
    models = {record.name: record for record in records if isinstance(record, ModelRecord)}
    assert {name: (model.runtime, model.precision) for name, model in models.items()} == {
        "teacher": ("torch", "float32"),
        "served": ("onnx", "float32"),
        "served-int8": ("onnx", "int8"),
    }
    for name in ("served", "served-int8"):
        assert models[name].parameters == models["teacher"].parameters
        assert models[name].layers == models["teacher"].layers == 1
        assert models[name].rows_per_second
        assert models[name].devices == {"scores": "cpu", "rows_per_second": "cpu"}
        assert models[name].scores["agreement"].value > 0.9
    assert models["served"].scores["agreement"].value == 1
    assert models["served"].scores["kl"].value < 1e-10 < models["served-int8"].scores["kl"].value
    assert models["served"].scores["accuracy"] == models["teacher"].scores["accuracy"]
    graph = exported.int8 / "onnx" / "model_quantized.onnx"
    assert models["served-int8"].bytes == graph.stat().st_size != models["teacher"].bytes
    questions = [record.question for record in records if isinstance(record, ComparisonRecord)]
    assert questions == ["against the teacher", "against the teacher", "served against served-int8"]


def test_an_exported_model_may_be_the_teacher_and_classes_are_matched_by_name(
    exported: Exported, workspace: Path, tmp_path: Path
) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(exported.float32, turned)
    config = json.loads((turned / "config.json").read_text())
    names = {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (turned / "config.json").write_text(json.dumps({**config, **names}))
    records = pkd.evaluate(
        turned, teacher=exported.float32, test=workspace / "test.csv", measure_speed=False, resamples=20
    )
    teacher, other = (record for record in records if isinstance(record, ModelRecord))
    assert (teacher.name, teacher.runtime, other.name, other.runtime) == ("teacher", "onnx", "turned", "onnx")
    assert other.scores["accuracy"].value == pytest.approx(1 - teacher.scores["accuracy"].value)
    assert other.scores["agreement"].value == 0


def test_an_exported_model_reads_as_many_word_pieces_as_the_one_beside_it(exported: Exported, workspace: Path) -> None:
    scores = {}
    for length in (64, 4):
        records = pkd.evaluate(
            [exported.torch, exported.float32], test=workspace / "test.csv", max_length=length, measure_speed=False
        )
        ours, theirs = (record.scores["cross_entropy"] for record in records if isinstance(record, ModelRecord))
        assert ours.value == pytest.approx(theirs.value, abs=1e-5)
        scores[length] = ours.value
    assert scores[4] > scores[64]


def test_the_command_names_what_ran_each_model_and_its_size(
    exported: Exported, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(exported.int8), "--teacher", str(exported.torch), "--test", str(workspace / "test.csv"), "-q"]
    assert main(["evaluate", *given, "--set", "measure_speed=false", "--set", "resamples=20"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "What ran them: teacher in PyTorch (float32); served-int8 in ONNX Runtime (int8)." in told
    assert "at 100 % of its parameters" in told
    assert " of its size" in told
    assert " parameters size " in told


def test_an_exported_folder_that_cannot_be_used_is_told_before_anything_computes(
    exported: Exported, workspace: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported.int8, tmp_path / "served")
    (tmp_path / "served" / "manifest.json").unlink()
    with pytest.raises(pkd.TeacherError, match="has no manifest that tells its parameters"):
        pkd.evaluate([exported.torch, tmp_path / "served"], test=workspace / "test.csv")
    (tmp_path / "served" / "onnx" / "model_quantized.onnx").write_bytes(b"no graph")
    with pytest.raises(pkd.TeacherError, match="cannot be loaded by ONNX Runtime"):
        pkd.evaluate([exported.torch, tmp_path / "served"], test=workspace / "test.csv")
