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


@pytest.mark.timeout(600)
def test_sixty_four_people_and_a_server_killed_ten_times(images, tmp_path):
    """Every answer with a reply of 200 is in the database once, and the links stay the same.

    Meanwhile the owner looks at the page, and answers are exported; Ctrl-C ends the server.
    """
    folder = tmp_path / "study"
    export = ["collect", "export", str(folder), "--out", str(tmp_path / "a.npz"), "--csv"]
    settings = f"--people {N_PEOPLE} --per-person {N_TRIALS} --min-seconds 0 --repeats 0.1"
    server = processes.Study(folder, f"--port 0 {settings}", images)
    links = server.links
    port = links["owner"].split(":")[2].split("/")[0]
    acknowledged = {}  # choices by the numbers of trials
    server_is_up = asyncio.Event()
    server_is_up.set()

    async def request(client, method, address, **body):
        """Send a request again and again while there is no server."""
        while True:
            try:
                reply = await client.request(method, address, **body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                # many people who retry without a pause would keep the server from starting
                await server_is_up.wait()
                continue
            assert reply.status_code == 200, reply.text
            return reply

    async def answer(link):
        """Let a person consent and answer every trial, whatever happens to the server."""
        rng = random.Random(link)
        # one client for each person, since httpx searches all connections of a client
        async with httpx.AsyncClient(timeout=None) as client:
            await request(client, "POST", f"{link}/consent")
            while True:
                number = (await request(client, "GET", f"{link}/trial")).json()["trial"]
                if number is None:
                    return
                assert number not in acknowledged, "it was asked again after its answer"
                body = {"choice": rng.choice([0, 1, 2, None]), "seconds": rng.uniform(1, 5)}
                await request(client, "POST", f"{link}/trial/{number}", json=body)
                acknowledged[number] = body["choice"]

    async def kill():
        nonlocal server
        for number in range(N_KILLS):
            n_answers = (number + 0.5) * N_PEOPLE * N_TRIALS / (N_KILLS + 1)
            while len(acknowledged) < n_answers:
                await asyncio.sleep(0.002)
            owner = await asyncio.to_thread(httpx.get, links["owner"], timeout=None)
            assert owner.status_code == 200
            assert await asyncio.to_thread(execute, export) == 0, "while the server runs"
            server_is_up.clear()
            server.kill()
            server = await asyncio.to_thread(processes.Study, folder, f"--port {port}")
            assert server.links == links
            server_is_up.set()

    async def together():
        await asyncio.gather(kill(), *map(answer, links["people"].values()))

    try:
        asyncio.run(together())
        assert execute(export) == 0
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait() == 0
    finally:
        server.kill()
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 1 + N_PEOPLE * N_TRIALS
    with contextlib.closing(sqlite3.connect(folder / "answers.sqlite")) as connection:
        answers = connection.execute("SELECT trial, choice FROM answers").fetchall()
        (n_trials,) = connection.execute("SELECT count(*) FROM trials").fetchone()
    assert dict(answers) == acknowledged
    assert len(answers) == n_trials == N_PEOPLE * N_TRIALS, "no trial was made twice"
