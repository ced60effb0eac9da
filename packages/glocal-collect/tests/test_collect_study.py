"""The folder of a study: how it is created, and that nothing in it is lost or made anew."""

import errno
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from glocal.errors import FileError, ParameterError
from glocal_collect.db import Database, scalar
from glocal_collect.settings import Settings
from glocal_collect.study import create, open_study


@pytest.fixture
def make(tmp_path, images):
    """Create a study of the images in the folder of the test, or in one in it."""
    return lambda name="", **settings: create(tmp_path / name, str(images), Settings(**settings))


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


def test_a_study_replaces_no_images(tmp_path, write_pictures, images):
    """A study in a folder that has images, or in which its images lie, is refused, and nothing is
    written.
    """
    photos = write_pictures(tmp_path / "images", ["0.jpg", "1.jpg", "2.jpg"])
    (tmp_path / "link").symlink_to(photos)
    before = {*tmp_path.rglob("*")}
    for folder, source in ((tmp_path, images), (photos, tmp_path / "link")):
        with pytest.raises(ParameterError, match="another folder"):
            create(folder, str(source), Settings())
    assert before == {*tmp_path.rglob("*")}


@pytest.mark.parametrize("content", [b"", b'{"key": "short"}', None])
def test_a_key_that_no_study_used_is_drawn_again(make, tmp_path, monkeypatch, content):
    """A secret file without a key does not prevent the creation of a study if there is no
    study.json, and neither does a file system without hard links.
    """
    if content is None:
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(errno.EPERM, "no links")))
    else:
        (tmp_path / "secret.json").write_bytes(content)
    key = make().key
    assert len(key) == 64
    assert open_study(tmp_path).key == key


SECRETS = r"""
{}
{"key": ""}
{"key": null}
{"key": 123}
{"key": "short"}
{"key": {"a": "b"}}
{"key": "\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800"}
[]"""


def test_two_creations_at_once_share_one_key(make, tmp_path):
    """Two creations at once sign with the same key, the one that is on the disk."""
    barrier = threading.Barrier(2)

    def create_at_once(_):
        barrier.wait()
        return make().key

    with ThreadPoolExecutor(2) as pool:
        assert {*pool.map(create_at_once, range(2))} == {open_study(tmp_path).key}


def test_a_study_without_a_key_is_not_opened(make):
    """A study without a key, whose links anybody could sign, is refused with the name
    of the file.
    """
    folder = make().folder
    for secret in SECRETS.split("\n"):
        (folder / "secret.json").write_text(secret, "utf-8")
        with pytest.raises(FileError, match=r"secret\.json"):
            open_study(folder)


def test_the_key_is_for_the_owner_alone(serve_study):
    """Only their owner can read the key and the answers, and study.json holds no secret."""
    study = serve_study().study
    for name in ("secret.json", "answers.sqlite", "answers.sqlite-wal"):
        assert (study.folder / name).stat().st_mode & 0o077 == 0, name
    assert study.key not in (study.folder / "study.json").read_text("utf-8")


# the database


def test_a_database_that_is_lost_or_damaged_is_not_made_anew(make):
    """A lost or damaged database is refused in one sentence that names the file, which is not
    created or changed.
    """
    file = make().database
    whole = file.read_bytes()
    file.unlink()
    with pytest.raises(FileError, match="missing"):
        Database(file)
    assert not file.exists()
    for content in (b"", whole[: len(whole) // 2], whole[:4096] + bytes(len(whole) - 4096)):
        file.write_bytes(content)
        with pytest.raises(FileError, match=r"answers\.sqlite"):
            Database(file)
        assert file.read_bytes() == content


def test_answers_without_a_study_are_not_mixed_with_other_images(serve_study, images):
    """A folder that has answers but no study.json is refused, and its images stay."""
    study = serve_study()
    study.begin()
    folder = study.folder
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


def test_an_acknowledged_answer_outlives_a_power_cut(serve_study):
    """Each transaction waits for the disk, and each connection holds an answer to its trial."""
    database = serve_study().database
    for access in (database.writing, database.reading):
        with access() as connection:
            assert scalar(connection, "PRAGMA synchronous") == 2, "FULL"
            assert scalar(connection, "PRAGMA foreign_keys") == 1


# images


def test_images_are_shown_upright_small_and_without_metadata(tmp_path):
    """A photograph with EXIF data is turned upright, at most 640 pixels wide or high, and loses its
    metadata.
    """
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    exif[305] = "where it was taken"
    for name in "abc":
        image = Image.new("RGB", (1400, 700))
        image.save(tmp_path / "photos" / f"{name}.jpg", exif=exif)
    data = create(tmp_path / "study", str(tmp_path / "photos"), Settings()).image(0).read_bytes()
    assert Image.open(io.BytesIO(data)).size == (320, 640)
    assert b"where it was taken" not in data


# settings

SETTINGS = """
{"kind": "pairs"}
{"catch": 0.9}
{"code": "two words"}
{"return_url": "javascript:alert(1)"}
{"return_url": "https://app.prolific.com/submissions/complete?cc={code}"}
{"people": 0}
{"people": 100000000000}
{"per_person": 1000000000000}
{"min_seconds": Infinity}
{"days": 0}
{"days": NaN}
{"open": "yes"}
{"unknown": 1}
"""


def test_a_study_is_opened_as_it_was_written(make):
    """A study has the settings that were written; a setting out of range is a ValueError, and in
    study.json, as is a time of creation that is none, a FileError that names it.
    """
    study = make(people=3, open=True)
    assert vars(open_study(study.folder)) == vars(study)
    file = study.folder / "study.json"
    record = json.loads(file.read_text("utf-8"))
    for row in SETTINGS.strip().split("\n"):
        settings = json.loads(row)
        (name,) = settings
        with pytest.raises(ValueError, match=name):
            Settings(**settings)
        file.write_text(json.dumps(record | {"settings": settings}), "utf-8")
        with pytest.raises(FileError, match=rf"study\.json.*{name}"):
            open_study(study.folder)
    file.write_text(json.dumps(record | {"made": np.inf}), "utf-8")
    with pytest.raises(FileError, match=r"study\.json.*made"):
        open_study(study.folder)
