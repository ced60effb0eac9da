"""Feature files of every kind: what is written is read, and what cannot be read is said in one sentence."""

from __future__ import annotations

import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.readers import READERS, read_matrix
from glocal.errors import DataError, DataWarning, FileError, MissingDependencyError


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays as each program would; a lone array called `features` is written bare where a format has that."""
    suffix = path.suffix
    if suffix == ".npy":
        np.save(path, *arrays.values())
    elif suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif suffix in (".pt", ".pth"):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors["features"] if list(tensors) == ["features"] else tensors, path)
    elif suffix in (".h5", ".hdf5"):
        with pytest.importorskip("h5py", reason="HDF5 needs glocal[io]").File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
    elif suffix == ".zarr":
        zarr = pytest.importorskip("zarr", reason="zarr folders need glocal[io]")
        if list(arrays) == ["features"]:
            zarr.save_array(str(path), arrays["features"])
        else:
            group = zarr.open_group(str(path), mode="w")
            for name, array in arrays.items():
                group[name] = array
    elif suffix == ".parquet":
        pa = pytest.importorskip("pyarrow", reason="Parquet needs glocal[io]")
        from pyarrow import parquet

        parquet.write_table(pa.table({name: list(array) for name, array in arrays.items()}), path)
    else:
        savemat(path, arrays)
    return path


def matlab73(path: Path, arrays: dict[str, np.ndarray], classes: dict[str, str] | None = None) -> Path:
    """Write HDF5 as MATLAB -v7.3 does: a text header of 512 bytes, axes reversed, classes as attributes."""
    h5py = pytest.importorskip("h5py", reason="MATLAB v7.3 files need glocal[io]")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array.T)
            dataset.attrs["MATLAB_class"] = np.bytes_((classes or {}).get(name, "double"))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def sentence(path: Path) -> str:
    """The one-line error of reading `path`, which names it and never advises to load it unsafely."""
    with pytest.raises(FileError) as caught:
        read_matrix(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"features file {path} ")
    assert "weights_only" not in message
    assert "allow_pickle=True" not in message
    return message


KINDS = sorted(READERS)
FILES = [kind for kind in KINDS if kind != ".zarr"]  # a zarr array is a folder
CONTAINERS = [kind for kind in KINDS if kind not in (".npy", ".parquet")]  # columns of a table are of one length
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(2, 5)),
    dtype=st.sampled_from(["float16", "float32", "float64", "int32"]),
    seed=st.integers(0, 99),
)
def test_round_trip(kind, shape, dtype, seed):
    """Every kind gives back the shape, dtype and values that were written (MATLAB has no float16)."""
    if (kind, dtype) == (".mat", "float16"):
        dtype = "float32"
    matrix = (np.random.default_rng(seed).normal(size=shape) * 9).astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        found = np.array(read_matrix(write(Path(folder) / f"a{kind}", {"features": matrix})))
    assert found.dtype == matrix.dtype
    np.testing.assert_array_equal(found, matrix)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_named_features_win(tmp_path, kind):
    """Of several matrices the one named `features` is taken."""
    path = write(tmp_path / f"a{kind}", {"other": X + 1, "features": X, "another": X + 2})
    np.testing.assert_array_equal(read_matrix(path), X)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_only_matrix(tmp_path, kind):
    """Without that name the only matrix is taken, whatever scalars and higher arrays lie beside it."""
    path = write(tmp_path / f"a{kind}", {"epoch": np.array([[3.0]]), "clip": X, "cube": np.zeros((2, 2, 2))})
    np.testing.assert_array_equal(read_matrix(path), X)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_ambiguous(tmp_path, kind):
    """Two matrices without the name are refused, and the sentence lists what is in the file."""
    message = sentence(write(tmp_path / f"a{kind}", {"left": X, "right": X[:, :3]}))
    assert "left (6, 4), right (6, 3)" in message
    assert "2 2-d arrays" in message
    many = {f"part{i}": X for i in range(9)}
    assert "part5 (6, 4), 3 more" in sentence(write(tmp_path / f"many{kind}", many))


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=25)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated(kind, fraction):
    """A file cut anywhere is refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"a{kind}", {"features": X})
        whole = path.read_bytes()
        path.write_bytes(whole[: int(fraction * len(whole))])
        sentence(path)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("content", [b"not a feature file\n" * 40, bytes(2000), b"PK\x03\x04" + bytes(600)])
