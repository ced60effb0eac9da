"""Answers of other systems: each format as its system writes it, with dropped rows counted, and as
a table.
"""

import csv
import io
import json

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importing import FORMATS, import_answers
from glocal.data.join import join
from glocal.errors import DataError, FileError, GLocalError, ParameterError

MISSING = "an object is missing (empty, NA, None, nan or null), or one too many"


def table(path, header, *rows):
    with io.StringIO(newline="") as text:
        csv.writer(text).writerows([header.split(), *rows])
        path.write_text(text.getvalue())
    return path


def named_rows(imported):
    """The objects of each row, by name if they have names."""
    names = imported.answers.names
    rows = imported.answers.objects.tolist()
    return rows if names is None else [[names[i] for i in row] for row in rows]


@pytest.fixture
def salmon(tmp_path):
    rows = [(0, 1, 2, 2, 1, "ann", 1.5), (3, 0, 1, 0, 1, "bob", -1), (1, 3, 1, 1, 3, "bob", 0.9)]
    return table(
        tmp_path / "responses.csv", "head left right winner loser puid response_time", *rows
    )


# tables


def test_responses_of_salmon(salmon):
    """The winner is nearer to the head, a time of -1 is unknown, and catch trials keep
    their person.
    """
    imported = import_answers(salmon)
    answers = imported.answers
    assert (answers.objects.tolist(), answers.kind) == ([[0, 2, 1], [3, 0, 1]], "anchor")
    assert answers.person.tolist() == ["ann", "bob"]
    assert answers.seconds == pytest.approx([1.5, np.nan], nan_ok=True)
    assert imported.dropped == {"catch trial": 1}
    assert (answers.catch_passed.tolist(), answers.catch_person.tolist()) == ([True], ["bob"])


def test_votes_of_nights_weight_both_pictures(tmp_path):
    """Votes are shares times their number, rows without votes are counted, and `where`
    selects rows.
    """
    path = table(
        tmp_path / "data.csv",
        "id left_vote right_vote votes ref_path left_path right_path split",
        (0, 1.0, 0.0, 6, "ref/0.png", "distort/0_0.png", "distort/0_1.png", "train"),
        (1, 0.25, 0.75, 8, "ref/1.png", "distort/1_0.png", "distort/1_1.png", "test"),
        (2, 0, 0, 0, "ref/2.png", "distort/2_0.png", "distort/2_1.png", "train"),
    )
    imported = import_answers(path)
    assert imported.dropped == {"no vote": 1}
    assert named_rows(imported) == [
        ["ref/0.png", "distort/0_0.png", "distort/0_1.png"],
        ["ref/1.png", "distort/1_0.png", "distort/1_1.png"],
        ["ref/1.png", "distort/1_1.png", "distort/1_0.png"],
    ]
    assert imported.answers.weights.tolist() == [6, 2, 6]
    tested = import_answers(path, where={"split": "test"})
    assert (tested.answers.weights.tolist(), tested.dropped) == (
        [2, 6],
        {"filtered out by where": 2},
    )


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


def test_jspsych_trials_of_several_people(tmp_path):
    """With one list for each person, other trials and timeouts are counted, and equal stimuli are a
    catch trial.
    """
    trial = {
        "trial_type": "html-button-response",
        "task": "triplet",
        "stimuli": ["egg", "cup", "ball"],
    }
    value = [
        [
            {"trial_type": "instructions", "rt": 9000},
            {**trial, "response": 2, "rt": 1200},
            {**trial, "response": None, "rt": None},
            {**trial, "stimuli": ["cup", "cup", "egg"], "response": 2, "rt": 700},
        ],
        [
            {**trial, "response": 0, "rt": 800},
            {**trial, "stimuli": ["cup", "egg", "cup"], "response": 0, "rt": 90},
        ],
    ]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value))
    imported = import_answers(path)
    assert named_rows(imported) == [["egg", "cup", "ball"], ["cup", "ball", "egg"]]
    assert (imported.answers.person.tolist(), imported.answers.seconds.tolist()) == (
        [0, 1],
        [1.2, 0.8],
    )
    assert imported.dropped == {
        MISSING: 1,
        "no answer": 1,
        "catch trial": 2,
    }
    assert (imported.answers.catch_passed.tolist(), imported.answers.catch_person.tolist()) == (
        [True, False],
        [0, 1],
    )
    assert import_answers(path, where={"task": "triplet"}).dropped["filtered out by where"] == 1


