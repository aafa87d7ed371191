import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoder.families import make_classifier
from pkd.encoder.vocabulary import occurring_only

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0], [2, 4, 4, 3, 0]])
MASK = (IDS != 0).long()


def occurring(model: Any) -> np.ndarray:
    occurs = np.zeros(model.get_input_embeddings().num_embeddings, dtype=bool)
    occurs[IDS.unique().numpy()] = True
    return occurs


def optimizer_of(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def learn(model: Any, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)
        model(input_ids=IDS, attention_mask=MASK).logits.logsumexp(-1).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def same_weights(one: Any, other: Any) -> None:
    expected = other.state_dict()
    assert one.state_dict().keys() == expected.keys()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "xlm-roberta", "electra", "distilbert", "mpnet", "deberta-v2", "modernbert"]
)
def test_what_is_learned_is_what_the_whole_embedding_learns(kind: str) -> None:
    whole = make_classifier(kind).double().eval()
    narrow = copy.deepcopy(whole)
    start = whole.get_input_embeddings().weight.detach().clone()
    learn(whole, optimizer_of(whole), 4)
    with occurring_only(narrow, occurring(narrow)) as words:
        assert words is not None
        assert len(words.weight) < words.row.numel()
        optimizer = optimizer_of(narrow)
        words.follow(optimizer)
        learn(narrow, optimizer, 4)
        same_weights(narrow, whole)  # inside the block they are saved as ever
    same_weights(narrow, whole)
    learnt = narrow.get_input_embeddings().weight
    never = torch.from_numpy(~occurring(narrow))
    assert not torch.equal(learnt[never], start[never])  # weight decay reaches the words that stand nowhere


def test_words_that_stand_nowhere_are_read_where_nothing_is_learned() -> None:
    model = make_classifier("bert").eval()
    unseen = torch.tensor([[2, 11, 12, 3]])
    with torch.no_grad():
        expected = model(input_ids=unseen).logits
    with occurring_only(model, occurring(model)), torch.no_grad():
        torch.testing.assert_close(model(input_ids=unseen).logits, expected)
    with occurring_only(model, occurring(model)), pytest.raises(IndexError):  # to learn it would change what is learned
        model(input_ids=unseen)


def test_a_model_is_saved_and_loaded_as_ever(tmp_path: Path) -> None:
    model = make_classifier("bert")
    with occurring_only(model, occurring(model)) as words:
        words.decay = 0.5
        model.save_pretrained(tmp_path)
        expected = words.whole_weight()
        other = copy.deepcopy(model)
        words.rest = words.rest + 1
        model.load_state_dict(other.state_dict())
        assert words.decay == 1.0
        torch.testing.assert_close(words.whole_weight(), expected)
    loaded = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.get_input_embeddings().weight, expected)


def test_an_embedding_most_of_which_occurs_stays_whole() -> None:
    model = make_classifier("bert")
    with occurring_only(model, np.ones(model.config.vocab_size, dtype=bool)) as words:
        assert words is None


def test_an_embedding_that_is_frozen_stays_as_it_is() -> None:
    model = make_classifier("bert")
    model.get_input_embeddings().weight.requires_grad_(False)
    with occurring_only(model, occurring(model)) as words:
        assert words is None
    assert not model.get_input_embeddings().weight.requires_grad
