"""A transform is applied to features of any size."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import processes
import pytest
from fits import record_of, row_record
from world import folder, normal, run

from glocal import Features, LinearTransform
from glocal.errors import DataError, ParameterError
from glocal.transform import apply_file, reduced
from glocal.transform.apply import apply_csv

P = 16
RNG = np.random.default_rng(0)
TRANSFORM = LinearTransform(
    RNG.normal(size=(P, P)).astype("f4"), RNG.normal(size=P).astype("f4"), 0.3, 1.7
)
UNIT_FIT = replace(TRANSFORM, record=record_of(rows=row_record(0.3, 1.7)))
X = RNG.normal(0.3, 1.7, size=(230, P)).astype("f4")
OTHER_SCALE = pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # than that of a fit


# .npy


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("glocal.transform.apply._CHUNK_BYTES", P * 4 * 70)


@OTHER_SCALE
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", ">f4"])
def test_a_file_holds_what_apply_gives(tmp_path, small_chunks, dtype):
    """Chunks have the float dtype of the input, a previous output is replaced, and no partial file
    stays.
    """
    rows = (3 * X).astype(dtype)
    folder(tmp_path, x_npy=rows, z_npy=b"old")
    counts = []
    features = Features.load(tmp_path / "x.npy")
    out = tmp_path / "z.npy"
    assert apply_file(UNIT_FIT, features, out, force=True, progress=counts.append) == 230
    expected = UNIT_FIT(rows, force=True)
    written = np.load(tmp_path / "z.npy", allow_pickle=False)
    assert written.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_allclose(written, expected, 1e-3 if dtype == "f2" else 1e-5, 1e-4)
    assert len(counts) > 1
    assert counts[-1] == 230
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "z.npy"]


@OTHER_SCALE
@pytest.mark.parametrize("value, noun", [(np.nan, "nan at row 117"), (6e4, "inf at row 117")])
def test_what_is_wrong_leaves_the_previous_output(tmp_path, small_chunks, value, noun):
    """Rows that are not finite leave the previous output."""
    out = folder(tmp_path, z_npy=b"old") / "z.npy"
    rows = X.astype("f2")
    rows[117] = value
    with pytest.raises(DataError, match=noun):
        apply_file(TRANSFORM, Features(rows), out)
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["z.npy"]


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_input(tmp_path):
    """With eight times as many rows, a run needs hardly more anonymous memory."""
    code = """
from glocal import Features, LinearTransform
from glocal.transform import apply_file
t, x, z = sys.argv[1:]
print(peak_of(lambda: apply_file(LinearTransform.load(t), Features.load(x), z))[0])
"""
    files = folder(tmp_path, t_npz=TRANSFORM)
    peaks = []
    for n in (250_000, 2_000_000):
        np.lib.format.open_memmap(files / "x.npy", "w+", "f4", (n, P))[:] = 1
        peaks += processes.numbers(code, *(files / name for name in ("t.npz", "x.npy", "z.npy")))
    assert peaks[1] < peaks[0] + 40  # MB


# the command


def test_the_command_writes_rows_and_the_transform_of_queries(here):
    """The rows that are written are those that the saved transform gives."""
    folder(here, x_npy=X, t_npz=TRANSFORM)
    line = "apply t.npz {} --strength 0.7 --dimensions 3 --save-transform r.npz --json --out {}"
    record = run(line.format("x.npy", "z.npy")).json
    assert record.items() >= {"rows": 230, "dimensions": 3, "of": P}.items()
    expected = reduced(TRANSFORM.at_strength(0.7), X, 3)(X)
    for rows in (LinearTransform.load("r.npz")(X), np.load("z.npy")):
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)


def test_names_of_rows_lie_beside_the_array(here):
    """`apply` makes the folder of its output and writes the names there; names of other rows that
    are there already are refused.
    """
    folder(here / "x", features_npy=X[:3], file_names_txt="a\nb\nc")
    folder(here, t_npz=TRANSFORM)
    line = "apply t.npz {} --out new/folder/features.npy"
    assert run(line.format("x")).code == 0
    assert Features.load("new/folder").names == ("a", "b", "c")
    assert run(line.format("x")).code == 0
    folder(here / "y", features_npy=X[:3], file_names_txt="c\nb\na")
    assert "other rows" in run(line.format("y")).error(1)
    assert Features.load("new/folder").names == ("a", "b", "c")


def test_a_table_has_names_and_the_rows_of_the_array(tmp_path, monkeypatch):
    """A CSV file has the rows that the array has, in chunks too, after the names of the images; one
    that would be too large is refused before any work.
    """
    rows = normal(7, P).astype("f4")
    features = Features(rows, tuple(f"a, {i}" for i in range(7)))
    monkeypatch.setattr("glocal.transform.apply._CSV_ROWS", 3)
    assert apply_csv(TRANSFORM, features, tmp_path / "z.csv") == 7
    table = pd.read_csv(tmp_path / "z.csv", index_col="name")
    assert table.index.tolist() == [*features.names]
    np.testing.assert_allclose(table.to_numpy(), TRANSFORM(features), rtol=1e-6)
    monkeypatch.setattr("glocal.transform.apply._MAX_CSV_NUMBERS", 7 * P - 1)
    with pytest.raises(ParameterError, match="npy"):
        apply_csv(TRANSFORM, features, tmp_path / "large.csv")
