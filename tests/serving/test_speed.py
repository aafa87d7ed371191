import datasets
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher
from pkd.data.tokenize import encode
from pkd.serving.speed import measure_speed, parts_of_rows


def test_a_shallower_model_is_faster(rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    many = encode(datasets.concatenate_datasets([rows] * 6), tokenizer, 64)
    parts = {
        "deep": parts_of_rows(make_teacher(layers=12), many),
        "shallow": parts_of_rows(make_teacher(layers=1), many),
    }
    speeds = measure_speed(parts, len(many))
    assert speeds["shallow"] > speeds["deep"] > 0
