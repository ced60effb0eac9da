"""Whole files only: what is read is checked, what is written appears whole or not at all."""

import errno
import hashlib
import os
import resource
import subprocess
import sys

import filelock
import numpy as np
import processes
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from glocal.errors import FileError, GLocalError, ParameterError
from glocal.files import array_sha256, atomic_write, existing_file, make_folder, read_lines, read_npy, writable_target
from glocal.jobs.folder import lock


def one_sentence(error) -> bool:
    """An error that a user can read: a single line that names what to do."""
    return "\n" not in str(error) and len(str(error)) < 400 and str(error).endswith(".")


def test_what_is_written_replaces_the_file_whole(tmp_path):
    """After the block the file holds exactly what was written, and nothing else lies beside it."""
    path = tmp_path / "out.bin"
    for content in (b"old", b"new content"):
        with atomic_write(path) as stream:
            stream.write(content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.EIO, "input/output error")])
def test_an_exception_leaves_the_previous_file(tmp_path, error):
    """Whatever interrupts the writing, the previous file stays whole and no partial file remains."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    expected = FileError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_write(path) as stream:  # noqa: PT012
        stream.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_the_previous_file_is_seen_until_the_new_one_is_whole(tmp_path):
    """A reader who comes while the file is written still finds the previous one."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, monkeypatch, call):
    """No space left, reported late by the system, is one sentence, and the previous file stays whole."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(FileError, match="the disk is full") as caught, atomic_write(path) as stream:
        stream.write(b"new")
    assert one_sentence(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_file_over_the_size_limit_leaves_the_previous_file(tmp_path):
    """A limit that the system itself enforces while writing is one sentence, and the previous file stays whole."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(FileError, match="largest file size") as caught, atomic_write(path) as stream:
            stream.write(bytes(1 << 18))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert one_sentence(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_killed_writer_leaves_the_previous_file(tmp_path):
    """A process that dies in the middle leaves the previous file whole."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    code = (
        "import os, sys; from glocal.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as stream:\n"
        "    stream.write(b'new'); stream.flush(); os._exit(9)"
    )
    assert processes.run([sys.executable, "-c", code, path]).returncode == 9
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("target", ["missing/out.bin", "file/out.bin", "folder"])
def test_a_place_that_cannot_be_written_is_said(tmp_path, target):
    """A missing folder, a file as folder and a folder as file are refused before and while writing."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileError) as early:
        writable_target(tmp_path / target)
    with pytest.raises(FileError) as late, atomic_write(tmp_path / target) as stream:
        stream.write(b"x")
    assert one_sentence(early.value)
    assert one_sentence(late.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_writable_target_is_left_untouched(tmp_path):
    """The check of a target creates nothing that stays and keeps a previous file as it is."""
    path = tmp_path / "out.bin"
    assert writable_target(path) == path
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    writable_target(path)
    assert path.read_bytes() == b"old"


def test_make_folder_makes_parents_and_refuses_a_file(tmp_path):
    """An output folder is made with its parents, is kept if it exists, and a file in its place is refused."""
    folder = tmp_path / "a" / "b"
    assert make_folder(folder).is_dir()
    assert make_folder(folder).is_dir()
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileError) as caught:
            make_folder(path)
        assert one_sentence(caught.value)


@given(hnp.arrays(hnp.floating_dtypes() | hnp.integer_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_any_plain_array_is_read_back(tmp_path_factory, array):
    """Whatever numpy.save wrote without pickling is read with its shape, dtype and values."""
    path = tmp_path_factory.mktemp("npy") / "array.npy"
    np.save(path, array)
    found = read_npy(path, what="features")
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"not numpy at all"), "is not a whole .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), "is not a whole .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'"), "is not a whole .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x04\x00abcd"), "is not a whole .npy file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x07\x00\x04\x00abcd"), "is not a whole .npy file"),
        (lambda path: np.save(path, np.array([{"a": 1}], dtype=object)), "pickled Python objects"),
        (lambda path: np.save(path, np.zeros(2, dtype=[("a", object)])), "pickled Python objects"),
    ],
)
def test_a_file_that_is_no_array_is_one_sentence(tmp_path, damage, sentence):
    """Missing, folder, empty, foreign, cut in its header or pickled: one sentence names the role and the path."""
    path = tmp_path / "features.npy"
    damage(path)
    with pytest.raises(FileError, match=sentence) as caught:
        read_npy(path, what="features")
    assert one_sentence(caught.value)
    assert str(caught.value).startswith(f"features file {path}")


