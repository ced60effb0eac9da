"""Features: a memory map, names beside it, two scalars that standardize it, and the
join by name.
"""

from dataclasses import replace

import numpy as np
import pytest
import world
from hypothesis import given
from hypothesis import strategies as st

from glocal import Answers, Features, join
from glocal.errors import DataError, DataWarning, FileError

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(2.0, 3.0, size=(50, 7))


@pytest.mark.parametrize("case", ["f2 50", "f4 50", "f8 1e8", "i2 50", "u1 9"])
def test_the_scalars_are_those_of_numpy_in_float64(monkeypatch, case):
    """Mean and population std over all entries equal numpy's in float64, for every dtype, and for
    chunks of rows whose means differ; standardizing subtracts and divides.
    """
    monkeypatch.setattr("glocal.data.standardization._CHUNK_BYTES", 8 * 7 * 7)
    dtype, offset = case.split()
    rows = np.abs(MATRIX * 5) + float(offset) * (1 + np.arange(50)[:, None] // 7)
    features = Features(rows.astype(dtype))
    exact = features.matrix.astype(np.float64)
    assert len(list(features.chunks())) > 3
    scalars = features.standardization
    assert scalars.mean == pytest.approx(exact.mean(), rel=1e-13)
    assert scalars.std == pytest.approx(exact.std(), rel=1e-12)
    expected = (exact - scalars.mean) / scalars.std
    np.testing.assert_allclose(scalars(features.matrix, "f8"), expected, rtol=1e-15)


def test_an_npy_file_stays_a_memory_map(tmp_path):
    """Loading maps the file and copies nothing, so that files may be larger than memory."""
    features = Features.load(world.folder(tmp_path, features_npy=MATRIX))
    assert isinstance(features.matrix, np.memmap)
    assert not features.matrix.flags.writeable


def test_names_do_not_vanish(tmp_path):
    """A number of names other than that of the rows is an error, for a folder and for its
    features.npy; the names of other files may be others, and names end only at line feeds.
    """
    world.folder(tmp_path, features_npy=MATRIX, other_npy=MATRIX, file_names_txt="a\nb\n")
    for path in (tmp_path, tmp_path / "features.npy"):
        with pytest.raises(DataError, match="50 rows but 2 names"):
            Features.load(path)
    assert Features.load(tmp_path / "other.npy").names is None
    text = "first\u2028second\na\x0bb\nc\x85d\n" + "\n".join("n" * i for i in range(1, 48))
    world.folder(tmp_path, file_names_txt=text)
    assert Features.load(tmp_path).names == tuple(text.split("\n"))


def test_what_is_no_real_matrix_is_refused():
    """Anything but a non-empty (n, p) matrix of real numbers of at most 64 bits is refused."""
    for matrix, noun in ((np.zeros((0, 3)), "shape"), (np.zeros((2, 3), "g"), "64 bits")):
        with pytest.raises(DataError, match=noun):
            Features(matrix)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_place_of_a_value_that_is_not_finite_is_said(monkeypatch, value):
    """NaN and infinity are refused with their row and column, also beyond the first chunk."""
    monkeypatch.setattr("glocal.data.standardization._CHUNK_BYTES", 8 * 7 * 3)
    matrix = MATRIX.astype(np.float16)
    matrix[33, 4] = value
    with pytest.raises(DataError, match=f"holds {value} at row 33, column 4"):
        _ = Features(matrix).standardization


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, 123456.7, 1e-30])
def test_a_constant_matrix_is_refused(value):
    """A matrix of one value, whose std is 0 up to rounding, is refused."""
    with pytest.raises(DataError, match="is constant"):
        _ = Features(np.full((1000, 7), value)).standardization


