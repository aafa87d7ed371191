from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

import pkd
from conftest import make_reviews
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import load_teacher
from pkd.serving.classifier import Classifier
from serving.exported import Exported
from serving.light import assert_light

TEXTS = [text for text, _ in make_reviews(80, seed=9)]


@pytest.fixture(scope="module", params=["torch", "onnx"])
def classifier(request: pytest.FixtureRequest, exported: Exported) -> Classifier:
    folder = exported.torch if request.param == "torch" else exported.float32
    classifier = Classifier.load(folder)
    assert classifier.model.runtime == request.param
    return classifier


def test_one_text_or_many_give_the_same_answers_in_order(classifier: Classifier) -> None:
    texts = ["a great film", "an awful plot", "the end"]
    assert [prediction.text for prediction in classifier(texts)] == texts
    together = classifier(texts)
    for text, expected in zip(texts, together, strict=True):
        assert classifier(text)[0].probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert [prediction.label for prediction in together[:2]] == ["positive", "negative"]
    assert classifier([]) == []


def test_pairs_are_pairs(classifier: Classifier) -> None:
    assert classifier(("a film", "a great film"))[0].text == ("a film", "a great film")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["one", ("a", "pair")], "Text 2 is a pair, but those before it are single texts. .* a tab parts"),
        ([("a", "pair"), "one"], "Text 2 is a single text, but those before it are pairs"),
        ([("a", "b", "c")], r"Text 1 is \('a', 'b', 'c'\); it must be a text, or a pair as a tuple of two"),
        (["one", None], "Text 2 is None; it must be a text"),
        ([("one", 2)], "Text 1 is .* it must be a text"),
        (["one", "fin\udce9"], r"Text 2 is 'fin\\udce9', which holds half a character"),
        ([("one", "\ud800" * 99)], r"Text 1 is .{57}\.\.\., which holds half a character"),
    ],
)
def test_what_is_no_text_is_told_by_its_number_after_the_answers_to_those_before_it(
    classifier: Classifier, texts: list[Any], words: str
) -> None:
    with pytest.raises(pkd.DataError, match=words):
        classifier(texts)
    answered = []
    with pytest.raises(pkd.DataError, match=words):
        answered.extend(prediction.text for prediction in classifier.stream(texts))
    assert answered == texts[:-1]


def test_a_fault_of_whoever_gives_the_texts_leaves_the_answers_before_it(classifier: Classifier) -> None:
    def texts() -> Iterator[str]:
        yield "a great film"
        raise pkd.DataError("line 2 cannot be read")

    stream = classifier.stream(texts())
    assert next(stream).label == "positive"
    with pytest.raises(pkd.DataError, match="line 2 cannot be read"):
        next(stream)


def test_a_stream_that_never_ends_is_answered_as_it_comes(classifier: Classifier) -> None:
    stream = classifier.stream(chain(["a great film"], repeat("the plot")))
    assert next(stream).label == "positive"


def test_a_text_longer_than_the_model_reads_is_cut(classifier: Classifier) -> None:
    assert classifier("great " * 500)[0].label == "positive"


