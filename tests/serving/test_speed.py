import datasets
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher
from pkd.data.encoding import encode
from pkd.serving.speed import measure_speed


def test_a_shallower_model_is_faster(rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    many = datasets.concatenate_datasets([rows] * 6)
    speeds = measure_speed(
        {"deep": make_teacher(layers=12), "shallow": make_teacher(layers=1)}, encode(many, tokenizer, 64)
    )
    assert speeds["shallow"] > speeds["deep"] > 0
