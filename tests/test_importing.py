"""Answers of other systems: each format as its system writes it, with dropped rows counted, and as
a table.
"""

import contextlib
import json
from itertools import permutations

import numpy as np
import pytest
from world import run

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importing import import_answers
from glocal.data.join import join
from glocal.errors import DataError, FileError, GLocalError, ParameterError

MISSING = "an object is missing (empty, NA, None, nan or null)"
SALMON = """head left right winner loser puid response_time
0 1 2 2 1 ann 1.5
3 0 1 0 1 bob -1
1 3 1 1 3 bob 0.9"""
NIGHTS = """id left_vote right_vote ref_path left_path right_path split
0 6.0 0.0 ref/0.png d/0_0.png d/0_1.png train
1 2 6 ref/1.png d/1_0.png d/1_1.png test
2 0 0 ref/2.png d/2_0.png d/2_1.png train"""
JSPSYCH = """[[{"trial_type": "instructions", "rt": 9000},
{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": 2, "rt": 1200},
{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": null, "rt": null},
{"task": "triplet", "stimuli": ["cup", "cup", "egg"], "response": null, "rt": null},
{"task": "triplet", "stimuli": ["cup", "cup", "egg"], "response": 2, "rt": 700}],
[{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": 0, "rt": 800},
{"task": "triplet", "stimuli": ["cup", "egg", "cup"], "response": 0, "rt": 90}]]"""
JSPSYCH_READ = {
    "rows": ["egg cup ball", "cup ball egg"],
    "person": [0, 1],
    "seconds": [1.2, 0.8],
    "catch": [(0, True), (1, False)],
}
HTML = """[{"subject_id": "ann", "shown": "<img src='img/egg.png' width='9'>", "response": "dog",
"options": ["<img src=img/cup.png>", "ball", "dog"]}]
[{"subject_id": "bob", "shown": "img/egg.png", "response": "<img src='img/cup.png'>",
"options": ["dog", "img/cup.png", "ball"]}]""".replace(",\n", ", ")
STATED = "q;o1;o2;o3;pick;who;t;w;attention\nx;a;b;c;c;7;1500;2;0\nx;a;b;c;a;8;900;1;yes\n"
COLUMNS = {
    "reference": "q",
    "choices": "o1,o2,o3",
    "chosen": "pick",
    "person": "who",
    "milliseconds": "t",
    "weight": "w",
}
WIDTHS = "ref near f g\nq a b c\nq a a b\nq q a b\nq a b \nq b a c\n   "
CHOICES = "ref choices1 choices2 choices3 chosen\n" + 3 * "q x y z x\n"
FLAGS = "a b odd\nNA DE BR\nDE BR FR"
READ = {
    "salmon: the winner is nearer to the head, -1 is no time, catch trials keep their person": (
        SALMON, {}, {
            "kind": "anchor", "rows": ["0 2 1", "3 0 1"], "person": ["ann", "bob"],
            "seconds": [1.5, None], "dropped": {"catch trial": 1}, "catch": [("bob", True)],
        },
    ),
    "NIGHTS: a row is an answer for each side with votes, and rows without votes are counted": (
        NIGHTS, {}, {
            "kind": "anchor", "dropped": {"no vote": 1}, "weights": [6, 2, 6],
            "rows": [
                "ref/0.png d/0_0.png d/0_1.png", "ref/1.png d/1_0.png d/1_1.png",
                "ref/1.png d/1_1.png d/1_0.png",
            ],
        },
    ),
    "where selects rows": (
        NIGHTS, {"where": {"split": "test"}}, {
            "kind": "anchor", "dropped": {"filtered out by where": 2}, "weights": [2, 6],
            "rows": ["ref/1.png d/1_0.png d/1_1.png", "ref/1.png d/1_1.png d/1_0.png"],
        },
    ),
    "jsPsych: a list for each person; other trials and timeouts are counted": (
        JSPSYCH, {},
        {**JSPSYCH_READ, "dropped": {MISSING: 1, "no answer": 2, "catch trial": 2}},
    ),
    "jsPsych: other trials are filtered out": (
        JSPSYCH, {"where": {"task": "triplet"}}, {
            **JSPSYCH_READ,
            "dropped": {"filtered out by where": 1, "no answer": 2, "catch trial": 2},
        },
    ),
    "JSON on lines, stated keys, choices beside a reference, and HTML for pictures": (
        HTML, {"columns": {"reference": "shown", "choices": "options"}}, {
            "kind": "nearest-of-n", "person": ["ann", "bob"],
            "rows": ["img/egg.png dog img/cup.png ball", "img/egg.png img/cup.png dog ball"],
        },
    ),
    "of a list of picks the first is read": (
        '[{"ref": "q", "choices": ["a", "b", "c"], "chosen": ["b", "a"]}]', {},
        {"kind": "nearest-of-n", "rows": ["q b a c"]},
    ),
    "a pick is an object": (
        "image1 image2 image3 odd\n0 1 2 1\n3 1 0 0", {}, {"rows": ["0 2 1", "3 1 0"]},
    ),
    "a pick is a place beside objects that are numbers": (
        "a b c chosen\n7 8 9 1\n7 8 9 3", {}, {"rows": ["8 9 7", "7 8 9"]},
    ),
    "a pick is the name of its column": (
        "a b c odd\n7 8 9 c\n7 8 9 a", {}, {"rows": ["7 8 9", "8 9 7"]},
    ),
    "a pick is a side": (
        "ref left right answer\n0 1 2 left\n3 1 0 Right", {},
        {"kind": "anchor", "rows": ["0 1 2", "3 0 1"]},
    ),
    "a pick is an object beside a reference": (
        "target a b near\n0 1 2 2\n3 1 0 1", {}, {"kind": "anchor", "rows": ["0 2 1", "3 1 0"]},
    ),
    "a trial without its last candidate is dropped, whatever was picked": (
        CHOICES + "q x y  x\nq x y  elsewhere",
        {"columns": {"choices": "choices1,choices2,choices3"}},
        {"kind": "nearest-of-n", "rows": ["q x y z"] * 3, "dropped": {MISSING: 2}},
    ),
    "an empty pick is no answer, and 104.0 is 104": (
        "a b c chosen\n104 163 23 104.0\n3 4 5 \n23 4 5 5.0", {},
        {"rows": ["163 23 104", "23 4 5"], "dropped": {"no answer": 1}},
    ),
    "beside 1.5, 1.0 is a name": (
        "a b c chosen\n1.0 1.5 2.0 1.5\n1.0 2.0 1.5 1.5", {}, {"rows": ["1.0 2.0 1.5"] * 2},
    ),
    "an empty time is unknown": (
        "a b odd seconds\n0 1 2 1.5\n0 1 2 ", {}, {"rows": ["0 1 2"] * 2, "seconds": [1.5, None]},
    ),
    "beside an unknown person, persons are texts": (
        "a b odd person\n0 1 2 7\n0 1 2 ", {}, {"rows": ["0 1 2"] * 2, "person": ["7", ""]},
    ),
    "stated columns, milliseconds, weights, and persons that are integers": (
        STATED, {"columns": COLUMNS, "where": {"attention": "0"}}, {
            "kind": "nearest-of-n", "rows": ["x c a b"], "person": [7], "seconds": [1.5],
            "weights": [2], "dropped": {"filtered out by where": 1},
        },
    ),
    "a role has several columns, and equal alternatives are no catch trial": (
        WIDTHS, {"columns": {"farther": "f,g"}}, {
            "kind": "nearest-of-n", "rows": ["q a b c", "q b a c"], "catch": [(None, True)],
            "dropped": {MISSING: 2, "catch trial": 1, "equal alternatives": 1},
        },
    ),
    "names are those of a list, and unlisted ones are counted": (
        "a b odd\ncup egg ball\ncup egg dog",
        {"names": ["images/ball.jpg", "images/cup.jpg", "images/egg.jpg"]}, {
            "rows": ["images/cup.jpg images/egg.jpg images/ball.jpg"],
            "dropped": {"an object that is not in the list of object ids": 1},
        },
    ),
    "equal names in two folders are two objects": (
        "a b odd\nb/x.png a/x.png y", {"names": ["a/x.png", "b/x.png", "c/y.png"]},
        {"rows": ["b/x.png a/x.png c/y.png"]},
    ),
    "numbers that a list has are names": (
        "a b odd\n7 8 9", {"names": ["9", "8", "7"]}, {"rows": ["7 8 9"]},
    ),
    "numbers may start at 1": ("a b odd\n7 8 9", {"base": 1}, {"rows": ["6 7 8"]}),
    "with a stated base, numbers are indices of a list": (
        "a b odd\n7 8 9", {"names": [*"abcdefg89"], "base": 1}, {"rows": ["g 8 9"]},
    ),
    "NA is an empty cell": (FLAGS, {}, {"rows": ["DE BR FR"], "dropped": {MISSING: 1}}),
    "NA is Namibia in a list": (
        FLAGS, {"names": ["flags/NA.png", "DE", "BR", "FR"]},
        {"rows": ["flags/NA.png DE BR", "DE BR FR"]},
    ),
}  # fmt: skip


