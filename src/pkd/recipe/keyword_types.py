"""The keywords of the public verbs, made by `python -m pkd.recipe.keyword_source`: not to be edited."""

# fmt: off

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from pkd.recipe.places import AnyPath


class DataKeywords(TypedDict, total=False):
    """Keys of `data`."""

    task: str | None
    """a benchmark's task, as sst2, rte or race; fills in the rest"""

    folder: AnyPath | None
    """the benchmark's own files (default: the hub)"""

    text_columns: Sequence[str] | str | None
    """column of the text (CoNLL: of the words), or two of a pair"""

    label_column: str | None
    """column of the label (CoNLL: a name or number)"""

    label_columns: Sequence[str] | str | None
    """multi-label: columns of 0 and 1"""

    label_sep: str | None
    """what parts several labels in one column (default: | or ; or ,)"""

    label_names: Sequence[str] | str | None
    """names of the classes in order: of integers from 0 on, of vectors of 0 and 1, of outputs called LABEL_0, ..."""

    problem_type: Literal["auto", "single_label_classification", "multi_label_classification", "binary_classification", "regression", "multiple_choice", "token_classification"] | None
    """auto: the teacher's, else by the labels"""

    column_names: Sequence[str] | str | None
    """names of the columns of files without a header"""

    sep: str | None
    """separator of CSV files, as '|' (default: , and a tab for .tsv)"""

    quotes: Literal["auto", "csv", "text"] | None
    """csv: quotes hold a field together; text: they are text (auto: text in .tsv, else csv)"""

    encoding: str | None
    """encoding of text files"""

    on_empty: Literal["error", "drop", "keep"] | None
    """what to do when more than 1 % of the texts are empty"""

    on_no_label: Literal["error", "drop"] | None
    """labelled rows without a label: nothing, -, N/A, -1"""

    on_uneven: Literal["error", "drop"] | None
    """rows with more or fewer fields than the header, or labels that do not fit their words"""

    tag_scheme: Literal["auto", "plain", "iob1", "iob2", "iobes"] | None
    """how tags of words mark spans; iobes: also with other letters, as BIOLU; plain: they mark none"""

    span_offsets: Literal["characters", "utf-16", "bytes"] | None
    """what start and end of spans count; utf-16: as JavaScript, an emoji twice; bytes: of UTF-8"""

    label_ids_are_teacher_ids: bool | None
    """integer labels are the teacher's class ids, though it has names"""

    max_length: int | None
    """word pieces a text (or pair) is cut to"""


class TransferKeywords(TypedDict, total=False):
    """Keys of `transfer`."""

    augment: int | Literal["auto"] | None
    """rows made of each row; auto: by effort, classes"""


class AnnotationKeywords(TypedDict, total=False):
    """Keys of `annotation`."""

    states_dtype: Literal["float16", "float32"] | None
    """how the teacher's states are stored"""

    rows_per_shard: int | None
    """rows a file of annotated data"""

    states_share: float | None
    """where words have tags: share of a row's word parts whose states are stored"""


class TrainingKeywords(TypedDict, total=False):
    """Keys of `training`."""

    precision: Literal["auto", "float32", "bfloat16"] | None
    """auto: bfloat16 where the hardware has it"""

    learning_rate: float | Literal["auto"] | None
    """peak; auto: by effort, classes and encoder"""

    num_train_epochs: float | Literal["auto"] | None
    """passes over the rows; auto: by effort and rows"""

    early_stopping_patience: int | Literal["auto", "none"] | None
    """end after so many epochs with no better development score, or none; auto: where a teacher's epochs are"""

    per_device_train_batch_size: int | None
    """rows a forward pass on each device"""

    gradient_accumulation_steps: int | None
    """forward passes an optimiser step"""

    weight_decay: float | None
    """weight decay of AdamW"""

    warmup_steps: float | None
    """linear warm-up: below 1 a share of all steps, else steps"""

    max_grad_norm: float | None
    """clip the gradient's norm to this; 0 never clips"""

    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] | None
    """after warm-up"""

    averaging: Literal["auto", "none", "ema", "swa"] | None
    """average the weights too, over the last tenth of steps (ema) or all of the last quarter (swa), and keep the better; auto: of a teacher ema, of a student by effort"""

    kept_epoch: Literal["auto", "best", "latest", "calibrated"] | None
    """by the development score: best, or the latest within a standard error of it, or within half of it the one of lowest cross-entropy (calibrated); auto: of a teacher calibrated, of a student by effort"""

    activation_checkpointing: bool | None
    """compute each layer again in the backward pass: less memory, 1.5 times as long, same weights"""

    deterministic: bool | None
    """torch's deterministic algorithms alone: on a GPU a killed training goes on to the same bits, slower"""

    save_steps: int | None
    """checkpoint every so many steps, besides each epoch's end"""

    logging_steps: float | None
    """log the loss terms: below 1 at such shares of all steps, else steps"""

    report_to: Sequence[str] | str | None
    """trackers of the Trainer, e.g. [tensorboard, trackio]"""


