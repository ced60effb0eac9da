"""A crowd answers over real HTTP while the server is killed: every acknowledged answer
is stored once.
"""

import asyncio
import contextlib
import random
import signal
import sqlite3

import httpx
import processes
import pytest

from glocal.cli.app import execute

pytestmark = pytest.mark.nightly

N_PEOPLE = 64
N_TRIALS = 8  # number of trials of each person
N_KILLS = 10


class Crowd:
    """People who answer to the end, whatever happens to the server, and note each reply with status
    200.
    """

    def __init__(self, links: list[str]) -> None:
        self.links = links
        self.acknowledged: dict[int, int | None] = {}
        self.finished = 0
        self.server_is_up = asyncio.Event()
        self.server_is_up.set()

    async def run(self, watch) -> None:
        watching = asyncio.create_task(watch(self))
        async with contextlib.AsyncExitStack() as stack:
            people = []
            for seed, link in enumerate(self.links):
                # one client for each person, since httpx searches all connections of a client
                client = httpx.AsyncClient(timeout=None, verify=False)
                people.append(self._person(await stack.enter_async_context(client), link, seed))
            await asyncio.gather(*people)
        await watching

    async def _person(self, client: httpx.AsyncClient, link: str, seed: int) -> None:
        rng = random.Random(seed)
        consent = await self._request(client, "POST", f"{link}/consent")
        assert consent.status_code == 200
        while True:
            trial = (await self._request(client, "GET", f"{link}/trial")).json()
            if trial["trial"] is None:
                self.finished += 1
                return
            assert trial["trial"] not in self.acknowledged, "it was asked again after its answer"
            choice = rng.choice([0, 1, 2, None])
            body = {"choice": choice, "seconds": rng.uniform(1, 5)}
            address = f"{link}/trial/{trial['trial']}"
            reply = await self._request(client, "POST", address, json=body)
            assert reply.status_code == 200, reply.text
            self.acknowledged[trial["trial"]] = choice
            if rng.random() < 0.2:
                same = await self._request(client, "POST", address, json=body)
                other_body = {**body, "choice": 0 if choice is None else None}
                other = await self._request(client, "POST", address, json=other_body)
                assert (same.status_code, other.status_code) == (200, 409)

    async def _request(
        self, client: httpx.AsyncClient, method: str, address: str, **body
    ) -> httpx.Response:
        """Send a request again and again while there is no server."""
        while True:
            try:
                reply = await client.request(method, address, **body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                # many people who retry without a pause would keep the server from starting
                await self.server_is_up.wait()
                continue
            assert reply.status_code < 500, reply.text
            return reply


@pytest.mark.timeout(600)
def test_sixty_four_people_and_a_server_killed_ten_times(images, tmp_path):
    """Every answer with a reply of 200 is in the database once, and the links stay the same.

    Meanwhile the owner looks at the page, and answers are exported; Ctrl-C ends the server.
    """
    folder = tmp_path / "study"
    export = ["collect", "export", str(folder), "--out", str(tmp_path / "a.npz"), "--csv"]
    settings = f"--people {N_PEOPLE} --per-person {N_TRIALS} --min-seconds 0 --repeats 0.1"
    server = processes.Study(folder, f"{images} --port 0 {settings}")
    port = server.links["owner"].split(":")[2].split("/")[0]
    links = list(server.links["people"].values())

    async def kill(crowd: Crowd) -> None:
        nonlocal server
        for number in range(N_KILLS):
            n_answers = (number + 0.5) * N_PEOPLE * N_TRIALS / (N_KILLS + 1)
            while len(crowd.acknowledged) < n_answers:
                await asyncio.sleep(0.002)
            owner = await asyncio.to_thread(httpx.get, server.links["owner"], timeout=None)
            assert owner.status_code == 200
            assert await asyncio.to_thread(execute, export) == 0, "while the server runs"
            crowd.server_is_up.clear()
            server.kill()
            server = await asyncio.to_thread(processes.Study, folder, f"--port {port}")
            assert list(server.links["people"].values()) == links
            crowd.server_is_up.set()

    crowd = Crowd(links)
    try:
        asyncio.run(crowd.run(kill))
        assert execute(export) == 0
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait() == 0
    finally:
        server.kill()
    assert crowd.finished == N_PEOPLE
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + N_PEOPLE * N_TRIALS
    with contextlib.closing(sqlite3.connect(folder / "answers.sqlite")) as connection:
        answers = connection.execute("SELECT trial, choice FROM answers").fetchall()
        trials = connection.execute("SELECT person, number FROM trials").fetchall()
    assert len(answers) == len(crowd.acknowledged) == N_PEOPLE * N_TRIALS
    assert dict(answers) == crowd.acknowledged
    assert len(set(trials)) == len(trials) == N_PEOPLE * N_TRIALS, "no trial was made twice"
