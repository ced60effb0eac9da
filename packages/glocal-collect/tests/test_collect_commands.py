"""The commands: their links, restarts and exports, and one sentence for each wrong command line."""

import io
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
import world

from glocal import Answers
from glocal.aligner.people import RANDOM
from glocal_collect.study import open_study

AGAIN = "run --out study --port 0"
NEW = AGAIN.replace("run", "run images")


@pytest.fixture
def run(monkeypatch, tmp_path, images):
    """Run a command line, of which the server stops at once, in a folder with the images."""

    def serve(server, sockets):
        run_line.address = sockets[0].getsockname()
        raise KeyboardInterrupt

    def run_line(line):
        return world.run(f"collect {line}")

    monkeypatch.setattr(uvicorn.Server, "run", serve)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").symlink_to(images)
    return run_line


def test_the_links_are_printed_and_stay_the_same(run):
    """Each person has a link to the port of the server, and a restart prints the same links."""
    _, printed, messages = run(f"{NEW} --people 2")
    address, port = run.address
    assert address == "127.0.0.1"
    for start in (f"p1  http://127.0.0.1:{port}/r/", f"owner  http://127.0.0.1:{port}/o/"):
        assert f"\n{start}" in printed
    assert "all answers are in" in messages
    again = run(f"{NEW} --people 2 --json").json
    assert (again["images"], *again["people"]) == (12, "p1", "p2")
    assert again["people"]["p2"].rsplit("/")[-1] in printed
    line = f"{AGAIN} --host 0.0.0.0 --public-url https://study.example.org/ --json"
    assert run(line).json["owner"].startswith("https://study.example.org/o/")
    assert run.address[0] == "0.0.0.0"


def test_a_study_is_opened_and_closed_by_the_command(run):
    """`--open` prints the open link, and `--no-open` prints no link but the owner's, then and
    later.
    """
    printed = run(f"{NEW} --open --people 5").out
    assert "open link  http" in printed
    assert "p1  http" not in printed
    assert run("people study --json").json == {"people": []}
    assert "Person" in run("people study").out
    for line in (f"{AGAIN} --no-open", AGAIN):
        printed = run(line).out
        assert "open link" not in printed
        assert "closed" in printed
        assert open_study(Path("study")).settings.open is False


def test_images_that_are_left_out_and_copies_are_named(run, images, tmp_path):
    """Damaged images and named pipes, for which nobody waits, are left out and counted, the first
    with its reason, and an image under two names causes a warning of plan and of run; with fewer
    than three images there is no study.
    """
    folder = shutil.copytree(images, tmp_path / "mixed")
    shutil.copyfile(folder / "image3.png", folder / "my photo (1).png")
    (folder / "empty.png").touch()
    os.mkfifo(folder / "pipe.png")
    messages = run(NEW.replace("images", "mixed")).err
    for words in ("study.json lists: 2;", "empty.png", "image3.png and my photo (1).png"):
        assert words in messages
    study = open_study(Path("study"))
    assert study.names == (*(f"image{i}.png" for i in range(12)), "my photo (1).png")
    assert [*dict(study.left_out)] == ["empty.png", "pipe.png"]
    planned = run("plan --images mixed --json")
    assert planned.json["objects"] == 15
    assert "image3.png and my photo (1).png" in planned.err
    refused(run, "run mixed/[em]*.png --out few --port 0 | three")


def test_a_plan_says_what_a_study_takes(run):
    """A plan counts images or takes their number, and says what the pay is."""
    printed = run("plan --objects 100 --gain 0.5 --seconds 4 --pay 12/h").out
    assert "2,500 answers: 13 participants × 200 trials" in printed
    assert "49 for their pay" in printed
    ended = run("plan --images images --json")
    assert ended.json["cost"] is None
    assert "copies" not in ended.err


@pytest.mark.nightly
def test_people_are_shown_and_excluded(run, answered, monkeypatch):
    """A careless person is marked, on a screen of 80 or 60 columns too, and an exclusion is
    recorded, holds for exports, and can be taken back.
    """
    features = os.path.relpath(answered.parent)  # without the blanks of a folder above
    answered = f"{features}/study"
    (line,) = (line for line in run(f"people {answered}").out.splitlines() if RANDOM in line)
    assert line.startswith("p5")
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run(f"people {answered}").out.splitlines()
        assert RANDOM in " ".join(lines)
        assert [line for line in lines if len(line) > columns] == []
    monkeypatch.delenv("COLUMNS")
    options = f"--features {features} --exclude p5 --json"
    rows = {row["person"]: row for row in run(f"people {answered} {options}").json["people"]}
    assert [name for name in rows if rows[name]["is_marked"]] == ["p5"]
    assert [name for name in rows if rows[name]["excluded"]] == ["p5"]
    assert rows["p1"]["catch_trials"] == 6
    assert rows["p6"]["answers"] == 0

    def exported(options=""):
        record = run(f"export {answered} --out a.npz --csv --json {options}").json
        people = {*Answers.load("a.npz").person}
        assert {*pd.read_csv("a.csv")["person"]} == people
        assert np.load("a.npz")["without"].tolist() == record["without"]
        assert record["people"] == len(people)
        assert record["files"] == ["a.npz", "a.csv"]
        return " ".join(sorted(people))

    assert exported() == "p1 p2 p3 p4"
    assert exported("--without p1") == "p2 p3 p4"
    assert exported("--everybody") == "p1 p2 p3 p4 p5"
    assert run(f"people {answered} --include p5").code == 0
    assert exported() == "p1 p2 p3 p4 p5"
    for line in (f"people {answered} --exclude p9", f"export {answered} --out b.npz --without p9"):
        refused(run, f"{line} | p9")
    assert "b.csv" in run(f"export {answered} --out b.csv").out
    assert len(pd.read_csv("b.csv")) == 600


