from __future__ import annotations

import pytest

from pkd.reporting.amounts import amount, count_text, difference_text, examples_text, metric_title, p_text
from pkd.reporting.results import ComparisonRecord, ModelRecord, PairedTest, Record, RunRecord, Score
from pkd.reporting.wording import (
    comparison_sentence,
    comparisons_of,
    device_sentence,
    featured,
    finding,
    headline,
    main_metric,
    table,
)


def one_seed(records: list[Record], seed: int = 42) -> list[Record]:
    """The same run with one seed only, as most users run it."""
    kept: list[Record] = []
    for record in records:
        if isinstance(record, ModelRecord) and record.seed not in (None, seed):
            continue
        if isinstance(record, ComparisonRecord):
            tests = [test for test in record.tests if test.seed == seed]
            of_models = record.b == "teacher"
            seeds: dict[str, object] = {"seeds_a": None if of_models else 1, "seeds_b": None if of_models else 1}
            if not of_models:
                seeds["verdict"] = "UNCLEAR"
            record = record.model_copy(update={"tests": tests, **seeds})
        kept.append(record)
    return kept


def compared(
    low: float,
    high: float,
    verdict: str,
    question: str = "patience",
    examples: float = 7.0,
    seeds: tuple[int | None, int | None] = (3, 3),
) -> ComparisonRecord:
    return ComparisonRecord(
        question=question,
        a="a",
        b="b",
        difference=Score(value=(low + high) / 2, low=low, high=high),
        seeds_a=seeds[0],
        seeds_b=seeds[1],
        verdict=verdict,  # type: ignore[arg-type]
        examples=examples,
        rows=1000,
        tests=[PairedTest(seed=1, only_a=9, only_b=2, p=0.065)],
    )


def test_the_headline_says_score_rows_teacher_speed_and_size(records: list[Record]) -> None:
    # Accuracies 82.8, 83.1, 83.7: mean 83.2, deviation 0.46; 83.2 − 83.86 = −0.66; p of the seeds 0.12, 0.32, 0.52.
    # Speed (218 + 219 + 220) / 3 / 104 = 2.106; parameters 17,388,674 / 22,713,986 = 0.766.
    assert headline(records) == (
        "pkd-skip-L3-spread: 83.2 ± 0.5 % accuracy on 1,066 held-out rows, 0.7 points below the teacher "
        "(McNemar's p from 0.12 to 0.52 for the models of 3 seeds), at 2.1 times its speed and 77 % of its parameters."
    )


def test_without_a_recipe_the_main_metric_is_the_first_that_the_models_have(records: list[Record]) -> None:
    sets = {"micro_f1": Score(value=0.7), "accuracy": Score(value=0.4)}
    models = [each.model_copy(update={"scores": sets}) for each in records if isinstance(each, ModelRecord)]
    assert main_metric(models) == "micro_f1"


def test_the_score_of_a_group_is_told_as_that_of_all_rows() -> None:
    assert metric_title("accuracy/high", unit=True) == "accuracy (high), %"
    assert amount("accuracy/high", 0.4672) == "46.7"
    assert (metric_title("mcc/high", unit=True), amount("mcc/high", 0.4672)) == ("MCC (high)", "0.467")


def test_the_headline_of_one_seed_gives_the_interval_and_one_p(records: list[Record]) -> None:
    text = headline(one_seed(records))
    assert text.startswith(
        "pkd-skip-L3-spread: 82.8 % accuracy (80.5 to 85.1) on 1,066 held-out rows, 1.1 points below"
    )
    assert "(McNemar's p = 0.12)" in text


def test_the_headline_does_without_a_teacher_and_without_speed(records: list[Record]) -> None:
    students = [record for record in records if isinstance(record, ModelRecord) and record.role != "teacher"]
    assert headline(students) == "pkd-skip-L3-spread: 83.2 ± 0.5 % accuracy on 1,066 held-out rows."
    slow = [
        record.model_copy(update={"rows_per_second": None}) if isinstance(record, ModelRecord) else record
        for record in records
    ]
    assert headline(slow).endswith("for the models of 3 seeds), at 77 % of its parameters.")


