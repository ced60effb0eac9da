"""Labels of images: files, kinds, and what is refused."""

import numpy as np
import pytest

from glocal.data.labels import check_labels, load_labels
from glocal.errors import DataError, FileError


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_integers_of_any_size_become_int64(tmp_path, dtype):
    """A .npy file of whole numbers gives int64 labels with the same values."""
    np.save(tmp_path / "y.npy", np.array([3, 0, 7], dtype=dtype))
    labels = load_labels(tmp_path / "y.npy", 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 0, 7]


@pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
def test_a_single_row_or_column_is_flattened(tmp_path, shape):
    """One label a row may be stored as a column or a row."""
    np.save(tmp_path / "y.npy", np.array([3, 0, 7]).reshape(shape))
    assert load_labels(tmp_path / "y.npy").tolist() == [3, 0, 7]


def test_names_are_read_from_npy_and_text_alike(tmp_path):
    """Names come back as strings, from an array of strings or one a line, spaces around them cut."""
    np.save(tmp_path / "y.npy", np.array(["cat", "dog", "cat"]))
    (tmp_path / "y.txt").write_text("cat\n  dog \ncat\n")
    for file in ("y.npy", "y.txt"):
        labels = load_labels(tmp_path / file, 3)
        assert labels.dtype.kind == "U"
        assert labels.tolist() == ["cat", "dog", "cat"]


def test_text_is_integers_only_if_every_line_is(tmp_path):
    """Lines of whole numbers are integers; one name among them makes all of them names."""
    (tmp_path / "numbers.txt").write_text("3\n-1\n07\n")
    (tmp_path / "mixed.txt").write_text("3\ncat\n")
    assert load_labels(tmp_path / "numbers.txt").tolist() == [3, -1, 7]
    assert load_labels(tmp_path / "mixed.txt").tolist() == ["3", "cat"]


def test_a_number_beyond_int64_is_a_name(tmp_path):
    """An identifier of many digits is kept to the last one."""
    (tmp_path / "y.txt").write_text("1\n123456789012345678901234567890\n")
    assert [str(label) for label in load_labels(tmp_path / "y.txt")] == ["1", "123456789012345678901234567890"]


def test_the_labels_can_be_written_to(tmp_path):
    """Loaded labels are a copy, not a read-only map of the file."""
    np.save(tmp_path / "y.npy", np.array([1, 2]))
    labels = load_labels(tmp_path / "y.npy")
    labels[0] = 9
    assert np.load(tmp_path / "y.npy", allow_pickle=False).tolist() == [1, 2]


@pytest.mark.parametrize(
    "values",
    [np.array([1.0, 2.0]), np.array([[1, 2], [3, 4]]), np.array(5), np.array([True, False]), np.array([b"a", b"b"])],
    ids=["float", "matrix", "scalar", "bool", "bytes"],
)
def test_what_is_no_integer_or_name_a_row_is_refused(values):
    """Fractions, matrices, single values, truth values and bytes are no labels."""
    with pytest.raises(DataError, match=r"labels must be one integer or name a row\.") as caught:
        check_labels(values)
    assert "\n" not in str(caught.value)


def test_another_number_of_labels_than_rows_is_refused(tmp_path):
    """The sentence gives both numbers and the file."""
    (tmp_path / "y.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"y\.txt has 2 labels but there are 3 rows"):
        load_labels(tmp_path / "y.txt", 3)


@pytest.mark.parametrize("content", ["", "\n\n"], ids=["no bytes", "no lines"])
def test_an_empty_file_is_refused(tmp_path, content):
    """Nothing in the file is a FileError."""
    (tmp_path / "y.txt").write_text(content)
    with pytest.raises(FileError, match="is empty"):
        load_labels(tmp_path / "y.txt")


def test_a_missing_or_pickled_file_is_refused(tmp_path):
    """A path that leads nowhere, and an array of Python objects, are FileErrors."""
    with pytest.raises(FileError, match="does not exist"):
        load_labels(tmp_path / "none.npy")
    np.save(tmp_path / "objects.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="pickled"):
        load_labels(tmp_path / "objects.npy")
