"""Answers of other systems: each format as its system writes it, what is no answer is counted, and the way back."""

import contextlib
import csv
import io
import json

import h5py
import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importers.formats import FORMATS, export_answers, import_answers, likely_format
from glocal.data.join import join
from glocal.errors import DataError, DataWarning, FileError, GLocalError, ParameterError


def table(path, header, *rows):
    with io.StringIO(newline="") as text:
        csv.writer(text).writerows([header.split(), *rows])
        path.write_text(text.getvalue())
    return path


def taken(found):
    """Answers as names, or indices: the objects of each row."""
    names = found.answers.names
    rows = found.answers.objects.tolist()
    return rows if names is None else [[names[i] for i in row if i >= 0] for row in rows]


def salmon(path):
    columns = "head left right winner loser puid response_time network_latency head_html left_html right_html"
    shown = {i: f"<img src='targets/{name}.png'/>" for i, name in enumerate(("egg", "cup", "ball", "dog"))}
    rows = [(0, 1, 2, 2, 1, "ann", 1.5), (3, 0, 1, 0, 1, "bob", -1), (1, 3, 1, 1, 3, "bob", 0.9)]
    return table(path, columns, *((*row, 0.1, *(shown[i] for i in row[:3])) for row in rows))


def nights(path):
    columns = "id left_vote right_vote votes ref_path left_path right_path prompt split is_imagenet"
    return table(
        path,
        columns,
        (0, 1.0, 0.0, 6, "ref/0.png", "distort/0_0.png", "distort/0_1.png", "a dog", "train", True),
        (1, 0.25, 0.75, 8, "ref/1.png", "distort/1_0.png", "distort/1_1.png", "a cat, a hat", "test", False),
        (2, 0, 0, 0, "ref/2.png", "distort/2_0.png", "distort/2_1.png", "a cup", "train", False),
    )


def jspsych(path):
    trial = {"trial_type": "html-button-response", "task": "triplet", "stimuli": ["egg", "cup", "ball"]}
    value = [
        [
            {"trial_type": "instructions", "rt": 9000},
            {**trial, "response": 2, "rt": 1200},
            {**trial, "response": None, "rt": None},
            {**trial, "stimuli": ["cup", "cup", "egg"], "response": 2, "rt": 700},
        ],
        [{**trial, "response": 0, "rt": 800}, {**trial, "stimuli": ["cup", "egg", "cup"], "response": 0, "rt": 90}],
    ]
    path.write_text(json.dumps(value))
    return path


def psiz(path, **changed):
    datasets = {
        "trial_type": "RankObservations",
        "stimulus_set": np.array([[9, 1, 2, 3, 4], [5, 6, 7, -1, -1], [8, 1, 2, 3, 4], [0, 1, -1, -1, -1]]),
        "n_select": np.array([2, 1, 2, 1]),
        "is_ranked": np.array([True, True, False, True]),
        "agent_id": np.array([4, 4, 5, 5]),
        "weight": np.ones(4),
        "rt_ms": np.array([1500.0, -1, 700, 1]),
        **changed,
    }
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


def alignet(path):
    filenames = np.array([["a.JPEG", "b.JPEG", "c.JPEG"], ["b.JPEG", "d.JPEG", "a.JPEG"]])
    similarities = np.array([[2.0, 1.0, 0.5], [0.3, 0.2, 0.1]], dtype=np.float32)
    np.savez(path, filenames=filenames, similarities=similarities, indices=np.array([[7, 3, 11], [3, 20, 7]]))
    return path


def matrix(path):
    D = np.array([[0, 1, 3, 2.0], [1, 0, 2, np.nan], [3, 2, 0, 2], [2, np.nan, 2, 0]])
    np.save(path, D)
    return path


def ratings(path):
    rows = [("egg", "cup", 7, "ann"), ("egg", "ball", 1, "ann"), ("cup", "egg", 5, "ann"), ("egg", "cup", 2, "bob")]
    return table(path, "a b rating person", *rows, ("ball", "egg", 4, "bob"), ("ball", "cup", "", "bob"))


def things(path):
    path.write_text("2 0 1\n3 1 2\n")
    return path


def comparisons(path):
    np.savez(path, query=np.array([[0, 1, 2], [3, 1, 0], [2, 3, 1]]), response=np.array([1, -2, 0]))
    return path


def plain(path):
    return table(
        path, "anchor left right chosen worker", ("egg", "cup", "ball", "cup", 1), ("cup", "egg", "", "egg", 2)
    )