def test_wrong_kind(tmp_path, kind, content):
    """Text, zeros or half a zip under the name of a feature file are refused in one sentence."""
    if kind in (".h5", ".hdf5"):
        pytest.importorskip("h5py", reason="HDF5 needs glocal[io]")
    path = tmp_path / f"a{kind}"
    path.write_bytes(content)
    sentence(path)


@pytest.mark.parametrize(
    "kind", [kind for kind in FILES if kind not in (".npy", ".mat")]
)  # NOTE: scipy itself can crash there
@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_flipped_bytes(kind, seed):
    """Flipped bytes give an array or one sentence, never another error."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"a{kind}", {"features": X})
        damaged = np.frombuffer(path.read_bytes(), np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            read_matrix(path)
        except FileError:
            sentence(path)


def test_the_fill_value_of_a_whole_hdf5_file_is_not_asked_for(tmp_path, monkeypatch):
    """The library crashes, without an exception, over that of some damaged files; a file without holes needs none."""
    h5py = pytest.importorskip("h5py", reason="HDF5 needs glocal[io]")
    monkeypatch.setattr(h5py.Dataset, "fillvalue", property(lambda self: pytest.fail("the fill value was read")))
    assert np.array_equal(read_matrix(write(tmp_path / "a.h5", {"features": X})), X)


@pytest.mark.parametrize(("intact", "damaged"), [(b"(6, 4)", b"(6, 4 "), (b"'shape'", b"b'shap'"), (b"<f4", b"<f9")])
def test_damaged_npy_header(tmp_path, intact, damaged):
    """A .npy header with an open bracket, a foreign key or an unknown type is refused in one sentence."""
    path = write(tmp_path / "a.npy", {"features": X})
    path.write_bytes(path.read_bytes().replace(intact, damaged))
    assert "not a whole .npy file" in sentence(path)


def test_missing_empty_folder_unknown(tmp_path):
    """A missing file, an empty one, a folder and an unknown extension each have their sentence."""
    assert "does not exist" in sentence(tmp_path / "a.pt")
    (tmp_path / "e.h5").touch()
    assert "is empty" in sentence(tmp_path / "e.h5")
    (tmp_path / "d.mat").mkdir()
    assert "is a folder" in sentence(tmp_path / "d.mat")
    assert ".hdf5, .mat, .npy, .npz, .parquet, .pt, .pth, .zarr" in sentence(tmp_path / "a.csv")


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", [".npy", ".npz", ".pt", ".pth"])
def test_no_pickle(tmp_path, kind):
    """Pickled objects are refused by name and their code never runs."""
    trap, path = tmp_path / "trap", tmp_path / f"a{kind}"
    if kind.startswith(".p"):
        torch.save({"features": Payload(trap)}, path)
    else:
        save = np.save if kind == ".npy" else lambda path, array: np.savez(path, features=array)
        save(path, np.array([[Payload(trap)]], dtype=object))
    assert "pickled Python objects, which are never loaded" in sentence(path)
    assert not trap.exists()


def test_plain_pickle_named_pt(tmp_path):
    """A plain pickle or a numpy array under .pt is refused without a warning."""
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"features": X}))
    sentence(tmp_path / "a.pt")
    torch.save(X, tmp_path / "b.pt")
    assert "torch.save(torch.as_tensor(features), path)" in sentence(tmp_path / "b.pt")


def test_objects_beside_features(tmp_path):
    """Pickled names beside the features in an npz do not stand in the way of the numbers."""
    np.savez(tmp_path / "a.npz", names=np.array(["a", None], dtype=object), features=X)
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.npz"), X)


def test_transform_is_no_features(tmp_path):
    """The weights of a transform are not taken for features."""
    np.savez(tmp_path / "transform.npz", weights=np.eye(4), mean=0.0, std=1.0)
    assert "is a transform, not features" in sentence(tmp_path / "transform.npz")


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_halves(tmp_path, legacy):
    """bfloat16 tensors become equal float32 values, float16 ones stay, in new and old torch files."""
    for dtype, wanted in ((torch.bfloat16, np.float32), (torch.float16, np.float16)):
        tensor = torch.from_numpy(X).to(dtype)
        torch.save(tensor, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
        found = read_matrix(tmp_path / "a.pt")
        assert found.dtype == wanted
        np.testing.assert_array_equal(found.astype(np.float32), tensor.float().numpy())


def test_torch_views(tmp_path):
    """A trainable, transposed tensor is read as its values, rows one after another in memory."""
    torch.save(torch.nn.Parameter(torch.from_numpy(X)).T, tmp_path / "a.pt")
    found = read_matrix(tmp_path / "a.pt")
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, X.T)


def test_torch_other_things(tmp_path):
    """A list, a sparse and a float8 tensor are refused with what to save instead."""
    tensor = torch.from_numpy(X)
    for value, said in (
        ([tensor], "holds a list"),
        (tensor.to_sparse(), "layout torch.sparse_coo"),
        (tensor.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ):
        torch.save(value, tmp_path / "a.pt")
        assert said in sentence(tmp_path / "a.pt")


@pytest.mark.parametrize("kind", [".npy", ".npz", ".h5"])
def test_numpy_bfloat16(tmp_path, kind):
    """bfloat16 saved from numpy has lost its type; the sentence says how to convert it, and is right."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="numpy's bfloat16 comes with onnx")
    path = write(tmp_path / f"a{kind}", {"features": X.astype(ml_dtypes.bfloat16)})
    assert "array.view(ml_dtypes.bfloat16).astype('float32')" in sentence(path)
    if kind == ".npy":
        converted = np.load(path).view(ml_dtypes.bfloat16).astype("float32")
        np.testing.assert_allclose(converted, X, rtol=2**-8)


