"""What is read is checked, and what is written appears whole or not at all."""

import errno
import hashlib
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from systems import needs_posix
from world import folder

from glocal import files
from glocal.errors import FileError
from glocal.files import (
    array_sha256,
    atomic_write,
    read_lines,
    read_npy,
    read_npz,
    read_object,
    reading,
    writable_target,
    write_npz,
)


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")]
)
def test_an_exception_leaves_the_previous_file(tmp_path, error):
    """Whatever interrupts the writing, the previous file stays whole, and no partial
    file remains.
    """
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    expected = FileError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_write(path) as stream:  # noqa: PT012
        stream.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_an_interruption_before_the_first_byte_leaves_nothing(tmp_path, monkeypatch):
    """A signal that arrives as soon as the partial file exists leaves no file."""

    def open_and_interrupt(path, mode):
        open(path, mode).close()
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.open", open_and_interrupt)
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "out.bin"):
        pass
    assert os.listdir(tmp_path) == []


@needs_posix
def test_a_killed_writer_leaves_the_previous_file(tmp_path):
    """If a process dies while it writes, the previous file stays whole. What it had written of the
    next is removed by the first writer an hour later, not before: it could be another's work.
    """
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    if not (child := os.fork()):
        with atomic_write(path) as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (partial,) = tmp_path.glob(".*.partial")
    now = time.time()
    for age, remaining in ((60, {path, partial}), (7200, {path})):
        os.utime(partial, (now - age, now - age))
        files.write_text(path, "new")
        assert set(tmp_path.iterdir()) == remaining


def test_what_is_written_replaces_the_file_whole(tmp_path):
    """Until the block ends, a reader finds the previous file; each writer has its own partial file.
    A link stays a link, and the file to which it leads is replaced.
    """
    path = tmp_path / "link"
    path.symlink_to("out.bin")
    (tmp_path / "out.bin").write_bytes(b"old")
    with atomic_write(path) as first:
        first.write(b"first")
        first.flush()
        assert path.read_bytes() == b"old"
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert (tmp_path / "out.bin").read_bytes() == b"first"
    assert path.is_symlink()
    assert len(os.listdir(tmp_path)) == 2


def test_a_writable_target_is_checked_and_left_untouched(tmp_path):
    """The check creates nothing, and allows endings in capitals and devices of any name."""
    for path in (tmp_path / "out.NPZ", os.devnull):
        assert str(writable_target(path, endings=[".npz"])) == str(path)
    assert os.listdir(tmp_path) == []


@settings(max_examples=15)
@given(
    hnp.arrays(
        hnp.floating_dtypes() | hnp.integer_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_any_plain_array_is_read_back(tmp_path_factory, array):
    """Any array that numpy.save or write_npz wrote is read with its shape, dtype and values."""
    path = tmp_path_factory.mktemp("npy") / "array.npy"
    archive = path.with_suffix(".npz")
    np.save(path, array)
    write_npz(archive, {"x": array, "none": None})
    (inside,) = read_npz(archive, what="cell", required="x", optional="y", fix="").values()
    for loaded in (read_npy(path, what="features"), inside):
        np.testing.assert_array_equal(loaded, array, strict=True)


def header(shape: str, descr: str = "<f4") -> bytes:
    """A .npy file that claims a shape and holds no data."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


NO_ARRAYS = [
    (None, "does not exist"),
    (b"", "empty"),
    (header("(18446744073709551616,)"), "damaged"),
    (header("(-1, 4)"), "damaged"),
    (header("(5,)", "|V0"), "damaged"),
    (header("(100,)", "<f8") + bytes(799), "928 bytes"),
    (np.array([{}]), "pickled"),
    (np.array([0x110000], "<u4").view("<U1"), "no character"),
]


@pytest.mark.parametrize("content, noun", NO_ARRAYS)
def test_a_file_that_is_no_array_is_one_sentence(tmp_path, content, noun):
    """A file that is missing, empty, foreign, cut off, impossible or pickled is refused in a
    sentence with its role and path.
    """
    if content is not None:
        folder(tmp_path, features_npy=content)
    path = tmp_path / "features.npy"
    with pytest.raises(FileError, match=rf"^features file {path} .*{noun}.*\.$"):
        read_npy(path, what="features")


def test_a_file_that_does_not_fit_in_memory_is_one_sentence(tmp_path):
    """Where memory ends while a file is read, the file is named."""
    (tmp_path / "t.csv").write_text("a,b\n", "utf-8")
    with (
        pytest.raises(FileError, match=r"t\.csv does not fit in memory"),
        reading(tmp_path / "t.csv", "answers"),
    ):
        raise MemoryError


def test_an_archive_is_no_larger_in_memory_than_its_file_allows(tmp_path, monkeypatch):
    """An .npz that inflates to over 256 MB (here 1) and 100 times its size is refused."""
    monkeypatch.setattr(files, "_MAX_INFLATED_BYTES", 1 << 20)
    path = tmp_path / "bomb.npz"
    write_npz(path, {"x": np.zeros(1 << 20, np.float32), "y": np.zeros(3)})
    for required, noun in (("x", "100 times"), ("weights", "weights")):
        with pytest.raises(FileError, match=noun):
            read_npz(path, what="cell", fix="Write it again.", required=[required])
    assert read_npz(path, what="cell", fix="", required=["y"])["y"].shape == (3,)


def test_lines_are_stripped_and_trailing_empty_ones_dropped(tmp_path):
    """Lines lose surrounding blanks, the byte-order mark and empty lines at the end; U+2028 ends no
    line.
    """
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeff a.jpg \r\n\r\nb é\u2028c.jpg\n\n\n".encode())
    assert read_lines(path, what="names") == ("a.jpg", "", "b é\u2028c.jpg")
    path.write_bytes(b"\n\n")
    assert read_lines(path, what="names") == ()


def test_a_text_is_read_as_one_object(tmp_path):
    """TOML and JSON may begin with a byte-order mark, as some editors save them. A text in another
    encoding, nested without end, or not an object is refused in one sentence.
    """
    folder(tmp_path, a_toml="\ufeffx = 1\n", a_json='\ufeff{"x": 1}')
    for name in ("a.toml", "a.json"):
        assert read_object(tmp_path / name, what="record") == {"x": 1}
    for content, noun in ((b"caf\xe9", "UTF-8"), (b"[" * 100_000, "damaged"), (b"[1]", "object")):
        folder(tmp_path, a_json=content)
        with pytest.raises(FileError, match=rf"^.*{noun}.*$"):
            read_object(tmp_path / "a.json", what="record")


def test_a_hash_is_of_dtype_shape_and_content():
    """Equal arrays have the same hash, however they lie in memory, and other arrays another."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = [array, array.T.copy().T, array.astype(np.float64), array.reshape(4, 3), array + 1]
    assert len({*map(array_sha256, arrays)}) == 4
    large = np.arange(5_000_000.0).reshape(-1, 2)  # more than a chunk of 16 MB
    content = f"<f8{large.shape}".encode() + large.tobytes()
    assert array_sha256(large) == hashlib.sha256(content).hexdigest()
