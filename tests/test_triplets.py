"""Triplets: the conventions of a file are stated once, then answers are 0-based with the odd one last."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glocal.data.repeated import load_repeated
from glocal.data.triplets import Triplets, read_numbers
from glocal.errors import DataError, DataWarning, FileError

RAW = np.array([[4, 0, 2], [1, 3, 0], [2, 3, 4]])
TRIPLE = st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3, unique=True)


def test_answers_are_0_based_with_the_odd_one_last():
    """`odd_column` moves the odd one to the end and `base` takes 1 off, whatever the raw convention."""
    for odd_column in (0, 1, 2):
        for base in (0, 1):
            raw = np.empty_like(RAW)
            pair = [column for column in (0, 1, 2) if column != odd_column]
            raw[:, pair], raw[:, odd_column] = RAW[:, :2] + base, RAW[:, 2] + base
            answers = Triplets.from_array(raw, odd_column=odd_column, base=base).answers
            np.testing.assert_array_equal(answers, RAW)


def test_an_order_maps_raw_indices_through_its_argsort():
    """With a sort index the object of raw index i is argsort(order)[i], after the base is taken off."""
    order = np.array([3, 0, 4, 2, 1])
    position = {int(value): i for i, value in enumerate(order)}  # where the sort index holds i
    wanted = [[position[int(i)] for i in row] for row in RAW]
    assert Triplets.from_array(RAW, order=order).answers.tolist() == wanted
    assert Triplets.from_array(RAW + 1, base=1, order=order).answers.tolist() == wanted


def test_triplets_do_not_change_under_their_owner():
    """Answers and weights are copies that cannot be written to, and the fields cannot be set."""
    raw, weights = RAW.astype(np.int32), np.array([1.0, 2.0, 0.0])
    triplets = Triplets.from_array(raw, weights=weights)
    raw[:] = 0
    weights[:] = 7
    assert triplets.answers.tolist() == RAW.tolist()
    assert triplets.weights.tolist() == [1.0, 2.0, 0.0]
    for array in (triplets.answers, triplets.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        triplets.weights = None


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_any_integer_type_is_read(dtype):
    """Answers of any integer type become the same int32 answers, with base 1 too."""
    triplets = Triplets.from_array((RAW + 1).astype(dtype), base=1)
    assert triplets.answers.dtype == np.int32
    assert triplets.answers.tolist() == RAW.tolist()


@given(st.lists(TRIPLE, min_size=1, max_size=20))
def test_answers_survive_saving(tmp_path_factory, rows):
    """What `save` writes `load` reads, for any valid indices."""
    path = tmp_path_factory.mktemp("triplets") / "triplets.npy"
    Triplets.from_array(rows).save(path)
    assert Triplets.load(path).answers.tolist() == rows


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.integers(-1, 6)))
def test_an_array_is_taken_whole_or_refused(answers):
    """Answers with a negative index or a repeated object are refused, all others kept as they are."""
    valid = all(min(row) >= 0 and len(set(row)) == 3 for row in answers.tolist())
    if valid:
        assert Triplets.from_array(answers).answers.tolist() == answers.tolist()
    else:
        with pytest.raises(DataError):
            Triplets.from_array(answers)


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        ([[0, 1]], {}, r"shape \(1, 2\); they must be \(t, 3\)"),
        ([0, 1, 2], {}, r"shape \(3,\)"),
        ([[0.0, 1.0, 2.0]], {}, "float64 values; object indices must be integers.*astype"),
        ([[True, False, True]], {}, "bool values"),
        ([["a", "b", "c"]], {}, "object indices must be integers"),
        ([[0, 1, 2], [3, -1, 2]], {}, r"triplet 1 is \[3, -1, 2\]; object indices must be at least 0"),
        ([[0, 1, 2], [4, 2, 4]], {}, r"triplet 1 is \[4, 2, 4\] and repeats an object \(1 such"),
        ([[0, 1, 2**31]], {}, "triplets name object 2147483648"),
        ([[0, 1, 2]], {"base": 1}, "base 1 was stated but the triplets name object 0. Pass --base 0"),
        ([[0, 1, 2]], {"base": 2}, "base is 2; allowed are 0 and 1"),
        ([[0, 1, 2]], {"odd_column": 3}, "odd column is 3; allowed are 0, 1 and 2"),
        ([[0, 1, 2]], {"order": np.array([0, 1, 1])}, "not a permutation of 0..2"),
        ([[0, 1, 2]], {"order": np.array([[0, 1, 2]])}, "not a permutation"),
        ([[0, 1, 3]], {"order": np.array([0, 2, 1])}, "name object 3 but the order lists 3 objects"),
        ([[0, 1, 2]], {"weights": [1.0, 2.0]}, r"weights have shape \(2,\) but there are 1 triplets"),
        ([[0, 1, 2]], {"weights": [[1.0]]}, r"weights have shape \(1, 1\)"),
        ([[0, 1, 2]], {"weights": [-1.0]}, "weight 0 is -1.0; weights must be finite and at least 0"),
        ([[0, 1, 2]] * 2, {"weights": [1.0, np.nan]}, "weight 1 is nan"),
        ([[0, 1, 2]] * 2, {"weights": [1.0, np.inf]}, "weight 1 is inf"),
        ([[0, 1, 2]] * 2, {"weights": [0, 0]}, "all weights are 0"),
        ([[0, 1, 2]], {"weights": ["x"]}, "weights hold .* values; they must be real numbers"),
        ([[0, 1, 2]], {"weights": [1j]}, "they must be real numbers"),
    ],
)
def test_what_is_wrong_is_said(array, options, sentence):
    """Every wrong array, convention or weight is refused with the row and what is allowed."""
    with pytest.raises(DataError, match=sentence):
        Triplets.from_array(array, **options)


def test_ragged_rows_are_refused():
    """Rows of different lengths are a DataError like every other wrong shape."""
    with pytest.raises(DataError, match="must be"):
        Triplets.from_array([[0, 1, 2], [0, 1]])


@pytest.mark.parametrize(
    ("answers", "hint"),
    [([[1, 2, 5]], "Is the file 1-based"), ([[0, 2, 5]], "--object-ids"), ([[1, 2, 9]], "--object-ids")],
)
def test_an_index_out_of_range_gets_the_likely_reason(answers, hint):
    """One past the end with no 0 suggests base 1, anything else another list of objects."""
    triplets = Triplets.from_array(answers)
    with pytest.raises(DataError, match=rf"features has 5 rows \(valid 0..4\).*{hint}"):
        triplets.check_range(5)
    triplets.check_range(10)


@pytest.mark.parametrize(
    "text", ["4 0 2\n1 3 0\n2 3 4\n", "4,0,2\r\n1,3,0\r\n2,3,4", "\ufeff4, 0,\t2\n\n1 3 0\n2 3 4\n\n"]
)
def test_text_is_read_with_blanks_or_commas(tmp_path, text):
    """Three integers a line make an answer, whatever lies between them."""
    path = tmp_path / "triplets.txt"
    path.write_bytes(text.encode())
    assert Triplets.load(path).answers.tolist() == RAW.tolist()


def test_order_and_weights_are_read_from_files(tmp_path):
    """`load` with an order and weights in files equals `from_array` with the arrays."""
    order, weights = np.array([3, 0, 4, 2, 1]), np.array([0.5, 2.0, 1.0])
    np.savetxt(tmp_path / "triplets.txt", RAW + 1, fmt="%d")
    np.savetxt(tmp_path / "order.txt", order, fmt="%.1f")  # as the published sort index is written
    np.save(tmp_path / "weights.npy", weights)
    loaded = Triplets.load(
        tmp_path / "triplets.txt",
        odd_column=0,
        base=1,
        order=tmp_path / "order.txt",
        weights=tmp_path / "weights.npy",
    )
    wanted = Triplets.from_array(RAW, odd_column=0, order=order, weights=weights)
    assert loaded.answers.tolist() == wanted.answers.tolist()
    assert loaded.weights.tolist() == weights.tolist()


@pytest.mark.parametrize("separator", ["\n", " "])
def test_a_list_may_be_written_along_or_down(tmp_path, separator):
    """Weights and a sort index may stand one a line or all on one line."""
    np.savetxt(tmp_path / "triplets.txt", RAW, fmt="%d")
    (tmp_path / "order.txt").write_text(separator.join("30421"))
    (tmp_path / "weights.txt").write_text(separator.join(["0.5", "2", "1"]))
    loaded = Triplets.load(tmp_path / "triplets.txt", order=tmp_path / "order.txt", weights=tmp_path / "weights.txt")
    assert loaded.answers.tolist() == Triplets.from_array(RAW, order=[3, 0, 4, 2, 1]).answers.tolist()
    assert loaded.weights.tolist() == [0.5, 2.0, 1.0]


def test_one_answer_in_a_text_file_is_one_row(tmp_path):
    """A text file of a single line holds one answer, not three numbers."""
    path = tmp_path / "one.txt"
    path.write_text("0 1 2\n")
    assert Triplets.load(path).answers.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b" \n\n", FileError, "is empty"),
        (b"0 1 two\n", FileError, "other than rows of numbers"),
        (b"0 1 2\n0 1\n", FileError, "other than rows of numbers"),
        (b"\xff\xfe\x00\x01", FileError, "neither .npy nor readable text"),
        (b"0 1 2.5\n", DataError, "float64 values"),
        (b"0 1 1\n", DataError, "repeats an object"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, error, sentence):
    """The error of a bad text file names the file and what is wrong with it."""
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=sentence) as caught:
        Triplets.load(path)
    assert "bad.txt" in str(caught.value)


def test_numbers_too_large_for_an_integer_are_refused(tmp_path):
    """An index beyond 64 bits is an error, not a rounded index."""
    path = tmp_path / "large.txt"
    path.write_text("0 1 99999999999999999999\n")
    with pytest.raises(DataError):
        Triplets.load(path)


def test_integers_stay_integers(tmp_path):
    """`read_numbers` keeps whole numbers whole and reads fractions as float64."""
    for text, kind in (("1\n2\n", "i"), ("1.0\n2.5\n", "f")):
        path = tmp_path / "numbers.txt"
        path.write_text(text)
        numbers = read_numbers(path, what="weights")
        assert numbers.dtype.kind == kind
        assert numbers.shape == (2, 1)


def test_objects_are_those_that_answers_name():
    """`objects` is the sorted set of all indices, `total_weight` the sum of weights or the number of answers."""
    triplets = Triplets.from_array([[7, 2, 4], [4, 9, 2]])
    assert triplets.named().tolist() == sorted({7, 2, 4, 9})
    assert triplets.total_weight == 2.0
    assert Triplets.from_array([[7, 2, 4], [4, 9, 2]], weights=[0.5, 2]).total_weight == 2.5
    assert Triplets.from_array(np.empty((0, 3), dtype=int)).named().tolist() == []


def test_selecting_keeps_weights_with_their_answers():
    """`select` keeps rows and their weights together, in the same index space."""
    triplets = Triplets.from_array(RAW, weights=[1.0, 2.0, 3.0]).select(np.array([True, False, True]))
    assert triplets.answers.tolist() == RAW[[0, 2]].tolist()
    assert triplets.weights.tolist() == [1.0, 3.0]


def test_relabelling_drops_and_counts_what_has_no_new_label():
    """`relabel` maps every object, drops answers with an object at -1, and keeps the weights of the rest."""
    triplets = Triplets.from_array(RAW, weights=[1.0, 2.0, 3.0])
    mapped, dropped = triplets.relabel(np.array([5, -1, 0, 2, 1]))
    assert mapped.answers.tolist() == [[1, 5, 0], [0, 2, 1]]
    assert mapped.weights.tolist() == [1.0, 3.0]
    assert dropped == 1
    mapped, dropped = triplets.relabel(np.arange(5)[::-1].copy())
    assert mapped.answers.tolist() == (4 - RAW).tolist()
    assert dropped == 0


def test_arrays_that_cannot_be_shared_are_copied():
    """Read-only answers in Fortran order, as a data frame gives them, are answers."""
    rows = np.asfortranarray(np.array([[0, 1, 2], [3, 1, 0]], dtype=np.int32))
    rows.flags.writeable = False
    taken = Triplets.from_array(rows).answers
    assert taken.flags.c_contiguous
    np.testing.assert_array_equal(taken, rows)


@pytest.mark.parametrize(
    "text", ["a,b,odd\n0,1,2\n4,3,5\n", "odd;a;b\n2;0;1\n5;4;3\n", '"a" "b" "odd"\n0 1 2\n\n4 3 5\n']
)
def test_a_first_line_may_name_the_columns(tmp_path, text):
    """The header that repeated answers have is read here too, columns in any order."""
    (tmp_path / "t.csv").write_text(text)
    assert Triplets.load(tmp_path / "t.csv").answers.tolist() == [[0, 1, 2], [4, 3, 5]]
    assert load_repeated(tmp_path / "t.csv").answers.tolist() == [[0, 1, 2], [4, 3, 5]]


def test_a_header_is_held_to_what_it_says(tmp_path):
    """Other columns are named as not read; a header without odd, an odd column besides and other cells are refused."""
    file = tmp_path / "t.csv"
    file.write_text("a,b,odd,person,trial\n0,1,2,ann b,7\n")
    with pytest.warns(DataWarning, match="trial is not read; a, b and odd are"):
        answers = Triplets.load(file)
    assert (answers.answers.tolist(), answers.person.tolist()) == ([[0, 1, 2]], ["ann b"])
    file.write_text("a,b,odd\n0,1,2\n")
    with pytest.raises(DataError, match="leave out --odd-column"):
        Triplets.load(file, odd_column=0)
    file.write_text("i,j,k\n0,1,2\n")
    with pytest.raises(DataError, match=r"has the columns i, j, k; answers need a, b and odd.* Name them so"):
        Triplets.load(file)
    file.write_text("a,b,odd\n0,1\n")
    with pytest.raises(DataError, match="answer 0 is '0,1'"):
        Triplets.load(file)