def test_byte_order(tmp_path):
    """Big-endian HDF5 comes out in the byte order of this machine."""
    found = read_matrix(write(tmp_path / "a.h5", {"features": X.astype(">f4")}))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, X)


def test_hdf5_groups(tmp_path):
    """The only matrix is found inside a group, past texts."""
    h5py = pytest.importorskip("h5py", reason="HDF5 needs glocal[io]")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["clip/visual"] = X
        file["names"] = np.array([[b"a", b"b"]])
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.h5"), X)


def test_without_h5py(tmp_path, monkeypatch):
    """Without h5py the sentence names the extra to install, for HDF5 and for MATLAB v7.3."""
    paths = [write(tmp_path / "a.h5", {"features": X}), matlab73(tmp_path / "a.mat", {"features": X})]
    monkeypatch.setitem(sys.modules, "h5py", None)
    for path in paths:
        with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[io\]'"):
            read_matrix(path)


def test_matlab_73(tmp_path):
    """MATLAB v7.3 stores the axes reversed: rows are rows again, and texts and MATLAB's own groups are passed over."""
    np.testing.assert_array_equal(read_matrix(matlab73(tmp_path / "a.mat", {"features": X})), X)
    beside = {"clip": X, "model": np.array([[99, 108]], np.uint16), "#refs#/a": X}
    path = matlab73(tmp_path / "b.mat", beside, {"model": "char"})
    found = read_matrix(path)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, X)


def test_matlab_kinds(tmp_path):
    """Compressed v7 and v4 files are read; a cell named features is refused with what to write."""
    savemat(tmp_path / "a.mat", {"features": X}, do_compression=True)
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.mat"), X)
    savemat(tmp_path / "b.mat", {"clip": X.astype(float)}, format="4")
    np.testing.assert_array_equal(read_matrix(tmp_path / "b.mat"), X)
    savemat(tmp_path / "c.mat", {"features": np.array([X, X[:1]], dtype=object)})
    assert "holds features as cell" in sentence(tmp_path / "c.mat")


NAMES = tuple(f"images/{name}.jpg" for name in ("zebra", "ant", "cow", "bee", "dog", "cat"))


@pytest.mark.parametrize("kind", KINDS)
def test_thingsvision_folder(tmp_path, kind):
    """A folder as thingsvision writes it joins triplets by name, with each kind of file."""
    write(tmp_path / f"features{kind}", {"features": X})
    (tmp_path / "file_names.txt").write_text("\n".join(NAMES) + "\n")
    features = Features.load(tmp_path)
    np.testing.assert_array_equal(features.matrix, X)
    ids = ("ant", "bee", "zebra")
    joined = join(features, Answers(np.array([[0, 1, 2]])), ids)
    assert joined.triplets.answers.tolist() == [[1, 3, 0]]


def test_two_files_in_a_folder(tmp_path):
    """A folder with two feature files is refused, since either could be meant."""
    write(tmp_path / "a.pt", {"features": X})
    write(tmp_path / "b.npz", {"features": X})
    with pytest.raises(FileError, match=r"a\.pt, b\.npz"):
        Features.load(tmp_path)