def saved(folder, text):
    """A file of this text: JSON as it is, a table with commas for spaces."""
    is_json = text[0] == "["
    path = folder / ("t.json" if is_json else "t.csv")
    path.write_text(text if is_json else text.replace(" ", ","))
    return path


def content(imported):
    """What was read, in plain values, without what is empty."""
    answers, dropped, _ = imported
    names = answers.names or [*map(str, range(answers.objects.max() + 1))]
    values = {
        "kind": answers.kind,
        "rows": [" ".join(names[i] for i in row) for row in answers.objects.tolist()],
        "dropped": dropped,
    }
    for name in ("person", "weights", "seconds"):
        array = getattr(answers, name)
        values[name] = [] if array is None else array.tolist()
    values["seconds"] = [None if np.isnan(time) else time for time in values["seconds"]]
    if answers.catch_passed is not None:
        passed = answers.catch_passed.tolist()
        person = answers.catch_person
        persons = [None] * len(passed) if person is None else person.tolist()
        values["catch"] = list(zip(persons, passed, strict=True))
    return {name: value for name, value in values.items() if value}


# tables


@pytest.mark.parametrize(("text", "options", "expected"), READ.values(), ids=READ)
def test_a_table_is_read(tmp_path, text, options, expected):
    """Each table gives the answers that its system means, and counts what it leaves out."""
    imported = import_answers(saved(tmp_path, text), **options)
    assert content(imported) == {"kind": "odd-one-out"} | expected


