"""Labels of images and their superclasses: their files, their types, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from world import folder

from glocal import Features, anomaly, errors, few_shot, retrieval, verdict
from glocal.data.labels import (
    load_labels,
    load_superclasses,
    row_labels,
    split_column,
    superclass_rows,
)
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.suite.network_files import NetworkFiles
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
    labels = load(tmp_path, text, rows(3), f"l.csv:{title}").labels
    assert labels.tolist() == ["not bad", "hot dog, big", "hot pot"]


def test_a_column_without_a_title_is_a_wrong_option():
    """``FILE.csv:`` names no column, and is no name of a file."""
    with pytest.raises(ParameterError, match=r"l\.csv:COLUMN"):
        split_column("l.csv:")


LINES = "name,kind\nim/c.jpg,sock\nim/A.jpg,shoe\nim/d.jpg,hat\n"
JOINED = {
    "folder, ending and capital letters do not count": (LINES, "a c D.png", "shoe sock hat"),
    "rows may lack a line": (LINES, "c x a y d z", "sock shoe hat"),
    "lines may lack a row": (LINES, "d a", "hat shoe"),
    "an empty label is none": (LINES.replace("sock", ""), "a c d", "shoe hat"),
    "lines in order are by name too": ("kind,id\nx,0\ny,1\nz,2\n", "2 1 0", "z y x"),
    "a column that counts the lines is no better": (
        ",kind,File\n0,b,4\n1,a,0\n2,b,1\n3,a,2\n4,b,3\n", "0 1 2 3 4", "a b a b b",
    ),
    "the index of a shuffled frame": (",kind\n2,z\n0,x\n1,y\n", "0 1 2", "x y z"),
    "lines of other rows may contradict each other": (
        LINES + ",hat\n,sock\nx,hat\nx,sock\n", "a c d", "shoe sock hat",
    ),
    "a name may have two lines with one label": (LINES + "a.png,\n", "im/A.jpg c", "shoe sock"),
    "the first of two columns of names": ("id,like,kind\nc,C.png,x\na,C.png,y\n", "a c", "y x"),
    "alike names that are written alike": ("name,kind\na.jpg,x\na.png,y\n", "a.png a.jpg", "y x"),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINED)
@pytest.mark.filterwarnings("ignore:.*no label")
def test_labels_are_joined_by_name_if_both_files_have_names(tmp_path, case):
    """The first column whose title says that it has names gives each row its label, whatever the
    order; features without a label are left out.
    """
    text, names, expected = JOINED[case]
    features, labels = load(tmp_path, text, named(names))
    assert " ".join(labels) == expected
    assert len(features) == len(features.names) == len(labels)


UNCLEAR = {
    "names of another network": (LINES, "p q r", "'im/c.jpg'.*'p'.*labels alone"),
    "an index of other rows": (",kind\n0,x\n1,y\n", "a b", "'0'.*'a'.*labels alone"),
    "two labels": (LINES + "im/c.jpg,hat\n", "a c d", "'im/c.jpg' twice"),
    "two entries": (LINES + "im/c.png,hat\n", "a c d e", "'c' may name 'im/c.jpg' or 'im/c.png'"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_labels_whose_rows_are_not_clear_are_refused(tmp_path, case):
    """Names of other rows only, and a name with two labels or two entries are refused with an
    example.
    """
    text, names, noun = UNCLEAR[case]
    with pytest.raises(DataError, match=rf"l\.csv.*({noun})|^{noun}"):
        load(tmp_path, text, named(names))


ONE_SIDED = {
    "the features": (LINES, rows(3)),
    "an index is a column of names": (LINES.replace("name", ""), rows(3)),
    "the table": (LINES.replace("name", "sku"), named("a b c")),
}


@pytest.mark.parametrize("case", ONE_SIDED)
def test_names_that_one_file_lacks_are_said(tmp_path, case):
    """If one of both files has names, label i is that of row i, a warning says so, and another
    number of labels is refused.
    """
    text, features = ONE_SIDED[case]
    with pytest.warns(DataWarning, match="no names.*row i"):
        labels = load(tmp_path, text, features).labels
    assert labels.tolist() == ["sock", "shoe", "hat"]
    with pytest.raises(DataError, match="4 labels"), pytest.warns(DataWarning, match="no names"):
        load(tmp_path, text + "e,hat\n", features)


def test_numbers_that_count_the_lines_are_no_names(tmp_path):
    """A table that numbers its lines is read by line, as one without names is."""
    for title in ("id", ""):
        for first in (0, 1):
            lines = "".join(f"{first + i},{kind}\n" for i, kind in enumerate("xyz"))
            assert load(tmp_path, f"{title},kind\n{lines}", rows(3)).labels.tolist() == [*"xyz"]


def test_rows_without_a_label_are_left_out_in_python_too():
    """None, NaN, NA, what a categorical lacks and an empty text are no label in Python; the rows
    are counted, and few-shot, retrieval, anomalies and verdicts are about the others.
    """
    missing = {
        "list": ["a", None, float("nan"), "b"],
        "text": np.array(["a", "", "", "b"]),
        "objects": np.array(["a", None, np.nan, "b"], dtype=object),
        "frame": pd.Series(["a", pd.NA, None, "b"]),
        "categorical": pd.Categorical.from_codes([0, -1, -1, 1], ["a", "b"]),
        "numbers": [0.0, np.nan, np.nan, 1.0],
        "whole numbers": pd.Series([0, None, None, 1], dtype="Int64"),
    }
    for labels in missing.values():
        with pytest.warns(DataWarning, match="2 of 4 rows have no label"):
            kept, values = row_labels(labels, 4)
        assert kept.tolist() == [0, 3]
        assert values.tolist() in (["a", "b"], [0, 1])
    assert row_labels(np.array([3, -1])).labels.tolist() == [3, -1]


def test_images_without_a_label_are_no_class_of_their_own(as_a_user):
    """Every evaluation with labels gives the numbers of the images that have one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(48, 4)) + 2 * np.eye(4)[np.repeat([0, 1, 2], 16)]
    y = np.repeat([*"abc"], 16).tolist()
    y[32:] = 16 * [float("nan")]
    full = np.array(y[:32])
    test = rng.normal(size=(9, 4))
    truth = np.array([*"aabbaabba"])
    calls = [
        lambda X, y: few_shot(X, y, shots=1, draws=3),
        lambda X, y: few_shot(X[:32], full, X, y, shots=1, draws=3),
        retrieval,
        lambda X, y: anomaly(X, y, test, truth),
        lambda X, y: verdict(X, y).scores,
    ]
    for call in calls:
        with pytest.warns(DataWarning, match="16 of 48 rows have no label"):
            result = call(X, y)
        assert str(result) == str(call(X[:32], full))


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
    "y.txt; DataError; 'kind'.*without a title": "kind\na\nb\nc\n",
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
        assert row_labels(column, 3).labels.tolist() == labels


