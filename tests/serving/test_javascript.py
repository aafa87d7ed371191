from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import make_reviews
from pkd.serving.classifier import Classifier
from serving.exported import Exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript"


def test_transformers_js_gives_the_labels_of_pkd(exported: Exported) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (EXAMPLE / "node_modules" / "@huggingface" / "transformers").is_dir():
        pytest.skip(f"transformers.js is not installed: npm install --ignore-scripts in {EXAMPLE}")
    texts = [text for text, _ in make_reviews(20, seed=11)] + ["great " * 200]
    for folder in (exported.int8, exported.float32):
        given = ["node", str(EXAMPLE / "classify.mjs"), str(folder), *texts]
        done = subprocess.run(given, capture_output=True, text=True, timeout=120, check=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        expected = Classifier.load(folder)(texts)
        assert [answer["label"] for answer in answers] == [prediction.label for prediction in expected]
        for answer, prediction in zip(answers, expected, strict=True):
            assert answer["probabilities"] == pytest.approx(prediction.probabilities, abs=0.02)
