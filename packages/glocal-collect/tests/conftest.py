"""What the tests of studies share: pictures, a study that is served in this process, a browser."""

import io

import numpy as np
import pytest
from PIL import Image
from processes import browser  # noqa: F401 - tests/processes.py of the repository


def picture(seed):
    """A small picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="session")
def write_pictures():
    """Write a folder of small pictures of these names."""

    def write(folder, names):
        folder.mkdir()
        for number, name in enumerate(names):
            (folder / name).write_bytes(picture(number))
        return folder

    return write


@pytest.fixture(scope="session")
def images(tmp_path_factory, write_pictures):
    """A folder of twelve images."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "images", [f"image{i}.png" for i in range(12)])


class Served:
    """A study that is served in this process, and somebody who answers."""

    def __init__(self, folder, images, **settings):
        from fastapi.testclient import TestClient

        from glocal_collect.app import create_app
        from glocal_collect.db import Database
        from glocal_collect.people import links
        from glocal_collect.settings import Settings
        from glocal_collect.study import create

        self.study = create(folder, str(images), Settings(**{"fastest": 0.0, **settings}))
        self.database = Database(self.study.database)
        self.links = links(self.study, self.database, "")
        self.client = TestClient(create_app(self.study, self.database), follow_redirects=False)
        self.get, self.post = self.client.get, self.client.post

    def begun(self, person="p1"):
        """The address of a person who has consented."""
        me = self.links["people"][person]
        assert self.post(f"{me}/consent").status_code == 200
        return me

    def came(self, query=""):
        """The address to which the open link leads."""
        return "/r/" + self.get(self.links["open"] + query).headers["location"]

    def trial(self, me):
        return self.get(f"{me}/trial").json()

    def answer(self, me, trial, choice, **more):
        return self.post(f"{me}/trial/{trial}", json={"choice": choice, "seconds": 2.0, **more})

    def answered(self, me, choose, most=10**6):
        """Answer one trial after another, as `choose` says of the names shown; their numbers."""
        numbers = []
        while len(numbers) < most and (trial := self.trial(me))["trial"] is not None:
            numbers.append(trial["trial"])
            assert self.answer(me, numbers[-1], choose([item["name"] for item in trial["items"]])).status_code == 200
        return numbers

    def rows(self, table):
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def served(images, tmp_path):
    """A function that serves a study."""
    running = []

    def serve(images=images, **settings):
        running.append(Served(tmp_path / f"study{len(running)}", images, **settings))
        return running[-1]

    yield serve
    for one in running:
        one.database.close()
