"""`pkd verify`: whatever is damaged in whatever file is found and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conftest import make_reviews, make_teacher, make_tokenizer, write_csv
from damage import flip
from pkd.cli.main import main
from pkd.errors import CacheError
from pkd.jobs.distill import distill
from pkd.jobs.verify import verify
from pkd.runs.seal import read_manifest, seal


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `pkd distill --output student` worked."""
    folder = tmp_path_factory.mktemp("verify")
    make_teacher(4).save_pretrained(folder / "teacher")
    make_tokenizer().save_pretrained(folder / "teacher")
    write_csv(folder / "train.csv", make_reviews(64, seed=1))
    write_csv(folder / "dev.csv", make_reviews(32, seed=2))
    distill(
        teacher=str(folder / "teacher"), train=str(folder / "train.csv"), eval=str(folder / "dev.csv"), layers=2,
        output=str(folder / "student"), max_length=32, num_train_epochs=1, device="cpu", resamples=20,
        augment=1, rows_per_shard=32, measure_speed=False,
    )  # fmt: skip
    return folder


@pytest.fixture
def place(distilled: Path, tmp_path: Path) -> Path:
    for name in ("student", "student.work"):
        shutil.copytree(distilled / name, tmp_path / name)
    return tmp_path


def test_a_whole_run_and_a_student_with_its_work_are_found_whole(place: Path) -> None:
    work = verify(place / "student.work")
    assert (work.damage, work.notes) == ([], [])
    assert {folder.kind for folder in work.sealed} == {
        "encoding",
        "annotated",
        "word counts",
        "sizes",
        "student",
        "predictions",
        "run",
    }
    both = verify(place / "student")
    assert both.damage == []
    assert len(both.sealed) == len(work.sealed) + 1
    assert [folder.kind for folder in both.sealed].count("distilled student") == 1


def test_all_that_lies_in_a_folder_of_students_runs_and_annotated_rows_is_read(distilled: Path, place: Path) -> None:
    shutil.copytree(place / "student.work" / "annotated" / "train", place / "annotated")
    finetuned = place / "teacher"  # a stage by its name, as those of a run are, but of no run
    shutil.copytree(place / "student", finetuned)
    shutil.copytree(place / "student.work", place / "teacher.work")
    whole = verify(place)
    assert (whole.damage, whole.notes) == ([], [])
    assert {"annotated", "student", "student.work", "teacher", "teacher.work"} == {
        Path(folder.folder).relative_to(place).parts[0] for folder in whole.sealed
    }
    assert len({folder.folder for folder in whole.sealed}) == len(whole.sealed)
    for name in ("student/model.safetensors", "annotated/shard-00000.arrow"):
        flip(place / name)
    assert len(verify(place).damage) == 2


def test_one_flipped_bit_in_any_file_is_found_and_the_file_named(place: Path) -> None:
    sealed = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name != "README.md"]
    assert len(sealed) > 20
    for path in sealed:
        before = path.read_bytes()
        flip(path)
        found = verify(place / "student")
        damage = [str(each) for each in found.damage]
        damage = damage or [note for note in found.notes if path.name == "recipe.yaml"]
        assert damage, path
        assert any(str(path) in told for told in damage), (path, damage)
        path.write_bytes(before)
    assert verify(place / "student").damage == []


@pytest.mark.parametrize(
    "name", ["results.jsonl", "report.html", "students/pkd-skip-L2-spread-seed42/model.safetensors"]
)
def test_a_file_that_was_lost_is_missed(place: Path, name: str) -> None:
    (place / "student.work" / name).unlink()
    assert any(f"{Path(name).name} is missing" in str(told) for told in verify(place / "student.work").damage)


def test_a_lost_manifest_and_a_lost_folder_are_missed(place: Path) -> None:
    student = place / "student.work" / "students" / "pkd-skip-L2-spread-seed42"
    (student / "manifest.json").unlink()
    assert any("has no manifest.json" in str(told) for told in verify(place / "student.work").damage)
    shutil.rmtree(student)
    assert any("which is not there" in str(told) for told in verify(place / "student.work").damage)


def test_what_is_unfinished_put_aside_or_not_our_own_is_noted_and_no_damage(place: Path) -> None:
    students = place / "student.work" / "students"
    student = students / "pkd-skip-L2-spread-seed42"
    shutil.copytree(student, students / "other-seed42.partial")
    (students / "other-seed42.partial" / "manifest.json").unlink()
    (students / "other-seed42.partial" / "checkpoint-3").mkdir()
    shutil.copytree(student, students / "old-seed42.stale-1")
    (student / "notes.txt").write_text("mine")
    found = verify(place / "student.work")
    assert found.damage == []
    told = "\n".join(found.notes)
    for words in ("other-seed42.partial is unfinished", "checkpoint-3 was being written", "old-seed42.stale-1 was put aside",
                  "not its own: notes.txt"):  # fmt: skip
        assert words in told


def test_results_older_than_their_students_are_told(place: Path) -> None:
    student = place / "student.work" / "students" / "pkd-skip-L2-spread-seed42"
    manifest = read_manifest(student)
    assert manifest is not None
    seal(student, manifest.kind, manifest.inputs, {**manifest.facts, "history": []}, ["README.md"])
    assert any("out of date" in note and "another history" in note for note in verify(place / "student.work").notes)


def test_a_recipe_that_was_changed_after_the_run_is_told(place: Path) -> None:
    recipe = place / "student.work" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("num_train_epochs: 1.0", "num_train_epochs: 2.0"))
    found = verify(place / "student.work")
    assert found.damage == []
    assert any("is not the recipe of" in note and "num_train_epochs 1.0 → 2.0" in note for note in found.notes), (
        found.notes
    )


def test_the_command_line_exits_with_5_where_something_is_damaged(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(place / "student.work")]) == 0
    assert "all of it is as it was written" in capsys.readouterr().out
    flip(place / "student.work" / "annotated" / "train" / "shard-00001.arrow")
    assert main(["verify", str(place / "student.work")]) == 5
    out, err = capsys.readouterr()
    assert "shard-00001.arrow has other contents than when it was written" in out
    assert "is damaged in 1 place." in err
    assert main(["verify", str(place / "student.work"), "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert len(told["damage"]) == 1
    assert {"folder", "kind", "files", "bytes"} == set(told["sealed"][0])


def test_a_folder_is_found_from_within_it_and_the_root_holds_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / "student")
    assert verify(".").sealed == verify(place / "student").sealed
    with pytest.raises(CacheError, match="nothing that pkd sealed"):
        verify("/")


def test_a_folder_of_somebody_else_is_told_and_not_called_whole(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(CacheError, match="holds nothing that pkd sealed"):
        verify(tmp_path)
    with pytest.raises(CacheError, match="does not exist"):
        verify(tmp_path / "nowhere")
