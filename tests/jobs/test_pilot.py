from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher, make_tokenizer
from encoder.families import CONFIGS
from pkd.data.outputs import Outputs
from pkd.data.tokenize import encode
from pkd.encoder.families import neurons_of
from pkd.encoder.load import load_teacher
from pkd.jobs import pilot
from pkd.jobs.ahead import stages_of_run
from pkd.jobs.pilot import Price, Prices, Shape, Work, measure_prices
from pkd.jobs.plan import plan_run
from pkd.jobs.workload import Job, classifier_job, job_of, job_of_run
from pkd.recipe.reading import recipe_from

OUTPUTS = Outputs("single_label_classification", ("negative", "positive"))


def job_on(workspace: Path, rows: datasets.Dataset) -> Job:
    recipe = recipe_from({"data": {"max_length": 32}, "device": "cpu"}, where="test", required=())
    return classifier_job(load_teacher(workspace / "teacher"), recipe, {"train": rows}, OUTPUTS)


def works(job: Job, *depths: int) -> list[Work]:
    shapes = [Shape(job.shape.encoder, depth, job.shape.config) for depth in depths]
    return [Work(job.shape, "pass", 1000), *(Work(shape, "train", 1000, 10) for shape in shapes)]


def test_a_pilot_measures_each_kind_of_work_at_the_outermost_depths_and_draws_no_random_number(
    workspace: Path, rows: datasets.Dataset
) -> None:
    job = job_on(workspace, datasets.concatenate_datasets([rows] * 6))
    before = torch.get_rng_state()
    prices = measure_prices(works(job, 1, 2, 3), job.sample, OUTPUTS, device=job.device, seconds=0.2)
    assert torch.equal(torch.get_rng_state(), before)
    encoder = job.shape.encoder
    assert {key: set(known) for key, known in prices.at.items()} == {
        (encoder, 1.0, "pass", False, 0): {4},
        (encoder, 1.0, "train", False, 0): {1, 3},
    }
    passes, trained = prices.at[encoder, 1.0, "pass", False, 0][4], prices.at[encoder, 1.0, "train", False, 0]
    assert passes.token > 0
    assert passes.step == 0
    assert all(price.token > 0 and price.step > 0 for price in trained.values())


def test_work_between_two_depths_that_were_measured_lies_on_the_line_through_them(
    workspace: Path, rows: datasets.Dataset
) -> None:
    shape = job_on(workspace, rows).shape
    at = {(shape.encoder, 1.0, "train", True, 0): {2: Price(token=1e-3, step=0.1), 4: Price(token=3e-3, step=0.3)}}
    prices = Prices(at)  # type: ignore[arg-type]

    def seconds(depth: int) -> float:
        return prices.seconds(Work(Shape(shape.encoder, depth, shape.config), "train", 1000, 10, exact=True))

    assert seconds(2) == pytest.approx(2)
    assert seconds(3) == pytest.approx(4)
    assert seconds(4) == pytest.approx(6)


def test_work_of_fewer_threads_is_priced_by_itself_and_torch_has_its_threads_back(
    workspace: Path, rows: datasets.Dataset
) -> None:
    job = job_on(workspace, rows)
    before = torch.get_num_threads()
    both = [Work(job.shape, "pass", 1, threads=threads) for threads in (0, before + 1)]
    prices = measure_prices(both, job.sample, OUTPUTS, device=job.device, seconds=0.0)
    assert {threads for *_, threads in prices.at} == {0, before + 1}
    assert torch.get_num_threads() == before


def test_a_slow_moment_at_the_start_of_a_measurement_does_not_set_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    now, runs = 0.0, 0
    tokens = np.full(96, 32)

    def run(rows: np.ndarray) -> float:
        nonlocal now, runs
        runs += 1
        took = float(tokens[rows].sum()) * (5e-3 if runs <= 2 else 1e-4)
        now += took
        return took

    with monkeypatch.context() as clock:
        clock.setattr(pilot.time, "perf_counter", lambda: now)
        price = pilot._seconds_a_token(run, np.arange(96).reshape(3, 32), tokens, seconds=4.0)
    assert price == pytest.approx(1e-4)
    assert now <= 4.0


