"""The names of all metrics, and how they are shown; the functions that compute them use these names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MetricFacts:
    """One metric.

    Attributes:
        title: for sentences, tables and charts.
        is_share: shown in percent; the others are shown unchanged.
        is_error: less is better; yet in a comparison a difference above 0 is better.
        hub_name: the metric's name in the hub's model cards; None if it has none.
        hub_arguments: the arguments of that metric.
        short: title for the narrow tables that show it beside the main metric.
        counts_rows: the mean of 1 or 0 per row, so that a difference is a number of rows.
    """

    title: str
    is_share: bool = False
    is_error: bool = False
    hub_name: str | None = None
    hub_arguments: Mapping[str, str] = field(default_factory=dict)
    short: str | None = None
    counts_rows: bool = False


METRICS = {
    "accuracy": MetricFacts("accuracy", is_share=True, hub_name="accuracy", counts_rows=True),
    "f1": MetricFacts("F1", is_share=True, hub_name="f1"),
    "macro_f1": MetricFacts(
        "macro F1", is_share=True, hub_name="f1", hub_arguments={"average": "macro"}, short="macro F1"
    ),
    "mcc": MetricFacts("MCC", hub_name="matthews_correlation"),
    "cross_entropy": MetricFacts("cross-entropy"),
    "ece": MetricFacts("calibration error", is_share=True),
    "agreement": MetricFacts("agreement with teacher", is_share=True, short="agreement"),
    "kl": MetricFacts("KL to teacher"),
    "micro_f1": MetricFacts("micro F1", is_share=True, hub_name="f1", hub_arguments={"average": "micro"}),
    "label_accuracy": MetricFacts("accuracy of single labels", is_share=True),
    "precision": MetricFacts("precision", is_share=True),
    "recall": MetricFacts("recall", is_share=True),
    "span_f1": MetricFacts("span F1", is_share=True, hub_name="f1", short="span F1"),
    "span_precision": MetricFacts("span precision", is_share=True, hub_name="precision", short="precision"),
    "span_recall": MetricFacts("span recall", is_share=True, hub_name="recall", short="recall"),
    "word_accuracy": MetricFacts("accuracy of words", is_share=True, hub_name="accuracy"),
    "rows_right": MetricFacts("rows with all spans right", is_share=True, counts_rows=True),
    "pearson": MetricFacts("Pearson's r", hub_name="pearsonr"),
    "spearman": MetricFacts("Spearman's ρ", hub_name="spearmanr"),
    "mse": MetricFacts("mean squared error", is_error=True, hub_name="mse"),
    "teacher_pearson": MetricFacts("Pearson's r with teacher"),
    "teacher_mse": MetricFacts("squared distance to teacher"),
}


def facts_of(metric: str) -> MetricFacts:
    """The facts of a metric, of all rows or of a group, such as "accuracy/high" for RACE's high schools.

    >>> facts_of("accuracy/high").title, facts_of("what a term of mine is").title
    ('accuracy', 'what a term of mine is')
    """
    name = metric.partition("/")[0]
    return METRICS.get(name, MetricFacts(name))
