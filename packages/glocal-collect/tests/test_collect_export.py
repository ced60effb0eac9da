"""The questions of a study and its results: balance, repeats, catch trials, exports and
the table.
"""

import re
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from glocal.data.answers import Answers
from glocal.errors import DataError, FileError
from glocal_collect.export import read_collected, record_excluded, save_csv, save_npz
from glocal_collect.overview import describe_people, people_table
from glocal_collect.pages import owner_page
from glocal_collect.tokens import PERSON, Signer, Token
from glocal_collect.trials import balanced_triplet, right_choice


def largest(names):
    """The choice of a person to whom images are numbers: the largest is the odd one."""
    return max(range(3), key=lambda position: int(re.sub(r"\D", "", names[position])))


def trials_of(study):
    """The trials of a study by their ids, with the images of each in the order shown."""
    trials = pd.DataFrame(study.rows("trials")).set_index("id")
    return trials.assign(images=trials[["a", "b", "c"]].apply(list, axis=1))


def collected_from(study):
    return read_collected(study.study, study.database)


# questions


def test_random_trials_are_balanced_over_the_images():
    """In 10 n trials of n images, each image is in exactly 30 and never twice in the same."""
    for n in (3, 4, 5, 7, 92):
        triplets = [balanced_triplet(n, 1, number) for number in range(10 * n)]
        assert (np.bincount(np.ravel(triplets), minlength=n) == 30).all()
        assert all(len(set(triplet)) == 3 for triplet in triplets)
    assert len(set(map(frozenset, triplets))) > 900, "hardly a triplet comes twice"
    assert [balanced_triplet(92, 2, number) for number in range(5)] != triplets[:5]


SOURCES = {"random": 126, "repeat": 36, "catch": 18}


def test_repeats_ask_again_and_catch_trials_have_two_equal_images(serve_study):
    """A repeat has the images of the trial that it names, which is the person's own, at least ten
    before, or another person's, in a new order; a trial is repeated once.

    In catch trials, the single image is at any position.
    """
    study = serve_study(people=3, per_person=60, repeats=0.2, catch=0.1)
    for person in study.links["people"]:
        study.answer_trials(study.begin(person), largest)
    trials = trials_of(study)
    images = dict(list(trials["images"].groupby(trials["source"])))
    assert {source: len(rows) for source, rows in images.items()} == SOURCES
    assert trials["number"][trials["source"] == "repeat"].min() >= 10
    assert len({*trials.groupby("person")["source"].agg("".join)}) == 3
    n_different = {source: {*map(len, map(set, rows))} for source, rows in images.items()}
    assert n_different == {"random": {3}, "repeat": {3}, "catch": {2}}
    assert {right_choice("odd-one-out", shown) for shown in images["catch"]} == {0, 1, 2}
    positions = np.bincount([np.argmax(shown) for shown in images["random"]])
    assert 12 <= positions.min() <= positions.max() <= 75, "it says nothing"
    repeats = trials[trials["source"] == "repeat"]
    repeats = repeats.join(trials.add_suffix("_before"), on="repeat_of")
    assert (repeats["images_before"].map(sorted) == repeats["images"].map(sorted)).all()
    # an order is another one in 5 of 6 cases
    assert (repeats["images_before"] != repeats["images"]).sum() > 18
    is_own = repeats["person_before"] == repeats["person"]
    assert 1 < is_own.sum() < 35
    assert (repeats["number"] - repeats["number_before"])[is_own].min() >= 10
    assert repeats["repeat_of"][is_own].is_unique
    assert (repeats["repeat_of"] < repeats.index).all()
    table = describe_people(study.study, collected_from(study))
    assert table["alike"].tolist() == [1, 1, 1]
    assert table["repeats"].sum() >= is_own.sum()


def test_a_question_of_others_is_repeated_once_it_is_answered(serve_study):
    """While nobody else has answered, each repeat is one of the person's own trials."""
    study = serve_study(people=2, per_person=40, repeats=0.4)
    study.begin("p2")
    study.answer_trials(study.begin("p1"))
    trials = trials_of(study)
    assert {*trials["person"][trials["repeat_of"].dropna()]} == {"p1"}


def test_the_right_answer_of_a_catch_trial_is_the_other_image():
    """The image that is shown once is odd; for an anchor, the copy of the reference is
    more like it.
    """
    trials = ([4, 4, 1], [4, 1, 4], [1, 4, 4])
    assert [right_choice("odd-one-out", items) for items in trials] == [2, 1, 0]
    assert [right_choice("anchor", items) for items in trials[:2]] == [1, 2]


