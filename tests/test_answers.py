"""Whatever the conventions of a file, answers become 0-based, with the chosen pair first."""

import dataclasses
import json

import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

import glocal
from glocal import Answers, import_answers, odd_one_out
from glocal.aligner.folds import pooled_answers
from glocal.data.people import describe
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.similarity import KINDS

RAW = np.array([[4, 0, 2], [1, 3, 0], [2, 3, 4]])


def content(answers):
    """The fields of answers that are stated, in plain values."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(answers).items()
        if value is not None
    }


# conventions


@given(
    st.integers(0, 2),
    st.integers(0, 1),
    st.permutations(range(5)),
    st.sampled_from(["i1", "u2", "i8", "u8", "f4"]),
)
def test_answers_are_0_based_with_the_odd_one_last(odd_column, base, order, dtype):
    """Whatever `odd_column`, `base` and the type of the numbers are, the odd object comes last and
    indices are int32 from 0; with a sort index `order`, raw index i is object argsort(order)[i].
    """
    raw = (np.insert(RAW[:, :2], odd_column, RAW[:, 2], axis=1) + base).astype(dtype)
    answers = Answers.from_array(raw, odd_column=odd_column, base=base, order=order)
    assert answers.objects.dtype == np.int32
    assert (np.array(order)[answers.objects] == RAW).all()


@pytest.mark.parametrize("order", ["C", "F"])  # a data frame gives F
def test_answers_do_not_change_under_their_owner(order):
    """Answers and weights are read-only copies in C order, and weights are float64."""
    raw = RAW.astype(np.int32, order)
    raw.flags.writeable = order == "C"
    weights = np.array([1, 2, 0])
    answers = Answers.from_array(raw, weights=weights)
    raw.flags.writeable = True
    raw[:] = weights[:] = 0
    expected = {"kind": "odd-one-out", "objects": RAW.tolist(), "weights": [1, 2, 0]}
    assert content(answers) == expected
    assert answers.objects.flags.c_contiguous
    assert answers.weights.dtype == np.float64
    assert not answers.objects.flags.writeable
    assert not answers.weights.flags.writeable


# the rows, the other arguments, and what the sentence names
CALLS_REFUSED = """\
[[0, 1]]                    | {}                                           | shape
[[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]] | {}                            | transposed
[[0.1, 1.5, 2.0, 0.7]]      | {}                                           | swapped
[[0, 1, 2], [0, 1]]         | {}                                           | lengths
[[0.0, 1.5, 2.0]]           | {}                                           | float64
[[0.0, NaN, 2.0]]           | {}                                           | float64
[[true, false, true]]       | {}                                           | bool
[[0, 1, 2], [3, -1, 2]]     | {}                                           | answer 1
[[0, 1, 2], [4, 2, 4]]      | {}                                           | answer 1 .* repeats
[[0, 1, 2, 1]]              | {"kind": "nearest-of-n"}                     | repeats
[[0, 1, 2147483648]]        | {}                                           | 2147483648
[[0, 1, 2, 3]]              | {}                                           | nearest-of-n
[["egg", "cup", "ball"]]    | {}                                           | import_answers
[["egg", "cup", null]]      | {}                                           | numpy.unique
[[0, 1, 2]]                 | {"kind": "pairs"}                            | kind
[[0, 1, 2]]                 | {"base": 1}                                  | base
[[0, 1, 2]]                 | {"odd_column": 3}                            | odd column
[[0, 1, 2]]                 | {"odd_column": 0, "kind": "anchor"}          | odd-one-out
[[0, 1, 2]]                 | {"order": [0, 1, 1]}                         | permutation
[[0, 1, 3]]                 | {"order": [0, 2, 1]}                         | order
[[0, 1, 2]]                 | {"weights": [1.0, 2.0]}                      | weights
[[0, 1, 2]]                 | {"weights": [-1.0]}                          | weights
[[0, 1, 2], [0, 1, 2]]      | {"weights": [0, 0]}                          | weights
[[0, 1, 2]]                 | {"weights": ["x"]}                           | weights
[[0, 1, 2]]                 | {"counts": [[1, 2]]}                         | --kind anchor
[[0, 1, 2]]                 | {"counts": [[1, 2, -1]]}                     | weights
[[0, 1, 2]]                 | {"counts": [[3, 0, 1]], "votes": [2.0]}      | votes
[[0, 1, 2]]                 | {"person": [1, 2]}                           | person
[[0, 1, 2]]                 | {"seconds": ["a"]}                           | seconds
[[0, 1, 2]]                 | {"catch_passed": [1, 0]}                     | catch_passed
[[0, 1, 2]]                 | {"catch_passed": [true], "catch_person": [1, 2]} | catch_person
[[0, 1, 2]]                 | {"catch_person": [1]}                        | 0 catch trials
"""


@world.table("rows, options, noun", CALLS_REFUSED)
def test_what_is_wrong_is_said(as_a_user, rows, options, noun):
    """Every wrong array, convention, weight or list is refused in a sentence that names it."""
    with pytest.raises(DataError, match=noun):
        Answers.from_array(json.loads(rows), **json.loads(options))


def test_only_arrays_are_taken_as_they_are(as_a_user):
    """`Answers` refuses lists and masked arrays, and names the function that converts them."""
    for objects in ([[0, 1, 2]], np.ma.masked_equal(RAW, 3)):
        with pytest.raises(DataError, match="from_array"):
            Answers(objects)
    with pytest.raises(DataError, match="weights is a list"):
        Answers(RAW, weights=[1, 1, 1])


@pytest.mark.parametrize("case", ["1 2 5 --base 1", "0 2 5 object_ids", "1 2 9 object_ids"])
def test_an_index_out_of_range_gets_the_likely_reason(case):
    """An index one past the end, in answers without a 0, suggests the line that converts the file;
    any other suggests a list of other objects.
    """
    row, hint = case[:5], case[6:]
    answers = Answers.from_array(world.matrix(row, int))
    answers.check_range(10)
    with pytest.raises(DataError, match=hint):
        answers.check_range(5)


# weights and votes


SIZES = """null | null | 3
null | [2, 1, 1] | 2.6666667
[2, 0.5, 0.5] | null | 3
[2, 1, 1] | [4, 1, 1] | 4"""


@world.table("sizes", SIZES)
def test_the_number_of_answers_has_no_unit(sizes):
    """It is the sum of the votes, else Kish's (Σ w)² / Σ w², and `all_weights` sum to it."""
    votes, weights, size = map(json.loads, sizes.split("|"))
    for unit in (1e-200, 1.0, 1e200):
        scaled = None if weights is None else np.multiply(weights, unit)
        answers = Answers.from_array(RAW, votes=votes, weights=scaled)
        assert answers.effective_size == pytest.approx(size)
        shares = weights or votes or [1, 1, 1]
        assert answers.all_weights == pytest.approx(np.divide(shares, sum(shares)) * size)