FILES = {
    "csv": (plain, "answers.csv"),
    "things": (things, "triplets.txt"),
    "salmon": (salmon, "responses.csv"),
    "cblearn": (comparisons, "comparisons.npz"),
    "psiz": (psiz, "obs.hdf5"),
    "jspsych": (jspsych, "data.json"),
    "nights": (nights, "data.csv"),
    "alignet": (alignet, "alignet_valid.npz"),
    "matrix": (matrix, "rdm.npy"),
    "ratings": (ratings, "ratings.csv"),
}


@pytest.fixture
def written(tmp_path):
    def write(format):
        make, name = FILES[format]
        return make(tmp_path / name)

    return write


def test_salmon_brings_names_persons_and_times(written):
    """The winner is nearer to the head; files of pictures are names; a time of -1 is none; a catch trial is apart."""
    found = import_answers(written("salmon"), "salmon")
    answers = found.answers
    assert taken(found) == [[f"targets/{name}.png" for name in row.split()] for row in ("egg ball cup", "dog egg cup")]
    assert (answers.kind, answers.person.tolist()) == ("anchor", ["ann", "bob"])
    assert answers.seconds[0] == 1.5
    assert np.isnan(answers.seconds[1])
    assert found.dropped == {"catch trial": 1}
    assert (answers.catch_passed.tolist(), answers.catch_person.tolist()) == ([True], ["bob"])


def test_salmon_leaves_out_what_was_not_shown(tmp_path):
    """A winner that is neither left nor right is counted and left out; a file of nothing else is refused."""
    columns, rows = "head left right winner loser", [(0, 1, 2, 2, 1), (0, 1, 2, 3, 1), (0, 1, 2, "1.0", 7)]
    found = import_answers(table(tmp_path / "r.csv", columns, *rows), "salmon")
    assert found.answers.objects.tolist() == [[0, 2, 1], [0, 1, 2]]
    assert found.dropped == {"a winner that is neither left nor right": 1}
    with pytest.raises(DataError, match="the winner of none of 1 rows is left or right"):
        import_answers(table(tmp_path / "s.csv", columns, rows[1]), "salmon")


def test_votes_of_nights_weight_both_pictures(written):
    """Shares of the votes times their number; a row without votes is counted; --where takes one split."""
    found = import_answers(written("nights"), "nights")
    assert found.dropped == {"no vote": 1}
    assert taken(found) == [
        ["ref/0.png", "distort/0_0.png", "distort/0_1.png"],
        ["ref/1.png", "distort/1_0.png", "distort/1_1.png"],
        ["ref/1.png", "distort/1_1.png", "distort/1_0.png"],
    ]
    assert found.answers.weights.tolist() == [6, 2, 6]
    tested = import_answers(written("nights"), "nights", where={"split": "test"})
    assert (tested.answers.weights.tolist(), tested.dropped) == ([2, 6], {"another kind of row": 2})


def test_pictures_in_folders_are_joined_by_their_paths(tmp_path):
    """ref/000/1.png and ref/001/1.png are two objects; where names alone do not repeat, folders do not matter."""
    paths = [f"{folder}/{i}.png" for folder in ("ref/000", "ref/001", "distort/000") for i in range(2)]
    features = Features(np.eye(6, 4), names=tuple(paths))
    answers = Answers(np.array([[0, 1, 2]]), kind="anchor", names=[paths[4], paths[0], paths[3]])
    assert join(features, answers).triplets.objects.tolist() == [[4, 0, 3]]
    with pytest.raises(DataError, match="hold '0' twice"):
        join(features, answers, ["0", "1", "x"])
    plain = Features(np.eye(3), names=("a/x.png", "b/y.png", "c/z.png"))
    named = Answers(np.array([[0, 1, 2]]), names=["other/z.jpg", "x", "y"])
    assert join(plain, named).triplets.objects.tolist() == [[2, 0, 1]]