def test_few_rows_can_be_timed_too(workspace: Path, rows: datasets.Dataset) -> None:
    job = job_on(workspace, rows.select(range(2)))
    prices = measure_prices(works(job, 1), job.sample, OUTPUTS, device=job.device, occurs=job.occurs, seconds=0.0)
    assert all(price.token > 0 for known in prices.at.values() for price in known.values())


def test_the_word_pieces_of_many_rows_are_reckoned_from_some_of_them(workspace: Path, rows: datasets.Dataset) -> None:
    few, many = job_on(workspace, rows), job_on(workspace, datasets.concatenate_datasets([rows] * 80))
    assert many.splits["train"].rows == 3200
    assert len(many.sample) == 2048
    assert many.splits["train"].tokens == pytest.approx(few.splits["train"].tokens, rel=0.05)
    assert many.occurs.sum() == few.occurs.sum()  # what is only repeated has no new ones


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_can_be_timed_at_any_depth_and_width(
    family: str, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    shapes = [Shape("tiny", depth, CONFIGS[family], width) for depth, width in ((6, 1.0), (1, 1.0), (3, 0.5))]
    assert neurons_of(shapes[-1].cut) == 8
    works = [Work(shape, kind, 1, 1) for shape in shapes for kind in ("train", "pass")]
    few = encode(rows.select(range(6)), tokenizer, 32)
    few = few.select_columns(["input_ids", "length"])
    cpu = torch.device("cpu")
    prices = measure_prices(works, few, OUTPUTS, device=cpu, occurs=np.ones(31, dtype=np.bool_), seconds=0.0)
    assert {(width, kind): set(known) for (_, width, kind, _, _), known in prices.at.items()} == {
        (width, kind): depths for width, depths in ((1.0, {1, 6}), (0.5, {3})) for kind in ("train", "pass")
    }


def test_questions_with_choices_are_timed_with_all_their_choices(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = [row["text"] for row in rows]
    questions = datasets.Dataset.from_dict({"text_a": texts, "choice_0": texts, "choice_1": texts, "label": [0] * 40})
    outputs = Outputs("multiple_choice", ("A", "B"))
    recipe = recipe_from({"data": {"max_length": 32}, "device": "cpu"}, where="test", required=())
    job = job_of(recipe, {"train": questions}, Shape("tiny", 2, CONFIGS["bert"]), tokenizer, outputs)
    assert job.choices == 2
    assert job.splits["train"].tokens > 1.5 * np.mean([len(tokenizer(text)["input_ids"]) for text in texts])
    works = [Work(job.shape, "train", 1, 1), Work(job.shape, "pass", 1)]
    prices = measure_prices(works, job.sample, outputs, device=job.device, seconds=0.0)
    assert all(price.token > 0 for known in prices.at.values() for price in known.values())


def test_a_student_that_reads_less_of_a_text_is_foretold_less_work(workspace: Path, tmp_path: Path) -> None:
    """An encoder with the teacher's tokenizer, and positions for 6 word pieces."""
    short = make_teacher(4)
    short.config.max_position_embeddings = 6
    short.bert.embeddings.position_embeddings = torch.nn.Embedding(6, 16)
    short.bert.embeddings.position_ids = torch.arange(6)[None]
    short.save_pretrained(tmp_path / "short")
    make_tokenizer().save_pretrained(tmp_path / "short")
    recipe = {
        "output": str(tmp_path / "run"), "device": "cpu", "teacher": {"model": str(workspace / "teacher")},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        "students": [{"layers": 2}, {"layers": 2, "student": str(tmp_path / "short"), "name": "short"}],
        "controls": False, "training": {"num_train_epochs": 1},
    }  # fmt: skip
    plan = plan_run(recipe_from(recipe, where="test"))
    job = job_of_run(plan)
    stages = {stage.name: stage for stage in stages_of_run(plan, job)}
    whole, cut = stages["train pkd-skip-L2-spread seed 42"], stages["train short seed 42"]
    assert job.splits["train"].tokens > 6
    assert job.read_by(plan.students[1][0]).splits["train"].tokens == pytest.approx(6, abs=0.5)
    assert [work.tokens for work in cut.works] < [work.tokens for work in whole.works]
    encoded = [stages[f"encode {split}{which}"].bytes for split in ("train", "eval") for which in ("", ", tokenizer 2")]
    assert encoded[0] > encoded[1]
    assert encoded[2] > encoded[3]
