"""The folder of a study: how it is created, and that nothing in it is lost or made anew."""

import contextlib
import errno
import io
import json
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from glocal.errors import FileError, ParameterError
from glocal_collect import db
from glocal_collect.db import Database, scalar
from glocal_collect.settings import Settings
from glocal_collect.study import create, open_study


@pytest.fixture
def make(tmp_path, images):
    """Create a study of the images in the folder of the test, or in one in it."""
    return lambda name="", **settings: create(tmp_path / name, str(images), Settings(**settings))


def change(study, **values):
    """Write other values, or other settings, into study.json."""
    file = study.folder / "study.json"
    record = json.loads(file.read_text())
    settings = values.pop("settings", {})
    file.write_text(json.dumps(record | values | {"settings": record["settings"] | settings}))


# creation


def test_a_creation_that_is_ended_at_any_moment_is_made_again(make, tmp_path, monkeypatch):
    """A creation that a full disk or a kill ends leaves no study, and the same creation then
    succeeds, with one key.
    """
    errors = [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()] * 2
    for n_syncs, error in enumerate(errors):  # of two texts, the key, and study.json
        folder = tmp_path / f"study{n_syncs}"
        with monkeypatch.context() as patch, pytest.raises((FileError, KeyboardInterrupt)):  # noqa: PT012
            patch.setattr(os, "fsync", Mock(side_effect=[None] * n_syncs + [error]))
            make(folder)
        assert not (folder / "study.json").exists()
        assert make(folder).key == open_study(folder).key
        assert not list(folder.glob(".*"))
    monkeypatch.setattr(os, "fsync", Mock())
    make("whole")
    assert os.fsync.call_count == len(errors)


CASES = """project project/images
project project/images/*.png
project elsewhere
photos photos/summer
photos link"""


