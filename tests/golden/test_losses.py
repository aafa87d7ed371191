"""The formulas worked by hand, and evaluated independently in float64."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from pkd.losses import ce_loss, kd_loss, pkd_loss, pt_loss, set_ce_loss, set_kd_loss


def test_ce_of_even_odds_is_log_two() -> None:
    loss = ce_loss(torch.tensor([[0.0, 0.0], [3.0, 3.0]]), torch.tensor([0, 1]))
    assert loss.tolist() == pytest.approx([math.log(2), math.log(2)])


def test_ce_of_three_to_one_odds() -> None:
    # softmax([ln 3, 0]) = [3/4, 1/4], so −ln p is ln(4/3) for class 0 and ln 4 for class 1
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    assert ce_loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx([math.log(4 / 3), math.log(4)])


def test_kd_worked_by_hand() -> None:
    # T = 2. Teacher logits [2 ln 3, 0] / 2 = [ln 3, 0] -> p = [3/4, 1/4]; student [0, 0] -> q = [1/2, 1/2].
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.75 · 0.405465 − 0.25 · 0.693147 = 0.130812; times T² = 4: 0.523248
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.tensor([[0.0, 0.0]])
    by_hand = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert by_hand == pytest.approx(0.523248, abs=1e-6)
    assert kd_loss(student, teacher, temperature=2, reduction="sum").item() == pytest.approx(by_hand, rel=1e-6)
    assert kd_loss(student, teacher, temperature=2).item() == pytest.approx(by_hand, rel=1e-6)
    mean = kd_loss(student, teacher, temperature=2, reduction="mean").item()
    assert mean == pytest.approx(by_hand / 2, rel=1e-6)  # over the 2 classes


def test_summed_kd_means_the_same_whatever_the_number_of_classes() -> None:
    # classes that neither gives any probability add nothing to the sum, and divide the mean
    few = [torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.0]])]
    many = [torch.cat([logits, torch.full((1, 148), -1e4)], dim=1) for logits in few]
    assert kd_loss(*many, temperature=2).item() == pytest.approx(kd_loss(*few, temperature=2).item(), rel=1e-6)
    mean_of_few, mean_of_many = (kd_loss(*each, temperature=2, reduction="mean").item() for each in (few, many))
    assert mean_of_many == pytest.approx(mean_of_few * 2 / 150, rel=1e-6)


def test_kd_of_sets_stays_a_mean_over_the_labels_as_ce_does() -> None:
    # σ(0) = 1/2 of both labels: BCE = ln 2 each, and so is their mean; times T² = 4
    zeros = torch.zeros(1, 2)
    assert set_kd_loss(zeros, zeros, temperature=2).item() == pytest.approx(4 * math.log(2), rel=1e-6)
    assert set_ce_loss(zeros, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(math.log(2), rel=1e-6)


def test_pt_by_units_worked_by_hand() -> None:
    # differences 3 − 1 = 2 and 4 − 0 = 4, over deviations 1 and 2: 2² + 2² = 8, a mean of 4; means would cancel
    student, teacher = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[1.0, 0.0]]])
    deviations = torch.tensor([[1.0, 2.0]])
    assert pt_loss(student, teacher, "units", "sum", deviations).item() == pytest.approx(8)
    assert pt_loss(student, teacher, "units", deviations=deviations).item() == pytest.approx(4)
    standardised = pt_loss((student - 7) / deviations, (teacher - 7) / deviations, "none", "sum")
    assert standardised.item() == pytest.approx(8)
    with pytest.raises(ValueError, match="needs the deviations"):
        pt_loss(student, teacher, "units")


def test_pt_worked_by_hand() -> None:
    # [3, 4] has length 5 -> [0.6, 0.8]; [1, 0] stays. Squares: (0.6 − 1)² + 0.8² = 0.16 + 0.64 = 0.8
    student, teacher = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[1.0, 0.0]]])
    assert pt_loss(student, teacher, reduction="sum").item() == pytest.approx(0.8)
    assert pt_loss(student, teacher).item() == pytest.approx(0.4)  # mean over K · H = 2
    # without normalising: (3 − 1)² + 4² = 20
    assert pt_loss(student, teacher, normalize=False, reduction="sum").item() == pytest.approx(20)
    assert pt_loss(student, teacher, normalize=False).item() == pytest.approx(10)


def test_pt_of_opposite_states_is_four_a_layer() -> None:
    states = torch.tensor([[[1.0, 2.0, 2.0], [0.0, 5.0, 0.0]]])
    assert pt_loss(states, -states, reduction="sum").item() == pytest.approx(8)
    assert pt_loss(states, states * 7, reduction="sum").item() == pytest.approx(0, abs=1e-12)


def test_pkd_worked_by_hand() -> None:
    ce, kd, pt = torch.tensor([2.0, float("nan")]), torch.tensor([1.0, 3.0]), torch.tensor([0.01, 0.02])
    loss = pkd_loss(ce, kd, pt, alpha=0.25, beta=100, labelled=torch.tensor([True, False]))
    # labelled: 0.75 · 2 + 0.25 · 1 + 100 · 0.01 = 2.75; unlabelled: 3 + 100 · 0.02 = 5, whatever its ce
    assert loss.tolist() == pytest.approx([2.75, 5.0])


def test_an_unlabelled_rows_ce_sends_no_gradient() -> None:
    logits = torch.tensor([[1.0, 2.0], [0.5, 0.1]], requires_grad=True)
    ce = ce_loss(logits, torch.tensor([-100, -100]))
    zero = torch.zeros(2)
    pkd_loss(ce, zero, zero, 0.5, 0.0, torch.tensor([False, False])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("temperature", [1.0, 5.0, 10.0, 20.0])
def test_kd_agrees_with_an_independent_formula(reduction: str, temperature: float) -> None:
    random = np.random.default_rng(1)
    student, teacher = random.normal(size=(2, 64, 5)) * 4
    p = softmax(teacher / temperature, axis=1)
    elementwise = p * (log_softmax(teacher / temperature, axis=1) - log_softmax(student / temperature, axis=1))
    expected = getattr(elementwise, reduction)(axis=1) * temperature**2
    exact = kd_loss(torch.tensor(student), torch.tensor(teacher), temperature, reduction)  # type: ignore[arg-type]
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-10)
    single = kd_loss(torch.tensor(student).float(), torch.tensor(teacher).float(), temperature, reduction)  # type: ignore[arg-type]
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_pt_agrees_with_an_independent_formula(normalize: bool, reduction: str) -> None:
    random = np.random.default_rng(2)
    student, teacher = random.normal(size=(2, 16, 5, 48)) * 3
    s, t = student, teacher
    if normalize:
        s, t = (x / np.sqrt((x**2).sum(-1, keepdims=True)) for x in (s, t))
    expected = getattr((s - t) ** 2, reduction)(axis=(1, 2))
    exact = pt_loss(torch.tensor(student), torch.tensor(teacher), normalize, reduction)  # type: ignore[arg-type]
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-10)
    single = pt_loss(torch.tensor(student).float(), torch.tensor(teacher).float(), normalize, reduction)  # type: ignore[arg-type]
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5)


def test_the_kd_gradient_is_t_times_the_difference_of_the_softened_answers() -> None:
    # d/dz_s of T² KL = T (q − p): the textbook's gradient, and the paper's cross-entropy's up to T²
    student = torch.randn(8, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(8, 4, dtype=torch.float64)
    kd_loss(student, teacher, temperature=5, reduction="sum").sum().backward()
    expected = 5 * (torch.softmax(student / 5, -1) - torch.softmax(teacher / 5, -1))
    torch.testing.assert_close(student.grad, expected.detach())
