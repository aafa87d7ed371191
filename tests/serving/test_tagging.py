"""What a model that tags words finds: as transformers' pipeline, and the same from ONNX Runtime as from PyTorch."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from datasets import Dataset
from fastapi.testclient import TestClient
from transformers import pipeline

from encoder.families import CONFIGS
from pkd.cli.main import main
from pkd.data.tokenize import encode
from pkd.data.windows import Sentence, split_words
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import load_teacher
from pkd.errors import DataError
from pkd.jobs.export import Limits, MeasuredTexts, export_stage, traced_once
from pkd.serving.classifier import Classifier
from pkd.serving.formats import GRAPH_FORMATS
from pkd.serving.server import make_app
from pkd.serving.tagging import join
from serving.light import assert_light
from serving.taggers import TAGS, TEXTS, make_tagger

LONG = " ".join(f"{word} of Berlin saw Ada Lovelace" for word in ("Rick", "York", "film") * 12)  # several windows


class Taggers(NamedTuple):
    """One tagger in its three forms."""

    torch: Path
    float32: Path
    int8: Path


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Taggers:
    folder = tmp_path_factory.mktemp("taggers")
    found = Taggers(make_tagger("bert", folder / "torch", layers=1), folder / "float32", folder / "int8")
    loaded = load_teacher(str(found.torch))
    traced = traced_once(loaded)
    export_stage(found.float32, loaded, GRAPH_FORMATS["onnx"], None, Limits(), overwrite=False, traced=traced)
    sentences = [_sentence(text) for text in (*TEXTS[:3], LONG)] * 5
    width = max(len(sentence.words) for sentence in sentences)
    labels = np.full((len(sentences), width), -100)
    for row, sentence in enumerate(sentences):
        labels[row, : len(sentence.words)] = np.arange(len(sentence.words)) % len(TAGS)
    measured = MeasuredTexts("dev.conll", sentences, labels, "span_f1", {}, loaded.outputs)
    export_stage(
        found.int8, loaded, GRAPH_FORMATS["onnx-int8"], measured, Limits(0.5, 0.5), overwrite=False, traced=traced
    )
    return found


def _sentence(text: str) -> Sentence:
    return Sentence.of(text.split())


def _spans(classifier: Classifier, text: str) -> list[tuple[Any, ...]]:
    (found,) = classifier(text)
    return [
        (span.text, span.label, span.start, span.end, pytest.approx(span.score, abs=1e-5)) for span in found.spans or ()
    ]


def _pipeline(folder: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    made: Any = pipeline("token-classification", model=str(folder), aggregation_strategy="first")

    def spans(text: str) -> list[tuple[Any, ...]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = made(text)
        keys = ("entity_group", "start", "end", "score")
        return [
            (text[start:end], label, start, end, score)
            for label, start, end, score in (tuple(one[key] for key in keys) for one in found)
        ]

    return spans


@pytest.mark.parametrize("kind", CONFIGS)
def test_spans_are_those_of_transformers_pipeline_for_every_family(kind: str, tmp_path: Path) -> None:
    folder = make_tagger(kind, tmp_path)
    classifier, of_pipeline = Classifier.load(folder), _pipeline(folder)
    word_pieces = kind in ("bert", "electra", "distilbert", "mpnet")
    several = 0
    for text in (*TEXTS[:4], *(["Rick, of U.S. (the) don't", TEXTS[5]] if word_pieces else [])):
        theirs = of_pipeline(text)
        if kind == "deberta-v2":  # whose tokenizer takes the blank before a word for a part of it
            theirs = [
                (piece.lstrip(), label, start + len(piece) - len(piece.lstrip()), end, score)
                for piece, label, start, end, score in theirs
            ]
        assert _spans(classifier, text) == theirs
        several += len(theirs) > 1
    assert several, "no text has two spans"


def test_the_words_of_spans_are_answered_as_the_parts_of_plain_text(tmp_path: Path) -> None:
    classifier = Classifier.load(make_tagger("bert", tmp_path))
    for text in ("Ada€5 saw €5 of Berlin™,😀😀 ann_lee", "York\u200bRick 10°C 北京", "the plot", TEXTS[0]):
        sentence = Sentence(text, tuple(split_words(text)))
        (plain,), (of_words,) = classifier([text]), classifier([sentence])
        keys = [[(span.label, span.start, span.end) for span in of.spans or ()] for of in (plain, of_words)]
        assert keys[0] == keys[1]
        assert any(tag != "O" for tag in of_words.tags or ())


def test_plain_tags_of_one_kind_join_as_in_the_pipeline(tmp_path: Path) -> None:
    folder = make_tagger("bert", tmp_path, ("O", "NOUN", "VERB", "X"))
    classifier, of_pipeline = Classifier.load(folder), _pipeline(folder)
    for text in TEXTS[:3]:
        assert _spans(classifier, text) == of_pipeline(text)


def test_spans_begin_at_b_and_at_a_continuation_of_nothing() -> None:
    words, places = "a b c d e f", [(index, index + 1) for index in range(0, 11, 2)]
    tags = ["I-x", "I-x", "B-x", "O", "I-y", "I-x"]
    found = join(words, places, tags, [0.5, 0.7, 0.9, 1.0, 0.25, 0.75])
    assert [(span.text, span.label, span.score) for span in found] == [
        ("a b", "x", pytest.approx(0.6)), ("c", "x", 0.9), ("e", "y", 0.25), ("f", "x", 0.75),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "modernbert", "xlm-roberta"])
def test_words_have_the_logits_that_evaluation_gives_them_also_of_texts_longer_than_the_model(
    kind: str, tmp_path: Path
) -> None:
    folder, sentences = make_tagger(kind, tmp_path), [_sentence(text) for text in (TEXTS[0], LONG, "", "\u200b x")]
    columns = {"text": [one.text for one in sentences], "word_offsets": [list(sum(one.words, ())) for one in sentences]}
    loaded, classifier = load_teacher(str(folder)), Classifier.load(folder)
    expected = answer_rows(loaded.model, encode(Dataset.from_dict(columns), loaded.tokenizer, classifier.max_length))
    logits = classifier.logits(sentences)
    assert logits.shape == (4, len(sentences[1].words), len(TAGS))
    assert np.isnan(logits[0, 8:]).all()
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
    tags = classifier(sentences)[1].tags
    assert tags == tuple(TAGS[index] for index in expected.logits[1].argmax(-1))


def test_a_sentences_spans_are_of_its_words_and_a_plain_texts_of_the_tokenizers_parts(taggers: Taggers) -> None:
    classifier = Classifier.load(taggers.torch)
    plain, sentence = classifier(["U.S. of Ada", _sentence("U.S. of Ada")])
    assert plain.tags is None
    assert sentence.tags is not None
    assert len(sentence.tags) == 3
    ends = {place for start, end in _sentence("U.S. of Ada").words for place in (start, end)}
    assert all({span.start, span.end} <= ends for span in sentence.spans or ())


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_an_exported_tagger_answers_as_pytorch_does(form: str, taggers: Taggers) -> None:
    sentences = [_sentence(text) for text in (*TEXTS, LONG)]
    logits, expected = (Classifier.load(path).logits(sentences) for path in (getattr(taggers, form), taggers.torch))
    np.testing.assert_allclose(logits, expected, atol=1e-5 if form == "float32" else 0.2)
    if form == "float32":
        exported, original = Classifier.load(taggers.float32), Classifier.load(taggers.torch)
        for mine, theirs in zip(exported([*TEXTS, LONG]), original([*TEXTS, LONG]), strict=True):
            assert [vars(span) for span in mine.spans or ()] == [
                vars(span) | {"score": pytest.approx(span.score, abs=1e-5)} for span in theirs.spans or ()
            ]


def test_an_exported_tagger_is_served_without_torch_and_transformers(taggers: Taggers) -> None:
    assert_light(
        f"from pkd import Classifier\nassert len(Classifier.load({str(taggers.float32)!r})('Ada saw London')[0].spans)"
    )


def test_int8_is_gated_on_the_f1_of_spans(taggers: Taggers) -> None:
    facts = json.loads((taggers.int8 / "manifest.json").read_text())["facts"]
    change = facts["int8"]
    assert change["metric"] == "span_f1"
    assert change["alone"]["rows"] == change["rows"] == 20
    assert 0.5 < change["agreement"] <= 1


def test_pairs_and_halves_of_characters_are_refused(taggers: Taggers) -> None:
    classifier = Classifier.load(taggers.float32)
    with pytest.raises(DataError, match=r"Text 2 is .* tags the words of single texts"):
        classifier(["a", ("b", "c")])
    with pytest.raises(DataError, match="half a character"):
        classifier("caf\udce9")


def test_the_command_marks_spans_and_gives_a_conll_files_words_their_tags(
    taggers: Taggers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> list[str]:
        assert main(["predict", str(taggers.float32), *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    classifier = Classifier.load(taggers.float32)
    (line,) = said("Ada saw\tLondon")
    for span in classifier("Ada saw\tLondon")[0].spans or ():
        assert f"[{span.text}]({span.label})" in line
    assert re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) == "Ada saw\tLondon"
    (answer,) = map(json.loads, said("--json", "Ada saw London"))
    assert list(answer) == ["spans", "text"]
    assert [list(span) for span in answer["spans"]] == [["text", "label", "start", "end", "score"]] * len(
        answer["spans"]
    )

    (tmp_path / "two.conll").write_text("Ada B-person\nsaw O\nU.S. B-place\n\nRick B-person\n")
    first, second = map(json.loads, said("--json", "--file", str(tmp_path / "two.conll")))
    assert (first["words"], len(first["tags"])) == (["Ada", "saw", "U.S."], 3)
    assert first["tags"] == list(classifier([_sentence("Ada saw U.S.")])[0].tags or ())
    assert second["text"] == "Rick"
    (tmp_path / "two.txt").write_bytes((tmp_path / "two.conll").read_bytes())
    assert list(map(json.loads, said("--json", "--file", str(tmp_path / "two.txt")))) == [first, second]
    (tmp_path / "lines.txt").write_text("Ada saw\tLondon\n\nRick\n")
    assert [json.loads(each)["text"] for each in said("--json", "--file", str(tmp_path / "lines.txt"))] == [
        "Ada saw\tLondon", "", "Rick",
    ]  # fmt: skip


def test_the_service_answers_with_spans(taggers: Taggers) -> None:
    classifier = Classifier.load(taggers.float32)
    with TestClient(make_app(classifier)) as client:
        answered = client.post("/predict", json={"texts": [TEXTS[0], LONG]}).json()["predictions"]
        refused = client.post("/predict", json={"texts": [["a", "b"]]})
        described = client.get("/openapi.json").json()
    for text, answer in zip((TEXTS[0], LONG), answered, strict=True):
        expected = classifier(text)[0].spans or ()
        assert [(one["label"], one["start"], one["end"]) for one in answer["spans"]] == [
            (span.label, span.start, span.end) for span in expected
        ]
    assert (refused.status_code, refused.json()["detail"]) == (422, "texts.0 must be a text.")
    assert "SpanFound" in described["components"]["schemas"]
