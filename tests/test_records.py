"""Records: one line of strict JSON a row, whole lines only."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import FileError
from glocal.records import NULL, NUMBER, TEXT, Provenance, append_rows, read_rows, to_json

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
ROWS = st.lists(st.dictionaries(st.text(), VALUES | st.lists(VALUES), max_size=4), max_size=8)


@given(ROWS, ROWS)
def test_rows_come_back_in_order(tmp_path_factory, first, second):
    """What is appended in two calls is read in order and unchanged, whatever text it holds."""
    path = tmp_path_factory.mktemp("rows") / "scores.jsonl"
    append_rows(path, first)
    append_rows(path, second)
    if first or second:
        assert read_rows(path) == first + second


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")])
def test_what_is_no_number_becomes_null(value):
    """NaN and infinities, which JSON lacks, become null at any depth."""
    assert json.loads(to_json({"a": value, "b": [1, (value,)], "c": {"d": value}})) == {
        "a": None, "b": [1, [None]], "c": {"d": None},
    }  # fmt: skip


def test_an_array_is_no_number():
    """An array of one value is refused, not written as the value."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        to_json({"a": np.array([1.0])})


def test_numpy_scalars_and_paths_become_plain():
    """Numpy scalars, 0-d arrays, paths and nested dataclasses are written as JSON values."""
    provenance = Provenance("1.0", {"features": "ab"}, seed=42, device="cpu", machine="m", python="3", threads=2)
    written = json.loads(
        to_json({"f": np.float32(0.5), "i": np.int16(3), "b": np.bool_(True), "z": np.array(2.0), "p": Path("a") / "b",
                 "prov": provenance, 1: "key"})
    )  # fmt: skip
    assert written == {
        "f": 0.5, "i": 3, "b": True, "z": 2.0, "p": "a/b", "1": "key",
        "prov": {
            "version": "1.0", "data": {"features": "ab"}, "seed": 42, "device": "cpu", "machine": "m", "python": "3",
            "threads": 2,
        },
    }  # fmt: skip


def test_provenance_names_this_machine():
    """Hardware and Python version are filled in where the row is made."""
    provenance = Provenance("1.0")
    assert provenance.machine
    assert provenance.python.count(".") == 2


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    """A last line cut by a killed writer is left out, and the rows before it are read."""
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"row": 1}, {"row": 2, "text": "long enough to be cut"}])
    os.truncate(path, path.stat().st_size - 1 - cut)
    assert read_rows(path) == [{"row": 1}]


def test_a_row_after_a_torn_line_is_not_lost(tmp_path):
    """A line cut anywhere is left out, the rows appended after it are read, however often writers are killed."""
    whole = to_json({"row": 2, "text": "a } in {text\n", "parts": {"global": 1.5, "none": None}, "n": [1, {"a": True}]})
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"row": 1}])
    for cut in range(1, len(whole)):
        with path.open("a") as stream:
            stream.write(whole[:cut])
        append_rows(path, [{"row": cut}])
    assert read_rows(path) == [{"row": 1}, *({"row": cut} for cut in range(1, len(whole)))]


def test_a_whole_last_line_without_a_newline_is_kept(tmp_path):
    """A file whose last row lacks only its newline loses nothing when rows are appended."""
    path = tmp_path / "scores.jsonl"
    path.write_text('{"row": 1}')
    append_rows(path, [{"row": 2}])
    assert read_rows(path) == [{"row": 1}, {"row": 2}]


def test_empty_lines_are_no_rows(tmp_path):
    """Empty lines, as an editor leaves them, are skipped."""
    path = tmp_path / "scores.jsonl"
    path.write_text('{"row": 1}\n\n{"row": 2}\n\n')
    assert read_rows(path) == [{"row": 1}, {"row": 2}]


def test_a_bad_line_in_the_middle_is_said(tmp_path):
    """A line that no killed writer can have left is an error that names the line."""
    path = tmp_path / "scores.jsonl"
    for bad in ("nonsense", '{"row": 2 "text": 3}', '{"row": 2}}', "{'row': 2}"):
        path.write_text(f'{{"row": 1}}\n{bad}\n{{"row": 3}}\n')
        with pytest.raises(FileError, match="line 2 is not JSON"):
            read_rows(path)
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(FileError, match="line 1 is"):
        read_rows(path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"name": "a"}, "line 2 is not a row of a run: it lacks value"),
        ({"name": ["a"], "value": 1}, 'its name is ["a"], not text'),
        ({"name": "a", "value": "b"}, 'its value is "b", not a number or null'),
        ({"name": "a", "value": 1, "n": [1]}, "its n is [1], not a number"),
        ({"name": "a", "value": True}, "its value is true, not a number or null"),
        ({"name": "a", "value": None, "n": {"b": 1}}, 'its n is {"b": 1}, not a number'),
    ],
)
def test_a_row_of_odd_types_is_said(tmp_path, row, sentence):
    """A row that lacks a key or holds another type under it is one sentence with its line and value."""
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"name": "a", "value": 1.5, "n": 3, "more": []}, row])
    with pytest.raises(FileError) as caught:
        read_rows(path, needed={"name": TEXT, "value": (*NUMBER, NULL)}, known={"n": NUMBER})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_too_large_for_an_array_is_a_float(tmp_path):
    """Whole numbers of any length are read, those beyond 64 bits as floats."""
    path = tmp_path / "scores.jsonl"
    path.write_text(f'{{"a": {2**53}, "b": 1{"0" * 5000}}}\n')
    assert read_rows(path) == [{"a": 2**53, "b": float("inf")}]


def test_a_missing_file_is_said(tmp_path):
    """Reading rows of no file and writing rows into no folder are FileErrors."""
    with pytest.raises(FileError, match=r"score file .* does not exist"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(FileError, match="cannot write"):
        append_rows(tmp_path / "none" / "scores.jsonl", [{"value": 1}])


def test_parallel_writers_never_mix_lines(tmp_path):
    """Rows that several writers append at once are all there, each whole."""
    path = tmp_path / "scores.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: append_rows(path, [{"row": i, "text": "x" * 500}]), range(60)))
    assert sorted(row["row"] for row in read_rows(path)) == list(range(60))


def test_a_disk_that_fills_up_takes_back_the_half_row(tmp_path, monkeypatch):
    """When only part of the rows fits, nothing of them stays in the file."""
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"row": 1}])
    write = os.write

    def fills_up(descriptor, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(FileError, match="the disk is full"):
        append_rows(path, [{"row": 2, "text": "x" * 50}])
    monkeypatch.undo()
    assert path.read_text() == '{"row": 1}\n'
