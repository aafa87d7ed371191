"""Which files a model is read from: any other format, and an incomplete file, is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pkd import progress
from pkd.data.outputs import Outputs
from pkd.encoder.load import load_pretrained, load_teacher
from pkd.encoder.weight_files import check_has_config
from pkd.errors import TeacherError

OUTPUTS = Outputs("single_label_classification", ("a", "b"))
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def folder(workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace / "teacher", tmp_path / "teacher"))


class Heard(progress.Watcher):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def noted(self, message: str, level: str) -> None:
        if level == "warning":
            self.warnings.append(message)


def renamed(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / WEIGHTS).rename(folder / name)

    return change


def split(folder: Path) -> list[Path]:
    """The weights in two files and their index."""
    weights = load_file(folder / WEIGHTS)
    names = sorted(weights)
    shards = [folder / f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    parts = [names[::2], names[1::2]]
    for path, part in zip(shards, parts, strict=True):
        save_file({name: weights[name] for name in part}, path, metadata={"format": "pt"})
    where = {name: path.name for path, part in zip(shards, parts, strict=True) for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / WEIGHTS).unlink()
    return shards


NOT_WHOLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda folder: (folder / WEIGHTS).unlink(),
        r"holds no weights: model\.safetensors is missing\. Save",
    ),
    "another name": (
        renamed("classifier.safetensors"),
        r"missing, only classifier\.safetensors, which is not the name",
    ),
    "a pickle of an earlier transformers": (
        renamed("pytorch_model.bin"),
        r"its weights are in pytorch_model\.bin\. pkd reads safetensors only: save it again with `python -c",
    ),
    "pickles in parts": (renamed("pytorch_model-00001-of-00002.bin"), r"safetensors only: save it again with"),
    "a training script's pickle": (renamed("best.pt"), r"are in best\.pt\. pkd reads safetensors only: load it into"),
    "TensorFlow": (renamed("tf_model.h5"), r"are in tf_model\.h5\. .*transformers 4 \(`from_tf=True`\)"),
    "Flax": (renamed("flax_model.msgpack"), r"are in flax_model\.msgpack\. .*transformers 4 \(`from_flax=True`\)"),
    "llama.cpp": (renamed("model-q8.gguf"), r"are in model-q8\.gguf\. .*take the folder that the file was made from"),
    "an export": (renamed("onnx/model.onnx"), r"are in onnx/model\.onnx\. .*name the classifier that was exported"),
    "an adapter's weights": (renamed("adapter_model.safetensors"), r"holds an adapter .*merge the adapter and save"),
    "an empty file": (lambda folder: (folder / WEIGHTS).write_bytes(b""), r"model\.safetensors is empty \(0 bytes\)"),
    "a pointer": (
        lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        r"model\.safetensors is a pointer of Git LFS and no weights; `git lfs pull`",
    ),
    "a lost part": (
        lambda folder: split(folder)[1].unlink(),
        r"is incomplete: model-00002-of-00002\.safetensors is missing, 1 of 2 weight files that model\.safetensors\."
        r"index\.json names",
    ),
    "an empty part": (lambda folder: split(folder)[0].write_bytes(b""), r"model-00001-of-00002\.safetensors is empty"),
    "parts without their index": (
        lambda folder: (split(folder), (folder / INDEX).unlink()),
        r"holds weights in parts \(model-00001-of-00002\.safetensors, .*without their index",
    ),
    "half an index": (
        lambda folder: (split(folder), (folder / INDEX).write_text('{"weight_map": {"a')),
        r"model\.safetensors\.index\.json is damaged",
    ),
    "no tensor at all": (
        lambda folder: save_file({}, folder / WEIGHTS, metadata={"format": "pt"}),
        r"weights of the encoder are missing",
    ),
}


@pytest.mark.parametrize(
    "load", [load_teacher, lambda name: load_pretrained(name, OUTPUTS)], ids=["teacher", "encoder"]
)
@pytest.mark.parametrize(("change", "words"), NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_weights_of_another_form_and_those_that_are_not_whole_are_refused_by_their_file(
    folder: Path, change: Callable[[Path], object], words: str, load: Callable[[str], object]
) -> None:
    change(folder)
    with pytest.raises(TeacherError, match=words):
        load(str(folder))


def test_weights_in_parts_are_read(folder: Path) -> None:
    before = load_teacher(str(folder)).fingerprints["model"]
    split(folder)
    assert load_teacher(str(folder)).fingerprints["model"] == before


def test_the_command_that_the_message_of_a_pickle_names_writes_safetensors(folder: Path) -> None:
    loaded = load_teacher(str(folder))
    torch.save(loaded.model.state_dict(), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(TeacherError) as refused:
        load_teacher(str(folder))
    command = str(refused.value).split("`")[1].removeprefix('python -c "').removesuffix('"')
    subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    assert load_teacher(str(folder)).fingerprints == loaded.fingerprints


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"})
    )
    save_file({"base_model.model.classifier.weight": torch.zeros(1)}, folder / "adapter_model.safetensors")


def test_an_adapter_alone_is_refused_with_what_to_do(folder: Path) -> None:
    adapter(folder)
    (folder / WEIGHTS).unlink()
    words = r"holds an adapter of org/base \(adapter_config\.json\) and no model: merge the adapter and save the model"
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder))
    (folder / "config.json").unlink()  # as peft itself saves one
    with pytest.raises(TeacherError, match=words):
        load_teacher(str(folder))


def test_an_adapter_beside_full_weights_is_named_and_the_full_weights_are_read(folder: Path) -> None:
    before = load_teacher(str(folder)).fingerprints["model"]
    adapter(folder)
    with progress.watch(heard := Heard()):
        assert load_teacher(str(folder)).fingerprints["model"] == before
    assert "holds an adapter of org/base (adapter_config.json) beside its full weights" in " ".join(heard.warnings)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model.gguf", r"has no config\.json, and its weights are in model\.gguf\. pkd reads safetensors only"),
        ("weights.pth", r"has no config\.json, and its weights are in weights\.pth"),
        ("notes.txt", r"has no config\.json \(notes\.txt\)"),
    ],
)
def test_a_folder_without_a_configuration_is_told_by_what_it_holds(tmp_path: Path, file: str, words: str) -> None:
    (tmp_path / file).write_text("x")
    with pytest.raises(TeacherError, match=words):
        check_has_config(tmp_path)
    with pytest.raises(TeacherError, match=r"it is a file\. Name the folder of one"):
        check_has_config(tmp_path / file)
