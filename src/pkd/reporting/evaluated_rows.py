"""The rows behind a score, in words: the same for terminal, page, card and every other view."""

from __future__ import annotations

from pkd.reporting.results import MeasuredOn

_SPLITS = {"test": "test", "eval": "development"}
_SAME = {"train": "training row", "eval": "development row", "unlabelled": "unlabelled text"}


def rows_in_words(split: str, rows: int, on: MeasuredOn) -> str:
    """The number and kind of the rows, with what the model may have seen of them in brackets.

    "Held-out" are rows of which none was trained on and none chose anything.

    >>> rows_in_words("test", 96, MeasuredOn(source="test.csv", held_out=False, shared={"train": 12}))
    '96 test rows (12 of them are training rows too)'
    """
    s = "s" * (rows != 1)
    if on.held_out is None:
        return f"{rows:,} row{s}" + (f" of {on.source}" if on.source else "")
    if on.held_out:
        return f"{rows:,} held-out row{s}"
    notes = ["held out of the training rows"] if on.drawn else []
    notes += [f"which chose the {_listed(on.chose)}"] if split == "eval" and on.chose else []
    notes += [_shared(rows, other, count, on) for other, count in on.shared.items()]
    return f"{rows:,} {_SPLITS[split]} row{s}" + (f" ({'; '.join(notes)})" if notes else "")


def rows_warning(split: str, rows: int, on: MeasuredOn) -> str:
    """Why scores on these rows are too high, and what to do; empty if they are held out or it is not known."""
    if on.held_out is not False:
        return ""
    told = []
    if split == "eval":
        told.append(
            f"These scores were measured on the development rows, which chose the {_listed(on.chose)}, so they flatter "
            "the students. Give rows of their own (--test FILE; in a recipe data.test) for scores that nothing was "
            "chosen on."
        )
    if on.drawn:
        told.append(
            "No development rows were named (--eval FILE; in a recipe data.eval), so a part of the training rows was "
            "held out. A teacher from elsewhere may have learned from them: no verdict rests on them."
        )
    if overlap := overlap_warning(split, rows, on):
        told.append(overlap)
    return " ".join(told)


def overlap_warning(split: str, rows: int, on: MeasuredOn) -> str:
    """How many of the rows are in other splits too; empty if none are."""
    if not on.shared:
        return ""
    (first, count), *others = on.shared.items()
    of = f"All {rows:,}" if count == rows else f"{count:,} of the {rows:,}"
    which = [f"{of} {_SPLITS[split]} rows {_same_as(first, count, on)}, word for word"]
    which += [f"{count:,} {_same_as(other, count, on)}" for other, count in others]
    advice = "Give other rows." if rows in on.shared.values() else "Take these rows out of one of the files."
    return f"{'; '.join(which)}: there the scores show what was seen before, not what new text would get. {advice}"


def _shared(rows: int, other: str, count: int, on: MeasuredOn) -> str:
    them = "it" if rows == 1 else "all of them" if count == rows else f"{count:,} of them"
    return f"{them} {_same_as(other, count, on)}"


def _same_as(other: str, count: int, on: MeasuredOn) -> str:
    same = f"are {_SAME[other]}s too"
    if count == 1:
        same = f"is {'an' if other == 'unlabelled' else 'a'} {_SAME[other]} too"
    return same + (f", which chose the {_listed(on.chose)}" if other == "eval" and on.chose else "")


def _listed(names: list[str]) -> str:
    return " and the ".join([", the ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