def test_exports_are_read_as_they_come(run, serve_study, tmp_path):
    """Check, import, split and fit read both files, joined with the features by name alone."""
    study = serve_study(people=2, per_person=60, catch=0.1)
    for person in ("p1", "p2"):
        study.answer_trials(study.begin(person))
    run(f"export {os.path.relpath(study.folder)} --out a.npz --csv")
    assert world.run("data import a.csv --out b.npz").code == 0
    names = [f"photos/image{i}.jpg" for i in reversed(range(12))]
    world.folder(tmp_path, features_npy=world.X[:12], file_names_txt=names)
    objectives = []
    for name in ("a.npz", "a.csv", "b.npz"):
        data = f"--features features.npy --answers {name}"
        assert world.run(f"data check {data}").code == 0
        fitted = world.run(f"fit {data} --lmbda 1 --method global --holdout 0 --out t.npz --json")
        objectives.append(fitted.json["objective"])
        assert "no names" not in fitted.err
        assert world.run(f"data split {data} --by people --folds 2 --out {name[2:]}").code == 0
    assert objectives == pytest.approx([objectives[0]] * 3, rel=1e-6)


def test_the_title_is_asked_for_in_a_terminal(run, monkeypatch):
    """A new study without --title asks for a title; without a terminal it takes the name of the
    folder.
    """
    assert run(NEW).code == 0
    assert open_study(Path("study")).title == "study"
    answers = io.StringIO("Which look alike?\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    assert run("run images --out asked --port 0").code == 0
    assert open_study(Path("asked")).title == "Which look alike?"


WRONG = """
run images --out study --port {port}           | {port}
{new} --host nowhere.invalid                   | --host
{new} --host 0.0.0.0                           | --public-url
{new} --host ::                                | --public-url
{new} --public-url example.org                 | --public-url
{new} --catch 0.9                              | --catch
{new} --max-starts 5                | --open
{new} --no-open                                | --no-open
run imagesx --out study --port 0               | imagesx
{again}                                        | images
run images                                     | --out
plan                                           | --objects
plan --objects 9 --images images               | --images
plan --objects 2                               | --objects
plan --objects 9 --pay much                    | --pay
people .                                       | study.json
export . --out a.npz                           | study.json
export . --out a.txt                           | .csv
"""


def refused(run, table):
    """Run lines that are each refused in one sentence with a word."""
    for row in table.strip().split("\n"):
        line, word = (cell.strip() for cell in row.split("|"))
        code, printed, messages = run(line)
        assert (code in (1, 2), printed, len(messages.splitlines())) == (True, "", 1), line
        assert word in messages


def test_wrong_commands_end_in_one_sentence(run, tmp_path):
    """A wrong port, address, option or folder is refused in one sentence, and nothing
    is created.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(run, WRONG.format(port=port, new=NEW, again=AGAIN))
    assert [file.name for file in tmp_path.iterdir()] == ["images"]


CANNOT_GO_ON = """
run others --out study --port 0             | images
run nothing --out study --port 0            | nothing
{again} --max-starts 5           | --open
{again} --no-open --people 5                | --people
{again} --kind anchor                       | kind
{again} --seed 1                            | seed
"""


def test_a_study_that_cannot_go_on_says_why(run, tmp_path, write_pictures):
    """Other images, an option without effect and another kind are refused, and change nothing."""
    write_pictures(tmp_path / "others", ["x.png", "y.png", "z.png"])
    assert run(NEW).code == 0
    record = tmp_path / "study" / "study.json"
    before = record.read_text("utf-8")
    refused(run, CANNOT_GO_ON.format(again=AGAIN))
    assert record.read_text("utf-8") == before
    assert run(NEW).code == 0


def test_a_damaged_study_is_bad_content(run, tmp_path):
    """For a damaged study, run and export exit with 1 and name the file, which is not
    created again; answers are exported without images too.
    """
    run(NEW)
    for name, words in (("images/11.jpg", "no answers"), ("answers.sqlite", "answers.sqlite")):
        file = tmp_path / "study" / name
        file.rename(tmp_path / "away")
        refused(run, f"{AGAIN} | {file.name}\nexport study --out a.npz | {words}")
        assert not file.exists()
        (tmp_path / "away").rename(file)
