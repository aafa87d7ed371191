"""What can be set, each thing once: name, type, range, default and help.

Keyword-only dataclasses, so that the same definitions serve as YAML keys, command-line flags, keyword arguments and,
for `LossSettings`, as fields of `PatientTrainingArguments`. Ranges are pydantic constraints, which `check` applies.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field

from pkd.recipe.quantities import Counts, Lengths, Shares, SizeText, TimeText, bytes_of, seconds_of

STRICT = ConfigDict(extra="forbid")

# far above any useful value; beyond it libraries overflow, some of them after hours
_MOST = 10**9
MOST_VARIANTS = 1000  # augmented rows of each training row
MOST_TEACHERS = 100

TABS = ("\\t", "tab")  # a tab, where it cannot be typed
Separator = Annotated[str, AfterValidator(lambda text: "\t" if text in TABS else text)]
PositiveFloat = Annotated[float, Field(gt=0, le=_MOST, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0, le=_MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

# transformers' names of a head's output; it has none for multiple choice
ProblemType = Literal[
    "single_label_classification",
    "multi_label_classification",
    "binary_classification",
    "regression",
    "multiple_choice",
    "token_classification",
]
Counted = Literal["characters", "utf-16", "bytes"]
TagScheme = Literal["auto", "plain", "iob1", "iob2", "iobes"]
Comparison = Literal["length", "none", "units"]
PATIENCE = 0.1  # patience's default share of the gradient; docs/guide.md explains why
Method = Literal["pkd", "kd", "ft"]
Effort = Literal["quick", "normal", "best"]
Metric = Literal[
    "accuracy", "f1", "macro_f1", "micro_f1", "mcc", "pearson", "spearman", "span_f1", "word_accuracy"
]  # fmt: skip


def setting(default: Any, help: str, *, common: bool = False, verbatim: bool = False) -> Any:
    """A field with its help; `common` ones have a command-line flag of their own, all can be given by `--set`.

    `--set` takes the value of a `verbatim` one as plain text, not YAML, in which | or # alone would be empty.
    """
    return _field(default, help=help, common=common, verbatim=verbatim)


def _field(default: Any, **metadata: Any) -> Any:
    if isinstance(default, list | dict) or callable(default):
        factory = default if callable(default) else (lambda: type(default)(default))
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def comparison(given: Comparison | bool) -> Comparison:
    """The name of a way to compare states; `true` and `false` are older spellings of two.

    >>> comparison(True), comparison(False), comparison("units")
    ('length', 'none', 'units')
    """
    if isinstance(given, bool):
        return "length" if given else "none"
    return given


@dataclass(kw_only=True)
class LossSettings:
    """The weights and reductions of L_PKD = (1 − α) L_CE + α L_DS + β L_PT (Sun et al. 2019)."""

    __pydantic_config__ = STRICT

    temperature: Literal["auto"] | PositiveFloat = setting(
        10.0, "T that softens logits; auto: 4, of tags 1", common=True
    )
    alpha: Annotated[float, Field(ge=0, le=1)] = setting(
        0.5, "α, weight of L_DS, from 0 to 1; labels get 1 − α", common=True
    )
    patience: Annotated[float, Field(ge=0, lt=1)] | None = setting(
        None, f"share of the gradient for L_PT; it sets β (default: {PATIENCE:g})", common=True
    )
    beta: NonNegativeFloat | None = setting(None, "β, weight of L_PT (patience) instead of a share", common=True)
    kd_reduction: Literal["mean", "sum"] = setting(
        "sum", "over classes in L_DS: sum (the textbook's) or mean (as the published α and T were tuned)"
    )
    pt_reduction: Literal["mean", "sum"] = setting(
        "mean", "over layers and units in L_PT: mean (as the published β was tuned) or sum (the paper's)"
    )
    normalize: Annotated[Comparison | bool, AfterValidator(comparison)] = setting(
        "length", "how L_PT compares states: brought to length 1, none: as they are, units: by each unit's deviation"
    )

    @property
    def patience_share(self) -> float | None:
        """The share of the gradient that sets β; None if β is a number."""
        if self.beta is not None:
            return None
        return PATIENCE if self.patience is None else self.patience

    @property
    def has_patience(self) -> bool:
        """Whether the teacher's states contribute to the loss."""
        return (self.beta or self.patience_share or 0.0) > 0

    def of_method(self, method: Method) -> Self:
        """These settings as a method uses them: kd ignores the teacher's states, ft its logits too."""
        loss = self if method == "pkd" and self.has_patience else dataclasses.replace(self, beta=0.0, patience=None)
        return dataclasses.replace(loss, alpha=0.0) if method == "ft" else loss


