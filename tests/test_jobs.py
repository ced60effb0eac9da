"""Work is shared by processes and outlives them: each task is done once, and nothing that is done is lost."""

import subprocess
import sys
import threading

import pytest

from glocal.errors import FileError
from glocal.jobs.folder import TaskFolder, lock, once, sweep_out
from glocal.jobs.output import Output


def folder_of(path):
    return TaskFolder(path, "done.jsonl", lambda row: row["task"]).create()


def test_a_log_of_parts_without_a_part_is_one_sentence(tmp_path):
    """A line of an unfinished output that names no part says so."""
    tasks = Output(tmp_path / "out", tmp_path).tasks().create()
    tasks.commit({"port": 1})
    with pytest.raises(FileError, match="lacks part"):
        tasks.done()


def test_a_task_is_claimed_by_one_and_done_once(tmp_path):
    """What is done or held is not claimed again; what a holder let go of without finishing it is."""
    tasks = [(name, [name]) for name in "abc"]
    one, other = folder_of(tmp_path), folder_of(tmp_path)
    claims = one.claim(tasks)
    assert next(claims) == "a"
    assert next(other.claim(tasks)) == "b"
    one.commit({"task": "a", "value": 1})
    one.release("a")
    assert next(claims) == "c"
    assert list(folder_of(tmp_path).claim(tasks)) == []
    other.close()
    one.close()
    assert list(folder_of(tmp_path).claim(tasks)) == ["b", "c"]
    assert folder_of(tmp_path).done() == {"a": {"task": "a", "value": 1}}


def test_tasks_that_belong_together_are_claimed_together(tmp_path):
    """A name with several keys is open until all of them are done."""
    tasks = folder_of(tmp_path)
    tasks.commit({"task": 1})
    assert list(tasks.claim([("path", [1, 2]), ("other", [1])])) == ["path"]
    tasks.commit({"task": 2})
    tasks.close()
    assert list(tasks.claim([("path", [1, 2])])) == []


def test_a_line_that_a_kill_cut_is_no_task_that_is_done(tmp_path):
    """Of a log whose last line is cut the whole lines count, and the next line stands by itself."""
    tasks = folder_of(tmp_path)
    tasks.commit({"task": 1})
    tasks.log.write_bytes(tasks.log.read_bytes() + b'{"task": ')
    assert list(tasks.done()) == [1]
    tasks.commit({"task": 2})
    tasks.commit({"task": 2, "again": True})
    assert tasks.rows() == [{"task": 1}, {"task": 2}]


def test_a_folder_that_was_finished_and_removed_has_nothing_to_claim(tmp_path):
    """Whoever finished the work removed its folder: others find nothing to do, and no error."""
    tasks = folder_of(tmp_path / "work")
    for path in (tmp_path / "work" / "claims", tmp_path / "work"):
        path.rmdir()
    assert list(tasks.claim([("a", ["a"])])) == []
    (tmp_path / "work" / "claims").mkdir(parents=True)
    (tmp_path / "work" / "claims" / "a").mkdir()
    with pytest.raises(FileError, match="cannot write"):
        tasks.take("a")


def test_a_file_is_made_by_one_of_two_that_miss_it(tmp_path):
    """The second waits for the first and finds the file; no lock is left."""
    path, made, inside, go = tmp_path / "x.npz", [], threading.Event(), threading.Event()

    def make(number):
        with once(path) as missing:
            inside.set()
            if missing:
                assert go.wait(60)
                path.write_text(str(number))
                made.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(2)]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join()
    assert made == [0]
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]


def test_what_killed_processes_left_is_swept_out_and_live_ones_are_left(tmp_path):
    """Locks and partial files that nobody holds go; those of a live process and other files stay."""
    code = (
        "import os, signal, sys; from pathlib import Path; from glocal.jobs.folder import once\n"
        "with once(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "dead.npz"], check=False)
    (tmp_path / ".dead.npz.0.partial").write_text("half")
    (tmp_path / "whole.npz").write_text("whole")
    assert (tmp_path / ".dead.npz.lock").exists()
    with lock(tmp_path / ".live.npz.lock"):
        sweep_out(tmp_path)
        assert sorted(file.name for file in tmp_path.iterdir()) == [".live.npz.lock", "whole.npz"]
