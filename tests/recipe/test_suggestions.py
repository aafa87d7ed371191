"""An unknown key is told with what was probably meant, looked for where it was written first."""

from __future__ import annotations

import pytest

from pkd.recipe.naming import undotted
from pkd.recipe.settings import DataSettings
from pkd.recipe.suggestions import hint_for


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("students.1.learning_rate", "did you mean students.1.training.learning_rate?"),
        ("students.2.epochs", "did you mean students.2.training.num_train_epochs?"),
        ("students.1.training.betta", "did you mean students.1.beta?"),
        ("students.1.trainig", "did you mean training?"),
        ("students.1.resamples", "did you mean evaluation.resamples?"),
        ("students.0.seeeds", "seeds stands at the recipe's top level"),
        ("teacher.learning_rate", "did you mean teacher.finetune.learning_rate?"),
        ("teacher.finetune.beta", "did you mean students.0.beta?"),
        ("data.learning_rate", "did you mean training.learning_rate?"),
        ("evaluation.precision", "did you mean training.precision?"),
        ("learnin_rate", "did you mean training.learning_rate?"),
        ("sweep.temperature", "did you mean sweep.keys.temperature?"),
        ("sweep.keys.temprature", "did you mean sweep.keys.temperature?"),
        ("sweep.keys.lr", "did you mean sweep.keys.learning_rate?"),
        ("data.lable_column", "did you mean label_column?"),
        ("training.lr", "write learning_rate"),
    ],
)
def test_what_is_meant_is_looked_for_where_the_user_is(key: str, hint: str) -> None:
    assert hint_for(undotted(key)) == hint


def test_a_whole_key_of_a_sweep_is_known_by_its_last_part() -> None:
    assert hint_for(("sweep", "keys", "students.0.temprature")) == "did you mean sweep.keys.temperature?"


def test_where_nothing_is_near_the_keys_that_there_are_are_listed() -> None:
    assert hint_for(("annotation", "zzz")) == "keys there are states_dtype, precision, rows_per_shard, states_share"
    assert "max_length" not in hint_for(("sweep", "keys", "max_lenght"))  # which cannot be swept


def test_of_one_settings_class_alone_only_its_own_keys_are_meant() -> None:
    assert hint_for(("lable_names",), DataSettings) == "did you mean label_names?"
    assert hint_for(("beta",), DataSettings).startswith("keys there are task,")
