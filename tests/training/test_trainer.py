"""What the mended Trainer promises, for the teacher's fine-tuning and for distillation alike."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainingArguments

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd import progress
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.errors import CheckpointError, DataError, DivergedError, RecipeError, Stopped
from pkd.runs.seal import read_manifest
from pkd.training.hardware import deterministic_algorithms
from pkd.training.saving import training_facts
from pkd.training.trainer import RowMeanTrainer


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    reviews = make_reviews(70)
    rows = datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    folder = tmp_path_factory.mktemp("annotated")
    return encode(
        annotate_rows(rows, TeacherPass(make_teacher().eval(), make_tokenizer(), [2], 64), folder), make_tokenizer(), 64
    )


def arguments(output: Path, kind: type[TrainingArguments] = TrainingArguments, **changes: Any) -> TrainingArguments:
    options: dict[str, Any] = {
        "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "save_strategy": "epoch",
        "logging_steps": 2, "use_cpu": True, "disable_tqdm": True, "seed": 3, "data_seed": 3, "report_to": "none",
        **changes,
    }  # fmt: skip
    return kind(str(output), **options)


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def one_step(trainer: RowMeanTrainer) -> dict[str, torch.Tensor]:
    """The gradient of the first optimiser step."""
    seen: dict[str, torch.Tensor] = {}

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            if not seen:
                seen.update(
                    {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
                )

    trainer.add_callback(Look())
    trainer.train()
    return seen


class InOrder(RowMeanTrainer):
    """Rows as they stand, so that steps of the same rows can be cut differently."""

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        self._batches.order = lambda: np.arange(len(self._batches.lengths))
        return loader


class PatientInOrder(InOrder, PatientTrainer):
    pass


@pytest.mark.parametrize(("batch", "steps"), [(8, 3), (6, 4), (5, 5), (1, 24)])
def test_accumulated_batches_give_the_large_batchs_gradient(
    annotated: datasets.Dataset, tmp_path: Path, batch: int, steps: int
) -> None:
    rows = annotated.select(range(24))  # 5 × 5 leaves a last micro-batch of 4

    def gradient(batch: int, steps: int) -> dict[str, torch.Tensor]:
        options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps, "max_steps": 1}
        args = arguments(tmp_path, max_grad_norm=0.0, save_strategy="no", **options)
        return one_step(InOrder(without_dropout(make_teacher()), args, train_dataset=rows))

    whole, parts = gradient(24, 1), gradient(batch, steps)
    assert whole.keys() == parts.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(parts[name], expected, rtol=1e-4, atol=1e-7, msg=name)


def test_accumulated_batches_give_the_large_batchs_gradient_with_unlabelled_rows_too(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    rows = annotated.select(range(24))
    labels = [None if index % 3 == 0 or index < 8 else label for index, label in enumerate(rows["label"])]
    rows = rows.remove_columns("label").add_column("label", labels, feature=annotated.features["label"])

    def gradient(batch: int, steps: int) -> dict[str, torch.Tensor]:
        args = arguments(
            tmp_path, PatientTrainingArguments, per_device_train_batch_size=batch, gradient_accumulation_steps=steps,
            max_steps=1, max_grad_norm=0.0, save_strategy="no", beta=100.0,
        )  # fmt: skip
        student = without_dropout(student_from(make_teacher(), 2, "spread"))
        return one_step(PatientInOrder(student, args, layer_map=LayerMap.skip(4, 2), train_dataset=rows))

    whole, parts = gradient(24, 1), gradient(8, 3)  # the first micro-batch has no labelled row at all
    for name, expected in whole.items():
        assert torch.isfinite(expected).all()
        torch.testing.assert_close(parts[name], expected, rtol=1e-4, atol=1e-7, msg=name)


def test_accumulated_batches_follow_the_large_batchs_losses_step_for_step(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    def losses(batch: int, steps: int) -> list[float]:
        args = arguments(
            tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, save_strategy="no",
            logging_steps=1,
        )  # fmt: skip
        trainer = RowMeanTrainer(without_dropout(make_teacher()), args, train_dataset=annotated)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    whole = losses(24, 1)  # 70 rows: the last step has 22, of which 8 × 3 leaves a last micro-batch of 6
    assert len(whole) == 6
    np.testing.assert_allclose(losses(8, 3), whole, rtol=1e-4)


def test_each_term_is_logged_apart_and_they_add_up(annotated: datasets.Dataset, tmp_path: Path) -> None:
    args = arguments(tmp_path, PatientTrainingArguments, alpha=0.3, beta=50.0, num_train_epochs=1)
    trainer = PatientTrainer(
        student_from(make_teacher(), 2), args, layer_map=LayerMap.skip(4, 2), train_dataset=annotated
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 4
    for entry in logged:
        total = 0.7 * entry["loss/ce"] + 0.3 * entry["loss/kd"] + 50 * entry["loss/pt"]
        assert entry["loss"] == pytest.approx(total, rel=1e-5)


def test_a_row_whose_label_is_to_be_ignored_learns_as_an_unlabelled_one(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    def logged(no_label: int | None) -> dict[str, float]:
        labels = [label if index % 4 == 0 else no_label for index, label in enumerate(annotated["label"])]
        rows = annotated.remove_columns("label").add_column("label", labels, feature=annotated.features["label"])
        args = arguments(tmp_path, PatientTrainingArguments, max_steps=2, save_strategy="no")
        student = without_dropout(student_from(make_teacher(), 2))
        trainer = PatientTrainer(student, args, layer_map=LayerMap.skip(4, 2), train_dataset=rows)
        trainer.train()
        return {name: value for name, value in trainer.state.log_history[0].items() if name.startswith("loss")}

    assert logged(-100) == logged(None)


def test_only_terms_that_reach_the_loss_are_computed(annotated: datasets.Dataset, tmp_path: Path) -> None:
    def terms(**loss: float) -> set[str]:
        args = arguments(tmp_path, PatientTrainingArguments, max_steps=2, save_strategy="no", **loss)
        layer_map = LayerMap.skip(4, 2) if loss["beta"] else None
        trainer = PatientTrainer(student_from(make_teacher(), 2), args, layer_map=layer_map, train_dataset=annotated)
        trainer.train()
        return {name for entry in trainer.state.log_history for name in entry if name.startswith("loss/")}

    assert terms(alpha=0.5, beta=10.0) == {"loss/ce", "loss/kd", "loss/pt"}
    assert terms(alpha=0.5, beta=0.0) == {"loss/ce", "loss/kd"}
    assert terms(alpha=0.0, beta=0.0) == {"loss/ce"}


def test_the_dev_score_chooses_the_epoch_and_evaluating_draws_no_random_number(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    def train(output: Path, **changes: Any) -> RowMeanTrainer:
        torch.manual_seed(0)
        trainer = RowMeanTrainer(
            make_teacher(), arguments(output, num_train_epochs=4, **changes), train_dataset=annotated,
            eval_dataset=annotated.select(range(30)), processing_class=make_tokenizer(),
        )  # fmt: skip
        trainer.train()
        return trainer

    chosen = train(
        tmp_path / "a", eval_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="accuracy",
        greater_is_better=True,
    )  # fmt: skip
    scores = {entry["step"]: entry["eval_accuracy"] for entry in chosen.state.log_history if "eval_accuracy" in entry}
    assert len(scores) == 4
    assert chosen.state.best_metric == max(scores.values())
    assert chosen.evaluate()["eval_accuracy"] == max(scores.values())
    unchosen = train(tmp_path / "b")
    losses = [[e["loss"] for e in each.state.log_history if "loss" in e] for each in (chosen, unchosen)]
    assert losses[0] == losses[1]


def test_a_training_whose_scores_rise_no_longer_ends_and_stays_ended_where_it_is_resumed(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    best = {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    settings = {"num_train_epochs": 9, "learning_rate": 1e-12, **best}  # which leaves every score as it was

    def trained(folder: Path, patience: int | None, **changes: Any) -> RowMeanTrainer:
        trainer = RowMeanTrainer(
            make_teacher(), arguments(folder, **settings | changes), train_dataset=annotated, eval_dataset=annotated,
            patience=patience,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=True)
        return trainer

    ended = trained(tmp_path / "ended", 2)
    assert ended.state.epoch == 3  # the first is the best, and two more were no better
    last = max((tmp_path / "ended").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    again = trained(tmp_path / "ended", 2)  # as after a kill between the last checkpoint and the saved model
    assert (again.state.epoch, again.state.global_step) == (3, int(last.name[11:]))
    assert trained(tmp_path / "whole", None, num_train_epochs=4).state.epoch == 4


def test_rows_come_in_an_order_of_seed_and_epoch_alone(annotated: datasets.Dataset, tmp_path: Path) -> None:
    def order(seed: int) -> list[list[int]]:
        seen: list[list[int]] = []

        class Watch(RowMeanTrainer):
            def row_losses(self, model: Any, inputs: Any) -> Any:
                seen.append(inputs["input_ids"].sum(1).tolist())
                return super().row_losses(model, inputs)

        torch.manual_seed(np.random.randint(1000))
        Watch(make_teacher(), arguments(tmp_path, data_seed=seed, save_strategy="no"), train_dataset=annotated).train()
        return seen

    first = order(3)
    assert first == order(3)
    assert first != order(4)
    assert first[:9] != first[9:]


def same_folder(one: Path, other: Path) -> None:
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}
    for name in ("model.safetensors", "optimizer.safetensors", "random_state_0.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
    states = [json.loads((folder / "trainer_state.json").read_text())["log_history"] for folder in (one, other)]
    assert states[0] == states[1]


@pytest.mark.parametrize("stop_at", [1, 5, 9, 13, 17])
def test_a_stopped_training_goes_on_to_the_same_bits(annotated: datasets.Dataset, tmp_path: Path, stop_at: int) -> None:
    """Dropout, evaluation, best epoch; 9 steps an epoch, so 9 is an epoch's end."""

    def trainer(output: Path) -> PatientTrainer:
        torch.manual_seed(0)
        args = arguments(
            output, PatientTrainingArguments, eval_strategy="epoch", load_best_model_at_end=True,
            metric_for_best_model="accuracy", greater_is_better=True, logging_steps=4,
        )  # fmt: skip
        return PatientTrainer(
            student_from(make_teacher(), 2), args, layer_map=LayerMap.skip(4, 2), train_dataset=annotated,
            eval_dataset=annotated.select(range(30)), processing_class=make_tokenizer(),
        )  # fmt: skip

    undisturbed = trainer(tmp_path / "whole")
    undisturbed.train()
    stopped = trainer(tmp_path / "stopped")

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            if state.global_step == stop_at:
                progress.request_stop(75)

    stopped.add_callback(Stop())
    try:
        with pytest.raises(Stopped, match=f"step {stop_at} of 18 is saved"):
            stopped.train()
    finally:
        progress.clear_stop()
    torch.rand(7)  # whatever the process drew in between must not count
    resumed = trainer(tmp_path / "stopped")
    resumed.train(resume_from_checkpoint=True)
    same_folder(tmp_path / "whole" / "checkpoint-18", tmp_path / "stopped" / "checkpoint-18")
    for name, tensor in undisturbed.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize(("averaging", "stop_at"), [("ema", 1), ("ema", 13), ("swa", 13), ("swa", 16)])
