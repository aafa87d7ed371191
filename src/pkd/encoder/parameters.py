"""How many parameters a classifier has, and where: depth makes the layers fewer, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from pkd.encoder.families import family_of


@dataclass(frozen=True)
class Parameters:
    """Parameters of a classifier by part; `head` is all that is neither embedding nor layer: pooler, norms, classes."""

    embeddings: int
    layers: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embeddings + self.layers + self.head


def parameters_of(model: PreTrainedModel) -> Parameters:
    """Count a classifier's parameters.

    Raises:
        TeacherError: if it is of no family that works.
    """
    layers = family_of(model.config).layers + "."
    embeddings = f"{model.base_model_prefix}.embeddings"
    counts = {"embeddings": 0, "layers": 0, "head": 0}
    for name, parameter in model.named_parameters():
        part = "layers" if name.startswith(layers) else "embeddings" if name.startswith(embeddings) else "head"
        counts[part] += parameter.numel()
    return Parameters(**counts)