@pytest.mark.parametrize("case", CASES.split("\n"))
def test_a_study_replaces_no_images(tmp_path, write_pictures, case, monkeypatch):
    """A study in a folder that has images, or in which its images lie, is refused, and nothing is
    written.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("project/images", "photos/summer", "elsewhere"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_pictures(tmp_path / name, ["0.jpg", "1.jpg", "2.jpg"])
    os.symlink("photos/summer", "link")

    def contents():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    before = contents()
    folder, images = case.split()
    with pytest.raises(ParameterError, match=folder):
        create(Path(folder), images, Settings())
    assert before == contents()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"key": "short"}', None])
def test_a_key_that_no_study_used_is_drawn_again(make, tmp_path, monkeypatch, content):
    """A secret file without a key does not prevent the creation of a study if there is no
    study.json, and neither does a file system without hard links.
    """
    if content is None:
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(errno.EPERM, "no links")))
    else:
        (tmp_path / "secret.json").write_bytes(content)
    key = make().key
    assert (len(key), open_study(tmp_path).key) == (64, key)


def test_two_creations_at_once_share_one_key(make, tmp_path):
    """Two creations at once sign with the same key, the one that is on the disk."""
    barrier = threading.Barrier(2)

    def create_at_once(_):
        barrier.wait()
        return make().key

    with ThreadPoolExecutor(2) as pool:
        assert {*pool.map(create_at_once, range(2))} == {open_study(tmp_path).key}


SECRETS = r"""
{}
{"key": ""}
{"key": null}
{"key": 123}
{"key": "short"}
{"key": {"a": "b"}}
{"key": "\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800"}
[]"""


def test_a_study_without_a_key_is_not_opened(make):
    """A study without a key, whose links anybody could sign, is refused with the name
    of the file.
    """
    folder = make().folder
    for secret in SECRETS.split("\n"):
        (folder / "secret.json").write_text(secret)
        with pytest.raises(FileError, match=r"secret\.json"):
            open_study(folder)


def test_the_key_is_for_the_owner_alone(serve_study):
    """Only their owner can read the key and the answers, and study.json holds no secret."""
    study = serve_study().study
    for name in ("secret.json", "answers.sqlite", "answers.sqlite-wal"):
        assert (study.folder / name).stat().st_mode & 0o077 == 0, name
    assert study.key not in (study.folder / "study.json").read_text()
    assert json.loads((study.folder / "secret.json").read_text())["key"] == study.key


# the database


@pytest.fixture
def connections(monkeypatch):
    """All connections to databases that a test opens."""
    opened = []
    connect = sqlite3.connect

    def note(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(db.sqlite3, "connect", note)
    return opened


def check_closed(connections):
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute("SELECT 1")


def test_a_database_that_is_lost_or_damaged_is_not_made_anew(make, connections):
    """A lost or damaged database is refused in one sentence that names the file, which is not
    created or changed, and every connection to it is closed.
    """
    file = make().database
    for log in file.parent.glob("answers.sqlite-*"):
        log.unlink()
    whole = file.read_bytes()
    random = whole[:4096] + b"\xa5" * (len(whole) - 4096)
    file.unlink()
    with pytest.raises(FileError, match="missing"):
        Database(file)
    assert not file.exists()
    for content in (b"", b"xxxx", whole[: len(whole) // 2], random):
        file.write_bytes(content)
        with pytest.raises(FileError, match=r"answers\.sqlite"):
            Database(file)
        assert file.read_bytes() == content
    check_closed(connections)


def test_answers_without_a_study_are_not_mixed_with_other_images(serve_study, images):
    """A folder that has answers but no study.json is refused, and its images stay."""
    study = serve_study()
    study.begin()
    folder = study.study.folder
    (folder / "study.json").unlink()
    before = (folder / "images" / "0.jpg").stat()
    with pytest.raises(FileError, match=r"study\.json"):
        create(folder, str(images), Settings())
    assert (folder / "images" / "0.jpg").stat() == before


def test_a_transaction_is_whole_or_undone(serve_study):
    """A transaction that fails halfway leaves nothing and does not harm the next, and others can
    read meanwhile.
    """
    study = serve_study()
    insert = "INSERT INTO people (id, consented) VALUES ('ann', 0)"
    with pytest.raises(KeyError), study.database.writing() as connection:  # noqa: PT012
        connection.execute(insert)
        raise KeyError
    with study.database.writing() as connection:
        connection.execute(insert)
        assert study.rows("people") == [], "nobody sees what has not ended"
    assert len(study.rows("people")) == 1


def test_readers_share_connections_that_are_closed_at_the_end(make, connections):
    """Reads in turn share one connection, two at once use two, and `close` closes all."""
    path = make().database
    connections.clear()
    database = Database(path)
    for _ in range(3):
        with database.reading() as connection:
            assert scalar(connection, "SELECT count(*) FROM people") == 0
    assert len(connections) == 2, "the writer and one reader"
    with database.reading(), database.reading():
        assert len(connections) == 3
    database.close()
    check_closed(connections)


def test_an_acknowledged_answer_outlives_a_power_cut(serve_study):
    """Each transaction waits for the disk, and each connection holds an answer to its trial."""
    database = serve_study().database
    for access in (database.writing, database.reading):
        with access() as connection:
            assert scalar(connection, "PRAGMA synchronous") == 2, "FULL"
            assert scalar(connection, "PRAGMA foreign_keys") == 1


def test_two_processes_that_read_before_they_write_take_turns(serve_study):
    """A transaction takes the lock of the file when it begins, so that two that read first both
    end.
    """
    study = serve_study()
    other = Database(study.study.database)

    def count_up(database):
        for _ in range(20):
            with database.writing() as connection:
                n = scalar(connection, "SELECT count(*) FROM openings")
                connection.execute("INSERT INTO openings VALUES (?, 0)", (str(n),))

    with contextlib.closing(other), ThreadPoolExecutor(2) as pool:
        list(pool.map(count_up, (study.database, other)))
    assert len(study.rows("openings")) == 40


def test_tables_refuse_what_is_no_answer(serve_study):
    """A choice beyond the three positions, a text in place of a number, and an answer without a
    trial cannot be stored.
    """
    study = serve_study()
    study.answer_trials(study.begin(), limit=1)
    for change_of in ("answers SET choice = 3", "trials SET a = 'x'", "answers SET trial = 999"):
        with pytest.raises(sqlite3.IntegrityError), study.database.writing() as connection:
            connection.execute(f"UPDATE {change_of}")


# images


def test_images_are_shown_upright_small_and_without_metadata(tmp_path, make, write_pictures):
    """A photograph with EXIF data is turned upright, at most 640 pixels wide or high, and loses its
    metadata.
    """
    photos = write_pictures(tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"])
    exif = Image.Exif()
    exif[274] = 6
    exif[305] = "where it was taken"
    Image.new("RGB", (1400, 700)).save(photos / "a.jpg", exif=exif)
    data = create(tmp_path / "study", str(photos), Settings()).image(0).read_bytes()
    assert Image.open(io.BytesIO(data)).size == (320, 640)
    assert b"where it was taken" not in data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_images_that_cannot_be_shown_are_left_out_and_named(tmp_path, write_pictures):
    """Damaged images and named pipes, for which nobody waits, are left out with a reason, and with
    fewer than three others there is no study.
    """
    folder = write_pictures(tmp_path / "mixed", ["a.png", "d.png", "e.png"])
    (folder / "empty.png").touch()
    os.mkfifo(folder / "pipe.png")
    study = create(tmp_path / "study", str(folder), Settings())
    assert study.names == ("a.png", "d.png", "e.png")
    assert [*dict(study.left_out)] == ["empty.png", "pipe.png"]
    assert open_study(study.folder).left_out == study.left_out
    (folder / "a.png").unlink()
    with pytest.raises(FileError, match="three"):
        create(tmp_path / "few", str(folder), Settings())


def test_a_study_knows_its_images(make, images, tmp_path, write_pictures):
    """The same images continue a study, and other names, other pictures or a missing folder are
    refused.
    """
    names = [f"image{number}.png" for number in range(12)]
    study = make("study")
    study.check_images(str(images))
    write_pictures(tmp_path / "fewer", names[:-1])
    write_pictures(tmp_path / "renamed", ["other.png", *names[1:]])
    changed = write_pictures(tmp_path / "changed", names)
    Image.new("RGB", (9, 9)).save(changed / "image3.png")
    for name in ("fewer", "renamed", "changed", "nothing"):
        with pytest.raises((FileError, ValueError), match=name):
            study.check_images(str(tmp_path / name))


# settings


def test_a_study_is_continued_and_kind_and_seed_are_fixed(make, tmp_path):
    """A study is opened with the settings that were written, kind and seed cannot change, and a
    folder without a study, or with a damaged one, is refused.
    """
    study = make("study", people=3, open=True)
    assert vars(open_study(study.folder)) == vars(study)
    for changes in ({"kind": "anchor"}, {"seed": 1}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            study.with_settings(Settings(**changes))
    change(study, made=np.inf)
    for folder in (tmp_path, study.folder):
        with pytest.raises(FileError, match="study"):
            open_study(folder)


SETTINGS = """
{"kind": "pairs"}
{"catch": 0.9}
{"catch": 0.3, "repeats": 0.3}
{"return_url": "javascript:alert(1)"}
{"people": 0}
{"people": 100000000000}
{"per_person": 1000000000000}
{"min_seconds": Infinity}
{"days": 0}
{"days": NaN}
{"open": "yes"}
{"unknown": 1}
"""


@pytest.mark.parametrize("row", SETTINGS.strip().split("\n"))
def test_settings_out_of_range_are_refused(make, row):
    """A setting out of range is a ValueError, and in study.json a FileError that names
    the setting.
    """
    settings = json.loads(row)
    name = next(iter(settings))
    with pytest.raises(ValueError, match=name):
        Settings(**settings)
    study = make()
    change(study, settings=settings)
    with pytest.raises(FileError, match=rf"study\.json.*{name}"):
        open_study(study.folder)
