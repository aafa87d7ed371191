"""Coverage-guided fuzzing of everything that reads a user's file: the recipe, and CSV, TSV and JSON lines.

Whatever the bytes are, a reader gives rows (a recipe) or raises an error of the `PKDError` family, whose message says
what to do. Any other exception is a finding: it is printed with its traceback, and its input is kept in `--findings`.
The first byte of an input chooses the settings it is read with, the rest is the file.

    pip install 'pkd[fuzz]'
    python -m benchmarks.fuzz csv --seconds 600          # csv, tsv, jsonl, recipe or set
    python -m benchmarks.fuzz csv findings/csv-1         # read one input again
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import atheris
import datasets  # noqa: F401 - heavy libraries are loaded before the instrumentation, which is for pkd's own code

with atheris.instrument_imports(include=["pkd", "ruamel.yaml"]):
    from pkd.data.examples import load_examples
    from pkd.data.sources import read_split
    from pkd.errors import PKDError
    from pkd.recipe.reading import read_recipe
    from pkd.recipe.settings import DataSettings

_LONGEST_INPUT = 4096  # bytes; the readers have no states that only a longer one could reach
_SLOWEST = 20  # seconds; a shorter input that takes longer is a finding
_SETTINGS: list[dict[str, Any]] = [
    {},
    {"on_empty": "drop", "on_uneven": "drop"},
    {"text_columns": ["text"], "label_column": "label", "on_empty": "keep", "on_uneven": "drop"},
    {"text_columns": ["a", "b"], "on_empty": "keep"},
    {"encoding": "utf-16"},
    {"encoding": "cp1252", "sep": ";"},
    {"column_names": ["text", "label"], "on_uneven": "drop", "on_empty": "keep"},
    {"label_columns": ["x", "y"], "on_empty": "drop", "on_uneven": "drop"},
    {"problem_type": "multi_label_classification", "label_sep": "|", "on_uneven": "drop"},
    {"problem_type": "regression", "on_empty": "drop"},
    {"problem_type": "multiple_choice", "on_empty": "drop"},
    {"label_names": ["no", "yes"]},
    {"max_length": 3, "on_empty": "keep"},
    {"encoding": "utf-8", "sep": "|", "on_uneven": "drop", "on_empty": "keep"},
]
_SEEDS: dict[str, list[bytes]] = {
    "csv": [
        b"text,label\na good film,positive\na bad film,negative\n",
        b'text,label\n"a ""good"" film,\nindeed",1\nbad,0\n',
        "text,label\ncafé 🎬 \u202eright to left\u202c e\u0301,1\n\0x,0\n".encode(),
        b"sentence1,sentence2,label\na,b,entailment\nc,d,not_entailment\n",
        b"id,text,label\n1,a,0.5\n2,b,1.25\n",
        b"text,x,y\na,1,0\nb,0,1\n",
        b"text,label\na,x|y\nb,y\n",
        "text,label\na,x\nb,y\n".encode("utf-16"),
    ],
    "tsv": [
        b"sentence\tlabel\na good film\t1\na bad film\t0\n",
        b'index\tsentence1\tsentence2\tlabel\n0\ta "b\tc\tentailment\n1\td\te\tnot_entailment\n',
        b"text\tlabel\nNA\tx\nnull\ty\n",
    ],
    "jsonl": [
        b'{"text": "a good film", "label": "positive"}\n{"text": "bad", "label": "negative"}\n',
        b'{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n',
        b'{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": []}\n',
        b'{"text": "a", "label": 0.5}\n{"text": "b", "label": 1e3}\n',
        b'{"article": "a", "question": "b _ ?", "choices": ["c", "d"], "answer": "A"}\n'
        b'{"article": "a", "question": "b ?", "choices": ["c", "d"], "answer": "B"}\n',
        b'{"text": "\\ud83c\\udfac \\ud83c", "label": null}\n',
        b'{"text": [[[[]]]], "label": {"a": {"b": 1}}}\n',
        b'{"text": "a", "label": true}\n{"text": "b", "label": NaN}\n{"text": "b", "label": 1e999}\n',
    ],
    "recipe": [
        b"teacher: {model: t}\ndata: {train: a.csv, eval: b.csv}\nstudents: [{layers: 6, beta: 100}]\nseeds: 3\n",
        b"teacher:\n  model: t\n  finetune: {num_train_epochs: 3}\ndata:\n  train: a.csv\n  test: c.csv\n"
        b"students:\n  - {layers: 3, layer_map: [[1, 3], [2, 9]], start: [[1, 2, 12], spread]}\n"
        b"training: {learning_rate: 5e-5}\n",
        b"teacher: {model: t}\ndata: {task: rte, folder: glue}\nsweep: {grid: published}\n",
        b"a: &a [1]\nb: *a\nc: !!int x\nd: !!python/object:os.system 1\ne: 2001-01-01\n? [x]\n: y\n",
        b"%YAML 1.1\n---\n<<: {a: 1}\nname: ../../x\n",
        b"sweep: {keys: {beta: [1, 2], learning_rate: {low: 1e-5, high: 1e-4, log: true}}, samples: 8}\n",
    ],
    "set": [b"students.0.beta=500", b"seeds=3", b"sweep={grid: published}", b"training.learning_rate=2e-5", b"a.b=[1"],
}  # fmt: skip
_WORDS = [
    "text", "label", "sentence", "sentence1", "sentence2", "label_columns", "choices", "answer", "question", "article",
    "teacher", "model", "finetune", "data", "train", "eval", "test", "unlabelled", "students", "layers", "layer_map",
    "start", "spread", "first", "skip", "last", "method", "student", "training", "annotation", "evaluation", "sweep",
    "pretrained", "grid", "published", "keys", "samples", "low", "high", "log", "seeds", "name", "output", "controls",
    "null", "true",
    "-100", "-1", "1e999", "nan", "NaN", "Infinity", "\\ud800", "\\u0000", "!!binary", "!!timestamp", "&a", "*a", "<<",
    "0x10", "2001-12-14t21:59:43.10-05:00", "''", '"', "\\xff\\xfe", "\\xef\\xbb\\xbf", "9" * 20, "1_000", "rte",
]  # fmt: skip


def read_examples(suffix: str) -> Callable[[bytes, Path], None]:
    """A target that reads a file of examples: as training rows, and as texts without labels."""

    def target(data: bytes, folder: Path) -> None:
        chosen = data[0] if data else 0
        path = folder / f"input.{suffix}"
        path.write_bytes(data[1:])
        settings = DataSettings(train=str(path), **_SETTINGS[chosen % len(_SETTINGS)])
        if chosen < 192:
            load_examples(settings, splits=("train",))
        else:
            read_split(str(path), "predict" if chosen % 2 else "unlabelled", settings)

    return target


def read_whole_recipe(data: bytes, folder: Path) -> None:
    """A target that reads a recipe file."""
    path = folder / "recipe.yaml"
    path.write_bytes(data[1:])
    read_recipe(path)


def read_override(data: bytes, folder: Path) -> None:
    """A target that reads `--set` beside a good recipe."""
    path = folder / "recipe.yaml"
    path.write_bytes(_SEEDS["recipe"][0])
    read_recipe(path, [data[1:].decode(errors="replace")])


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "csv": read_examples("csv"),
    "tsv": read_examples("tsv"),
    "jsonl": read_examples("jsonl"),
    "recipe": read_whole_recipe,
    "set": read_override,
}


class Findings:
    """What a target raised that is no error of the family, each place of it once."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.seen: set[tuple[str, int]] = set()

    def add(self, error: BaseException, data: bytes) -> None:
        """Keep an input and print its traceback, where this line has raised nothing before."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = (last.filename, last.lineno or 0)
        if place in self.seen:
            return
        self.seen.add(place)
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = self.folder / f"{self.name}-{len(self.seen)}"
        kept.write_bytes(data)
        print(f"FINDING {kept}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        traceback.print_exception(error)


def main() -> None:
    """Fuzz one target for a time, or read one input again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("input", nargs="?", type=Path, help="read this input alone")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    asked = parser.parse_args()
    target = TARGETS[asked.target]
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        if asked.input is not None:
            target(asked.input.read_bytes(), scratch)
            return
        findings = Findings(asked.target, asked.findings)
        corpus = scratch / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(_SEEDS[asked.target]):
            for chosen in range(len(_SETTINGS)):
                (corpus / f"{number}-{chosen}").write_bytes(bytes([chosen]) + seed)
        words = scratch / "words"
        words.write_text("".join(f'"{_quoted(word)}"\n' for word in _WORDS), encoding="utf-8")

        def one_input(data: bytes) -> None:
            try:
                target(data, scratch)
            except PKDError:
                pass
            except Exception as error:
                findings.add(error, data)

        options = [f"-max_total_time={asked.seconds}", f"-max_len={_LONGEST_INPUT}", f"-timeout={_SLOWEST}"]
        options += [f"-dict={words}", f"-artifact_prefix={asked.findings}/{asked.target}-", "-rss_limit_mb=8192"]
        asked.findings.mkdir(parents=True, exist_ok=True)
        atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
        atheris.Fuzz()


def _quoted(word: str) -> str:
    """A word as libFuzzer's dictionaries write it; those that begin with \\x are bytes already."""
    return word if word.startswith("\\x") else word.replace("\\", "\\\\").replace('"', '\\"')


if __name__ == "__main__":
    main()
