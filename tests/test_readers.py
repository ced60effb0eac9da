"""Feature files of every kind are read as they were written, and other files are refused in one
sentence.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import world

from glocal.data.features import Features
from glocal.data.readers import READERS, read_matrix
from glocal.errors import DataError, FileError
from glocal.transform import LinearTransform, apply_parquet

pa = pytest.importorskip("pyarrow", reason="feature files need glocal[io]")
h5py = pytest.importorskip("h5py", reason="feature files need glocal[io]")
safetensors = pytest.importorskip("safetensors.numpy", reason="feature files need glocal[io]")
torch = pytest.importorskip("torch", reason=".pt files need glocal[extract]")
from pyarrow import parquet  # noqa: E402

KINDS = sorted(READERS)
TEXTS = (".csv", ".tsv")
CONTAINERS = [kind for kind in KINDS if kind not in (".npy", ".parquet", *TEXTS)]
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
IDENTITY = LinearTransform(np.eye(4, dtype=np.float32), None, 0.0, 1.0)


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays as each program would; a single array named `features` is written
    bare if possible.
    """
    if path.suffix == ".npy":
        np.save(path, *arrays.values())
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix in (".pt", ".pth"):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors["features"] if list(tensors) == ["features"] else tensors, path)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[f"group/{name}" if name == "clip" else name] = array
    elif path.suffix == ".safetensors":
        safetensors.save_file(arrays, path)
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({name: list(array) for name, array in arrays.items()}), path)
    else:
        np.savetxt(path, *arrays.values(), delimiter="," if path.suffix == ".csv" else "\t")
    return path


def sentence(path: Path) -> str:
    """The one-line error of reading `path`, which names the file and gives no unsafe advice."""
    with pytest.raises(FileError) as caught:
        read_matrix(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "weights_only" not in message
    assert "allow_pickle=True" not in message
    return message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("shape", [(1, 2), (7, 5)])
def test_round_trip(tmp_path, kind, dtype, shape):
    """Every kind of file gives back the shape, dtype and values that were written (text gives
    float64).
    """
    matrix = (np.random.default_rng(0).normal(size=shape) * 9).astype(
        "float64" if kind in TEXTS else dtype
    )
    loaded = np.array(read_matrix(write(tmp_path / f"a{kind}", {"features": matrix})))
    assert loaded.dtype == matrix.dtype
    rounding = 1e-15 if kind in TEXTS else 0  # older versions of pandas round the last digit
    np.testing.assert_allclose(loaded, matrix, rtol=rounding, atol=0)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_of_several_arrays_the_one_that_can_be_meant_is_read(tmp_path, kind):
    """Of several arrays, `features` or else the only matrix is read; with two matrices,
    neither is.
    """
    path = write(tmp_path / f"a{kind}", {"other": X + 1, "features": X, "another": X + 2})
    np.testing.assert_array_equal(read_matrix(path), X)
    path = write(
        tmp_path / f"b{kind}", {"epoch": np.array([[3.0]]), "clip": X, "cube": np.zeros((2, 2, 2))}
    )
    np.testing.assert_array_equal(read_matrix(path), X)
    assert "left, right" in sentence(write(tmp_path / f"c{kind}", {"left": X, "right": X[:, :3]}))


@pytest.mark.parametrize("kind", KINDS)
def test_another_content_is_refused(tmp_path, kind):
    """A missing or empty file, text, zeros and half a zip are refused in one sentence."""
    path = tmp_path / f"a{kind}"
    assert "does not exist" in sentence(path)
    for content in (b"", b"not a feature file\n" * 40, bytes(2000), b"PK\x03\x04" + bytes(600)):
        path.write_bytes(content)
        sentence(path)
    assert ".parquet" in sentence(path.rename(tmp_path / "a.xyz"))


TABLES = {
    "numbers": ("1.5,2\n3,4\n", [[1.5, 2], [3, 4]], None),
    "titles": ("f0;f1\n1;2\n3;4.5\n", [[1, 2], [3, 4.5]], None),
    "ids": ("id,f0,f1\n007,1,2\n8,3,4\n", [[1, 2], [3, 4]], "007|8"),
    "names without titles": ('egg,1,2\n"cup, blue",3,4\n', [[1, 2], [3, 4]], "egg|cup, blue"),
    "names last": ("f0,f1,file\n1,2,b.jpg\n3,4,a.jpg\n", [[1, 2], [3, 4]], "b.jpg|a.jpg"),
    "an index of pandas": (",0,1,2\n0,1.5,2,3\n1,4,5,6\n", [[1.5, 2, 3], [4, 5, 6]], None),
    "names as index": (",0,1\ncup,1.5,2\negg,4,5\n", [[1.5, 2], [4, 5]], "cup|egg"),
    "titles that are numbers": ("0,1,2,3\n1.5,2,3,4\n", [[1.5, 2, 3, 4]], None),
    "names below numbers": ("0,1,2,food\n1.5,2,3,egg\n", [[1.5, 2, 3]], "egg"),
    "names last, no titles": ("1.5,2,cup\n4,5,egg\n", [[1.5, 2], [4, 5]], "cup|egg"),
    "blanks": ("name a b\ncup 1 2\n", [[1, 2]], "cup"),
}


@pytest.mark.parametrize(("text", "rows", "names"), TABLES.values(), ids=TABLES)
def test_a_table_has_numbers_and_perhaps_names(tmp_path, text, rows, names):
    """With titles or without, the numbers of a table are features, and one column of names names
    the rows.
    """
    world.folder(tmp_path, t_csv="\ufeff" + text, file_names_txt="beside\n" * len(rows))
    features = Features.load(tmp_path / "t.csv")
    assert features.matrix.tolist() == rows
    assert "|".join(features.names) == (names or "|".join(["beside"] * len(rows)))


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("name,x,y,w\nq,1,z,2\n", "columns of names"),
        ("name,x\nq,1\n,2\n", "row 1 has no name"),
        ("name,x\nq,1,2\n", "damaged"),
        ("name;x;y\nq;1,5;2\n", "decimal comma"),
        ("1,5;2,5\n3,5;4,5\n", "decimal comma"),
        ("name,other\nq,r\n", "none of its columns"),
    ],
)
def test_another_table_is_refused(tmp_path, text, noun):
    """Two columns of text, a row without a name, rows that are too long, and decimal
    commas are refused in one sentence.
    """
    with pytest.raises((DataError, FileError), match=rf"t\.csv.*{noun}"):
        Features.load(world.folder(tmp_path, t_csv=text) / "t.csv")


