"""The model card of an exported folder: the student's card, with the export and its measurements."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from math import prod
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.amounts import count_text, metric_title
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.runtimes import RUNTIME_TITLES
from pkd.tasks import SINGLE_LABEL, TaskKind, kind_of

_TITLES = {"onnx": "ONNX", "openvino": "OpenVINO"}
# the section in our own cards; a hand-written one is kept
_USE = re.compile(
    r"^## Use\n+```python\n(?:import torch\n)?from transformers import .*?(?=^Labels: |^## |\Z)",
    re.DOTALL | re.MULTILINE,
)
_BEGIN, _END = "<!-- pkd export: begin -->", "<!-- pkd export: end -->"


def exported_card(card: str | None, title: str, facts: Mapping[str, Any]) -> str:
    """The README.md of an exported folder.

    Args:
        card: the README.md of the exported classifier, if it has one.
        title: the folder's name, which the code examples use, from its parent folder.
        facts: the export's facts in the folder's manifest.

    Returns:
        The card with the hub's tags for its format and a section on the export instead of that on use in PyTorch; for a
        graph that answers otherwise, as int8, without the scores that the hub lists, which belong to the classifier.
    """
    kind = _kind(facts)
    tag, what = kind.pipeline_tag, "A text classifier."
    if kind.has_choices:
        what = "A model for questions with choices."
    if kind.has_tokens:
        what = "A tagger of words."
    plain = f"---\npipeline_tag: {tag}\n---\n\n# {title}\n\n{what}\n"
    parsed = ModelCard(card or plain, ignore_metadata_errors=True)
    data: Any = parsed.data
    data.library_name = facts["format"]
    data.pipeline_tag = data.pipeline_tag or tag
    tags = [facts["format"], "pkd"]
    if facts["format"] == "onnx":
        tags = ["onnx", "onnxruntime", *([] if kind.has_choices else ["transformers.js"]), "pkd"]
    data.tags = list(dict.fromkeys([*(data.tags or []), *tags]))
    if facts.get(facts["precision"]):  # its answers are not quite the classifier's
        data.eval_results = None
    parsed.text = _USE.sub("", parsed.text)
    text = re.sub(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", "", parsed.text, flags=re.DOTALL).strip()
    section = "\n".join([_BEGIN, *_section(facts, title), _END])
    heading = re.search(r"^## ", text, flags=re.MULTILINE)
    at = heading.start() if heading else len(text)
    body = f"{text[:at].rstrip()}\n\n{section}\n\n{text[at:]}".rstrip()
    return f"---\n{_yaml(data)}\n---\n\n{body}\n"


def _yaml(data: ModelCardData) -> str:
    return str(data.to_yaml()).strip()


def export_sentences(facts: Mapping[str, Any]) -> list[str]:
    """The measurements of an export, one sentence per figure."""
    parity, precision = facts["parity"], facts["precision"]
    largest = max(parity["shapes"], key=prod)
    sentences = [
        f"float32 graph: logits within {parity['largest_difference']:.1e} of PyTorch's over {len(parity['shapes'])} "
        f"shapes up to {' × '.join(map(str, largest))} word pieces ({parity['tolerance']:g} was allowed)."
    ]
    if calibrated := facts.get("calibrated"):
        sentences.append(
            f"{precision}: the ranges of activations are those of {calibrated['rows']:,} texts of {calibrated['on']}."
        )
    if change := facts.get(precision):
        rows = f"{'the words of ' * _kind(facts).has_tokens}{change['rows']:,} rows of {change['on']}"
        agreed = f"{change['agreement']:.2%} of the answers to {rows} stay the same"
        scores = "the rows have no labels"
        if change["metric"]:
            scores = f"{metric_title(change['metric'])} {change['before']:.4f} → {change['after']:.4f}"
        blind = blind_words(BlindSpots(**change["blind_spots"]), change["rows"])
        sentences.append(f"{precision}: {agreed}; {scores}.{f' It {blind}.' if blind else ''}")
        if alone := change.get("alone"):
            scores = f", {metric_title(change['metric'])} {alone['after']:.4f}" if change["metric"] else ""
            sentences.append(
                f"{precision}, one text at a time: {alone['agreement']:.2%} of {alone['rows']:,} answers stay the same"
                f"{scores}. Against the same texts in batches {alone['differ']:,} answers differ; a text's neighbours "
                f"move its probabilities by {alone['median']:.2g} in the median and {alone['largest']:.2g} at most."
            )
    return sentences


def _kind(facts: Mapping[str, Any]) -> TaskKind:
    return kind_of(facts.get("problem_type", SINGLE_LABEL.name))


def _section(facts: Mapping[str, Any], folder: str) -> list[str]:
    place = shlex.quote(f"./{folder}")  # so that a name that begins with a dash is not read as a flag
    name = json.dumps(folder, ensure_ascii=False)
    kind = _kind(facts)
    asked, takes = "a text", "- The graph takes [rows, word pieces], any number of each."
    if kind.has_choices:
        asked = '{"question": "who is _ ?", "choices": ["he", "she"], "context": "a text"}'
        takes = "- The graph takes [rows, choices, word pieces], any number of each."
    others = "- transformers.js has no such models."
    if facts["format"] != "onnx":
        others = "- OpenVINO alone reads it: `openvino.Core().read_model` of the .xml."
    elif not kind.has_choices:
        others = (
            f"- transformers.js reads it as it is: with `env.localModelPath = '.'`, `pipeline('{kind.pipeline_tag}', "
            f"{name})`."
        )
    return [
        f"## This folder: {_TITLES[facts['format']]}, {facts['precision']}",
        "",
        f"Exported by `pkd export` (ONNX opset {facts['opset']}, {facts['layers']} layer{'s' * (facts['layers'] > 1)}, "
        f"{count_text(sum(facts['parameters'].values()))} parameters, {facts['bytes'] / 1e6:.1f} MB). "
        f"{RUNTIME_TITLES[facts['format']]} serves it alone:",
        "",
        "```bash",
        f"pkd predict {place} '{asked}'      # or: pkd serve {place}",
        "```",
        "",
        *(f"- {sentence}" for sentence in export_sentences(facts)),
        takes,
        others,
    ]
