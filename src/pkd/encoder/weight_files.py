"""Check which files hold a model's weights: complete safetensors are read, any other format is named in an error.

Runs before transformers opens the folder, whose own error would only name one file that it tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pkd.errors import TeacherError

ADAPTER = "adapter_config.json"
_CONFIG = "config.json"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LFS = b"version https://git-lfs"  # the content of a pointer file, left by git without its LFS extension
_AGAIN = "Save the model again with `save_pretrained`, or copy it whole."
_SAFETENSORS_ONLY = "pkd reads safetensors only"
# other formats of weights, the likeliest first, and how to convert them to safetensors
_OTHER_FORMS = (
    (("pytorch_model*.bin",), "save it again with {again}"),
    (("tf_model*.h5", "*.h5"), "load it with transformers 4 (`from_tf=True`) and `save_pretrained` it"),
    (("flax_model*.msgpack", "*.msgpack"), "load it with transformers 4 (`from_flax=True`) and `save_pretrained` it"),
    (("*.gguf",), "take the folder that the file was made from; a GGUF has no classifier that could be trained"),
    (("*.onnx", "onnx/*.onnx", "openvino/*.xml"), "name the classifier that was exported, the folder with its weights"),
    (
        ("*.bin", "*.pt", "*.pth", "*.ckpt"),
        "load it into the model that it was made of and `save_pretrained` that",
    ),
)


def check_has_config(path: Path) -> None:
    """Refuse a file, and a folder without a model's configuration; the error says what is there instead.

    Raises:
        TeacherError: with what was found and, if known, what to do.
    """
    if (path / _CONFIG).is_file():
        return
    if not path.is_dir():
        raise TeacherError(f"{path.absolute()} is not a saved model: it is a file. Name the folder of one.")
    if _holds_adapter(path):
        raise TeacherError(adapter_sentence(str(path), alone=True))
    if found := _other_form(path):
        raise TeacherError(f"{path.absolute()} is not a saved model: it has no {_CONFIG}, and {found}")
    inside = ", ".join(sorted(child.name for child in path.iterdir())[:5])
    raise TeacherError(f"{path.absolute()} is not a saved model: it has no {_CONFIG} ({inside or 'it is empty'}).")


def check_weight_files(path: Path) -> None:
    """Refuse a folder with a configuration whose weights are missing, incomplete or of another format.

    Raises:
        TeacherError: with what was found, and what to do.
    """
    name = str(path)
    if "transformers_weights" in _read_json(path / _CONFIG):  # names another file, which transformers finds
        return
    if (path / _WHOLE).is_file():
        _check_files(path, [_WHOLE])
    elif (path / _INDEX).is_file():
        shards = _read_json(path / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise TeacherError(f"{path / _INDEX} is damaged: it does not map weights to files. {_AGAIN}")
        _check_files(path, sorted({str(shard) for shard in shards.values()}))
    elif _holds_adapter(path):
        raise TeacherError(adapter_sentence(name, alone=True))
    elif parts := sorted(file.name for file in path.glob("model-*-of-*.safetensors")):
        raise TeacherError(
            f"{name} holds weights in parts ({', '.join(parts[:3])}) without their index, {_INDEX}. {_AGAIN}"
        )
    elif found := _other_form(path):
        raise TeacherError(f"{name} cannot be used: {found}")
    else:
        others = ", ".join(sorted(file.name for file in path.glob("*.safetensors"))[:3])
        instead = f", only {others}, which is not the name that transformers looks for" if others else ""
        raise TeacherError(f"{name} holds no weights: {_WHOLE} is missing{instead}. {_AGAIN}")


def has_adapter(name: str) -> bool:
    """Whether a folder, or a hub repository that can be reached, holds an adapter."""
    path = Path(name)
    if path.exists():
        return _holds_adapter(path)
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        return find_adapter_config_file(name) is not None
    except Exception:  # loading the model itself will raise the network's error
        return False


def adapter_sentence(name: str, *, alone: bool) -> str:
    """An error sentence about an adapter: how to merge it into its model."""
    base = _read_json(Path(name) / ADAPTER).get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    merge = (
        f"merge the adapter and save the model, `AutoPeftModelForSequenceClassification.from_pretrained({name!r})"
        '.merge_and_unload().save_pretrained("merged")` with the library peft, and its tokenizer beside it'
    )
    if alone:
        return f"{name} holds an adapter{of} ({ADAPTER}) and no model: {merge}."
    return (
        f"{name} holds an adapter{of} ({ADAPTER}) beside its full weights, and only the full weights are read. If it "
        f"is not merged into them yet, {merge}."
    )


def _holds_adapter(path: Path) -> bool:
    return (path / ADAPTER).is_file() or any(path.glob("adapter_model.*"))


def _check_files(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    if missing := [name for name in names if not (path / name).is_file()]:
        raise TeacherError(
            f"{path} is incomplete: {', '.join(missing[:3])} is missing, {len(missing)} of {len(names)} weight files "
            f"that {_INDEX} names. {_AGAIN}"
        )
    for name in names:
        with (path / name).open("rb") as file:
            begin = file.read(len(_LFS))
        if not begin:
            raise TeacherError(f"{path / name} is empty (0 bytes). {_AGAIN}")
        if begin == _LFS:
            raise TeacherError(
                f"{path / name} is a pointer of Git LFS and no weights; `git lfs pull` in its repository fetches them."
            )


def _other_form(path: Path) -> str | None:
    """A phrase about the weights in another format than safetensors, and how to convert them; None if there are "
    "none."""
    for patterns, advice in _OTHER_FORMS:
        if found := sorted(file for pattern in patterns for file in path.glob(pattern) if file.is_file()):
            name = found[0].relative_to(path).as_posix()
            return f"its weights are in {name}. {_SAFETENSORS_ONLY}: {advice.format(again=_again(path))}."
    return None


def _again(path: Path) -> str:
    """The command that saves a folder's weights again, with the class that its configuration names."""
    architectures = _read_json(path / _CONFIG).get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    model = named if isinstance(named, str) and named.isidentifier() else "AutoModelForSequenceClassification"
    folder = str(path)
    return (
        f'`python -c "from transformers import {model} as Model; '
        f'Model.from_pretrained({folder!r}).save_pretrained({folder!r})"`'
    )


def _read_json(path: Path) -> dict[str, object]:
    """The values of a file; empty if it is missing or damaged, which callers report."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
