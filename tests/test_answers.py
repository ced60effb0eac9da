"""Whatever the conventions of a file, answers become 0-based, with the chosen pair first."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glocal
from glocal.aligner.data import pooled_answers
from glocal.data.answers import KINDS, Answers
from glocal.data.people import people
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.evaluation.agreement import odd_one_out

RAW = np.array([[4, 0, 2], [1, 3, 0], [2, 3, 4]])
FIVE = st.lists(st.integers(0, 2**31 - 1), min_size=5, max_size=5, unique=True)


def test_answers_are_0_based_with_the_odd_one_last():
    """Whatever `odd_column` and `base` are, the odd object comes last and indices start at 0."""
    for odd_column in (0, 1, 2):
        for base in (0, 1):
            raw = np.empty_like(RAW)
            pair = [column for column in (0, 1, 2) if column != odd_column]
            raw[:, pair] = RAW[:, :2] + base
            raw[:, odd_column] = RAW[:, 2] + base
            answers = Answers.from_array(raw, odd_column=odd_column, base=base).objects
            np.testing.assert_array_equal(answers, RAW)


def test_an_order_maps_raw_indices_through_its_argsort():
    """With a sort index `order`, raw index i, counted from 0, is the object argsort(order)[i]."""
    order = np.array([3, 0, 4, 2, 1])
    position = {int(value): i for i, value in enumerate(order)}  # where the sort index holds i
    expected = [[position[int(i)] for i in row] for row in RAW]
    assert Answers.from_array(RAW, order=order).objects.tolist() == expected
    assert Answers.from_array(RAW + 1, base=1, order=order).objects.tolist() == expected


def test_triplets_do_not_change_under_their_owner():
    """Answers and weights are read-only copies, and the fields cannot be set."""
    raw = RAW.astype(np.int32)
    weights = np.array([1.0, 2.0, 0.0])
    triplets = Answers.from_array(raw, weights=weights)
    raw[:] = 0
    weights[:] = 7
    assert triplets.objects.tolist() == RAW.tolist()
    assert triplets.weights.tolist() == [1.0, 2.0, 0.0]
    for array in (triplets.objects, triplets.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        triplets.weights = None


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.uint64, np.float32])
def test_any_type_of_whole_numbers_is_read(dtype):
    """Answers of any integer type, or of whole floats, become the same int32 answers."""
    raw = np.asfortranarray((RAW + 1).astype(dtype))  # the order in which a data frame gives them
    raw.flags.writeable = False
    triplets = Answers.from_array(raw, base=1)
    assert triplets.objects.dtype == np.int32
    assert triplets.objects.flags.c_contiguous
    assert triplets.objects.tolist() == RAW.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "4 0 2\n1 3 0\n2 3 4\n",
        "4,0,2\r\n1,3,0\r\n2;3;4",
        "\ufeff4, 0,\t2\n\n1 3 0\n2 3 4\n\n",
        "a,b,odd\n4,0,2\n1,3,0\n2,3,4\n",
        "odd;a;b\n2;4;0\n0;1;3\n4;2;3\n",
        '"a" "b" "odd"\n4 0 2\n\n1 3 0\n2 3 4\n',
    ],
)
def test_text_is_read_with_and_without_names_of_columns(tmp_path, text):
    """Each line of three integers is an answer; a first line may name the columns, in any order."""
    path = tmp_path / "triplets.txt"
    path.write_bytes(text.encode())
    assert Answers.load(path).objects.tolist() == RAW.tolist()


def test_an_order_is_read_from_a_file(tmp_path):
    """`load` with an order from a file equals `from_array` with the order as an array."""
    order = np.array([3, 0, 4, 2, 1])
    np.savetxt(tmp_path / "triplets.txt", RAW + 1, fmt="%d")
    np.savetxt(
        tmp_path / "order.txt", order, fmt="%.1f", newline=" "
    )  # along one line; published ones are floats
    loaded = Answers.load(
        tmp_path / "triplets.txt", odd_column=0, base=1, order=tmp_path / "order.txt"
    )
    assert (
        loaded.objects.tolist()
        == Answers.from_array(RAW, odd_column=0, order=order).objects.tolist()
    )


def test_objects_are_those_that_answers_name():
    """`named_objects` returns the sorted set of all indices."""
    assert Answers.from_array([[7, 2, 4], [4, 9, 2]]).named_objects().tolist() == [2, 4, 7, 9]
    assert Answers.from_array(np.empty((0, 3), dtype=int)).named_objects().tolist() == []


@pytest.mark.parametrize(
    ("details", "size"),
    [
        ({}, 3),
        ({"weights": [2, 1, 1]}, 16 / 6),
        ({"votes": [2, 0.5, 0.5]}, 3),
        ({"votes": [2, 1, 1], "weights": [4, 1, 1]}, 4),
    ],
)
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_the_number_of_answers_has_no_unit(details, size, unit):
    """It is the sum of the votes, else Kish's (Σ w)² / Σ w², and `all_weights` sum to it."""
    details = {
        name: np.multiply(values, unit if name == "weights" else 1)
        for name, values in details.items()
    }
    answers = Answers.from_array([[0, 1, 2], [3, 1, 2], [4, 1, 2]], **details)
    sizes = (answers.effective_size, answers.all_weights.sum())
    assert sizes == pytest.approx((size, size))
    if answers.weights is not None:
        np.testing.assert_allclose(
            answers.all_weights / size, answers.weights / answers.weights.sum()
        )