def test_the_columns_of_roles_are_recorded_and_objects_may_be_a_file(tmp_path):
    """The interpretation has the columns of each role, and a file lists the objects."""
    (tmp_path / "ids.txt").write_text("c\nb\na\nx\n")
    path = saved(tmp_path, STATED)
    imported = import_answers(path, columns=COLUMNS, names=tmp_path / "ids.txt")
    assert imported.interpretation["columns"] == COLUMNS | {"choices": "o1, o2, o3"}
    assert imported.answers.objects.tolist() == [[3, 0, 2, 1], [3, 2, 1, 0]]


def test_pictures_in_folders_are_joined_by_their_paths():
    """Equal names in two folders are two objects; if names differ, folders do not matter."""
    paths = [
        f"{folder}/{i}.png" for folder in ("ref/000", "ref/001", "distort/000") for i in range(2)
    ]
    features = Features(np.eye(6, 4), names=tuple(paths))
    answers = Answers(np.array([[0, 1, 2]]), kind="anchor", names=[paths[4], paths[0], paths[3]])
    assert join(features, answers).answers.objects.tolist() == [[4, 0, 3]]
    unfolded = Features(np.eye(3), names=("a/x.png", "b/y.png", "c/z.png"))
    named = Answers(np.array([[0, 1, 2]]), names=["other/z.jpg", "x", "y"])
    assert join(unfolded, named).answers.objects.tolist() == [[2, 0, 1]]


