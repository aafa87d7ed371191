"""A tiny classifier exported once for all tests of this room: an export takes seconds, however small the model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import make_teacher, make_tokenizer, teach
from pkd.encoder.load import LoadedClassifier
from pkd.jobs.export import export
from pkd.serving.export import trace


class Exported(NamedTuple):
    """Where the classifier lies as PyTorch's, as float32 ONNX and as int8 ONNX."""

    torch: Path
    float32: Path
    int8: Path


@contextlib.contextmanager
def traced_once_each() -> Iterator[None]:
    """Exports of the same weights share one trace, as the formats of a search's student do."""
    known: dict[str, Any] = {}

    def remembered(loaded: LoadedClassifier) -> Any:
        key = json.dumps(loaded.fingerprints, sort_keys=True)
        if key not in known:
            known[key] = trace(loaded)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pkd.jobs.export.trace", remembered)
        yield


@pytest.fixture(scope="session")
def exported(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    teacher = folder / "teacher"
    model, tokenizer = make_teacher(layers=1), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(teacher)
    tokenizer.save_pretrained(teacher)
    dev = str(workspace / "dev.csv")
    with traced_once_each():
        export(str(teacher), output=str(folder / "served"))
        export(str(teacher), output=str(folder / "served-int8"), int8=True, eval=dev, max_drop=0.05)
    return Exported(teacher, folder / "served", folder / "served-int8")


def manifest(folder: Path) -> dict[str, object]:
    facts: dict[str, object] = json.loads((folder / "manifest.json").read_text())["facts"]
    return facts
