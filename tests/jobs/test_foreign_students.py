"""Students of another family: each reads with its own tokenizer, and one teacher pass serves all kinds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast, pipeline

import pkd
from conftest import make_foreign_tokenizer, make_tokenizer, recipe_values, stop_at_step
from pkd import progress
from pkd.data.encodings import Reader
from pkd.data.shards import open_shards
from pkd.encoder.pretrained import check_reads, difference_in_reading, load_encoder
from pkd.errors import RecipeError, Stopped, TeacherError
from pkd.jobs.plan import plan_run
from pkd.jobs.run import RunResult
from pkd.recipe.reading import read_recipe, recipe_from
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.folder import RunFolder

TRAINING = {"num_train_epochs": 2, "learning_rate": 1e-3, "precision": "float32"}


class Done(NamedTuple):
    result: RunResult
    folder: Path
    lines: list[str]

    def model(self, name: str) -> ModelRecord:
        return next(each for each in self.result.records if isinstance(each, ModelRecord) and each.name == name)


class Told(progress.Watcher):
    """Keeps the stages that ran, and what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage_began(self, stage: progress.Stage) -> None:
        self.lines.append(stage.name)

    def noted(self, message: str, level: str) -> None:
        self.lines.append(message)


def values(workspace: Path, output: Path, *students: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = recipe_values(workspace, output)
    given["data"]["unlabelled"] = [str(workspace / "unlabelled.txt")]
    return {
        **given,
        "effort": "quick",
        "training": TRAINING,
        "evaluation": {"resamples": 20},
        "students": list(students),
        **more,
    }


@pytest.fixture(scope="module")
def both(workspace: Path, foreign_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run of an encoder and of teacher layers, with their controls."""
    folder, told = tmp_path_factory.mktemp("both") / "run", Told()
    given = values(workspace, folder, {"student": str(foreign_encoder)}, {"layers": 2}, transfer={"augment": 1})
    with progress.watch(told):
        result = pkd.run(recipe_from(given, where="test"))
    return Done(result, folder, told.lines)


def test_both_kinds_learn_from_one_pass_and_are_measured_side_by_side(both: Done) -> None:
    assert [line for line in both.lines if line.startswith("annotate")] == [
        "annotate train", "annotate eval", "annotate test", "annotate unlabelled", "annotate augmented-1",
    ]  # fmt: skip
    models = [each for each in both.result.records if isinstance(each, ModelRecord)]
    assert [each.name for each in models] == [
        "teacher", "pkd-skip-L6-little-roberta", "pkd-skip-L2-spread",
        "kd-L6-little-roberta", "ft-L6-little-roberta", "kd-L2-spread", "ft-L2-spread",
    ]  # fmt: skip
    assert all(each.rows_per_second for each in models)
    own, cut = models[1:3]
    assert (own.encoder, own.start, own.layers, own.role) == ("little-roberta", "little-roberta", 6, "student")
    assert own.layer_map == [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)]  # 4 layers teach 6
    assert (cut.encoder, cut.layer_map) == (None, [(1, 2)])
    assert own.parameters != cut.parameters


def test_the_verdict_is_against_the_same_encoder_fine_tuned_alone(both: Done) -> None:
    found = [each for each in both.result.records if isinstance(each, ComparisonRecord)]
    [alone] = [each for each in found if each.question == "against the same encoder fine-tuned alone"]
    assert (alone.a, alone.b) == ("pkd-skip-L6-little-roberta", "ft-L6-little-roberta")
    assert (alone.seeds_a, alone.seeds_b) == (None, None)  # two models, each of which would be deployed
    assert "Against the same encoder fine-tuned alone" in both.result.report.read_text()
    fine_tuned, student = both.model("ft-L6-little-roberta"), both.model("pkd-skip-L6-little-roberta")
    assert fine_tuned.history[-1]["step"] == student.history[-1]["step"]


def test_the_students_folder_is_ordinary_and_answers_as_pkd_does(both: Done, foreign_encoder: Path) -> None:
    folder = both.folder / both.model("pkd-skip-L6-little-roberta").folder
    assert not [name for name in load_file(folder / "model.safetensors") if "projection" in name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a good film")["input_ids"] == make_foreign_tokenizer()("a good film")["input_ids"]
    assert tokenizer.model_max_length == 24  # what it can read; the recipe cuts at 32
    texts = ["a good film", "the plot was dull and weak", "great " * 40]
    classify = pipeline("text-classification", model=str(folder))
    for text, answer in zip(texts, pkd.Classifier.load(folder)(texts), strict=True):
        theirs = classify(text, truncation=True)[0]
        assert theirs["label"] == answer.label
        assert theirs["score"] == pytest.approx(answer.probabilities[answer.label], abs=1e-5)


def test_each_student_reads_the_rows_with_its_own_tokenizer(both: Done, foreign_encoder: Path) -> None:
    plan = plan_run(read_recipe(both.folder / "recipe.yaml"))
    rows, run = open_shards(both.folder / "annotated" / "train"), RunFolder(both.folder)
    for name, tokenizer, longest in (
        (str(foreign_encoder), make_foreign_tokenizer(), 24),
        (None, make_tokenizer(), 32),
    ):
        read = open_shards(run.encoding("train", plan.readers[name].key))
        wanted = [tokenizer(text, truncation=True, max_length=longest)["input_ids"] for text in rows["text"]]
        assert read["input_ids"] == wanted


def test_the_card_names_teacher_and_encoder_and_the_licences_that_are_known(both: Done) -> None:
    from pkd.reporting.card import model_card

    own, cut = (
        model_card(both.result.records, both.model(name))
        for name in ("pkd-skip-L6-little-roberta", "pkd-skip-L2-spread")
    )
    assert "`little-roberta`, distilled from `teacher`" in own
    assert "- Encoder: `little-roberta`, its first 6 layers with its own tokenizer and a new head" in own
    assert "- Licences, as their own cards say: `little-roberta` mit" in own
    assert "little-roberta" not in cut.partition("## How it was made")[2].partition("| setting")[0]
    [run] = [each for each in both.result.records if isinstance(each, RunRecord)]
    assert [(each.name, each.licence) for each in run.starts] == [("little-roberta", "mit")]


def test_the_same_run_again_keeps_everything(both: Done) -> None:
    told = Told()
    with progress.watch(told):
        pkd.run(read_recipe(both.folder / "recipe.yaml"))
    assert not [line for line in told.lines if line.startswith(("train ", "annotate ", "measure the loss"))]


def test_a_stopped_training_goes_on_to_the_same_bits(
    both: Done, workspace: Path, foreign_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = values(workspace, tmp_path / "run", {"student": str(foreign_encoder)}, transfer={"augment": 1})
    recipe = recipe_from({**given, "controls": False}, where="test")
    stop_at_step(monkeypatch, 10)
    with pytest.raises(Stopped):
        pkd.run(recipe)
    progress.clear_stop()
    saved = sorted((tmp_path / "run").glob("students/*.partial/checkpoint-*/model.safetensors"))
    assert any("patience_projection.weight" in load_file(path) for path in saved)
    pkd.run(recipe)
    weights = "students/pkd-skip-L6-little-roberta-seed42/model.safetensors"
    assert sha256_of_file(both.folder / weights) == sha256_of_file(tmp_path / "run" / weights)


def test_check_says_what_it_is_and_measures_its_terms(both: Done, workspace: Path, foreign_encoder: Path) -> None:
    given = values(workspace, both.folder.with_name("other"), {"student": str(foreign_encoder), "layers": 3})
    found = pkd.check(recipe_from(given, where="test"))
    said = "\n".join(found.sentences)
    assert f"pkd-skip-L3-little-roberta starts as the first 3 layers of {foreign_encoder}, which reads with its" in said
    assert {term.name for term in found.students[0].terms} == {"ce", "kd", "pt"}


def test_a_head_that_pools_over_all_positions_learns_from_logits_alone(workspace: Path, tmp_path: Path) -> None:
    tokenizer = make_foreign_tokenizer()
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2, intermediate_size=16, num_hidden_layers=2,
        max_position_embeddings=64, classifier_pooling="mean", pad_token_id=1, cls_token_id=0, sep_token_id=2,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(tmp_path / "ettin")
    tokenizer.save_pretrained(tmp_path / "ettin")
    student = {"student": str(tmp_path / "ettin"), "method": "kd"}
    done = pkd.run(recipe_from(values(workspace, tmp_path / "run", student, controls=False), where="test"))
    assert (done.student.name, done.student.role) == ("kd-L2-ettin", "student")
    assert pkd.evaluate(str(tmp_path / "run" / done.student.folder), test=str(workspace / "test.csv"), max_length=32)


@pytest.mark.parametrize("verb", [pkd.check, pkd.run])
def test_weights_that_cannot_be_used_are_found_before_the_teacher_is_fine_tuned(
    workspace: Path, foreign_encoder: Path, tmp_path: Path, verb: Any
) -> None:
    shutil.copytree(foreign_encoder, damaged := tmp_path / "damaged")
    (damaged / "model.safetensors").unlink()
    given = values(workspace, tmp_path / "run", {"student": str(damaged)})
    given["teacher"]["finetune"] = {"num_train_epochs": 1}
    with pytest.raises(TeacherError, match=r"damaged holds no weights: model\.safetensors is missing"):
        verb(recipe_from(given, where="test"))
    assert not (tmp_path / "run" / "teacher").exists()


# What a reader knows and reads ---------------------------------------------------------------------------------------


def test_pairs_are_read_in_the_readers_own_format(foreign_encoder: Path) -> None:
    rows = datasets.Dataset.from_dict({"text_a": ["a good film"], "text_b": ["the plot"]})
    read = load_encoder(str(foreign_encoder)).reader(24).encode(rows)
    assert read["input_ids"] == [make_foreign_tokenizer()("a good film", "the plot")["input_ids"]]
    assert read["input_ids"][0].count(2) == 3  # <s> a </s></s> b </s>
    assert "token_type_ids" not in read.column_names


def test_masked_words_are_the_readers_own(foreign_encoder: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": ["a [MASK] film"]})
    read = load_encoder(str(foreign_encoder)).reader(24).encode(rows)
    assert make_foreign_tokenizer().mask_token_id in read["input_ids"][0]


def test_an_encoder_that_knows_half_of_the_words_may_learn_and_one_that_knows_few_may_not(
    foreign_encoder: Path,
) -> None:
    reader = load_encoder(str(foreign_encoder)).reader(24)
    check_reads(reader, datasets.Dataset.from_dict({"text": ["good film", "xx yy good film"]}))
    with pytest.raises(TeacherError, match="does not know 60% of the word pieces of the training texts"):
        check_reads(reader, datasets.Dataset.from_dict({"text": ["xx yy zz good"]}))


def test_the_space_before_a_word_that_a_sentencepiece_tokenizer_does_not_know_is_no_known_word_piece() -> None:
    backend = Tokenizer(models.Unigram([("<s>", 0), ("</s>", 0), ("<unk>", 0), ("▁", -3), ("▁good", -2)], unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", model_max_length=24)
    check_reads(Reader(tokenizer, 24, "some/spiece"), datasets.Dataset.from_dict({"text": ["good good привет"]}))
    with pytest.raises(TeacherError, match="some/spiece does not know 67% of the word pieces"):
        check_reads(Reader(tokenizer, 24, "some/spiece"), datasets.Dataset.from_dict({"text": ["привет мир good"]}))


@pytest.mark.parametrize(("long", "warns"), [(0, False), (1, False), (2, True)])
def test_a_reader_that_cuts_a_tenth_more_of_the_rows_is_warned_of(
    foreign_encoder: Path, long: int, warns: bool
) -> None:
    texts = ["a good film"] * (10 - long) + ["a " * 26] * long  # 28 word pieces: one reads 24, the other 32
    rows, encoder = datasets.Dataset.from_dict({"text": texts}), load_encoder(str(foreign_encoder))
    told = difference_in_reading(encoder.reader(32), Reader(make_tokenizer(), 32, "teacher"), rows)
    assert bool(told) is warns
    if warns:
        assert f"{foreign_encoder} reads less of the texts than its teacher: 20% of the training rows" in told


def test_a_reader_that_cuts_fewer_rows_than_its_teacher_is_told_too() -> None:
    rows = datasets.Dataset.from_dict(
        {"text": ["good " * 9] * 4}
    )  # 11 word pieces; for the teacher, with two a word, 20
    student, teacher = Reader(make_tokenizer(), 16, "small"), Reader(make_foreign_tokenizer(), 16, "large")
    told = difference_in_reading(student, teacher, rows)
    assert (
        "The teacher reads less of the texts than small: 100% of the training rows are cut for it, against 0%" in told
    )


# How it is asked for -------------------------------------------------------------------------------------------------


def test_the_old_spelling_is_read_and_the_map_follows_from_the_widths(workspace: Path, tmp_path: Path) -> None:
    told = Told()
    with progress.watch(told):
        recipe = recipe_from(values(workspace, tmp_path, {"pretrained": "a/b", "projection": True}), where="test")
    assert recipe.students[0].student == "a/b"
    assert told.lines == ["projection is no longer a key: patience goes through a map exactly where two widths differ"]
    over = recipe_from(values(workspace, tmp_path, {}), where="test", set=["students.0.pretrained=a/c"])
    assert over.students[0].student == "a/c"
    with pytest.raises(RecipeError, match=r"pretrained is the older name of student, which is 'x'; give one"):
        recipe_from(values(workspace, tmp_path, {"pretrained": "a/b", "student": "x"}), where="test")


def test_two_encoders_of_one_name_need_names_of_their_own(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"would be pkd-skip-Lk-small as that of students\.0"):
        recipe_from(values(workspace, tmp_path, {"student": "a/small"}, {"student": "b/small"}), where="test")


def test_an_encoder_has_the_rate_of_its_width_and_no_fewer_steps_than_a_teacher(
    workspace: Path, foreign_encoder: Path, tmp_path: Path
) -> None:
    given = values(workspace, tmp_path / "run", {"student": str(foreign_encoder)}, {"layers": 2}, training={})
    own, cut = (candidates[0].training for candidates in plan_run(recipe_from(given, where="test")).students)
    assert (own.learning_rate, cut.learning_rate) == (2e-4, 5e-5)  # twice 1e-4, for narrow ones
    assert (own.num_train_epochs, cut.num_train_epochs) == (58.0, 4.0)  # 400 steps of 7 an epoch
