"""Narrow students: importance is |activation · gradient|, and neurons without effect can go unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
)

import pkd
from conftest import make_reviews, make_tokenizer
from encoder.families import CONFIGS, make_classifier
from pkd.data.tokenize import encode
from pkd.distillation.narrowing import count_kept, kept_neurons, neuron_importance, row_importance
from pkd.encoder.families import family_of, layers_of, neurons_of
from pkd.errors import DataError, RecipeError
from pkd.tasks import BINARY, MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL, TaskKind

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0], [2, 4, 3, 0, 0], [2, 9, 5, 5, 3]])
BATCH = {"input_ids": IDS, "attention_mask": (IDS != 0).long(), "labels": torch.tensor([0, 1, 2, 1])}


def make_multiple_choice(kind: str) -> PreTrainedModel:
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForMultipleChoice.from_config(CONFIGS[kind])
    return model.eval()


def parts_of(model: PreTrainedModel, layer: int) -> tuple[Any, Any, bool]:
    """The linear maps before and behind the neurons of a layer, counted from 0, and whether they are gated."""
    parts, of_layer = family_of(model.config).feed_forward, layers_of(model)[layer]
    return of_layer.get_submodule(parts.inner), of_layer.get_submodule(parts.outer), parts.gated


def silence(model: PreTrainedModel, layer: int, unread: list[int], unmade: list[int]) -> None:
    """Take the effect of neurons away: of `unread` ones what reads them, of `unmade` ones what makes them."""
    inner, outer, gated = parts_of(model, layer)
    rows = unmade + ([index + neurons_of(model.config) for index in unmade] if gated else [])
    with torch.no_grad():
        outer.weight[:, unread] = 0.0
        inner.weight[rows] = 0.0
        if inner.bias is not None:
            inner.bias[rows] = 0.0


@pytest.mark.parametrize("kind", CONFIGS)
def test_neurons_of_zero_weight_go_and_nothing_changes(kind: str, tmp_path: Path) -> None:
    """24 neurons, of which 8 in each layer have no effect; a width of 2/3 keeps the 16 others."""
    teacher = make_classifier(kind)
    silent = [np.random.default_rng(layer).choice(24, 8, replace=False).tolist() for layer in range(6)]
    for layer, of_layer in enumerate(silent):
        silence(teacher, layer, of_layer[:4], of_layer[4:])
    importance = row_importance(teacher, BATCH, SINGLE_LABEL).mean(dim=0).double().numpy()
    for layer, of_layer in enumerate(silent):
        assert set(np.flatnonzero(importance[layer] == 0)) == set(of_layer)
    student = pkd.student_from(teacher, 6, width=2 / 3, importance=importance).eval()
    assert neurons_of(student.config) == 16
    assert student.num_parameters() < teacher.num_parameters()
    inputs = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
    expected = teacher.double()(**inputs).logits
    torch.testing.assert_close(student.double()(**inputs).logits, expected, rtol=0, atol=1e-12)

    student.float().save_pretrained(tmp_path)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    torch.testing.assert_close(loaded.eval().double()(**inputs).logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", CONFIGS)
def test_importance_is_how_the_loss_answers_to_a_factor_on_the_neuron(kind: str) -> None:
    """∂L/∂m at m = 1, where m multiplies a neuron at every position, by central differences in float64."""
    teacher = make_classifier(kind).double()
    importance = row_importance(teacher, BATCH, SINGLE_LABEL)
    assert importance.shape == (4, 6, 24)
    for layer, neuron in ((0, 3), (2, 17), (5, 23)):
        slopes = slopes_of(teacher, BATCH, SINGLE_LABEL, layer, neuron)
        torch.testing.assert_close(importance[:, layer, neuron], slopes.abs(), rtol=1e-3, atol=1e-8)


def slopes_of(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], kind: TaskKind, layer: int, neuron: int
) -> torch.Tensor:
    """The derivative of each row's loss by a factor on a neuron, [B]."""
    _, outer, _ = parts_of(model, layer)

    def losses(factor: float) -> torch.Tensor:
        factors = torch.ones(neurons_of(model.config), dtype=torch.float64)
        factors[neuron] = factor
        hook = outer.register_forward_pre_hook(lambda module, given: (given[0] * factors,))
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        hook.remove()
        return kind.ce_rows(logits, batch["labels"])

    return (losses(1.01) - losses(0.99)) / 0.02


@pytest.mark.parametrize("kind", ["bert", "distilbert", "deberta-v2", "mpnet"])
def test_a_multiple_choices_neurons_are_summed_over_its_choices(kind: str) -> None:
    teacher = make_multiple_choice(kind).double()
    batch = {name: BATCH[name].view(2, 2, 5) for name in ("input_ids", "attention_mask")}
    batch["labels"] = torch.tensor([0, 1])
    importance = row_importance(teacher, batch, MULTIPLE_CHOICE)
    slopes = slopes_of(teacher, batch, MULTIPLE_CHOICE, 1, 5)
    torch.testing.assert_close(importance[:, 1, 5], slopes.abs(), rtol=1e-3, atol=1e-8)


