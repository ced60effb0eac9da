"""What a study asks and what comes out of it: balance, repeats, catch trials, exports, the owner's table, commands."""

import re
import socket
import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pandas as pd
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.errors import DataError, FileError
from glocal_collect.export import collected, save_csv, save_npz
from glocal_collect.settings import Settings
from glocal_collect.trials import balanced, plan, right_choice


def largest(names):
    """The answer of somebody for whom images are numbers: the largest is the odd one."""
    return max(range(3), key=lambda place: int(re.sub(r"\D", "", names[place])))


def test_random_trials_are_balanced_over_the_images():
    """Of 10 n trials of n images each is in exactly 30; each trial has three; the start makes no difference."""
    for n in (3, 4, 5, 7, 92):
        found = list(islice(balanced(n, seed=1), 10 * n))
        assert (np.bincount(np.ravel(found), minlength=n) == 30).all()
        assert all(len(set(triplet)) == 3 for triplet in found)
        assert list(islice(balanced(n, seed=1, start=n + 2), 5)) == found[n + 2 : n + 7]
    assert len(set(map(frozenset, found))) > 900, "hardly a triplet comes twice"
    assert list(islice(balanced(92, seed=2), 5)) != found[:5]


def test_a_plan_has_exactly_the_shares_of_its_settings():
    """Of 200 trials 10 are repeats, none among the first ten, and 4 catch trials; another person has another plan."""
    first, second = plan(Settings(), "p1"), plan(Settings(), "p2")
    assert Counter(first) == Counter(second) == {"random": 186, "repeat": 10, "catch": 4}
    assert "repeat" not in first[:10]
    assert first != second


def test_repeats_ask_again_and_catch_trials_have_two_equal_images(served):
    """A repeat has the images of the trial that it names, an own one ten before it or another person's."""
    study = served(people=3, per_person=60, repeats=0.2, catch=0.1)
    for person in ("p1", "p2", "p3"):
        study.answered(study.begun(person), largest)
    rows = study.rows("trials")
    by_id = {row["id"]: row for row in rows}
    images = {row["id"]: [row["a"], row["b"], row["c"]] for row in rows}
    assert Counter(row["source"] for row in rows) == {"random": 3 * 42, "repeat": 3 * 12, "catch": 3 * 6}
    whose = Counter()
    for row in rows:
        if row["source"] == "repeat":
            before = by_id[row["again"]]
            assert sorted(images[before["id"]]) == sorted(images[row["id"]])
            own = before["person"] == row["person"]
            assert not own or before["number"] <= row["number"] - 10
            whose[own] += 1
        else:
            assert row["again"] is None
            assert len(set(images[row["id"]])) == (2 if row["source"] == "catch" else 3)
    assert min(whose[True], whose[False]) > 1  # of 36, drawn without a seed: less once in a million runs
    places = Counter(images[row["id"]].index(max(images[row["id"]])) for row in rows if row["source"] == "random")
    assert all(12 <= places[place] <= 75 for place in range(3)), "the place on the screen says nothing"
    found = collected(study.study, study.database)
    assert found.alike.all()
    assert len(found.alike) == whose[True]


def test_the_right_answer_of_a_catch_trial_is_the_other_image():
    """The one that is there once is odd; for an anchor the copy of the reference is the closer one."""
    assert [right_choice("odd-one-out", items) for items in ([4, 4, 1], [4, 1, 4], [1, 4, 4])] == [2, 1, 0]
    assert [right_choice("anchor", items) for items in ([4, 4, 1], [4, 1, 4])] == [1, 2]


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_the_export_is_a_file_of_answers(served, tmp_path, kind):
    """Answers come in the convention of the kind with person, seconds, names and catch trials, without "can't tell"."""
    study = served(kind=kind, people=2, per_person=40, catch=0.1, repeats=0.1)
    study.answered(study.begun("p1"), largest if kind == "odd-one-out" else lambda names: 1)
    study.answered(study.begun("p2"), lambda names: None, most=7)
    found = collected(study.study, study.database)
    assert save_npz(found, tmp_path / "answers.npz") == 36
    read = Answers.load(tmp_path / "answers.npz")
    assert (read.kind, read.n_people, read.names) == (kind, 1, study.study.names)
    assert (read.seconds == 2.0).all()
    assert Counter(read.catch_person.tolist())["p1"] == 4
    if kind == "odd-one-out":
        numbers = np.array([int(re.sub(r"\D", "", name)) for name in read.names])[read.objects]
        assert (numbers[:, 2] == numbers.max(axis=1)).all()
    else:
        assert read.objects.tolist() == found.items[found.told].tolist()
    with np.load(tmp_path / "answers.npz", allow_pickle=False) as held:
        assert set(held["source"]) == {"random", "repeat"}
        assert held["order"].tolist() == sorted(held["order"].tolist())
        assert (np.diff(held["time"]) >= 0).all()
        assert held["choice"].shape == held["trial"].shape == held["again"].shape == (36,)


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path, served, write_pictures):
    """In the CSV no cell begins with a sign of a formula; every row is there, catch trials and can't tell included."""
    names = ["=cmd|' !A1.png", "@sum(1).png", "+a.png", "-b.png", '"quoted",comma.png']
    study = served(images=write_pictures(tmp_path / "names", names), per_person=30, catch=0.1)
    study.answered(study.begun(), lambda shown: None if shown[0] == "+a.png" else 1)
    assert save_csv(collected(study.study, study.database), tmp_path / "answers.csv") == 30
    table = pd.read_csv(tmp_path / "answers.csv", dtype=str, keep_default_na=False)
    cells = [str(cell) for column in table for cell in table[column]]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    shown = {cell.removeprefix("'") for place in (1, 2, 3) for cell in table[f"image_{place}"]}
    assert (len(table), shown) == (30, set(names))
    assert set(table["choice"]) == {"", "2"}
    assert set(table["source"]) == {"random", "repeat", "catch"}


