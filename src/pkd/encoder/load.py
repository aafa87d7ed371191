"""Load models, and check that they can be teachers or students before any row is processed.

All loading happens here: always float32, safetensors only, never remote code.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import EmptyTqdm, set_tqdm_hook

from pkd import progress
from pkd.data.match_names import match_names
from pkd.data.outputs import Outputs, config_values, outputs_of
from pkd.data.tokenize import fingerprint_tokenizer
from pkd.encoder.check_model import (
    check_attention,
    check_encoder_is_whole,
    check_numbers,
    check_tokenizer,
    check_weights,
    check_weights_are_used,
    relevant_weights,
)
from pkd.encoder.families import family_of, longest_input
from pkd.encoder.hub import check_model_name
from pkd.encoder.inference import tokenizer_for
from pkd.encoder.weight_files import adapter_sentence, check_weight_files, has_adapter
from pkd.errors import RecipeError, TeacherError, refuse_for_memory
from pkd.recipe.places import AnyPath, path_text
from pkd.recipe.spelling import named
from pkd.runs.fingerprint import fingerprint

_NO_ADAPTER = ".none"  # a folder without adapters: peft, if installed, would apply one to the full weights
_NOT_WEIGHTS = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
_NAMES = ("id2label", "label2id", "problem_type", "architectures")  # what a head is for, not how it computes
_bars = threading.RLock()  # without it one of two threads would restore the other's hook for good


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier, its tokenizer, and the name it was loaded by."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its outputs."""
        return self.outputs.label_names

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs of its head."""
        return outputs_of(self.model.config)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of model and tokenizer; cached, because hashing all weights is slow."""
        return {"model": fingerprint_model(self.model), "tokenizer": fingerprint_tokenizer(self.tokenizer)}


def load_teacher(name: AnyPath) -> LoadedClassifier:
    """Load a fine-tuned classifier from a folder or the hub.

    Raises:
        TeacherError: if it cannot be loaded, has no trained head, or its family is not supported.
        ResourceError: if the memory does not suffice.
    """
    return load_classifier(path_text(name, "teacher"), "teacher")


def load_classifier(name: str, role: str = "classifier") -> LoadedClassifier:
    """Load a fine-tuned classifier as `load_teacher` does; errors call it by its `role`."""
    loaded = _load(name, role)
    outputs, count = loaded.outputs, int(loaded.model.config.num_labels or 0)
    if outputs.kind.has_scores and count != 1:
        raise TeacherError(
            f"{name} has {count} output(s) and problem_type regression, which has one output. Correct its config.json."
        )
    return loaded


def with_outputs(loaded: LoadedClassifier, outputs: Outputs) -> LoadedClassifier:
    """Write `outputs` into the classifier's configuration, which its students inherit.

    Args:
        loaded: a classifier whose configuration may lack the kind of problem or class names.
        outputs: its outputs, as settled by the examples.
    """
    before = loaded.outputs
    same = (before.problem_type, before.output_names) == (outputs.problem_type, outputs.output_names)
    if same and (before.is_declared or len(before.output_names) > 1):  # several outputs: classes by default
        return loaded
    for key, value in config_values(outputs).items():
        setattr(loaded.model.config, key, value)
    return LoadedClassifier(loaded.model, loaded.tokenizer, loaded.name)


def load_pretrained(name: str, outputs: Outputs, **config: Any) -> LoadedClassifier:
    """Load a pretrained encoder and put a new head for `outputs` on it; `config` overrides its configuration.

    A head with as many outputs that it already has is kept, in the order of `outputs` if it has their names.

    Raises:
        TeacherError: if it cannot be loaded or its family is not supported.
    """
    loaded = _load(
        name,
        "encoder",
        num_labels=len(outputs.output_names),
        **config_values(outputs),
        model_class=getattr(transformers, outputs.kind.auto_class),
        **config,
    )
    of_head: Any = load_config(name).id2label or {}
    _order_head(loaded.model, [str(of_head[number]) for number in sorted(of_head, key=int)], outputs.output_names)
    return loaded