REFUSED = {
    "a.mat": (lambda path: path.write_bytes(b"MATLAB 5.0"), ".h5"),
    "list.pt": (lambda path: torch.save([torch.zeros(3), torch.ones(3)], path), "damaged"),
    "answers.npz": (lambda path: world.answers(9, 9).save(path), "holds answers"),
    "transform.npz": (IDENTITY.save, "is a transform"),
    "loop": (lambda path: path.symlink_to("loop"), "does not exist"),
    "a" * 300: (lambda path: None, "does not exist"),
    "a" * 300 + ".npy": (lambda path: None, "does not exist"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_feature_file_is_refused_with_the_remedy(tmp_path, name):
    """Another format of MATLAB, a list of tensors, other files of this package, and names that no
    file can have are refused as such.
    """
    make, noun = REFUSED[name]
    make(tmp_path / name)
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
    trap = tmp_path / "trap"
    path = tmp_path / f"a{kind}"
    if kind == ".plain.pt":
        path.write_bytes(pickle.dumps({"features": Payload(trap)}))
    elif kind == ".pt":
        torch.save({"features": Payload(trap)}, path)
    else:
        save = np.save if kind == ".npy" else lambda path, array: np.savez(path, features=array)
        save(path, np.array([[Payload(trap)]], dtype=object))
    sentence(path)
    assert not trap.exists()


def test_a_declared_size_is_not_believed(tmp_path):
    """An HDF5 file of a few kilobytes that declares 8 GB of values is refused before
    memory is taken.
    """
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (1_000_000, 1000), "f8", chunks=(1000, 1000))
    assert "more than 100 times" in sentence(tmp_path / "a.h5")


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_half_precision(tmp_path, legacy):
    """bfloat16 tensors become equal float32 values and float16 tensors stay, in new and
    old files.
    """
    for dtype, expected in ((torch.bfloat16, np.float32), (torch.float16, np.float16)):
        tensor = torch.nn.Parameter(torch.from_numpy(X).to(dtype)).T
        torch.save(tensor, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
        loaded = read_matrix(tmp_path / "a.pt")
        assert loaded.dtype == expected
        np.testing.assert_array_equal(loaded.astype(np.float32), tensor.detach().float().numpy())


@pytest.mark.parametrize("dtype", ["list", "large_list", "fixed"])
def test_vectors_are_found_in_a_table(tmp_path, dtype):
    """In a Parquet file, the column with lists of floats is read, for any list type."""
    kind = {
        "list": pa.list_(pa.float32()),
        "large_list": pa.large_list(pa.float32()),
        "fixed": pa.list_(pa.float32(), 4),
    }[dtype]
    vectors = pa.array(list(X), type=kind)
    table = pa.table({"tokens": [[1, 2]] * 6, "name": list("abcdef"), "clip": vectors})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.parquet"), X)


@pytest.mark.parametrize(
    "rows", [[[1.0, 2.0], [1.0]], [[1.0, 2.0], None], [[1.0, 2.0], [1.0, None]]]
)
def test_a_table_with_a_hole_is_refused(tmp_path, rows):
    """A vector that is too short or missing, or that lacks a number, is refused with its row."""
    parquet.write_table(pa.table({"features": rows}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 1"):
        read_matrix(tmp_path / "a.parquet")


def test_all_readers_of_a_folder_of_shards_take_one_column(tmp_path):
    """Loading and applying read the column of the first shard, even if a later shard
    has a better one.
    """
    (tmp_path / "in").mkdir()
    parquet.write_table(pa.table({"embedding": list(X)}), tmp_path / "in" / "a.parquet")
    parquet.write_table(
        pa.table({"features": list(X + 9), "embedding": list(X + 1)}), tmp_path / "in" / "b.parquet"
    )
    expected = np.concatenate([X, X + 1])
    np.testing.assert_array_equal(Features.load(tmp_path / "in").matrix, expected)
    apply_parquet(IDENTITY, tmp_path / "in", tmp_path / "out")
    matrix = parquet.read_table(tmp_path / "out", columns=["embedding"])["embedding"].to_pylist()
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_which_file_of_a_folder(tmp_path):
    """If a folder has two feature files, neither is read; Parquet files count only if there is no
    other, and tables, which may be labels, do not.
    """
    write(tmp_path / "a.pt", {"features": X})
    write(tmp_path / "about.parquet", {"features": X + 1})
    names = [f"images/{name}.jpg" for name in ("zebra", "ant", "cow", "bee", "dog", "cat")]
    lines = "\n".join(names) + "\n"
    world.folder(tmp_path, labels_csv="file,label\na.jpg,3\n", file_names_txt=lines)
    features = Features.load(tmp_path)
    np.testing.assert_array_equal(features.matrix, X)
    assert features.names == tuple(names)
    write(tmp_path / "b.npz", {"features": X})
    with pytest.raises(FileError, match=r"a\.pt, b\.npz"):
        Features.load(tmp_path)