class StudentKeywords(TypedDict, total=False):
    """Keys of `students`."""

    temperature: float | Literal["auto"] | None
    """T that softens logits; auto: 4, of tags 1"""

    alpha: float | None
    """α, weight of L_DS, from 0 to 1; labels get 1 − α"""

    patience: float | None
    """share of the gradient for L_PT; it sets β (default: 0.1)"""

    beta: float | None
    """β, weight of L_PT (patience) instead of a share"""

    kd_reduction: Literal["mean", "sum"] | None
    """over classes in L_DS: sum (the textbook's) or mean (as the published α and T were tuned)"""

    pt_reduction: Literal["mean", "sum"] | None
    """over layers and units in L_PT: mean (as the published β was tuned) or sum (the paper's)"""

    normalize: bool | Literal["length", "none", "units"] | None
    """how L_PT compares states: brought to length 1, none: as they are, units: by each unit's deviation"""

    method: Literal["pkd", "kd", "ft"] | None
    """pkd: labels, logits, states; kd: labels, logits; ft: labels alone"""

    width: float | None
    """share of feed-forward neurons kept in each layer"""

    start: Sequence[int] | Sequence[Sequence[int] | Literal["spread", "first"]] | Literal["auto", "spread", "first"] | None
    """teacher layers copied: spread, first, a list; several or auto: the dev score chooses"""


class EvaluationKeywords(TypedDict, total=False):
    """Keys of `evaluation`."""

    metric: Literal["auto", "accuracy", "f1", "macro_f1", "micro_f1", "mcc", "pearson", "spearman", "span_f1", "word_accuracy"] | None
    """chooses the best epoch and start; auto: the task's, else by problem_type"""

    resamples: int | None
    """bootstrap resamples an interval is made from"""

    confidence: float | None
    """of the intervals"""

    examples: int | None
    """negative flips listed with their text"""

    measure_speed: bool | None
    """time teacher and students side by side on the evaluated rows"""


class BudgetKeywords(TypedDict, total=False):
    """Keys of `budget`."""

    latency: str | None
    """at most so long for one text (median of the graph alone), as 3ms"""

    latency_p95: str | None
    """at most so long for 95 of 100 texts, one at a time"""

    throughput: float | None
    """at least so many rows a second, at the best of the batch sizes"""

    speed_up: float | None
    """at least so many times the teacher's speed in PyTorch, one text at a time"""

    size: str | None
    """at most so much on the disk, all files, as 20MB"""

    max_drop: float | None
    """how far the metric may fall below the teacher's, a share"""

    time: str | None
    """end the search after so long with the best so far, as 2h"""

    widths: Sequence[float] | None
    """shares of the feed-forward neurons to try"""

    batch_sizes: Sequence[int] | None
    """rows a call, for the throughput"""

    lengths: Sequence[int] | None
    """time random word pieces of these lengths (default: the development rows)"""

    threads: int | None
    """cores to time on (default: all)"""