@pytest.mark.parametrize(
    ("picks", "place_base", "objects", "picked_as"),
    [
        ("102", None, [[0, 2, 1], [4, 5, 3], [6, 7, 8]], "place counted from 0"),
        ("123", None, [[1, 2, 0], [3, 5, 4], [6, 7, 8]], "place counted from 1"),
        ("121", 1, [[1, 2, 0], [3, 5, 4], [7, 8, 6]], "place counted from 1"),
        ("121", 0, [[0, 2, 1], [3, 4, 5], [6, 8, 7]], "place counted from 0"),
    ],
)
def test_places_are_counted_from_0_or_from_1(tmp_path, picks, place_base, objects, picked_as):
    """A pick of place 0, or of the last place counted from 1, tells the base; otherwise
    it is stated.
    """
    text = "a b c chosen\na b c {}\nd e f {}\ng h i {}".format(*picks)
    imported = import_answers(saved(tmp_path, text), place_base=place_base)
    assert imported.answers.objects.tolist() == objects
    assert imported.interpretation["picked"] == picked_as


# arrays


@pytest.mark.parametrize("n", [4, 9])
def test_matrices_become_comparisons(tmp_path, n):
    """Comparisons equal loops over references and pairs, without NaN and ties."""
    rng = np.random.default_rng(n)
    S = rng.integers(0, 6, size=(n, n)).astype(float)
    S[rng.random((n, n)) < 0.1] = np.nan
    np.fill_diagonal(S, 9)
    np.save(tmp_path / "s.npy", S)
    off = S[~np.eye(n, dtype=bool)]
    span = np.nanmax(off) - np.nanmin(off)
    triples = [t for t in permutations(range(n), 3) if S[t[0], t[1]] > S[t[0], t[2]]]
    expected = {(i, j, k): (S[i, j] - S[i, k]) / span for i, j, k in triples}
    answers = import_answers(tmp_path / "s.npy", values="similarity").answers
    triples = map(tuple, answers.objects.tolist())
    assert dict(zip(triples, answers.weights.tolist(), strict=True)) == pytest.approx(expected)
    np.save(tmp_path / "people.npy", np.stack([S, 10 * S]))
    both = import_answers(tmp_path / "people.npy", values="similarity").answers
    first, second = np.split(both.weights, 2)
    np.testing.assert_allclose(second, first)  # each person has a scale of their own
    np.savetxt(tmp_path / "d.txt", 9 - S)
    same = import_answers(tmp_path / "d.txt", values="dissimilarity")
    assert sorted(same.answers.objects.tolist()) == sorted(answers.objects.tolist())


def test_a_matrix_with_names(tmp_path):
    """Names in the first line and the first column are those of the objects."""
    (tmp_path / "m.csv").write_text(",egg,cup,ball\negg,0,1,3\ncup,1,0,2\nball,3,2,\n")
    imported = import_answers(tmp_path / "m.csv", values="dissimilarity")
    assert sorted(content(imported)["rows"]) == ["ball cup egg", "cup egg ball", "egg cup ball"]


def test_the_limit_draws_comparisons(tmp_path):
    """The limit draws different comparisons, the same for the same seed, and counts
    those left out.
    """
    D = np.abs(np.subtract.outer(np.arange(20.0) ** 2, np.arange(20.0) ** 2))
    np.save(tmp_path / "d.npy", np.stack([D, D]))
    options = {"values": "dissimilarity", "limit": 500, "seed": 3}
    some, again = (import_answers(tmp_path / "d.npy", **options) for _ in range(2))
    assert some.dropped["comparisons beyond the limit"] == 2 * 20 * 19 * 18 // 2 - 500
    assert content(some) == content(again)
    rows = np.c_[some.answers.objects, some.answers.person]
    assert len(np.unique(rows, axis=0)) == len(rows) > 400


# what is refused


def test_a_comma_at_the_end_of_a_row_moves_no_cell(tmp_path):
    """A row with a comma at its end is refused, or, with pandas 2, read without its
    blank last cell.
    """
    path = saved(tmp_path, "a b odd\n0 1 2 \n3 4 5 \n")
    with contextlib.suppress(GLocalError):
        assert content(import_answers(path))["rows"] == ["0 1 2", "3 4 5"]


