from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pkd.cli.main import main
from pkd.data.sources import Source
from pkd.encoder.hub import ModelSource
from pkd.errors import RecipeError, ResourceError
from pkd.jobs.distill import distill
from pkd.jobs.push import push
from pkd.reporting.results import ModelRecord, Record, write_results
from reporting.conftest import sample_records
from serving.exported import Exported
from serving.hub import LocalHub, local_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    import huggingface_hub

    with local_hub() as hub:
        for module in (huggingface_hub.constants, huggingface_hub.hf_api):
            if hasattr(module, "ENDPOINT"):
                monkeypatch.setattr(module, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_local")
        yield hub


@pytest.fixture
def student(workspace: Path, tmp_path: Path) -> Path:
    """A student with the results of its run beside it, as `pkd distill` leaves them."""
    student = tmp_path / "student"
    shutil.copytree(workspace / "teacher", student)
    (student / "manifest.json").write_text("{}")
    (student / "checkpoint-3").mkdir()
    (student / "checkpoint-3" / "optimizer.bin").write_text("large")
    (tmp_path / "student.work").mkdir()
    records: list[Record] = sample_records()
    records[0] = records[0].model_copy(
        update={
            "teacher": ModelSource("org/teacher", hub=True),
            "sources": {"train": [Source("train.csv", "file", 9)], "test": [Source("org/reviews", "hub", 9)]},
            "recipe": {
                "teacher": {"model": "org/teacher"},
                "data": {"train": "/home/someone/secret/train.csv", "test": "org/reviews", "max_length": 64},
            },
        }
    )
    write_results(records, tmp_path / "student.work")
    return student


def test_a_dry_run_writes_what_would_be_uploaded(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = tmp_path / "upload"
    assert main(["push", str(student), "org/name", "--dry-run", str(upload)]) == 0
    names = {path.name for path in upload.iterdir()}
    assert {"README.md", "chart.png", "recipe.yaml", "config.json", "model.safetensors"} <= names
    assert not names & {"manifest.json", "checkpoint-3"}
    card = ModelCard((upload / "README.md").read_text())
    assert card.data.base_model == "org/teacher"
    assert card.data.datasets == ["org/reviews"]
    assert card.data.metrics == ["accuracy", "f1", "matthews_correlation"]
    assert card.data.eval_results[0].metric_value == pytest.approx(0.837)  # the best seed's
    for words in ('model="org/name"', "](chart.png)", "](recipe.yaml)", "## Limits", "cut at 64 word pieces"):
        assert words in card.text, words
    assert (upload / "chart.png").read_bytes().startswith(b"\x89PNG")
    everything = card.text + (upload / "recipe.yaml").read_text()
    assert "someone" not in everything
    assert "train.csv" in everything
    assert "would be in org/name" in capsys.readouterr().out
    inside = student / "upload"
    assert main(["push", str(student), "org/name", "--dry-run", str(inside)]) == 2
    assert "which is to be copied. Name a folder elsewhere." in capsys.readouterr().err
    assert not inside.exists()
    assert main(["push", str(student), "org/name", "--dry-run", str(upload)]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a b/c", "a/b/c"])
def test_a_dry_run_refuses_what_is_no_name_of_a_repository(student: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match="is no name of a repository"):
        push(student, name, dry_run=tmp_path / "upload")
    assert not (tmp_path / "upload").exists()


def test_a_push_makes_the_repository_and_uploads_all_files_in_one_commit(student: Path, hub: LocalHub) -> None:
    result = push(student, "org/name", private=True)
    assert result.where.startswith(f"{hub.url}/org/name/commit/")
    assert set(hub.repos["org/name"]) == set(result.files)
    assert hub.repos["org/name"]["model.safetensors"] == (student / "model.safetensors").read_bytes()
    assert b"org/name" in hub.repos["org/name"]["README.md"]
    assert hub.private["org/name"] is True


def test_an_exported_folder_goes_with_its_own_card_and_measurements(exported: Exported, hub: LocalHub) -> None:
    push(exported.int8, "org/served")
    files = hub.repos["org/served"]
    assert {"onnx/model_quantized.onnx", "tokenizer.json", "manifest.json", "README.md"} <= set(files)
    assert b"int8: " in files["README.md"]


def test_a_hub_that_refuses_or_does_not_answer_is_told_in_a_sentence(
    student: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="is no name of a repository"):
        push(student, "not a name/at all")
    hub.refuse = 403
    with pytest.raises(RecipeError, match=r"does not let you write to org/name \(403\)"):
        push(student, "org/name")
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ResourceError, match=r"nothing can be pushed|does not answer"):
        push(student, "org/name")


def test_a_distillation_asks_whether_it_may_push_before_it_trains(
    workspace: Path, tmp_path: Path, hub: LocalHub
) -> None:
    hub.refuse = 401
    files = {"teacher": workspace / "teacher", "train": workspace / "train.csv", "eval": workspace / "dev.csv"}
    with pytest.raises(RecipeError, match="does not let you write to org/name"):
        distill(**files, output=tmp_path / "student", push_to_hub=True, hub_model_id="org/name")
    assert not (tmp_path / "student.work").exists()


def test_a_student_of_a_run_folder_is_found_in_its_results(student: Path, tmp_path: Path) -> None:
    records = sample_records()
    model = next(record for record in records if isinstance(record, ModelRecord) and record.role == "control")
    run = tmp_path / "run"
    place = run / model.folder
    place.parent.mkdir(parents=True)
    shutil.copytree(student, place)
    write_results(records, run)
    result = push(place, "org/control", dry_run=tmp_path / "upload")
    assert "chart.png" in result.files
    assert f"This model is `{model.name}`" in (tmp_path / "upload" / "README.md").read_text()
