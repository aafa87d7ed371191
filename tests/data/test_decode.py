from __future__ import annotations

import pytest

from pkd.data.decode import open_text
from pkd.errors import DataError, RecipeError


def read(path, encoding="utf-8"):
    with open_text(path, encoding) as file:
        return file.read()


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufefftext".encode())
    assert read(tmp_path / "a.txt") == "text"


def test_a_wrong_encoding_is_told_with_the_offset_a_guess_and_the_setting(tmp_path):
    start = "text,label\n" + "plain ascii,0\n" * 10_000  # more than one chunk, so that the offset is the file's
    (tmp_path / "a.csv").write_bytes(start.encode() + "Une fête très réussie à voir,1\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"a.csv is not utf-8") as error:
        read(tmp_path / "a.csv")
    assert f"offset {len(start) + 5:,} " in str(error.value)
    assert "try encoding='cp1252'" in str(error.value)


def test_the_guess_reads_the_file(tmp_path):
    (tmp_path / "a.csv").write_bytes("Une fête très réussie à voir".encode("cp1252"))
    assert read(tmp_path / "a.csv", "cp1252") == "Une fête très réussie à voir"


def test_utf_16_is_recognised_by_its_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"offset 0 .*encoding='utf-16'"):
        read(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv", "utf-16") == "text,label\n"


def test_a_file_cut_in_the_middle_of_a_character_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"abc\xc3")
    with pytest.raises(DataError, match=r"offset 3 "):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "a\0b"])
def test_an_unknown_encoding_is_the_recipes_fault(tmp_path, encoding):
    (tmp_path / "a.csv").write_text("text")
    with pytest.raises(RecipeError, match="which is no text encoding that Python knows"):
        read(tmp_path / "a.csv", encoding)