def _order_head(model: PreTrainedModel, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Bring the outputs of a head from the order of `names` into that of the same names in `wanted`, in place."""
    index_of = match_names(wanted, names)
    if not (len(names) == len(wanted) == len(index_of)):
        return
    order = [index_of[name] for name in wanted]
    linear = [each for each in model.modules() if isinstance(each, torch.nn.Linear) and each.out_features == len(names)]
    if order != sorted(order) and linear:  # the head stands after the encoder, and its outputs after what it pools
        with torch.no_grad():
            for parameter in linear[-1].parameters():
                parameter.copy_(parameter[order])


def untrained(config: PretrainedConfig, outputs: Outputs, *, weightless: bool = False) -> PreTrainedModel:
    """A classifier of a configuration's shape with a head for `outputs` and random weights, which are read nowhere.

    Nobody's random state changes. `weightless`, it has shapes alone and takes no memory: to be counted, not run.
    """
    config = copy.deepcopy(config)
    if outputs.output_names:
        for key, value in config_values(outputs).items():
            setattr(config, key, value)
    of_kind = getattr(transformers, outputs.kind.auto_class)
    with torch.random.fork_rng(), torch.device("meta") if weightless else contextlib.nullcontext():
        model: PreTrainedModel = of_kind.from_config(config, dtype=torch.float32)
    model.config.architectures = [type(model).__name__]
    return model


def load_tokenizer(name: str, config: PretrainedConfig, role: str = "encoder") -> PreTrainedTokenizerBase:
    """Load a model's tokenizer alone, giving what a model of this configuration takes.

    Raises:
        TeacherError: if it cannot be loaded.
    """
    return tokenizer_for(config, _read_tokenizer(name, role))


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Hide transformers' progress bars for loading and saving weights; the hub's download bars stay."""
    with _bars:
        before = set_tqdm_hook(lambda _, args, keywords: EmptyTqdm(*args, **keywords))  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            set_tqdm_hook(before)


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Hide transformers' report of weights that are missing or not used: what is wrong with them is checked here."""
    logger = logging.getLogger("transformers.modeling_utils")

    def is_other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def check_max_length(config: PretrainedConfig, max_length: int) -> None:
    """Check that the model's positions reach `max_length` word pieces.

    Raises:
        RecipeError: if they do not.
    """
    if max_length > (longest := longest_input(config)):
        raise RecipeError(
            f"{named('max_length')} is {max_length}, but this {config.model_type} model reads at most {longest} word "
            f"pieces. Give {longest} or less."
        )


def fingerprint_model(model: PreTrainedModel) -> str:
    """The sha256 of a model's weights and configuration, independent of where it is stored."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{data.dtype}:{tuple(data.shape)}:".encode())
        digest.update(data.flatten().view(torch.uint8).numpy().data if data.numel() else b"")
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_WEIGHTS}
    return fingerprint({"weights": digest.hexdigest(), "config": _plain(config)})


def shape_of(loaded: LoadedClassifier) -> str:
    """The sha256 of everything that determines a classifier's speed; equal for students that differ only in weights."""
    config = {key: value for key, value in loaded.model.config.to_dict().items() if key not in (*_NOT_WEIGHTS, *_NAMES)}
    return fingerprint({"config": _plain(config), "tokenizer": fingerprint_tokenizer(loaded.tokenizer)})


def count_parameters(model: PreTrainedModel) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def load_config(name: str, role: str = "encoder") -> PretrainedConfig:
    """Load a model's configuration alone.

    Raises:
        TeacherError: if it cannot be loaded or its family is not supported.
    """
    check_model_name(name, role)
    config: PretrainedConfig = _or_teacher_error(
        name, role, lambda: AutoConfig.from_pretrained(name, trust_remote_code=False)
    )
    try:
        family_of(config)
    except TeacherError as error:
        raise TeacherError(f"{name} cannot be the {role}. {error}") from error
    check_attention(name, config)
    check_numbers(name, config)
    return config


def _load(name: str, role: str, model_class: Any = None, **keywords: Any) -> LoadedClassifier:
    """Load a model as `model_class`, or with the kind of head that its configuration names."""
    config = load_config(name, role)
    if model_class is None:
        model_class = getattr(transformers, outputs_of(config).kind.auto_class)
    if (architectures := config.architectures or []) and config.is_encoder_decoder:
        raise TeacherError(f"{name} is a {architectures[0]}: an encoder with a classification head is needed.")
    tokenizer = _read_tokenizer(name, role)
    if Path(name).exists():
        check_weight_files(Path(name))
    if has_adapter(name):
        progress.warn(adapter_sentence(name, alone=False))
    with without_bars(), _without_report():
        model, info = _or_teacher_error(
            name,
            role,
            lambda: model_class.from_pretrained(
                name,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                adapter_kwargs={"subfolder": _NO_ADAPTER},
                **keywords,
            ),
        )
    if role != "encoder" and info["mismatched_keys"]:
        key, saved, wanted = sorted(info["mismatched_keys"])[0]
        raise TeacherError(
            f"{name}: the saved weights {key} have the shape {list(saved)}, but its config.json asks for "
            f"{list(wanted)} ({config.num_labels} labels). They do not belong together; `save_pretrained` it again."
        )
    check_tokenizer(name, tokenizer)
    check_weights(name, model, tokenizer)
    model.config.architectures = [type(model).__name__]  # some kinds of heads are told by it alone
    tokenizer = tokenizer_for(model.config, tokenizer)
    tokenizer.padding_side = "right"
    missing = {str(key) for key in info["missing_keys"]}
    check_encoder_is_whole(name, model, missing | {str(key) for key, *_ in info["mismatched_keys"]})
    if role != "encoder":
        check_weights_are_used(name, model, missing, relevant_weights(model, set(map(str, info["unexpected_keys"]))))
    return LoadedClassifier(model, tokenizer, name)


def _read_tokenizer(name: str, role: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = _or_teacher_error(
        name, role, lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    )
    return tokenizer


def _or_teacher_error(name: str, role: str, load: Any) -> Any:
    try:
        return load()
    except Exception as error:  # the hub, files and parsers raise many types
        refuse_for_memory(error, f"the {role} {name}")
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            text, hint = "it needs its own code, which pkd never runs", "Choose a model of a family in transformers."
        elif not Path(name).exists() and offline:
            hint = "It is no folder, and HF_HUB_OFFLINE is set, so the hub was not tried."
        elif not Path(name).exists() and has_adapter(name):
            raise TeacherError(adapter_sentence(name, alone=True)) from error
        elif not Path(name).exists() and "safetensors" in str(error):  # the hub's repository has another format
            hint = "pkd reads safetensors only: load it once with transformers and `save_pretrained` it."
        elif not Path(name).exists():
            hint = "It is no folder; for the hub check the name, the network, and `hf auth login` if it is gated."
        else:
            hint = "Save it again with `save_pretrained`."
        raise TeacherError(f"The {role} {name} cannot be loaded: {text} {hint}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
