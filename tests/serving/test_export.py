from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from conftest import make_tokenizer
from encoder.families import make_classifier
from pkd.data.outputs import Outputs
from pkd.distillation.student import student_from
from pkd.encoder.load import LoadedClassifier, load_teacher
from pkd.errors import TeacherError
from pkd.reporting.export_card import exported_card
from pkd.serving.classifier import Classifier
from pkd.serving.export import CONVERSIONS, trace, write_graph
from pkd.serving.exported_model import open_graph
from pkd.serving.formats import GRAPH_FORMATS, format_asked
from pkd.serving.proof import Change, measure_change, prove, refusals, shapes_for
from serving.exported import Exported, manifest


def test_a_family_that_counts_positions_from_its_padding_is_proven_over_shapes(tmp_path: Path) -> None:
    model = LoadedClassifier(student_from(make_classifier("roberta"), 2).eval(), make_tokenizer(), "roberta")
    graph = tmp_path / GRAPH_FORMATS["onnx"].graph
    write_graph(trace(model), graph)
    parity = prove(model, open_graph(tmp_path, GRAPH_FORMATS["onnx"]))
    assert parity.largest_difference < 1e-5
    assert {(1, 1), (32, 64)} <= set(parity.shapes)
    assert lengths_in_feed_forward(graph, width=24) == {"any", 1}  # the last layer's for [CLS] alone


def lengths_in_feed_forward(graph: Path, width: int) -> set[str | int]:
    values = onnx.shape_inference.infer_shapes(onnx.load(str(graph))).graph.value_info
    shapes = [[dim.dim_value or "any" for dim in value.type.tensor_type.shape.dim] for value in values]
    return {shape[1] for shape in shapes if len(shape) == 3 and shape[2] == width}


def test_a_graph_that_answers_otherwise_is_refused(exported: Exported) -> None:
    other = load_teacher(str(exported.torch))
    with torch.no_grad():
        other.model.classifier.bias += 0.001  # type: ignore[union-attr, operator]
    with pytest.raises(TeacherError, match=r"1 × 1 word pieces its logits are 0\.001 away"):
        prove(other, open_graph(exported.float32, GRAPH_FORMATS["onnx"]))


def test_shapes_reach_from_one_word_piece_to_the_longest_text() -> None:
    assert shapes_for(512)[0] == (1, 1)
    assert shapes_for(512)[-1] == (32, 512)
    assert all(length <= 64 for _, length in shapes_for(64))


def test_an_exported_folder_holds_one_graph_and_what_is_needed_to_read_texts(exported: Exported) -> None:
    files = {str(path.relative_to(exported.int8)) for path in exported.int8.rglob("*") if path.is_file()}
    assert files == {
        "README.md", "config.json", "manifest.json", "onnx/model_quantized.onnx", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert manifest(exported.int8)["precision"] == "int8"
    assert manifest(exported.float32)["parity"]["largest_difference"] < 1e-4  # type: ignore[index]


def test_a_graph_names_no_path_of_the_machine_that_made_it(exported: Exported) -> None:
    for folder, form in ((exported.float32, "onnx"), (exported.int8, "onnx-int8")):
        graph = (folder / GRAPH_FORMATS[form].graph).read_bytes()
        assert str(Path(torch.__file__).parents[1]).encode() not in graph


def test_the_card_of_what_is_exported_tells_no_use_by_pytorch(exported: Exported) -> None:
    use = "## Use\n\n```python\nfrom transformers import pipeline\n\npipeline('...')\n```\n\nLabels: a.\n\n## Results\n"
    told = exported_card(f"---\nlibrary_name: transformers\n---\n\n# it\n\n{use}", "it", manifest(exported.int8))
    assert "pipeline('...')" not in told
    assert "Labels: a." in told
    assert "ONNX, int8" in told


def test_int8_is_judged_by_the_metric_and_by_the_answers_that_stay() -> None:
    change = Change("dev.csv", 1000, agreement=0.98, metric="accuracy", before=0.84, after=0.83)
    assert not refusals(change, max_drop=0.011, min_agreement=0.97)
    assert "falls from 0.8400 to 0.8300" in refusals(change, max_drop=0.005, min_agreement=0.97)[0]
    assert "98.00% of the answers" in refusals(change, max_drop=0.011, min_agreement=0.99)[0]
    assert refusals(Change("x", 3, agreement=float(np.nan)), max_drop=1, min_agreement=0)


def test_int8_is_judged_by_its_answers_to_one_text_at_a_time_too() -> None:
    """Four texts; asked alone, the last one turns round, which its neighbours hid."""
    before = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 1.0]])
    alone = np.array([[4.0, 0.0], [0.0, 4.0], [1.0, 0.0]])
    change = measure_change(
        before,
        before,
        alone,
        np.array([0, 1, 3]),
        np.array([0, 1, 0, 1]),
        Outputs("single_label_classification", ("no", "yes")),
        "accuracy",
        "x",
    )
    assert (change.agreement, change.after, change.drop) == (1.0, 1.0, 0.0)
    assert change.alone is not None
    assert (change.alone.rows, change.alone.differ, change.alone.median) == (3, 1, 0.0)
    assert change.alone.agreement == change.alone.after == pytest.approx(2 / 3)
    assert change.alone.largest == pytest.approx(np.tanh(0.5))  # σ(1) − σ(−1)
    told = refusals(change, max_drop=0.005, min_agreement=0.97)
    assert len(told) == 2
    assert "falls from 1.0000 to 0.6667 on 3 rows of x one at a time" in told[0]
    assert "66.67% of the answers to 3 rows of x one at a time stay the same" in told[1]
    assert not refusals(change, max_drop=0.5, min_agreement=0.5)


def test_an_export_to_int8_tells_what_a_texts_neighbours_move(exported: Exported, workspace: Path) -> None:
    facts = manifest(exported.int8)["int8"]
    texts = [line.rpartition(",")[0] for line in (workspace / "dev.csv").read_text().splitlines()[1:]]
    classifier = Classifier.load(exported.int8)
    among = classifier.logits(texts)
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    moved = np.abs(softmax(alone, axis=1) - softmax(among, axis=1)).max(axis=1)
    assert facts["alone"]["rows"] == len(texts) == 60  # type: ignore[index]
    assert facts["alone"]["largest"] == pytest.approx(moved.max(), abs=1e-6)  # type: ignore[index]
    assert facts["alone"]["median"] == pytest.approx(np.median(moved), abs=1e-6)  # type: ignore[index]
    assert facts["alone"]["differ"] == (alone.argmax(axis=1) != among.argmax(axis=1)).sum()  # type: ignore[index]
    assert "int8, one text at a time: " in (exported.int8 / "README.md").read_text()


def test_every_format_has_a_file_and_a_conversion_of_its_own() -> None:
    formats = GRAPH_FORMATS.values()
    assert len({each.graph for each in formats}) == len({(each.config_key, each.dtype) for each in formats}) == 4
    assert set(CONVERSIONS) == set(GRAPH_FORMATS)


def test_int8_is_of_the_runtime_of_the_format_that_is_asked_for() -> None:
    assert {name: format_asked(name, int8=True).name for name in GRAPH_FORMATS} == {  # type: ignore[union-attr]
        "onnx": "onnx-int8", "onnx-int8": "onnx-int8", "openvino": "openvino-int8", "openvino-int8": "openvino-int8",
    }  # fmt: skip