def test_a_fit_does_not_depend_on_the_unit_of_the_weights():
    """The chosen λ, the transform, agreement with its interval, and the table of persons stay."""
    world = glocal.simulated_world(
        n_category=2, n_object=3, dimensions=36, n_triplets=400, n_local=36
    )
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, len(world.answers))
    person = rng.integers(4, size=len(weights))
    results = []
    for unit in (1, 1e-200, 1e200):
        answers = Answers(world.answers.objects, weights * unit, person=person)
        fit = glocal.fit(glocal.FitData(world.objects, answers))
        score = odd_one_out(fit.transform(world.objects.matrix), answers)
        results.append((fit, (score.low, score.high), people(answers)))
    fit, interval, table = results[0]
    assert fit.record.lmbda > 0
    for other_fit, other_interval, other_table in results[1:]:
        assert other_fit.record.lmbda == fit.record.lmbda
        np.testing.assert_allclose(other_fit.transform.weights, fit.transform.weights, rtol=1e-5)
        assert other_interval == pytest.approx(interval)
        np.testing.assert_allclose(other_table, table)


def test_arrays_that_cannot_be_shared_are_copied():
    """Read-only answers in Fortran order, as data frames hold them, are copied into C order."""
    rows = np.asfortranarray(RAW.astype(np.int32))
    rows.flags.writeable = False
    objects = Answers.from_array(rows).objects
    assert (objects.flags.c_contiguous, objects.tolist()) == (True, RAW.tolist())


def test_relabelling_drops_what_has_no_new_label():
    """`relabel` maps every object, drops answers with an object at -1, and keeps the weights of the
    others.
    """
    triplets = Answers.from_array(RAW, weights=[1.0, 2.0, 3.0])
    mapped = triplets.relabel(np.array([5, -1, 0, 2, 1]))
    assert mapped.objects.tolist() == [[1, 5, 0], [0, 2, 1]]
    assert mapped.weights.tolist() == [1.0, 3.0]
    mapped = triplets.relabel(np.arange(5)[::-1].copy())
    assert mapped.objects.tolist() == (4 - RAW).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "a,b,odd,seconds\n0,1,2,soon\n",
        "a,b,odd\n0,1\n",
        "hail,egg,cup\negg,hail,cup\n",
        "i,j,k\n0,1,2\n",
    ],
)
def test_a_table_that_makes_no_answers_is_refused(tmp_path, text):
    """The error of a table without readable answers begins with its name."""
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=r"t\.csv: "):
        Answers.load(file)


def test_a_table_of_names_is_read_as_it_is(tmp_path):
    """Names, weights and nearest-of-n need no import, and trials without an answer are counted."""
    file = tmp_path / "t.csv"
    file.write_text("a,b,odd,weight\nhail,egg,cup,2\nhail,,cup,1\n")
    with pytest.warns(DataWarning, match="left out 1"):
        answers = Answers.load(file)
    assert (answers.names, answers.weights.tolist()) == (("cup", "egg", "hail"), [2])


def test_persons_and_times_stand_beside_the_objects(tmp_path):
    """Columns named person and seconds are read with the answers, in any order."""
    file = tmp_path / "t.csv"
    file.write_text("person,odd,a,b,seconds\nann,2,0,1,1.5\n7,0,3,4,2\n")
    answers = Answers.load(file)
    assert answers.objects.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert answers.person.tolist() == ["ann", "7"]
    assert answers.seconds.tolist() == [1.5, 2.0]


