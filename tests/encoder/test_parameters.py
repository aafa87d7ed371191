from __future__ import annotations

import pytest

from conftest import make_teacher
from encoder.families import CONFIGS, make_classifier
from pkd.encoder.parameters import parameters_of


def test_the_parts_of_a_tiny_bert_are_as_counted_by_hand() -> None:
    counted = parameters_of(make_teacher(layers=3))
    hidden, middle, words, positions = 16, 32, 31, 64
    assert counted.embeddings == hidden * (words + positions + 2 + 2)  # two token types, weight and bias of the norm
    attention = 4 * (hidden * hidden + hidden)
    a_layer = attention + hidden * middle + middle + middle * hidden + hidden + 4 * hidden
    assert counted.layers == 3 * a_layer
    assert counted.head == (hidden * hidden + hidden) + (hidden * 2 + 2)  # pooler and classes
    assert counted.total == sum(parameter.numel() for parameter in make_teacher(layers=3).parameters())


@pytest.mark.parametrize("family", list(CONFIGS))
def test_every_family_has_its_embeddings_and_layers_counted(family: str) -> None:
    model = make_classifier(family)
    counted = parameters_of(model)
    assert min(counted.embeddings, counted.layers, counted.head) > 0
    assert counted.embeddings >= model.get_input_embeddings().weight.numel()
    assert counted.total == sum(parameter.numel() for parameter in model.parameters())
