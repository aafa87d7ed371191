"""The stage of a run that stores what a reader makes of a split's texts, once for each tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from pkd import progress, ranks
from pkd.data.encodings import Reader, bytes_per_encoded_row, write_encoding
from pkd.data.shards import forget_shard_lists, list_shards, shards_left
from pkd.data.tokenize import count_choices, text_columns, warn_of_unread
from pkd.runs.seal import Manifest, partial_of
from pkd.runs.space import require_space
from pkd.runs.stage import Done, Upkeep, is_begun, library_versions, run_stage, standing

KIND = "encoding"


def encoding_stage(
    folder: Path,
    name: str,
    rows: datasets.Dataset,
    reader: Reader,
    rows_per_shard: int,
    *,
    rows_prints: Mapping[str, str],
    overwrite: bool,
) -> Done:
    """The stage that encodes rows for a reader.

    Args:
        folder: of the stage.
        name: in the progress.
        rows: with text columns.
        reader: that reads them.
        rows_per_shard: rows in a file; another number makes nothing again.
        rows_prints: the fingerprints of the rows.
        overwrite: start an unfinished stage with other inputs afresh.
    """

    def build(partial: Path) -> Mapping[str, Any]:
        columns = text_columns(rows)
        choices, token_types = count_choices(columns), reader.inputs["token_types"] and len(columns) > 1
        tokens = reader.max_length / 2 * max(1, choices)
        row = bytes_per_encoded_row(tokens, choices=choices, token_types=token_types)
        require_space(partial, int(row * len(rows)), f"Encoding {len(rows):,} rows")
        with progress.stage(name, len(rows), "rows") as stage:
            encoding = write_encoding(rows, reader, partial, rows_per_shard=rows_per_shard, stage=stage)
        warn_of_unread(rows, encoding, reader.max_length, name)
        ranks.on_first(lambda: forget_shard_lists(partial))
        return {"rows": len(encoding), "rows_per_shard": rows_per_shard}

    def repair(damaged: Path, manifest: Manifest) -> None:
        list_shards(damaged, manifest.files, {"rows_per_shard": manifest.facts["rows_per_shard"]})

    inputs = encoding_inputs(reader, rows_prints)
    return run_stage(folder, KIND, inputs, build, overwrite=overwrite, upkeep=Upkeep(repair=repair))


def encoding_inputs(reader: Reader, rows_prints: Mapping[str, str]) -> dict[str, Any]:
    """Everything that an encoding depends on."""
    return {**reader.inputs, "rows": dict(rows_prints), "versions": library_versions()}


def encoding_left(folder: Path, inputs: Mapping[str, Any], rows: int, rows_per_shard: int) -> float:
    """The share of an encoding of `rows` rows that an earlier call has left."""
    if not is_begun(folder):
        return 1.0
    stands = standing(folder, inputs)
    if stands != "begun":
        return 0.0 if stands == "kept" else 1.0
    return shards_left(partial_of(folder), rows, rows_per_shard)