def test_a_header_is_held_to_what_it_says(tmp_path):
    """An odd column that is stated although the header names it is refused, and so are rows longer
    than the header.
    """
    file = tmp_path / "t.csv"
    file.write_text("a,b,odd\n0,1,2\n")
    with pytest.raises(DataError, match="odd_column"):
        Answers.load(file, odd_column=0)
    file.write_text("a,b,odd\n0,1,2,3\n")
    with pytest.raises(FileError, match=r"t\.csv"):
        Answers.load(file)


@pytest.mark.parametrize(
    ("array", "options", "noun"),
    [
        ([[0, 1]], {}, "shape"),
        ([[0, 1, 2], [0, 1]], {}, "lengths"),
        ([[0.0, 1.5, 2.0]], {}, "float64"),
        ([[0.0, np.nan, 2.0]], {}, "float64"),
        ([[True, False, True]], {}, "bool"),
        ([[0, 1, 2], [3, -1, 2]], {}, "answer 1"),
        ([[0, 1, 2], [4, 2, 4]], {}, "answer 1 .* repeats"),
        ([[0, 1, 2, 1]], {"kind": "nearest-of-n"}, "repeats"),
        ([[0, 1, 2**31]], {}, "2147483648"),
        ([[0, 1, 2, 3]], {}, "nearest-of-n"),
        (np.arange(15).reshape(3, 5), {}, "transposed"),
        (np.linspace(0, 1, 20).reshape(4, 5), {}, "swapped"),
        ([["egg", "cup", "ball"]], {}, "import_answers"),
        ([[b"egg", b"cup", b"ball"]], {}, "import_answers"),
        (np.array([["egg", "cup", "ball"]], dtype=object), {}, "numpy.unique"),
        ([[0, 1, 2]], {"kind": "pairs"}, "kind"),
        ([[0, 1, 2]], {"base": 1}, "base"),
        ([[0, 1, 2]], {"odd_column": 3}, "odd column"),
        ([[0, 1, 2]], {"odd_column": 0, "kind": "anchor"}, "odd-one-out"),
        ([[0, 1, 2]], {"order": [0, 1, 1]}, "permutation"),
        ([[0, 1, 3]], {"order": [0, 2, 1]}, "order"),
        ([[0, 1, 2]], {"weights": [1.0, 2.0]}, "weights"),
        ([[0, 1, 2]], {"weights": [-1.0]}, "weights"),
        ([[0, 1, 2]] * 2, {"weights": [0, 0]}, "weights"),
        ([[0, 1, 2]], {"weights": ["x"]}, "weights"),
        ([[0, 1, 2]], {"counts": [[1, 2]]}, "kind='anchor'"),
        ([[0, 1, 2]], {"counts": [[1, 2, -1]]}, "weights"),
        ([[0, 1, 2]], {"person": [1, 2]}, "person"),
        ([[0, 1, 2]], {"seconds": ["a"]}, "seconds"),
        ([[0, 1, 2]], {"catch_passed": [1, 0]}, "catch_passed"),
        ([[0, 1, 2]], {"catch_passed": [True], "catch_person": [1, 2]}, "catch_person"),
        ([[0, 1, 2]], {"catch_person": [1]}, "0 catch trials"),
    ],
)
def test_what_is_wrong_is_said(as_a_user, array, options, noun):
    """Every wrong array, convention, weight or list is refused in a sentence that names it."""
    with pytest.raises(DataError, match=noun):
        Answers.from_array(array, **options)


def test_lists_are_answers(as_a_user):
    """The class accepts plain lists, and stores them as arrays of the right types."""
    answers = Answers(
        [[0, 1, 2], [3, 4, 5]], [1, 2], person=["ann", "bob"], seconds=[1, 2], catch_passed=[True]
    )
    assert (answers.objects.dtype, answers.weights.dtype, answers.seconds.dtype) == (
        np.int32,
        np.float64,
        np.float64,
    )
    assert (answers.objects.tolist(), answers.weights.tolist()) == ([[0, 1, 2], [3, 4, 5]], [1, 2])
    assert (answers.person.tolist(), answers.catch_passed.tolist()) == (["ann", "bob"], [True])


def test_an_index_out_of_range_gets_the_likely_reason(as_a_user):
    """An index one past the end, in answers without a 0, suggests `base=1`; any other suggests a
    list of other objects.
    """
    for rows, hint in (
        ([[1, 2, 5]], "base=1"),
        ([[0, 2, 5]], "object_ids"),
        ([[1, 2, 9]], "object_ids"),
    ):
        with pytest.raises(DataError, match=hint):
            Answers(rows).check_range(5)
        Answers(rows).check_range(10)


