from pathlib import Path

import pytest

from pkd.errors import ResourceError
from pkd.runs.space import readable_bytes, require_space


def test_what_does_not_fit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there" / "yet", 1000, "A little")
    with pytest.raises(ResourceError, match=r"Annotating will need about 1000000\.0 GB, but only .* are free at"):
        require_space(tmp_path, 10**15, "Annotating")


def test_sizes_are_readable() -> None:
    assert [readable_bytes(count) for count in (0, 999, 1000, 2.5e9)] == ["0 bytes", "999 bytes", "1.0 kB", "2.5 GB"]
