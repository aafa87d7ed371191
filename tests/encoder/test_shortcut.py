import copy

import pytest
import torch

from encoder.families import make_classifier
from pkd.encoder.shortcut import cls_only

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0], [2, 4, 4, 3, 0]])
MASK = (IDS != 0).long()


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "camembert", "electra"])
def test_logits_and_gradients_are_those_of_the_whole_layer(kind: str) -> None:
    whole = make_classifier(kind).double()
    short = copy.deepcopy(whole)
    expected = whole(input_ids=IDS, attention_mask=MASK, output_hidden_states=[3])
    expected.logits.logsumexp(-1).sum().backward()
    with cls_only(short):
        output = short(input_ids=IDS, attention_mask=MASK, output_hidden_states=[3])
    output.logits.logsumexp(-1).sum().backward()
    torch.testing.assert_close(output.logits, expected.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(output.hidden_states[3], expected.hidden_states[3], rtol=1e-12, atol=1e-12)
    gradients = dict(short.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_only_cls_passes_through_the_last_layer_and_only_inside_the_block() -> None:
    model = make_classifier("bert")
    with cls_only(model):
        with cls_only(model):
            pass
        assert model.bert(input_ids=IDS).last_hidden_state.shape[1] == 1
    assert model.bert(input_ids=IDS).last_hidden_state.shape[1] == 5


@pytest.mark.parametrize("kind", ["distilbert", "mpnet", "deberta-v2", "modernbert"])
def test_other_families_stay_whole(kind: str) -> None:
    model = make_classifier(kind)
    expected = model(input_ids=IDS, attention_mask=MASK).logits
    with cls_only(model):
        torch.testing.assert_close(model(input_ids=IDS, attention_mask=MASK).logits, expected)
