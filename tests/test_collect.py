"""Studies: what is asked, what a person may do over HTTP, what is kept, and what comes out."""

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from glocal.collect.database import open_database
from glocal.collect.links import links
from glocal.collect.server import create_app
from glocal.collect.settings import Settings
from glocal.collect.study import create


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of twelve images."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(12):
        (folder / f"image{number}.png").write_bytes(picture(number))
    return folder


@pytest.fixture
def served(images, tmp_path):
    """A function that serves a study in this process: its client, the study, its links and its engine."""
    running = []

    def serve(**settings):
        study = create(tmp_path / "study", str(images), Settings(**{"fastest": 0.0, **settings}))
        engine = open_database(study)
        found = links(study, engine, "")
        client = TestClient(create_app(study, engine), follow_redirects=False)
        client.__enter__()
        running.append((client, engine))
        return client, study, found, engine

    yield serve
    for client, engine in running:
        client.__exit__(None, None, None)
        engine.dispose()


def test_a_trial_stays_the_same_until_it_is_answered(served):
    """Two looks at a trial show the same one; after its answer the next comes."""
    client, _, found, _ = served()
    me = found["people"]["p1"]
    assert client.get(f"{me}/trial").status_code == 403
    assert client.post(f"{me}/consent").status_code == 200
    first = client.get(f"{me}/trial").json()
    assert first == client.get(f"{me}/trial").json()
    assert first.keys() == {"trial", "kind", "items", "done", "of", "next"}
    assert (first["kind"], first["done"], first["of"], len(first["items"])) == ("odd-one-out", 0, 200, 3)
    answer = client.post(f"{me}/trial/{first['trial']}", json={"choice": 1, "seconds": 2.5})
    assert answer.status_code == 200
    second = client.get(f"{me}/trial").json()
    assert second["trial"] != first["trial"]
    assert second["done"] == 1