@dataclass(kw_only=True)
class TrainingSettings:
    """How a model is trained; names and meanings are those of `transformers.TrainingArguments`."""

    __pydantic_config__ = STRICT

    learning_rate: Literal["auto"] | PositiveFloat = setting(
        "auto", "peak; auto: by effort, classes and encoder", common=True
    )
    num_train_epochs: Literal["auto"] | PositiveFloat = setting(
        "auto", "passes over the rows; auto: by effort and rows", common=True
    )
    early_stopping_patience: Literal["auto", "none"] | PositiveInt = setting(
        "auto",
        "end after so many epochs with no better development score, or none; auto: where a teacher's epochs are",
    )
    per_device_train_batch_size: PositiveInt = setting(32, "rows a forward pass on each device", common=True)
    gradient_accumulation_steps: PositiveInt = setting(1, "forward passes an optimiser step", common=True)
    weight_decay: NonNegativeFloat = setting(0.01, "weight decay of AdamW")
    warmup_steps: NonNegativeFloat = setting(0.1, "linear warm-up: below 1 a share of all steps, else steps")
    max_grad_norm: NonNegativeFloat = setting(1.0, "clip the gradient's norm to this; 0 never clips")
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = setting("linear", "after warm-up")
    averaging: Literal["auto", "none", "ema", "swa"] = setting(
        "auto",
        "average the weights too, over the last tenth of steps (ema) or all of the last quarter (swa), and keep the "
        "better; auto: of a teacher ema, of a student by effort",
    )
    kept_epoch: Literal["auto", "best", "latest", "calibrated"] = setting(
        "auto",
        "by the development score: best, or the latest within a standard error of it, or within half of it the one of "
        "lowest cross-entropy (calibrated); auto: of a teacher calibrated, of a student by effort",
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "auto: bfloat16 where the hardware has it", common=True
    )
    activation_checkpointing: bool = setting(
        False, "compute each layer again in the backward pass: less memory, 1.5 times as long, same weights"
    )
    deterministic: bool = setting(
        False, "torch's deterministic algorithms alone: on a GPU a killed training goes on to the same bits, slower"
    )
    save_steps: PositiveInt | None = setting(None, "checkpoint every so many steps, besides each epoch's end")
    logging_steps: PositiveFloat = setting(0.02, "log the loss terms: below 1 at such shares of all steps, else steps")
    report_to: list[str] = setting([], "trackers of the Trainer, e.g. [tensorboard, trackio]")


@dataclass(kw_only=True)
class DataSettings:
    """The files of the examples and the names of their columns."""

    __pydantic_config__ = STRICT

    task: str | None = setting(None, "a benchmark's task, as sst2, rte or race; fills in the rest", common=True)
    folder: str | None = setting(None, "the benchmark's own files (default: the hub)", common=True)
    train: str | None = setting(None, "training examples: CSV, TSV, JSONL, Parquet, CoNLL or hub name")
    eval: str | None = setting(
        None, "development examples: choose the best epoch (default: a tenth of the training rows)", common=True
    )
    test: str | None = setting(None, "held-out examples; nothing is selected on them", common=True)
    unlabelled: list[str] = setting([], "text without labels; teaches without L_CE", common=True)
    text_columns: list[str] = setting([], "column of the text (CoNLL: of the words), or two of a pair", common=True)
    label_column: str | None = setting(None, "column of the label (CoNLL: a name or number)", common=True)
    label_columns: list[str] = setting([], "multi-label: columns of 0 and 1", common=True)
    label_sep: Separator | None = setting(
        None, "what parts several labels in one column (default: | or ; or ,)", verbatim=True
    )
    label_names: list[str] = setting(
        [],
        "names of the classes in order: of integers from 0 on, of vectors of 0 and 1, of outputs called LABEL_0, ...",
    )
    problem_type: Literal["auto"] | ProblemType = setting(
        "auto", "auto: the teacher's, else by the labels", common=True
    )
    column_names: list[str] = setting([], "names of the columns of files without a header")
    sep: Separator | None = setting(
        None, "separator of CSV files, as '|' (default: , and a tab for .tsv)", verbatim=True
    )
    quotes: Literal["auto", "csv", "text"] = setting(
        "auto", "csv: quotes hold a field together; text: they are text (auto: text in .tsv, else csv)"
    )
    encoding: str = setting("utf-8", "encoding of text files")
    on_empty: Literal["error", "drop", "keep"] = setting(
        "error", "what to do when more than 1 % of the texts are empty"
    )
    on_no_label: Literal["error", "drop"] = setting("error", "labelled rows without a label: nothing, -, N/A, -1")
    on_uneven: Literal["error", "drop"] = setting(
        "error", "rows with more or fewer fields than the header, or labels that do not fit their words"
    )
    tag_scheme: TagScheme = setting(
        "auto", "how tags of words mark spans; iobes: also with other letters, as BIOLU; plain: they mark none"
    )
    span_offsets: Counted = setting(
        "characters", "what start and end of spans count; utf-16: as JavaScript, an emoji twice; bytes: of UTF-8"
    )
    label_ids_are_teacher_ids: bool = setting(False, "integer labels are the teacher's class ids, though it has names")
    max_length: Annotated[int, Field(gt=2, le=_MOST)] = setting(
        128, "word pieces a text (or pair) is cut to", common=True
    )