def test_the_headline_of_no_model_says_so(records: list[Record]) -> None:
    assert headline(records[:1]) == "No model was measured."


def test_the_headline_says_when_the_rows_were_selected_on(selected_records: list[Record]) -> None:
    assert "on 1,066 development rows (which chose the epoch), 0.7" in headline(selected_records)


def test_the_featured_student_is_the_best_on_development_data_not_on_the_test_rows(records: list[Record]) -> None:
    turned = [
        record.model_copy(update={"selection": {"score": 0.9 if record.start == "first" else 0.8}})
        if isinstance(record, ModelRecord)
        else record
        for record in records
    ]
    chosen = featured(turned)
    assert chosen is not None
    assert chosen.name == "pkd-skip-L3-first"


def test_a_control_is_not_featured_even_if_it_is_better(records: list[Record]) -> None:
    chosen = featured(records)
    assert chosen is not None
    assert chosen.role == "student"


def test_the_main_metric_is_the_recipes_if_every_model_has_it(records: list[Record]) -> None:
    run = records[0]
    assert isinstance(run, RunRecord)
    by_f1 = run.model_copy(update={"recipe": {"evaluation": {"metric": "macro_f1"}}})
    by_unknown = run.model_copy(update={"recipe": {"evaluation": {"metric": "pearson"}}})
    assert main_metric([by_f1, *records[1:]]) == "macro_f1"
    assert main_metric([by_unknown, *records[1:]]) == "accuracy"
    assert "% macro F1 on" in headline([by_f1, *records[1:]])


def test_a_comparison_is_told_with_verdict_interval_and_rows() -> None:
    assert comparison_sentence(compared(0.001, 0.013, "HELPS")) == (
        "Patience HELPS: a is 0.7 points above b in accuracy (95 % interval +0.1 to +1.3 over rows and seeds), "
        "which is +7 of 1,000 rows."
    )
    assert comparison_sentence(compared(-0.013, -0.001, "DOES NOT", "kd", -7.0), 0.9) == (
        "The teacher's softened output (KD) DOES NOT HELP: a is 0.7 points below b in accuracy "
        "(90 % interval −1.3 to −0.1 over rows and seeds), which is −7 of 1,000 rows."
    )
    assert "is level with b" in comparison_sentence(compared(-0.004, 0.004, "UNCLEAR", examples=0.0))


def test_differences_are_those_of_the_numbers_in_the_table(records: list[Record]) -> None:
    """Of 83.24 and 83.86, shown as 83.2 and 83.9, the difference is 0.7 and not 0.6."""

    def scored(record: Record, accuracy: float) -> Record:
        return record.model_copy(update={"scores": {"accuracy": Score(value=accuracy)}})

    a, b = scored(student_of(records, 42), 0.8324), scored(student_of(records, None), 0.8386)
    raw = compared(-0.03, 0.0176, "UNCLEAR", "against the teacher").model_copy(
        update={"a": "pkd-skip-L3-spread", "b": "teacher"}
    )
    assert "0.6 points below" in comparison_sentence(raw)
    (shown,) = comparisons_of([b, a, raw])
    assert "0.7 points below" in comparison_sentence(shown)
    assert "0.7 points below the teacher" in headline([b, a, shown])
    other_seeds = raw.model_copy(update={"difference": Score(value=0.02)})
    assert comparisons_of([b, a, other_seeds]) == [other_seeds]
    worse = scored(a, 0.5).model_copy(update={"scores": {"mse": Score(value=0.4126)}})
    better = b.model_copy(update={"scores": {"mse": Score(value=0.4114)}})
    errors = raw.model_copy(update={"metric": "mse", "difference": Score(value=-0.0012)})
    assert comparisons_of([better, worse, errors])[0].difference.value == pytest.approx(-0.002)  # 0.411 and 0.413


def student_of(records: list[Record], seed: int | None) -> ModelRecord:
    return next(each for each in records if isinstance(each, ModelRecord) and each.seed == seed)