# exports


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_the_export_is_a_file_of_answers(serve_study, tmp_path, kind):
    """Answers follow the convention of the kind, with catch trials and without "can't tell"."""
    study = serve_study(kind=kind, people=2, per_person=40, catch=0.1, repeats=0.1)
    study.answer_trials(study.begin("p1"), largest if kind == "odd-one-out" else lambda names: 1)
    study.answer_trials(study.begin("p2"), lambda names: None, limit=7)
    collected = collected_from(study)
    path = tmp_path / "answers.npz"
    save_npz(collected, path)
    answers = Answers.load(path)
    values = (len(answers), answers.kind, answers.n_people, answers.names)
    assert values == (36, kind, 1, study.study.names)
    assert (answers.seconds == 2.0).all()
    assert Counter(answers.catch_person)["p1"] == 4
    if kind == "anchor":
        assert (answers.objects == collected.items[collected.is_answer]).all()
    else:
        values = np.array([int(re.sub(r"\D", "", name)) for name in answers.names])
        assert (values[answers.objects].argmax(axis=1) == 2).all()
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive["source"]) == {"random", "repeat"}
        assert (np.diff(archive["order"]) > 0).all()
        assert (np.diff(archive["time"]) >= 0).all()
        assert {archive[name].shape for name in ("choice", "trial", "repeat_of")} == {(36,)}


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path, serve_study, write_pictures):
    """No cell of the CSV begins like a formula, and every row is there."""
    names = ["=cmd|' !A1.png", "@sum(1).png", "+a.png", "-b.png", '"quoted",comma.png']
    images = write_pictures(tmp_path / "names", names)
    study = serve_study(images=images, per_person=30, catch=0.1)
    study.answer_trials(study.begin(), lambda shown: None if shown[0] == "+a.png" else 1)
    save_csv(collected_from(study), tmp_path / "answers.csv")
    table = pd.read_csv(tmp_path / "answers.csv", dtype=str, keep_default_na=False)
    assert not table["name"].str.match(r"[=+\-@\t\r]").any()
    assert {*table[["a", "b", "c"]].to_numpy().flat} == set(names)
    assert (len(table), set(table["position"])) == (30, {"", "2"})
    assert set(table["source"]) == {"random", "repeat", "catch"}


def test_answers_that_are_missing_or_damaged_are_refused(serve_study, tmp_path):
    """A study without answers, and a trial with an image that the study does not have,
    are refused.
    """
    study = serve_study()
    with pytest.raises(DataError, match="answers"):
        save_npz(collected_from(study), tmp_path / "answers.npz")
    study.answer_trials(study.begin(), limit=1)
    for value in (99, -1):
        with study.database.writing() as connection:
            connection.execute("UPDATE trials SET b = ?", (value,))
        with pytest.raises(FileError, match="answers of the study"):
            collected_from(study)
    assert not (tmp_path / "answers.npz").exists()


@pytest.mark.parametrize("is_open", [None, True])
def test_a_try_out_is_never_exported_or_counted(serve_study, is_open):
    """Answers by a test link are in no export, table, limit or number, are not repeated for others,
    and take no question from participants.
    """
    study = serve_study(open=is_open, people=1, per_person=20, repeats=0.4, catch=0, test_links=1)
    study.play("t1 t1/consent t1/consent -> 200 200 200")
    test = study.addresses["t1"]
    tried = study.answer_trials(test, largest)
    assert (len(tried), len(study.trial(test)["code"])) == (20, 8)
    assert study.rows("openings") == [{"link": "t1", "count": 1}]
    assert len(collected_from(study).people) == 0
    study.play("p1 =\np1/consent -> 200" if is_open else "p1/consent -> 200")
    study.answer_trials(study.addresses["p1"], largest)
    trials = trials_of(study)
    is_test = trials["person"] == "t1"
    assert not {*trials["repeat_of"][~is_test]} & {*tried}
    for rows in (trials[~is_test], trials[is_test]):
        asked = [set(images) for images in rows["images"][rows["source"] == "random"]]
        assert asked == [{*balanced_triplet(12, 0, number)} for number in range(len(asked))]
    assert len(collected_from(study).table) == 20
    assert "t1" not in study.get(study.links["owner"]).text
    study.restart(test_links=0)
    assert study.links["test"] == {}
    unused = f"/r/{Signer(study.study.key).sign(Token(PERSON, 't2'))}"
    assert study.codes(test, unused) == [200, 410]


