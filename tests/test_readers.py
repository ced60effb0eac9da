"""Feature files of every kind are read as they were written, and other files are refused in one
sentence.
"""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import world
from world import features_file, normal

from glocal import Features, LinearTransform
from glocal.data.readers import FEATURE_ENDINGS, read_features
from glocal.data.tables import read_numbers
from glocal.errors import DataError, FileError

pa = pytest.importorskip("pyarrow", reason="feature files need glocal[io]")
h5py = pytest.importorskip("h5py", reason="feature files need glocal[io]")
torch = pytest.importorskip("torch", reason=".pt files need glocal[extract]")
from pyarrow import parquet  # noqa: E402

KINDS = sorted(FEATURE_ENDINGS)
TEXTS = (".csv", ".tsv")
CONTAINERS = [kind for kind in KINDS if kind not in (".npy", ".parquet", *TEXTS)]
X = normal(6, 4).astype(np.float32)
IDENTITY = LinearTransform(np.eye(4, dtype=np.float32), None, 0.0, 1.0)


def sentence(path: Path) -> str:
    """The one-line error of reading `path`, which names the file and gives no unsafe advice."""
    with pytest.raises(FileError) as caught:
        read_features(path)
    message = str(caught.value)
    assert str(path) in message
    assert not re.search("\n|weights_only|allow_pickle=True", message)
    return message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_round_trip(tmp_path, kind, dtype):
    """Every kind of file gives back the shape, dtype and values that were written (text gives
    float64).
    """
    matrix = (9 * X).astype("float64" if kind in TEXTS else dtype)
    loaded = np.array(read_features(features_file(tmp_path / f"a{kind}", features=matrix)).matrix)
    assert loaded.dtype == matrix.dtype
    rounding = 1e-15 if kind in TEXTS else 0  # older versions of pandas round the last digit
    np.testing.assert_allclose(loaded, matrix, rtol=rounding, atol=0)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_of_several_arrays_the_one_that_can_be_meant_is_read(tmp_path, kind):
    """Of several arrays, `features` or else the only matrix is read; with two matrices,
    neither is.
    """
    path = tmp_path / f"a{kind}"
    for others in (
        {"other": X + 1, "features": X, "another": X + 2},
        {"epoch": np.array([[3.0]]), "clip": X, "cube": np.zeros((2, 2, 2))},
    ):
        assert (read_features(features_file(path, **others)).matrix == X).all()
    assert "left, right" in sentence(features_file(path, left=X, right=X[:, :3]))


@pytest.mark.parametrize("kind", KINDS)
def test_another_content_is_refused(tmp_path, kind):
    """A missing or empty file, text and zeros are refused in one sentence."""
    path = tmp_path / f"a{kind}"
    assert "does not exist" in sentence(path)
    for content in (b"", b"not a feature file\n" * 40, bytes(2000)):
        path.write_bytes(content)
        sentence(path)
    assert ".parquet" in sentence(path.rename(tmp_path / "a.xyz"))


