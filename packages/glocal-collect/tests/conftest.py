"""Fixtures of the tests of studies: pictures, a study served in this process, a browser."""

import json
import random
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image
from processes import browser, no_screen  # noqa: F401 - tests/processes.py of the repository


@pytest.fixture(scope="session")
def write_pictures():
    """Write a folder of small pictures of noise with these names."""

    def write(folder, names):
        import world

        return world.folder(folder, **{name: Image.effect_noise((12, 8), 90) for name in names})

    return write


@pytest.fixture(scope="session")
def images(tmp_path_factory, write_pictures):
    """A folder of twelve images."""
    return write_pictures(
        tmp_path_factory.mktemp("pictures") / "images", [f"image{i}.png" for i in range(12)]
    )


def farthest_number(names):
    """The odd one out of numbered images, so that the two nearest numbers belong together."""
    a, b, c = (int(re.sub(r"\D", "", name)) for name in names)
    return int(np.argmin([abs(b - c), abs(a - c), abs(a - b)]))


@pytest.fixture(scope="session")
def answered(images, tmp_path_factory):
    """The folder of a study in which p1 to p4 leave the two nearest numbers, p5 clicks at random,
    and p6 does not begin.

    Beside it are features of the images, in which their numbers are a weak direction.
    """
    import world

    from glocal_collect import people
    from glocal_collect.settings import Settings
    from glocal_collect.study import create

    where = tmp_path_factory.mktemp("page")
    settings = Settings(people=6, per_person=120, min_seconds=0.0, catch=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            people, "TrialScheduler", partial(people.TrialScheduler, rng=random.Random(0))
        )
        study = Served(create(where / "study", str(images), settings))
    rng = np.random.default_rng(0)
    for person in ("p1", "p2", "p3", "p4"):
        study.answer_trials(study.begin(person), farthest_number)
    study.answer_trials(study.begin("p5"), lambda names: int(rng.integers(3)))
    study.close()
    X = rng.normal(size=(12, 8))
    X[:, 0] = 1.2 * np.linspace(-1, 1, 12)
    names = [f"image{i}.png" for i in range(12)]
    world.folder(where, features_npy=X, file_names_txt=names)
    return study.folder


class Served:
    """A study that is served in this process, and a person who answers it."""

    def __init__(self, study):
        self.study = study
        self.database = None
        self.addresses = {}  # of people and roles by their names
        self.restart()

    def restart(self, **settings):
        """Stop the server and start it again with these settings changed."""
        from fastapi.testclient import TestClient

        from glocal_collect.app import create_app
        from glocal_collect.db import Database
        from glocal_collect.people import StudyService, links

        self.close()
        self.study = self.study.with_settings(self.study.settings.replace(**settings))
        self.database = Database(self.study.database)
        self.links = links(self.study, "")
        people = self.links["people"]
        roles = {role: self.links[role] for role in ("open", "owner") if self.links[role]}
        self.addresses |= people | roles
        self.service = StudyService(self.study, self.database)
        self.client = TestClient(create_app(self.study, self.database), follow_redirects=False)
        self.get = self.client.get
        self.post = self.client.post

    @property
    def folder(self):
        return self.study.folder

    def close(self):
        if self.database is not None:
            self.database.close()

    def play(self, script):
        """Play a script line by line: `ann = ?id=ann` names a visitor of the open link, `restart`
        changes settings, and `ann ann/consent -> 404 200` states the statuses of replies.
        """
        for line in script.strip().split("\n"):
            match line.split():
                case ["restart", *settings]:
                    pairs = (setting.split("=") for setting in settings)
                    self.restart(**{name: json.loads(value) for name, value in pairs})
                case [name, "=", *query]:
                    self.addresses[name] = self.visit(*query)
                case _:
                    requests, statuses = line.split(" -> ")
                    codes = [self.request(request).status_code for request in requests.split()]
                    assert codes == [*map(int, statuses.split())], line

    def request(self, text):
        """The reply to a request for a name and a path, such as `ann/trial` or `open?id=ann`."""
        name, path = re.match(r"(\w+)(.*)", text).groups()
        send = self.post if path == "/consent" else self.get
        return send(self.addresses[name] + path)

    def codes(self, *addresses):
        """The statuses of replies to requests for these addresses."""
        return [self.get(address).status_code for address in addresses]

    def begin(self, person="p1"):
        """Let a person, or a visitor with this query, consent, and return their link."""
        link = self.links["people"].get(person) or self.visit(person)
        assert self.post(f"{link}/consent").status_code == 200
        return link

    def visit(self, query=""):
        """The link to which the open link redirects."""
        return "/r/" + self.get(self.links["open"] + query).headers["location"]

    def trial(self, link):
        return self.get(f"{link}/trial").json()

    def answer(self, link, trial, choice, **fields):
        body = {"choice": choice, "seconds": 2.0, **fields}
        return self.post(f"{link}/trial/{trial}", json=body)

    def answer_trials(self, link, choose=lambda names: 1, limit=10**6):
        """Answer trials without HTTP, which takes a tenth of the time, and return their numbers;
        `choose` maps the names shown to a choice.
        """
        from glocal_collect.people import AnswerBody

        token = self.service.signer.read(link.removeprefix("/r/"), "person")
        numbers = []
        while len(numbers) < limit and (trial := self.service.current(token))["trial"] is not None:
            numbers.append(trial["trial"])
            choice = choose([item["name"] for item in trial["items"]])
            self.service.answer(token, numbers[-1], AnswerBody(choice=choice, seconds=2.0))
        return numbers

    def finish(self, query):
        """Let a visitor consent and answer everything, and return the end as the page reads it."""
        link = self.begin(query)
        self.answer_trials(link)
        return self.trial(link)

    def rows(self, table):
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def serve_study(images, tmp_path, monkeypatch):
    """A function that serves a study, new or given, whose rate limits have a clock that stands
    still, and whose questions are the same every time.
    """
    from glocal_collect import people
    from glocal_collect.settings import Settings
    from glocal_collect.study import create

    still = partial(people.Limit, clock=lambda: 0.0)
    seeded = partial(people.TrialScheduler, rng=random.Random(0))
    monkeypatch.setattr(people, "Limit", still)
    monkeypatch.setattr(people, "TrialScheduler", seeded)
    studies = []

    def serve(images=images, study=None, **settings):
        folder = tmp_path / f"study{len(studies)}"
        settings = Settings(**{"min_seconds": 0.0, **settings})
        studies.append(Served(study or create(folder, str(images), settings)))
        return studies[-1]

    yield serve
    for study in studies:
        study.close()
