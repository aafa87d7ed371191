"""Questions with choices from end to end: exported, answered in Python and from files, timed, and served over HTTP."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import onnxruntime
import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from transformers import AutoModelForMultipleChoice

import pkd
from conftest import BAD, FILLER, GOOD, make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.data.choices import Question
from pkd.data.tokenize import encode
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import load_teacher
from pkd.jobs.export import export
from pkd.reporting.results import ModelRecord
from pkd.serving.classifier import Classifier
from serving.exported import Exported, manifest, traced_once_each
from serving.light import assert_light
from serving.test_server import ask, start

Run = Callable[..., tuple[int, list[str], str]]


def questions(count: int, seed: int = 0, choices: int = 4) -> list[dict[str, Any]]:
    """Questions of which the one good word is the right answer."""
    chooser = random.Random(seed)
    made = []
    for _ in range(count):
        words = [chooser.choice(GOOD), *chooser.sample(BAD, choices - 1)]
        chooser.shuffle(words)
        right = next(word for word in words if word in GOOD)
        context = " ".join(chooser.choices(FILLER, k=chooser.randint(2, 9)))
        made.append({"context": context, "question": "the film was _", "choices": words, "answer": right})
    return made


def lines_of(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def taught() -> torch.nn.Module:
    """A tiny model that has learned to choose the good word."""
    torch.manual_seed(3)
    model = AutoModelForMultipleChoice.from_config(make_teacher(layers=2, labels=("LABEL_0", "LABEL_1")).config)
    optimizer, tokenizer = torch.optim.AdamW(model.parameters(), lr=5e-3), make_tokenizer()
    for step in range(60):
        some = questions(20, seed=100 + step)
        rows = [Question(row["question"], tuple(row["choices"]), row["context"]).sequences() for row in some]
        batch = tokenizer([row for of in rows for row in of], padding=True, return_tensors="pt")
        labels = torch.tensor([row["choices"].index(row["answer"]) for row in some])
        given = {name: tensor.view(len(some), 4, -1) for name, tensor in batch.items()}
        model(**given, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """A model for multiple choice as PyTorch's, as float32 ONNX and as int8 ONNX."""
    folder = tmp_path_factory.mktemp("questions")
    model = taught()
    model.save_pretrained(folder / "teacher")
    make_tokenizer().save_pretrained(folder / "teacher")
    dev = lines_of(folder / "dev.jsonl", questions(60, seed=2))
    with traced_once_each():
        export(str(folder / "teacher"), output=str(folder / "served"))
        export(str(folder / "teacher"), output=str(folder / "served-int8"), int8=True, eval=str(dev))
        yield Exported(folder / "teacher", folder / "served", folder / "served-int8")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit code, lines of standard output, standard error on one line)."""

    def command(*arguments: object) -> tuple[int, list[str], str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out.splitlines(), " ".join(printed.err.split())

    return command


@pytest.mark.parametrize("runtime", ["torch", "float32", "int8"])
def test_every_runtime_answers_each_question_however_many_choices_it_has(models: Exported, runtime: str) -> None:
    classifier = Classifier.load(getattr(models, runtime))
    assert classifier.problem_type == "multiple_choice"
    asked = [*questions(5, choices=2), *questions(5, choices=4), *questions(5, choices=3)]
    without = [{key: record[key] for key in ("question", "choices")} for record in asked[:3]]
    given = [{key: record[key] for key in ("question", "choices", "context")} for record in asked]
    answers = classifier([*given, *without])
    assert [len(answer.probabilities) for answer in answers] == [2] * 5 + [4] * 5 + [3] * 5 + [2] * 3
    for answer, record in zip(answers, [*given, *without], strict=True):
        assert answer.text == Question(record["question"], tuple(record["choices"]), record.get("context"))
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)
        assert answer.choice == record["choices"]["ABCD".index(answer.label)]
    assert classifier(given[7])[0].probabilities == pytest.approx(
        answers[7].probabilities, abs=0.05 if runtime == "int8" else 1e-5
    )
    assert classifier([]) == []
    assert len({answer.label for answer in answers}) > 1


def test_the_answers_are_those_of_the_training_code(models: Exported, tmp_path: Path) -> None:
    path = lines_of(tmp_path / "test.jsonl", questions(40, seed=7))
    rows = pkd.load_data(test=path, problem_type="multiple_choice")["test"]
    teacher = load_teacher(models.torch)
    wanted = answer_rows(teacher.model, encode(rows, teacher.tokenizer, 64)).logits
    asked = [Question(row["question"], tuple(row["choices"]), row["context"]) for row in questions(40, seed=7)]
    for folder in (models.torch, models.float32):
        np.testing.assert_allclose(Classifier.load(folder).logits(asked), wanted, atol=1e-5)


def test_the_graph_takes_any_number_of_choices_and_is_proven_with_several(models: Exported) -> None:
    session = onnxruntime.InferenceSession(str(models.float32 / "onnx" / "model.onnx"))
    model = AutoModelForMultipleChoice.from_pretrained(models.torch).eval()
    names = [given.name for given in session.get_inputs()]
    assert {len(given.shape) for given in session.get_inputs()} == {3}
    for shape in ((1, 2, 9), (3, 5, 17), (7, 1, 3), (2, 4, 64)):
        ids = torch.randint(5, 20, shape)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        with torch.no_grad():
            wanted = model(**batch).logits.numpy()
        got = session.run(None, {name: batch[name].numpy() for name in names})[0]
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    facts: Any = manifest(models.float32)
    assert {choices for _, choices, _ in facts["parity"]["shapes"]} == {1, 2, 3, 4, 5}
    change: Any = manifest(models.int8)
    assert (change["int8"]["rows"], change["int8"]["on"], change["int8"]["metric"]) == (60, "dev.jsonl", "accuracy")


def test_int8_is_measured_on_questions_without_answers_too(models: Exported, tmp_path: Path) -> None:
    asked = [{"question": row["question"], "choices": row["choices"]} for row in questions(20)]
    path = lines_of(tmp_path / "asked.txt", asked)
    facts = export(models.torch, output=tmp_path / "out", int8=True, eval=path).facts
    assert (facts["int8"]["rows"], facts["int8"]["on"], facts["int8"]["metric"]) == (20, "asked.txt", None)
    with pytest.raises(pkd.DataError, match="no column with the right one"):
        export(models.torch, output=tmp_path / "out2", int8=True, eval=lines_of(tmp_path / "asked.jsonl", asked))


def test_every_file_of_questions_gets_the_same_answers(models: Exported, tmp_path: Path, run: Run) -> None:
    records = questions(6, seed=5)
    of_columns = [
        {
            "context": row["context"],
            "question": row["question"],
            **{f"choice_{n}": c for n, c in enumerate(row["choices"])},
        }
        for row in records
    ]
    articles = [
        {"article": row["context"], "questions": [row["question"]], "options": [row["choices"]], "answers": ["A"]}
        for row in records
    ]
    datasets.Dataset.from_list(records).to_parquet(str(tmp_path / "a.parquet"))
    datasets.Dataset.from_list(records).to_pandas().assign(
        choices=[str(row["choices"]) for row in records]
    ).to_csv(tmp_path / "lists.csv", index=False)  # fmt: skip
    datasets.Dataset.from_list(of_columns).to_csv(str(tmp_path / "columns.csv"), index=False)
    lines_of(tmp_path / "a.jsonl", records)
    lines_of(tmp_path / "race.jsonl", articles)
    lines_of(tmp_path / "lines.txt", records)
    told = {}
    for name in ("a.jsonl", "a.parquet", "lists.csv", "columns.csv", "race.jsonl", "lines.txt"):
        code, out, err = run("predict", models.float32, "--file", tmp_path / name)
        assert code == 0, err
        told[name] = out
    assert {tuple(out) for out in told.values()} == {tuple(told["a.jsonl"])}
    label, sure, choice, question = told["a.jsonl"][0].split("\t")
    assert (label in "ABCD", float(sure) > 0.25, question) == (True, True, "the film was _")
    assert choice == records[0]["choices"]["ABCD".index(label)]
    code, out, _ = run("predict", models.torch, "--json", "--file", tmp_path / "a.jsonl")
    answer = json.loads(out[0])
    assert (answer["label"], answer["choice"]) == (label, choice)
    assert {key: answer[key] for key in ("question", "choices", "context")} == {
        key: records[0][key] for key in ("question", "choices", "context")
    }


def test_questions_come_as_arguments_and_from_standard_input_too(
    models: Exported, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = questions(3, seed=6)
    code, out, told = run("predict", models.float32, *map(json.dumps, records))
    assert (code, len(out)) == (0, 3), told
    with lines_of(tmp_path / "asked.txt", records).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        code, again, told = run("predict", models.float32)
    assert (code, again) == (0, out), told
    code, _, told = run("predict", models.float32, "a text")
    assert code == 3
    assert "TEXT, line 1, column 1: this is no JSON" in told
    assert 'The model answers questions, each as {"question": "...", "choices": ["...", "..."]}' in told


def test_what_is_no_question_is_told_by_its_number(models: Exported) -> None:
    classifier = Classifier.load(models.float32)
    good = {"question": "who?", "choices": ["he", "she"]}
    for wrong, words in (
        ("a text", r"Text 2 is 'a text', but .*served answers questions with choices\. Give each as"),
        (("a", "pair"), "Text 2 is .'a', 'pair'., but"),
        ({"choices": ["he", "she"]}, "Question 2: question is None; a question has a text `question`"),
        ({**good, "choices": ["he"]}, r"Question 2: choices is \['he'\]; a question has"),
        ({**good, "choices": "he"}, "Question 2: choices is 'he'"),
        ({**good, "choices": ["he", None]}, "Question 2: choices is"),
        ({**good, "context": 3}, "Question 2: context is 3"),
        ({**good, "contxt": "it"}, "Question 2: contxt is not known"),
        ({**good, "question": "fin\udce9"}, r"Question 2 holds 'fin\\udce9', in which there is half a character"),
    ):
        with pytest.raises(pkd.DataError, match=words):
            classifier([good, wrong])
    assert classifier([{**good, "context": None}, Question("who?", ("he", "she"))])[0].choice in ("he", "she")


def test_a_classifier_of_texts_tells_that_it_answers_no_questions(exported: Exported, tmp_path: Path, run: Run) -> None:
    with pytest.raises(pkd.DataError, match="Text 1 is a question with choices, but this classifier reads texts"):
        Classifier.load(exported.float32)({"question": "who?", "choices": ["he", "she"]})
    path = lines_of(tmp_path / "asked.jsonl", questions(3))
    code, out, told = run("predict", exported.float32, "--file", path)
    assert (code, [line.split("\t")[2] for line in out]) == (0, ["the film was _"] * 3)
    assert "'choices'" in told
    assert "are not used" in told


def test_a_file_without_choices_is_told(models: Exported, tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nwho?,he\n")
    code, _, told = run("predict", models.float32, "--file", tmp_path / "a.csv")
    assert (code, "has no choices (a column 'choices'" in told) == (3, True), told


def test_models_are_timed_on_questions_side_by_side(models: Exported, tmp_path: Path, run: Run) -> None:
    path = lines_of(tmp_path / "test.jsonl", questions(12))
    given = ["--test", path, "--rounds", 1, "--batch-sizes", "1,5", "--threads", 1, "--json"]
    code, out, told = run("speed", models.torch, models.float32, "--layers", 1, *given)
    assert code == 0, told
    records = [json.loads(line) for line in out]
    assert [record["name"] for record in records] == ["teacher", "teacher[:1]", "served"]
    assert {record["rows"] for record in records} == {12}
    assert all(record["peak_memory_bytes"] for record in records)


def test_a_served_folder_needs_nothing_heavy(models: Exported) -> None:
    assert_light(
        "from pkd import Classifier\n"
        f"classifier = Classifier.load({str(models.int8)!r})\n"
        "assert classifier({'question': 'the film was _', 'choices': ['good', 'bad']})[0].choice"
    )


def test_a_config_of_another_kind_of_model_is_refused(models: Exported, exported: Exported, tmp_path: Path) -> None:
    for folder, name in (
        (models.float32, "BertForSequenceClassification"),
        (exported.float32, "BertForMultipleChoice"),
    ):
        copied = tmp_path / name
        copied.mkdir()
        for path in folder.rglob("*"):
            if path.is_file():
                place = copied / path.relative_to(folder)
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(path.read_bytes())
        config = json.loads((copied / "config.json").read_text())
        config |= {
            "architectures": [name],
            "problem_type": "single_label_classification",
            "id2label": {"0": "a", "1": "b"},
        }
        (copied / "config.json").write_text(json.dumps(config))
        with pytest.raises(pkd.TeacherError, match=r"architectures is .* no graph of that kind.*Export"):
            Classifier.load(copied)


# whatever the description allows fits into the body
LIMITS = ("--max-body", "200000", "--max-texts", "5", "--max-characters", "200", "--workers", "2")
ONE = {"question": "the film was _", "choices": ["good", "bad", "dull"], "context": "a film"}
EXAMPLE = '{"question": "a text", "choices": ["a text", "another"]}'
KEYS = "a question has question, choices and perhaps context; several stand in a list under questions."


@pytest.fixture(scope="module")
def server(models: Exported) -> Iterator[str]:
    process, url = start(models.float32, *LIMITS)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def predict(url: str, body: Any) -> tuple[int, Any]:
    status, told = ask(f"{url}/predict", body if isinstance(body, bytes) else json.dumps(body).encode())
    return status, json.loads(told)


def test_the_server_answers_one_question_or_several(server: str, models: Exported) -> None:
    wanted = Classifier.load(models.float32)(ONE)[0]
    status, answer = predict(server, ONE)
    assert status == 200
    (told,) = answer["predictions"]
    assert set(told) == {"label", "choice", "probabilities"}
    assert (told["label"], told["choice"]) == (wanted.label, wanted.choice)
    assert told["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)
    two = {"question": "who?", "choices": ["he", "she"]}
    status, answer = predict(server, {"questions": [ONE, two, {**two, "context": None}]})
    assert status == 200
    assert [len(one["probabilities"]) for one in answer["predictions"]] == [3, 2, 2]
    assert answer["predictions"][0]["choice"] == wanted.choice
    assert json.loads(ask(f"{server}/health")[1])["labels"] == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"nonsense", "The body is not JSON: Expecting value."),
        (b'"text"', f"The body must be a JSON object, as {EXAMPLE}, sent as Content-Type: application/json."),
        ({}, f"question is missing; send {EXAMPLE}. choices is missing; send {EXAMPLE}."),
        ({"texts": ["a"]}, f"question is missing; send {EXAMPLE}. choices is missing; send {EXAMPLE}. texts is not known; {KEYS}"),
        ({**ONE, "answer": "A"}, f"answer is not known; {KEYS}"),
        ({**ONE, "choices": ["good"]}, 'choices must be a list of two texts or more, as ["a text", "another"].'),
        ({**ONE, "choices": "good"}, 'choices must be a list of two texts or more, as ["a text", "another"].'),
        ({**ONE, "choices": ["a"] * 6}, "choices has more than 5 texts, the most of a question."),
        ({**ONE, "choices": ["a", 1]}, "choices.1 must be a text."),
        ({**ONE, "question": None}, "question must be a text."),
        ({**ONE, "context": ["a"]}, "context must be a text."),
        ({**ONE, "context": "a" * 201}, "context has more than 200 characters, the most of a text; cut it."),
        (b'{"question": "\\ud800", "choices": ["a", "b"]}', "question is not Unicode text: it holds half a character (a lone surrogate)."),
        ({"questions": []}, "questions is empty; it must have a question or more."),
        ({"questions": [ONE] * 6}, "questions has more than 5 questions, the most of a request; send them in several."),
        ({"questions": "who?"}, f"questions must be a list of questions, as [{EXAMPLE}]."),
        ({"questions": [ONE, 7]}, f"questions.1 must be a question, as {EXAMPLE}."),
        ({"questions": [ONE, {"question": "who?"}]}, f"questions.1.choices is missing; send {EXAMPLE}."),
        ({"questions": [{**ONE, "choices": ["a", None]}]}, "questions.0.choices.1 must be a text."),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_refused_in_a_sentence(server: str, body: Any, sentence: str) -> None:
    assert predict(server, body) == (422, {"detail": sentence})


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_server_does_what_its_own_description_says(server: str, mode: GenerationMode) -> None:
    for found in schemathesis.openapi.from_url(f"{server}/openapi.json").get_all_operations():
        operation = found.ok()
        if operation.path != "/predict":
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        def hold(case: Any) -> None:
            case.call_and_validate()

        hold()


def test_exported_models_for_multiple_choice_are_evaluated_beside_the_one_they_came_from(
    models: Exported, tmp_path: Path
) -> None:
    test = lines_of(tmp_path / "test.jsonl", questions(40, seed=7))
    records = pkd.evaluate([models.float32, models.int8], teacher=models.torch, test=test, max_length=32, resamples=20)
    teacher, served, int8 = (record for record in records if isinstance(record, ModelRecord))
    assert [teacher.runtime, served.runtime, int8.runtime] == ["torch", "onnx", "onnx"]
    assert served.scores["agreement"].value == 1
    assert served.scores["accuracy"] == teacher.scores["accuracy"]
    assert int8.scores["agreement"].value > 0.9
    assert all(record.rows_per_second for record in (teacher, served, int8))