class DistillKeywords(DataKeywords, TransferKeywords, AnnotationKeywords, TrainingKeywords, StudentKeywords, EvaluationKeywords, total=False):
    """What `pkd.distill` takes besides its own parameters."""

    eval: AnyPath | None
    """development examples: choose the best epoch (default: a tenth of the training rows)"""

    test: AnyPath | None
    """held-out examples; nothing is selected on them"""

    unlabelled: AnyPath | Sequence[AnyPath] | None
    """text without labels; teaches without L_CE"""

    layers: int | None
    """depth (default: half the teacher's, of `student` all)"""

    layer_map: Sequence[tuple[int, int]] | Literal["skip", "last"] | None
    """skip, last, or pairs [student, teacher layer]"""

    student: AnyPath | None
    """a pretrained encoder as the student, with its own tokenizer"""

    name: str | None
    """name of the run (default: as its output folder, else as the recipe's file)"""

    effort: Literal["quick", "normal", "best"] | None
    """how much to spend on students; given keys win"""

    device: Literal["auto", "cpu", "cuda"] | None
    """where to compute; auto: a GPU if there is one"""

    seed: int | None
    """first seed; it also sets the order of the data"""

    seeds: int | None
    """repeat each student; one seed gives no verdict"""

    patience_from: int | str | None
    """of several teachers the one that gives layers and states, by number or name (default: the first)"""

    data: Mapping[str, Any] | None
    """the examples"""

    transfer: Mapping[str, Any] | None
    """what is made for the teacher to answer"""

    annotation: Mapping[str, Any] | None
    """how the teacher's answers are stored"""

    training: Mapping[str, Any] | None
    """how students are trained"""

    students: Sequence[Mapping[str, Any]] | None
    """the students"""

    evaluation: Mapping[str, Any] | None
    """what is measured"""


class CompressKeywords(DataKeywords, TransferKeywords, AnnotationKeywords, TrainingKeywords, StudentKeywords, EvaluationKeywords, BudgetKeywords, total=False):
    """What `pkd.compress` takes besides its own parameters."""

    train: AnyPath | None
    """training examples: CSV, TSV, JSONL, Parquet, CoNLL or hub name"""

    eval: AnyPath | None
    """development examples: choose the best epoch (default: a tenth of the training rows)"""

    test: AnyPath | None
    """held-out examples; nothing is selected on them"""

    unlabelled: AnyPath | Sequence[AnyPath] | None
    """text without labels; teaches without L_CE"""

    effort: Literal["quick", "normal", "best"] | None
    """how much to spend on students; given keys win"""

    device: Literal["auto", "cpu", "cuda"] | None
    """where to compute; auto: a GPU if there is one"""

    seed: int | None
    """first seed; it also sets the order of the data"""

    seeds: int | None
    """repeat each student; one seed gives no verdict"""

    data: Mapping[str, Any] | None
    """the examples"""

    transfer: Mapping[str, Any] | None
    """what is made for the teacher to answer"""

    annotation: Mapping[str, Any] | None
    """how the teacher's answers are stored"""

    training: Mapping[str, Any] | None
    """how students are trained"""

    students: Sequence[Mapping[str, Any]] | None
    """the students"""

    evaluation: Mapping[str, Any] | None
    """what is measured"""

    budget: Mapping[str, Any] | None
    """for `pkd compress`: what its result may cost, as {latency: 3ms}"""


class FinetuneKeywords(DataKeywords, TrainingKeywords, EvaluationKeywords, total=False):
    """What `pkd.finetune` takes besides its own parameters."""

    test: AnyPath | None
    """held-out examples; nothing is selected on them"""

    device: Literal["auto", "cpu", "cuda"] | None
    """where to compute; auto: a GPU if there is one"""

    seed: int | None
    """first seed; it also sets the order of the data"""


class AnnotateKeywords(DataKeywords, AnnotationKeywords, total=False):
    """What `pkd.annotate` takes besides its own parameters."""

    layer_map: Sequence[tuple[int, int]] | Literal["skip", "last"] | None
    """skip, last, or pairs [student, teacher layer]"""

    device: Literal["auto", "cpu", "cuda"] | None
    """where to compute; auto: a GPU if there is one"""


class AugmentKeywords(DataKeywords, total=False):
    """What `pkd.augment` takes besides its own parameters."""

    seed: int | None
    """first seed; it also sets the order of the data"""


class EvaluateKeywords(DataKeywords, EvaluationKeywords, total=False):
    """What `pkd.evaluate` takes besides its own parameters."""

    eval: AnyPath | None
    """development examples: choose the best epoch (default: a tenth of the training rows)"""

    device: Literal["auto", "cpu", "cuda"] | None
    """where to compute; auto: a GPU if there is one"""


class ExportKeywords(DataKeywords, EvaluationKeywords, total=False):
    """What `pkd.export` takes besides its own parameters."""