@dataclass(kw_only=True)
class TransferSettings:
    """Rows that are made to teach by the teacher's answers alone, as unlabelled text does."""

    __pydantic_config__ = STRICT

    augment: Literal["auto"] | Annotated[int, Field(ge=0, le=MOST_VARIANTS)] = setting(
        0, "rows made of each row; auto: by effort, classes", common=True
    )

    @property
    def variants(self) -> int:
        """The number: the plan of a run settles `auto`, and a job without students makes none."""
        return 0 if self.augment == "auto" else self.augment


def one_or_several(given: str | list[str]) -> str | list[str]:
    """One name as text, however it was given."""
    return given[0] if isinstance(given, list) and len(given) == 1 else given


def plain_name(model: str) -> str:
    """A folder's or hub name, the same for all its spellings.

    >>> plain_name("./teachers/a/"), plain_name("owner/name")
    ('teachers/a', 'owner/name')
    """
    return os.path.normpath(model)


@dataclass(kw_only=True)
class TeacherSettings:
    """The classifier to learn from."""

    __pydantic_config__ = STRICT

    model: Annotated[str | list[str], AfterValidator(one_or_several)] = setting(
        "", "a fine-tuned folder or hub name, or several, whose mean teaches; with `finetune`, a pretrained one"
    )
    finetune: TrainingSettings | None = setting(None, "fine-tune it first with these settings ({} for the defaults)")
    count: Annotated[int, Field(ge=1, le=MOST_TEACHERS)] = setting(
        1, "with `finetune`: so many teachers, of the seeds seed, seed + 1, ..., whose mean teaches"
    )
    patience_from: PositiveInt | str | None = setting(
        None, "of several teachers the one that gives layers and states, by number or name (default: the first)"
    )

    @property
    def models(self) -> list[str]:
        """The folder or hub name of each teacher; of fine-tuned ones, of the encoder that each is made of."""
        return [self.model] * self.count if isinstance(self.model, str) else list(self.model)

    @property
    def lead(self) -> int:
        """The index of the teacher that gives layers and states."""
        if isinstance(self.patience_from, str):
            return [plain_name(model) for model in self.models].index(plain_name(self.patience_from))
        return (self.patience_from or 1) - 1

    @property
    def encoder(self) -> str:
        """The model that gives layers and states, or the encoder that is fine-tuned."""
        return self.models[self.lead]


@dataclass(kw_only=True)
class AnnotationSettings:
    """How the teacher's answers are stored."""

    __pydantic_config__ = STRICT

    states_dtype: Literal["float16", "float32"] = setting("float16", "how the teacher's states are stored")
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "how the teacher computes; as in training")
    rows_per_shard: PositiveInt = setting(4096, "rows a file of annotated data")
    states_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = setting(
        1.0, "where words have tags: share of a row's word parts whose states are stored"
    )


LayerPairs = list[tuple[int, int]]
Start = Literal["spread", "first"] | list[int]
AUTO_START = "auto"  # several starts race on the development rows


@dataclass(kw_only=True)
class StudentSettings(LossSettings):
    """One student: its depth, where it starts, what it learns from."""

    __pydantic_config__ = STRICT

    name: str | None = setting(
        None, "unique name (default: METHOD-Lk-START, METHOD-Lk-w0.5-START; START may be an encoder)"
    )
    student: str | None = setting(None, "a pretrained encoder as the student, with its own tokenizer", common=True)
    method: Method = setting("pkd", "pkd: labels, logits, states; kd: labels, logits; ft: labels alone", common=True)
    layers: PositiveInt | None = setting(None, "depth (default: half the teacher's, of `student` all)", common=True)
    width: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = setting(
        1.0, "share of feed-forward neurons kept in each layer", common=True
    )
    layer_map: Literal["skip", "last"] | LayerPairs = setting(
        "skip", "skip, last, or pairs [student, teacher layer]", common=True
    )
    start: Literal["auto"] | Start | list[Start] = setting(
        "spread",
        "teacher layers copied: spread, first, a list; several or auto: the dev score chooses",
        common=True,
    )
    unlabelled: bool = setting(True, "learn from unlabelled text and augmented rows too (ft never does)")
    training: dict[str, Any] = setting({}, "training settings that differ for this student")