@pytest.mark.parametrize("values", [[1.5], [[1, 2], [3, 4]], 5, [True], [b"a"], [], [None]])
def test_what_is_no_integer_or_name_a_row_is_refused(values):
    """Fractions, matrices, single values, booleans, bytes, nothing and no label are refused."""
    with pytest.raises(DataError, match="labels"):
        row_labels(values)


def test_a_byte_order_mark_is_no_part_of_a_table(tmp_path):
    """UTF-8 with a byte order mark is read as without it."""
    text = "file;kind\n1;Bär\n2;Kuh\n".encode("utf-8-sig")
    assert load(tmp_path, text, rows(2)).labels.tolist() == ["Bär", "Kuh"]


def test_a_lone_quotation_mark_is_refused_with_its_line(tmp_path):
    """A quotation mark that no other closes on its line is an error, where it would take the lines
    up to the next one into one label.
    """
    text = 'file,kind\na,1\nb,"5 inch\nc,2\nd,3\n"e",4\nf,5" \n'
    with pytest.raises(FileError, match=r"l\.csv.*line 3 has a quotation mark"):
        load(tmp_path, text, named("a b c d e f"))


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
    sources = Sources(
        Shared(), Network(features="x.npy"), NetworkFiles(root=folder(tmp_path / "suite"))
    )
    for name in (file.as_posix(), "../labels.csv"):
        assert [*sources.files.hashes(name)] == [name]