REFUSED = [
    (SALMON, {"order": "sortindex.txt"}, ParameterError, "order"),
    (SALMON, {"limit": 5}, ParameterError, "limit"),
    (SALMON, {"values": "rating"}, ParameterError, "values"),
    ({"query": np.zeros((2, 3))}, {}, FileError, "damaged"),
    (SALMON, {"place_base": 2}, ParameterError, "place_base"),
    (SALMON, {"columns": {"person": "who"}}, DataError, "who"),
    (SALMON, {"columns": {"rating": "head"}}, DataError, "role"),
    (SALMON, {"where": {"puid": "nobody"}}, DataError, "nobody"),
    (SALMON, {"columns": {"seconds": "puid"}}, DataError, "numbers"),
    (SALMON, {"names": ["egg"]}, DataError, "object ids"),
    ("a b odd\ncup egg ball", {"names": ["x"]}, DataError, "list of object ids"),
    ('a b odd seconds\n0 1 2 "4,389"', {}, DataError, "decimal comma"),
    ('[{"stimuli": ["a"], "response": "a"}]', {}, DataError, "three or more"),
    ("a b c chosen\nx y z 1\nx z y 2", {}, DataError, "from 0 or from 1.*`place_base=1`"),
]


@pytest.mark.parametrize(("source", "options", "error", "noun"), REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, source, options, error, noun):
    """Unknown options, roles and columns, and arrays of other shapes, are refused."""
    path = tmp_path / "x.npz"
    if isinstance(source, dict):
        np.savez(path, **source)
    else:
        path = saved(tmp_path, source)
    with pytest.raises(error, match=noun):
        import_answers(path, **options)


def test_the_command_says_what_it_did(tmp_path):
    """The command counts what it left out; its file has kind, persons, catch trials, provenance."""
    out = tmp_path / "answers.npz"
    result = run("data import", saved(tmp_path, SALMON), "--out", out, "--json").json
    expected = {"n": 2, "kind": "anchor", "people": 2, "catch": {"n": 1, "passed": 1}}
    assert result.items() >= expected.items()
    loaded = Answers.load(out)
    assert (loaded.kind, loaded.catch_person.tolist()) == ("anchor", ["bob"])
    with np.load(out, allow_pickle=False) as file:
        assert json.loads(str(file["provenance"]))["dropped"] == {"catch trial": 1}


PLACES = "a b c chosen\nx y z 1\nx z y 2"


@pytest.mark.parametrize(
    ("text", "options", "code", "words"),
    [
        (SALMON, "--column person=puid", 0, "dropped.catch trial: 1"),
        (SALMON, "--column person", 2, "NAME=VALUE"),
        ("i j k\n0 1 2", "", 1, "--column ROLE=COLUMN"),
        (PLACES, "", 1, "--place-base 1"),
        (PLACES, "--place-base 1", 0, "interpretation.picked: place counted from 1"),
    ],
)
def test_the_command_asks_for_what_a_table_does_not_say(tmp_path, text, options, code, words):
    """Columns without a known role and places from 0 or 1 are asked for by their options."""
    path = saved(tmp_path, text)
    ended = run(f"data import {options}", path, "--out", tmp_path / "a.npz")
    assert (ended.code, words in ended.out + ended.err) == (code, True)


@pytest.mark.data
def test_real_files(data_dir):
    """THINGS through its sort index, eggs of 416 people, and the catch trials of the
    videos are read.
    """
    things = data_dir / "things"
    options = {"order": things / "sortindex.txt", "names": things / "unique_id.txt"}
    imported = import_answers(things / "triplets_collection_order.txt", **options)
    assert np.array_equal(imported.answers.objects, np.load(things / "triplets.npy"))
    eggs = import_answers(data_dir / "anchors/alien_eggs/answers.csv").answers
    counts = (len(eggs), eggs.kind, eggs.n_people, len(eggs.named_objects()))
    assert counts == (20_086, "anchor", 416, 30)
    videos = import_answers(data_dir / "videos/answers.csv").answers
    assert (len(videos), len(videos.catch_passed)) == (23_773, 1_185)
    assert videos.catch_passed.all()