TABLES = {
    "numbers": "1.5,2,3\n4,5,6\n",
    "titles": "f0;f1;f2\n1.5;2;3\n4;5;6\n",
    "ids": "id,f0,f1,f2\n007,1.5,2,3\n8,4,5,6\n",
    "names in quotation marks": 'name,x,y,z\negg,1.5,2,3\n"cup, blue",4,5,6\n',
    "names last": "f0,f1,f2,file\n1.5,2,3,b.jpg\n4,5,6,a.jpg\n",
    "an index of pandas": ",0,1,2\n0,1.5,2,3\n1,4,5,6\n",
    "names as index": ",0,1,2\ncup,1.5,2,3\negg,4,5,6\n",
    "titles that are numbers": "0,1,2\n1.5,2,3\n4,5,6\n",
    "names below numbers": "0,1,2,food\n1.5,2,3,cup\n4,5,6,egg\n",
    "tabs": "name\ta\tb\tc\ncup\t1.5\t2\t3\negg\t4\t5\t6\n",
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_has_numbers_and_perhaps_names(tmp_path, case):
    """With titles or without, the numbers of a table are features, and one column of names names
    the rows.
    """
    text = TABLES[case]
    world.folder(tmp_path, t_csv="\ufeff" + text, file_names_txt="beside\nbeside\n")
    features = Features.load(tmp_path / "t.csv")
    assert features.matrix.tolist() == [[1.5, 2, 3], [4, 5, 6]]
    names = re.findall(r"007|8|cup, blue|cup|egg|[ab]\.jpg", text) or ["beside"] * 2
    assert [*features.names] == names


def test_a_missing_number_is_no_name(tmp_path):
    """The column of an empty cell in the first row is a feature like the others."""
    world.folder(tmp_path, t_csv="x,y,z\n0.1,,0.3\n0.2,0.5,0.3\n")
    features = Features.load(tmp_path / "t.csv")
    assert features.names is None
    np.testing.assert_array_equal(features.matrix, [[0.1, np.nan, 0.3], [0.2, 0.5, 0.3]])


TABLES_REFUSED = {
    "name,x,y,w\nq,1,z,2\n": "columns of names",
    "name,x\nq,1\n,2\n": "row 1 has no name",
    "name,x\nq,1,2\n": "damaged",
    "name;x;y\nq;1,5;2\n": "decimal comma",
    "1,5;2,5\n3,5;4,5\n": "decimal comma",
    "name\tx\nq\t1,5\n": "decimal comma",
    "name,other\nq,r\n": "none of its columns",
    "egg,1.5,2\ncup,4,5\n": "both numbers and other cells",
    "1.5,2,egg\n4,5,cup\n": "both numbers and other cells",
    "0.1,,0.3\n0.2,0.5,0.3\n": "both numbers and other cells",
    'name,x\n"q,1\nr,2\ns",3\n': "line 2 has a quotation mark",
    "1,2\n3,x\n": "text below its first line",
}


@pytest.mark.parametrize("text", TABLES_REFUSED)
def test_another_table_is_refused(tmp_path, text):
    """Two columns of text, a row without a name, rows that are too long, decimal commas, a first
    line that may be titles or a row, and lone quotation marks are refused in one sentence.
    """
    with pytest.raises((DataError, FileError), match=rf"t\.csv.*{TABLES_REFUSED[text]}"):
        Features.load(world.folder(tmp_path, t_csv=text) / "t.csv")


def test_what_is_no_feature_file_is_refused(tmp_path):
    """A list of tensors, other files of this package, and names that no file can have are refused
    as such.
    """
    torch.save([torch.zeros(3), torch.ones(3)], tmp_path / "list.pt")
    world.folder(tmp_path, answers_npz=world.answers(9, 9), transform_npz=IDENTITY)
    for name, noun in (
        ("list.pt", "damaged"),
        ("answers.npz", "holds answers"),
        ("transform.npz", "is a transform"),
        ("a" * 300, "does not exist"),
    ):
        with pytest.raises(FileError, match=noun):
            Features.load(tmp_path / name)


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", [".npy", ".npz", ".pt", ".plain.pt"])
def test_no_pickle_is_run(tmp_path, kind):
    """Pickled objects are refused, and their code never runs."""
    path = tmp_path / f"a{kind}"
    trapped = {"features": Payload(tmp_path / "trap")}
    if kind == ".plain.pt":
        path.write_bytes(pickle.dumps(trapped))
    elif kind == ".pt":
        torch.save(trapped, path)
    else:
        features_file(path, features=np.array([[*trapped.values()]]))
    sentence(path)
    assert not (tmp_path / "trap").exists()


def test_a_warning_of_another_kind_does_not_make_a_file_damaged(tmp_path, monkeypatch):
    """Numbers are read though numpy announces that a later version will change."""

    def loadtxt(*lines, **options):
        warnings.warn("a later version changes this", FutureWarning, stacklevel=2)
        return X

    monkeypatch.setattr(np, "loadtxt", loadtxt)
    path = world.folder(tmp_path, x_txt="1 2\n3 4\n") / "x.txt"
    with pytest.warns(FutureWarning):
        assert read_numbers(path, what="numbers") is X


def test_a_declared_size_is_not_believed(tmp_path):
    """An HDF5 file of a few kilobytes that declares 8 GB of values is refused before
    memory is taken.
    """
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (1_000_000, 1000), "f8", chunks=(1000, 1000))
    assert "more than 100 times" in sentence(tmp_path / "a.h5")