def test_jspsych_trials_of_several_people(written, tmp_path):
    """A list for each person; other trials and timeouts are counted; two equal stimuli tell who attends."""
    found = import_answers(written("jspsych"), "jspsych")
    assert taken(found) == [["egg", "cup", "ball"], ["cup", "ball", "egg"]]
    assert (found.answers.person.tolist(), found.answers.seconds.tolist()) == ([0, 1], [1.2, 0.8])
    assert found.dropped == {"an object is missing": 1, "no answer": 1, "catch trial": 2}
    assert (found.answers.catch_passed.tolist(), found.answers.catch_person.tolist()) == ([True, False], [0, 1])
    alone = [{"stimuli": ["egg", "cup", "ball"], "response": 2, "person": "ann"}]
    (tmp_path / "alone.json").write_text(json.dumps(alone))
    assert import_answers(tmp_path / "alone.json", "jspsych").answers.person.tolist() == ["ann"]
    some = import_answers(written("jspsych"), "jspsych", where={"task": "triplet"})
    assert some.dropped["another kind of row"] == 1


def test_jspsych_on_lines_and_with_an_anchor(tmp_path):
    """A server appends a JSON text for each person; keys are told; a reference with four choices is nearest-of-n."""
    trial = {"shown": "egg", "options": ["cup", "ball", "dog", "cat"], "response": "dog", "subject_id": "ann"}
    path = tmp_path / "collected.json"
    path.write_text("\n".join(json.dumps([{**trial, "subject_id": name}]) for name in ("ann", "bob")))
    found = import_answers(path, "jspsych", columns={"reference": "shown", "choices": "options"})
    assert taken(found) == [["egg", "dog", "cup", "ball", "cat"]] * 2
    assert (found.answers.kind, found.answers.person.tolist()) == ("nearest-of-n", ["ann", "bob"])


def test_of_a_ranking_of_psiz_the_first_choice_is_read(written):
    """Trials with the most frequent number of references are answers; what is left out is counted by its reason."""
    found = import_answers(written("psiz"), "psiz")
    assert (found.answers.kind, found.answers.objects.tolist()) == ("anchor", [[5, 6, 7]])
    assert found.answers.person.tolist() == [4]
    assert found.dropped == {
        "an object is missing": 1,
        "several selected, none of them first": 1,
        "another number of references than 2": 1,
    }


def test_newer_psiz_counts_from_one(tmp_path):
    """Indices from 1 with 0 as the filler, and an axis of time steps, are --base 1."""
    np.savez(tmp_path / "obs.npz", stimulus_set=np.array([[[1, 2, 3, 0]], [[4, 1, 2, 0]]]), n_select=1)
    path = tmp_path / "obs.npz"
    assert import_answers(path, "psiz", base=1).answers.objects.tolist() == [[0, 1, 2], [3, 0, 1]]


@pytest.mark.parametrize("response", [[1, -2, 0], [True, False, True]])
def test_responses_of_cblearn(tmp_path, response):
    """-1 and false turn a comparison round, 0 among counts is undecided, other counts are weights."""
    np.savez(tmp_path / "c.npz", query=np.array([[0, 1, 2], [3, 1, 0], [2, 3, 1]]), response=np.array(response))
    found = import_answers(tmp_path / "c.npz", "cblearn")
    if response[0] is True:
        assert found.answers.objects.tolist() == [[0, 1, 2], [3, 0, 1], [2, 3, 1]]
        assert found.answers.weights is None
    else:
        assert found.answers.objects.tolist() == [[0, 1, 2], [3, 0, 1]]
        assert (found.answers.weights.tolist(), found.dropped) == ([1, 2], {"no answer": 1})


def test_quadruplets_that_share_an_object_are_answers(tmp_path):
    """(i, j) nearer than (k, l): wherever the shared object stands; two disjoint pairs are counted."""
    np.save(tmp_path / "q.npy", np.array([[0, 1, 0, 2], [1, 0, 2, 0], [1, 0, 0, 2], [3, 4, 1, 2]]))
    found = import_answers(tmp_path / "q.npy", "cblearn")
    assert found.answers.objects.tolist() == [[0, 1, 2]] * 3
    assert found.dropped == {"pairs that share no object": 1}


def test_a_sparse_tensor_of_cblearn(tmp_path):
    """Its coordinates are the comparisons, its values the responses."""
    np.savez(tmp_path / "t.npz", coords=np.array([[0, 3], [1, 1], [2, 0]]), data=np.array([1, -1]), shape=[4, 4, 4])
    assert import_answers(tmp_path / "t.npz", "cblearn").answers.objects.tolist() == [[0, 1, 2], [3, 0, 1]]


