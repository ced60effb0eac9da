"""Answers of other systems: each format as its system writes it, with dropped rows counted, and as
a table.
"""

import json

import numpy as np
import pytest
from world import folder, matrix, run, table

from glocal import Answers, errors, import_answers
from glocal.errors import DataError, DataWarning

SIDES = """reference left right chosen person seconds
0 1 2 2 ann 1.5
3 0 1 0 bob -1
1 3 1 1 bob 0.9"""
# rows of integers without titles; the file, and what is read
ROWS = """\
0 1 2; 3 4 5     | 0 1 2; 3 4 5
0,1,2; 3,4,5     | 0 1 2; 3 4 5
0, 1, 2; 3, 4, 5 | 0 1 2; 3 4 5
3.0 1.0 2.0      | 3 1 2
"""
# a title with options, the file, and what is read from it; · is an empty cell
READ = """# a choice beside a reference: -1 is no time, catch trials keep their person
SIDES
=> kind: anchor
rows: 0 2 1, 3 0 1
person: 'ann', 'bob'
seconds: 1.5, nan
catch_person: 'bob'
catch_passed: True
dropped: 1 catch trial

# the odd one is one of three
a b c odd
0 1 2 1
3 1 0 3
=> kind: odd-one-out
rows: 0 2 1, 1 0 3

# the odd one is the last, and titles come in any order
odd other b a
2 x 1 0
0 y 1 3
=> kind: odd-one-out
rows: 0 1 2, 3 1 0

# the closer one comes first
farther reference closer
2 0 1
0 3 1
=> kind: anchor
rows: 0 1 2, 3 1 0

# JSON is a list of records, other keys are ignored, and null is an empty cell
[{"trial_type": "instructions", "rt": 9000},
{"a": "egg", "b": "cup", "c": "ball", "odd": "ball", "person": "ann", "seconds": 1.25, "x": [1]},
{"a": "egg", "b": "cup", "c": "ball", "odd": null, "person": "ann", "seconds": null, "x": {}},
{"a": "cup", "b": "cup", "c": "egg", "odd": "cup", "person": "bob", "seconds": 0.5},
{"a": "cup", "b": "cup", "c": "egg", "odd": "egg", "person": "bob", "seconds": 0.5}]
=> kind: odd-one-out
rows: egg cup ball
person: 'ann'
seconds: 1.25
catch_person: 'bob', 'bob'
catch_passed: False, True
dropped: 1 an object is missing, 1 no answer, 2 catch trial

# JSON has integers too
[{"reference": 0, "left": 1, "right": 2, "chosen": 2, "weight": 0.5}]
=> kind: anchor
rows: 0 2 1
weights: 0.5

# a row without its last candidate is dropped, whatever was chosen
a b c odd
x y z x
x y · x
x y · elsewhere
· · · ·
=> kind: odd-one-out
rows: y z x
dropped: 3 an object is missing

# an empty choice is no answer, and 104.0 is 104
a b c odd
104 163 23 104.0
3 4 5 ·
23 4 5 5.0
=> kind: odd-one-out
rows: 163 23 104, 23 4 5
dropped: 1 no answer

# beside 1.5, 1.0 is a name
a b c odd
1.0 1.5 2.0 1.5
1.0 2.0 1.5 1.5
=> kind: odd-one-out
rows: 1.0 2.0 1.5, 1.0 2.0 1.5

# 007 and 1_0 are names
a b odd
007 1_0 7
=> kind: odd-one-out
rows: 007 1_0 7

# an empty time is unknown
a b odd seconds
0 1 2 1.5
0 1 2 ·
=> kind: odd-one-out
rows: 0 1 2, 0 1 2
seconds: 1.5, nan

# beside an unknown person, persons are texts
a b odd person
0 1 2 7
0 1 2 ·
=> kind: odd-one-out
rows: 0 1 2, 0 1 2
person: '7', ''

# stated columns, weights, and persons that are integers | {"columns": {"reference": "q", "closer": "near", "farther": "far", "weight": "w", "person": "who"}}
q near far w who
x a b 2 7
x b a 0 9
=> kind: anchor
rows: x a b, x b a
person: 7, 9
weights: 2.0, 0.0

# a stated column takes the place of one with that title | {"columns": {"odd": "b", "b": "odd"}}
a b odd
0 1 2
=> kind: odd-one-out
rows: 0 2 1

# equal alternatives are no catch trial
reference closer farther
q a b
q a a
q q b
q b q
q q q
=> kind: anchor
rows: q a b
catch_passed: True, False
dropped: 2 catch trial, 2 equal alternatives

# names are those of a list, and unlisted ones are counted | {"names": ["images/ball.jpg", "images/cup.jpg", "images/egg.jpg"]}
a b odd
cup egg ball
cup egg dog
=> kind: odd-one-out
rows: images/cup.jpg images/egg.jpg images/ball.jpg
dropped: 1 an object that is not in the list of object ids

# numbers that a list has are names | {"names": ["9", "8", "7"]}
a b odd
7 8 9
=> kind: odd-one-out
rows: 7 8 9

# numbers may start at 1 | {"base": 1}
a b odd
7 8 9
=> kind: odd-one-out
rows: 6 7 8

# with a stated base, numbers are indices of a list | {"names": ["a", "b", "c", "d", "e", "f", "g", "8", "9"], "base": 1}
a b odd
7 8 9
=> kind: odd-one-out
rows: g 8 9

# NA is an empty cell
a b odd
NA DE BR
DE BR FR
=> kind: odd-one-out
rows: DE BR FR
dropped: 1 an object is missing

# NA is Namibia in a list | {"names": ["flags/NA.png", "DE", "BR", "FR"]}
a b odd
NA DE BR
DE BR FR
=> kind: odd-one-out
rows: flags/NA.png DE BR, DE BR FR"""  # noqa: E501