@pytest.mark.parametrize("missing", [1, 8, 790])
def test_a_truncated_array_is_refused(tmp_path, missing):
    """A file shorter than its header promises is refused, however little is missing."""
    path = tmp_path / "features.npy"
    np.save(path, np.arange(100.0))
    os.truncate(path, path.stat().st_size - missing)
    with pytest.raises(FileError, match=rf"truncated: its header promises 928 bytes and it has {928 - missing}"):
        read_npy(path, what="features")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_permissions_are_said(tmp_path):
    """A file or folder without permission is a sentence that says so."""
    path = tmp_path / "features.npy"
    np.save(path, np.zeros(3))
    path.chmod(0)
    with pytest.raises(FileError, match="Check its permissions"):
        read_npy(path, what="features")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileError, match="folder you may write to"):
            writable_target(tmp_path / "out.npy")
    finally:
        tmp_path.chmod(0o700)


def test_lines_are_stripped_and_trailing_empty_ones_dropped(tmp_path):
    """A text file is its lines without surrounding blanks, byte-order mark and empty end; inner empty lines stay."""
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeff a.jpg \r\n\r\nb é.jpg\n\n\n".encode())
    assert read_lines(path, what="names") == ("a.jpg", "", "b é.jpg")


def test_text_in_another_encoding_is_refused(tmp_path):
    """A file that is not UTF-8 is refused with that reason."""
    path = tmp_path / "names.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(FileError, match="is not UTF-8 text") as caught:
        read_lines(path, what="names")
    assert one_sentence(caught.value)


def test_a_file_error_is_an_oserror_of_this_package(tmp_path):
    """Callers may catch OSError or GLocalError, and the message is the sentence alone."""
    with pytest.raises(FileError) as caught:
        existing_file(tmp_path / "none", what="triplets")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, GLocalError)
    assert str(caught.value) == f"triplets file {tmp_path / 'none'} does not exist. Check the path."


def test_a_hash_is_of_dtype_shape_and_content():
    """Equal arrays have equal hashes however they lie in memory; another dtype, shape or value has another hash."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    digest = array_sha256(array)
    assert digest == hashlib.sha256(b"<f4(3, 4)" + array.tobytes()).hexdigest()
    assert digest == array_sha256(np.asfortranarray(array))
    assert digest == array_sha256(np.repeat(array, 2, axis=1)[:, ::2])
    others = [array.astype(np.float64), array.reshape(4, 3), array + 1, array.ravel()]
    assert len({digest, *(array_sha256(other) for other in others)}) == 5


def test_a_hash_over_chunks_is_the_hash_of_the_whole():
    """Arrays larger than a chunk of 16 MB hash like their bytes in one piece."""
    array = np.arange(5_000_000, dtype=np.float64).reshape(-1, 2)
    assert array_sha256(array) == hashlib.sha256(f"<f8{array.shape}".encode() + array.tobytes()).hexdigest()


# outputs that are checked before the work


def test_an_output_that_is_a_link_is_checked_where_it_leads(tmp_path):
    """A link into a missing folder, or back to itself, is refused before the work and while writing."""
    (tmp_path / "away").symlink_to(tmp_path / "missing" / "out.bin")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "link").symlink_to("other")
    for name, sentence in (("away", "cannot write|missing does not exist"), ("loop", "leads back to itself")):
        with pytest.raises(FileError, match=sentence) as early:
            writable_target(tmp_path / name)
        with pytest.raises(FileError, match=sentence) as late, atomic_write(tmp_path / name) as stream:
            stream.write(b"x")
        assert one_sentence(early.value)
        assert one_sentence(late.value)
    writable_target(tmp_path / "link")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "other").read_bytes() == b"new"
    with pytest.raises(FileError, match="leads nowhere") as caught:
        make_folder(tmp_path / "away")
    assert one_sentence(caught.value)


def test_a_name_that_says_another_format_is_refused_before_the_work(tmp_path):
    """With endings given, another ending is one sentence that offers a name; devices have no ending."""
    with pytest.raises(ParameterError, match=r"allowed are \.npz, \.safetensors\. Name it out\.npz\.") as caught:
        writable_target(tmp_path / "out.txt", endings=(".npz", ".safetensors"))
    assert one_sentence(caught.value)
    assert writable_target(tmp_path / "out.NPZ", endings=(".npz",)) == tmp_path / "out.NPZ"
    assert writable_target("/dev/null", endings=(".npz",)).name == "null"


# what killed processes leave

KILLED = """
import os, signal, sys
from glocal.files import atomic_write
with atomic_write(sys.argv[1]) as stream:
    stream.write(b"half"); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("look", ["write", "check"])
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path, look):
    """The next writer of a file, and the next check of it as an output, removes partial files of dead writers."""
    path = tmp_path / "out.bin"
    processes.run([sys.executable, "-c", KILLED, path], check=False)
    (tmp_path / ".out.bin.5.partial").touch()  # of the last of six writers at once, which died too
    assert len(os.listdir(tmp_path)) == 2
    if look == "check":
        writable_target(path)
        assert os.listdir(tmp_path) == []
    else:
        with atomic_write(path) as stream:
            stream.write(b"new")
        assert os.listdir(tmp_path) == ["out.bin"]