def test_the_logits_are_those_of_the_training_code(classifier: Classifier, exported: Exported) -> None:
    import datasets
    import numpy as np

    from pkd.data.tokenize import encode

    teacher = load_teacher(str(exported.torch))
    pairs = [(text, other) for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    for texts, columns in ((TEXTS, {"text": TEXTS}), (pairs, {"text_a": TEXTS, "text_b": TEXTS[::-1]})):
        rows = encode(datasets.Dataset.from_dict(columns), teacher.tokenizer, classifier.max_length)
        np.testing.assert_allclose(classifier.logits(texts), answer_rows(teacher.model, rows).logits, atol=1e-5)


def test_many_threads_get_the_answers_of_one(classifier: Classifier) -> None:
    expected = {text: classifier(text)[0] for text in TEXTS}
    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(classifier, [TEXTS[begin : begin + 7] for begin in range(0, 70, 2)]):
            for answer in answers:
                assert answer.label == expected[str(answer.text)].label
                assert answer.probabilities == pytest.approx(expected[str(answer.text)].probabilities, abs=1e-5)


def test_a_served_folder_needs_neither_torch_nor_transformers_nor_datasets(exported: Exported) -> None:
    assert_light(
        "from pkd import Classifier\n"
        f"classifier = Classifier.load({str(exported.int8)!r})\n"
        "assert classifier(['a great film', 'an awful plot'])[0].label == 'positive'"
    )


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "tokenizer.json cannot be read"),
        ("id2label", "problem_type is None"),
        ("no graph", r"its graph \(onnx/model.onnx or onnx/model_quantized.onnx\) is missing"),
        ("graph", "cannot be loaded by ONNX Runtime"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(exported: Exported, tmp_path: Path, broken: str, words: str) -> None:
    folder = tmp_path / "served"
    shutil.copytree(exported.int8, folder)
    if broken == "id2label":
        (folder / "config.json").write_text("{}")
    elif broken == "no graph":
        shutil.rmtree(folder / "onnx")
    elif broken == "graph":
        (folder / "onnx" / "model_quantized.onnx").write_bytes(b"not a graph")
    else:
        (folder / broken).unlink()
    with pytest.raises(pkd.TeacherError, match=words):
        Classifier.load(folder)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", None, "config.json holds no settings"),
        ("tokenizer_config.json", None, "tokenizer_config.json holds no settings"),
        ("config.json", {"id2label": {"0": "a", "1": "b", "2": "c"}}, "names 3 outputs, but model.onnx has 2"),
        ("config.json", {"id2label": {"0": "a"}}, "names 1 outputs, but model.onnx has 2"),
        ("config.json", {"id2label": {"1": "a", "2": "b"}}, "must name every output by its number"),
        ("config.json", {"id2label": {"0": "a", "1": "a"}}, "gives several outputs the name 'a'"),
        ("config.json", {"problem_type": "foo"}, "problem_type is 'foo'"),
        ("config.json", {"max_position_embeddings": None}, "max_position_embeddings is None"),
        ("config.json", {"max_position_embeddings": [64]}, "max_position_embeddings is .64."),
        ("config.json", {"pad_token_id": "x"}, "pad_token_id is 'x'"),
        ("tokenizer_config.json", {"model_max_length": -1}, "model_max_length is -1"),
        ("tokenizer_config.json", {"model_max_length": 2}, "model_max_length is 2"),
        ("tokenizer_config.json", {"model_max_length": "64"}, "model_max_length is '64'"),
        ("tokenizer_config.json", {"truncation_side": None}, "truncation_side is None"),
        ("tokenizer_config.json", {"truncation_side": []}, r"truncation_side is \[\]"),
    ],
)
def test_settings_of_an_export_that_a_hand_has_changed_are_refused_by_their_key(
    exported: Exported, tmp_path: Path, file: str, changes: dict[str, Any] | None, words: str
) -> None:
    folder = Path(shutil.copytree(exported.float32, tmp_path / "served"))
    path = folder / file
    path.write_text("[]" if changes is None else json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(pkd.TeacherError, match=f"{words}.*Export the classifier again"):
        Classifier.load(folder)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_more_threads_than_cores_are_refused(exported: Exported, threads: int) -> None:
    with pytest.raises(pkd.RecipeError, match=f"threads is {threads}, but this process may use 1 to"):
        Classifier.load(exported.float32, threads=threads)


def test_a_gpu_that_is_not_there_is_refused(exported: Exported) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has a GPU")
    with pytest.raises(pkd.RecipeError, match="sees no GPU"):
        Classifier.load(exported.float32, device="cuda")


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_logits_are_read_as_the_kind_of_problem_says(exported: Exported, tmp_path: Path, problem_type: str) -> None:
    folder = tmp_path / "served"
    shutil.copytree(exported.float32, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": problem_type}))
    classifier = Classifier.load(folder)
    logits = classifier.logits(["a great film"])[0].tolist()
    answer = classifier("a great film")[0]
    if problem_type == "regression":
        assert answer.label == f"{logits[0]:.4g}"
        assert list(answer.probabilities.values()) == pytest.approx(logits)
    else:
        assert list(answer.probabilities.values()) == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits])
        assert answer.labels == tuple(name for name, value in answer.probabilities.items() if value > 0.5)
        assert answer.label == (", ".join(answer.labels) or "none")
