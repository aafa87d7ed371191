"""Folders for OpenVINO, from the export through every command that takes one."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from transformers import AutoModelForMultipleChoice

import pkd
from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.data.choices import Question
from pkd.data.windows import Sentence
from pkd.encoder.load import load_teacher
from pkd.jobs.export import Limits, MeasuredTexts, export_stage, traced_once
from pkd.reporting.results import ModelRecord
from pkd.reporting.speeds import SpeedRecord
from pkd.runs.seal import read_manifest
from pkd.serving.classifier import Classifier
from pkd.serving.export import convert, trace, write_graph
from pkd.serving.formats import GRAPH_FORMATS
from serving.exported import Exported, manifest, traced_once_each
from serving.light import assert_light
from serving.taggers import TEXTS as SENTENCES
from serving.taggers import make_tagger
from serving.test_server import ask, predict, start

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("openvino", "nncf"))), reason="not installed: pip install 'pkd[openvino]'"
)

TEXTS = [text for text, _ in make_reviews(70, seed=9)]
FLOAT32, INT8 = GRAPH_FORMATS["openvino"], GRAPH_FORMATS["openvino-int8"]


class Served(NamedTuple):
    """The classifier of `exported` for OpenVINO."""

    float32: Path
    int8: Path


@pytest.fixture(scope="module")
def served(exported: Exported, workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("openvino")
    found = Served(folder / "float32", folder / "int8")
    given = ["export", str(exported.torch), "--format", "openvino", "--output"]
    shutil.copytree(exported.float32, found.float32)  # the same classifier, for ONNX Runtime
    dev = str(workspace / "dev.csv")
    with traced_once_each():
        assert main([*given, str(found.float32)]) == 0
        assert main([*given, str(found.int8), "--int8", "--eval", dev, "--max-drop", "0.05"]) == 0
    return found


def test_a_folder_holds_one_graph_with_its_weights_and_a_card_that_names_its_runtime(served: Served) -> None:
    for form, folder in zip((FLOAT32, INT8), served, strict=True):
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        others = {"README.md", "config.json", "manifest.json", "tokenizer.json", "tokenizer_config.json"}
        assert files - others == {form.graph, form.weights}
        facts: Any = manifest(folder)
        assert (facts["format"], facts["precision"]) == ("openvino", form.precision)
        assert facts["bytes"] == sum((folder / str(name)).stat().st_size for name in (form.graph, form.weights))
        assert facts["parity"]["largest_difference"] < 1e-5
        card = (folder / "README.md").read_text()
        assert f"## This folder: OpenVINO, {form.precision}" in card
        assert "library_name: openvino" in card
        assert "transformers.js" not in card
    assert manifest(served.int8)["calibrated"] == {"on": "dev.csv", "rows": 60}
    assert "the ranges of activations are those of 60 texts of dev.csv" in (served.int8 / "README.md").read_text()


def test_float32_answers_as_pytorch_and_int8_the_same_alone_and_among_others(
    served: Served, exported: Exported
) -> None:
    wanted = Classifier.load(exported.torch).logits(TEXTS)
    np.testing.assert_allclose(Classifier.load(served.float32, threads=1).logits(TEXTS), wanted, atol=1e-5)
    int8 = Classifier.load(served.int8)
    among, alone = int8.logits(TEXTS), np.concatenate([int8.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, among, atol=1e-4)  # fixed ranges: a text's neighbours change nothing
    assert np.mean(among.argmax(axis=1) == wanted.argmax(axis=1)) > 0.9
    assert np.abs(among - wanted).max() > 1e-4  # it is int8 indeed


def test_two_conversions_give_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    loaded = load_teacher(str(exported.torch))
    program, encoder = trace(loaded), Classifier.load(exported.torch).model.encoder
    batches = [encoder.pad(encoder.encode([text])) for text in TEXTS[:8]]
    for name in ("one", "other"):
        write_graph(convert(program, loaded, INT8, batches), tmp_path / name / "graph.xml")
    for file in ("graph.xml", "graph.bin"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_predict_evaluate_speed_and_verify_take_its_folders(
    served: Served, exported: Exported, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(served.int8), "a great film"]) == 0
    assert capsys.readouterr().out.startswith("positive\t")
    test = str(workspace / "test.csv")
    folders = [str(served.float32), str(served.int8)]
    assert main(["evaluate", *folders, "--teacher", str(exported.torch), "--test", test, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    models = [ModelRecord.model_validate(each) for each in records if each["record"] == "model"]
    assert [(model.runtime, model.precision) for model in models] == [
        ("torch", "float32"), ("openvino", "float32"), ("openvino", "int8"),
    ]  # fmt: skip
    assert models[1].scores["agreement"].value == 1
    given = ["speed", str(exported.float32), *folders, "--test", test, "--rounds", "1", "--batch-sizes", "8"]
    assert main([*given, "--threads", "1", "--json"]) == 0
    speeds = [SpeedRecord.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [speed.runtime for speed in speeds] == ["onnx", "openvino", "openvino"]
    assert all(speed.peak_memory_bytes for speed in speeds)
    assert main(["verify", folders[0]]) == 0


def test_a_damaged_weight_is_found_by_verify(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(served.int8, tmp_path / "served"))
    weights = folder / str(INT8.weights)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert main(["verify", str(folder)]) == 5
    assert weights.name in capsys.readouterr().out


def test_clients_at_the_same_time_get_the_answers_of_the_classifier(served: Served) -> None:
    expected = [answer.probabilities for answer in Classifier.load(served.int8)(TEXTS)]
    process, url = start(served.int8, "--workers", "2")
    try:
        assert json.loads(ask(f"{url}/health")[1])["runtime"] == "openvino"
        with ThreadPoolExecutor(8) as pool:
            for (status, answer), wanted in zip(
                pool.map(lambda text: predict(url, [text]), TEXTS), expected, strict=True
            ):
                assert status == 200
                assert answer["predictions"][0]["probabilities"] == pytest.approx(wanted, abs=1e-4)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_folder_is_served_without_torch_and_nothing_reports_its_use(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where NNCF's telemetry is loaded, it writes an identifier to the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_light(
        "from pkd import Classifier\n"
        f"classifier = Classifier.load({str(served.int8)!r})\n"
        "assert classifier(['a great film', 'an awful plot'])[0].label == 'positive'",
        frozenset({"onnxruntime"}),
        afterwards="from pkd.serving.export import require_exporter\nfrom pkd.serving.formats import GRAPH_FORMATS\n"
        "require_exporter(GRAPH_FORMATS['openvino-int8'])\n"
        "assert 'nncf' in sys.modules and 'openvino_telemetry' not in sys.modules",
    )
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("weights", r"openvino_model.bin is missing. Export the classifier again"),
        ("graph", "openvino/openvino_model.xml or openvino/openvino_model_qint8_quantized.xml. is missing"),
        ("graph's text", "openvino_model.xml cannot be loaded by OpenVINO"),
        ("end of the weights", "openvino_model.xml cannot be loaded by OpenVINO"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(served: Served, tmp_path: Path, broken: str, words: str) -> None:
    folder = Path(shutil.copytree(served.float32, tmp_path / "served"))
    graph, weights = folder / FLOAT32.graph, folder / str(FLOAT32.weights)
    if broken == "weights":
        weights.unlink()
    elif broken == "graph":
        graph.unlink()
        weights.unlink()
    elif broken == "graph's text":
        graph.write_text("not a graph")
    else:
        weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(pkd.TeacherError, match=words):
        Classifier.load(folder)


def test_a_gpu_is_refused(served: Served) -> None:
    with pytest.raises(pkd.RecipeError, match=r"device is cuda, but OpenVINO runs .* on processors"):
        Classifier.load(served.float32, device="cuda")


def test_a_folder_of_another_format_is_set_aside_and_not_kept(served: Served) -> None:
    stale = served.float32.with_name("float32.stale-1")
    assert (stale / "onnx").is_dir()
    assert not (served.float32 / "onnx").exists()


def test_tags_and_questions_answer_as_pytorch_too(tmp_path: Path) -> None:
    tagger = make_tagger("bert", tmp_path / "tagger", layers=1)
    chooser = tmp_path / "chooser"
    AutoModelForMultipleChoice.from_config(
        make_teacher(layers=1, labels=("LABEL_0", "LABEL_1")).config
    ).save_pretrained(chooser)
    make_tokenizer().save_pretrained(chooser)
    sentences = [Sentence.of(text.split()) for text in SENTENCES[:4]]
    questions = [Question(f"the {word} was _", ("great", "awful", "the film"), "a plot") for word in ("film", "plot")]
    for folder, texts, metric in ((tagger, sentences, "span_f1"), (chooser, questions, "accuracy")):
        loaded = load_teacher(str(folder))
        traced, wanted = traced_once(loaded), Classifier.load(folder).logits(texts)
        measured = MeasuredTexts("dev", list(texts), None, metric, {}, loaded.outputs)
        for form, how, within in ((FLOAT32, None, 1e-5), (INT8, measured, 0.2)):
            place = tmp_path / f"{folder.name}-{form.precision}"
            export_stage(place, loaded, form, how, Limits(1, 0), overwrite=False, traced=traced)
            np.testing.assert_allclose(Classifier.load(place).logits(texts), wanted, atol=within)
        found = read_manifest(place)
        assert found is not None
        assert found.facts["calibrated"]["rows"] == len(texts)
