"""A tiny classifier exported once for all tests of this room: an export takes seconds, however small the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import make_teacher, make_tokenizer, teach
from pkd.jobs.export import export


class Exported(NamedTuple):
    """Where the classifier lies as PyTorch's, as float32 ONNX and as int8 ONNX."""

    torch: Path
    float32: Path
    int8: Path


@pytest.fixture(scope="session")
def exported(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    teacher = folder / "teacher"
    model, tokenizer = make_teacher(layers=1), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(teacher)
    tokenizer.save_pretrained(teacher)
    export(str(teacher), output=str(folder / "served"))
    dev = str(workspace / "dev.csv")
    export(str(teacher), output=str(folder / "served-int8"), int8=True, eval=dev, max_drop=0.05)
    return Exported(teacher, folder / "served", folder / "served-int8")


def manifest(folder: Path) -> dict[str, object]:
    facts: dict[str, object] = json.loads((folder / "manifest.json").read_text())["facts"]
    return facts