def cases():
    """The cases of `READ`."""
    for case in READ.replace("SIDES", SIDES).split("\n\n"):
        head, given = case.split("\n", 1)
        title, _, options = head.partition(" | ")
        file, expected = given.split("\n=> ")
        yield pytest.param(file, json.loads(options or "{}"), expected, id=title)


def saved(where, text):
    """A file of this text: JSON as it is, a table with commas for spaces."""
    is_json = text[0] in "[{"
    path = where / ("t.json" if is_json else "t.csv")
    path.write_text(text if is_json else text.replace(" ", ",").replace("·", ""), "utf-8")
    return path


def content(imported):
    """What was read, a line for each field that is not empty."""
    answers, dropped, _ = imported
    names = answers.names or [*map(str, range(999))]
    rows = (" ".join(names[i] for i in row) for row in answers.objects)
    lines = {"kind": answers.kind, "rows": ", ".join(rows)}
    for field in "person seconds weights catch_person catch_passed".split():
        if (array := getattr(answers, field)) is not None:
            lines[field] = ", ".join(map(repr, array.tolist()))
    reasons = (f"{n} {reason.partition(' (')[0]}" for reason, n in dropped.items())
    lines["dropped"] = ", ".join(sorted(reasons))
    return "\n".join(f"{field}: {line}" for field, line in lines.items() if line)


# tables


@pytest.mark.parametrize("text, options, expected", [*cases()])
def test_a_table_is_read(tmp_path, text, options, expected):
    """Each table gives the answers that its system means, and counts what it leaves out."""
    assert content(import_answers(saved(tmp_path, text), **options)) == expected


def test_the_objects_may_be_listed_in_a_file(tmp_path):
    """Objects are numbered by a file that lists them, and the record has the stated columns."""
    path = saved(folder(tmp_path, ids_txt="c\nb\na\nx\n"), "a b last\nx a b\nx a c")
    imported = import_answers(path, columns={"odd": "last"}, names=tmp_path / "ids.txt")
    assert imported.answers.objects.tolist() == [[3, 2, 1], [3, 2, 0]]
    assert imported.interpretation["columns"] == {"odd": "last"}


