"""What one cell of the study trains and measures: a teacher, a student, or the word-count baseline; each gives a line.

A student's line holds three contenders, for they cost one training: the raw weights with the best score of the
development rows, their average with its best score (`ema`), and the latest raw weights within a standard error of the
best score (`latest`), as effort `normal` keeps them. The test rows are measured there.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from transformers import TrainerCallback, TrainingArguments, set_seed

from benchmarks.quality.tasks import Row, read_split, texts_of
from pkd.data.augmentation import augmented_splits
from pkd.data.batching import Collator, TokenRows, is_labelled
from pkd.data.examples import with_unlabelled
from pkd.data.outputs import Outputs
from pkd.data.shards import open_shards
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.dropping import least_missed
from pkd.distillation.layers import LayerMap
from pkd.distillation.ledger import PatientLoss, term_rows
from pkd.distillation.narrowing import neuron_importance
from pkd.distillation.student import student_from
from pkd.distillation.terms import TERMS, Term, TermInputs, objective_of, weighted
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.encoder.inference import answer_rows
from pkd.encoder.load import LoadedClassifier, load_pretrained, load_teacher, without_bars
from pkd.evaluation.metrics import score
from pkd.jobs.finetune import finetune
from pkd.recipe.settings import LossSettings, TrainingSettings
from pkd.tasks import SINGLE_LABEL
from pkd.training.hardware import autocast_dtype, describe_hardware, resolve_device
from pkd.training.schedule import student_schedule
from pkd.training.trainer import RowMeanTrainer, is_level

MAX_LENGTH = 128
BATCH = 32
VERSION_ONE_EPOCHS = 4
EVALUATIONS = 10  # of the development rows, evenly spaced over a training
_EMA_HORIZON = 0.1  # of the steps
_SHARE_BATCHES = 16
_GREEDY_ROWS = 500
_AUGMENT_SEED = 42
DONE = "done"  # stands in a folder of answers when all of them are there
_HELD_OUT = {"eval": "dev", "test": "test"}  # splits whose texts are never made, by the package's and the study's names

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A fine-tuning of the encoder; `auto` is what `pkd finetune` does with the task's files alone.

    Its weights are then those that the package keeps; or it averages none, and its epoch is the calibrated one, or the
    best by the development score.
    """

    task: str
    rate: float | Literal["auto"]
    epochs: float | Literal["auto"] = 6
    seed: int = 42
    kept: Literal["auto", "calibrated", "best"] = "auto"

    @property
    def is_default(self) -> bool:
        """Whether the package chooses rate and epochs."""
        return self.rate == "auto"

    @property
    def name(self) -> str:
        """Of its folder."""
        numbers = (each if isinstance(each, str) else f"{each:g}" for each in (self.rate, self.epochs))
        return "-".join([*numbers, *([] if self.kept == "auto" else [self.kept]), f"seed{self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Student:
    """A student, by what differs from the study's base.

    Attributes:
        task: one of the study's.
        contender: its name in tables.
        seed: of the order of the data, dropout and, of `reference`, the head.
        layers: its depth.
        width: the share of each layer's feed-forward neurons that it keeps.
        start: "first", "spread", "greedy", "reference" (the untuned encoder's first layers and a new head) or layers.
        rate: peak learning rate; "auto" is the package's for effort `normal`.
        steps: how many times as many as version one's four epochs over the labelled rows.
        temperature: T.
        alpha: α.
        kd_reduction: over classes.
        beta: β; None where `patience` sets it.
        patience: the share of the gradient that patience gets as the student starts.
        units: standardise states by unit instead of bringing them to length 1.
        augmented: variants of each training row.
        unlabelled: text of the same kind too, where the task has it.
        teachers: whose probabilities are averaged.
        teacher: "grid", the best of the small grid; "default", that of `pkd finetune` with the files alone; "calibrated
            epoch" and "best epoch", the same without averaged weights, of that epoch.
    """

    task: str
    contender: str
    seed: int = 42
    layers: int = 3
    width: float = 1.0
    start: str | tuple[int, ...] = "spread"
    rate: float | Literal["auto"] = 1e-4
    steps: float = 2.5
    temperature: float = 4.0
    alpha: float = 0.5
    kd_reduction: str = "sum"
    beta: float | None = 0.0
    patience: float = 0.0
    units: bool = False
    augmented: int = 0
    unlabelled: bool = False
    teachers: int = 1
    teacher: Literal["grid", "best epoch", "calibrated epoch", "default"] = "grid"


class Study:
    """Where the study's data, teachers and answers lie, and where it computes."""

    def __init__(self, data: Path, work: Path, encoder: str, device: str) -> None:
        self.data, self.work, self.encoder = data, work, encoder
        self.device = resolve_device(device)

    def splits(self, task: str) -> tuple[dict[str, list[Row]], tuple[str, ...]]:
        """The rows of each split, and the classes in their order."""
        splits = {split: read_split(self.data, task, split) for split in ("train", "dev", "test")}
        return splits, tuple(sorted({row["label"] for row in splits["train"]}))

    def teacher_folder(self, teacher: Teacher) -> Path:
        return self.work / teacher.task / f"teacher-{teacher.name}"

    def answers_folder(self, teacher: Teacher, part: str) -> Path:
        return self.work / teacher.task / f"answers-{teacher.name}" / part


Cell = Callable[[Study], Line]


def fit_teacher(study: Study, teacher: Teacher) -> Line:
    """Fine-tune the encoder, keep the best of ten evaluations, save it."""
    if teacher.is_default:
        return _fit_default_teacher(study, teacher)
    splits, names = study.splits(teacher.task)
    set_seed(teacher.seed)  # the new head is drawn here
    loaded = load_pretrained(study.encoder, Outputs("single_label_classification", names))
    rows = {split: _encoded(each, names, loaded) for split, each in splits.items()}
    steps = round(len(splits["train"]) / BATCH * teacher.epochs)
    trainer = RowMeanTrainer(
        loaded.model,
        TrainingArguments(**_arguments(study, teacher.rate, steps, teacher.seed)),
        train_dataset=rows["train"],
        processing_class=loaded.tokenizer,
        optimizer_cls_and_kwargs=(torch.optim.AdamW, {"lr": teacher.rate, "fused": study.device.type == "cuda"}),
    )
    keeper = _KeepBest(trainer, rows["dev"], steps)
    spent = _train(trainer, keeper)
    best = keeper.best["raw"]
    logits = keeper.answer(best, rows["test"])
    folder = study.teacher_folder(teacher)
    with without_bars():
        trainer.model.cpu().save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return {
        "kind": "teacher", **dataclasses.asdict(teacher), "steps": steps, "dev": best.dev, "best_step": best.step,
        **_measured(logits, rows["test"]), "last_dev": keeper.curve[-1], "curve": keeper.curve,
        **spent, **_hardware(study),
    }  # fmt: skip


def _fit_default_teacher(study: Study, teacher: Teacher) -> Line:
    """`pkd finetune` with the task's files alone; a killed one goes on where it was."""
    splits, names = study.splits(teacher.task)
    files = {
        each: study.data / teacher.task / f"{split}.jsonl" for each, split in (("train", "train"), ("eval", "dev"))
    }
    device: Any = study.device.type
    began = _clocks()
    made = finetune(
        model=study.encoder,
        output=study.teacher_folder(teacher),
        **files,
        seed=teacher.seed,
        device=device,
        **({} if teacher.kept == "auto" else {"kept_epoch": teacher.kept, "averaging": "none"}),
    )
    spent = _spent(began)
    loaded = _on(study, load_teacher(str(made.folder)))
    if loaded.label_names != names:
        raise ValueError(f"{made.folder} answers {loaded.label_names}, the study {names}.")
    rows = _encoded(splits["test"], names, loaded)
    used = {name: made.training[name] for name in ("learning_rate", "num_train_epochs", "early_stopping_patience")}
    return {
        "kind": "teacher", **dataclasses.asdict(teacher), "used": used, "dev": made.scores["accuracy"],
        "best_epoch": made.selection["epoch"], "weights": made.selection.get("weights", "raw"),
        **_measured(answer_rows(loaded.model, rows).logits, rows),
        **spent, **_hardware(study),
    }  # fmt: skip


def annotate(study: Study, teacher: Teacher, variants: int, *, everything: bool) -> Line:
    """Let a teacher answer the training rows and, of the first one, `variants` augmented rows each and other text."""
    splits, names = study.splits(teacher.task)
    loaded = _on(study, load_teacher(str(study.teacher_folder(teacher))))
    tables = {"train": _dataset(splits["train"], names)}
    if everything:
        held_out = {texts_of(row) for split in ("dev", "test") for row in splits[split]}
        made_from = {"train": tables["train"], **{f: _dataset(splits[s], names) for f, s in _HELD_OUT.items()}}
        tables |= dict(augmented_splits(made_from, variants, _AUGMENT_SEED))
        if (study.data / teacher.task / "unlabelled.jsonl").is_file():
            other = read_split(study.data, teacher.task, "unlabelled")
            tables["unlabelled"] = _dataset([row for row in other if texts_of(row) not in held_out], names)
    layers = range(1, loaded.model.config.num_hidden_layers) if everything else ()
    began, counts = _clocks(), {}
    for part, table in tables.items():
        folder = study.answers_folder(teacher, part)
        folder.mkdir(parents=True, exist_ok=True)
        counts[part] = len(table)
        dtype = autocast_dtype("auto", study.device)
        answering = TeacherPass(loaded.model, loaded.tokenizer, list(layers), MAX_LENGTH, autocast_dtype=dtype)
        annotate_rows(table, answering, folder)
        (folder / DONE).touch()
    return {
        "kind": "answers", "task": teacher.task, "seed": teacher.seed, "teacher": teacher.name, "rows": counts,
        **_spent(began), **_hardware(study),
    }  # fmt: skip


def fit_student(study: Study, student: Student, teachers: Sequence[Teacher]) -> Line:
    """Distil a student from stored answers; `teachers` are those whose answers are averaged, the first gives states."""
    splits, names = study.splits(student.task)
    first = load_teacher(str(study.teacher_folder(teachers[0])))
    encoded = {split: _encoded(splits[split], names, first) for split in ("dev", "test")}
    rows = encode(_training_rows(study, student, teachers), first.tokenizer, MAX_LENGTH, masks=True)
    model, start = _started(study, student, first, names, rows)
    patient = student.layers > 1 and (student.patience > 0 or bool(student.beta))
    layer_map = LayerMap.skip(first.model.config.num_hidden_layers, student.layers) if patient else None
    settings = {
        "temperature": student.temperature, "alpha": student.alpha, "kd_reduction": student.kd_reduction,
        "beta": student.beta or 0.0,
    }  # fmt: skip
    unit_term = _unit_term(rows, layer_map) if layer_map and student.units else None
    shares: dict[str, float] = {}
    if student.alpha > 0 or patient:
        settings["beta"], shares = _weigh(study, model, first, rows, settings, layer_map, student, unit_term)
    steps = round(len(splits["train"]) / BATCH * VERSION_ONE_EPOCHS * student.steps)
    rate = _rate(student, first, names)
    trainer = PatientTrainer(
        model.to(study.device),
        PatientTrainingArguments(**_arguments(study, rate, steps, student.seed), **settings),
        layer_map=layer_map,
        train_dataset=rows,
        processing_class=first.tokenizer,
    )
    if unit_term:
        trainer.terms = [unit_term if term.name == "pt" else term for term in trainer.terms]
    keeper = _KeepBest(trainer, encoded["dev"], steps, average=True)
    spent = _train(trainer, keeper)
    of_teacher = answer_rows(_on(study, first).model, encoded["test"]).logits
    line: Line = {
        "kind": "student", **dataclasses.asdict(student), "steps_made": steps, "rate_used": rate,
        "rows": len(rows), "beta_used": settings["beta"], "shares": shares,
        "start_layers": start, "curve": keeper.curve, **spent, **_hardware(study),
    }  # fmt: skip
    for name, best in keeper.best.items():
        end = "" if name == "raw" else f"_{name}"
        logits = keeper.answer(best, encoded["test"])
        line |= {f"dev{end}": best.dev, f"best_step{end}": best.step}
        line |= {f"{key}{end}": value for key, value in _measured(logits, encoded["test"]).items()}
        line |= {f"agreement{end}": float((logits.argmax(1) == of_teacher.argmax(1)).mean())}
    return line


def _rate(student: Student, teacher: LoadedClassifier, names: tuple[str, ...]) -> float:
    """The student's learning rate: a number, or the package's for effort `normal`."""
    if student.rate != "auto":
        return student.rate
    width = teacher.model.config.hidden_size
    rate = student_schedule(TrainingSettings(), "normal", outputs=len(names), width=width).learning_rate
    assert rate != "auto"
    return rate


def fit_words(study: Study, task: str) -> Line:
    """The word-count baseline: TF-IDF of one and two words with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    splits, _ = study.splits(task)
    texts = {split: [" ".join(texts_of(row)) for row in rows] for split, rows in splits.items()}
    labels = {split: np.array([row["label"] for row in rows]) for split, rows in splits.items()}
    began = time.monotonic()
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
    )
    model.fit(texts["train"], labels["train"])
    right = {split: model.predict(texts[split]) == labels[split] for split in ("dev", "test")}
    return {
        "kind": "words", "task": task, "dev": float(right["dev"].mean()), "test": float(right["test"].mean()),
        "right": np.packbits(right["test"]).tobytes().hex(), "seconds": time.monotonic() - began,
    }  # fmt: skip


# Training -----------------------------------------------------------------------------------------------------------


@dataclass
class _Best:
    dev: float = -1.0
    step: int = 0
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


class _KeepBest(TrainerCallback):
    """Measures the development rows ten times in a training, and keeps the weights that do best on them."""

    def __init__(self, trainer: Any, dev: Any, steps: int, *, average: bool = False) -> None:
        self.trainer, self.dev = trainer, dev
        self.at = {round(steps * (number + 1) / EVALUATIONS) for number in range(EVALUATIONS)}
        self.best = {"raw": _Best(), **({"ema": _Best(), "latest": _Best()} if average else {})}
        self.curve: list[float] = []
        self.average: dict[str, torch.Tensor] = {}
        self.decay = 1 - 1 / max(2.0, _EMA_HORIZON * steps)
        self.spent = np.zeros(2)  # by the evaluations

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        began = _clocks()
        model = self.trainer.model
        if "ema" in self.best:
            now = dict(model.named_parameters())
            if not self.average:
                self.average = {name: value.detach().clone() for name, value in now.items()}
            torch._foreach_lerp_(list(self.average.values()), [now[name] for name in self.average], 1 - self.decay)
        if state.global_step in self.at:
            self.curve.append(self._measure("raw", state.global_step))
            if "ema" in self.best:
                self._swap()
                self._measure("ema", state.global_step)
                self._swap()
            self.spent += _clocks() - began

    def _measure(self, name: str, step: int) -> float:
        best, model = self.best[name], self.trainer.model
        dev = _accuracy(answer_rows(model, self.dev).logits, self.dev)
        kept = [name] if dev > best.dev else []
        if name == "raw" and "latest" in self.best and is_level(dev, max(dev, best.dev), len(self.dev)):
            kept.append("latest")
        if kept:
            weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
            self.best |= dict.fromkeys(kept, _Best(dev, step, weights))
        return dev

    def answer(self, best: _Best, rows: Any) -> np.ndarray:
        """Put weights that were kept back into the model; return its logits, [N, C]."""
        self.trainer.model.load_state_dict(best.weights)
        return answer_rows(self.trainer.model, rows).logits

    def _swap(self) -> None:
        for name, value in self.trainer.model.named_parameters():
            kept = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(kept)


def _train(trainer: Any, keeper: _KeepBest) -> Line:
    """Seconds of the training, by the wall clock and of the processor, without those of the evaluations."""
    trainer.add_callback(keeper)
    began = _clocks()
    trainer.train()
    return _spent(began, keeper.spent)


def _clocks() -> np.ndarray:
    return np.array([time.monotonic(), time.process_time()])


def _spent(began: np.ndarray, evaluating: np.ndarray | float = 0.0) -> Line:
    seconds, of_processor = _clocks() - began - evaluating
    return {"seconds": float(seconds), "cpu_seconds": float(of_processor)}


def _arguments(study: Study, rate: float, steps: int, seed: int) -> dict[str, Any]:
    return {
        "output_dir": str(study.work / "scratch"), "learning_rate": rate, "max_steps": steps,
        "per_device_train_batch_size": BATCH, "weight_decay": 0.01, "warmup_steps": 0.1, "logging_steps": 10**6,
        "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "seed": seed, "data_seed": seed,
        "use_cpu": study.device.type == "cpu", "bf16": autocast_dtype("auto", study.device) is not None,
    }  # fmt: skip


def _started(
    study: Study, student: Student, teacher: LoadedClassifier, names: tuple[str, ...], rows: datasets.Dataset
) -> tuple[Any, list[int]]:
    """The student as it starts, on the CPU, and the layers that it was cut from."""
    depth = teacher.model.config.num_hidden_layers
    if student.start == "reference":
        set_seed(student.seed)  # the new head is drawn here
        encoder = load_pretrained(study.encoder, Outputs("single_label_classification", names))
        return student_from(encoder.model, student.layers, "first"), list(range(1, student.layers + 1))
    if student.start == "greedy":
        start = _greedy(study, teacher, student.layers, rows)
    elif student.start == "spread":
        start = [number * depth // student.layers + 1 for number in range(student.layers)]
    elif student.start == "first":
        start = list(range(1, student.layers + 1))
    else:
        start = [int(layer) for layer in student.start]
    importance = neuron_importance(_on(study, teacher).model, rows) if student.width < 1 else None
    return student_from(teacher.model, student.layers, start, width=student.width, importance=importance), start


def _greedy(study: Study, teacher: LoadedClassifier, layers: int, rows: datasets.Dataset) -> list[int]:
    """Drop the layer whose removal moves the stored logits least, one after the other."""
    some = rows.select(range(min(_GREEDY_ROWS, len(rows))))
    kept = list(range(1, teacher.model.config.num_hidden_layers + 1))
    model: Any = teacher.model
    model.to(study.device)
    while len(kept) > layers:
        kept.remove(least_missed(model, kept, some, SINGLE_LABEL)[0])
    return kept


def _weigh(
    study: Study, model: Any, teacher: LoadedClassifier, rows: datasets.Dataset, settings: dict[str, Any],
    layer_map: LayerMap | None, student: Student, unit_term: Term | None,
) -> tuple[float, dict[str, float]]:  # fmt: skip
    """β, from the share of the gradient that is asked for, and the share of each term with it."""
    chosen = np.random.default_rng(student.seed).permutation(len(rows))[: _SHARE_BATCHES * BATCH]
    table = TokenRows(rows)
    collate = Collator(teacher.model.config.pad_token_id or 0, layer_map.teacher if layer_map else ())
    batches = [
        collate(table.__getitems__(chosen[begin : begin + BATCH].tolist())) for begin in range(0, len(chosen), BATCH)
    ]
    beta = settings["beta"] or (1.0 if layer_map else 0.0)
    loss = LossSettings(**{**settings, "beta": beta})
    entries = _gradient_norms(model.to(study.device), batches, loss, layer_map, unit_term)
    if student.patience > 0:
        others = sum(norm for name, norm in entries.items() if name != "pt")
        wanted = student.patience / (1 - student.patience) * others
        beta, entries["pt"] = beta * wanted / entries["pt"], wanted
    total = sum(entries.values())
    return beta, {name: norm / total for name, norm in entries.items()}


def _gradient_norms(
    model: Any, batches: Sequence[dict[str, torch.Tensor]], settings: LossSettings, layer_map: LayerMap | None,
    unit_term: Term | None,
) -> dict[str, float]:  # fmt: skip
    """The mean norm of each weighted term's gradient, without dropout."""
    unlabelled = not all(bool(is_labelled(batch["labels"]).all()) for batch in batches)
    terms = [unit_term if unit_term and term.name == "pt" else term
             for term in objective_of(settings, unlabelled=unlabelled)]  # fmt: skip
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    norms: dict[str, list[float]] = {term.name: [] for term in terms}
    model.eval()
    for batch in batches:
        moved = {name: column.to(model.device) for name, column in batch.items()}
        values = term_rows(model, moved, terms, PatientLoss(settings, layer_map), SINGLE_LABEL)
        labelled = is_labelled(moved["labels"]) if unlabelled else None
        for term in terms:
            part = weighted(term, values[term.name], settings, labelled).mean()
            gradients = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
            norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
            norms[term.name].append(norm.item())
    model.train()
    return {name: sum(each) / len(each) for name, each in norms.items()}


def _unit_term(rows: datasets.Dataset, layer_map: LayerMap) -> Term:
    """Patience on states standardised by each unit's mean and deviation over the teacher's training rows."""
    some = rows.select(range(min(4096, len(rows))))["teacher_cls_states"]
    states = np.array([[row[str(layer)] for layer in layer_map.teacher] for row in some], dtype=np.float32)  # [N, K, H]
    mean, deviation = torch.from_numpy(states.mean(0)), torch.from_numpy(states.std(0) + 1e-3)

    def row_losses(batch: TermInputs) -> torch.Tensor:
        assert batch.cls_states is not None
        assert batch.teacher_cls_states is not None
        scale = deviation.to(batch.cls_states.device)
        return ((batch.cls_states.float() - batch.teacher_cls_states.float()) / scale).square().mean(dim=(-2, -1))

    assert mean.shape == deviation.shape  # of a difference the means cancel
    return dataclasses.replace(next(term for term in TERMS if term.name == "pt"), row_losses=row_losses)


def _training_rows(study: Study, student: Student, teachers: Sequence[Teacher]) -> datasets.Dataset:
    def stored(part: str) -> datasets.Dataset:
        return open_shards(study.answers_folder(teachers[0], part))

    labelled = stored("train")
    if len(teachers) > 1:
        each = [open_shards(study.answers_folder(teacher, "train")) for teacher in teachers]
        logits = np.stack([np.asarray(rows["teacher_logits"], dtype=np.float64) for rows in each])
        mean = logsumexp(log_softmax(logits, axis=2), axis=0) - np.log(len(each))  # log of the mean probability
        feature = labelled.features["teacher_logits"]
        labelled = labelled.remove_columns("teacher_logits").add_column(
            "teacher_logits", list(mean.astype(np.float32)), feature=feature
        )
    parts = [f"augmented-{number}" for number in range(1, student.augmented + 1)]
    parts += ["unlabelled"] if student.unlabelled else []
    if not parts or student.contender.startswith("ft"):
        return labelled
    others = [stored(part) for part in parts]
    others = [rows.remove_columns("label") if "label" in rows.column_names else rows for rows in others]
    return with_unlabelled(labelled, datasets.concatenate_datasets(others))


# Rows ---------------------------------------------------------------------------------------------------------------


def _dataset(rows: Sequence[Row], names: tuple[str, ...]) -> datasets.Dataset:
    """Rows as pkd's own reader gives them."""
    texts = [texts_of(row) for row in rows]
    columns: dict[str, Any] = {"text": [text for (text,) in texts]} if len(texts[0]) == 1 else {
        "text_a": [a for a, _ in texts], "text_b": [b for _, b in texts]
    }  # fmt: skip
    if "label" in rows[0]:
        columns["label"] = [names.index(row["label"]) for row in rows]
    return datasets.Dataset.from_dict(columns)


def _encoded(rows: Sequence[Row], names: tuple[str, ...], loaded: LoadedClassifier) -> datasets.Dataset:
    return encode(_dataset(rows, names), loaded.tokenizer, MAX_LENGTH)


def _accuracy(logits: np.ndarray, rows: datasets.Dataset) -> float:
    return float((logits.argmax(axis=1) == np.asarray(rows["label"])).mean())


def _right(logits: np.ndarray, rows: datasets.Dataset) -> str:
    """Which rows are right, as bits in hexadecimal, so that contenders can be paired."""
    return np.packbits(logits.argmax(axis=1) == np.asarray(rows["label"])).tobytes().hex()


def _measured(logits: np.ndarray, rows: datasets.Dataset) -> Line:
    """What a line holds of the test rows."""
    scores = score(logits, np.asarray(rows["label"]))
    return {"test": scores["accuracy"], "macro_f1": scores["macro_f1"], "right": _right(logits, rows)}


def _on(study: Study, loaded: LoadedClassifier) -> LoadedClassifier:
    model: Any = loaded.model
    return LoadedClassifier(model.to(study.device), loaded.tokenizer, loaded.name)


def _hardware(study: Study) -> dict[str, str]:
    return {"hardware": ", ".join(describe_hardware(study.device).values())}


def run_cell(setup: tuple[Any, ...], cell: Cell) -> Line:
    """A cell's line, computed in a process of the pool; what fails is a line too, so that the others go on."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        return cell(Study(*setup))
    except Exception as error:  # a cell of hundreds must not end the study
        return {"kind": "failed", "why": f"{type(error).__name__}: {error}"}
