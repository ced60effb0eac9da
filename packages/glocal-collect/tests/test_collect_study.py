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

import numpy as np
import pytest
from PIL import Image

from glocal.errors import FileError, ParameterError
from glocal_collect import db
from glocal_collect.db import Database, create_database, scalar
from glocal_collect.settings import Settings
from glocal_collect.study import create, open_study


def test_a_creation_that_is_ended_at_any_moment_is_made_again(images, tmp_path, monkeypatch):
    """A creation that a full disk or a kill ends leaves no study, and the same creation then
    succeeds, with one key.
    """
    sync = os.fsync
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        n_syncs = 0
        while True:
            folder = tmp_path / f"{type(error).__name__}{n_syncs}"
            remaining = n_syncs

            def fail(handle, error=error):
                nonlocal remaining
                if remaining == 0:
                    raise error
                remaining -= 1
                sync(handle)

            monkeypatch.setattr(os, "fsync", fail)
            try:
                create(folder, str(images), Settings())
            except (FileError, KeyboardInterrupt):
                assert not (folder / "study.json").exists()
            else:
                break
            monkeypatch.setattr(os, "fsync", sync)
            study = create(folder, str(images), Settings())
            assert open_study(folder).key == study.key
            assert not list(folder.glob(".*"))
            n_syncs += 1
        assert n_syncs == 4, "two texts, the key, and study.json"


@pytest.mark.parametrize(
    ("folder", "images"),
    [
        ("project", "project/images"),
        ("project", "project/images/*.png"),
        ("project", "elsewhere"),
        ("photos", "photos/summer"),
        ("photos", "link"),
    ],
)
def test_a_study_replaces_no_images(tmp_path, write_pictures, folder, images, monkeypatch):
    """A study in a folder that has images, or in which its images lie, is refused, and nothing is
    written.
    """
    for name in ("project", "photos"):
        (tmp_path / name).mkdir()
    numbered = [f"{number}.jpg" for number in range(3)]
    for name in ("project/images", "photos/summer", "elsewhere"):
        write_pictures(tmp_path / name, numbered)
    (tmp_path / "link").symlink_to("photos/summer")
    monkeypatch.chdir(tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(ParameterError, match=folder):
        create(Path(folder), images, Settings())
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"key": "short"}'])
def test_a_key_that_no_study_used_is_drawn_again(images, tmp_path, content):
    """A secret file without a key does not prevent the creation of a study if there is
    no study.json.
    """
    (tmp_path / "secret.json").write_bytes(content)
    study = create(tmp_path, str(images), Settings())
    assert len(study.key) == 64
    assert open_study(tmp_path).key == study.key


