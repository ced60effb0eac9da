"""What a study asks and what comes out of it: balance, repeats, catch trials, proposals; exports and the commands."""

import json
import random
import subprocess
from collections import Counter
from itertools import islice

import numpy as np
import processes
import pytest
import sqlalchemy as sql
from studies import write_pictures

from glocal import Answers
from glocal.cli.app import execute
from glocal.collect.answering import Answering, Given
from glocal.collect.database import add_people, add_proposals, open_database, proposals, trials
from glocal.collect.export import collected, write_csv, write_npz
from glocal.collect.settings import Settings
from glocal.collect.study import create, open_study
from glocal.collect.tokens import PERSON, Signer, Token
from glocal.collect.trials import Asking, balanced, plan, right_choice
from glocal.errors import DataError


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of ten images."""
    return write_pictures(tmp_path_factory.mktemp("images"), [f"image{number}.png" for number in range(10)])


class Asked:
    """A study without a server, and people who answer it."""

    def __init__(self, folder, images, **settings):
        self.study = create(folder, str(images), Settings(**settings))
        self.engine = open_database(self.study)
        asking = Asking(self.study, random.Random(0))
        self.answering = Answering(self.study, Signer(self.study.key, self.study.number), asking)
        with self.engine.begin() as connection:
            self.people = add_people(connection, self.study.settings.people or 1)

    def answer(self, person, choose, most=10**6):
        """Answer as `choose` says of the items shown, up to the last trial."""
        token = Token(PERSON, person)
        with self.engine.begin() as connection:
            self.answering.consent(connection, token)
            for _ in range(most):
                trial = self.answering.current(connection, token)
                if trial is None or trial["trial"] is None:
                    return
                self.answering.answer(connection, token, trial["trial"], Given(choose(trial["items"]), 2.0))

    def trials(self):
        with self.engine.connect() as connection:
            rows = connection.execute(sql.select(trials).order_by(trials.c.id)).mappings()
            return [{**row, "images": json.loads(row["images"])} for row in rows]


@pytest.fixture
def asked(images, tmp_path):
    """A function that makes a study."""
    made = []

    def make(images=images, **settings):
        made.append(Asked(tmp_path / "study", images, **settings))
        return made[-1]

    yield make
    for one in made:
        one.engine.dispose()


def largest(items):
    """The answer of somebody for whom images are numbers: the largest is the odd one."""
    return items.index(max(items))


def test_random_trials_are_balanced_over_the_images():
    """Of 10 n trials of n images each is in exactly 30; each trial has three; the start makes no difference."""
    for n in (3, 4, 5, 7, 92):
        found = list(islice(balanced(n, seed=1), 10 * n))
        assert (np.bincount(np.ravel(found), minlength=n) == 30).all()
        assert all(len(set(triplet)) == 3 for triplet in found)
        assert list(islice(balanced(n, seed=1, start=n + 2), 5)) == found[n + 2 : n + 7]
    assert len(set(map(frozenset, found))) > 900, "hardly a triplet comes twice"
    assert list(islice(balanced(92, seed=2), 5)) != found[:5]


def test_a_plan_has_exactly_the_shares_of_its_settings(asked):
    """Of 200 trials 10 are repeats, none among the first ten, and 4 catch trials; another person has another plan."""
    study = asked(per_person=200).study
    first, second = plan(study, "p1"), plan(study, "p2")
    assert Counter(first) == Counter(second) == {"random": 186, "repeat": 10, "catch": 4}
    assert "repeat" not in first[:10]
    assert first != second
    assert first == plan(study, "p1")


def test_repeats_ask_again_and_catch_trials_have_two_equal_images(asked):
    """A repeat has the images of the trial that it names, an own one ten before it or another person's."""
    study = asked(people=3, per_person=60, repeats=0.2, catch=0.1)
    for person in study.people:
        study.answer(person, largest)
    rows = study.trials()
    by_id = {row["id"]: row for row in rows}
    assert Counter(row["source"] for row in rows) == {"random": 3 * 42, "repeat": 3 * 12, "catch": 3 * 6}
    whose = Counter()
    for row in rows:
        if row["source"] == "repeat":
            before = by_id[row["again"]]
            assert sorted(before["images"]) == sorted(row["images"])
            own = before["person"] == row["person"]
            assert not own or before["number"] <= row["number"] - 10
            whose[own] += 1
        else:
            assert row["again"] is None
            assert len(set(row["images"])) == (2 if row["source"] == "catch" else 3)
    assert whose[True] > 5
    assert whose[False] > 5
    found = collected(study.study, study.engine)
    same = {row["id"]: row["images"][largest(row["images"])] for row in rows}
    chosen = dict(zip(found.trial.tolist(), found.items[np.arange(len(found)), found.choice].tolist(), strict=True))
    assert chosen == same, "answers are about images, wherever they were shown"