def test_tensors_of_half_precision(tmp_path):
    """bfloat16 tensors become equal float32 values."""
    tensor = torch.nn.Parameter(torch.from_numpy(X).bfloat16()).T
    torch.save(tensor, tmp_path / "a.pt")
    loaded, _ = read_features(tmp_path / "a.pt")
    assert loaded.dtype == np.float32
    assert (loaded == tensor.detach().float().numpy()).all()


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, lambda dtype: pa.list_(dtype, 4)])
def test_vectors_are_found_in_a_table(tmp_path, kind):
    """In a Parquet file, the column with lists of floats is read, for any list type, and the names
    beside it.
    """
    vectors = pa.array(list(X), type=kind(pa.float32()))
    table = pa.table({"tokens": [[1, 2]] * 6, "name": list("abcdef"), "clip": vectors})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    loaded, names = read_features(tmp_path / "a.parquet")
    assert (loaded == X).all()
    assert "".join(names) == "abcdef"


def test_a_column_of_floats_is_a_dimension(tmp_path):
    """A Parquet file without vectors has a dimension in each column of floats, and a column of
    integers that count the rows does not name them, nor does one that a dimension may be called.
    """
    columns = {f"d{i}": X[:, i] for i in range(4)}
    cases = (
        ("id", [*range(6)], None),
        ("id", [9, *range(5)], tuple("901234")),
        ("object", 6 * ["x"], None),
    )
    for title, cells, names in cases:
        parquet.write_table(pa.table({title: cells, **columns}), tmp_path / "a.parquet")
        loaded = read_features(tmp_path / "a.parquet")
        assert (loaded.matrix == X).all()
        assert loaded.names == names


@pytest.mark.parametrize("row", [[1.0], None, [1.0, None]])
def test_a_table_with_a_hole_is_refused(tmp_path, row):
    """A vector that is too short or missing, or that lacks a number, is refused."""
    parquet.write_table(pa.table({"features": [[1.0, 2.0], row]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="missing value"):
        read_features(tmp_path / "a.parquet")


def test_a_folder_of_shards_is_one_table(tmp_path):
    """The shards follow each other in the order of their names; the column is chosen once, though
    a later shard has another one besides, and a shard without rows adds none.
    """
    features_file(tmp_path / "a.parquet", embedding=X)
    empty = pa.array([], pa.list_(pa.float32()))
    parquet.write_table(pa.table({"embedding": empty}), tmp_path / "b.parquet")
    features_file(tmp_path / "c.parquet", features=X + 9, embedding=X + 1)
    assert (Features.load(tmp_path).matrix == np.concatenate([X, X + 1])).all()


def test_which_file_of_a_folder(tmp_path):
    """If a folder has two feature files, neither is read; Parquet files count only if there is no
    other, and tables, which may be labels, do not.
    """
    features_file(tmp_path / "a.pt", features=X)
    features_file(tmp_path / "about.parquet", features=X + 1)
    names = "images/zebra.jpg\nant\ncow\nbee\ndog\ncat"
    world.folder(tmp_path, labels_csv="file,label\na.jpg,3\n", file_names_txt=names)
    features = Features.load(tmp_path)
    assert (features.matrix == X).all()
    assert "\n".join(features.names) == names
    features_file(tmp_path / "b.npz", features=X)
    with pytest.raises(FileError, match=r"a\.pt, b\.npz"):
        Features.load(tmp_path)
