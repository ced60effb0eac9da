"""Labels of images and their superclasses: their files, their types, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from world import folder

from glocal.data.features import Features
from glocal.data.labels import check_labels, load_groups, load_labels
from glocal.errors import DataError, FileError
from glocal.suite.sources import Network, Shared, Sources


def rows(n, names=None):
    return Features(np.zeros((n, 1)), names)


READ = {
    "integers of any type": (np.array([[3], [0], [7]], dtype="uint16"), "3 0 7"),
    "names": (np.array(["cat", "dog"]), "'cat' 'dog'"),
    "integers of a text": ("3\n-1\n7\n", "3 -1 7"),
    "what only resembles integers": ("1_0\n10\n007\n7\n", "'1_0' '10' '007' '7'"),
    "an integer beside a name": ("3\n  cat \n", "'3' 'cat'"),
    "a line ends at a line feed alone": ("a\u2028b\ncat\n", r"'a\u2028b' 'cat'"),
    "an integer beyond int64": ("1\n1234567890123456789012\n", "'1' '1234567890123456789012'"),
}


@pytest.mark.parametrize("content, expected", READ.values(), ids=READ)
def test_labels_are_integers_or_names_from_either_file(tmp_path, content, expected):
    """Whole numbers of any type become int64 and anything else becomes names, from ``.npy`` and
    text alike.
    """
    name = "y_txt" if isinstance(content, str) else "y_npy"
    path = folder(tmp_path, **{name: content}) / name.replace("_", ".")
    labels = load_labels(path, rows(len(expected.split())))
    assert " ".join(map(repr, labels.tolist())) == expected
    assert labels.dtype == np.int64 or labels.dtype.kind == "U"
    labels[0] = labels[1]  # a copy, not a map of the file


def test_labels_are_a_column_of_a_table(tmp_path):
    """`FILE.csv:COLUMN` reads the column with that title, whatever separates the columns."""
    table = "id,article type,class\n1,shoe,3\n2,sock,4\n"
    folder(tmp_path, a_csv=table, b_tsv=table.replace(",", "\t"))
    for path in (f"{tmp_path}/a.csv", f"{tmp_path}/b.tsv"):
        assert load_labels(f"{path}:article type", rows(2)).tolist() == ["shoe", "sock"]
        assert load_labels(f"{path}:class", rows(2)).tolist() == [3, 4]
    for path, noun in (
        ("a.csv:kind", r"no column 'kind'.* id, article type, class"),
        ("a.csv", r"a\.csv:COLUMN"),
    ):
        with pytest.raises(DataError, match=noun):
            load_labels(f"{tmp_path}/{path}", rows(2))


def test_labels_are_joined_by_name_if_both_files_have_names(tmp_path):
    """A column with the names of the features gives the order, whatever its title, and may hold
    more names; without one, or if names repeat, the labels are in the order of the rows.
    """
    folder(tmp_path, l_csv="kind,sku\nsock,im/c.jpg\nshoe,im/a.jpg\nhat,im/d.jpg\n")
    path = f"{tmp_path}/l.csv:kind"
    assert load_labels(path, rows(2, ("a", "c"))).tolist() == ["shoe", "sock"]
    for features in (rows(3), rows(3, ("x", "y", "c")), rows(3, ("a", "a.png", "c"))):
        assert load_labels(path, features).tolist() == ["sock", "shoe", "hat"]
    with pytest.raises(DataError, match=r"1 of the 3 names .* first is 'cc'"):
        load_labels(path, rows(3, ("a", "cc", "d")))
    folder(tmp_path, l_csv="kind,sku\nsock,a\nshoe,a\nhat,b\n")
    with pytest.raises(DataError, match="'a' twice"):
        load_labels(path, rows(2, ("a", "b")))


BAD = {
    "y.csv:kind; row 1 has no label": "id,kind\n1,shoe\n2,\n3,sock\n",
    "y.txt; row 1 has no label": "shoe\n\nsock\n",
    "y.txt;  row 1 has no label": 'shoe\n""\nsock\n',
    "y.txt; 2 labels": "1\n2\n\n",
    "y.txt; empty": "",
    "y.txt; without a title.* 'kind'": "kind\na\nb\nc\n",
    r"y.npy; astype\('U'\)": np.array(["cat", "dog", "cat"], dtype=object),  # numpy pickles it
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_of_labels_is_named(tmp_path, case):
    """A file with missing labels, another number of labels than rows, a title, or pickled strings
    is refused by name.
    """
    name, noun = case.split("; ")
    file = name.split(":")[0]
    folder(tmp_path, **{file.replace(".", "_"): BAD[case]})
    with pytest.raises((DataError, FileError), match=rf"{file}.*{noun.strip()}"):
        load_labels(f"{tmp_path}/{name}", rows(3))


@pytest.mark.parametrize("form", [list, pd.Series])
@pytest.mark.parametrize("labels", [["cat", "dog", "cat"], [3, 0, 3]])
def test_lists_and_columns_of_a_frame_are_labels(form, labels, as_a_user):
    """Names that pandas holds as objects are names."""
    assert check_labels(form(labels), 3).tolist() == labels


@pytest.mark.parametrize("values", [[1.0], [[1, 2], [3, 4]], 5, [True], [b"a"], [], ["cat", None]])
def test_what_is_no_integer_or_name_a_row_is_refused(values):
    """Fractions, matrices, single values, booleans, bytes, nothing and missing names are
    refused.
    """
    with pytest.raises(DataError, match="labels"):
        check_labels(np.array(values))


GROUPS_REFUSED = {"a,b,c\nx,y,z": "3 columns", "a,b\nx,y\nx,z": "into y and into z"}


@pytest.mark.parametrize("text", GROUPS_REFUSED)
def test_what_is_no_table_of_superclasses_is_refused(tmp_path, text):
    """A table with other columns, or with two superclasses of a class, is refused."""
    with pytest.raises(DataError, match=GROUPS_REFUSED[text]):
        load_groups(folder(tmp_path, c_csv=text) / "c.csv")


def test_a_suite_knows_the_file_of_a_column(tmp_path):
    """The hash of a column in a suite is that of its table, so that changes are noticed."""
    folder(tmp_path, labels_csv="id,kind\n1,shoe\n")
    sources = Sources(Shared(), Network(features="x.npy"), "n", tmp_path)
    assert sources.hashes(Path("labels.csv:kind")) == sources.hashes(Path("labels.csv"))