@given(st.floats(-100, 100), st.floats(0, 1e12), st.sampled_from(["float32", "float64"]))
def test_the_unit_and_the_offset_of_features_do_not_matter(exponent, offset, dtype):
    """Features in any unit, also beyond float32, and plus any constant standardize to the same
    numbers, up to the digits that the offset leaves, and are not called constant.
    """
    unit = 10.0**exponent
    expected = (MATRIX - MATRIX.mean()) / MATRIX.std()
    features = Features((MATRIX + offset) * unit)
    standardized = features.standardization(features.matrix, dtype)
    atol = 1e-6 + 4 * np.finfo(float).eps * offset
    np.testing.assert_allclose(standardized, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_a_spread_that_cannot_be_squared_is_refused(unit):
    """Features whose spread overflows or vanishes are refused."""
    with pytest.raises(DataError, match="to be squared"):
        _ = Features(MATRIX * unit).standardization


def test_the_join_finds_each_object_by_name():
    """Rows are joined by name in any order, and answers without features are dropped
    and counted.
    """
    ids = tuple(f"object{i}" for i in range(20))
    order = np.random.default_rng(1).permutation(np.delete(np.arange(20), [3, 11]))
    names = tuple(f"images/object{i}.jpg" for i in order)
    raw = world.answers(100, 20, weights=np.arange(100.0))
    joined = join(Features(np.eye(18), names), raw, ids)
    kept = ~np.isin(raw.objects, [3, 11]).any(axis=1)
    assert joined.kept.tolist() == kept.tolist()
    assert joined.n_dropped == 100 - kept.sum() > 0
    assert (joined.answers.weights == raw.weights[kept]).all()
    assert (order[joined.answers.objects] == raw.objects[kept]).all()


PICTURES = r"""A.JPG b.png C.png: a.png B.png c: 0 1 2
cup cup.png egg: cup cup.png EGG: 0 1 2
ref/0/0.png ref/0/1.png ref/1/0.png: ref/1/0.png ref/0/1 ref/0/0.png: 2 1 0
a\x.png b/y.png c/z.png: other/z.jpg x y: 2 0 1"""


@world.table("row", PICTURES)
def test_pictures_in_folders_are_joined_by_their_paths(row):
    """Identical entries name one object, with folders too; of the others neither
    folders nor capital letters nor endings matter.
    """
    names, shown, rows = (cell.split() for cell in row.split(":"))
    answers = Answers(world.matrix("0 1 2", int), names=shown)
    joined = join(Features(np.eye(len(names)), tuple(names)), answers)
    assert [*map(str, joined.answers.objects[0])] == rows


JOINS_REFUSED = """\
None          | a b c             | 0 1 2 | no names
a b a         | a b c             | 0 1 2 | 'a' twice \\(lines 1 and 3
a b c         | a b b             | 0 1 2 | 'b' twice
y/a b x/a.png | a b c             | 0 1 2 | 'a' may name 'y/a' or 'x/a.png'
a b.png c     | a b b.jpg         | 0 1 2 | 'b' and 'b.jpg' may name 'b.png'
a b c         | x y z             | 0 1 2 | none of the 3 object ids
a b c         | a b z             | 0 1 2 | 1 name an object
a b c         | a b c             | 0 1 3 | 3 lines
a b c         |                   | 0 1 2 | object ids is empty
None          |                   | 0 1 2 | object ids is empty
a b c         | a b c             | 0 1 4 | the whole list
None          | None              | 0 1 3 | 3 rows.*Extract
None          | None              |       | left of 0
"""


@world.table("names, ids, objects, noun", JOINS_REFUSED)
def test_lists_that_do_not_belong_together_are_refused(as_a_user, names, ids, objects, noun):
    """Missing, repeated and foreign names are refused, and so are data without answers."""
    names, ids = (None if words == "None" else tuple(words.split()) for words in (names, ids))
    answers = Answers.from_array(np.array([objects.split()]).astype(int).reshape(-1, 3))
    with pytest.raises(DataError, match=noun):
        join(Features(np.arange(6.0).reshape(3, 2), names), answers, ids)


def test_a_damaged_record_is_not_passed_over(tmp_path):
    """Without a record, and by a record of another program, no network is known; a damaged record
    is an error.
    """
    world.folder(tmp_path, x_npy=MATRIX)
    features = Features.load(tmp_path / "x.npy")
    assert features.network == {}
    (tmp_path / "record.json").write_text('{"model": ', "utf-8")
    with pytest.raises(FileError, match="record"):
        _ = replace(features).network
    (tmp_path / "record.json").write_text('{"model": "x"}', "utf-8")
    assert replace(features).network == {}


def test_transposed_features_are_recognised():
    """If there are as many objects as columns, the error asks whether the features are
    transposed.
    """
    names = tuple(map(str, range(42)))
    features = Features(np.arange(320.0).reshape(8, 40))
    answers = world.answers(99, 40)
    for call in (
        lambda: join(features, answers),
        lambda: join(features, replace(answers, names=names)),
        lambda: Features(features.matrix, names),
    ):
        with pytest.raises(DataError, match="transposed"):
            call()
    with pytest.raises(DataError, match=r"^(?!.*transposed)"):
        Features(features.matrix, names[:20])


def test_names_without_names_beside_the_features_are_said_to_be_unused(as_a_user):
    """Answers with names are joined by row to features without names, with a warning; an empty
    list of names is refused.
    """
    answers = Answers.from_array([[0, 1, 2]], names=["a", "b", "c"])
    with pytest.warns(DataWarning, match="has no names"):
        assert join(Features(np.eye(3)), answers).answers.objects.tolist() == [[0, 1, 2]]
    with pytest.raises(DataError, match="is empty"):
        join(Features(np.eye(3), tuple("abc")), replace(answers, names=()))


def test_tensors_and_tables_are_taken_as_arrays(as_a_user):
    """A tensor with a gradient, a bfloat16 tensor and a data frame are accepted as features."""
    import pandas as pd

    torch = pytest.importorskip("torch")
    tensor = torch.tensor(MATRIX, dtype=torch.float32)
    for given_matrix in (tensor.clone().requires_grad_(), tensor.bfloat16(), pd.DataFrame(MATRIX)):
        np.testing.assert_allclose(Features(given_matrix).matrix, MATRIX, rtol=1e-2)