def test_soft_triplets_of_alignet(written):
    """The weights of the three pairs (0, 1), (0, 2), (1, 2) are the softmax of their similarities."""
    found = import_answers(written("alignet"), "alignet")
    p = np.exp([2.0, 1.0, 0.5]) / np.exp([2.0, 1.0, 0.5]).sum()
    assert taken(found)[:3] == [
        ["a.JPEG", "b.JPEG", "c.JPEG"], ["a.JPEG", "c.JPEG", "b.JPEG"], ["b.JPEG", "c.JPEG", "a.JPEG"],
    ]  # fmt: skip
    assert found.answers.weights[:3] == pytest.approx(p, rel=1e-6)
    assert found.answers.total_weight == pytest.approx(2)
    assert import_answers(written("alignet"), "alignet", limit=3).dropped == {"triplets beyond the limit": 1}


def loops(S):
    """Every comparison of two known similarities to one reference, by plain loops: the row and its weight."""
    off = ~np.eye(len(S), dtype=bool)
    span = np.nanmax(S[off]) - np.nanmin(S[off])
    rows = {}
    for i in range(len(S)):
        for j in range(len(S)):
            for k in range(len(S)):
                if len({i, j, k}) == 3 and S[i, j] > S[i, k]:
                    rows[i, j, k] = (S[i, j] - S[i, k]) / span
    return rows


@pytest.mark.parametrize("n", [4, 9])
def test_matrices_become_comparisons(tmp_path, n):
    """As explicit loops over references and pairs, asymmetric ones too; NaN and equal similarities are no answers."""
    rng = np.random.default_rng(n)
    S = rng.integers(0, 6, size=(n, n)).astype(float)
    S[rng.random((n, n)) < 0.1] = np.nan
    np.fill_diagonal(S, 9)
    np.save(tmp_path / "s.npy", S)
    found = import_answers(tmp_path / "s.npy", "matrix")
    assert found.understood["values"] == "similarity"
    got = dict(zip(map(tuple, found.answers.objects.tolist()), found.answers.weights.tolist(), strict=True))
    assert got == pytest.approx(loops(S))
    np.savetxt(tmp_path / "d.txt", 9 - S)
    same = import_answers(tmp_path / "d.txt", "matrix")
    assert same.understood["values"] == "dissimilarity"
    assert sorted(same.answers.objects.tolist()) == sorted(found.answers.objects.tolist())


def test_the_limit_draws_comparisons(tmp_path):
    """Different ones, the same for the same seed; what is left out is counted."""
    D = np.abs(np.subtract.outer(np.arange(20.0) ** 2, np.arange(20.0) ** 2))
    np.save(tmp_path / "d.npy", np.stack([D, D]))
    every = import_answers(tmp_path / "d.npy", "matrix")
    some, again = (import_answers(tmp_path / "d.npy", "matrix", limit=500, seed=3) for _ in range(2))
    assert sum(every.dropped.values()) + len(every.answers) == 2 * 20 * 19 * 18 // 2
    assert some.dropped["comparisons beyond the limit"] == 2 * 20 * 19 * 18 // 2 - 500
    assert np.array_equal(some.answers.objects, again.answers.objects)
    rows = {
        (*row, person) for row, person in zip(some.answers.objects.tolist(), some.answers.person.tolist(), strict=True)
    }
    assert len(rows) == len(some.answers) > 400
    assert set(map(tuple, some.answers.objects.tolist())) <= set(map(tuple, every.answers.objects.tolist()))


def test_a_matrix_with_names(tmp_path):
    """Names in the first line and the first column of a table are those of the objects."""
    table(tmp_path / "m.csv", "- egg cup ball", ("egg", 0, 1, 2), ("cup", 1, 0, 3), ("ball", 2, 3, 0))
    found = import_answers(tmp_path / "m.csv", "matrix")
    assert taken(found) == [["egg", "cup", "ball"], ["cup", "egg", "ball"], ["ball", "egg", "cup"]]
    assert found.answers.weights.tolist() == [0.5, 1, 0.5]


def test_a_matrix_that_does_not_show_its_values(tmp_path):
    """A diagonal that is neither 0 nor largest asks for --values, which is believed."""
    np.save(tmp_path / "m.npy", np.array([[1.0, 2, 3], [2, 1, 4], [3, 4, 1]]))
    with pytest.raises(DataError, match="Pass --values similarity or"):
        import_answers(tmp_path / "m.npy", "matrix")
    found = import_answers(tmp_path / "m.npy", "matrix", values="dissimilarity")
    assert found.answers.objects.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]


