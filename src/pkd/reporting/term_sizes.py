"""The size of each term of a student's loss at its start, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pkd.distillation.terms import TERMS, WEAK
from pkd.reporting.results import ModelRecord, Record, TermShare

_SYMBOLS = {term.name: term.weight_symbol for term in TERMS}


def term_lines(records: Sequence[Record]) -> list[str]:
    """For each measured student its terms and advice on small ones; seeds share them."""
    students: dict[str, ModelRecord] = {}
    for record in records:
        if isinstance(record, ModelRecord) and record.terms:
            students.setdefault(record.name, record)
    return [" ".join([f"{name}: {shares_text(each.terms)}.", *weak_sentences(each.terms)])
            for name, each in students.items()]  # fmt: skip


def shares_text(terms: Sequence[TermShare]) -> str:
    """The shares of the gradient's norm, and the resulting β: "ce 40 %, kd 50 %, pt 10 % (β = 2612)"."""
    return ", ".join(
        f"{term.name} {100 * term.share:.1f} %" + (f" ({_SYMBOLS[term.name]} = {term.weight:g})" if term.asked else "")
        for term in terms
    )


def weak_sentences(terms: Sequence[TermShare]) -> list[str]:
    """Each teacher's term with hardly any gradient though not so requested, and a weight that would help."""
    told = []
    for term in terms:
        if term.name == "ce" or term.asked is not None or not term.weight > 0 or term.share >= WEAK:
            continue
        symbol, share = _SYMBOLS[term.name], f"{100 * WEAK:g} %"
        remedy = f"no {symbol} gives it {share} there"
        if term.needed is not None:
            remedy = f"{symbol} = {term.needed:g} would give it {share}"
        told.append(
            f"{term.name} has {100 * term.share:.2g} % of the gradient as the student starts, so it moves next to "
            f"nothing; {remedy}."
        )
    return told
