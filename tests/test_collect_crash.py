"""A crowd over real HTTP while the server is killed: every acknowledged answer is kept, once."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import processes
import pytest
import sqlalchemy as sql
from studies import write_pictures

from glocal.collect.database import answers, open_database, trials
from glocal.collect.export import collected
from glocal.collect.study import open_study

pytestmark = pytest.mark.nightly

PEOPLE, EACH, KILLS = 50, 8, 10
DEBIANS = Path("/usr/lib/postgresql")  # its initdb is not on the path


class Crowd:
    """People who answer until they are through, whatever happens to the server, and remember what was acknowledged."""

    def __init__(self, links: list[str]) -> None:
        self.links = links
        self.acknowledged: dict[int, int | None] = {}
        self.finished = 0
        self.up = asyncio.Event()
        self.up.set()

    async def run(self, watch) -> None:
        watching = asyncio.create_task(watch(self))
        async with contextlib.AsyncExitStack() as stack:
            # a pool of connections each: that of httpx looks at all of them again and again
            clients = [await stack.enter_async_context(httpx.AsyncClient(timeout=30, verify=False)) for _ in self.links]
            people = zip(clients, self.links, range(len(self.links)), strict=True)
            await asyncio.gather(*(self._person(*one) for one in people))
        await watching

    async def _person(self, client: httpx.AsyncClient, link: str, seed: int) -> None:
        draw = random.Random(seed)
        assert (await self._until_it_works(client, "POST", f"{link}/consent")).status_code == 200
        while True:
            trial = (await self._until_it_works(client, "GET", f"{link}/trial")).json()
            if trial["trial"] is None:
                self.finished += 1
                return
            choice = draw.choice([0, 1, 2, None])
            body = {"choice": choice, "seconds": draw.uniform(1, 5)}
            address = f"{link}/trial/{trial['trial']}"
            kept = await self._until_it_works(client, "POST", address, json=body)
            assert kept.status_code == 200, kept.text
            assert trial["trial"] not in self.acknowledged, "a trial was asked again after its answer was kept"
            self.acknowledged[trial["trial"]] = choice
            if draw.random() < 0.2:
                again = await self._until_it_works(client, "POST", address, json=body)
                other = {**body, "choice": 0 if choice is None else None}
                wrong = await self._until_it_works(client, "POST", address, json=other)
                assert (again.status_code, wrong.status_code) == (200, 409)

    async def _until_it_works(self, client: httpx.AsyncClient, method: str, address: str, **body) -> httpx.Response:
        """Send a request again and again while the server is away."""
        began = time.monotonic()
        while time.monotonic() - began < 60:
            try:
                reply = await client.request(method, address, **body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                await self.up.wait()  # fifty people who knock all the time would keep it from starting
                continue
            assert reply.status_code < 500, reply.text
            return reply
        raise AssertionError("the server did not come back within a minute")


def survives(images: Path, folder: Path, started, *options: str) -> None:
    """Serve a study to a crowd, kill the server ten times, and compare what is kept with what was acknowledged."""
    command = [*processes.COMMAND_LINE, "collect", "--out", str(folder), "--json"]
    first = ["--people", str(PEOPLE), "--per-person", str(EACH), "--fastest", "0", "--repeats", "0.1", *options]

    def serve(*arguments: str):
        server = started([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return server, json.loads(server.stdout.readline())

    server, printed = serve(str(images), "--port", "0", *first)
    port = printed["owner"].split(":")[2].split("/")[0]
    links = list(printed["people"].values())

    async def kill(crowd: Crowd) -> None:
        nonlocal server
        for number in range(KILLS):
            while len(crowd.acknowledged) < (number + 0.5) * PEOPLE * EACH / (KILLS + 1):
                await asyncio.sleep(0.002)
            crowd.up.clear()
            server.kill()
            server.wait()
            server, again = await asyncio.to_thread(serve, "--port", port)
            assert list(again["people"].values()) == links, "the links are the same after a crash"
            crowd.up.set()

    crowd = Crowd(links)
    asyncio.run(crowd.run(kill))
    server.terminate()
    server.wait(30)
    assert crowd.finished == PEOPLE
    study = open_study(folder)
    engine = open_database(study)
    with engine.connect() as connection:
        kept = connection.execute(sql.select(answers.c.trial, answers.c.choice)).all()
        asked = connection.execute(sql.select(trials.c.person, trials.c.number)).all()
    assert len(kept) == len(crowd.acknowledged) == PEOPLE * EACH
    assert dict(map(tuple, kept)) == crowd.acknowledged
    assert len(set(asked)) == len(asked) == PEOPLE * EACH, "no trial was made twice"
    assert len(collected(study, engine)) == PEOPLE * EACH
    engine.dispose()


def test_fifty_people_and_a_server_killed_ten_times(images, tmp_path, started):
    """Every answer that got a 200 is in SQLite once, none twice, none lost; the links stay the same."""
    survives(images, tmp_path / "study", started)


def test_the_same_on_postgresql(images, tmp_path, started, postgres):
    """The same with the answers in PostgreSQL."""
    survives(images, tmp_path / "study", started, "--database", postgres)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of twelve images."""
    return write_pictures(tmp_path_factory.mktemp("images"), [f"image{number}.png" for number in range(12)])


@pytest.fixture
def postgres():
    """The address of a PostgreSQL of this test's own; skipped where it is not installed."""
    initdb = shutil.which("initdb") or next(iter(sorted(DEBIANS.glob("*/bin/initdb"))), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (initdb is not found)")
    programs = Path(os.path.realpath(initdb)).parent
    rights = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="glocal-pg-"))  # not in tmp_path, which only its owner may enter
    try:
        if rights:
            shutil.chown(folder, rights["user"], rights["group"])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **rights}
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "glocal", "-A", "trust", "--no-sync"],
            check=False, capture_output=True, text=True, cwd=folder, **rights,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"initdb does not work here: {made.stderr.strip().splitlines()[-1:]}")
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="], **quiet
        )
        try:
            yield _once_ready(f"postgresql://glocal@/postgres?host={folder}", server)
        finally:
            server.send_signal(signal.SIGQUIT)  # nothing of it is kept
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _once_ready(address: str, server: subprocess.Popen) -> str:
    import psycopg

    for _ in range(300):
        assert server.poll() is None, "PostgreSQL ended"
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return address
    raise AssertionError("PostgreSQL did not start within half a minute")