def test_jspsych_on_lines_with_an_anchor_and_html(tmp_path):
    """One JSON text on each line, stated keys, four choices beside a reference, and HTML for
    pictures are read.
    """
    shown = {
        name: f'<img src="img/{name}.png" width="200">'
        for name in ("egg", "cup", "ball", "dog", "cat")
    }
    trial = {"shown": shown["egg"], "options": [*shown.values()][1:], "response": shown["dog"]}
    path = tmp_path / "collected.json"
    path.write_text(
        "\n".join(json.dumps([{**trial, "subject_id": name}]) for name in ("ann", "bob"))
    )
    imported = import_answers(path, columns={"reference": "shown", "choices": "options"})
    assert (
        named_rows(imported)
        == [[f"img/{name}.png" for name in ("egg", "dog", "cup", "ball", "cat")]] * 2
    )
    assert (imported.answers.kind, imported.answers.person.tolist()) == (
        "nearest-of-n",
        ["ann", "bob"],
    )


def test_of_a_ranking_the_first_choice_is_read(tmp_path):
    """The first of several ranked columns, or of a list of picks, makes one nearest-of-n answer."""
    path = table(
        tmp_path / "r.csv",
        "ref near near2 far far2",
        ("q", "a", "b", "c", "d"),
        ("q", "d", "c", "a", "b"),
    )
    imported = import_answers(path)
    assert imported.answers.kind == "nearest-of-n"
    assert named_rows(imported) == [["q", "a", "b", "c", "d"], ["q", "d", "c", "a", "b"]]
    (tmp_path / "r.json").write_text(
        json.dumps([{"ref": "q", "choices": ["a", "b", "c"], "chosen": ["b", "a"]}])
    )
    assert named_rows(import_answers(tmp_path / "r.json")) == [["q", "b", "a", "c"]]


@pytest.mark.parametrize(
    ("header", "rows", "objects"),
    [
        ("image1 image2 image3 odd", [(0, 1, 2, 1), (3, 1, 0, 0)], [[0, 2, 1], [3, 1, 0]]),
        ("a b c chosen", [(7, 8, 9, 1), (7, 8, 9, 3)], [[8, 9, 7], [7, 8, 9]]),
        ("a b c odd", [(7, 8, 9, "c"), (7, 8, 9, "a")], [[7, 8, 9], [8, 9, 7]]),
        ("ref left right answer", [(0, 1, 2, "left"), (3, 1, 0, "Right")], [[0, 1, 2], [3, 0, 1]]),
        ("target a b near", [(0, 1, 2, 2), (3, 1, 0, 1)], [[0, 2, 1], [3, 1, 0]]),
    ],
)
def test_what_was_picked_is_an_object_a_column_or_a_place(tmp_path, header, rows, objects):
    """However a table states what was shown and what was picked, the answers are in the order of
    `Answers`.
    """
    assert (
        import_answers(table(tmp_path / "t.csv", header, *rows)).answers.objects.tolist() == objects
    )


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
    shown = ("abc", "def", "ghi")
    rows = [(*names, pick) for names, pick in zip(shown, picks, strict=True)]
    path = table(tmp_path / "t.csv", "a b c chosen", *rows)
    imported = import_answers(path, place_base=place_base)
    assert imported.answers.objects.tolist() == objects
    assert imported.interpretation["picked"] == picked_as


