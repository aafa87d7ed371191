"""Tags of words: what is stored of the teacher, what is taught, and the loss by hand."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from conftest import WORDS, make_foreign_tokenizer, make_tokenizer
from pkd.data.batching import Collator, TokenRows, is_labelled, stored_states, stored_teacher_layers
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows, bytes_per_row
from pkd.distillation.canary import doubt_answers
from pkd.distillation.dropping import least_missed
from pkd.distillation.layers import LayerMap
from pkd.distillation.ledger import PatientLoss, term_rows
from pkd.distillation.narrowing import neuron_importance
from pkd.distillation.student import student_from
from pkd.distillation.terms import objective_of
from pkd.distillation.units import unit_deviations
from pkd.encoder.inference import answer_parts, answer_rows, collator_for
from pkd.recipe.settings import AnnotationSettings, LossSettings
from pkd.tasks import TOKEN_CLASSIFICATION

NAMES = ("O", "B-THING", "I-THING")


def make_tagger(seed: int = 0) -> BertForTokenClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
        architectures=["BertForTokenClassification"],
    )
    return BertForTokenClassification(config).eval()


def make_rows(sentences: list[list[str]], labels: list[list[int] | None]) -> datasets.Dataset:
    offsets = []
    for words in sentences:
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        offsets.append([int(x) for end, word in zip(ends, words, strict=True) for x in (end - len(word), end)])
    return datasets.Dataset.from_dict(
        {"text": [" ".join(words) for words in sentences], "word_offsets": offsets, "label": labels}
    )


ROWS = make_rows(
    [["good", "bad-good", "bad"], ["bad"] * 40, ["good", "good"], ["\u200b", "good"]],
    [[0, 1, 2], [0, 1] * 20, None, [1, 2]],
)


def annotate(folder: Path, **options: object) -> datasets.Dataset:
    folder.mkdir(exist_ok=True)
    settings = {"teacher_layers": [1, 3], "max_length": 24, "states_dtype": "float32", "rows_per_shard": 3, **options}
    return annotate_rows(ROWS, TeacherPass(make_tagger(), make_tokenizer(), **settings), folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return annotate(tmp_path_factory.mktemp("tags"))


def plain_logits(model: BertForTokenClassification, row: dict[str, list[int]]) -> np.ndarray:
    """The logits at the taught places, each window alone and unpadded."""
    begin, of_windows = 0, []
    for length in row["window_lengths"]:
        ids = torch.tensor([row["input_ids"][begin : begin + length]])
        of_windows.append(model(input_ids=ids).logits[0].detach())
        begin += length
    logits: np.ndarray = torch.cat(of_windows)[row["taught"]].numpy()
    return logits


def test_answers_in_padded_batches_of_windows_are_those_of_each_window_alone() -> None:
    model, encoded = make_tagger(), encode(ROWS, make_tokenizer(), 24)
    assert encoded[1]["window_lengths"] == [24, 24, 8]
    answers = answer_parts(model, encoded, layers=[2])
    expected = np.concatenate([plain_logits(model, row) for row in encoded])
    np.testing.assert_allclose(answers.logits, expected, atol=1e-6)
    assert answers.counts.tolist() == [5, 40, 2, 1]
    assert answers.states is not None
    assert answers.states.shape == (48, 1, 16)


def test_a_words_answer_is_its_first_parts_and_a_word_that_the_tokenizer_drops_is_outside() -> None:
    model, encoded = make_tagger(), encode(ROWS, make_tokenizer(), 24)
    logits = answer_rows(model, encoded).logits
    assert logits.shape == (4, 40, 3)
    first = plain_logits(model, encoded[0])
    np.testing.assert_allclose(logits[0, :3], first[[0, 1, 4]], atol=1e-6)  # "bad-good" has three parts
    assert np.isnan(logits[0, 3:]).all()
    assert logits[3, 0].tolist() == [1, 0, 0]  # "O"


def test_annotated_rows_hold_the_parts_of_their_words(annotated: datasets.Dataset) -> None:
    assert annotated["teacher_words"][0] == [0, 1, 1, 1, 2]
    assert np.shape(annotated["teacher_logits"][1]) == (40, 3)
    assert np.shape(annotated["teacher_word_states"][1]["3"]) == (40, 16)
    assert stored_teacher_layers(annotated) == (1, 3)
    assert sum(len(states) for states in stored_states(annotated, [1, 3])) == 48
    assert unit_deviations(annotated, [3]).shape == (1, 16)


def test_a_further_part_of_a_word_goes_on_with_its_tag(annotated: datasets.Dataset) -> None:
    encoded = encode(annotated, make_tokenizer(), 24)
    batch = collator_for(make_tagger().config)(TokenRows(encoded).__getitems__([0, 2, 3]))
    assert batch["labels"].tolist() == [[0, 1, 2, 2, 2], [-100] * 5, [2, *[-100] * 4]]
    assert is_labelled(batch["labels"]).tolist() == [True, False, True]
    assert batch["taught"].tolist() == [[1, 2, 3, 4, 5], [1, 2, -1, -1, -1], [1, -1, -1, -1, -1]]


def test_the_loss_of_a_row_is_the_mean_of_each_formula_over_its_parts(annotated: datasets.Dataset) -> None:
    student = student_from(make_tagger(seed=1), layers=2, start="first").eval()
    encoded = encode(annotated, make_tokenizer(), 24)
    settings = LossSettings(beta=1.0, temperature=2.0, alpha=0.5, pt_reduction="sum")
    layer_map = LayerMap(((1, 3),))
    batch = collator_for(student.config, layer_map.teacher)(TokenRows(encoded).__getitems__([0, 2]))
    loss = PatientLoss(settings, layer_map)
    values = term_rows(student, batch, objective_of(settings, unlabelled=True), loss, TOKEN_CLASSIFICATION)

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    for row, index in enumerate([0, 2]):
        ids = torch.tensor([encoded[index]["input_ids"]])
        output = student(input_ids=ids, output_hidden_states=True)
        taught = encoded[index]["taught"]
        own = output.logits[0, taught].detach().double().numpy()
        theirs = np.asarray(encoded[index]["teacher_logits"], dtype=np.float64)
        p, q = log_softmax(theirs / 2.0), log_softmax(own / 2.0)
        kd = 4.0 * (np.exp(p) * (p - q)).sum(axis=-1).mean()
        states = output.hidden_states[1][0, taught].detach().double().numpy()
        of_teacher = np.asarray(encoded[index]["teacher_word_states"]["3"], dtype=np.float64)
        unit = [each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (states, of_teacher)]
        pt = np.square(unit[0] - unit[1]).sum(axis=-1).mean()
        assert values["kd"][row].item() == pytest.approx(kd, rel=1e-4)
        assert values["pt"][row].item() == pytest.approx(pt, rel=1e-4)
        if index == 0:
            ce = -log_softmax(own)[np.arange(5), [0, 1, 2, 2, 2]].mean()
            assert values["ce"][row].item() == pytest.approx(ce, rel=1e-5)
    assert values["ce"][1].item() == 0  # without a label


def test_a_student_of_another_tokenizer_is_taught_at_the_first_part_of_each_word(annotated: datasets.Dataset) -> None:
    encoded = encode(annotated, make_foreign_tokenizer(), 24)
    assert encoded[0]["taught_words"] == [0, 1, 1, 1, 2]  # the same parts, in other word pieces
    split = ROWS.select([0]).map(lambda row: {"text": "good bad_good bad"})
    foreign = encode(
        datasets.concatenate_datasets([split, annotated.select([0]).select_columns(["teacher_words"])], axis=1),
        make_foreign_tokenizer(),
        24,
    ).add_column("teacher_logits", [annotated[0]["teacher_logits"]], feature=annotated.features["teacher_logits"])
    assert foreign[0]["taught_words"] == [0, 1, 2]  # this tokenizer takes the second word whole
    batch = Collator(1)(TokenRows(foreign).__getitems__([0]))
    np.testing.assert_allclose(
        batch["teacher_logits"][0].numpy(), np.asarray(annotated[0]["teacher_logits"])[[0, 1, 4]], rtol=1e-6
    )
    assert batch["labels"].tolist() == [[0, 1, 2]]


def test_states_of_a_share_of_the_parts_are_stored_and_the_rest_is_taught_by_the_logits(tmp_path: Path) -> None:
    few = annotate(tmp_path / "few", states_share=0.4)
    assert [len(row["3"]) for row in few["teacher_word_states"]] == [2, 16, 1, 1]
    encoded = encode(few, make_tokenizer(), 24)
    batch = collator_for(make_tagger().config, (3,))(TokenRows(encoded).__getitems__([0]))
    assert batch["stated"].tolist() == [[False, True, False, True, False]]
    whole = annotate(tmp_path / "whole")
    np.testing.assert_array_equal(
        batch["teacher_word_states"][0, 0, [1, 3]].numpy(), np.asarray(whole[0]["teacher_word_states"]["3"])[[1, 3]]
    )
    assert bytes_per_row(3, 16, 2, AnnotationSettings(states_share=0.5), parts=10) == 10 * (12 + 4 + 2 * 16) + 16


def test_stored_answers_are_believed_only_if_the_teacher_still_gives_them(tmp_path: Path) -> None:
    folder = tmp_path / "tags"
    annotate(folder)
    teacher = TeacherPass(make_tagger(), make_tokenizer(), [1, 3], 24, states_dtype="float32", rows_per_shard=3)
    assert doubt_answers(folder, ROWS, teacher, stored_dtype=None, seed=1) is None
    other = TeacherPass(make_tagger(seed=9), make_tokenizer(), [1, 3], 24, states_dtype="float32", rows_per_shard=3)
    assert "asked again" in str(doubt_answers(folder, ROWS, other, stored_dtype=None, seed=1))


def test_layers_are_dropped_and_neurons_ranked_by_the_parts_of_words(annotated: datasets.Dataset) -> None:
    teacher, encoded = make_tagger(), encode(annotated, make_tokenizer(), 24)
    layer, distance = least_missed(teacher, [1, 2, 3, 4], encoded, TOKEN_CLASSIFICATION)
    assert layer in (1, 2, 3, 4)
    assert distance > 0
    importance = neuron_importance(teacher, encoded)
    assert importance.shape == (4, 32)
    assert (importance > 0).all()
