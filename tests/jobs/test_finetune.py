from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pkd
from conftest import make_teacher, make_tokenizer, write_csv
from pkd import progress
from pkd.errors import Stopped
from pkd.evaluation.by_class import BlindSpots
from pkd.training.trainer import RowMeanTrainer

QUICK = {"num_train_epochs": 2, "learning_rate": 1e-9, "max_length": 32, "device": "cpu"}


@pytest.fixture(scope="module")
def one_answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier whose head says 'positive' to everything."""
    folder = tmp_path_factory.mktemp("one-answer")
    model = make_teacher(layers=1)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([-5.0, 5.0]))
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_a_finished_teacher_says_in_sentences_how_good_it_is_on_what(
    one_answer: Path, workspace: Path, tmp_path: Path
) -> None:
    rows = {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv")}
    result = pkd.finetune(model=str(one_answer), **rows, output=str(tmp_path / "teacher"), **QUICK)
    negatives = (workspace / "dev.csv").read_text().count(",negative\n")
    share = (60 - negatives) / 60
    told = str(result).splitlines()
    assert told[0].startswith(f"Accuracy {100 * share:.1f} %, ")
    assert told[0].endswith("on 60 development rows (which chose the epoch).")
    assert told[1] == "This is epoch 1, the raw weights, the best by accuracy."
    assert result.level is not None
    words = f"{100 * (result.level.word_counts or 0):.1f} %"
    assert result.level.word_counts > share
    assert told[2] == (
        f"On 60 development rows the teacher has accuracy {100 * share:.1f} %, the word-count baseline (TF-IDF of one "
        f"and two words, a linear model) accuracy {words}."
    )
    assert told[3].startswith(
        f"The teacher is under-trained: it has accuracy {100 * share:.1f} % on 60 development rows, "
    )
    assert f"counting words alone reaches accuracy {words}. Train it for more epochs" in told[3]
    assert told[4] == f"It answers 'positive' for all 60 rows and finds none of {negatives} 'negative'."
    assert told[5] == (
        "Trained on 160 rows of train.csv (columns text and label); measured on 60 rows of dev.csv (columns text and "
        "label)."
    )
    assert told[6] == f"classifier: {tmp_path / 'teacher'}"
    assert str(tmp_path) not in "".join(told[:6])
    assert repr(result) == str(result)
    assert result.blind_spots == BlindSpots("positive", {"negative": negatives})
    again = pkd.finetune(model=str(one_answer), **rows, output=str(tmp_path / "teacher"), **QUICK)
    assert str(again) == str(result)


def test_without_development_rows_a_tenth_of_the_training_rows_is_held_out_and_the_result_says_so(
    one_answer: Path, workspace: Path, tmp_path: Path
) -> None:
    result = pkd.finetune(
        model=str(one_answer), train=str(workspace / "train.csv"), output=str(tmp_path / "t"), **QUICK
    )
    told = result.sentences()
    assert "on 16 development rows (held out of the training rows; which chose the epoch)." in told[0]
    assert told[-1] == (
        "Trained on 144 rows of train.csv (columns text and label); measured on 16 rows of train.csv (columns text and "
        "label)."
    )


def test_of_one_text_none_can_be_held_out_and_the_last_epoch_is_kept(one_answer: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na film,positive\na film,negative\n")
    result = pkd.finetune(model=one_answer, train=tmp_path / "train.csv", output=tmp_path / "t", **QUICK)
    assert result.sentences() == [
        "No development rows were named (eval), and there are too few training rows to hold some out, so nothing is "
        "measured, and the last epoch is kept: epoch 2, the averaged weights (ema).",
        "Trained on 2 rows of train.csv (columns text and label).",
    ]


def test_development_rows_that_were_trained_on_are_named(one_answer: Path, workspace: Path, tmp_path: Path) -> None:
    rows = {split: str(workspace / "train.csv") for split in ("train", "eval")}
    told = pkd.finetune(model=str(one_answer), **rows, output=str(tmp_path / "t"), **QUICK).sentences()
    assert "on 160 development rows (which chose the epoch; all of them are training rows too)." in told[0]
    assert any(sentence.startswith("All 160 development rows are training rows too") for sentence in told)


def test_what_a_model_was_blind_to_is_known_after_a_stop_too(
    one_answer: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best epoch may be one that another process has scored."""
    rows = {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv")}
    evaluate, seen = RowMeanTrainer.evaluate, []

    def stop_at_the_second(self: RowMeanTrainer, *args: object, **keywords: object) -> dict[str, float]:
        seen.append(self.state.global_step)
        if len(seen) == 2:
            raise Stopped("enough", 75)
        return evaluate(self, *args, **keywords)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(RowMeanTrainer, "evaluate", stop_at_the_second)
        with pytest.raises(Stopped):
            pkd.finetune(model=str(one_answer), **rows, output=str(tmp_path / "t"), **QUICK)
    result = pkd.finetune(model=str(one_answer), **rows, output=str(tmp_path / "t"), **QUICK)
    assert result.selection["epoch"] == 1
    assert result.blind_spots.one_answer == "positive"


def test_an_encoder_that_does_not_know_the_words_of_its_texts_is_warned_of(
    one_answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(progress, "warn", told.append)
    train = write_csv(tmp_path / "train.csv", [(f"καλημέρα κόσμε {index}", "ab"[index % 2]) for index in range(8)])
    pkd.finetune(model=str(one_answer), train=str(train), output=str(tmp_path / "t"), **QUICK)
    sentence = (
        f"{one_answer} does not know 100% of the word pieces of the training texts, so it cannot learn from them."
    )
    assert any(each.startswith(sentence) for each in told), told
