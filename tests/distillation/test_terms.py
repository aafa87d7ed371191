"""Each term says once what it weighs, reads and computes; their sum is the paper's objective."""

import subprocess
import sys

import pytest
import torch

from pkd.distillation.terms import (
    TERMS,
    TermInputs,
    columns_read,
    describe_objective,
    objective_of,
    rows_with,
    settled_loss,
    weighed,
    weighted,
)
from pkd.losses import ce_loss, kd_loss, pkd_loss, pt_loss
from pkd.recipe.settings import LossSettings
from pkd.tasks import BINARY, MULTI_LABEL, REGRESSION, SINGLE_LABEL, TOKEN_CLASSIFICATION


def names(settings: LossSettings, *, unlabelled: bool = False) -> list[str]:
    return [term.name for term in objective_of(settings, unlabelled=unlabelled)]


def test_only_terms_of_some_weight_are_computed_and_ce_always() -> None:
    assert names(LossSettings()) == ["ce", "kd", "pt"]
    assert names(LossSettings(beta=0.0)) == ["ce", "kd"]
    assert names(LossSettings(alpha=0.0, beta=0.0)) == ["ce"]
    assert names(LossSettings(alpha=0.0, beta=0.0), unlabelled=True) == ["ce", "kd"]
    assert names(LossSettings(alpha=1.0, beta=0.0)) == ["ce", "kd"]


def test_a_temperature_that_is_auto_is_the_kinds_and_a_number_stays() -> None:
    auto, given = LossSettings(temperature="auto"), LossSettings(temperature=7.0)
    assert settled_loss(auto, SINGLE_LABEL).temperature == 4.0
    assert settled_loss(auto, TOKEN_CLASSIFICATION).temperature == 1.0
    assert settled_loss(given, TOKEN_CLASSIFICATION) == given


def test_the_columns_are_those_of_the_terms() -> None:
    assert columns_read(objective_of(LossSettings(), unlabelled=False)) == {"teacher_logits", "teacher_cls_states"}
    assert columns_read(objective_of(LossSettings(beta=0.0), unlabelled=False)) == {"teacher_logits"}
    assert columns_read(objective_of(LossSettings(alpha=0.0, beta=0.0), unlabelled=False)) == set()


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [0, -100, 2, -100, -100, 1]])
def test_the_weighted_terms_add_up_to_the_papers_objective(labels: list[int]) -> None:
    torch.manual_seed(0)
    settings = LossSettings(temperature=3.0, alpha=0.3, beta=7.0)
    batch = TermInputs(
        settings=settings,
        kind=SINGLE_LABEL,
        logits=torch.randn(6, 3),
        labels=torch.tensor(labels),
        teacher_logits=torch.randn(6, 3),
        cls_states=torch.randn(6, 2, 8),
        teacher_cls_states=torch.randn(6, 2, 8),
    )
    labelled = batch.labels >= 0
    mask = None if labelled.all() else labelled
    total = sum(weighted(term, term.row_losses(batch), settings, mask) for term in TERMS)
    assert batch.teacher_logits is not None
    assert batch.cls_states is not None
    assert batch.teacher_cls_states is not None
    expected = pkd_loss(
        ce_loss(batch.logits, batch.labels),
        kd_loss(batch.logits, batch.teacher_logits, 3.0),
        pt_loss(batch.cls_states, batch.teacher_cls_states),
        0.3,
        7.0,
        mask,
    )
    torch.testing.assert_close(total, expected, rtol=0, atol=0)


def test_what_ce_holds_for_a_row_without_a_label_reaches_neither_loss_nor_log() -> None:
    values, labelled = torch.tensor([2.0, float("nan")]), torch.tensor([True, False])
    assert weighted(TERMS[0], values, LossSettings(alpha=0.25), labelled).tolist() == [1.5, 0.0]
    assert rows_with(TERMS[0], values, LossSettings(), labelled).tolist() == [2.0]
    assert len(rows_with(TERMS[1], values, LossSettings(alpha=0.0), labelled)) == 2