def test_a_study_can_be_made_longer(serve_study):
    """A person who had finished continues after per_person is raised, and finishes again, with the
    code and the time of the first end.
    """
    study = serve_study(per_person=5)
    link = study.begin()
    study.answer_trials(link)
    people = study.rows("people")
    study.restart(per_person=8, code="C1ABC23")
    study.answer_trials(link)
    assert trials_of(study)["number"].tolist() == list(range(8))
    assert study.trial(link)["done"] == 8
    assert study.rows("people") == people


# the table of people

ROWS = """1 a 0 1 2 2 10 random
2 a 3 4 5 0 20 random
3 b 6 7 8 0 5 random
4 a 2 1 0 0 3800 repeat 1 chooses image 2 again
5 a 4 3 5 2 3900 repeat 2 chooses image 5 instead of 3
6 b 5 3 4 1 4000 repeat 2 repeats the trial of another person
7 b 9 9 1 2 4100 catch
8 a 9 1 9 0 4200 catch
9 b 1 2 3 - 4300 random"""
TABLE = """
Person|Answers|Remark|Can’t tell|Median s|Catch failed|Agrees with others|Repeats alike|Opened|Refused|Last answer (UTC)
a|5 of 200||0|2.2|1 of 1|0.50 of 2|1 of 2|3|0|1970-01-01 01:10
b|4 of 200|excluded|1|2.2|0 of 1|0.50 of 1||0|0|1970-01-01 01:11
c|0 of 200||0|||||0|0|
p1|0 of 200||0|||||0||has not begun
"""  # noqa: E501


def test_the_owner_sees_what_each_person_did(serve_study):
    """The table compares repeats by image, not by position, and only with the person's
    own trials; answers are in the order of time.
    """
    study = serve_study()
    with study.database.writing() as connection:
        insert = connection.execute
        for person in "abc":
            insert("INSERT INTO people (id, consented) VALUES (?, 1)", person)
        for line in ROWS.split("\n"):
            id, person, a, b, c, choice, time, source, *repeat_of = line.split()[:9]
            row = (id, person, id, a, b, c, source, *(repeat_of or [None]))
            insert("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            row = (id, None if choice == "-" else choice, time)
            insert("INSERT INTO answers VALUES (?, ?, 2.25, ?, NULL)", row)
        insert("INSERT INTO openings VALUES ('a', 3)")
    assert collected_from(study).table["trial"].tolist() == [3, 1, 2, *range(4, 10)]
    record_excluded(study.study, study.database, ["b"], [])
    page = study.get(study.links["owner"]).text
    cells = [
        re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row)
        for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
    ]
    head, *lines = TABLE.strip().split("\n")
    shown = pd.DataFrame(cells[1:], columns=cells[0])[head.split("|")]
    assert ["|".join(row) for row in shown.to_numpy()] == lines


def test_the_page_explains_the_remark_while_somebody_who_has_it_is_not_excluded(serve_study):
    """The page has the paragraph on careless people while somebody is marked and not excluded."""
    study = serve_study(people=1)
    study.begin("p1")
    for is_marked, excluded in ((False, None), (True, None), (True, 1.0)):
        collected = collected_from(study)
        collected.people["excluded"] = [excluded]
        description = describe_people(study.study, collected)
        description.loc["p1", "is_marked"] = is_marked
        page = owner_page(study.study, people_table(study.study, collected, description))
        assert ("Some people answer" in page) == (is_marked and excluded is None)


def test_people_are_described_once_for_two_owners_at_once(serve_study, monkeypatch):
    """A second owner waits for the description that the first is making, and gets the same."""
    study = serve_study(people=1)
    study.answer_trials(study.begin("p1"), limit=1)
    tables = []
    second = threading.Thread(target=lambda: tables.append(study.service.overview()))
    calls = []

    def describe(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            second.start()
            second.join(0.1)  # long enough for a second description, if nothing made it wait
        return describe_people(*arguments)

    monkeypatch.setattr("glocal_collect.people.describe_people", describe)
    tables.append(study.service.overview())
    second.join()
    assert len(calls) == 1
    assert [table["answers"].tolist() for table in tables] == [[1], [1]]


COUNT = "import sqlite3 as s, sys; print(*s.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"


def test_an_answer_after_the_owner_looked_and_an_export_ended_is_on_the_disk(serve_study):
    """Opening the owner's page does not release the locks of the database, so that no other process
    deletes its log.
    """
    study = serve_study()
    link = study.begin()
    query = [study.study.database, "SELECT count(*) FROM answers"]
    for n_more, total in ((1, 1), (2, 3)):
        study.answer_trials(link, limit=n_more)
        assert study.codes(study.links["owner"]) == [200]
        assert int(subprocess.check_output([sys.executable, "-c", COUNT, *query])) == total
