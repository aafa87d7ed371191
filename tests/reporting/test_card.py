from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML
from transformers import AutoModelForMultipleChoice, AutoModelForSequenceClassification

from conftest import make_teacher, make_tokenizer
from pkd.data.sources import Source
from pkd.encoder.hub import ModelSource, model_source
from pkd.reporting.card import model_card, shareable_recipe
from pkd.reporting.results import ClassesRecord, MeasuredOn, ModelRecord, Record, RunRecord, Score


def student(records: list[Record], name: str = "pkd-skip-L3-spread") -> ModelRecord:
    return next(record for record in records if isinstance(record, ModelRecord) and record.name == name)


def with_run(records: list[Record], **update: object) -> list[Record]:
    return [records[0].model_copy(update=update), *records[1:]]


def test_the_front_matter_is_what_the_hub_reads(records: list[Record]) -> None:
    data = ModelCard(model_card(records, student(records))).data
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.pipeline_tag == "text-classification"
    assert data.library_name == "transformers"
    assert data.tags == ["patient-knowledge-distillation", "pkd"]
    assert data.license is None
    assert data.eval_results is not None
    assert {result.metric_type: result.metric_value for result in data.eval_results} == {
        "accuracy": 0.828,
        "f1": 0.827,
        "matthews_correlation": 0.656,
    }


def test_each_metric_has_the_hubs_name_and_what_tells_it_from_its_like(records: list[Record]) -> None:
    """Macro F1 and the F1 of the second class are both `f1` there."""
    of_classes = {"f1": Score(value=0.7), "macro_f1": Score(value=0.6)}
    data = ModelCard(model_card(records, student(records).model_copy(update={"scores": of_classes}))).data
    assert data.metrics == ["f1"]
    assert data.eval_results is not None
    assert [(result.metric_value, result.metric_args) for result in data.eval_results] == [
        (0.7, None),
        (0.6, {"average": "macro"}),
    ]
    of_scores = {metric: Score(value=0.5) for metric in ("pearson", "spearman", "mse")}
    data = ModelCard(model_card(records, student(records).model_copy(update={"scores": of_scores}))).data
    assert data.metrics == ["pearsonr", "spearmanr", "mse"]


def test_a_card_of_tags_is_one_of_token_classification(records_of_tags: list[Record]) -> None:
    text = model_card(records_of_tags, student(records_of_tags))
    data = ModelCard(text).data
    assert data.pipeline_tag == "token-classification"
    assert data.eval_results is not None
    found = {(result.metric_name, result.metric_type): result.metric_value for result in data.eval_results}
    assert found == {
        ("span F1", "f1"): 0.5714,
        ("span precision", "precision"): 0.6667,
        ("span recall", "recall"): 0.5,
        ("accuracy of words", "accuracy"): 0.8667,
    }
    assert 'pipeline("token-classification", model="pkd-skip-L3-spread", aggregation_strategy="first")' in text
    assert "truncation=True" not in text
    assert "### Type by type" in text
    assert "| creative-work | 2 |" in text


@pytest.mark.parametrize(
    ("problem_type", "answers"),
    [
        ("single_label_classification", 1),
        ("regression", 1),
        ("multi_label_classification", 2),
        ("multiple_choice", None),
    ],
)
def test_the_code_in_the_card_answers_with_the_model(
    problem_type: str, answers: int | None, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_teacher(layers=2, labels=("score",) if problem_type == "regression" else ("a", "b")).config
    if problem_type == "multiple_choice":
        AutoModelForMultipleChoice.from_config(config).save_pretrained(tmp_path / "student")
    else:
        config.problem_type = problem_type
        AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "student")
    make_tokenizer().save_pretrained(tmp_path / "student")
    run = records[0].model_copy(update={"problem_type": problem_type})
    card = model_card([run, *records[1:]], student(records), title="student")
    *lines, last = card.split("```python\n")[1].split("```")[0].strip().splitlines()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    found = eval(last, names)
    if answers is None:
        assert found in names["choices"]
        assert ModelCard(card).data.pipeline_tag == "multiple-choice"
    else:
        assert len(found) == answers
        assert ModelCard(card).data.pipeline_tag == "text-classification"


