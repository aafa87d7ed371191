"""Which files hold a model's weights: whole ones in safetensors are read, and anything else is told by its name.

Asked of a folder before a library looks into it, whose own message would be about one file name that it tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pkd.errors import TeacherError

ADAPTER = "adapter_config.json"
_CONFIG = "config.json"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LFS = b"version https://git-lfs"  # what git leaves where its extension for large files is not installed
_AGAIN = "Save the model again with `save_pretrained`, or copy it whole."
_SAFETENSORS_ONLY = "pkd reads safetensors only"
# other forms of weights, the likeliest first, and how they become safetensors
_OTHER_FORMS = (
    (("pytorch_model*.bin",), "save it again with {again}"),
    (("tf_model*.h5", "*.h5"), "load it with transformers 4 (`from_tf=True`) and `save_pretrained` it"),
    (("flax_model*.msgpack", "*.msgpack"), "load it with transformers 4 (`from_flax=True`) and `save_pretrained` it"),
    (("*.gguf",), "take the folder that the file was made from; a GGUF has no classifier that could be trained"),
    (("*.onnx", "onnx/*.onnx"), "name the classifier that was exported, the folder with its weights"),
    (
        ("*.bin", "*.pt", "*.pth", "*.ckpt"),
        "load it into the model that it was made of and `save_pretrained` that",
    ),
)


def check_has_config(place: Path) -> None:
    """Refuse a file, and a folder without a model's configuration, by what is there instead.

    Raises:
        TeacherError: with what it is, and what to do where that is known.
    """
    if (place / _CONFIG).is_file():
        return
    if not place.is_dir():
        raise TeacherError(f"{place.absolute()} is not a saved model: it is a file. Name the folder of one.")
    if _holds_adapter(place):
        raise TeacherError(adapter_sentence(str(place), alone=True))
    if found := _other_form(place):
        raise TeacherError(f"{place.absolute()} is not a saved model: it has no {_CONFIG}, and {found}")
    inside = ", ".join(sorted(child.name for child in place.iterdir())[:5])
    raise TeacherError(f"{place.absolute()} is not a saved model: it has no {_CONFIG} ({inside or 'it is empty'}).")


def check_weight_files(place: Path) -> None:
    """Refuse a folder with a configuration whose weights are not there, not whole, or of another form.

    Raises:
        TeacherError: with what is there, and what to do.
    """
    name = str(place)
    if "transformers_weights" in _read_json(place / _CONFIG):  # a file of another name, which transformers finds
        return
    if (place / _WHOLE).is_file():
        _check_files(place, [_WHOLE])
    elif (place / _INDEX).is_file():
        shards = _read_json(place / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise TeacherError(f"{place / _INDEX} is damaged: it does not say which file holds which weights. {_AGAIN}")
        _check_files(place, sorted({str(shard) for shard in shards.values()}))
    elif _holds_adapter(place):
        raise TeacherError(adapter_sentence(name, alone=True))
    elif parts := sorted(path.name for path in place.glob("model-*-of-*.safetensors")):
        raise TeacherError(
            f"{name} holds weights in parts ({', '.join(parts[:3])}) without their index, {_INDEX}. {_AGAIN}"
        )
    elif found := _other_form(place):
        raise TeacherError(f"{name} cannot be used: {found}")
    else:
        others = ", ".join(sorted(path.name for path in place.glob("*.safetensors"))[:3])
        instead = f", only {others}, which is not the name that transformers looks for" if others else ""
        raise TeacherError(f"{name} holds no weights: {_WHOLE} is missing{instead}. {_AGAIN}")


def has_adapter(name: str) -> bool:
    """Whether a folder, or a repository of the hub that answers, holds an adapter."""
    place = Path(name)
    if place.exists():
        return _holds_adapter(place)
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        return find_adapter_config_file(name) is not None
    except Exception:  # whatever stands between here and the hub is told by what looks for the model itself
        return False


def adapter_sentence(name: str, *, alone: bool) -> str:
    """What to do with an adapter, which changes a model that lies elsewhere."""
    base = _read_json(Path(name) / ADAPTER).get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    merge = (
        f"merge the adapter and save the model, `AutoPeftModelForSequenceClassification.from_pretrained({name!r})"
        '.merge_and_unload().save_pretrained("merged")` with the library peft, and its tokenizer beside it'
    )
    if alone:
        return f"{name} holds an adapter{of} ({ADAPTER}) and no model: {merge}."
    return (
        f"{name} holds an adapter{of} ({ADAPTER}) beside its full weights, and the full weights alone are read. If it "
        f"is not merged into them yet, {merge}."
    )


def _holds_adapter(place: Path) -> bool:
    return (place / ADAPTER).is_file() or any(place.glob("adapter_model.*"))


def _check_files(place: Path, names: Iterable[str]) -> None:
    names = list(names)
    if missing := [name for name in names if not (place / name).is_file()]:
        raise TeacherError(
            f"{place} is not whole: {', '.join(missing[:3])} is missing, {len(missing)} of {len(names)} files of "
            f"weights that {_INDEX} names. {_AGAIN}"
        )
    for name in names:
        with (place / name).open("rb") as file:
            begin = file.read(len(_LFS))
        if not begin:
            raise TeacherError(f"{place / name} is empty (0 bytes). {_AGAIN}")
        if begin == _LFS:
            raise TeacherError(
                f"{place / name} is a pointer of Git LFS and no weights; `git lfs pull` in its repository fetches them."
            )


def _other_form(place: Path) -> str | None:
    """What else than safetensors holds weights in a folder, and how it becomes safetensors."""
    for patterns, advice in _OTHER_FORMS:
        if found := sorted(path for pattern in patterns for path in place.glob(pattern) if path.is_file()):
            told = found[0].relative_to(place).as_posix()
            return f"its weights are in {told}. {_SAFETENSORS_ONLY}: {advice.format(again=_again(place))}."
    return None


def _again(place: Path) -> str:
    """The command that writes a folder's weights anew, with the class that its configuration names."""
    architectures = _read_json(place / _CONFIG).get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    model = named if isinstance(named, str) and named.isidentifier() else "AutoModelForSequenceClassification"
    folder = str(place)
    return (
        f'`python -c "from transformers import {model} as Model; '
        f'Model.from_pretrained({folder!r}).save_pretrained({folder!r})"`'
    )


def _read_json(path: Path) -> dict[str, object]:
    """The values of a file; none where it is missing or damaged, which is told by whoever needs them."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