@dataclass(kw_only=True)
class EvaluationSettings:
    """What is measured, and how surely."""

    __pydantic_config__ = STRICT

    metric: Literal["auto"] | Metric = setting(
        "auto", "chooses the best epoch and start; auto: the task's, else by problem_type"
    )
    resamples: PositiveInt = setting(2000, "bootstrap resamples an interval is made from")
    confidence: Annotated[float, Field(gt=0, lt=1)] = setting(0.95, "of the intervals")
    examples: Annotated[int, Field(ge=0, le=_MOST)] = setting(50, "negative flips listed with their text")
    measure_speed: bool = setting(True, "time teacher and students side by side on the evaluated rows")


@dataclass(kw_only=True)
class SweepRange:
    """Numbers to draw from: the range of a swept key."""

    __pydantic_config__ = STRICT

    low: float = setting(0.0, "smallest value")
    high: float = setting(1.0, "largest value")
    log: bool = setting(False, "draw the logarithm evenly, as for learning rates")


@dataclass(kw_only=True)
class SweepSettings:
    """Which points `pkd sweep` tries, and how they share the machine."""

    __pydantic_config__ = STRICT

    grid: Literal["published"] | None = setting(
        None, "published: T × α × learning rate × β as tuned for the paper, 108 points"
    )
    keys: dict[str, Any] = setting({}, "key → list of values, or a range {low: 1e-5, high: 1e-4, log: true}")
    samples: PositiveInt = setting(10, "draws from the ranges, each crossed with every combination of the lists")
    early_stopping: Literal["none", "asha"] = setting("none", "asha: after each epoch only the best third goes on")
    cpus_per_trial: PositiveFloat = setting(1.0, "CPU cores a trial takes")
    gpus_per_trial: NonNegativeFloat | None = setting(
        None, "share of a GPU a trial takes, as 0.25 (default: a whole one where there are any)"
    )
    best_seeds: Annotated[int, Field(ge=2, le=_MOST)] = setting(5, "fresh seeds the best point is trained again with")


@dataclass(kw_only=True)
class BudgetSettings:
    """What a compressed classifier may cost and lose, and which shapes `pkd compress` tries."""

    __pydantic_config__ = STRICT

    latency: TimeText | None = setting(
        None, "at most so long for one text (median of the graph alone), as 3ms", common=True
    )
    latency_p95: TimeText | None = setting(None, "at most so long for 95 of 100 texts, one at a time", common=True)
    throughput: PositiveFloat | None = setting(
        None, "at least so many rows a second, at the best of the batch sizes", common=True
    )
    speed_up: PositiveFloat | None = setting(
        None, "at least so many times the teacher's speed in PyTorch, one text at a time", common=True
    )
    size: SizeText | None = setting(None, "at most so much on the disk, all files, as 20MB", common=True)
    max_drop: Annotated[float, Field(ge=-1, le=1)] | None = setting(
        None, "how far the metric may fall below the teacher's, a share", common=True
    )
    time: TimeText | None = setting(None, "end the search after so long with the best so far, as 2h", common=True)
    widths: Shares = setting([1.0, 0.5, 0.25], "shares of the feed-forward neurons to try", common=True)
    batch_sizes: Counts = setting([1, 8, 32], "rows a call, for the throughput", common=True)
    lengths: Lengths = setting(
        [], "time random word pieces of these lengths (default: the development rows)", common=True
    )
    threads: PositiveInt | None = setting(None, "cores to time on (default: all)", common=True)

    @property
    def milliseconds(self) -> float | None:
        """The most milliseconds of one text, the median."""
        return None if self.latency is None else 1000 * seconds_of(self.latency)

    @property
    def milliseconds_p95(self) -> float | None:
        """The most milliseconds of 95 of 100 texts."""
        return None if self.latency_p95 is None else 1000 * seconds_of(self.latency_p95)

    @property
    def bytes(self) -> int | None:
        """The most bytes of the exported folder."""
        return None if self.size is None else bytes_of(self.size)

    @property
    def seconds(self) -> float | None:
        """How long the search may take."""
        return None if self.time is None else seconds_of(self.time)
