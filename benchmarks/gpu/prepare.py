"""What a machine with a GPU and without a network lacks, as two parcels that travel with a copy of the repository.

`wheels.tar.xz` holds the wheels that such a machine needs beside torch, `data.tar.xz` the demo's encoder in float16,
its reviews, the training rows of SST-2 and a second data set. Both are written into a folder that git ignores, packed
tightly, for what can be carried is limited.

    python -m benchmarks.gpu.prepare --glue glue/ --data banking77/
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PARCELS = ".gpu"
WHEELS, DATA = "wheels.tar.xz", "data.tar.xz"

# For Python 3.12 on 64-bit Linux. The machine has torch, accelerate, safetensors, tokenizers, numpy, pandas, pyarrow,
# scikit-learn, scipy, rich, jinja2, filelock, charset-normalizer, lazy-loader, psutil, xxhash, tensorboard and
# onnxruntime; its transformers is older than what `pkd` needs (5.17 gives a model's hidden states another order).
_PYTHON = "3.12"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_PACKAGES = (
    "transformers", "datasets", "multiprocess", "dill", "pydantic", "pydantic_core", "annotated-types",
    "typing-inspection", "ruamel.yaml", "altair", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py",
    "typer", "narwhals", "lazy-loader",
)  # fmt: skip
_ROWS = {"unlabelled_rows": 2000, "train_rows": 4000, "eval_rows": 800, "test_rows": 1066}
_PHRASES = 67_349  # as many as SST-2 has


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glue", type=Path, help="GLUE's files; without them phrases cut from the demo's reviews")
    parser.add_argument("--data", type=Path, help="a folder with train.csv and test.csv, as banking77's")
    parser.add_argument("--output", type=Path, default=Path(PARCELS), help="folder of the parcels")
    parser.add_argument("--only", choices=["wheels", "data"], nargs="*", default=["wheels", "data"])
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        if "wheels" in given.only:
            _tell(_pack_wheels(_download(Path(place) / "wheels"), given.output / WHEELS))
        if "data" in given.only:
            _tell(_pack(_collect_data(Path(place) / "data", given.glue, given.data), given.output / DATA))


def _download(folder: Path) -> Path:
    """Download the wheels in the versions of constraints.txt; TextBrewer has no wheel and is built."""
    folder.mkdir()
    pip = [sys.executable, "-m", "pip"]
    named = _pinned(_PACKAGES)
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", _PYTHON,
         "--implementation", "cp", *platforms, "-d", str(folder), *named], check=True,
    )  # fmt: skip
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", str(folder), "textbrewer>=0.2.1"], check=True)
    return folder


def _pinned(packages: tuple[str, ...]) -> list[str]:
    """Each package with its version of constraints.txt, if it has one there."""
    text = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8")
    versions = {_normal(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}
    return [f"{name}=={versions[_normal(name)]}" if _normal(name) in versions else name for name in packages]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pack_wheels(folder: Path, path: Path) -> Path:
    """All wheels in one archive, each written without its own compression: together they are half as large."""
    with tarfile.open(path, "w:xz") as archive:
        for wheel in sorted(folder.glob("*.whl")):
            plain = io.BytesIO()
            with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as target:
                for item in source.infolist():
                    target.writestr(item, source.read(item), zipfile.ZIP_STORED)
            member = tarfile.TarInfo(wheel.name)
            member.size = plain.tell()
            plain.seek(0)
            archive.addfile(member, plain)
    return path


def _collect_data(folder: Path, glue: Path | None, data: Path | None) -> Path:
    from benchmarks.material import read_texts
    from pkd.data.demo import write_demo_data

    _write_encoder(folder / "encoder")
    write_demo_data(folder / "reviews", **_ROWS)
    (folder / "sst2").mkdir()
    if glue is not None:
        shutil.copy(glue / "SST-2" / "train.tsv", folder / "sst2" / "train.tsv")
    else:
        phrases = read_texts(None, _PHRASES)
        lines = [f"{text}\t{label}\n" for text, label in zip(phrases["text"], phrases["label"], strict=True)]
        (folder / "sst2" / "train.tsv").write_text("sentence\tlabel\n" + "".join(lines), encoding="utf-8")
    if data is not None:
        (folder / data.name).mkdir()
        for name in ("train.csv", "test.csv"):
            shutil.copy(data / name, folder / data.name / name)
    return folder


def _write_encoder(folder: Path) -> None:
    """The demo's encoder in half of its bytes; it is loaded as float32 all the same."""
    import torch
    from safetensors.torch import load_file, save_file

    from pkd.data.demo import demo_encoder_folder

    source = demo_encoder_folder()
    folder.mkdir(parents=True)
    for pattern in ("config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.txt"):
        for path in source.glob(pattern):
            shutil.copy(path, folder / path.name)
    tensors = load_file(source / "model.safetensors")
    halves = {name: value.to(torch.float16) if value.is_floating_point() else value for name, value in tensors.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})


def _pack(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        archive.add(folder, arcname=".")
    return path


def _tell(parcel: Path) -> None:
    print(f"{parcel}: {parcel.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