def test_places_that_may_be_counted_from_either_are_asked_for(tmp_path, capsys):
    """If no pick tells whether places count from 0 or 1, the error names the option."""
    path = table(tmp_path / "t.csv", "a b c chosen", ("x", "y", "z", 1), ("x", "z", "y", 2))
    with pytest.raises(DataError, match=r"from 0 or from 1.*`place_base=1`"):
        import_answers(path)
    command = ["data", "import", str(path), "--out", str(tmp_path / "a.npz")]
    assert execute(command) == 1
    assert "--place-base 1" in capsys.readouterr().err
    assert execute([*command, "--place-base", "1"]) == 0
    assert "picked: place counted from 1" in capsys.readouterr().out


def test_a_row_with_some_of_its_candidates_is_dropped(tmp_path):
    """A trial whose last candidate is missing is dropped, whatever was picked in it."""
    rows = [
        *[("q", "x", "y", "z", "x")] * 3,
        ("q", "x", "y", "", "x"),
        ("q", "x", "y", "", "elsewhere"),
    ]
    path = table(tmp_path / "t.csv", "ref choices1 choices2 choices3 chosen", *rows)
    columns = {"choices": "choices1,choices2,choices3"}
    imported = import_answers(path, columns=columns)
    assert named_rows(imported) == [["q", "x", "y", "z"]] * 3
    assert imported.dropped == {MISSING: 2}


def test_times_may_be_missing(tmp_path):
    """An empty cell in the column of times is an unknown time."""
    path = table(tmp_path / "t.csv", "a b odd seconds", (0, 1, 2, 1.5), (0, 1, 2, ""))
    seconds = import_answers(path).answers.seconds
    np.testing.assert_array_equal(seconds, [1.5, np.nan])


def test_columns_that_are_stated(tmp_path):
    """Several columns for one role, times in milliseconds, weights, selected rows and integer
    persons are read.
    """
    path = tmp_path / "t.csv"
    path.write_text(
        "q;o1;o2;o3;pick;who;t;w;attention\nx;a;b;c;c;7;1500;2;0\nx;a;b;c;a;8;900;1;yes\n"
    )
    columns = {
        "reference": "q",
        "choices": "o1,o2,o3",
        "chosen": "pick",
        "person": "who",
        "milliseconds": "t",
        "weight": "w",
    }
    imported = import_answers(path, columns=columns, where={"attention": "0"})
    assert named_rows(imported) == [["x", "c", "a", "b"]]
    answers = imported.answers
    assert (answers.person.tolist(), answers.seconds.tolist(), answers.weights.tolist()) == (
        [7],
        [1.5],
        [2],
    )
    assert (imported.dropped, answers.catch_passed) == ({"filtered out by where": 1}, None)
    assert imported.interpretation["columns"] == columns | {"choices": "o1, o2, o3"}


def test_equal_alternatives_are_no_catch_trial_and_most_rows_say_the_width(tmp_path):
    """Trials with two equal alternatives are dropped, and so are rows with more or fewer objects
    than most.
    """
    shown = [
        "qabc",
        "qaab",
        "qqab",
        "qab",
        "qbac",
        "qabcd",
        "",
        "",
        "",
        "",
        "",
        "",
    ]  # the last rows are of other kinds
    rows = [(*objects, *[""] * (5 - len(objects))) for objects in shown]
    imported = import_answers(table(tmp_path / "t.csv", "ref near far far2 far3", *rows))
    assert named_rows(imported) == [["q", "a", "b", "c"], ["q", "b", "a", "c"]]
    assert imported.dropped == {
        "catch trial": 1,
        "equal alternatives": 1,
        MISSING: 8,
    }
    assert imported.answers.catch_passed.tolist() == [True]


def test_names_are_found_in_a_list_of_objects(tmp_path):
    """Indices are those of a list of objects, without folder and extension, and unlisted names are
    counted.
    """
    path = table(tmp_path / "t.csv", "a b odd", ("cup", "egg", "ball"), ("cup", "egg", "dog"))
    ids = tmp_path / "ids.txt"
    ids.write_text("images/ball.jpg\nimages/cup.jpg\nimages/egg.jpg\n")
    imported = import_answers(path, names=ids)
    assert imported.answers.objects.tolist() == [[1, 2, 0]]
    assert imported.dropped == {"an object that is not in the list of object ids": 1}
    numbers = table(tmp_path / "n.csv", "a b odd", (7, 8, 9))
    assert import_answers(numbers, names=["9", "8", "7"]).answers.objects.tolist() == [[2, 1, 0]]
    assert import_answers(numbers, base=1).answers.objects.tolist() == [[6, 7, 8]]
    with pytest.raises(DataError, match="list of object ids"):
        import_answers(path, names=["x"])


