"""Labels of images and categories of objects: their files, their types, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glocal.data.features import Features
from glocal.data.groups import load_groups, superclass_rows
from glocal.data.labels import check_labels, load_labels
from glocal.errors import DataError, DataWarning, FileError
from glocal.evaluation.sides import labelled_sides
from glocal.suite.sources import Network, Shared, Sources


def rows(n, names=None):
    return Features(np.zeros((n, 1)), names)


def test_labels_are_integers_or_names_from_either_file(tmp_path):
    """Whole numbers of any type become int64 and anything else becomes names, from ``.npy`` and
    text alike.
    """
    files = {
        "a.npy": (np.array([[3], [0], [7]], dtype="uint16"), [3, 0, 7]),
        "b.npy": (np.array(["cat", "dog"]), ["cat", "dog"]),
        "c.txt": ("3\n-1\n7\n", [3, -1, 7]),
        "g.txt": ("1_0\n10\n007\n7\n", ["1_0", "10", "007", "7"]),
        "d.txt": ("3\n  cat \n", ["3", "cat"]),
        "e.txt": ("a\u2028b\ncat, small\n", ["a\u2028b", "cat, small"]),
        "f.txt": ("1\n123456789012345678901234567890\n", ["1", "123456789012345678901234567890"]),
    }
    for name, (content, expected) in files.items():
        if name.endswith(".npy"):
            np.save(tmp_path / name, content)
        else:
            (tmp_path / name).write_text(content)
        labels = load_labels(tmp_path / name, rows(len(expected)))
        assert labels.tolist() == expected
        assert labels.dtype == np.int64 or labels.dtype.kind == "U"
        labels[0] = labels[1]  # a copy, not a map of the file


def test_labels_are_a_column_of_a_table(tmp_path):
    """`FILE.csv:COLUMN` reads the column with that title, whatever separates the columns."""
    (tmp_path / "a.csv").write_text("id,article type,class\n1,shoe,3\n2,sock,4\n")
    assert load_labels(f"{tmp_path}/a.csv:article type", rows(2)).tolist() == ["shoe", "sock"]
    assert load_labels(f"{tmp_path}/a.csv:class", rows(2)).tolist() == [3, 4]
    (tmp_path / "b.tsv").write_text("id\tclass\n1\tx\n")
    assert load_labels(f"{tmp_path}/b.tsv:class").tolist() == ["x"]
    with pytest.raises(DataError, match=r"no column 'kind'.* id, article type, class"):
        load_labels(f"{tmp_path}/a.csv:kind")
    with pytest.raises(DataError, match=r"a\.csv:COLUMN"):
        load_labels(tmp_path / "a.csv", rows(2))
    with pytest.raises(FileError, match="does not exist"):
        load_labels(f"{tmp_path}/none.csv:class")


def test_labels_are_joined_by_name_if_both_files_have_names(tmp_path):
    """A column with the names of the features gives the order, whatever its title, and may hold
    more names; without one, or if names repeat, the labels are in the order of the rows.
    """
    (tmp_path / "l.csv").write_text("kind,sku\nsock,im/c.jpg\nshoe,im/a.jpg\nhat,im/d.jpg\n")
    path = f"{tmp_path}/l.csv:kind"
    assert load_labels(path, rows(2, ("a", "c"))).tolist() == ["shoe", "sock"]
    for features in (rows(3), rows(3, ("x", "y", "c")), rows(3, ("a", "a.png", "c"))):
        assert load_labels(path, features).tolist() == ["sock", "shoe", "hat"]
    with pytest.raises(DataError, match=r"1 of the 3 names .* first is 'cc', perhaps 'c'"):
        load_labels(path, rows(3, ("a", "cc", "d")))
    (tmp_path / "l.csv").write_text("kind,sku\nsock,a\nshoe,a\nhat,b\n")
    with pytest.raises(DataError, match="'a' twice"):
        load_labels(path, rows(2, ("a", "b")))


def test_superclasses_are_a_table_of_classes(tmp_path):
    """Numbers in the table are the classes of integer labels."""
    (tmp_path / "s.csv").write_text("class,superclass\n3,animal\n4,vehicle\n7,animal\n3,animal\n")
    superclass_of = load_groups(tmp_path / "s.csv")
    rows, superclasses = superclass_rows(np.array([7, 3, 4]), superclass_of)
    assert rows.tolist() == [0, 1, 2]
    assert superclasses.tolist() == ["animal", "animal", "vehicle"]


def test_images_of_classes_without_a_superclass_are_counted():
    """Images whose class has no superclass are left out, with a warning that counts them."""
    X = np.arange(3.0)[:, None]
    labels = np.array(["dog", "car", "sky"])
    with pytest.warns(DataWarning, match="1 of 3 training images"):
        members, _ = labelled_sides(X, labels, X[:2], labels[:2], {"dog": "a", "car": "v"})
    assert members.X.ravel().tolist() == [0, 1]
    assert members.superclasses.tolist() == ["a", "v"]
    assert members.classes.tolist() == ["dog", "car"]


@pytest.mark.parametrize("name", ["y.csv:kind", "y.txt"])
def test_a_missing_label_is_no_class(tmp_path, name):
    """A row without a label is refused with its number, in a table and in lines."""
    (tmp_path / "y.csv").write_text("id,kind\n1,shoe\n2,\n3,sock\n")
    for blank in ("", '""'):
        (tmp_path / "y.txt").write_text(f"shoe\n{blank}\nsock\n")
        with pytest.raises(DataError, match="row 1 has no label"):
            load_labels(f"{tmp_path}/{name}", rows(3))


def test_strings_that_are_saved_as_objects_are_explained(tmp_path):
    """The error for strings saved as objects, which numpy pickles, says how to save them."""
    np.save(tmp_path / "y.npy", np.array(["cat", "dog"], dtype=object))
    with pytest.raises(FileError, match=r"astype\('U'\)"):
        load_labels(tmp_path / "y.npy")


@pytest.mark.parametrize("form", [list, tuple, pd.Series, pd.Categorical])
@pytest.mark.parametrize("labels", [["cat", "dog", "cat"], [3, 0, 3]])
def test_lists_and_columns_of_a_frame_are_labels(form, labels, as_a_user):
    """Names that pandas holds as objects are names; a missing one is refused."""
    assert check_labels(form(labels), 3).tolist() == labels
    with pytest.raises(DataError, match="labels"):
        check_labels(form([*labels[:2], None]), 3)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1, 2], [3, 4]], 5, [True, False], [b"a", b"b"]])
def test_what_is_no_integer_or_name_a_row_is_refused(values):
    """Fractions, matrices, single values, booleans and bytes are refused as labels."""
    with pytest.raises(DataError, match="labels"):
        check_labels(np.array(values))


@pytest.mark.parametrize(
    ("content", "error", "noun"),
    [
        ("1\n2\n\n", DataError, "2 labels.*blank"),
        ("", FileError, "empty"),
        ("kind\na\nb\nc\n", DataError, "first, 'kind', is a title"),
    ],
)
def test_a_bad_file_of_labels_is_named(tmp_path, content, error, noun):
    """A file with another number of labels than rows, without labels, or with a title is refused by
    name.
    """
    (tmp_path / "y.txt").write_text(content)
    with pytest.raises(error, match=rf"y\.txt.*{noun}"):
        load_labels(tmp_path / "y.txt", rows(3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("animal\ttool\n1\t0\n0\t0\n0\t1\n0\t1\n", ["animal", None, "tool", "tool"]),
        ("object,level\na,1\nb,0\nc,1\nd,0\n", ["1", "0", "1", "0"]),
        ("object,category\nd,tool\na,animal\nb,\nc,x\n", ["animal", None, "x", "tool"]),
        (
            "object,animal,body part\na,1,0\nb,0,0\nd,0,1\n",
            ["animal", None, None, "body part"],
        ),
        ("large\tsmall\n1\t0\n1\t0\n1\t1\n0\t0\n", ["large", "large", "small", None]),
    ],
)
def test_groups_are_read_in_each_form(tmp_path, text, expected):
    """Groups are read from binary columns and from pairs; a name gets its smallest group."""
    (tmp_path / "c").write_text(text)
    group_of = load_groups(tmp_path / "c", "abcd")
    assert [group_of.get(name) for name in "abcd"] == expected


@pytest.mark.parametrize(
    ("text", "error", "noun"),
    [
        ("a\tb\n1\t0\n", DataError, "2 names"),
        ("a\tb\tc\nx\ty\tz\n", DataError, "2 columns"),
        ("a\tb\nx\ty\nx\tz\n", DataError, "into y and into z"),
        ("\n", FileError, "groups"),
    ],
)
def test_what_is_no_table_of_groups_is_refused(tmp_path, text, error, noun):
    """A table with another number of lines, other columns, two groups of a name, or no content is
    refused.
    """
    (tmp_path / "c.tsv").write_text(text)
    with pytest.raises(error, match=noun):
        load_groups(tmp_path / "c.tsv", ["a", "b"])


def test_a_suite_knows_the_file_of_a_column(tmp_path):
    """The hash of a column in a suite is that of its table, so that changes are noticed."""
    (tmp_path / "labels.csv").write_text("id,kind\n1,shoe\n")
    sources = Sources(Shared(), Network(features="x.npy"), "n", tmp_path)
    before = sources.hashes(Path("labels.csv:kind"))
    assert list(before) == ["labels.csv"]
    (tmp_path / "labels.csv").write_text("id,kind\n1,sock\n")
    sources.hashed.clear()
    assert sources.hashes(Path("labels.csv:kind")) != before
