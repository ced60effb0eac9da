"""A crowd over real HTTP while the server is killed: every acknowledged answer is kept, once."""

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time

import httpx
import pytest

from glocal.cli.app import execute

pytestmark = pytest.mark.nightly

PEOPLE, EACH, KILLS = 50, 8, 10


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
            clients = [
                await stack.enter_async_context(httpx.AsyncClient(timeout=30, verify=False))
                for _ in self.links
            ]
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
            assert trial["trial"] not in self.acknowledged, (
                "a trial was asked again after its answer was kept"
            )
            self.acknowledged[trial["trial"]] = choice
            if draw.random() < 0.2:
                again = await self._until_it_works(client, "POST", address, json=body)
                other = {**body, "choice": 0 if choice is None else None}
                wrong = await self._until_it_works(client, "POST", address, json=other)
                assert (again.status_code, wrong.status_code) == (200, 409)

    async def _until_it_works(
        self, client: httpx.AsyncClient, method: str, address: str, **body
    ) -> httpx.Response:
        """Send a request again and again while the server is away."""
        began = time.monotonic()
        while time.monotonic() - began < 120:
            try:
                reply = await client.request(method, address, **body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                await (
                    self.up.wait()
                )  # fifty people who knock all the time would keep it from starting
                continue
            assert reply.status_code < 500, reply.text
            return reply
        raise AssertionError("the server did not come back within two minutes")


@pytest.mark.timeout(600)
def test_fifty_people_and_a_server_killed_ten_times(images, tmp_path):
    """Every answer that got a 200 is in the database once, none twice, none lost; the links stay; Ctrl-C ends it."""
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "glocal", "collect", "run", "--out", folder, "--json"]
    first = [
        "--people",
        str(PEOPLE),
        "--per-person",
        str(EACH),
        "--min-seconds",
        "0",
        "--repeats",
        "0.1",
    ]

    def serve(*arguments):
        server = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )  # fmt: skip
        return server, json.loads(server.stdout.readline())

    server, printed = serve(images, "--port", "0", *first)
    port = printed["owner"].split(":")[2].split("/")[0]
    links = list(printed["people"].values())

    def end():
        server.kill()
        server.wait()
        server.stdout.close()

    async def kill(crowd: Crowd) -> None:
        nonlocal server
        for number in range(KILLS):
            while len(crowd.acknowledged) < (number + 0.5) * PEOPLE * EACH / (KILLS + 1):
                await asyncio.sleep(0.002)
            crowd.up.clear()
            end()
            server, again = await asyncio.to_thread(serve, "--port", port)
            assert list(again["people"].values()) == links, "the links are the same after a crash"
            crowd.up.set()

    crowd = Crowd(links)
    try:
        asyncio.run(crowd.run(kill))
        export = ["collect", "export", str(folder), "--out", str(tmp_path / "a.npz"), "--csv"]
        assert execute(export) == 0, "while the server runs"
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        end()
    assert crowd.finished == PEOPLE
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + PEOPLE * EACH
    with contextlib.closing(sqlite3.connect(folder / "answers.sqlite")) as connection:
        kept = connection.execute("SELECT trial, choice FROM answers").fetchall()
        asked = connection.execute("SELECT person, number FROM trials").fetchall()
    assert len(kept) == len(crowd.acknowledged) == PEOPLE * EACH
    assert dict(kept) == crowd.acknowledged
    assert len(set(asked)) == len(asked) == PEOPLE * EACH, "no trial was made twice"