def test_an_object_called_na_is_one_if_it_is_listed(tmp_path):
    """Namibia's NA is an empty cell, which is counted, unless the list of objects holds it."""
    path = table(tmp_path / "t.csv", "a b odd", ("NA", "DE", "BR"), ("DE", "BR", "FR"))
    assert import_answers(path).dropped == {MISSING: 1}
    imported = import_answers(path, names=["flags/NA.png", "DE", "BR", "FR"])
    assert imported.answers.objects.tolist() == [[0, 1, 2], [1, 2, 3]]


def test_an_empty_pick_is_no_answer_and_changes_no_other(tmp_path):
    """An empty cell makes pandas write 104 as 104.0, which is the same object."""
    rows = [(104, 163, 23, "104.0"), (3, 4, 5, ""), (23, 4, 5, "5.0")]
    imported = import_answers(table(tmp_path / "t.csv", "a b c chosen", *rows))
    assert imported.answers.objects.tolist() == [[163, 23, 104], [23, 4, 5]]
    assert imported.dropped == {"no answer": 1}
    names = [("1.0", "1.5", "2.0", "1.5"), ("1.0", "2.0", "1.5", "1.5")]
    versions = import_answers(table(tmp_path / "n.csv", "a b c chosen", *names)).answers
    assert versions.names == ("1.0", "1.5", "2.0")


