"""The jobs that are killed, on a tiny BERT with dropout: their data, and every file that they leave as a digest."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.killing import CHECKPOINTS

SAVE_STEPS = 2
JOBS = {
    "run": ["run", "recipe.yaml"],
    "distill": [
        "distill", "--teacher", "../data/classifier", "--train", "../data/train.csv", "--eval", "../data/dev.csv",
        "--output", "student", "--layers", "2", "--max-length", "32", "--num-train-epochs", "2", "--learning-rate",
        "1e-3", "--precision", "float32", "--set", "training.device=cpu", "--set", f"training.save_steps={SAVE_STEPS}",
        "--set", "evaluation.resamples=50", "--set", "evaluation.measure_speed=false",
    ],
    "export": [
        "export", "../data/classifier", "--output", "exported", "--int8", "--eval", "../data/dev.csv",
        "--max-drop", "1", "--min-agreement", "0",
    ],
}  # fmt: skip
_OUTPUTS = ("run", "student.work", "student", "exported")
_RECIPE = """
output: run
teacher: {model: ../data/encoder, finetune: {num_train_epochs: 3, save_steps: SAVE, learning_rate: 1.0e-3,
          per_device_train_batch_size: BATCH, device: cpu, precision: float32}}
data: {train: ../data/train.csv, eval: ../data/dev.csv, test: ../data/test.csv, unlabelled: [../data/more.txt],
       max_length: 32}
students: [{layers: 2}]
training: {num_train_epochs: 3, save_steps: SAVE, learning_rate: 1.0e-3, per_device_train_batch_size: BATCH,
           device: cpu, precision: float32, logging_steps: 3}
annotation: {rows_per_shard: 32}
evaluation: {resamples: 50, measure_speed: false}
controls: CONTROLS
"""
_WALL_TIMES = {"train_seconds", "rows_per_second", "created", "hardware"}


def begin_job(place: Path, name: str) -> Path:
    """A new folder for a job, with its recipe; the data lie beside it."""
    folder = place / name
    folder.mkdir()
    shutil.copy(place / "data" / "recipe.yaml", folder)
    return folder


def compare(one: dict[str, str], other: dict[str, str]) -> Iterator[str]:
    """What differs between the digests of two jobs."""
    for name in sorted(one.keys() | other.keys()):
        if name not in other:
            yield f"{name} is missing"
        elif name not in one:
            yield f"{name} is too much"
        elif one[name] != other[name]:
            yield f"{name} differs"


def digest_of(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a job, and of its trainings' last checkpoints, wall times set equal.

    Report and cards are made of the records: they must be those that these records make, and, once the records have
    equal wall times, the same bytes.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return _digest_of(folder, Path(temporary))


def _digest_of(folder: Path, scratch: Path) -> dict[str, str]:
    for name in _OUTPUTS:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, scratch / name)
    stale = {path.relative_to(scratch).as_posix() for path in _set_times_equal(scratch)}
    checkpoints = folder / "record" / CHECKPOINTS
    digests = {}
    for path in sorted([*scratch.rglob("*"), *checkpoints.rglob("*")]):
        name = path.relative_to(scratch if path.is_relative_to(scratch) else checkpoints).as_posix()
        if path.is_dir():
            digests[name] = "a folder"
            continue
        data = path.read_bytes()
        if path.name in ("manifest.json", "training_state.json"):
            data = json.dumps(_timeless(json.loads(data))).encode()
        digests[name] = hashlib.sha256(data).hexdigest() + (" but stale" if name in stale else "")
    return digests


def _set_times_equal(place: Path) -> list[Path]:
    """Make the reports and cards of all runs in a place anew, of records without times; which were not of theirs."""
    from pkd.jobs.report import report
    from pkd.reporting.card import model_card
    from pkd.reporting.results import best_student, read_results

    stale = []
    for run in [place / name for name in ("run", "student.work") if (place / name).is_dir()]:
        student = run.with_suffix("") / "README.md"  # of `pkd distill` the copy of its best student
        cards = [*run.glob("students/*/README.md"), run / "report.html", *([student] if student.is_file() else [])]
        written = {path: path.read_bytes() for path in cards}
        for timeless in (False, True):
            if timeless:
                stale += [path for path, data in written.items() if path.read_bytes() != data]
                lines = (run / "results.jsonl").read_text(encoding="utf-8").splitlines()
                records = [json.dumps(_timeless(json.loads(line))) + "\n" for line in lines]
                (run / "manifest.json").unlink()
                (run / "results.jsonl").write_text("".join(records))
            report(run)
            if student.is_file():
                student.write_text(model_card(found := read_results(run), best_student(found)), encoding="utf-8")
        (run / "manifest.json").unlink()  # it holds the hashes of the two
    return stale


def _timeless(value: Any) -> Any:
    """A JSON value with its wall times, and the hashes of what holds them, set equal."""
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_manifest = {"kind", "inputs", "files"} <= value.keys()
    is_timed_file = value.get("name") in ("training_state.json", "manifest.json")
    plain = {key: _timeless(each) for key, each in value.items()}
    for key in plain.keys() & _WALL_TIMES:
        if isinstance(plain[key], str) and key != "created":  # the device that a figure was measured on
            continue
        plain[key] = {} if key == "hardware" else "2000-01-01T00:00:00+00:00" if key == "created" else 1.0
    if is_manifest or is_timed_file:
        plain.pop("sha256", None)
    if is_timed_file:
        plain.pop("bytes", None)
    return plain


def make_data(folder: Path, processes: int, *, controls: bool) -> None:
    """A tiny encoder with dropout, a classifier, their tokenizer, and reviews that can be learnt from."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    folder.mkdir()
    words = {"good": ["good", "great", "fine"], "bad": ["bad", "dull", "weak"]}
    filler = ["the", "a", "film", "plot", "was", "is", "very", "quite", "and", "with"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words["good"], *words["bad"], *filler]
    backend = Tokenizer(models.WordPiece({word: place for place, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"], model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    BertModel(config).save_pretrained(folder / "encoder")
    BertForSequenceClassification(copy.deepcopy(config)).save_pretrained(folder / "classifier")
    for name in ("encoder", "classifier"):
        tokenizer.save_pretrained(folder / name)
    chance = random.Random(0)

    def review(label: str) -> str:
        said = [chance.choice(filler) for _ in range(chance.randint(3, 12))]
        said.insert(chance.randrange(len(said)), chance.choice(words[label]))
        return " ".join(said)

    for name, rows in (("train", 130), ("dev", 40), ("test", 40)):
        lines = [f"{review(label)},{label}" for label in (chance.choice(["good", "bad"]) for _ in range(rows))]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines, ""]))
    (folder / "more.txt").write_text("".join(f"{review(chance.choice(['good', 'bad']))}\n" for _ in range(30)))
    values = {"BATCH": 32 // processes, "SAVE": SAVE_STEPS, "CONTROLS": str(controls).lower()}
    recipe = _RECIPE
    for name, value in values.items():
        recipe = recipe.replace(name, str(value))
    (folder / "recipe.yaml").write_text(recipe)
