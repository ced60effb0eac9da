"""The recipes that put a study online work: their files, a real proxy with a certificate, and a
backup.
"""

import contextlib
import json
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import httpx
import processes
import pytest
import typer

from glocal.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "examples" / "deploy"
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
BUILDER = shutil.which("podman") or shutil.which("docker")
RUN_OPTIONS = {
    option
    for parameter in typer.main.get_command(app).commands["collect"].commands["run"].params
    for option in parameter.opts
}


def test_the_page_shows_the_files_as_they_are():
    """The page shows each file of examples/deploy in full."""
    for file in DEPLOY.iterdir():
        assert f"\n{file.read_text(encoding='utf-8')}```" in PAGE, file


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
    (command,) = set(re.findall(r"`(sqlite3 [^`]*backup[^`]*)`", PAGE))
    folder = study.study.folder
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
    for words in STORED.values():
        in_consent, in_page = words.split("|")
        assert (in_consent in consent_page, in_page in PAGE) == (True, True), words


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
    statements = re.findall(r'answers\.sqlite "\n?((?:UPDATE|DELETE)[^"]*)"', PAGE)
    assert len(statements) == 2
    study.close()
    with contextlib.closing(sqlite3.connect(study.study.database)) as connection:
        for statement in statements:
            connection.executescript(statement.replace("p7", person))
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for file in study.study.folder.glob("answers.sqlite*"):
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
