"""The recipes that put a study online work: their files, a real proxy with a certificate, and a
backup.
"""

import configparser
import contextlib
import json
import re
import shlex
import shutil
import socket
import sqlite3
import ssl
import subprocess
from pathlib import Path

import httpx
import processes
import pytest
import typer

from glocal.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "examples" / "deploy"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
BUILDER = next(filter(None, map(shutil.which, ("podman", "buildah", "docker"))), None)
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
    service = configparser.ConfigParser(strict=False)
    service.optionxform = str
    service.read(DEPLOY / "glocal-collect.service")
    program, *words = shlex.split(service["Service"]["ExecStart"])
    assert words[:2] == ["collect", "run"]
    assert {word for word in words if word.startswith("--")} <= RUN_OPTIONS
    assert Path(program).is_relative_to(service["Service"]["WorkingDirectory"])
    container = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    instructions = dict(line.split(" ", 1) for line in container.splitlines())
    entry = json.loads(instructions["ENTRYPOINT"])
    assert entry[:3] == ["glocal", "collect", "run"]
    assert {word for word in entry if word.startswith("--")} <= RUN_OPTIONS
    assert entry[entry.index("--out") + 1] == instructions["VOLUME"]
    port = f"127.0.0.1:{instructions['EXPOSE']}"
    for name in ("Caddyfile", "nginx.conf"):
        assert port in (DEPLOY / name).read_text(encoding="utf-8")
    assert re.findall(r"--port\b", service["Service"]["ExecStart"] + container) == []


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


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.skipif(BUILDER is None, reason="neither podman, buildah nor docker is installed")
def test_the_container_builds():
    """The checkout builds an image whose help is that of the command."""
    verb = "bud" if BUILDER.endswith("buildah") else "build"
    command = [BUILDER, verb, "-f", DEPLOY / "Containerfile", "-t", "localhost/test", ROOT]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode and re.search(r"dial tcp|registry|permission", finished.stderr):
        pytest.skip("the builder has no registry or no rights here")
    assert finished.returncode == 0, finished.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def nginx(folder: Path, port: int, server_port: int):
    """The nginx of the recipe, on other ports and with its own certificate."""
    key = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=study"
    key += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(shlex.split(key), cwd=folder, check=True, capture_output=True, timeout=60)
    block = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    block = block.replace("listen 443", f"listen 127.0.0.1:{port}")
    block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server_port}")
    block = re.sub(r"/etc\S+/fullchain.pem", str(folder / "cert.pem"), block)
    block = re.sub(r"/etc\S+/privkey.pem", str(folder / "key.pem"), block)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    text = f"pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}}\n"
    text += f"http {{ access_log off;\n{paths}{block}}}\n"
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen(
        [NGINX, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    ) as proxy:
        try:
            yield
        finally:
            proxy.terminate()


@pytest.mark.nightly
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx)")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_person_answers_through_a_real_proxy(images, tmp_path):
    """Links, redirects, images and answers work over HTTPS behind nginx, also after a restart."""
    port, server_port = free_port(), free_port()
    url = f"https://127.0.0.1:{port}"
    options = f"--port {server_port} --min-seconds 0 --open --per-person 5 --catch 0 --public-url"
    server = processes.Study(tmp_path / "study", f"{images} {options} {url}")
    proxy_folder = tmp_path / "nginx"
    proxy_folder.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        stack.enter_context(nginx(proxy_folder, port, server_port))
        context = ssl.create_default_context(cafile=str(proxy_folder / "cert.pem"))
        client = httpx.Client(verify=context, follow_redirects=True, timeout=None)
        stack.enter_context(client)
        visitor = server.links["open"] + "?PROLIFIC_PID=ann&SESSION_ID=s1"
        page = None
        while page is None:  # until the proxy listens
            with contextlib.suppress(httpx.ConnectError):
                page = client.get(visitor)
        link = str(page.url)
        assert link.startswith(f"{url}/r/")
        for address in re.findall(r'(?:src|href)="\.\.(/static/[^"]+)"', page.text):
            assert client.get(url + address).status_code == 200
        assert client.post(f"{link}/consent").status_code == 200
        for number in range(5):
            trial = client.get(f"{link}/trial").json()
            image = client.get(url + trial["items"][0]["url"])
            assert image.headers["content-type"] == "image/jpeg"
            body = {"choice": number % 3, "seconds": 1.0}
            assert client.post(f"{link}/trial/{trial['trial']}", json=body).status_code == 200
        assert client.get(f"{link}/trial").json()["code"]
        assert client.get(server.links["owner"]).status_code == 200
        assert str(client.get(visitor).url) == link
        server.process.kill()
        server.process.wait()
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
    "contested": "in another session|another session came",
}


def test_both_pages_list_everything_that_is_stored(serve_study):
    """The consent page and the table on the page name each column of the table of people."""
    study = serve_study(open=True)
    link = study.visit("?id=ann")
    study.consents(link)
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