def test_votes_are_answers_with_weights():
    """A row with votes becomes one answer for each alternative that has votes, with that
    alternative as the choice.
    """
    answers = Answers.from_array([[4, 0, 1], [2, 3, 5]], kind="anchor", counts=[[3, 1], [0, 2]])
    assert answers.objects.tolist() == [[4, 0, 1], [4, 1, 0], [2, 5, 3]]
    assert answers.weights.tolist() == [3, 1, 2]
    soft = Answers.from_array([[0, 1, 2]], counts=[[0.5, 0.2, 0.3]], person=["ann"], weights=[2])
    assert soft.objects.tolist() == [[0, 1, 2], [0, 2, 1], [1, 2, 0]]
    assert (soft.weights.tolist(), soft.person.tolist()) == ([1, 0.4, 0.6], ["ann"] * 3)
    for part in (
        soft,
        soft.select(np.arange(3)),
        soft.relabel(np.arange(3)),
        pooled_answers([soft]),
    ):
        assert part.votes.tolist() == [0.5, 0.2, 0.3]


@given(st.sampled_from(KINDS), st.lists(FIVE, min_size=1, max_size=20), st.randoms())
def test_answers_survive_their_file(tmp_path_factory, kind, rows, random):
    """Every field comes back from an archive, and the objects alone from ``.npy``."""
    folder = tmp_path_factory.mktemp("answers")
    t = len(rows)
    m = 5 if kind == "nearest-of-n" else 3
    full = Answers.from_array(
        [row[:m] for row in rows],
        weights=[random.random() + 0.1 for _ in rows],
        votes=np.arange(t) + 1,
        kind=kind,
        person=np.arange(t) % 7,
        seconds=np.linspace(0.5, 9, t),
        names=["a thing", "another\u2028one"],
        catch_passed=np.arange(4) > 1,
        catch_person=np.arange(4),
    )
    full.save(folder / "a.npz")
    loaded = Answers.load(folder / "a.npz")
    for field in dataclasses.fields(Answers):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(full, field.name))
    full.save(folder / "a.npy")
    assert Answers.load(folder / "a.npy", kind=kind).objects.tolist() == full.objects.tolist()


def test_a_folder_is_no_file_of_answers(tmp_path):
    """A folder in place of answers is refused as such."""
    with pytest.raises(FileError, match="folder"):
        Answers.load(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a"])
def test_answers_are_saved_in_formats_that_are_read_again(tmp_path, as_a_user, name):
    """An ending other than .npz or .npy is refused, and nothing is written."""
    with pytest.raises(ParameterError, match="npz"):
        Answers([[0, 1, 2]], [2.0]).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_is_stated_once(tmp_path):
    """A bare array has the kind that is stated; for a file that records its kind, another kind is
    refused.
    """
    np.save(tmp_path / "a.npy", RAW)
    assert Answers.load(tmp_path / "a.npy", kind="anchor").kind == "anchor"
    assert Answers.load(tmp_path / "a.npy").kind == "odd-one-out"
    Answers.load(tmp_path / "a.npy", kind="anchor").save(tmp_path / "b.npz")
    assert Answers.load(tmp_path / "b.npz", kind="anchor").kind == "anchor"
    with pytest.raises(DataError, match="kind is anchor"):
        Answers.load(tmp_path / "b.npz", kind="odd-one-out")
    (tmp_path / "c.csv").write_text("farther,reference,closer\n1,2,3\n")
    loaded = Answers.load(tmp_path / "c.csv")
    assert (loaded.kind, loaded.objects.tolist()) == ("anchor", [[2, 3, 1]])


@pytest.mark.parametrize(
    ("content", "error", "noun"),
    [
        (b"0 1 two\n", FileError, "numbers"),
        (b"0 1 2\n\n0 1\n", FileError, "from 3 to 2 at row 2"),
        (b"\xff\xfe\x00\x01", FileError, "damaged"),
        (b"0 1 2.5\n", DataError, "float64"),
        ({"objects": [[0, 1, 2]]}, FileError, "answers"),
        ({"answers": [[0, 1, 2]], "kind": 3}, DataError, "kind"),
        ({"answers": [[0, 1, 2]], "counts": [[1, 2]]}, DataError, "counts"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, error, noun):
    """The error of a bad text or archive names the file and what is wrong with it."""
    path = tmp_path / ("bad.npz" if isinstance(content, dict) else "bad.txt")
    if isinstance(content, dict):
        np.savez(path, **{name: np.array(value) for name, value in content.items()})
    else:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"{path}.*{noun}"):
        Answers.load(path)