def test_a_fit_does_not_depend_on_the_unit_of_the_weights(as_a_user):
    """The chosen λ, the transform, agreement with its interval, and the table of persons stay."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4))
    details = {"weights": rng.uniform(0.5, 2, 400), "person": np.arange(400) % 4}
    answers = world.chosen(world.answers(400, 20, **details), X * [3, 1, 1, 0])
    results = []
    for unit in (1, 1e-200, 1e200):
        scaled = dataclasses.replace(answers, weights=answers.weights * unit)
        fit = glocal.fit(glocal.FitData(glocal.Features(X), scaled))
        score = odd_one_out(fit.transform(X), scaled)
        values = [fit.record.lmbda, score.low, score.high]
        results.append([*values, *describe(scaled).to_numpy().flat, *fit.transform.weights.flat])
        np.testing.assert_allclose(results[-1], results[0], rtol=1e-5, atol=1e-7)


def test_votes_are_answers_with_weights():
    """A row with votes becomes one answer for each alternative that has votes, with that
    alternative as the choice, and the votes stay with the answers.
    """
    answers = Answers.from_array([[4, 0, 1], [2, 3, 5]], kind="anchor", counts=[[3, 1], [0, 2]])
    assert answers.objects.tolist() == [[4, 0, 1], [4, 1, 0], [2, 5, 3]]
    assert answers.weights.tolist() == [3, 1, 2]
    soft = Answers.from_array([[0, 1, 2]], counts=[[0.5, 0.2, 0.3]], person=["ann"], weights=[2])
    expected = {"kind": "odd-one-out", "objects": [[0, 1, 2], [0, 2, 1], [1, 2, 0]]}
    expected |= {"weights": [1, 0.4, 0.6], "votes": [0.5, 0.2, 0.3], "person": ["ann"] * 3}
    rows = np.arange(3)
    for part in (soft, soft.select(rows), soft.relabel(rows), pooled_answers([soft])):
        assert content(part) == expected


# files

READ = r"""
lines of three integers            | "4 0 2\n1 3 0\n2 3 4\n"
commas and line ends of Windows    | "4,0,2\r\n1,3,0\r\n2,3,4"
a blank first line                 | "\n4 0 2\n1 3 0\n2 3 4\n"
a byte order mark and blank lines  | "\ufeff4; 0; 2\n\n1; 3;0\n2;3;4\n\n"
titles                             | "a,b,odd\n4,0,2\n1,3,0\n2,3,4\n"
titles in any order                | "odd;a;b\n2;4;0\n0;1;3\n4;2;3\n"
titles in quotation marks          | "\"a\",\"b\",\"odd\"\n4,0,2\n\n1,3,0\n2,3,4\n"
"""


@world.table("case, text", READ)
def test_text_is_read_with_and_without_titles(tmp_path, case, text):
    """Each line of three integers is an answer; a first line may name the columns, in any order."""
    path = tmp_path / "triplets.txt"
    path.write_bytes(json.loads(text).encode())
    assert content(Answers.load(path)) == {"kind": "odd-one-out", "objects": RAW.tolist()}


def test_rows_are_imported_by_their_conventions(tmp_path):
    """An import maps objects by an order from a file, and the answers name each of them."""
    # along one line, in floats as published ones are
    world.folder(tmp_path, order_txt="3.0 0.0 4.0 2.0 1.0", t_txt="5 1 3\n2 4 1")
    order = tmp_path / "order.txt"
    answers = import_answers(tmp_path / "t.txt", odd_column=0, base=1, order=order).answers
    assert answers.objects.tolist() == [[1, 3, 2], [0, 1, 4]]
    assert answers.named_objects().tolist() == [*range(5)]


TABLE = """farther,reference,closer,weight,person,seconds
hail,egg,cup,2,ann,1.5
hail,,cup,1,bob,2
"""


def test_a_table_of_names_is_read_as_it_is(tmp_path):
    """Names and other columns need no import, trials without an answer are counted, and a kind or
    an odd column is refused, since the titles state it.
    """
    path = world.folder(tmp_path, t_csv=TABLE) / "t.csv"
    with pytest.warns(DataWarning, match="left out 1"):
        answers = content(Answers.load(path))
    expected = {"kind": "anchor", "objects": [[1, 0, 2]], "names": ("cup", "egg", "hail")}
    assert answers == expected | {"weights": [2], "person": ["ann"], "seconds": [1.5]}
    for stated in ({"odd_column": 0}, {"kind": "nearest-of-n"}):
        with pytest.raises(ParameterError, match=next(iter(stated))):
            import_answers(path, **stated)


FIVE = st.lists(st.integers(0, 2**31 - 1), min_size=5, max_size=5, unique=True)


@settings(max_examples=10)
@given(st.sampled_from(sorted(KINDS)), st.lists(FIVE, min_size=1, max_size=20))
def test_answers_survive_their_file(tmp_path_factory, kind, rows):
    """Every field comes back from an archive, and the objects alone from ``.npy``, whose kind an
    import states.
    """
    path = tmp_path_factory.mktemp("answers") / "a.npz"
    t = len(rows)
    full = Answers.from_array(
        [row[: 5 if kind == "nearest-of-n" else 3] for row in rows],
        weights=1 / (np.arange(t) + 3),
        votes=np.arange(t) + 1,
        kind=kind,
        person=np.arange(t) % 7,
        seconds=np.linspace(0.5, 9, t),
        names=["a thing", "another\u2028one"],
        catch_passed=np.arange(4) > 1,
        catch_person=np.arange(4),
    )
    full.save(path)
    full.save(path.with_suffix(".npy"))
    assert content(Answers.load(path)) == content(full)
    bare = import_answers(path.with_suffix(".npy"), kind=kind).answers
    assert content(bare) == {"objects": full.objects.tolist(), "kind": kind}


def test_answers_are_saved_in_formats_that_are_read_again(tmp_path):
    """An ending other than .npz or .npy is refused, and nothing is written."""
    with pytest.raises(ParameterError, match="npz"):
        Answers.from_array(RAW).save(tmp_path / "a.csv")
    assert not [*tmp_path.iterdir()]


FILES_REFUSED = """
b.txt | import FILE --kind nearest-of-n | 0 1 2 3; 0 2 1 3
b.txt | numbers                         | 0 1 2; 0 1 two
b.txt | from 3 to 2 at row 2            | 0 1 2; ; 0 1
b.txt | float64                         | 0 1 2.5
b.csv | no answer is left               | a,b,odd; 0,1
b.csv | titles hail                     | hail,egg,cup; egg,hail,cup
b.csv | titles i                        | i,j,k; 0,1,2
b.npz | kind                            | {"answers": [[0, 1, 2]], "kind": 3}
b.npz | counts                          | {"answers": [[0, 1, 2]], "counts": [[1, 2]]}
"""


@world.table("name, noun, text", FILES_REFUSED)
def test_a_bad_file_is_named(tmp_path, name, noun, text):
    """The error of a bad table, text or archive names the file and what is wrong with it."""
    if name == "b.npz":
        np.savez(tmp_path / name, **json.loads(text))
    else:
        (tmp_path / name).write_text(text.replace("; ", "\n"), "utf-8")
    with pytest.raises((DataError, FileError), match=rf"{name}.*{noun}"):
        Answers.load(tmp_path / name)