def test_the_right_answer_of_a_catch_trial_is_the_other_image():
    """The one that is there once is odd; for an anchor the copy of the reference is the closer one."""
    assert [right_choice("odd-one-out", items) for items in ([4, 4, 1], [4, 1, 4], [1, 4, 4])] == [2, 1, 0]
    assert [right_choice("anchor", items) for items in ([4, 4, 1], [4, 1, 4])] == [1, 2]


def test_the_place_on_the_screen_says_nothing(asked):
    """Over many trials the image that comes first in the draw is shown in each place about equally often."""
    study = asked(people=1, per_person=300, repeats=0.0, catch=0.0)
    study.answer("p1", largest)
    places = Counter(row["images"].index(max(row["images"])) for row in study.trials())
    assert all(70 <= places[place] <= 130 for place in range(3)), places


def test_proposals_are_asked_in_their_order_beside_random_ones(asked):
    """Seven of ten trials are proposals, best first, until none waits; new ones take the place of the waiting ones."""
    study = asked(order="informative", features="f.npy", per_person=60, repeats=0.0, catch=0.0)
    best = [(i, (i + 1) % 10, (i + 5) % 10) for i in range(10)]
    assert add_proposals(study.engine, [(0, 1, 2)] * 5, "old") == 5
    assert add_proposals(study.engine, best, "new") == 10
    study.answer("p1", largest, most=40)
    rows = [row for row in study.trials() if row["source"] == "informative"]
    assert [tuple(sorted(row["images"])) for row in rows] == [tuple(sorted(items)) for items in best]
    with study.engine.connect() as connection:
        held = connection.execute(sql.select(proposals.c.committee, proposals.c.taken)).all()
    assert [(committee, taken is not None) for committee, taken in held] == [("new", True)] * 10
    last = max(row["number"] for row in rows)
    assert Counter(row["source"] for row in study.trials()[: last + 1])["random"] >= 1


def test_the_random_share_of_an_informative_study_is_kept(asked):
    """With proposals in plenty, 100 trials have 20 to 42 random ones where the share is 0.3; anchors keep the first."""
    study = asked(kind="anchor", order="informative", features="f.npy", per_person=100, repeats=0.0, catch=0.0)
    add_proposals(study.engine, [(3, 1, 2)] * 200, "one")
    study.answer("p1", lambda items: 1)
    sources = Counter(row["source"] for row in study.trials())
    assert 15 <= sources["random"] <= 47
    proposed = [row["images"] for row in study.trials() if row["source"] == "informative"]
    assert {items[0] for items in proposed} == {3}
    assert {items[1] for items in proposed} == {1, 2}


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_the_export_is_a_file_of_answers(asked, tmp_path, kind):
    """Answers come in the convention of the kind with person, seconds, names and catch trials, without "can't tell"."""
    study = asked(kind=kind, people=2, per_person=40, catch=0.1, repeats=0.1)
    study.answer("p1", largest if kind == "odd-one-out" else lambda items: 1)
    study.answer("p2", lambda items: None, most=7)
    found = collected(study.study, study.engine)
    assert write_npz(found, tmp_path / "answers.npz") == 36
    read = Answers.load(tmp_path / "answers.npz")
    assert (read.kind, read.n_people, read.names) == (kind, 1, study.study.names)
    assert (read.seconds == 2.0).all()
    assert Counter(read.catch_person.tolist())["p1"] == 4
    if kind == "odd-one-out":
        assert (read.objects[:, 2] == read.objects.max(axis=1)).all()
    else:
        shown = {row["id"]: row["images"] for row in study.trials()}
        assert read.objects.tolist() == [shown[trial] for trial in found.trial[found.told].tolist()]
    with np.load(tmp_path / "answers.npz", allow_pickle=False) as held:
        assert set(held["source"]) == {"random", "repeat"}
        assert held["order"].tolist() == sorted(held["order"].tolist())
        assert (np.diff(held["time"]) >= 0).all()
        assert held["choice"].shape == held["trial"].shape == held["again"].shape == (36,)
        assert (held["source"] == "random").sum() == 32


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path, asked):
    """In the CSV no cell begins with a sign of a formula; every row is there, catch trials and can't tell included."""
    import pandas as pd

    names = ["=cmd|' !A1.png", "@sum(1).png", "+a.png", "-b.png", '"quoted",comma.png']
    study = asked(images=write_pictures(tmp_path / "names", names), per_person=30, catch=0.1)
    study.answer("p1", lambda items: None if items[0] == 0 else 1)
    assert write_csv(collected(study.study, study.engine), tmp_path / "answers.csv") == 30
    table = pd.read_csv(tmp_path / "answers.csv", dtype=str, keep_default_na=False)
    assert len(table) == 30
    cells = [str(cell) for column in table for cell in table[column]]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    shown = {cell.removeprefix("'") for place in (1, 2, 3) for cell in table[f"image_{place}"]}
    assert shown == set(names)
    assert set(table["choice"]) == {"", "2"}
    assert set(table["source"]) == {"random", "repeat", "catch"}