def test_whether_a_teacher_is_the_hubs_was_decided_when_it_was_loaded(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the card is made, and what lies there by then, does not matter."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "teacher").mkdir(parents=True)
    of_a_folder = [
        (name, model_source(name)) for name in ("models/teacher", "./models/teacher/", f"{tmp_path}/models/..")
    ]
    of_the_hub = ModelSource("models/teacher", hub=True)
    monkeypatch.chdir("/")
    for name, source in of_a_folder:
        assert source in (ModelSource("teacher", hub=False), ModelSource(tmp_path.name, hub=False))
        card = model_card(with_run(records, teacher=source, recipe={"teacher": {"model": name}}), student(records))
        assert ModelCard(card).data.base_model is None, name
        assert str(tmp_path) not in card
        assert f"- Teacher: `{source.name}`" in card
    monkeypatch.chdir(tmp_path)  # where a folder is called like a model of the hub
    card = model_card(with_run(records, teacher=of_the_hub), student(records))
    assert ModelCard(card).data.base_model == "models/teacher"


def test_the_card_names_what_it_was_trained_on_and_no_path(records: list[Record]) -> None:
    sources = {
        "train": [Source("owner/name/config:train", "hub", 8530, ("premise", "hypothesis"), ("label",))],
        "unlabelled": [Source("more.txt", "file", 300), Source("even-more.txt", "file", 1)],
        "eval": [Source("dev.csv", "file", 1066, ("premise", "hypothesis"), ("label",))],
    }
    run = with_run(records, sources=sources, recipe={"data": {"train": "/home/someone/secret.csv"}})
    card = model_card(run, student(records).model_copy(update={"unlabelled_rows": 301}))
    assert "- Training data: 8,530 rows of owner/name/config:train (columns premise, hypothesis and label)" in card
    assert "alone: 300 rows of more.txt, 1 row of even-more.txt" in card
    assert "- Development data, which chose the epoch: 1,066 rows of dev.csv (columns premise" in card
    assert ModelCard(card).data.datasets == ["owner/name"]
    assert "someone" not in card
    assert 'classify({"text": "a text", "text_pair": "another text"}, truncation=True)' in card
    assert "Unlabelled text" not in model_card(run, student(records))  # a student that did not learn from it


def test_the_recipe_that_is_shared_has_names_of_the_hub_and_no_paths(records: list[Record]) -> None:
    recipe = {
        "teacher": {"model": "/home/someone/models/teacher"},
        "data": {"train": "owner/name:train", "eval": "data/dev.csv", "unlabelled": ["C:\\texts\\more.txt"]},
        "students": [{"student": "org/small"}, {"student": "models/small"}],
    }
    sources = {"train": [Source("owner/name:train", "hub", 9)], "eval": [Source("dev.csv", "file", 9)]}
    starts = [ModelSource("org/small", hub=True), ModelSource("small", hub=False)]
    run = with_run(records, recipe=recipe, sources=sources, starts=starts, teacher=ModelSource("teacher", hub=False))[0]
    assert isinstance(run, RunRecord)
    assert YAML(typ="safe").load(shareable_recipe(run)) == {
        "teacher": {"model": "teacher"},
        "data": {"train": "owner/name:train", "eval": "dev.csv", "unlabelled": ["more.txt"]},
        "students": [{"student": "org/small"}, {"student": "small"}],
    }


def test_the_card_shows_how_to_use_the_model_with_truncation(records: list[Record]) -> None:
    card = model_card(records, student(records))
    assert 'pipeline("text-classification", model="pkd-skip-L3-spread-seed42")' in card
    assert "truncation=True)" in card


def test_the_card_says_how_the_student_was_made(records: list[Record]) -> None:
    card = model_card(records, student(records))
    assert "layers 1, 3, 5 (`spread`)" in card
    assert "1 ← 2, 2 ← 4" in card
    assert "loss of a row = 0.5 · ce + 0.5 · kd + 100 · pt" in card
    assert "| temperature | 10.0 |" in card
    assert "Seeds of the run: 42, 43, 44" in card
    assert "1908.09355" in card


def test_the_formula_is_that_of_the_method_and_its_reductions(records: list[Record]) -> None:
    fine_tuned = model_card(records, student(records, "ft-L3-first"))
    assert "loss of a row = ce" in fine_tuned
    assert "kd = " not in fine_tuned
    summed = student(records).model_copy(update={"settings": {"kd_reduction": "sum", "pt_reduction": "sum"}})
    card = model_card(records, summed)
    assert "(sum over classes)" in card
    assert "/ (K · H)" not in card


def test_the_formula_is_that_of_the_kind_of_problem(records: list[Record]) -> None:
    of_scores, of_sets = (
        model_card([records[0].model_copy(update={"problem_type": kind}), *records[1:]], student(records))
        for kind in ("regression", "multi_label_classification")
    )
    assert "ce = (z_student − label)²\nkd = (z_student − z_teacher)²\n" in of_scores
    assert "ce = BCE(σ(z_student), labels) / C" in of_sets
    assert "kd = T² · BCE(σ(z_student / T), σ(z_teacher / T)) / C" in of_sets
    for card in (of_scores, of_sets):
        assert "KL(softmax" not in card


def test_the_card_tells_only_the_verdicts_of_its_own_model(records: list[Record]) -> None:
    card = model_card(records, student(records))
    assert "Patience UNCLEAR: pkd-skip-L3-spread" in card
    assert "kd-L3-first in accuracy" not in card


def test_a_card_of_rows_selected_on_says_so(selected_records: list[Record]) -> None:
    card = model_card(selected_records, student(selected_records))
    assert "Not held out." in card
    assert "held-out" not in card
    assert "On 1,066 development rows (which chose the epoch). Mean" in card


def test_a_card_of_rows_that_were_trained_on_says_so_beside_every_score(records: list[Record]) -> None:
    seen = MeasuredOn(source="train.csv", held_out=False, shared={"train": 1066}, chose=["epoch"])
    model = student(records).model_copy(update={"measured_on": seen})
    card = model_card([records[0], model], model)
    assert "held-out" not in card
    words = "1,066 test rows (all of them are training rows too)"
    assert f"On {words}. Mean" in card
    assert f"Its accuracy was measured on {words} of train.csv" in card
    results = ModelCard(card).data.eval_results
    assert results is not None
    assert {result.dataset_name for result in results} == {f"train.csv: {words}"}


def test_what_a_score_hides_stands_beside_it_everywhere_in_the_card(collapsed_records: list[Record]) -> None:
    card = model_card(collapsed_records, student(collapsed_records))
    blind = "answers 'fine' for all 10 rows and finds none of 3 'unsafe'"
    results = ModelCard(card).data.eval_results
    assert results is not None
    assert {result.dataset_name for result in results} == {f"test.csv: this model {blind}"}
    body = card.split("\n# ")[1]
    assert f"- pkd-skip-L3-spread {blind}." in body
    assert f"- On these rows it {blind}." in body
    assert "| unsafe | 3 | 100.0 → 0.0 | 100.0 → 0.0 | 100.0 → 0.0 | −100.0 |\n| fine | 7 |" in body
    assert "What the scores hide" not in model_card(collapsed_records[:1], student(collapsed_records, "ft-L3-first"))


def test_the_card_shows_the_classes_of_its_own_seed(collapsed_records: list[Record]) -> None:
    alone = [
        each.model_copy(update={"classes": [type(one)(**{**vars(one), "f1": 0.5}) for one in each.classes]})
        if isinstance(each, ClassesRecord) and each.seed == 42
        else each
        for each in collapsed_records
    ]
    card = model_card(alone, student(alone))
    assert "| 100.0 → 50.0 | −50.0 |" in card
    assert "seeds)" not in card.split("### Class by class")[1].split("##")[0]


def test_a_name_with_a_bar_or_a_tag_breaks_no_table(records: list[Record]) -> None:
    model = student(records).model_copy(update={"name": "a|b<script>"})
    assert "a\\|b&lt;script>" in model_card([records[0], model], model)


def test_a_student_without_a_run_record_gets_a_card(records: list[Record]) -> None:
    card = model_card([], student(records))
    assert ModelCard(card).data.base_model is None
    assert "Teacher:" not in card


def test_names_from_data_stand_in_the_card_as_text(records: list[Record]) -> None:
    labels = [
        "![x](http://evil.example/x.png)",
        "a`b``c",
        "<script>alert(1)</script>",
        "two\nlines",
        "[l](javascript:x)",
    ]
    run = records[0].model_copy(update={"labels": labels})
    model = student(records).model_copy(update={"name": "![x](http://evil.example/x.png)`<b>"})
    card = model_card([run, model], model)
    assert "Labels: `![x](http://evil.example/x.png)`, ``` a`b``c ```, `<script>alert(1)</script>`, `two lines`" in card
    assert r"!\[x\](http://evil.example/x.png)\`&lt;b>" in card.split("## Results")[1]