@pytest.mark.parametrize("values", [np.full((3, 3), np.nan), np.ones((2, 2)), np.ones((3, 3)), np.ones((3, 4))])
def test_matrices_without_comparisons_are_one_sentence(tmp_path, values):
    """Nothing known, two objects, all equal, not square."""
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(DataError, match=r"no known|at least 3|that differ|of shape"):
        import_answers(tmp_path / "m.npy", "matrix")


def test_ratings_of_pairs_are_compared_within_a_person(written, tmp_path):
    """Two ratings of one person that share an object; the mean of a pair rated twice; people's ranges do not mix."""
    found = import_answers(written("ratings"), "ratings")
    assert taken(found) == [["egg", "cup", "ball"], ["egg", "ball", "cup"]]
    assert (found.answers.person.tolist(), found.answers.weights.tolist()) == (["ann", "bob"], [1, 1])
    assert found.dropped == {"an object or a rating is missing": 1, "a pair was rated again": 1}
    caught = table(tmp_path / "c.csv", "a b rating catch", ("x", "y", 7, 0), ("x", "z", 1, 0), ("y", "z", 9, 1))
    assert import_answers(caught, "ratings").dropped == {"catch trial": 1}
    turned = import_answers(written("ratings"), "ratings", values="dissimilarity")
    assert taken(turned) == [["egg", "ball", "cup"], ["egg", "cup", "ball"]]


def test_things_in_collection_order(written, tmp_path):
    """The sort index maps raw indices, as --order does; names are attached; the odd column may be another."""
    np.save(tmp_path / "sortindex.npy", np.array([1, 0, 3, 2]))
    found = import_answers(written("things"), "things", order=tmp_path / "sortindex.npy", names=["a", "b", "c", "d"])
    assert found.answers.objects.tolist() == [[3, 1, 0], [2, 0, 3]]
    assert found.answers.names == ("a", "b", "c", "d")
    assert import_answers(written("things"), "things", odd_column=0).answers.objects.tolist() == [[0, 1, 2], [1, 2, 3]]


def test_repeated_answers_of_things_keep_their_people(tmp_path):
    """The table a, b, odd, person."""
    path = table(tmp_path / "repeated.csv", "a b odd person", (0, 1, 2, 31), (0, 2, 1, 8))
    assert import_answers(path, "things").answers.person.tolist() in ([31, 8], ["31", "8"])


@pytest.mark.parametrize(
    ("header", "rows", "objects"),
    [
        ("a b odd", [(0, 1, 2)], [[0, 1, 2]]),
        ("a b c odd", [(5, 6, 7, 6), (1, 2, 3, 1)], [[5, 7, 6], [2, 3, 1]]),
        ("image1 image2 image3 choice", [(5, 6, 7, 1), (5, 6, 7, 3)], [[6, 7, 5], [5, 6, 7]]),
        ("a b c odd", [(5, 6, 7, "b")], [[5, 7, 6]]),
        ("reference closer farther", [(5, 6, 7)], [[5, 6, 7]]),
        ("Anchor left right chosen", [(5, 6, 7, "RIGHT"), (5, 6, 7, "left")], [[5, 7, 6], [5, 6, 7]]),
        ("ref a b answer", [(5, 6, 7, 0), (5, 6, 7, 1)], [[5, 6, 7], [5, 7, 6]]),
        (
            "reference closer farther farther2",
            [(5, 6, 7, 8), (1, 6, 7, 8), (5, 6, 8, "")],
            [[5, 6, 7, 8], [1, 6, 7, 8]],
        ),
        ("reference;choices;response", [(5, "[6, 7, 8]", 2)], [[5, 8, 6, 7]]),
        ("a b c odd", [(5, 6, 7, "NA"), (1, 2, "null", 1), (1, 2, 3, 3)], [[1, 2, 3]]),
    ],
)
def test_columns_speak_for_themselves(tmp_path, header, rows, objects):
    """What was picked is an object, a place counted from 0 or 1, or the word of a column."""
    assert (
        import_answers(table(tmp_path / "t.csv", header.replace(";", " "), *rows), "csv").answers.objects.tolist()
        == objects
    )


def test_pictures_in_html_are_objects(tmp_path):
    """What jsPsych shows may be kept as HTML: its source names the object, in the response too."""
    shown = [f'<img src="img/{name}.png" width="200">' for name in ("egg", "cup", "ball")]
    (tmp_path / "d.json").write_text(json.dumps([{"stimuli": shown, "response": shown[0], "rt": 500}]))
    assert taken(import_answers(tmp_path / "d.json", "jspsych")) == [["img/cup.png", "img/ball.png", "img/egg.png"]]