@pytest.mark.parametrize(("seeds", "over"), [((3, None), "rows and seeds"), ((None, None), "rows")])
def test_nothing_helps_against_the_teacher_it_is_above_or_below(seeds: tuple[int | None, None], over: str) -> None:
    against = compared(-0.02, -0.01, "DOES NOT", "against the teacher", -15.0, seeds)
    assert comparison_sentence(against) == (
        f"Against the teacher BELOW: a is 1.5 points below b in accuracy (95 % interval −2.0 to −1.0 over {over}), "
        "which is −15 of 1,000 rows."
    )


def test_of_two_models_neither_helps() -> None:
    of_models = compared(0.001, 0.013, "HELPS", "a against b", seeds=(None, None))
    assert comparison_sentence(of_models).startswith("a against b ABOVE: a is 0.7 points above b")
    assert finding(compared(-0.013, -0.001, "DOES NOT", "a against b", seeds=(None, None))) is None


@pytest.mark.parametrize("seeds", [(1, 1), (1, 3), (3, 1)])
def test_a_method_of_one_seed_gets_no_verdict_and_the_sentence_says_what_would_give_one(seeds: tuple[int, int]) -> None:
    of_one_seed = compared(0.001, 0.013, "UNCLEAR", seeds=seeds)
    assert comparison_sentence(of_one_seed) == (
        "Patience UNCLEAR: a is 0.7 points above b in accuracy (95 % interval +0.1 to +1.3 over rows alone), which is "
        "+7 of 1,000 rows; one seed says too little of a method, --seeds 3 would give a verdict."
    )
    assert finding(of_one_seed) is None  # nothing is known of it, not that it gave nothing


@pytest.mark.parametrize(
    ("verdict", "question", "wanted"),
    [
        ("HELPS", "patience", None),
        ("DOES NOT", "against the teacher", None),
        ("DOES NOT", "patience", "Patience did not help here, it hurt: b is better than a."),
        ("UNCLEAR", "unlabelled text", "Unlabelled text gave nothing that these rows and seeds can show"),
    ],
)
def test_what_did_not_help_is_said_plainly(verdict: str, question: str, wanted: str | None) -> None:
    text = finding(compared(-0.01, 0.01, verdict, question))
    assert text == wanted if wanted is None else text is not None and text.startswith(wanted)


def test_the_table_gives_speed_and_size_beside_the_teachers(records: list[Record]) -> None:
    rows = table(records)
    assert [row.name for row in rows][:2] == ["teacher", "pkd-skip-L3-spread"]
    assert (rows[0].speed, rows[0].share, rows[0].scores["agreement"]) == ("1.0×", "100 %", "–")
    assert (rows[1].speed, rows[1].parameters, rows[1].share, rows[1].size) == ("2.1×", "17.4 M", "77 %", "70 MB")
    assert rows[1].scores["mcc"] == "0.664 ± 0.009"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (difference_text("accuracy", -0.0234, sign=True), "−2.3"),
        (difference_text("accuracy", 0.0234, sign=True), "+2.3"),
        (difference_text("accuracy", -0.0001, sign=True), "0.0"),
        (examples_text(6.94), "+6.9"),
        (examples_text(-7.000000000000001), "−7"),
        (examples_text(-24.6), "−25"),
        (examples_text(0.01), "0"),
        (p_text(0.0004), "< 0.001"),
        (p_text(0.0421), "0.042"),
        (p_text(0.5), "0.50"),
        (count_text(109_483_778), "109.5 M"),
        (count_text(950), "950"),
    ],
)
def test_numbers_are_written_short_and_with_a_true_minus(text: str, wanted: str) -> None:
    assert text == wanted


def test_the_devices_of_the_figures_are_named_once_where_they_are_one(records: list[Record]) -> None:
    models = [record for record in records if isinstance(record, ModelRecord)]

    def told(*devices: dict[str, str]) -> str:
        return device_sentence(
            [model.model_copy(update={"devices": each}) for model, each in zip(models, devices, strict=False)]
        )

    card = "cuda (NVIDIA H100)"
    assert told({}, {}) == ""
    assert told({"scores": card, "rows_per_second": card}, {"scores": card}) == f"Scored and timed on {card}."
    assert (
        told({"scores": "cpu"}, {"scores": card, "rows_per_second": card})
        == f"Scored on cpu and {card}; timed on {card}."
    )