@pytest.mark.parametrize("pick", [("1", "3", "2"), ("left", "right", ""), ("x", "z", "x")])
def test_columns_with_the_same_objects_are_suggested(tmp_path, pick):
    """A table without known titles is refused with the options for its objects and its pick."""
    shown = [("x", "y", "z"), ("y", "x", "z"), ("z", "x", "y")]
    rows = [("t", *objects, p, 0.7) for objects, p in zip(shown, pick, strict=True)]
    path = table(tmp_path / "t.csv", "trial left middle right response sure", *rows)
    words = "--column stimuli=left,middle,right --column chosen=response"
    with pytest.raises(DataError, match=words):
        import_answers(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_are_no_table(tmp_path, name):
    """Arrays given as a table are refused with the options that read them, not as damaged."""
    save = np.save if name == "a.npy" else np.savez
    save(tmp_path / name, np.array([[0, 1, 2, 7]]))
    with pytest.raises(FileError, match=r"arrays.*--kind anchor.*--format"):
        import_answers(tmp_path / name)


# arrays


def test_soft_triplets_of_alignet(tmp_path):
    """The weights of the pairs (0, 1), (0, 2), (1, 2) are the softmax of their similarities."""
    similarities = np.array([[2.0, 1.0, 0.5], [0.3, 0.2, 0.1]], dtype=np.float32)
    np.savez(
        tmp_path / "a.npz",
        filenames=np.array([["a", "b", "c"], ["b", "d", "a"]]),
        similarities=similarities,
    )
    imported = import_answers(tmp_path / "a.npz", "alignet")
    p = np.exp([2.0, 1.0, 0.5]) / np.exp([2.0, 1.0, 0.5]).sum()
    assert named_rows(imported)[:3] == [["a", "b", "c"], ["a", "c", "b"], ["b", "c", "a"]]
    assert imported.answers.weights[:3] == pytest.approx(p, rel=1e-6)
    assert imported.answers.total_weight == pytest.approx(2)
    assert import_answers(tmp_path / "a.npz", "alignet", limit=3).dropped == {
        "triplets beyond the limit": 1
    }


def loops(S):
    """The comparisons of every two known similarities to one reference, by plain loops,
    with weights.
    """
    off = ~np.eye(len(S), dtype=bool)
    span = np.nanmax(S[off]) - np.nanmin(S[off])
    n = range(len(S))
    return {
        (i, j, k): (S[i, j] - S[i, k]) / span
        for i in n
        for j in n
        for k in n
        if len({i, j, k}) == 3 and S[i, j] > S[i, k]
    }


@pytest.mark.parametrize("n", [4, 9])
def test_matrices_become_comparisons(tmp_path, n):
    """Comparisons equal loops over references and pairs, without NaN and ties."""
    rng = np.random.default_rng(n)
    S = rng.integers(0, 6, size=(n, n)).astype(float)
    S[rng.random((n, n)) < 0.1] = np.nan
    np.fill_diagonal(S, 9)
    np.save(tmp_path / "s.npy", S)
    imported = import_answers(tmp_path / "s.npy", "matrix", values="similarity")
    got = dict(
        zip(
            map(tuple, imported.answers.objects.tolist()),
            imported.answers.weights.tolist(),
            strict=True,
        )
    )
    assert got == pytest.approx(loops(S))
    np.savetxt(tmp_path / "d.txt", 9 - S)
    same = import_answers(tmp_path / "d.txt", "matrix", values="dissimilarity")
    assert sorted(same.answers.objects.tolist()) == sorted(imported.answers.objects.tolist())


def test_a_matrix_with_names(tmp_path):
    """Names in the first line and the first column are those of the objects."""
    (tmp_path / "m.csv").write_text(",egg,cup,ball\negg,0,1,3\ncup,1,0,2\nball,3,2,\n")
    imported = import_answers(tmp_path / "m.csv", "matrix", values="dissimilarity")
    assert sorted(named_rows(imported)) == [
        ["ball", "cup", "egg"],
        ["cup", "egg", "ball"],
        ["egg", "cup", "ball"],
    ]


def test_the_limit_draws_comparisons(tmp_path):
    """The limit draws different comparisons, the same for the same seed, and counts
    those left out.
    """
    D = np.abs(np.subtract.outer(np.arange(20.0) ** 2, np.arange(20.0) ** 2))
    np.save(tmp_path / "d.npy", np.stack([D, D]))
    options = {"format": "matrix", "values": "dissimilarity", "limit": 500, "seed": 3}
    some, again = (import_answers(tmp_path / "d.npy", **options) for _ in range(2))
    assert some.dropped["comparisons beyond the limit"] == 2 * 20 * 19 * 18 // 2 - 500
    assert np.array_equal(some.answers.objects, again.answers.objects)
    rows = np.c_[some.answers.objects, some.answers.person]
    assert len(np.unique(rows, axis=0)) == len(rows) > 400


# what is refused


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\1\2\xff" * 50,
        b"a,b\n",
        b"PK\x03\x04 no archive",
        b'{"a": ',
        b"[" * 5000,
        b"[1, 2]",
        b"a,b,odd\n,,\n",
        b"a,b,odd\n0,1,2,9\n3,4,5,9\n",
        b'{"trials": [{"a": 1, "b": 2, "odd": 0}]}',
        b"a,b,c,d,e\n" + 3 * b"0,1,2,3,4\n",
    ],
)
def test_hostile_files_are_one_sentence(tmp_path, format, content):
    """A hostile file is refused in one sentence, whatever format it is said to have."""
    for name in ("x.csv", "x.json", "x.npz", "x.npy"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GLocalError) as raised:
            import_answers(
                tmp_path / name, format, **{"values": "similarity"} if format == "matrix" else {}
            )
        assert "\n" not in str(raised.value)