def test_columns_that_are_told(tmp_path):
    """Roles by options: several columns for one role, milliseconds, weights, flagged catch trials, other separators."""
    path = tmp_path / "t.csv"
    path.write_text("q;o1;o2;o3;pick;who;t;w;attention\nx;a;b;c;c;7;1500;2;0\nx;a;b;c;a;8;900;1;yes\n")
    columns = {"reference": "q", "choices": "o1,o2,o3", "chosen": "pick", "person": "who", "milliseconds": "t",
               "weight": "w", "catch": "attention"}  # fmt: skip
    found = import_answers(path, "csv", columns=columns)
    assert taken(found) == [["x", "c", "a", "b"]]
    answers = found.answers
    assert (answers.person.tolist(), answers.seconds.tolist(), answers.weights.tolist()) == ([7], [1.5], [2])
    assert (found.dropped, answers.catch_passed) == ({"catch trial": 1}, None)
    assert found.understood["columns"] == columns | {"choices": "o1, o2, o3"}


def test_names_are_found_in_a_list_of_objects(written, tmp_path):
    """--object-ids gives the indices; folder and extension do not matter; a name that is not there is counted."""
    ids = tmp_path / "ids.txt"
    ids.write_text("images/ball.jpg\nimages/cup.jpg\nimages/egg.jpg\n")
    found = import_answers(written("csv"), "csv", names=ids)
    assert found.answers.objects.tolist() == [[2, 1, 0]]
    ids.write_text("cup\negg\n")
    path = table(tmp_path / "t.csv", "a b odd", ("cup", "egg", "dog"), ("cup", "egg", "ball"))
    with pytest.raises(DataError, match=r"2 × an object that is not in the list of object ids"):
        import_answers(path, "csv", names=ids)
    with pytest.raises(DataError, match="none of the names"):
        import_answers(path, "csv", names=["x"])


ROUND = {
    "csv": ("odd-one-out", "anchor", "nearest-of-n"), "things": ("odd-one-out",), "salmon": ("anchor",),
    "cblearn": ("anchor",), "psiz": ("anchor", "nearest-of-n"),
}  # fmt: skip


@pytest.mark.parametrize(("format", "kind"), [(format, kind) for format, kinds in ROUND.items() for kind in kinds])
@pytest.mark.parametrize("named", [False, True])
def test_there_and_back(tmp_path, format, kind, named):
    """What a format can hold comes back from it: objects, names, persons, times and weights."""
    rng = np.random.default_rng(0)
    width = 5 if kind == "nearest-of-n" else 3
    objects = np.array([rng.permutation(8)[:width] for _ in range(40)])
    plain = format in ("things", "salmon")
    answers = Answers(
        objects, None if plain else rng.integers(1, 4, 40).astype(float), kind=kind,
        person=None if format == "things" else rng.integers(0, 5, 40), seconds=rng.random(40).round(3) + 0.1,
        names=[f"object {i}" for i in range(8)] if named else None,
    )  # fmt: skip
    path = tmp_path / {"cblearn": "a.npz", "psiz": "a.h5"}.get(format, "a.csv")
    export_answers(answers, path, format)
    found = import_answers(path, format, **({"names": answers.names} if named and format != "salmon" else {}))
    back = found.answers
    assert (back.kind, back.objects.tolist(), found.dropped) == (kind, objects.tolist(), {})
    assert back.names == answers.names
    if not plain:
        assert back.weights.tolist() == answers.weights.tolist()
    if format not in ("things", "cblearn"):
        assert back.person.tolist() == answers.person.tolist()
        assert back.seconds == pytest.approx(answers.seconds)