def test_a_study_without_answers_is_said_to_have_none(asked, tmp_path):
    """The export of a new study is refused in a sentence, and no file is written."""
    study = asked()
    with pytest.raises(DataError, match="no answers yet"):
        write_npz(collected(study.study, study.engine), tmp_path / "answers.npz")
    assert not (tmp_path / "answers.npz").exists()


def test_a_study_can_be_made_longer(asked):
    """Somebody who was through goes on after --per-person was raised, and is through again."""
    study = asked(per_person=5)
    study.answer("p1", largest)
    longer = study.study.changed(Settings(per_person=8))
    study.answering = Answering(longer, study.answering.signer, Asking(longer))
    study.answer("p1", largest)
    assert [row["number"] for row in study.trials()] == list(range(8))
    assert open_study(longer.folder).settings.per_person == 8


def test_the_commands_serve_export_and_go_on(images, tmp_path, started):
    """collect serves and prints links; export writes meanwhile; a second server, other images or kind are refused."""
    import httpx

    folder, out = tmp_path / "study", tmp_path / "answers.npz"
    command = [*processes.COMMAND_LINE, "collect", str(images), "--out", str(folder), "--port", "0", "--json"]
    server = started(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    printed = json.loads(server.stdout.readline())
    assert (printed["images"], list(printed["people"]), printed["open"]) == (10, ["p1"], None)
    me = printed["people"]["p1"]
    httpx.post(f"{me}/consent")
    trial = httpx.get(f"{me}/trial").json()["trial"]
    assert httpx.post(f"{me}/trial/{trial}", json={"choice": 0, "seconds": 1}).status_code == 200
    assert execute(["collect", "export", str(folder), "--out", str(out), "--csv"]) == 0
    assert len(Answers.load(out)) == 1
    assert (tmp_path / "answers.csv").read_text().count("\n") == 2
    kept = (folder / "study.json").read_bytes()
    again = processes.run([*command, "--per-person", "7"], capture_output=True, text=True)
    assert (again.returncode, "is being served by another process" in again.stderr) == (1, True)
    assert (folder / "study.json").read_bytes() == kept
    server.terminate()
    server.wait(30)
    port = me.split(":")[2].split("/")[0]
    for number in ("50", "200"):  # also where it is the default
        assert execute(["collect", "--out", str(folder), "--per-person", number, "--port", "99999"]) == 1
    wrong = ([str(images.parent)], ["--kind", "anchor"], ["--database", "sqlite:///x"], ["--port", "99999"])
    for more in wrong:
        assert execute(["collect", *more, "--out", str(folder)]) == 1, more
    command = [*processes.COMMAND_LINE, "collect", "--out", str(folder), "--port", port, "--people", "2"]
    server = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [server.stdout.readline() for _ in range(6)]
    assert f"p1  {me}\n" in lines
    assert sum(line.startswith("p") for line in lines) == 2
    assert httpx.get(f"{me}/last").json()["choice"] == 0
    server.send_signal(2)
    _, said = server.communicate(timeout=30)
    assert (server.returncode, "all answers are in" in said) == (0, True)


def test_the_port_of_another_server_is_not_taken(images, tmp_path, capsys):
    """Where the port is in use, the command ends with a sentence that says how to choose another one."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert execute(["collect", str(images), "--out", str(tmp_path / "study"), "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err
    assert execute(["collect", "--out", str(tmp_path / "none")]) == 1
    assert "name the images" in capsys.readouterr().err
    assert execute(["collect", "--out", str(tmp_path / "study"), "--host", ""]) == 1
    assert "--host is empty" in capsys.readouterr().err
    assert execute(["collect", "--out", str(tmp_path / "study"), "--url", "example.org"]) == 1
    assert "begin with https://" in capsys.readouterr().err
    assert execute(["collect", str(images)]) == 2
    assert execute(["collect", "export", str(tmp_path), "--out", str(tmp_path / "a.npz")]) == 1
    assert "has no study.json" in capsys.readouterr().err