def test_a_file_system_without_hard_links_has_a_key_too(images, tmp_path, monkeypatch):
    """If hard links are not possible, the key is moved into place."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    study = create(tmp_path, str(images), Settings())
    assert open_study(tmp_path).key == study.key


def test_two_creations_at_once_share_one_key(images, tmp_path):
    """Two creations at once sign with the same key, the one that is on the disk."""
    barrier = threading.Barrier(2)

    def create_at_once(_):
        barrier.wait()
        return create(tmp_path / "study", str(images), Settings()).key

    with ThreadPoolExecutor(2) as pool:
        keys = set(pool.map(create_at_once, range(2)))
    assert keys == {open_study(tmp_path / "study").key}


SECRETS = [
    b"",
    b"{}",
    b'{"key": ""}',
    b'{"key": null}',
    b'{"key": 123}',
    b'{"key": "short"}',
    b'{"key": {"a": "b"}}',
    b'{"key": "' + rb"\ud800" * 40 + b'"}',
    b"[]",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_study_without_a_key_is_not_opened(images, tmp_path, secret):
    """A study without a key, whose links anybody could sign, is refused with the name
    of the file.
    """
    create(tmp_path, str(images), Settings())
    (tmp_path / "secret.json").write_bytes(secret)
    with pytest.raises(FileError, match=r"secret\.json"):
        open_study(tmp_path)


def test_the_key_is_for_the_owner_alone(serve_study):
    """Only their owner can read the key and the answers, and study.json holds no secret."""
    study = serve_study().study
    for name in ("secret.json", "answers.sqlite", "answers.sqlite-wal"):
        assert (study.folder / name).stat().st_mode & 0o077 == 0, name
    assert study.key not in (study.folder / "study.json").read_text()
    assert json.loads((study.folder / "secret.json").read_text())["key"] == study.key


def damage_middle(data):
    return data[:4096] + b"\xa5" * (len(data) - 4096)


DAMAGE = [
    pytest.param(lambda data: None, id="missing"),
    pytest.param(lambda data: b"", id="empty"),
    pytest.param(lambda data: b"xxxx", id="text"),
    pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
    pytest.param(damage_middle, id="random bytes"),
]


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


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_database_that_is_lost_or_damaged_is_not_made_anew(images, tmp_path, damage, connections):
    """A lost or damaged database is refused in one sentence that names the file, which is not
    created or changed, and every connection to it is closed.
    """
    study = create(tmp_path, str(images), Settings())
    for file in tmp_path.glob("answers.sqlite-*"):
        file.unlink()
    content = damage(study.database.read_bytes())
    study.database.unlink()
    if content is not None:
        study.database.write_bytes(content)
    reason = "missing" if content is None else r"answers\.sqlite"
    with pytest.raises(FileError, match=reason):
        Database(study.database)
    assert study.database.exists() == (content is not None)
    if content is not None:
        assert study.database.read_bytes() == content
    check_closed(connections)


def test_answers_without_a_study_are_not_mixed_with_other_images(serve_study, images):
    """A folder that has answers but no study.json is refused, and its images stay."""
    study = serve_study()
    study.begin()
    folder = study.study.folder
    (folder / "study.json").unlink()
    before = (folder / "images" / "0.jpg").stat().st_mtime_ns
    with pytest.raises(FileError, match=r"study\.json"):
        create(folder, str(images), Settings())
    assert (folder / "images" / "0.jpg").stat().st_mtime_ns == before


def test_a_transaction_is_whole_or_undone(serve_study):
    """A transaction that fails halfway leaves nothing and does not harm the next, and others can
    read meanwhile.
    """
    study = serve_study()
    add = "INSERT INTO people (id, consented) VALUES (?, 0)"

    def fail_halfway():
        with study.database.writing() as connection:
            connection.execute(add, ("half",))
            assert study.rows("people") == [], "nobody sees what has not ended"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    with study.database.writing() as connection:
        connection.execute(add, ("whole",))
    assert [row["id"] for row in study.rows("people")] == ["whole"]


def test_readers_share_connections_that_are_closed_at_the_end(tmp_path, connections):
    """Reads in turn share one connection, two at once use two, and `close` closes all."""
    path = tmp_path / "answers.sqlite"
    create_database(path)
    connections.clear()
    database = Database(path)
    for _ in range(3):
        with database.reading() as connection:
            assert connection.execute("SELECT count(*) FROM people").fetchone()[0] == 0
    assert len(connections) == 2, "the writer and one reader"
    with database.reading(), database.reading():
        assert len(connections) == 3
    database.close()
    check_closed(connections)


def test_an_acknowledged_answer_outlives_a_power_cut(serve_study):
    """Each transaction waits for the disk, and no connection stores an answer without its trial."""
    database = serve_study().database
    for access in (database.writing, database.reading):
        with access() as connection:
            settings = [
                scalar(connection, f"PRAGMA {name}") for name in ("synchronous", "foreign_keys")
            ]
            assert settings == [2, 1], "FULL, and checked"
    answer = "INSERT INTO answers (trial, seconds, time) VALUES (999, 1, 1)"
    with pytest.raises(sqlite3.IntegrityError), database.writing() as connection:
        connection.execute(answer)


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
    """A choice beyond the three positions and a text in place of a number cannot be stored."""
    study = serve_study()
    link = study.begin()
    study.answer_trials(link, lambda names: 1, limit=1)
    for change in ("UPDATE answers SET choice = 3", "UPDATE trials SET a = 'x'"):
        with pytest.raises(sqlite3.IntegrityError), study.database.writing() as connection:
            connection.execute(change)


def test_images_are_shown_upright_small_and_without_metadata(tmp_path, serve_study):
    """A photograph with EXIF data is turned upright, at most 640 pixels wide or high, and loses its
    metadata.
    """
    exif = Image.Exif()
    exif[274] = 6
    exif[305] = "where it was taken"
    (tmp_path / "photos").mkdir()
    for number in range(3):
        photograph = Image.new("RGB", (1400, 700), (number, 0, 0))
        photograph.save(tmp_path / "photos" / f"{number}.jpg", exif=exif)
    folder = serve_study(images=tmp_path / "photos").study.folder
    data = (folder / "images" / "0.jpg").read_bytes()
    assert Image.open(io.BytesIO(data)).size == (320, 640)
    assert b"where it was taken" not in data


def test_images_that_cannot_be_shown_are_left_out_and_named(tmp_path, serve_study, write_pictures):
    """Damaged images are left out with a reason, and with fewer than three others there
    is no study.
    """
    folder = write_pictures(tmp_path / "mixed", ["a.png", "d.png", "e.png"])
    (folder / "empty.png").write_bytes(b"")
    study = serve_study(images=folder).study
    assert study.names == ("a.png", "d.png", "e.png")
    assert [name for name, _ in study.left_out] == ["empty.png"]
    assert open_study(study.folder).left_out == study.left_out
    (folder / "a.png").unlink()
    with pytest.raises(FileError, match="three"):
        create(tmp_path / "study", str(folder), Settings())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_among_the_images_is_no_image(tmp_path, serve_study, write_pictures):
    """A named pipe among the images is left out, and nobody waits for it."""
    folder = write_pictures(tmp_path / "mixed", ["a.png", "b.png", "c.png"])
    os.mkfifo(folder / "pipe.png")
    assert serve_study(images=folder).study.names == ("a.png", "b.png", "c.png")


def test_a_study_knows_its_images(images, tmp_path, write_pictures):
    """The same images continue a study, and other names, other pictures or a missing folder are
    refused.
    """
    names = [f"image{number}.png" for number in range(12)]
    study = create(tmp_path / "study", str(images), Settings())
    open_study(study.folder).check_images(str(images))
    others = [
        write_pictures(tmp_path / "fewer", names[:-1]),
        write_pictures(tmp_path / "renamed", [f"other-{name}" for name in names]),
        write_pictures(tmp_path / "changed", names),
        tmp_path / "nothing",
    ]
    Image.new("RGB", (9, 9)).save(tmp_path / "changed" / "image3.png")
    for folder in others:
        with pytest.raises((FileError, ValueError), match=folder.name):
            study.check_images(str(folder))


def test_a_study_is_continued_and_kind_and_seed_are_fixed(images, tmp_path):
    """A study is opened with the settings that were written, kind and seed cannot change, and a
    folder without a study, or with a damaged one, is refused.
    """
    study = create(tmp_path / "study", str(images), Settings(people=3, open=True))
    opened = open_study(tmp_path / "study")
    for name in ("settings", "names", "left_out", "made", "key", "images_sha256"):
        assert getattr(opened, name) == getattr(study, name), name
    for changes in ({"kind": "anchor"}, {"seed": 1}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            study.with_settings(Settings(**changes))
    file = tmp_path / "study" / "study.json"
    record = json.loads(file.read_text())
    for damaged in ({"made": 1}, *({**record, "made": made} for made in (np.inf, np.nan))):
        file.write_text(json.dumps(damaged))
        for folder in (tmp_path / "study", tmp_path):
            with pytest.raises(FileError, match="study"):
                open_study(folder)


SETTINGS_OUT_OF_RANGE = [
    {"kind": "pairs"},
    {"catch": 0.9},
    {"catch": 0.3, "repeats": 0.3},
    {"return_url": "javascript:alert(1)"},
    {"people": 0},
    {"people": 10**11},
    {"per_person": 10**12},
    {"min_seconds": float("inf")},
    {"days": 0},
    {"days": float("nan")},
    {"open": "yes"},
    {"unknown": 1},
]


@pytest.mark.parametrize("settings", SETTINGS_OUT_OF_RANGE)
def test_settings_out_of_range_are_refused(images, tmp_path, settings):
    """A setting out of range is a ValueError, and in study.json a FileError that names
    the setting.
    """
    name = next(iter(settings))
    with pytest.raises(ValueError, match=name):
        Settings(**settings)
    study = create(tmp_path, str(images), Settings())
    file = study.folder / "study.json"
    record = json.loads(file.read_text())
    record["settings"] |= settings
    file.write_text(json.dumps(record))
    with pytest.raises(FileError, match=rf"study\.json.*{name}"):
        open_study(tmp_path)


def test_a_database_out_of_reach_is_one_sentence(tmp_path):
    """A missing folder and a failing query are a FileError with the path."""
    with pytest.raises(FileError, match="missing"):
        create_database(tmp_path / "missing" / "answers.sqlite")
    path = tmp_path / "answers.sqlite"
    create_database(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for query in ("SELECT * FROM nothing", "INSERT INTO people DEFAULT VALUES"):
            with pytest.raises(FileError, match=r"answers\.sqlite"), db.database_errors(path):
                connection.execute(query)
