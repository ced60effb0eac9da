"""Records are files of rows, each row one line of strict JSON, read as whole lines only."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import table

from glocal import __version__
from glocal.errors import FileError
from glocal.jsonlines import append_rows, read_rows, write_rows
from glocal.results import Provenance, to_json
from glocal.scores import Score, Scores, check_scores_target, read_scores, save_scores

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
ROWS = st.lists(st.dictionaries(st.text(), VALUES | st.lists(VALUES), max_size=4), max_size=8)
SCORE = Score("odd-one-out", "agreement", 0.47, 0.45, 0.49, 5362, "heldout", "global")


@settings(max_examples=10)
@given(ROWS.filter(bool), ROWS)
def test_rows_come_back_in_order(tmp_path_factory, first, second):
    """Rows that replace the content of a file, and rows that are appended, are read in order and
    unchanged, whatever text they hold; empty lines, as an editor leaves them, and a missing last
    newline are no matter.
    """
    path = tmp_path_factory.mktemp("rows") / "scores.jsonl"
    for content in (second, first):
        write_rows(path, content)
    append_rows(path, second)
    assert read_rows(path) == first + second
    text = path.read_text("utf-8")
    assert text.count("\n") == len(first + second)
    path.write_text(text.replace("\n", "\n\n").rstrip(), "utf-8")
    append_rows(path, first)
    assert read_rows(path) == first + second + first


def test_numpy_scalars_and_paths_become_plain():
    """Numpy scalars, 0-d arrays, paths and nested dataclasses become JSON values, NaN and infinity
    null at any depth, an object, a class or a function the same text in every process, and longer
    arrays are refused.
    """
    row = {"f": np.float32(0.5), "i": np.int16(3), "b": np.bool_(True), "z": np.array(2.0), 1: "k"}
    row |= {"p": Path("a") / "b", "prov": Provenance(version="1.0", data={"features": "ab"})}
    row |= {"object": ThreadPoolExecutor(1), "class": Score, "function": to_json}
    row["null"] = [np.nan, (np.float32("-inf"),), {"a": np.inf}]
    written = json.loads(to_json(row))
    assert written.pop("prov").items() >= {"version": "1.0", "data": {"features": "ab"}}.items()
    assert written == {
        "f": 0.5, "i": 3, "b": True, "z": 2.0, "1": "k", "p": "a/b",
        "object": "concurrent.futures.thread.ThreadPoolExecutor",
        "class": "glocal.scores.Score", "function": "glocal.results.to_json",
        "null": [None, [None], {"a": None}],
    }  # fmt: skip
    with pytest.raises(ValueError, match="size 1"):
        to_json({"a": np.ones(2)})


def test_a_row_after_a_torn_line_is_not_lost(tmp_path):
    """A line that is cut anywhere is skipped and the rows after it are read, however often writers
    are killed.
    """
    whole = '{"row": 2, "text": "a } in {text\\n", "parts": {"none": null}, "n": [1, {"a": true}]}'
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"row": 1}])
    for cut in range(1, len(whole)):
        with path.open("a") as stream:
            stream.write(whole[:cut])
        append_rows(path, [{"row": cut}])
    assert read_rows(path) == [{"row": 1}, *({"row": cut} for cut in range(1, len(whole)))]
    os.truncate(path, path.stat().st_size - 3)
    assert read_rows(path)[-1] == {"row": len(whole) - 2}


BAD = """
nonsense
{"row": 2 "text": 3}
{"row": 2}}
{'row': 2}
[2]
{"text": 2}
"""


@table("bad", BAD + "[" * 100_000)
def test_a_bad_line_is_said(tmp_path, bad):
    """A line that no killed writer can have left, or that lacks a key, is an error with file and
    line number.
    """
    path = tmp_path / "points.jsonl"
    path.write_text(f'{{"row": 1}}\n{bad}\n', "utf-8")
    with pytest.raises(FileError, match=r"points file .* line 2"):
        read_rows(path, required=("row",), what="points")


def test_parallel_writers_never_mix_lines(tmp_path):
    """Rows that several writers append at once are all present, each whole."""
    path = tmp_path / "scores.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: append_rows(path, [{"row": i, "text": "x" * 500}]), range(60)))
    assert sorted(row["row"] for row in read_rows(path)) == list(range(60))


def test_scores_become_objects(tmp_path):
    """A Score is written as one JSON object without its empty fields and read back, and null is not
    a number.
    """
    path = tmp_path / "scores.jsonl"
    others = [replace(SCORE, network="net", settings={"k": 5}, p=0.5), replace(SCORE, low=None)]
    scores = [SCORE, *others]
    append_rows(path, [score.row() for score in scores])
    text = """{"task": "odd-one-out", "metric": "agreement", "value": 0.47, "low": 0.45,
        "high": 0.49, "n": 5362, "split": "heldout", "transform": "global"}"""
    assert read_rows(path)[0] == json.loads(text)
    assert read_scores(path) == Scores(scores)
    append_rows(path, [replace(SCORE, value=np.nan).row()])
    assert np.isnan(read_scores(path)[-1].value)


OTHER_TYPES = """
{"task": 5}
{"task": []}
{"task": {}}
{"task": null}
{"metric": true}
{"transform": ["x"]}
{"network": {}}
{"split": 1}
{"value": "high"}
{"low": []}
{"n": "many"}
{"n": null}
{"settings": "k"}
{"p": "x"}
{"p_corrected": false}
{"features": {"x": 1}}
{"unheard": 1}
"""


@table("change", OTHER_TYPES)
def test_a_row_of_scores_of_other_types_is_refused(change, tmp_path):
    """The sentence names the field."""
    path = tmp_path / "rows.jsonl"
    change = json.loads(change)
    write_rows(path, [SCORE.row() | change])
    with pytest.raises(FileError, match=rf"\b{next(iter(change))}\b"):
        read_scores(path)


SCORES = """
accuracy_ncm            .5  original {"shots": 1}
accuracy_plain_ncm      .4  original {"shots": 1}
accuracy_ncm            .6  original {"shots": 1}
accuracy_ncm            .9  original {"shots": 5}
accuracy_ncm            nan a        {"shots": 1}
ceiling                 .5  people   {"shots": 1}
accuracy_ncm_difference .1  a        {"shots": 1, "baseline": "original"}
accuracy_ncm_difference .2  a        {"shots": 1, "baseline": "centred"}
"""


def test_scores_are_found_by_network_task_and_arm():
    """A task shows its first metric, and other settings make another task; the last of repeated
    rows counts; a difference belongs to its baseline; people are no arm, and NaN is no score.
    """
    rows = (line.split(maxsplit=3) for line in SCORES.strip().split("\n"))
    scores = Scores(
        Score(
            "few-shot",
            metric,
            float(value),
            transform=arm,
            settings=json.loads(settings),
            network="net",
        )
        for metric, value, arm, settings in rows
    )
    task = "few-shot (shots 1)"
    assert scores.networks == ["net"]
    assert scores.tasks == [task, "few-shot (shots 5)"]
    assert scores.arms == [("net", "original"), ("net", "a")]
    assert scores.tasks_of("accuracy_ncm") == scores.tasks
    assert scores.task_of("accuracy_plain_ncm") == ""
    assert scores.score("net", task, "original").value == 0.6
    assert scores.score("net", "few-shot (shots 5)", "original").value == 0.9
    assert scores.score("net", task, "original", "accuracy_plain_ncm").value == 0.4
    assert scores.score("net", task, "a") is None
    assert scores.score("other", task, "original") is None
    gains = [scores.gain("net", task, "a", arm) for arm in ("original", "centred", "a")]
    assert [gain and gain.value for gain in gains] == [0.1, 0.2, None]
    assert [score.value for score in scores.of_people("net", task)] == [0.5]


def test_rows_of_length_1_in_one_of_two_networks_are_no_other_task():
    """Two networks stand in one column though only one has rows of length 1; in one network the
    scores from such rows are a task of their own, and a rough interval makes none.
    """
    score = Score("anomaly", "auroc", 0.5, network="net", settings={"rough": True})
    unit = replace(score, settings={"normalize": True})
    assert Scores([score, replace(unit, network="other")]).tasks == ["anomaly"]
    assert Scores([score, unit]).tasks == ["anomaly", "anomaly (normalize)"]


def test_each_split_and_each_feature_file_of_a_network_is_a_task():
    """Scores of two splits, or from two feature files, of one network stand side by side with their
    differences, and each names its split and its file; files of different networks do not differ.
    """
    score = Score("few-shot", "map", 0.5, split="kind", network="net", features="a.npy")
    gain = replace(score, metric="map_difference", value=0.1, transform="t")
    rows = [score, replace(score, transform="t"), gain]
    rows += [replace(row, value=row.value / 2, split="colour") for row in rows]
    scores = Scores([*rows, replace(score, network="other", features="b.npy")])
    assert scores.tasks == ["few-shot (kind)", "few-shot (colour)"]
    for task, value in zip(scores.tasks, (0.5, 0.25), strict=True):
        assert scores.score("net", task, "original").value == value
        assert scores.gain("net", task, "t", "original").value == value / 5
    assert {row.task for row in scores.shown} == {*scores.tasks}
    files = Scores([score, replace(score, features="b.npy"), replace(score, transform="people")])
    assert files.tasks == ["few-shot (a.npy)", "few-shot (b.npy)"]


def test_a_table_of_scores_is_written_once(tmp_path):
    """A CSV file has the scores of one command with split, baseline and all other fields; it is
    neither appended to nor read, which a sentence says that names .jsonl.
    """
    file = tmp_path / "scores.csv"
    check_scores_target(file)
    difference = replace(
        SCORE, metric="agreement_difference", settings={"baseline": "centred", "k": 5}, p=0.5
    )
    rows = [replace(SCORE, network='a, "b"', features="x.npy"), difference]
    save_scores(file, rows, {"x.npy": "6c62"})
    table = pd.read_csv(file)
    assert table["sha256"].fillna("").tolist() == ["6c62", ""]
    assert set(table["version"]) == {__version__}
    assert table["value"].tolist() == [0.47, 0.47]
    assert table["network"][0] == 'a, "b"'
    assert table["split"].tolist() == ["heldout"] * 2
    assert table["baseline"].fillna("").tolist() == ["", "centred"]
    assert json.loads(table["settings"][1]) == difference.settings
    for refused in (check_scores_target, read_scores):
        with pytest.raises(FileError, match=r"scores\.csv .*\.jsonl"):
            refused(file)


def test_scores_are_not_appended_to_something_else(tmp_path):
    """A file whose rows are no scores is refused before any work."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n', "utf-8")
    with pytest.raises(FileError, match=r"rows\.jsonl"):
        check_scores_target(file)
    file.write_text("", "utf-8")
    check_scores_target(file)