def test_a_comma_at_the_end_of_a_row_moves_no_cell(tmp_path):
    """A row with a comma at its end is refused, or, with pandas 2, read without its
    blank last cell.
    """
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b,odd\n0,1,2,\n3,4,5,\n")
    try:
        objects = import_answers(path).answers.objects
    except GLocalError:
        return
    np.testing.assert_array_equal(objects, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("format", "arrays", "noun"),
    [
        (
            "alignet",
            {"similarities": np.zeros((0, 3)), "indices": np.zeros((0, 3), int)},
            "similarities",
        ),
        ("alignet", {"similarities": np.zeros((2, 3))}, "pictures"),
    ],
)
def test_arrays_of_other_shapes_are_refused(tmp_path, format, arrays, noun):
    """Arrays that are empty, of another length, not numbers, or pickled are refused by name."""
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises((DataError, FileError), match=noun):
        import_answers(tmp_path / "odd.npz", format)


def test_options_and_columns_that_do_not_fit_are_refused(salmon, tmp_path):
    """Unknown options, formats, roles, columns and values are refused, and so are trials of a
    single object.
    """
    for error, options, noun in (
        (ParameterError, {"order": "sortindex.txt"}, "order"),
        (ParameterError, {"format": "next"}, "format"),
        (ParameterError, {"format": "matrix"}, "values"),
        (ParameterError, {"place_base": 2}, "place_base"),
        (DataError, {"columns": {"person": "who"}}, "who"),
        (DataError, {"columns": {"rating": "head"}}, "role"),
        (DataError, {"where": {"puid": "nobody"}}, "nobody"),
        (DataError, {"columns": {"seconds": "puid"}}, "numbers"),
        (DataError, {"names": ["egg"]}, "object ids"),
    ):
        with pytest.raises(error, match=noun):
            import_answers(salmon, **options)
    with pytest.raises(DataError, match="decimal comma"):
        import_answers(table(tmp_path / "t.csv", "a b odd seconds", (0, 1, 2, "4,389")))
    (tmp_path / "one.json").write_text(json.dumps([{"stimuli": ["a"], "response": "a"}]))
    with pytest.raises(DataError, match="three or more"):
        import_answers(tmp_path / "one.json")


def test_columns_without_a_role_are_asked_for_by_their_option(tmp_path, capsys):
    """A table whose columns have no known role is refused with the option that states the role."""
    path = table(tmp_path / "t.csv", "i j k", (0, 1, 2))
    assert execute(["data", "import", str(path), "--out", str(tmp_path / "a.npz")]) == 1
    assert "--column ROLE=COLUMN" in capsys.readouterr().err


def test_the_command_says_what_it_did(salmon, tmp_path, capsys):
    """The command counts what it left out, and its file has kind, persons, catch trials and
    provenance.
    """
    out = tmp_path / "answers.npz"
    assert execute(["data", "import", str(salmon), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["kind"], result["people"], result["catch"]) == (
        2,
        "anchor",
        2,
        {"n": 1, "passed": 1},
    )
    loaded = Answers.load(out)
    assert (loaded.kind, loaded.catch_person.tolist()) == ("anchor", ["bob"])
    with np.load(out, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
    assert (provenance["format"], provenance["dropped"]) == ("table", {"catch trial": 1})
    assert (
        execute(["data", "import", str(salmon), "--column", "person=puid", "--out", str(out)]) == 0
    )
    assert "left out: 1 × catch trial" in capsys.readouterr().out
    assert execute(["data", "import", str(salmon), "--column", "person", "--out", str(out)]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.data
def test_real_files(data_dir):
    """THINGS through its sort index, eggs of 416 people, and the catch trials of the
    videos are read.
    """
    things = data_dir / "things"
    imported = import_answers(
        things / "triplets_collection_order.txt",
        "things",
        order=things / "sortindex.txt",
        names=things / "unique_id.txt",
    )
    assert np.array_equal(imported.answers.objects, np.load(things / "triplets.npy"))
    eggs = import_answers(data_dir / "anchors/alien_eggs/answers.csv").answers
    assert (len(eggs), eggs.kind, eggs.n_people, len(eggs.named_objects())) == (
        20_086,
        "anchor",
        416,
        30,
    )
    videos = import_answers(data_dir / "videos/answers.csv").answers
    assert (len(videos), len(videos.catch_passed)) == (23_773, 1_185)
    assert videos.catch_passed.all()