def by_hand() -> BertForSequenceClassification:
    """logits = x + W_o relu(W_i x) of [CLS]'s x = (1, 2): attention, norms and pooler change nothing."""
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=5, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=3,
            max_position_embeddings=8, hidden_act="relu", num_labels=2,
        )
    ).eval()  # fmt: skip
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.word_embeddings.weight[2] = torch.tensor([1.0, 2.0])
        layer.intermediate.dense.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        layer.output.dense.weight.copy_(torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.25, 3.0]]))
        model.bert.pooler.dense.weight.copy_(torch.eye(2))
        model.classifier.weight.copy_(torch.eye(2))
    model.bert.embeddings.LayerNorm = layer.attention.output.LayerNorm = layer.output.LayerNorm = nn.Identity()
    model.bert.pooler.activation = nn.Identity()
    return model


def test_importance_worked_by_hand() -> None:
    """x = (1, 2): W_i x = (1, 2, −1), so h = relu = (1, 2, 0), and the logits are x + W_o h = (2, 2.5).

    p = softmax = (σ(−0.5), σ(0.5)) = (0.3775, 0.6225). With label 0, ∂L/∂logits = (−0.6225, 0.6225), so h · ∂L/∂h is
    1 · (−0.6225) · 1, 2 · 0.6225 · 0.25 and 0 · ..., of which the absolute values are 0.6225, 0.3112 and 0. With label
    1 they are 0.3775, 0.1888 and 0. Their mean over both rows is 1/2, 1/4 and 0. A row without a label learns the
    teacher's answer, which is 1.
    """
    model = by_hand()
    batch = {
        "input_ids": torch.tensor([[2, 3], [2, 3], [2, 3]]),
        "attention_mask": torch.ones(3, 2, dtype=torch.long),
        "labels": torch.tensor([0, 1, -100]),
        "teacher_logits": torch.tensor([[2.0, 2.5]] * 3),
    }
    importance = row_importance(model, batch, SINGLE_LABEL)
    expected = torch.tensor([[0.62246, 0.31123, 0.0], [0.37754, 0.18877, 0.0], [0.37754, 0.18877, 0.0]])
    torch.testing.assert_close(importance[:, 0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(importance[:2, 0].mean(dim=0), torch.tensor([0.5, 0.25, 0.0]))


@pytest.mark.parametrize(
    ("kind", "logits", "labels", "answers"),
    [
        (SINGLE_LABEL, [[0.1, 2.0, 0.3], [3.0, 0.0, 0.0]], [-100, 2], [1, 2]),
        (
            MULTI_LABEL,
            [[0.1, -2.0, 0.3], [3.0, -1.0, 0.2]],
            [[np.nan] * 3, [0.0, 1.0, 0.0]],
            [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]],
        ),
        (BINARY, [[0.2], [-1.0]], [-100, 1], [1, 1]),
        (REGRESSION, [[0.2], [-1.0]], [np.nan, 0.5], [np.nan, 0.5]),
    ],
)
def test_a_row_without_a_label_has_the_teachers_answer_of_its_kind(
    kind: TaskKind, logits: list[list[float]], labels: list[Any], answers: list[Any]
) -> None:
    """Of scores there is none: a score's distance to itself is 0 and has no gradient, so such rows do not count."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        num_labels=len(logits[0]),
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    without, own = ({**BATCH, "labels": torch.tensor(each)} for each in (labels, answers))
    for batch in (without, own):
        batch["input_ids"], batch["attention_mask"] = IDS[:2], BATCH["attention_mask"][:2]
    importance = row_importance(model, {**without, "teacher_logits": torch.tensor(logits)}, kind)
    assert len(importance) == (1 if kind.has_scores else 2)
    torch.testing.assert_close(importance, row_importance(model, own, kind))
    assert (importance > 0).any(dim=-1).all()


def annotated(rows: int, *, labels: bool = True) -> datasets.Dataset:
    reviews = make_reviews(rows)
    values: dict[str, Any] = {"text": [text for text, _ in reviews]}
    if labels:
        values["label"] = [int(label == "positive") for _, label in reviews]
    return encode(datasets.Dataset.from_dict(values), make_tokenizer(), 64)


def test_the_mean_over_rows_does_not_depend_on_their_batches_and_the_teacher_stays_as_it_was() -> None:
    teacher = make_classifier("bert").train()
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)  # frozen weights have activations without a gradient of their own
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    rows, heard = annotated(70), []
    importance = neuron_importance(teacher, rows, on_batch=lambda: heard.append(1))
    assert importance.shape == (6, 24)
    assert len(heard) == 3  # 70 rows in batches of 32
    teacher.eval()
    alone = [neuron_importance(teacher, rows.select([index])) for index in range(70)]
    np.testing.assert_allclose(importance, np.mean(alone, axis=0), rtol=1e-4, atol=1e-9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(not layer._forward_pre_hooks for layer in teacher.modules())
    texts = rows.select_columns(["text", "label"])  # as `pkd.annotate` stores them
    np.testing.assert_array_equal(neuron_importance(teacher, texts, make_tokenizer()), importance)
    assert neuron_importance(teacher.train(), rows, batches=1).shape == (6, 24)
    assert teacher.training


def test_rows_that_teach_nothing_are_refused() -> None:
    teacher = make_classifier("bert")
    with pytest.raises(DataError, match="neither labels nor the teacher's answers"):
        neuron_importance(teacher, annotated(4, labels=False))
    with pytest.raises(RecipeError, match="give tokenizer="):
        neuron_importance(teacher, datasets.Dataset.from_dict({"text": ["a film"]}))
    score = make_classifier("bert")
    score.config.update({"num_labels": 1, "problem_type": "regression"})
    score.classifier = nn.Linear(16, 1)
    column = datasets.Sequence(datasets.Value("float32"), length=1)
    unlabelled = annotated(4, labels=False).add_column("teacher_logits", [[0.5]] * 4, feature=column)
    with pytest.raises(DataError, match="none of the rows has a label"):
        neuron_importance(score, unlabelled)


@pytest.mark.parametrize("start", ["spread", "first", [1, 2, 6]])
def test_a_narrow_student_of_fewer_layers_keeps_the_most_important_neurons_of_each(start: str | list[int]) -> None:
    teacher, random = make_classifier("bert"), np.random.default_rng(3)
    importance = random.random((6, 24))
    student = pkd.student_from(teacher, 3, start, width=0.7, importance=importance)
    assert student.config.intermediate_size == 16
    assert student.config.num_hidden_layers == 3
    for place, layer in enumerate({"spread": [1, 3, 5], "first": [1, 2, 3]}.get(str(start), start)):
        kept = sorted(np.argsort(importance[layer - 1])[-16:].tolist())
        copied, original = layers_of(student)[place], layers_of(teacher)[layer - 1]
        assert torch.equal(copied.intermediate.dense.weight, original.intermediate.dense.weight[kept])
        assert torch.equal(copied.intermediate.dense.bias, original.intermediate.dense.bias[kept])
        assert torch.equal(copied.output.dense.weight, original.output.dense.weight[:, kept])
        assert torch.equal(copied.output.dense.bias, original.output.dense.bias)
        assert torch.equal(copied.attention.self.query.weight, original.attention.self.query.weight)


@pytest.mark.parametrize(
    ("neurons", "width", "kept"),
    [(3072, 0.5, 1536), (1536, 0.5, 768), (3072, 0.3, 896), (512, 0.01, 64), (504, 0.5, 248), (24, 0.5, 8),
     (24, 0.999, 16), (640, 0.1, 64), (4096, 1.0, 4096), (1000, 1, 1000), (8, 0.5, 8)],
)  # fmt: skip
def test_a_width_is_rounded_down_to_whole_blocks(neurons: int, width: float, kept: int) -> None:
    assert count_kept(neurons, width) == kept


def test_of_equal_neurons_the_first_are_kept() -> None:
    assert kept_neurons(np.array([1.0, 2.0, 2.0, 2.0, 1.0]), 4).tolist() == [0, 1, 2, 3]
    assert kept_neurons(np.zeros(4), 2).tolist() == [0, 1]


@pytest.mark.parametrize("width", [0, -0.5, 1.5, "half", True, float("nan")])
def test_a_width_that_is_no_fraction_is_refused(width: Any) -> None:
    with pytest.raises(RecipeError, match="it must be a fraction of the teacher's neurons"):
        pkd.student_from(make_classifier("bert"), 3, width=width)


def test_a_width_needs_the_importance_of_this_teachers_neurons() -> None:
    teacher = make_classifier("bert")
    with pytest.raises(RecipeError, match=r"Measure it: importance=pkd\.neuron_importance"):
        pkd.student_from(teacher, 3, width=0.5)
    for wrong in (np.ones((3, 24)), np.ones((6, 32)), np.full((6, 24), np.nan)):
        with pytest.raises(RecipeError, match="the teacher has 6 layers of 24 neurons"):
            pkd.student_from(teacher, 3, width=0.5, importance=wrong)
    assert pkd.student_from(teacher, 3, width=1).config.intermediate_size == 24