@pytest.mark.parametrize("separator", ["\t", ";", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_and_byte_order_marks(tmp_path, separator, encoding):
    """Tabs, semicolons and commas separate cells, also where another of them is in a name, and a
    byte order mark is no part of a title.
    """
    other = ";" if separator == "," else ","
    lines = [["a", "b", "odd"], [f"Köln{other} Dom", '"egg"', " 日本 "], ["x", "", "z"]]
    text = "\r\n".join(separator.join(line) for line in lines)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    with pytest.warns(DataWarning, match="1 × an object is missing"):
        answers = Answers.load(tmp_path / "t.csv")
    assert [answers.names[i] for i in answers.objects[0]] == [f"Köln{other} Dom", "egg", "日本"]


@table("text, objects", ROWS)
def test_rows_of_integers_are_read_as_they_are(tmp_path, text, objects):
    """Rows without titles hold objects, also if the first counts 0, 1, 2, with any one separator;
    whole numbers with decimals count as integers.
    """
    folder(tmp_path, t_txt=text.replace("; ", "\n"))
    expected = matrix(objects, int)
    assert (Answers.load(tmp_path / "t.txt").objects == expected).all()


def test_rows_of_things_are_read_by_their_conventions(tmp_path):
    """Order, base and odd column of rows of integers are applied as they are stated."""
    path = folder(tmp_path, t_txt="1 2 3\n4 2 1\n", order_txt="3 1 2 0\n") / "t.txt"
    ids = ["w", "x", "y", "z"]
    stated = import_answers(path, base=1, odd_column=0, order=tmp_path / "order.txt", names=ids)
    # the raw indices 0 to 3 stand for the objects argsort(order) = 3, 1, 2, 0
    assert content(stated).split("\n")[1] == "rows: x y z, x z w"
    assert stated.interpretation["order"] == "order.txt"


# what is refused


REFUSED = """\
sides | {"order": "sortindex.txt"}             | ParameterError | order
sides | {"kind": "anchor"}                     | ParameterError | kind
sides | {"columns": {"person": "who"}}         | DataError      | no column 'who'
sides | {"columns": {"rating": "head"}}        | DataError      | role
sides | {"columns": {"seconds": "person"}}     | DataError      | numbers
sides | {"names": ["egg"]}                     | DataError      | object ids
a b odd; cup egg ball | {"names": ["x"]}       | DataError      | list of object ids
a b odd; x y z | {"base": 1}                   | DataError      | leave out `base=1`
a b odd seconds; 0 1 2 "4,389"  | {}           | DataError      | decimal comma
a b c odd; x y z y; x y z q     | {}           | DataError      | row 1 is none of
a b c odd; 7 8 9 1              | {}           | DataError      | none of the objects
reference left right chosen; x y z x   | {}    | DataError      | none of the objects
reference left right chosen; x y z left | {}   | DataError      | none of the objects
A B ODD; x y z                  | {}           | DataError      | titles A, B, ODD;.* a, b, odd; or
a b odd reference closer farther; 0 1 2 0 1 2 | {} | DataError  | answers have
c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13; 1 2 3 4 5 6 7 8 9 10 11 12 13 | {} | DataError | c12, …;
one two rating; x y 3; x z 4    | {}           | DataError      | docs/data.md
image left_vote right_vote; 1 x 0      | {}    | DataError      | --column ROLE=COLUMN
kind; owl; fox                         | {}    | DataError      | titles kind;
a b odd                                | {}    | FileError      | no row
a b odd; 1 2 3 4                       | {}    | FileError      | damaged
a b odd; x "y z; 1 2 3                 | {}    | FileError      | line 2 has a quotation mark
[[{"a": "x"}]]                         | {}    | FileError      | list of records
{"a": {"0": "x"}}                      | {}    | FileError      | list of records
[]                                     | {}    | FileError      | no row
"""


@table("text, options, error, noun", REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, text, options, error, noun):
    """What no shape of table has is refused in a sentence: other titles, roles and names, a choice
    that is no object but a place or a column, damaged files.
    """
    path = saved(tmp_path, SIDES if text == "sides" else text.replace("; ", "\n"))
    with pytest.raises(getattr(errors, error), match=noun):
        import_answers(path, **json.loads(options))


def test_the_command_says_what_it_did(tmp_path):
    """The command counts what it left out; its file has kind, persons, catch trials, provenance,
    and needs no import.
    """
    out = tmp_path / "answers.npz"
    result = run("data import --json --out", out, saved(tmp_path, SIDES)).json
    expected = {"n": 2, "kind": "anchor", "people": 2, "catch": {"n": 1, "passed": 1}}
    assert result.items() >= expected.items()
    loaded = Answers.load(out)
    assert (loaded.kind, *loaded.catch_person) == ("anchor", "bob")
    assert json.loads(str(np.load(out)["provenance"]))["dropped"] == {"catch trial": 1}
    with pytest.raises(DataError, match="every command"):
        import_answers(out)


ASKED = """\
 | i j k; 0 1 2 | 1 | --column ROLE=COLUMN
--column reference | i j k; 0 1 2 | 2 | give ROLE=COLUMN
--column odd=k --column a=i --column b=j | i j k; 0 1 2 | 0 | interpretation.columns.odd: k
"""


@table("options, text, code, words", ASKED)
def test_the_command_asks_for_the_columns(tmp_path, options, text, code, words):
    """The columns of a table with other titles are asked for, and stated by --column."""
    path = saved(tmp_path, text.replace("; ", "\n"))
    ended = run(f"data import {options}", path, "--out", tmp_path / "a.npz")
    assert ended.code == int(code)
    assert words in ended.out + ended.err


@pytest.mark.data
def test_real_files(data_dir):
    """Eggs of 416 people, and the catch trials of the videos are read."""
    columns = {"reference": "anchor", "seconds": "response_seconds"}
    eggs = import_answers(data_dir / "anchors/alien_eggs/answers.csv", columns=columns).answers
    counts = (len(eggs), eggs.kind, eggs.n_people, len(eggs.named_objects()))
    assert counts == (20_086, "anchor", 416, 30)
    videos = import_answers(data_dir / "videos/answers.csv").answers
    assert len(videos) == 23_773
    assert len(videos.catch_passed) == 1_185
    assert videos.catch_passed.all()
