"""Several real processes that agree, and end together: started by torch's launcher, and by hand as Slurm does."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pkd import ranks
from warm import start_ranks

pytestmark = pytest.mark.slow


def ends(script: str) -> list[tuple[int, str, str]]:
    """The exit code and what is said of each of two ranks that run a script."""
    processes = start_ranks(2, code=textwrap.dedent(script))
    try:
        said = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.wait(), out.strip(), error) for process, (out, error) in zip(processes, said, strict=True)]


def test_one_process_is_the_first_of_one_and_waits_for_nobody() -> None:
    ranks.meet()
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (0, 1, True)
    assert ranks.gather("mine") == ["mine"]
    assert ranks.on_first(lambda: [1, 2]) == [1, 2]


def test_the_first_rank_alone_does_what_all_get_the_answer_of() -> None:
    script = """
    from pkd import ranks
    def do():
        print("done by", ranks.rank(), "of", ranks.world_size())
        ranks.meet()  # inside, nobody is waited for
        return {"answer": 7}
    print(ranks.on_first(do), ranks.gather(ranks.rank() * 10), ranks.world_size())
    """
    first, second = ends(script)
    assert first[:2] == (0, "done by 0 of 1\n{'answer': 7} [0, 10] 2"), first[2]
    assert second[:2] == (0, "{'answer': 7} [0, 10] 2"), second[2]


def test_an_error_of_the_first_rank_is_raised_on_all_and_they_can_go_on() -> None:
    script = """
    from pkd import ranks
    from pkd.errors import DataError
    def do():
        raise DataError("train.csv has 0 rows.")
    try:
        ranks.on_first(do)
    except DataError as error:
        print(type(error).__name__, error, ranks.gather(1))
    """
    for code, out, error in ends(script):
        assert (code, out) == (0, "DataError train.csv has 0 rows. [1, 1]"), error


def test_a_failure_on_one_rank_ends_all_with_its_code_and_one_message() -> None:
    script = """
    import sys
    from pkd import ranks
    from pkd.cli.session import complain, explain
    from pkd.errors import DataError
    try:
        if ranks.rank() == 1:
            raise DataError("b.csv is not on this machine.")
        ranks.meet()
    except Exception as error:
        sys.exit(complain(*explain(error)))
    """
    first, second = ends(script)
    assert (first[0], second[0]) == (3, 3)
    said = [line for _, _, error in (first, second) for line in error.splitlines() if line.startswith("pkd:")]
    assert said == ["pkd: On rank 1: b.csv is not on this machine."]


def test_a_rank_that_is_killed_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    script = """
    import os, signal, sys, torch
    from pkd import ranks
    from pkd.cli.session import complain, explain
    ranks.meet()
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        torch.distributed.all_reduce(torch.ones(1))
    except Exception as error:
        sys.exit(complain(*explain(error)))
    """
    first, second = ends(script)
    assert (first[0], second[0]) == (7, -9)
    assert "Another process of this job ended" in first[2]