def test_a_stopped_training_that_averages_goes_on_to_the_same_bits_of_both_weights(
    annotated: datasets.Dataset, tmp_path: Path, averaging: Any, stop_at: int
) -> None:
    def trainer(output: Path, stop_at: int | None = None) -> PatientTrainer:
        class Stop(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
                if state.global_step == stop_at:
                    progress.request_stop(75)

        args = arguments(
            output, PatientTrainingArguments, eval_strategy="epoch", load_best_model_at_end=True,
            metric_for_best_model="accuracy", greater_is_better=True, logging_steps=4, weight_decay=0.5,
        )  # fmt: skip
        return PatientTrainer(
            student_from(make_teacher(), 2), args, layer_map=LayerMap.skip(4, 2), averaging=averaging,
            train_dataset=annotated.select(range(70)), eval_dataset=annotated.select(range(30)),
            processing_class=make_tokenizer(), callbacks=[Stop()],
        )  # fmt: skip

    whole = trainer(tmp_path / "whole")
    whole.train()
    try:
        with pytest.raises(Stopped):
            trainer(tmp_path / "stopped", stop_at).train()
    finally:
        progress.clear_stop()
    again = trainer(tmp_path / "stopped")
    again.train(resume_from_checkpoint=True)
    last = [folder / "checkpoint-18" for folder in (tmp_path / "whole", tmp_path / "stopped")]
    same_folder(*last)
    averages = [load_file(folder / "averaged.safetensors") for folder in last]
    raw = load_file(last[0] / "model.safetensors")
    assert averages[0].keys() == averages[1].keys() == raw.keys()
    for name, tensor in averages[0].items():
        assert torch.equal(tensor, averages[1][name]), name
    assert any(not torch.equal(raw[name], averages[0][name]) for name in raw)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_the_average_is_that_of_the_weights_after_each_step_worked_by_hand(
    annotated: datasets.Dataset, tmp_path: Path, averaging: Any
) -> None:
    """Of word pieces that stand in no row too, which weight decay alone moves."""
    seen: list[dict[str, torch.Tensor]] = []

    class Look(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **keywords: Any) -> None:
            seen.append({name: each.clone() for name, each in model.state_dict().items()})

    args = arguments(tmp_path, num_train_epochs=4, weight_decay=0.5, learning_rate=1e-2)
    trainer = RowMeanTrainer(
        make_teacher(), args, train_dataset=annotated.select(range(16)), averaging=averaging, callbacks=[Look()]
    )
    trainer.train()  # 2 steps an epoch; nothing chooses, so the average is what is left
    assert len(seen) == 8
    for name, kept in trainer.model.state_dict().items():
        if averaging == "swa":  # the last quarter of 8 steps: the 7th and the 8th
            expected = (seen[6][name] + seen[7][name]) / 2
        else:  # a tenth of 8 steps is less than 2, of which d = 1 − 1/2
            expected = seen[0][name].double()
            for after in seen[1:]:
                expected = 0.5 * expected + 0.5 * after[name]
        torch.testing.assert_close(kept.double(), expected.double(), rtol=1e-4, atol=1e-6, msg=name)
    assert any(not torch.equal(kept, seen[-1][name]) for name, kept in trainer.model.state_dict().items())


def test_the_better_of_raw_and_averaged_weights_on_the_development_rows_is_kept_and_named(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    args = arguments(
        tmp_path, eval_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="accuracy",
        greater_is_better=True, num_train_epochs=6, learning_rate=2e-2, lr_scheduler_type="constant",
    )  # fmt: skip
    dev = annotated.select(range(40, 70))
    trainer = RowMeanTrainer(
        make_teacher(), args, train_dataset=annotated.select(range(40)), eval_dataset=dev, averaging="ema"
    )
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "averaged" in entry]
    assert len(entries) == 6
    for entry in entries:
        assert entry["averaged"] == float(entry["averaged_accuracy"] > entry["raw_accuracy"])
        assert entry["eval_accuracy"] == max(entry["averaged_accuracy"], entry["raw_accuracy"])
    best = max(entries, key=lambda entry: entry["eval_accuracy"])
    assert trainer.evaluate()["eval_accuracy"] == best["eval_accuracy"]
    facts = training_facts(trainer, "accuracy")
    assert facts["selection"]["weights"] == ("ema" if best["averaged"] else "raw")
    assert facts["selection"]["score"] == best["eval_accuracy"]


@pytest.mark.parametrize(
    ("kept_epoch", "raw", "averaged", "wins"),
    [
        # √(0.8 · 0.2 / 30) / 2 = 0.037
        ("calibrated", (0.80, 0.5), (0.77, 0.4), True),  # level, and better calibrated
        ("calibrated", (0.77, 0.4), (0.80, 0.5), False),
        ("calibrated", (0.80, 0.5), (0.76, 0.1), False),  # not level
        ("calibrated", (0.76, 0.1), (0.80, 0.5), True),
        ("best", (0.80, 0.5), (0.77, 0.4), False),
        ("latest", (0.77, 0.4), (0.80, 0.5), True),
    ],
)
def test_of_raw_and_averaged_weights_that_are_level_the_calibrated_ones_are_kept(
    annotated: datasets.Dataset,
    tmp_path: Path,
    kept_epoch: Any,
    raw: tuple[float, float],
    averaged: tuple[float, float],
    wins: bool,
) -> None:
    given = [raw, averaged]

    class Scored(RowMeanTrainer):
        def _scores(self, logits: Any, labels: Any, prefix: str) -> dict[str, float]:
            accuracy, loss = given.pop(0)
            return {f"{prefix}_accuracy": accuracy, f"{prefix}_cross_entropy": loss}

    args = arguments(
        tmp_path, eval_strategy="epoch", load_best_model_at_end=True, greater_is_better=True,
        metric_for_best_model="accuracy", num_train_epochs=1,
    )  # fmt: skip
    trainer = Scored(
        make_teacher(), args, train_dataset=annotated.select(range(16)), eval_dataset=annotated.select(range(40, 70)),
        averaging="ema", kept_epoch=kept_epoch,
    )  # fmt: skip
    trainer.train()
    facts = training_facts(trainer, "accuracy")
    assert facts["selection"]["weights"] == ("ema" if wins else "raw")
    assert facts["scores"] == {
        "accuracy": (averaged if wins else raw)[0],
        "cross_entropy": (averaged if wins else raw)[1],
    }


@pytest.mark.parametrize(
    ("scores", "losses", "best", "latest", "calibrated"),
    [
        # √(0.8 · 0.2 / 30) = 0.073: 0.73 is level with 0.80
        ([0.70, 0.80, 0.79, 0.73], [0.9, 0.5, 0.4, 0.3], 2, 4, 3),  # 0.73 is not within half of that
        ([0.70, 0.80, 0.79, 0.77], [0.9, 0.5, 0.4, 0.3], 2, 4, 4),
        ([0.70, 0.80, 0.79, 0.72], [0.9, 0.5, 0.6, 0.1], 2, 3, 2),  # 0.72 is not
        # level with the best of its time, but not with the later one
        ([0.70, 0.66, 0.78, 0.70], [0.3, 0.2, 0.5, 0.4], 3, 3, 3),
        ([0.80, 0.80, 0.50, 0.60], [0.5, 0.4, 0.1, 0.1], 1, 2, 2),
        ([1.00, 1.00, 0.99, 0.99], [0.5, 0.6, 0.1, 0.1], 1, 2, 1),  # without any error nothing less is level
        ([0.78, 0.80, 0.50, 0.50], [0.3, 0.6, 0.1, 0.1], 2, 2, 1),  # a better score that is worse calibrated
    ],
)
def test_the_best_epoch_is_kept_or_of_those_within_a_standard_error_of_it_the_latest_or_the_best_calibrated(
    annotated: datasets.Dataset,
    tmp_path: Path,
    scores: list[float],
    losses: list[float],
    best: int,
    latest: int,
    calibrated: int,
) -> None:
    class Scored(RowMeanTrainer):
        def _scores(self, logits: Any, labels: Any, prefix: str) -> dict[str, float]:
            accuracy, loss = given.pop(0)
            return {f"{prefix}_accuracy": accuracy, f"{prefix}_cross_entropy": loss}

    for kept_epoch, epoch in (("best", best), ("latest", latest), ("calibrated", calibrated)):
        given, weights = list(zip(scores, losses, strict=True)), {}

        class Look(TrainerCallback):
            def on_evaluate(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
                weights[round(state.epoch)] = {  # noqa: B023
                    name: each.clone()
                    for name, each in trainer.model.state_dict().items()  # noqa: B023
                }

        args = arguments(
            tmp_path / kept_epoch, eval_strategy="epoch", load_best_model_at_end=True, greater_is_better=True,
            metric_for_best_model="accuracy", num_train_epochs=4,
        )  # fmt: skip
        trainer = Scored(
            make_teacher(), args, train_dataset=annotated.select(range(16)),
            eval_dataset=annotated.select(range(40, 70)), kept_epoch=kept_epoch, callbacks=[Look()],
        )  # fmt: skip
        trainer.train()
        facts = training_facts(trainer, "accuracy")
        assert (facts["selection"]["epoch"], facts["selection"]["score"]) == (epoch, scores[epoch - 1])
        for name, each in trainer.model.state_dict().items():
            assert torch.equal(each, weights[epoch][name]), name


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    RowMeanTrainer(make_teacher(), arguments(tmp_path), train_dataset=annotated).train()
    newest = tmp_path / "checkpoint-18" / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[-100] ^= 1
    newest.write_bytes(data)
    again = RowMeanTrainer(make_teacher(), arguments(tmp_path), train_dataset=annotated)
    again.train(resume_from_checkpoint=True)
    assert (tmp_path / "checkpoint-18.damaged-1").is_dir()
    assert (tmp_path / "checkpoint-18" / "manifest.json").is_file()


def test_a_resume_with_other_settings_is_refused_with_the_differences(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    RowMeanTrainer(make_teacher(), arguments(tmp_path), train_dataset=annotated).train()
    other = RowMeanTrainer(
        make_teacher(), arguments(tmp_path, learning_rate=2e-3), train_dataset=annotated.select(range(60))
    )
    with pytest.raises(CheckpointError, match=r"learning_rate 0\.001 → 0\.002; .*rows 70 → 60"):
        other.train(resume_from_checkpoint=True)


@pytest.mark.parametrize(("before", "now"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_of_another_kind_of_device_is_refused_or_put_aside_where_that_is_asked_for(
    annotated: datasets.Dataset, tmp_path: Path, before: str, now: str
) -> None:
    """Without the card it holds no random state of a card, and with it one that a CPU has no use for."""

    class On(RowMeanTrainer):
        device = before

        def _inputs(self) -> dict[str, Any]:
            inputs = super()._inputs()
            assert inputs["device"] == "cpu"
            return {**inputs, "device": self.device}

    On(make_teacher(), arguments(tmp_path, num_train_epochs=1), train_dataset=annotated).train()
    again = On(make_teacher(), arguments(tmp_path, num_train_epochs=1), train_dataset=annotated)
    again.device = now
    told = f"checkpoint-9 belongs to a training with other settings: device {before} → {now}. Go back to those settings"
    with pytest.raises(CheckpointError, match=told):
        again.train(resume_from_checkpoint=True)
    again.afresh = True
    again.train(resume_from_checkpoint=True)
    assert (tmp_path / "checkpoint-9.before-1").is_dir()
    assert read_manifest(tmp_path / "checkpoint-9").inputs["device"] == now


def test_a_training_on_the_cpu_needs_no_random_state_of_a_card(annotated: datasets.Dataset, tmp_path: Path) -> None:
    RowMeanTrainer(make_teacher(), arguments(tmp_path, num_train_epochs=1), train_dataset=annotated).train()
    assert set(load_file(tmp_path / "checkpoint-9" / "random_state_0.safetensors")) == {"torch", "numpy"}


def test_deterministic_algorithms_are_set_for_the_training_alone(annotated: datasets.Dataset, tmp_path: Path) -> None:
    seen: list[tuple[bool, str | None]] = []

    class Look(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))

    def trained(**keywords: Any) -> RowMeanTrainer:
        one = RowMeanTrainer(
            make_teacher(), arguments(tmp_path / f"{len(seen)}", max_steps=2), train_dataset=annotated, **keywords
        )
        one.add_callback(Look())
        one.train()
        return one

    plain, exact = trained(), trained(deterministic=True)
    assert seen == [(False, None)] * 2 + [(True, ":4096:8")] * 2
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, exact.model.state_dict()[name]), name  # here both are the same anyway
    with pytest.raises(CheckpointError, match="deterministic True → False"):
        RowMeanTrainer(make_teacher(), arguments(tmp_path / "2", max_steps=2), train_dataset=annotated).train(
            resume_from_checkpoint=True
        )


def test_an_operation_without_a_deterministic_algorithm_ends_in_a_sentence() -> None:
    with (
        pytest.raises(
            RecipeError, match=r"deterministic is true, but torch cannot train this model deterministically here"
        ),
        deterministic_algorithms(True),
    ):
        torch.zeros(3).put_(torch.tensor([1]), torch.tensor([2.0]))
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_resume_with_another_loss_map_or_other_rows_is_refused_with_the_differences(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    def trainer(
        pairs: tuple[tuple[int, int], ...] = ((1, 2),), rows: datasets.Dataset = annotated, **loss: Any
    ) -> PatientTrainer:
        args = arguments(tmp_path, PatientTrainingArguments, max_steps=1, save_strategy="steps", save_steps=1, **loss)
        return PatientTrainer(student_from(make_teacher(), 2), args, layer_map=LayerMap(pairs), train_dataset=rows)

    trainer().train()
    trainer(rows=annotated.flatten_indices()).train(resume_from_checkpoint=True)  # the same rows, stored otherwise
    backwards = annotated.select(range(69, -1, -1))
    states = annotated.rename_column("teacher_cls_states", "states")
    moved = states.add_column(
        "teacher_cls_states",
        [{"3": row["2"]} for row in states["states"]],
        feature=datasets.Features({"3": annotated.features["teacher_cls_states"]["2"]}),
    )
    for other, told in (
        (trainer(beta=1.0), r"loss\.beta .* → 1\.0"),
        (trainer(temperature=2.0, alpha=0.9), r"loss\.alpha 0\.5 → 0\.9; loss\.temperature 10\.0 → 2\.0"),
        (trainer(normalize=False), "loss.normalize length → none"),
        (trainer(rows=backwards), "row_contents"),
        (trainer(((1, 3),), moved), r"layer_map \[\[1, 2\]\] → \[\[1, 3\]\]"),
    ):
        with pytest.raises(CheckpointError, match=told):
            other.train(resume_from_checkpoint=True)


def test_rows_are_predicted_whatever_they_carry(annotated: datasets.Dataset, tmp_path: Path) -> None:
    args = arguments(tmp_path, PatientTrainingArguments)
    trainer = PatientTrainer(
        student_from(make_teacher(), 2), args, layer_map=LayerMap.skip(4, 2), train_dataset=annotated,
        eval_dataset=annotated, processing_class=make_tokenizer(),
    )  # fmt: skip
    predicted = trainer.predict(annotated)
    np.testing.assert_array_equal(predicted.label_ids, annotated["label"])
    right = float((predicted.predictions.argmax(1) == predicted.label_ids).mean())
    assert predicted.metrics["test_accuracy"] == trainer.evaluate()["eval_accuracy"] == right
    text = trainer.predict(annotated.select_columns(["text"]), metric_key_prefix="new")
    np.testing.assert_allclose(text.predictions, predicted.predictions, atol=1e-6)
    assert (text.label_ids, text.metrics) == (None, {})


def test_no_checkpoint_holds_a_pickle_and_only_the_best_and_last_two_stay(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    RowMeanTrainer(make_teacher(), arguments(tmp_path, num_train_epochs=5), train_dataset=annotated).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-36", "checkpoint-45"]
    suffixes = {path.suffix for path in (tmp_path / "checkpoint-45").iterdir()}
    assert suffixes == {".json", ".safetensors"}


def test_a_saved_model_has_its_tokenizer_and_no_pickle(annotated: datasets.Dataset, tmp_path: Path) -> None:
    trainer = RowMeanTrainer(
        make_teacher(), arguments(tmp_path), train_dataset=annotated, processing_class=make_tokenizer()
    )
    trainer.save_model(str(tmp_path / "saved"))
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_the_first_loss_that_is_not_finite_stops_before_the_weights_change(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    class Diverges(RowMeanTrainer):
        def row_losses(self, model: Any, inputs: Any) -> Any:
            losses, terms = super().row_losses(model, inputs)
            if self.state.global_step == 10:
                losses = losses * float("nan")
            return losses, terms

    trainer = Diverges(make_teacher(), arguments(tmp_path), train_dataset=annotated, processing_class=make_tokenizer())
    with pytest.raises(DivergedError, match=r"Step 11: the loss is nan.*last good checkpoint is checkpoint-9"):
        trainer.train()
    assert len(json.loads((tmp_path / "diverged.json").read_text())["texts"]) == 8
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_rows_that_lack_what_the_loss_needs_are_refused_at_the_door(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    args = arguments(tmp_path, PatientTrainingArguments)
    student = student_from(make_teacher(), 3)
    with pytest.raises(DataError, match=r"layers \[2\], but the layer map needs \[1\] too"):
        PatientTrainer(student, args, layer_map=LayerMap.skip(4, 3), train_dataset=annotated)
    plain = annotated.remove_columns(["teacher_logits", "teacher_cls_states"])
    with pytest.raises(DataError, match="no column 'teacher_logits'"):
        PatientTrainer(student, args, layer_map=LayerMap.skip(4, 3), train_dataset=plain)
    with pytest.raises(RecipeError, match=r"patience is 0\.1, but there is no layer map"):
        PatientTrainer(student, args, train_dataset=annotated)


def test_a_temperature_that_is_auto_is_that_of_the_problem(annotated: datasets.Dataset, tmp_path: Path) -> None:
    args = arguments(tmp_path, PatientTrainingArguments, temperature="auto", beta=0.0)
    trainer = PatientTrainer(student_from(make_teacher(), 2), args, train_dataset=annotated)
    assert trainer.loss_settings.temperature == 4.0


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"temperature": 0}, {"beta": -1}, {"kd_reduction": "max"}])
def test_settings_of_the_loss_are_checked_and_keyword_only(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        PatientTrainingArguments(str(tmp_path), **wrong)
    assert PatientTrainingArguments(str(tmp_path)).output_dir == str(tmp_path)
    with pytest.raises(RecipeError, match=r"patience is 0\.3, and beta is 5: .* give one of the two"):
        PatientTrainingArguments(str(tmp_path), patience=0.3, beta=5)
    assert PatientTrainingArguments(str(tmp_path), normalize=False).normalize == "none"


@pytest.mark.parametrize("normalize", ["length", "units"])
def test_a_share_of_patience_is_measured_before_the_first_step_and_kept_by_a_training_that_goes_on(
    annotated: datasets.Dataset, tmp_path: Path, normalize: str
) -> None:
    def trainer(folder: Path, stop_at: int | None = None, **loss: Any) -> PatientTrainer:
        args = arguments(folder, PatientTrainingArguments, num_train_epochs=1, normalize=normalize, **loss)

        class Stop(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
                if state.global_step == stop_at:
                    progress.request_stop(75)

        return PatientTrainer(
            student_from(make_teacher(), 2), args, layer_map=LayerMap.skip(4, 2), train_dataset=annotated,
            callbacks=[Stop()],
        )  # fmt: skip

    whole = trainer(tmp_path / "whole", patience=0.3)
    assert whole.loss_settings.beta is None
    whole.train(resume_from_checkpoint=True)
    beta = whole.loss_settings.beta
    assert beta is not None
    assert beta > 0
    given = trainer(tmp_path / "given", beta=beta)
    given.train(resume_from_checkpoint=True)
    try:
        with pytest.raises(Stopped):
            trainer(tmp_path / "stopped", stop_at=4, patience=0.3).train(resume_from_checkpoint=True)
    finally:
        progress.clear_stop()
    again = trainer(tmp_path / "stopped", patience=0.3)
    with torch.no_grad():  # what was measured is read, and not measured again
        again.model.classifier.weight.add_(1.0)
    again.train(resume_from_checkpoint=True)
    assert again.loss_settings.beta == beta
    for other in (given, again):
        for name, weight in whole.model.state_dict().items():
            assert torch.equal(weight, other.model.state_dict()[name]), name


def test_text_rows_are_encoded_with_the_tokenizer(tmp_path: Path) -> None:
    reviews = make_reviews(20)
    rows = datasets.Dataset.from_dict(
        {"text": [t for t, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    trainer = RowMeanTrainer(
        make_teacher(), arguments(tmp_path), train_dataset=rows, eval_dataset=rows, processing_class=make_tokenizer()
    )
    assert trainer.train_dataset[3]["input_ids"] == encode(rows, make_tokenizer(), 64)[3]["input_ids"]
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1


def test_a_model_keeps_its_padding_id_where_its_tokenizer_has_another(
    annotated: datasets.Dataset, tmp_path: Path
) -> None:
    model = make_teacher()
    model.config.pad_token_id = 4  # the tokenizer's is 0
    trainer = RowMeanTrainer(
        model, arguments(tmp_path, num_train_epochs=1), train_dataset=annotated, processing_class=make_tokenizer()
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["pad_token_id"] == 4
