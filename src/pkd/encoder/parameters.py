"""Count a classifier's parameters by part: a smaller depth reduces only the layers."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from pkd.encoder.families import family_of


@dataclass(frozen=True)
class Parameters:
    """Parameters of a classifier by part; `head` is everything else: pooler, norms, classification layer."""

    embeddings: int
    layers: int
    head: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.embeddings + self.layers + self.head


def parameters_of(model: PreTrainedModel) -> Parameters:
    """Count a classifier's parameters.

    Raises:
        TeacherError: if its family is not supported.
    """
    layers = family_of(model.config).layers + "."
    embeddings = f"{model.base_model_prefix}.embeddings"
    counts = {"embeddings": 0, "layers": 0, "head": 0}
    for name, parameter in model.named_parameters():
        part = "layers" if name.startswith(layers) else "embeddings" if name.startswith(embeddings) else "head"
        counts[part] += parameter.numel()
    return Parameters(**counts)