def test_a_format_says_what_it_cannot_hold(tmp_path):
    """Another kind, weights, or a format that is only read: one sentence."""
    odd = Answers(np.array([[0, 1, 2]]), np.array([0.5]))
    for format, words in {"salmon": "holds anchor", "things": "have weights", "nights": "is only read"}.items():
        with pytest.raises(GLocalError, match=words):
            export_answers(odd, tmp_path / "out", format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shown", FILES)
def test_a_wrong_format_names_the_right_one(written, shown):
    """Every file shows its format; told another one, the sentence names it, or the answers are the same."""
    path = written(shown)
    assert likely_format(path) == shown
    for told in FORMATS.keys() - {shown}:
        if (shown, told) in {("salmon", "csv"), ("nights", "csv")}:
            right = import_answers(path, shown).answers
            assert len(import_answers(path, told).answers) == len(right)
            continue
        with pytest.raises((DataError, FileError)) as raised:
            import_answers(path, told)
        assert f"--format {shown}." in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0\1\2\xff" * 50, b"a,b\n", b"PK\x03\x04 no archive", b'{"a": ', b"[" * 5000, b"a,b,odd\n1,2\n,,\n"],
)
def test_hostile_files_are_one_sentence(tmp_path, format, content):
    """Whatever is in the file, whatever it is said to be."""
    for name in ("x.csv", "x.json", "x.npz", "x.npy", "x.h5"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GLocalError) as raised:
            import_answers(tmp_path / name, format)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 1000


def test_pickles_are_never_loaded(tmp_path):
    """An archive of objects is refused by every format that reads archives."""
    np.savez(tmp_path / "p.npz", stimulus_set=np.array([{}], dtype=object), query=np.array([{}], dtype=object))
    for format in ("psiz", "cblearn"):
        with pytest.raises(FileError, match="pickle"):
            import_answers(tmp_path / "p.npz", format)


@pytest.mark.parametrize(
    ("format", "arrays", "said"),
    [
        ("alignet", {"similarities": np.zeros((0, 3)), "indices": np.zeros((0, 3), int)}, "one triplet or more"),
        ("alignet", {"similarities": np.array(5.0), "indices": np.array(3)}, "one triplet or more"),
        ("psiz", {"stimulus_set": np.array([[0, 1, 2, 3]]), "agent_id": np.array([1, 2])}, "agent_id"),
        ("psiz", {"stimulus_set": np.array([[0, 1, 2, 3]]), "weight": np.array(["a"])}, "weight"),
        ("cblearn", {"query": np.array([[0, 1, 2]]), "response": np.array(["a"])}, "responses of"),
    ],
)
def test_arrays_of_other_shapes_are_one_sentence(tmp_path, format, arrays, said):
    """Arrays that are empty, of another length or no numbers are refused by name."""
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(DataError, match=said):
        import_answers(tmp_path / "odd.npz", format)


def test_a_trial_of_one_thing_is_no_answer(tmp_path):
    """jsPsych trials that show one stimulus are refused with the number shown."""
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{"trial_type": "x", "stimuli": ["a"], "response": "a"}]))
    with pytest.raises(DataError, match="three or more"):
        import_answers(path, "jspsych")


def test_options_that_a_format_does_not_read(written):
    """They are refused, not ignored."""
    with pytest.raises(
        ParameterError, match="--order is not read by the format salmon; it reads --where, --object-ids"
    ):
        import_answers(written("salmon"), "salmon", order="sortindex.txt")
    with pytest.raises(ParameterError, match="there is no format 'next'"):
        import_answers(written("salmon"), "next")
    with pytest.raises(DataError, match="no column 'who'"):
        import_answers(written("csv"), "csv", columns={"person": "who"})
    with pytest.raises(DataError, match="'nobody'; it has 1, 2"):
        import_answers(written("csv"), "csv", where={"worker": "nobody"})


def run(*arguments):
    return execute([str(argument) for argument in arguments])