def test_a_table_beside_the_features_is_no_second_feature_file(tmp_path):
    """Parquet counts as features only where there are no others."""
    write(tmp_path / "a.pt", {"features": X})
    write(tmp_path / "about.parquet", {"features": X + 1})
    np.testing.assert_array_equal(Features.load(tmp_path).matrix, X)


def thingsvision_mat(folder: Path, names: tuple[str, ...], listed: tuple[str, ...]) -> Path:
    """Write one (p,) variable an image, named by its file without the extension, and the list of names."""
    savemat(folder / "features.mat", {name.removesuffix(".jpg"): row for name, row in zip(names, X, strict=True)})
    (folder / "file_names.txt").write_text("\n".join(listed) + "\n")
    return folder / "features.mat"


def test_thingsvision_mat_of_rows(tmp_path):
    """thingsvision's mat with one variable an image is put together in the order of file_names.txt."""
    thingsvision_mat(tmp_path, NAMES, NAMES)
    np.testing.assert_array_equal(Features.load(tmp_path).matrix, X)
    thingsvision_mat(tmp_path, NAMES, NAMES[::-1])
    np.testing.assert_array_equal(Features.load(tmp_path).matrix, X[::-1])


def test_thingsvision_mat_with_holes(tmp_path):
    """A line without a row, or two lines that share one, would shift the rows and is refused."""
    message = sentence(thingsvision_mat(tmp_path, NAMES, (*NAMES, "images/_hidden.jpg")))
    assert "7 lines" in message
    assert "1 lines have none" in message
    assert "1 share one" in sentence(thingsvision_mat(tmp_path, NAMES, (*NAMES, "images/ant.png")))


def test_features_judge_the_shape(tmp_path):
    """A named array of the wrong shape or type is read, and refused by what features must be."""
    for array, said in ((np.zeros((2, 2, 2)), "must be \\(n, p\\)"), (X.astype(complex), "real numbers")):
        path = write(tmp_path / "a.npz", {"features": array})
        with pytest.raises(DataError, match=said):
            Features.load(path)


@pytest.mark.parametrize("kind", ["chunks", "compressed", "contiguous", "virtual", "zarr", "shards"])
def test_stored_pieces_that_are_not_there_are_said(tmp_path, kind):
    """Pieces of an HDF5 or zarr array that were lost or never written, read as a fill value, are one warning."""
    rows = np.ones((40, 3), "f4")
    if kind in ("zarr", "shards"):
        zarr = pytest.importorskip("zarr", minversion="3", reason="shards need zarr 3")
        shards = {"shards": (10, 3)} if kind == "shards" else {}
        path, whole = tmp_path / "x.zarr", tmp_path / "whole.zarr"
        for place in (path, whole):
            zarr.create_array(place, data=rows, chunks=(5, 3), **shards)
        (path / "c" / "2" / "0").unlink()
        sentence = "lacks 1 of 4 shards" if shards else "lacks 1 of 8 chunks"
    else:
        h5py = pytest.importorskip("h5py", reason="HDF5 needs glocal[io]")
        path, whole = tmp_path / "x.h5", tmp_path / "whole.h5"
        settings = {"chunks": {"chunks": (5, 3)}, "compressed": {"chunks": (5, 3), "compression": "gzip"}}
        for place in (path, whole):
            with h5py.File(place, "w") as file:
                if kind == "virtual":
                    layout = h5py.VirtualLayout((40, 3), "f4")
                    layout[:] = h5py.VirtualSource(f"part-of-{place.name}", "rows", (40, 3), "f4")
                    file.create_virtual_dataset("features", layout)
                else:
                    dataset = file.create_dataset("features", (40, 3), "f4", **settings.get(kind, {}))
                    if place == whole:
                        dataset[:] = rows
                    elif kind != "contiguous":
                        dataset[5:] = rows[5:]
        with h5py.File(tmp_path / "part-of-whole.h5", "w") as file:
            file["rows"] = rows
        lost = {"contiguous": "1 of 1 pieces", "virtual": "1 of 1 source files"}
        sentence = f"lacks {lost.get(kind, '1 of 8 chunks')}"
    with pytest.warns(DataWarning, match=rf"{sentence}, which are read as 0\.0"):
        read_matrix(path)
    assert (np.asarray(read_matrix(whole)) == 1).all()