def test_the_objective_in_words_is_what_is_computed() -> None:
    published = LossSettings(beta=100.0, kd_reduction="mean")
    assert describe_objective(published, SINGLE_LABEL, unlabelled=True) == [
        "loss of a row = 0.5 · ce + 0.5 · kd + 100 · pt",
        "loss of an unlabelled row = kd + 100 · pt",
        "ce = −log p_student(label)",
        "kd = T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T)) / C (mean over the C classes), T = 10",
        "pt = Σ_j ‖h_student,j / ‖h_student,j‖ − h_teacher,I(j) / ‖h_teacher,I(j)‖‖² / (K · H) (mean over K layers and "
        "H hidden units)",
    ]
    assert describe_objective(LossSettings(beta=0.0, alpha=1.0), REGRESSION) == [
        "loss of a row = kd",
        "kd = (z_student − z_teacher)²",
    ]
    summed = LossSettings(beta=100.0, pt_reduction="sum", normalize=False)
    assert describe_objective(summed, MULTI_LABEL) == [
        "loss of a row = 0.5 · ce + 0.5 · kd + 100 · pt",
        "ce = BCE(σ(z_student), labels) / C (mean over the C classes)",
        "kd = T² · BCE(σ(z_student / T), σ(z_teacher / T)) / C (mean over the C classes), T = 10",
        "pt = Σ_j ‖h_student,j − h_teacher,I(j)‖² (sum over layers and units)",
    ]


def test_a_share_of_the_gradient_stands_in_the_words_until_its_weight_is_measured() -> None:
    told = describe_objective(LossSettings(patience=0.3, normalize="units"), SINGLE_LABEL, unlabelled=True)
    assert told[:3] == [
        "loss of a row = 0.5 · ce + 0.5 · kd + β · pt",
        "loss of an unlabelled row = kd + β · pt",
        "β: so large that pt has 30 % of the gradient's norm as the student starts",
    ]
    assert "(h_student,j − μ_I(j)) / σ_I(j) − (h_teacher,I(j) − μ_I(j)) / σ_I(j)" in told[-1]
    with pytest.raises(ValueError, match="not measured yet"):
        TERMS[2].weight(LossSettings(patience=0.3))
    assert weighed(LossSettings(patience=0.3), 70.0) == LossSettings(beta=70.0)
    assert weighed(LossSettings(beta=5.0), 70.0) == LossSettings(beta=5.0)
    assert names(LossSettings(patience=0.0)) == ["ce", "kd"]


def test_naming_the_terms_does_not_import_torch() -> None:
    code = "import sys, pkd.distillation.terms as t; assert t.TERMS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_one_output_learns_by_the_losses_of_two_classes_and_so_of_a_bernoulli_variable(reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher_logits = (3 * torch.randn(6, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 1, 1, 0, 1, -100])
    settings = LossSettings(temperature=4.0, kd_reduction=reduction)  # type: ignore[arg-type]
    batch = TermInputs(
        settings=settings,
        kind=BINARY,
        logits=logits,
        labels=labels,
        teacher_logits=teacher_logits,
    )
    ce, kd = TERMS[:2]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:5, 0], labels[:5].double(), reduction="none"
    )
    assert torch.allclose(ce.row_losses(batch), torch.cat([expected, torch.zeros(1, dtype=torch.float64)]))
    student, teacher = (torch.sigmoid(each[:, 0] / 4) for each in (logits, teacher_logits))
    divergence = teacher * (teacher / student).log() + (1 - teacher) * ((1 - teacher) / (1 - student)).log()
    assert torch.allclose(kd.row_losses(batch), 16 * divergence / (1 if reduction == "sum" else 2))
    two = [torch.cat([torch.zeros_like(each), each], dim=-1) for each in (logits, teacher_logits)]
    assert torch.equal(kd.row_losses(batch), kd_loss(two[0], two[1], 4.0, settings.kd_reduction))