def test_a_file_says_where_it_comes_from(written, tmp_path, capsys):
    """The command counts what it drops, and the file carries kind, names, persons, catch trials and provenance."""
    out = tmp_path / "answers.npz"
    assert run("data", "import", written("salmon"), "--format", "salmon", "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["kind"], result["people"], result["catch"]) == (2, "anchor", 2, {"n": 1, "passed": 1})
    loaded = Answers.load(out)
    assert (loaded.kind, loaded.names[0], loaded.catch_person.tolist()) == ("anchor", "targets/egg.png", ["bob"])
    with np.load(out, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
    assert (provenance["format"], provenance["dropped"]) == ("salmon", {"catch trial": 1})
    assert run("data", "export", out, "--format", "csv", "--out", tmp_path / "back.csv") == 0
    assert (tmp_path / "back.csv").read_text().splitlines()[
        1
    ] == "targets/egg.png,targets/ball.png,targets/cup.png,ann,1.5"


def test_the_command_says_what_it_did(written, tmp_path, capsys):
    """In words: columns, what was dropped and why; a wrong format ends with 1 and one sentence."""
    out = tmp_path / "answers.npz"
    path = written("csv")
    assert run("data", "import", path, "--format", "csv", "--column", "person=worker", "--out", out) == 0
    said = capsys.readouterr().out
    assert "1 answers (anchor) of 1 people about 3 objects" in said
    assert "reference is 'anchor'" in said
    assert "left out: 1 × an object is missing" in said
    assert run("data", "import", path, "--format", "nights", "--out", out) == 1
    assert "--format csv" in capsys.readouterr().err
    assert run("data", "import", path, "--format", "csv", "--column", "person", "--out", out) == 1
    assert "give NAME=VALUE" in capsys.readouterr().err


@pytest.mark.data
def test_real_files(data_dir):
    """THINGS through its sort index; the eggs of 416 people; catch trials of the videos, which all people passed."""
    found = import_answers(
        data_dir / "things/triplets_collection_order.txt", "things", order=data_dir / "things/sortindex.txt"
    )
    assert np.array_equal(found.answers.objects, np.load(data_dir / "things/triplets.npy"))
    eggs = import_answers(data_dir / "anchors/alien_eggs/answers.csv", "csv").answers
    assert (len(eggs), eggs.kind, eggs.n_people, len(eggs.named())) == (20_086, "anchor", 416, 30)
    videos = import_answers(data_dir / "videos/answers.csv", "csv")
    assert (len(videos.answers), len(videos.answers.catch_passed)) == (23_773, 1_185)
    assert videos.answers.catch_passed.all()


def planted(names=None, person=None):
    """Three answers about five objects."""
    rows = np.array([[0, 1, 2], [3, 4, 0], [4, 2, 1]])
    return Answers(rows, kind="anchor", names=names, person=None if person is None else np.array(person))


@pytest.mark.parametrize("format", ["csv", "salmon"])
@pytest.mark.parametrize(
    "names",
    [["NA", *"bcde"], [" a", *"bcde"], ["", *"bcde"], ["a", "a", *"cde"], ["<img src=x>", *"bcde"], ["[1]", *"bcde"],
     ["a\rb", *"bcde"], ["a\udcff", *"bcde"]],
)  # fmt: skip
def test_a_name_that_a_table_would_change_is_not_written(tmp_path, format, names):
    """What would be read as missing, as another name, as a list or as somebody else's is refused; no file is there."""
    with pytest.raises(DataError, match="does not come back from a table as it is"):
        export_answers(planted(names), tmp_path / "out.csv", format)
    assert list(tmp_path.iterdir()) == []


def test_persons_that_a_table_would_merge_are_not_written(tmp_path):
    """Blanks at the ends and words for nothing make one person of two; leading zeros and case do not."""
    for person in ([" a", "a", "b"], ["NA", "None", "b"], ["1", "1.0", "2"]):
        with pytest.raises(DataError, match="as the same one"):
            export_answers(planted(person=person), tmp_path / "out.csv", "csv")
    for person in (["1", "01", "001"], ["Ann", "ann", "ANN"], ["1", "1_0", "10"]):
        export_answers(planted(person=person), tmp_path / "out.csv", "csv")
        assert import_answers(tmp_path / "out.csv", "csv").answers.person.tolist() == person


@pytest.mark.parametrize(
    "names", [["001", "002", "003", "004", "005"], ["a\nb", "é", "e\u0301", "=1", '"'], ["7", *"0123"]]
)
def test_names_come_back_from_a_table(tmp_path, names):
    """Names with leading zeros, line breaks, accents and formulas, and numbers beside their list, stay the same."""
    numbers = names[0] == "7"
    with pytest.warns(DataWarning, match="--object-ids") if numbers else contextlib.nullcontext():
        export_answers(planted(names), tmp_path / "out.csv", "csv")
    found = import_answers(tmp_path / "out.csv", "csv", names=names if numbers else None).answers
    rows = [[found.names[i] for i in row] for row in found.objects.tolist()]
    assert rows == [[names[i] for i in row] for row in planted().objects.tolist()]


def test_what_psiz_writes_where_nothing_is_known_is_not_known(tmp_path):
    """Answers without persons and times come back without: agent 0 and a time of -1 ms are no person and no time."""
    export_answers(planted(), tmp_path / "out.npz", "psiz")
    found = import_answers(tmp_path / "out.npz", "psiz").answers
    assert (found.person, found.seconds) == (None, None)
