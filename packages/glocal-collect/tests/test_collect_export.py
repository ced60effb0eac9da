"""The questions of a study and its results: balance, repeats, catch trials, exports and
the table.
"""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from glocal import Answers, import_answers, people
from glocal.errors import DataError, FileError
from glocal_collect.export import read_collected, record_excluded, save_csv, save_npz
from glocal_collect.overview import describe_people
from glocal_collect.pages import owner_page
from glocal_collect.trials import balanced_triplet, right_choice


def largest(names):
    """The choice of a person to whom images are numbers: the largest is the odd one, but an image
    that is shown once beside two equal ones.
    """
    numbers = [(names.count(name) == 1, int(re.sub(r"\D", "", name))) for name in names]
    return numbers.index(max(numbers))


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
    before, or one that another person answered, in a new order; a trial is repeated once.

    In catch trials, the single image is at any position.
    """
    study = serve_study(people=3, per_person=60, repeats=0.2, catch=0.1)
    for link in [*map(study.begin, ("p1", "p2", "p3"))]:
        study.answer_trials(link, largest)
    trials = trials_of(study)
    images = dict(list(trials["images"].groupby(trials["source"])))
    assert {source: len(rows) for source, rows in images.items()} == SOURCES
    assert len({*trials.groupby("person")["source"].agg("".join)}) == 3
    n_different = {source: {*map(len, map(set, rows))} for source, rows in images.items()}
    assert n_different == {"random": {3}, "repeat": {3}, "catch": {2}}
    assert {right_choice("odd-one-out", shown) for shown in images["catch"]} == {0, 1, 2}
    repeats = trials[trials["source"] == "repeat"]
    repeats = repeats.join(trials.add_suffix("_before"), on="repeat_of")
    assert (repeats["images_before"].map(sorted) == repeats["images"].map(sorted)).all()
    # an order is another one in 5 of 6 cases
    assert (repeats["images_before"] != repeats["images"]).sum() > 18
    is_own = repeats["person_before"] == repeats["person"]
    assert is_own[repeats["person"] == "p1"].all(), "nobody else has answered"
    assert (~is_own).sum() > 1
    assert (repeats["number"] - repeats["number_before"])[is_own].min() >= 10
    assert repeats["repeat_of"][is_own].is_unique
    table = people(collected_from(study).answers(), judge=False)
    assert table["alike"].tolist() == [1, 1, 1]


# exports


@pytest.mark.parametrize(
    "kind, choose", [("odd-one-out", largest), ("anchor", lambda names: 1 + (names[0] == names[2]))]
)
def test_both_exports_are_files_of_the_same_answers(serve_study, tmp_path, kind, choose):
    """Answers follow the convention of the kind, with catch trials, which show an image twice, and
    without "can't tell". The CSV is read as the npz is, names, people, times and decided catch
    trials included.
    """
    study = serve_study(kind=kind, people=2, per_person=40, catch=0.1, repeats=0.1)
    study.answer_trials(study.begin("p1"), choose)
    study.answer_trials(study.begin("p2"), lambda names: None, limit=7)
    collected = collected_from(study)
    path = tmp_path / "answers.npz"
    save_npz(collected, path)
    answers = Answers.load(path)
    assert (len(answers), answers.kind, answers.n_people) == (36, kind, 1)
    assert answers.names == study.study.names
    assert (answers.seconds == 2.0).all()
    passed = answers.catch_passed.tolist()
    assert passed == (answers.catch_person == "p1").tolist() == [True] * 4 + [False]
    if kind == "anchor":
        assert (answers.objects == collected.items[collected.is_answer]).all()
    else:
        shown = [[answers.names[item] for item in row] for row in answers.objects]
        assert {*map(largest, shown)} == {2}
    archive = np.load(path)
    assert {*archive["source"]} == {"random", "repeat"}
    assert (np.diff(archive["order"]) > 0).all()
    assert {archive[name].shape for name in ("time", "choice", "trial", "repeat_of")} == {(36,)}
    save_csv(collected, tmp_path / "answers.csv")
    imported = import_answers(tmp_path / "answers.csv", names=answers.names)
    table = imported.answers
    assert imported.dropped["no answer"] > 0
    assert (table.objects == answers.objects).all()
    assert (table.kind, table.names) == (answers.kind, answers.names)
    assert table.person.tolist() == answers.person.tolist()
    assert table.seconds.tolist() == answers.seconds.tolist()
    assert table.catch_passed.tolist() == [True] * 4
    assert {*table.catch_person} == {"p1"}


def test_a_spreadsheet_takes_no_id_for_a_formula(tmp_path, serve_study):
    """An apostrophe precedes an id of a recruiting site that could be a formula, and every row is
    there.
    """
    study = serve_study(open=True, per_person=30, catch=0.1)
    link = study.begin("?id=@sum")
    study.answer_trials(link, lambda shown: None if "image1.png" in shown else 1)
    save_csv(collected_from(study), tmp_path / "answers.csv")
    table = pd.read_csv(tmp_path / "answers.csv", dtype=str, keep_default_na=False)
    assert len(table) == 30
    assert {*table["name"]} == {"'@sum"}
    assert {*table["position"]} == {"", "2"}
    assert {*table["source"]} == {"random", "repeat", "catch"}


def test_answers_that_are_missing_or_damaged_are_refused(serve_study, tmp_path):
    """A study without answers has a CSV of titles and no npz, and a trial with an image that the
    study does not have is refused.
    """
    study = serve_study()
    collected = collected_from(study)
    save_csv(collected, tmp_path / "answers.csv")
    table = pd.read_csv(tmp_path / "answers.csv")
    assert len(table) == 0
    assert {"person", "a", "b", "c", "odd", "repeat_of"} <= {*table.columns}
    with pytest.raises(DataError, match="answers"):
        save_npz(collected, tmp_path / "answers.npz")
    study.answer_trials(study.begin(), limit=1)
    for value in (99, -1):
        with study.database.writing() as connection:
            connection.execute("UPDATE trials SET b = ?", (value,))
        with pytest.raises(FileError, match="answers of the study"):
            collected_from(study)


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
Person|Answers|Judgement|Can’t tell|Median s|Catch failed|Agrees with others|Repeats alike|Last answer (UTC)
a|5 of 200|cannot be told|0|2.2|1 of 1|0.50 of 2|1 of 2|1970-01-01 01:10
b|4 of 200|excluded; cannot be told|1|2.2|0 of 1|0.50 of 1||1970-01-01 01:11
c|0 of 200|no model|0|||||
p1|0 of 200|no model|0|||||has not begun
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
    assert collected_from(study).table["trial"].tolist() == [3, 1, 2, *range(4, 10)]
    record_excluded(study.study, study.database, ["b"], [])
    page = study.get(study.links["owner"]).text
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in page.split("<tr>")[1:]]
    head, *lines = TABLE.strip().split("\n")
    shown = pd.DataFrame(cells[1:], columns=cells[0])[head.split("|")]
    assert ["|".join(row) for row in shown.to_numpy()] == lines


def test_the_page_explains_the_remark_while_somebody_who_has_it_is_not_excluded(serve_study):
    """The page has the paragraph on careless people while somebody is marked and not excluded."""
    study = serve_study(people=1)
    table = study.service.overview()
    for is_marked, excluded in ((False, None), (True, None), (True, 1.0)):
        page = owner_page(study.study, table.assign(is_marked=is_marked, excluded=excluded))
        assert ("Some people answer" in page) == (is_marked and excluded is None)


def test_an_owner_who_comes_while_people_are_compared_gets_the_last_table(serve_study, monkeypatch):
    """While one request compares people, others return at once, with what was compared before;
    within five minutes nothing is compared again.
    """
    study = serve_study(people=1)
    study.answer_trials(study.begin("p1"), limit=1)
    meanwhile = []

    def describe(*args):
        meanwhile.append(study.service.overview())
        return describe_people(*args)

    monkeypatch.setattr("glocal_collect.people.describe_people", describe)
    tables = []
    for clock in (1000.0, 1200.0, 2000.0):
        monkeypatch.setattr("time.monotonic", lambda clock=clock: clock)
        tables.append(study.service.overview())
    assert [table["judgement"].item() for table in meanwhile] == ["not compared yet", "no model"]
    assert [table["judgement"].item() for table in tables] == 3 * ["no model"]


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
