"""Labels of images and their superclasses: their files, their types, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from world import folder

from glocal import Features, errors, few_shot
from glocal.data.labels import (
    check_labels,
    load_labels,
    load_superclasses,
    split_column,
    superclass_rows,
)
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.suite.sources import Network, Shared, Sources


def rows(n, names=None):
    return Features(np.zeros((n, 1)), names)


def named(names):
    """Rows with the names in a text."""
    return rows(len(names.split()), tuple(names.split()))


def load(folder_of_file, content, features, name="l.csv:kind"):
    """Load the labels of features from a file of this content, whose name may end in a column."""
    file = name.split(":")[0]
    folder(folder_of_file, **{file.replace(".", "_"): content})
    return load_labels(f"{folder_of_file}/{name}", features)


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
    name = "y.txt" if isinstance(content, str) else "y.npy"
    labels = load(tmp_path, content, named(expected), name).labels
    assert " ".join(map(repr, labels.tolist())) == expected
    assert labels.dtype == np.int64 or labels.dtype.kind == "U"
    labels[0] = labels[1]  # a copy, not a map of the file


def test_labels_are_a_column_of_a_table(tmp_path):
    """`FILE.csv:COLUMN` reads the column with that title, whatever separates the columns."""
    table = "id,article type,class\n1,shoe,3\n2,sock,4\n"
    folder(tmp_path, a_csv=table, b_tsv=table.replace(",", "\t"))
    for path in (f"{tmp_path}/a.csv", f"{tmp_path}/b.tsv"):
        assert load_labels(f"{path}:article type", rows(2)).labels.tolist() == ["shoe", "sock"]
        assert load_labels(f"{path}:class", rows(2)).labels.tolist() == [3, 4]
    for path, noun in (
        ("a.csv:kind", r"no column 'kind'.* id, article type, class"),
        ("a.csv", r"a\.csv:COLUMN"),
    ):
        with pytest.raises(DataError, match=noun):
            load_labels(f"{tmp_path}/{path}", rows(2))


@pytest.mark.parametrize("title", ["kind", "damage type"])
def test_blanks_separate_no_columns_of_labels(tmp_path, title):
    """A first line without a comma, semicolon or tab is the title of one column, and labels of two
    words are one label.
    """
    text = f'{title}\nnot bad\n"hot dog, big"\nhot pot\n'
    labels = load(tmp_path, text, named("a b c"), f"l.csv:{title}").labels
    assert labels.tolist() == ["not bad", "hot dog, big", "hot pot"]


def test_a_column_without_a_title_is_a_wrong_option():
    """``FILE.csv:`` names no column, and is no name of a file."""
    with pytest.raises(ParameterError, match=r"l\.csv:COLUMN"):
        split_column("l.csv:")


LINES = "sku,kind\nim/c.jpg,sock\nim/A.jpg,shoe\nim/d.jpg,hat\n"
JOINED = {
    "folder, ending and capital letters do not count": (LINES, "a c D.png", "shoe sock hat"),
    "rows may lack a line": (LINES, "c x a y d z", "sock shoe hat"),
    "lines may lack a row": (LINES, "d a", "hat shoe"),
    "an empty label is none": (LINES.replace("sock", ""), "a c d", "shoe hat"),
    "lines in order are by name too": ("kind,sku\nx,0\ny,1\nz,2\n", "2 1 0", "z y x"),
    "a number of the class names no rows": (
        "no,kind,sku\n1,b,4\n0,a,0\n1,b,1\n0,a,2\n1,b,3\n", "0 1 2 3 4", "a b a b b",
    ),
    "lines of other rows may contradict each other": (
        LINES + ",hat\n,sock\nx,hat\nx,sock\n", "a c d", "shoe sock hat",
    ),
    "a name may have two lines with one label": (LINES + "a,shoe\n", "a c d", "shoe sock hat"),
    "a tenth of the lines may repeat a name": (
        "no,kind\n" + "".join(f"im{i % 9},k{i % 9}\n" for i in range(10)),
        " ".join(f"im{i}" for i in range(12)), " ".join(f"k{i}" for i in range(9)),
    ),
    "another column of names may be worse": (
        "file,like,kind\n" + "".join(f"im{i},im{i % 9},k{i % 2}\n" for i in range(10)),
        " ".join(f"im{i}" for i in range(10)), " ".join(5 * ["k0 k1"]),
    ),
    "columns of names that agree": ("id,sku,kind\nc,C.png,x\na,A.png,y\n", "a c", "y x"),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINED)
@pytest.mark.filterwarnings("ignore:.*no label")
def test_labels_are_joined_by_name_if_both_files_have_names(tmp_path, case):
    """A column that holds the names of the features gives each row its label, whatever the order;
    features without a label are left out.
    """
    text, names, expected = JOINED[case]
    features, labels = load(tmp_path, text, named(names))
    assert " ".join(labels) == expected
    assert len(features) == len(features.names) == len(labels)


UNCLEAR = {
    "two columns": ("rank,sku,kind\n0,1,x\n1,2,y\n2,0,z\n", "0 1 2", "'sku' and 'rank'|'rank' and"),
    "too few names": (LINES + "q,hat\n" * 3, "a b e f", "'a'.*'sku'.*'im/c.jpg'"),
    "names of another network": (LINES, "p q r", "'p'.*'sku'"),
    "two labels": (LINES + "im/c.jpg,hat\n", "a c d", "'im/c.jpg' twice"),
    "two entries": (LINES + "im/c.png,hat\n", "a c d e", "'c' may name 'im/c.jpg' or 'im/c.png'"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_labels_whose_rows_are_not_clear_are_refused(tmp_path, case):
    """No column with the names, two that differ, and a name with two labels or two entries are
    refused with an example, and with the way to be read by line.
    """
    text, names, noun = UNCLEAR[case]
    with pytest.raises(DataError, match=rf"l\.csv.*({noun}).*labels alone"):
        load(tmp_path, text, named(names))


@pytest.mark.parametrize("n_rows, n_lines", [(10, 30), (30, 10)])
def test_nine_in_ten_names_are_enough(tmp_path, n_rows, n_lines):
    """A column names the rows if it has nine of ten rows, or nine of its ten lines name a row."""
    features = rows(n_rows, tuple(f"im{i}" for i in range(n_rows)))

    def labels(n_shared):
        entries = [*range(n_shared), *range(100, 100 + n_lines - n_shared)]
        lines = "".join(f"im{i}.png,{i % 2}\n" for i in entries)
        return load(tmp_path, f"file,kind\n{lines}", features).labels

    with pytest.warns(DataWarning, match=f"{n_rows - 9} of {n_rows} rows have no label"):
        assert len(labels(9)) == 9
    with pytest.raises(DataError, match=r"share of 0\.80"):
        labels(8)


def test_names_that_the_features_lack_are_said(tmp_path):
    """A table with names is read by line, with a warning, if the features have none; numbers that
    count the lines are no names.
    """
    with pytest.warns(DataWarning, match="names .sku.*has none"):
        labels = load(tmp_path, LINES, rows(3)).labels
    assert labels.tolist() == ["sock", "shoe", "hat"]
    numbered = "id,kind\n1,x\n2,y\n3,z\n"
    assert load(tmp_path, numbered, rows(3)).labels.tolist() == [*"xyz"]


UNLABELLED = {
    "y.csv:kind": "id,kind\n1,shoe\n2,\n3,sock\n",
    "z.csv:kind": "kind\nshoe\n\nsock\n",
    "y.txt": "shoe\n\nsock\n",
    "z.txt": 'shoe\n""\nsock\n',
}


@pytest.mark.parametrize("name", UNLABELLED)
def test_rows_without_a_label_are_left_out_and_counted(tmp_path, name):
    """An empty cell or line is no label; its row is left out, and a warning counts it."""
    features = Features(np.arange(3.0)[:, None])
    with pytest.warns(DataWarning, match="1 of 3 rows have no label"):
        labelled, labels = load(tmp_path, UNLABELLED[name], features, name)
    assert labels.tolist() == ["shoe", "sock"]
    assert labelled.matrix.tolist() == [[0], [2]]


# the name of the file, the error, and its noun
BAD = {
    "y.txt; DataError; 2 labels": "1\n2\n\n",
    "y.txt; FileError; empty": "",
    "y.txt; DataError; without a title.* 'kind'": "kind\na\nb\nc\n",
    "y.csv:kind; DataError; no label in any": "id,kind\n1,\n2,\n3,\n",
    "y.csv:kind; FileError; line 3, saw 3": "id,kind\n1,a\n2,b,c\n3,d\n",
    # which numpy pickles
    r"y.npy; FileError; astype\('U'\)": np.array(["cat", "dog", "cat"], dtype=object),
    "y.csv:kind; FileError; not text in UTF-8.*cp1252.*'CSV UTF-8'": "kind\nBär\n".encode("cp1252"),
    "y.xlsx; FileError; workbook": b"PK\3\4",
    "y.xlsx:kind; FileError; workbook": b"PK\3\4",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_of_labels_is_named(tmp_path, case):
    """A file with another number of labels than rows, a title, no label, pickled strings, another
    encoding than UTF-8 or UTF-16, or a spreadsheet is refused by name.
    """
    name, error, noun = case.split("; ")
    with pytest.raises(getattr(errors, error), match=rf"{name.split(':')[0]}.*{noun}"):
        load(tmp_path, BAD[case], rows(3), name)


@pytest.mark.parametrize("labels", [["cat", "dog", "cat"], [3, 0, 3]])
def test_lists_and_columns_of_a_frame_are_labels(labels, as_a_user):
    """Names that pandas holds as objects are names."""
    for column in (labels, pd.Series(labels)):
        assert check_labels(column, 3).tolist() == labels


@pytest.mark.parametrize("values", [[1.0], [[1, 2], [3, 4]], 5, [True], [b"a"], [], ["cat", None]])
def test_what_is_no_integer_or_name_a_row_is_refused(values):
    """Fractions, matrices, single values, booleans, bytes, nothing and missing names are
    refused.
    """
    with pytest.raises(DataError, match="labels"):
        check_labels(np.array(values))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_in_another_form_of_unicode_is_read(tmp_path, encoding):
    """UTF-16, and UTF-8 with a byte order mark, are read as UTF-8 is."""
    text = "file;kind\n1;Bär\n2;Kuh\n".encode(encoding)
    assert load(tmp_path, text, rows(2)).labels.tolist() == ["Bär", "Kuh"]


GROUPS_REFUSED = {"a,b,c\nx,y,z": "3 columns", "a,b\nx,y\nx,z": "into y and into z"}


@pytest.mark.parametrize("text", GROUPS_REFUSED)
def test_what_is_no_table_of_superclasses_is_refused(tmp_path, text):
    """A table with other columns, or with two superclasses of a class, is refused."""
    with pytest.raises(DataError, match=GROUPS_REFUSED[text]):
        load_superclasses(folder(tmp_path, c_csv=text) / "c.csv")


def test_a_class_is_called_alike_in_all_files(tmp_path):
    """Numbers that one file writes as 0.0 and another as 0 are one class, in labels, superclasses
    and the names of texts.
    """
    kinds = "kind\n0.0\n0.0\n1.0\n1.0\n"
    labels = load(tmp_path, kinds, rows(4)).labels
    for number in ("{}", "{}.0"):
        zero, one = (number.format(i) for i in range(2))
        folder(tmp_path, c_csv=f"class,group\n{zero},a\n{one},b\n")
        groups = superclass_rows(labels, load_superclasses(tmp_path / "c.csv"))[1]
        assert groups.tolist() == [*"aabb"]
        texts = Features(np.eye(2), (zero, one))
        X = np.eye(2)[labels] + 0.1
        assert few_shot(X, labels, shots=0, texts=texts, originals=X).scores[0].value == 1


def test_files_of_a_suite_may_lie_on_another_drive(tmp_path):
    """A file outside of the folder of a suite is named as the suite writes it, since there is no
    relative path from one drive to another.
    """
    file = folder(tmp_path, labels_csv="kind\na\n") / "labels.csv"
    sources = Sources(Shared(), Network(features="x.npy"), root=folder(tmp_path / "suite"))
    for name in (file.as_posix(), "../labels.csv"):
        assert [*sources.hashes(name)] == [name]
