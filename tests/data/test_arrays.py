import datasets
import numpy as np
import pytest

from pkd.data.arrays import column_array, column_values


@pytest.fixture
def rows() -> datasets.Dataset:
    features = datasets.Features(
        {
            "length": datasets.Value("int32"),
            "logits": datasets.List(datasets.Value("float32"), length=2),
            "text": datasets.Value("string"),
        }
    )
    data = {
        "length": list(range(25)),
        "logits": [[row, -row] for row in range(25)],
        "text": [None if row == 3 else f"text {row}" for row in range(25)],
    }
    return datasets.Dataset.from_dict(data, features=features)


def test_a_column_is_read_in_the_order_of_the_rows_also_when_shuffled_selected_and_put_together(
    rows: datasets.Dataset,
) -> None:
    mixed = datasets.concatenate_datasets([rows.shuffle(seed=1).select(range(10)), rows.select(range(5))])
    np.testing.assert_array_equal(column_array(mixed, "length"), [row["length"] for row in mixed])
    np.testing.assert_array_equal(column_array(mixed, "logits"), [row["logits"] for row in mixed])
    assert list(column_values(mixed, "text")) == [row["text"] for row in mixed]


def test_values_come_piece_by_piece_as_they_stand(rows: datasets.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkd.data.arrays._CHUNK_ROWS", 4)
    assert list(column_values(rows, "text")) == rows["text"][:]
    assert len(column_array(rows.select([]), "length")) == 0
