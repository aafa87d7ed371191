from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import make_teacher, make_tokenizer, teach
from pkd.cli.main import main
from serving.exported import traced_once_each


def test_a_student_is_measured_on_its_runs_data_refused_below_the_threshold_and_kept_above(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tmp_path / "student"
    model, tokenizer = make_teacher(layers=1), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(student)
    tokenizer.save_pretrained(student)
    (tmp_path / "student.work").mkdir()
    recipe = f"teacher: {{model: x}}\ndata: {{train: x.csv, eval: {workspace / 'dev.csv'}}}\n"
    (tmp_path / "student.work" / "recipe.yaml").write_text(recipe)
    (student / "README.md").write_text("---\nlicense: mit\n---\n\n# student\n\nText.\n\n## Use\n\nSo.\n")
    given = ["export", str(student), "--int8", "--max-drop", "0.05", "--output", str(tmp_path / "served")]
    with traced_once_each():
        assert main([*given, "--max-drop", "-0.5"]) == 4  # it would have to be better by far
        told = capsys.readouterr().err
        assert not list(tmp_path.glob("served*"))  # nothing is left of it
        assert main([*given, "--json"]) == 0
    assert "int8 is not good enough" in told
    assert "Export it in float32, or allow more with --max-drop or --min-agreement." in told
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert "the development data of the run that made" in printed.err
    assert facts["int8"]["rows"] == 60
    assert facts["int8"]["metric"] == "accuracy"
    card = (tmp_path / "served" / "README.md").read_text()
    assert card.index("license: mit") < card.index("# student") < card.index("int8:") < card.index("## Use")
    assert main(given) == 0  # the same again: kept, and its card has the section once
    printed = capsys.readouterr()
    assert "kept" in printed.err
    assert "accuracy" in printed.out
    assert (tmp_path / "served" / "README.md").read_text() == card
    assert main(["predict", str(tmp_path / "served"), "a great film"]) == 0
    assert capsys.readouterr().out.startswith("positive\t")


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--int8"], 2, "--eval is missing: int8 changes answers"),
        (["--format", "onnx-int8"], 2, "--eval is missing: int8 changes answers"),
        (["--format", "openvino-int8"], 2, "--eval is missing: int8 changes answers"),
        (["--format", "openvino", "--int8"], 2, "--eval is missing: int8 changes answers"),
        (["--format", "coreml"], 2, "--format is coreml; choose onnx, onnx-int8, openvino or openvino-int8"),
        (["--int8", "--max-drop", "nan"], 2, "--max-drop is nan"),
        (["--int8", "--min-agreement", "2"], 2, "--min-agreement is 2; it must be a share, from 0 to 1"),
        (["--output", "s3://bucket/served"], 2, "a URL"),
        (["--int8", "--eval", "nowhere.csv"], 3, "nowhere.csv"),
    ],
)
def test_what_cannot_be_exported_is_refused_at_the_door(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], code: int, words: str
) -> None:
    assert main(["export", str(workspace / "teacher"), "--output", str(tmp_path / "served"), *given]) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "served").exists()