def test_what_a_live_writer_has_begun_is_left_alone(tmp_path):
    """Writers of one file at once do not disturb each other: each has a partial file, and the last one wins."""
    path = tmp_path / "out.bin"
    with atomic_write(path) as first:
        first.write(b"first")
        with atomic_write(path) as second:
            second.write(b"second")
            writable_target(path)
            assert len(os.listdir(tmp_path)) == 2
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_partial_file_is_never_one_that_somebody_else_put_there(tmp_path):
    """A link or a folder under the name of a partial file is neither written to nor removed."""
    (tmp_path / "treasure").write_bytes(b"gold")
    (tmp_path / ".out.bin.0.partial").symlink_to("treasure")
    (tmp_path / ".out.bin.1.partial").mkdir()
    with atomic_write(tmp_path / "out.bin") as stream:
        stream.write(b"new")
    assert (tmp_path / "treasure").read_bytes() == b"gold"
    assert sorted(os.listdir(tmp_path)) == [".out.bin.0.partial", ".out.bin.1.partial", "out.bin", "treasure"]


# locks


def test_a_lock_is_held_by_one_and_free_when_its_holder_dies(tmp_path):
    """A second block gets False while the first one runs; a killed process holds nothing."""
    path = tmp_path / "lock"
    code = (
        "import os, signal, sys; from pathlib import Path; from glocal.jobs.folder import lock\n"
        "with lock(Path(sys.argv[1])) as held:\n"
        "    print(held, flush=True); sys.stdin.read()"
    )
    holder = processes.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline().strip() == b"True"
    with lock(path) as held:
        assert not held
    holder.kill()
    holder.communicate()
    with lock(path) as held, lock(path) as again:
        assert held
        assert not again


def test_a_lock_whose_file_was_removed_is_taken_on_the_new_file(tmp_path, monkeypatch):
    """A holder may remove the lock file with its folder: who opened it before then holds the file that is there."""
    path, taken, removals = tmp_path / "lock", filelock.lock_descriptor, iter([os.unlink])

    def removed_meanwhile(descriptor, **options):
        for remove in removals:
            remove(path)
        return taken(descriptor, **options)

    monkeypatch.setattr(filelock, "lock_descriptor", removed_meanwhile)
    with lock(path) as held, lock(path) as again:
        assert held
        assert not again


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_without_locks_files_are_written_and_shared_folders_refused(tmp_path, monkeypatch, code):
    """On a file system without locks a whole file is written all the same; what needs a lock is one sentence."""

    def none(descriptor, **options):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(filelock, "lock_descriptor", none)
    with atomic_write(tmp_path / "out.bin") as stream:
        stream.write(b"new")
    writable_target(tmp_path / "out.bin")
    assert os.listdir(tmp_path) == ["out.bin"]
    assert (tmp_path / "out.bin").read_bytes() == b"new"
    with pytest.raises(FileError, match="cannot be locked") as caught, lock(tmp_path / "lock"):
        raise AssertionError
    assert one_sentence(caught.value)


def test_a_system_without_fcntl_and_fdatasync_runs_commands(tmp_path):
    """As on Windows and macOS: no command needs the fcntl module or os.fdatasync."""
    np.save(tmp_path / "x.npy", np.ones((300, 4), "f4"))
    code = (
        "import os, sys; sys.modules['fcntl'] = None; del os.fdatasync\n"
        "from glocal.cli.app import execute\n"
        "from glocal.transform import LinearTransform\n"
        "import glocal.extract.store, glocal.sweep.store, numpy as np\n"
        "LinearTransform(np.eye(4, dtype='f4'), None, 0.0, 1.0).save('t.npz')\n"
        "sys.exit(execute(['--version']) or execute(['apply', 't.npz', 'x.npy', '--out', 'o.npy']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "o.npy"), np.ones((300, 4), "f4"))
