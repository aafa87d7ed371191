from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher
from pkd.data.batching import Collator, TokenRows
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.ledger import PatientLoss, TermEntry, beta_elsewhere, measure_terms
from pkd.distillation.student import student_from
from pkd.distillation.units import unit_deviations
from pkd.errors import RecipeError
from pkd.losses import kd_loss
from pkd.recipe.settings import LossSettings


@pytest.fixture
def batches(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> list[dict[str, torch.Tensor]]:
    annotated = annotate_rows(rows, TeacherPass(make_teacher().eval(), tokenizer, [2], 64), tmp_path)
    annotated = encode(annotated, tokenizer, 64)
    return [Collator(0, [2])(TokenRows(annotated).__getitems__(list(range(begin, begin + 20)))) for begin in (0, 20)]


def test_a_terms_gradient_is_that_of_its_weighted_mean(batches: list[dict[str, torch.Tensor]]) -> None:
    student, settings = student_from(make_teacher(), 2), LossSettings(alpha=0.3, beta=7.0)
    entries = {
        entry.name: entry for entry in measure_terms(student, batches[:1], PatientLoss(settings, LayerMap.skip(4, 2)))
    }
    assert sum(entry.share for entry in entries.values()) == pytest.approx(1)
    assert {name: entry.weight for name, entry in entries.items()} == pytest.approx({"ce": 0.7, "kd": 0.3, "pt": 7.0})
    student.eval()
    loss = student(
        input_ids=batches[0]["input_ids"], attention_mask=batches[0]["attention_mask"], labels=batches[0]["labels"]
    ).loss
    (0.7 * loss).backward()
    norm = torch.stack([p.grad.norm() for p in student.parameters() if p.grad is not None]).norm()
    assert entries["ce"].value == pytest.approx(loss.item(), rel=1e-5)
    assert entries["ce"].gradient_norm == pytest.approx(norm.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_terms_of_few_labelled_rows_are_those_of_the_mean_over_all_rows(
    batches: list[dict[str, torch.Tensor]], alpha: float
) -> None:
    student, settings, layer_map = (
        student_from(make_teacher(), 2).eval(),
        LossSettings(alpha=alpha, beta=100.0),
        LayerMap.skip(4, 2),
    )
    batch = {**batches[0], "labels": torch.where(torch.arange(20) < 2, batches[0]["labels"], -100)}
    entries = {entry.name: entry for entry in measure_terms(student, [batch], PatientLoss(settings, layer_map))}
    weights = {"ce": 0.1 * (1 - alpha), "kd": 0.1 * alpha + 0.9, "pt": settings.beta}
    assert {name: entry.weight for name, entry in entries.items()} == pytest.approx(weights)
    output = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    ce = torch.nn.functional.cross_entropy(output.logits[:2], batch["labels"][:2], reduction="sum") * (1 - alpha) / 20
    kd = kd_loss(output.logits, batch["teacher_logits"], settings.temperature)
    kd = (alpha * kd[:2].sum() + kd[2:].sum()) / 20
    for name, part in (("ce", ce), ("kd", kd)):
        gradients = torch.autograd.grad(part, list(student.parameters()), retain_graph=True, allow_unused=True)
        norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
        assert entries[name].gradient_norm == pytest.approx(norm.item(), rel=1e-5)


@pytest.mark.parametrize("normalize", ["length", "none", "units"])
def test_the_weight_of_a_share_is_the_one_that_gives_it(batches: list[dict[str, torch.Tensor]], normalize: str) -> None:
    student, layer_map = student_from(make_teacher(), 2), LayerMap.skip(4, 2)
    deviations = torch.linspace(0.5, 2, 16)[None] if normalize == "units" else None

    def entries(**loss: object) -> dict[str, TermEntry]:
        settings = LossSettings(normalize=normalize, **loss)  # type: ignore[arg-type]
        return {e.name: e for e in measure_terms(student, batches, PatientLoss(settings, layer_map, deviations))}

    asked = entries(patience=0.3)
    beta = asked["pt"].weight
    assert asked["pt"].share == pytest.approx(0.3, abs=1e-4)
    assert beta == float(f"{beta:.4g}")
    given = entries(beta=beta)
    assert given["pt"].gradient_norm == pytest.approx(asked["pt"].gradient_norm, rel=1e-5)
    assert given["pt"].share == pytest.approx(asked["pt"].share, rel=1e-5)
    # by hand: β · n / (β · n + the others) = 0.3, with n the norm at β = 1
    one, others = entries(beta=1.0)["pt"].gradient_norm, asked["ce"].gradient_norm + asked["kd"].gradient_norm
    assert beta == pytest.approx(0.3 / 0.7 * others / one, rel=1e-3)


@pytest.mark.parametrize("loss", [{"beta": 1e-6}, {"alpha": 0.001, "beta": 0.0}, {"alpha": 0.001, "patience": 0.4}])
def test_a_small_term_is_told_with_the_weight_that_gives_it_a_twentieth(
    batches: list[dict[str, torch.Tensor]], loss: dict[str, float]
) -> None:
    student, layer_map = student_from(make_teacher(), 2), LayerMap.skip(4, 2)
    small, dial = ("pt", "beta") if "alpha" not in loss else ("kd", "alpha")

    def entry(**changed: float) -> TermEntry:
        of = measure_terms(student, batches, PatientLoss(LossSettings(**{**loss, **changed}), layer_map))
        return next(each for each in of if each.name == small)

    found = entry()
    assert found.share < 0.05
    assert found.needed is not None
    assert entry(**{dial: found.needed}).share == pytest.approx(0.05, abs=2e-3)
    assert entry(**{dial: found.needed}).share >= 0.05 - 1e-9
    assert entry(**{dial: found.needed}).needed is None


def test_a_term_without_a_gradient_has_no_weight_that_gives_it_a_share(batches: list[dict[str, torch.Tensor]]) -> None:
    batch = batches[0]
    student = make_teacher().eval()
    states = student(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
    ).hidden_states[2][:, None, 0]
    same = {**batch, "teacher_cls_states": states.detach()}
    with pytest.raises(RecipeError, match="Patience has no gradient as the student starts"):
        measure_terms(student, [same], PatientLoss(LossSettings(patience=0.3, normalize="none"), LayerMap(((2, 2),))))


def test_units_that_hardly_vary_do_not_decide_the_distance(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    states = random.normal(5, 2, (64, 3)).astype(np.float32)
    states[:, 1], states[:, 2] = 7.0, 1e3 + states[:, 2]
    rows = datasets.Dataset.from_dict(
        {"teacher_cls_states": [{"1": row.tolist(), "2": [1.0, 2.0, 3.0]} for row in states]},
        features=datasets.Features(
            {"teacher_cls_states": {name: datasets.List(datasets.Value("float32"), length=3) for name in ("1", "2")}}
        ),
    )
    expected = states.astype(np.float64).std(axis=0)
    deviations = unit_deviations(rows, [1, 2]).numpy()
    np.testing.assert_allclose(deviations[0, [0, 2]], expected[[0, 2]], rtol=1e-5)
    assert deviations[0, 1] == pytest.approx(0.01 * np.sqrt((expected**2).mean()), rel=1e-5)
    assert deviations[1].tolist() == [1, 1, 1]


def test_measuring_leaves_the_student_as_it_was(batches: list[dict[str, torch.Tensor]]) -> None:
    student = student_from(make_teacher(), 2).train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    measure_terms(student, batches, PatientLoss(LossSettings(), LayerMap.skip(4, 2)))
    assert student.training
    assert all(parameter.grad is None for parameter in student.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_the_same_beta_under_other_reductions_has_the_same_gradient(batches: list[dict[str, torch.Tensor]]) -> None:
    student, layer_map = student_from(make_teacher(), 2), LayerMap.skip(4, 2)
    ours = LossSettings(beta=100.0)
    paper = LossSettings(beta=beta_elsewhere(ours, 1, 16).paper_sum, pt_reduction="sum")
    norms = [
        {e.name: e for e in measure_terms(student, batches, PatientLoss(s, layer_map))}["pt"].gradient_norm
        for s in (ours, paper)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert beta_elsewhere(paper, 1, 16).reference_mean == pytest.approx(100)
    # of four choices each has its states: the mean is over four times as many units
    assert beta_elsewhere(ours, 1, 16, choices=4).paper_sum == pytest.approx(100 / 64)
    # the published codes' β = 100 on BERT-base with five patient layers is 0.026 of the paper's sum
    assert beta_elsewhere(LossSettings(beta=100.0), 5, 768).paper_sum == pytest.approx(0.026, abs=1e-4)


def test_a_value_is_as_sure_as_the_rows_it_was_measured_on(batches: list[dict[str, torch.Tensor]]) -> None:
    """Of many more rows the mean of forty has a standard error; of forty rows it is what it is."""
    student, settings = student_from(make_teacher(), 2), LossSettings()
    of_many = {
        e.name: e for e in measure_terms(student, batches, PatientLoss(settings, LayerMap.skip(4, 2)), rows=10**6)
    }
    of_all = {e.name: e for e in measure_terms(student, batches, PatientLoss(settings, LayerMap.skip(4, 2)), rows=40)}
    for name, entry in of_many.items():
        assert entry.value == of_all[name].value
        assert entry.value_error > 0 < entry.share_error
        assert (of_all[name].value_error, of_all[name].share_error) == (0.0, 0.0)
    student.eval()
    losses = [
        torch.nn.functional.cross_entropy(
            student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, batch["labels"],
            reduction="none",
        )
        for batch in batches
    ]  # fmt: skip
    assert of_many["ce"].value_error == pytest.approx(torch.cat(losses).std().item() / 40**0.5, rel=1e-3)


def test_the_weights_are_those_of_all_training_rows_and_not_of_the_few_measured(
    batches: list[dict[str, torch.Tensor]],
) -> None:
    entries = measure_terms(
        student_from(make_teacher(), 2), batches, PatientLoss(LossSettings(alpha=0.5, beta=0)), labelled=0.25
    )
    assert {entry.name: entry.weight for entry in entries} == pytest.approx({"ce": 0.125, "kd": 0.875})


def test_a_batch_in_several_parts_has_the_whole_batchs_gradient(batches: list[dict[str, torch.Tensor]]) -> None:
    student = student_from(make_teacher(), 2)
    whole, parts = (
        measure_terms(student, batches, PatientLoss(LossSettings(patience=0.3), LayerMap.skip(4, 2)), rows_at_once=size)
        for size in (None, 3)
    )
    for one, other in zip(whole, parts, strict=True):
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)
        assert (other.weight, other.share) == pytest.approx((one.weight, one.share), rel=1e-3)
