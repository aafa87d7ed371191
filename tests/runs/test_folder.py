"""Where each part of a run lies is declared once; iterating a run yields what may be sealed in it."""

from pathlib import Path

from pkd.runs.folder import RunFolder


def test_every_stage_lies_where_the_layout_says(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    places = [
        run.teacher,
        run.annotated("train"),
        run.student("kd-L3-first", 42),
        run.predictions("kd-L3-first", 42),
        run.trial("0123456789abcdef0123"),
    ]
    assert [run.name_of(place) for place in places] == [
        "teacher",
        "annotated/train",
        "students/kd-L3-first-seed42",
        "predictions/kd-L3-first-seed42",
        "trials/0123456789abcdef",
    ]
    for place in places:
        place.mkdir(parents=True)
    assert list(run) == places


def test_unfinished_stages_and_those_set_aside_are_among_a_runs_and_other_folders_are_not(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "teacher.partial").mkdir()
    (tmp_path / "teacher.stale-1").mkdir()
    (tmp_path / "teacher.work").mkdir()  # of a `pkd distill` whose output is called so
    (tmp_path / "notes").mkdir()
    assert list(run) == [tmp_path / "teacher.partial", tmp_path / "teacher.stale-1"]
    assert run.is_run()
    assert run.is_begun()


def test_a_folder_of_other_files_is_no_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert not run.is_run()
    assert not run.is_begun()
    run.data.mkdir()
    run.data_plan.touch()  # the demo chooses its rows before anything else
    assert run.is_begun()


def test_the_runs_that_may_hold_a_student_are_the_one_beside_it_and_the_one_around_it(tmp_path: Path) -> None:
    in_run = tmp_path / "run" / "students" / "kd-seed1"
    assert [run.path for run in RunFolder.holding(in_run)] == [
        tmp_path / "run" / "students" / "kd-seed1.work",
        tmp_path / "run",
    ]
    assert [run.path for run in RunFolder.holding(tmp_path / "mine")] == [tmp_path / "mine.work"]