def test_answers_that_are_not_there_or_damaged_are_refused(served, tmp_path):
    """A study without answers, an image that is none of the study, and a file that is no database."""
    study = served()
    with pytest.raises(DataError, match="answers"):
        save_npz(collected(study.study, study.database), tmp_path / "answers.npz")
    study.answered(study.begun(), largest, most=1)
    for value in (99, -1, "x"):
        study.database.write(lambda connection, value=value: connection.execute("UPDATE trials SET b = ?", (value,)))
        with pytest.raises(FileError, match="answers of the study"):
            collected(study.study, study.database)
    assert not (tmp_path / "answers.npz").exists()


ROWS = [  # person, images, choice, time, source, again
    ("a", (0, 1, 2), 2, 10, "random", None),
    ("a", (3, 4, 5), 0, 20, "random", None),
    ("b", (6, 7, 8), 0, 3700, "random", None),
    ("a", (2, 1, 0), 0, 3800, "repeat", 1),  # image 2 again
    ("a", (4, 3, 5), 2, 3900, "repeat", 2),  # 5 in place of 3
    ("b", (5, 3, 4), 1, 4000, "repeat", 2),  # what another person was asked
    ("b", (9, 9, 1), 2, 4100, "catch", None),
    ("a", (9, 1, 9), 0, 4200, "catch", None),
    ("b", (1, 2, 3), None, 4300, "random", None),
]


def test_the_owner_sees_what_each_person_did(served):
    """Repeats compare the image, not its place; those of other people are no repeats; catch trials are counted."""
    study = served()
    assert "has not begun" in study.get(study.links["owner"]).text

    def fill(connection):
        connection.execute("DELETE FROM people")
        connection.executemany("INSERT INTO people (id, consented) VALUES (?, 1)", [("a",), ("b",), ("c",)])
        for trial, (person, items, choice, at, source, again) in enumerate(ROWS, start=1):
            row = (trial, person, trial, *items, source, again)
            connection.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO answers VALUES (?, ?, 2.25, ?, NULL)", (trial, choice, at))

    study.database.write(fill)
    page = study.get(study.links["owner"]).text
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", line) for line in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    assert cells[1] == ["a", "", "5 of 200", "0", "2.2", "1 of 2", "0 of 1", "0", "0", "1970-01-01 01:10"]
    assert cells[2] == ["b", "", "4 of 200", "1", "2.2", "", "1 of 1", "0", "0", "1970-01-01 01:11"]
    assert cells[3] == ["c", "", "0 of 200", "0", "", "", "", "0", "0", ""]
    assert cells[4] == ["All", "", "6", "", "", "1 of 2", "1 of 2", "", "", ""]


def test_a_study_can_be_made_longer(served):
    """Somebody who was through continues after --per-person was raised, and is through again."""
    from fastapi.testclient import TestClient

    from glocal_collect.app import create_app

    study = served(per_person=5)
    me = study.begun()
    study.answered(me, largest)
    study.client = TestClient(create_app(study.study.changed(Settings(per_person=8, fastest=0.0)), study.database))
    study.get, study.post = study.client.get, study.client.post
    study.answered(me, largest)
    assert [row["number"] for row in study.rows("trials")] == list(range(8))


def test_an_answer_after_the_owner_looked_and_an_export_ended_is_on_the_disk(served):
    """The owner's page keeps the locks of the database: no other process deletes the log that answers go to."""
    study = served()
    me = study.begun()

    def stored_according_to_another_process():
        code = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM answers').fetchone())"
        return int(subprocess.check_output([sys.executable, "-c", code, study.study.database]))

    study.answered(me, largest, most=1)
    assert study.get(study.links["owner"]).status_code == 200
    assert stored_according_to_another_process() == 1
    study.answered(me, largest, most=2)
    assert stored_according_to_another_process() == 3


def test_wrong_commands_end_in_one_sentence(images, tmp_path, capsys):
    """A port in use, a wrong host, address or setting, no images, no study; nothing is made of them."""
    out = str(tmp_path / "study")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for arguments, word in (
            (["run", str(images), "--out", out, "--port", port], port),
            (["run", str(images), "--out", out, "--host", "nowhere.invalid"], "--host"),
            (["run", str(images), "--out", out, "--url", "example.org", "--port", "0"], "--url"),
            (["run", str(images), "--out", out, "--catch", "0.9", "--port", "0"], "--catch"),
            (["run", "--out", out, "--port", "0"], "images"),
            (["export", str(tmp_path), "--out", str(tmp_path / "a.npz")], "study.json"),
        ):
            assert execute(["collect", *arguments]) in (1, 2), arguments
            assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert execute(["collect", "run", str(images)]) == 2
