"""Check a model for faults that transformers loads silently and that fail later.

Every check raises a TeacherError that names the model and what to do.
"""

from __future__ import annotations

import math
import re
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from pkd.data.batches_by_length import LEAST_LENGTH
from pkd.encoder.families import depth_of, family_of
from pkd.errors import TeacherError

# attention implemented by torch or transformers; transformers downloads the code of any other
ATTENTION = ("sdpa", "eager", "flex_attention")
# recomputed whenever a model is built, or read only by a loss
_HARMLESS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq)$|(^|\.)(loss|loss_fct|loss_fn|criterion|class_weights?|pos_weight)(\.|$)"
)
_MOST_LAYERS = 1000  # far more than any encoder has; building more takes hours before the weights are missed


def check_attention(name: str, config: PretrainedConfig) -> None:
    """Refuse a configuration with another attention: transformers would download its code and run it."""
    asked: Any = config._attn_implementation
    if asked is not None and asked not in ATTENTION:
        raise TeacherError(
            f"{name}: its config.json sets the attention {asked!r}; pkd does not run a model's own code, only "
            f"{', '.join(ATTENTION)}. Remove the key from config.json."
        )


def check_numbers(name: str, config: PretrainedConfig) -> None:
    """Refuse numbers that transformers accepts but that later cause a crash, an endless wait or NaN."""
    depth, pad = family_of(config).depth, config.pad_token_id
    wrong = [key for key, value in config.to_dict().items() if isinstance(value, float) and not math.isfinite(value)]
    wrong += [depth] * (not 1 <= depth_of(config) <= _MOST_LAYERS)
    wrong += ["pad_token_id"] * (pad is not None and pad < 0)
    if wrong:
        found = ", ".join(f"{key} {getattr(config, key)}" for key in wrong)
        raise TeacherError(f"{name}: its config.json has {found}, which no model can have. Fix it, or save it again.")


def check_encoder_is_whole(name: str, model: PreTrainedModel, absent: set[str]) -> None:
    """Refuse weights of another architecture: transformers would initialise the encoder at random and only log it."""
    prefix = f"{model.base_model_prefix}."
    if of_encoder := sorted(key for key in absent if key.startswith(prefix) and ".pooler." not in key):
        raise TeacherError(
            f"{name} does not fit its config.json (model_type {model.config.model_type}): {len(of_encoder)} weights of "
            f"the encoder are missing or have another shape, among them {of_encoder[0]}. Use the folder that "
            "`save_pretrained` made of the whole model."
        )


def check_weights_are_used(name: str, model: PreTrainedModel, missing: set[str], unused: set[str]) -> None:
    """Refuse a teacher saved with other weights than its class reads: its logits would be another model's."""
    kind = type(model).__name__
    if any(".lora_" in key or ".base_layer." in key for key in unused):
        raise TeacherError(
            f"{name} is saved with an adapter in it ({_few(unused)}): merge the adapter (`merge_and_unload` of peft) "
            "and save the model."
        )
    head = {key for key in unused if not re.search(r"(^|\.)pooler\.", key)}  # a bare encoder of some families has one
    if head and missing:
        raise TeacherError(
            f"{name} has its own head ({_few(head)}), not that of {kind} ({_few(missing)}). pkd does not run a "
            "model's own code; fine-tune its encoder with a head of transformers (`pkd finetune`)."
        )
    if unused and not missing:
        raise TeacherError(
            f"{name} is saved with weights that {kind} does not use: {_few(unused)}. Without them it does not predict "
            "as it was trained to, and pkd does not run a model's own code; fine-tune its encoder with a head of "
            "transformers (`pkd finetune`), or save the model without them if nothing needs them."
        )
    if missing:
        raise TeacherError(
            f"{name} is not fine-tuned: its classification head ({_few(missing)}) is not among the saved weights. "
            "Fine-tune it first (`pkd finetune`), or set teacher.finetune in a recipe."
        )


def relevant_weights(model: PreTrainedModel, keys: set[str]) -> set[str]:
    """The unread weights that the logits may depend on: `keys` without the harmless ones."""
    left_behind = family_of(model.config).pretrained_with
    return {key for key in keys if not key.startswith(left_behind) and not _HARMLESS.search(key)}


def _few(keys: set[str]) -> str:
    first = sorted(keys)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")


def check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer without a vocabulary, or one that does not put [CLS] first."""
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # transformers builds this if none is saved
        raise TeacherError(
            f"{name} has no tokenizer: no vocabulary is saved beside the model (tokenizer.json, vocab.txt or similar). "
            "Save the tokenizer that the model was trained with into the same folder (`tokenizer.save_pretrained`)."
        )
    longest: Any = tokenizer.model_max_length
    if not isinstance(longest, int) or longest < LEAST_LENGTH:
        raise TeacherError(
            f"{name}: model_max_length in its tokenizer_config.json is {longest!r}; it must be a whole number of word "
            f"pieces, {LEAST_LENGTH} or more. Write the length that the model was trained with."
        )
    cls = tokenizer.cls_token_id
    if cls is None or tokenizer("a")["input_ids"][:1] != [cls]:
        raise TeacherError(
            f"{name}: its tokenizer does not put the class token ({tokenizer.cls_token or '[CLS]'}) before a text, so "
            "there is no [CLS] state. Save the tokenizer that the model was trained with (its post_processor adds it)."
        )


def check_weights(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse weights that are not finite, and embeddings of fewer word pieces than the tokenizer has."""
    rows: int = model.get_input_embeddings().num_embeddings  # type: ignore[assignment]
    if len(tokenizer) > rows:
        raise TeacherError(
            f"{name}: the tokenizer has {len(tokenizer):,} word pieces, but the model embeds {rows:,}. "
            "They do not belong together; save the tokenizer the model was trained with beside it."
        )
    for key, tensor in model.state_dict().items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        if not all(map(math.isfinite, tensor.aminmax())):  # aminmax propagates NaN; 20 times as fast
            raise TeacherError(f"{name}: the weights {key} hold values that are not finite. The model is damaged.")
