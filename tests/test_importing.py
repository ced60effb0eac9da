"""Answers of other systems: each format as its system writes it, with dropped rows counted, and as
a table.
"""

import json

import numpy as np
import pytest
from world import folder, run, table

from glocal import Answers, errors, import_answers
from glocal.errors import DataError

SALMON = """head left right winner loser puid response_time
0 1 2 2 1 ann 1.5
3 0 1 0 1 bob -1
1 3 1 1 3 bob 0.9"""
STATED = "q;o1;o2;o3;pick;who;t;w;attention\nx;a;b;c;c;7;1500;2;0\nx;a;b;c;a;8;900;1;yes"
COLUMNS = """{"reference": "q", "choices": "o1,o2,o3", "chosen": "pick", "person": "who",
"milliseconds": "t", "weight": "w"}"""
# a title with options, the file, and what is read from it; · is an empty cell
READ = """# salmon: the winner is nearer to the head, -1 is no time, catch trials keep their person
SALMON
=> kind: anchor
rows: 0 2 1, 3 0 1
person: 'ann', 'bob'
seconds: 1.5, nan
catch_person: 'bob'
catch_passed: True
dropped: 1 catch trial

# NIGHTS: a row is an answer for each side with votes, and rows without votes are counted
id left_vote right_vote ref_path left_path right_path split
0 6.0 0.0 ref/0.png d/0_0.png d/0_1.png train
1 2 6 ref/1.png d/1_0.png d/1_1.png test
2 0 0 ref/2.png d/2_0.png d/2_1.png train
=> kind: anchor
rows: ref/0.png d/0_0.png d/0_1.png, ref/1.png d/1_0.png d/1_1.png, ref/1.png d/1_1.png d/1_0.png
weights: 6.0, 2.0, 6.0
dropped: 1 no vote

# where selects rows | {"where": {"split": "test"}}
id left_vote right_vote ref_path left_path right_path split
0 6.0 0.0 ref/0.png d/0_0.png d/0_1.png train
1 2 6 ref/1.png d/1_0.png d/1_1.png test
2 0 0 ref/2.png d/2_0.png d/2_1.png train
=> kind: anchor
rows: ref/1.png d/1_0.png d/1_1.png, ref/1.png d/1_1.png d/1_0.png
weights: 2.0, 6.0
dropped: 2 filtered out by where

# jsPsych: a list for each person; other trials and timeouts are counted
[[{"trial_type": "instructions", "rt": 9000},
{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": 2, "rt": 1200},
{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": null, "rt": null},
{"task": "triplet", "stimuli": ["cup", "cup", "egg"], "response": null, "rt": null},
{"task": "triplet", "stimuli": ["cup", "cup", "egg"], "response": 2, "rt": 700}],
[{"task": "triplet", "stimuli": ["egg", "cup", "ball"], "response": 0, "rt": 800},
{"task": "triplet", "stimuli": ["cup", "egg", "cup"], "response": 0, "rt": 90}]]
=> kind: odd-one-out
rows: egg cup ball, cup ball egg
person: 0, 1
seconds: 1.2, 0.8
catch_person: 0, 1
catch_passed: True, False
dropped: 1 an object is missing, 2 catch trial, 2 no answer

# JSON on lines, stated keys, choices beside a reference, and HTML for pictures | {"columns": {"reference": "shown", "choices": "options"}}
[{"subject_id": "ann", "shown": "<img src='img/egg.png' width='9'>", "response": "dog", "options": ["<img src=img/cup.png>", "ball", "dog"]}]
[{"subject_id": "bob", "shown": "img/egg.png", "response": "<img src='img/cup.png'>", "options": ["dog", "img/cup.png", "ball"]}]
=> kind: nearest-of-n
rows: img/egg.png dog img/cup.png ball, img/egg.png img/cup.png dog ball
person: 'ann', 'bob'

# of a list of picks the first is read
[{"ref": "q", "choices": ["a", "b", "c"], "chosen": ["b", "a"]}]
=> kind: nearest-of-n
rows: q b a c

# a pick is an object
image1 image2 image3 odd
0 1 2 1
3 1 0 0
=> kind: odd-one-out
rows: 0 2 1, 3 1 0

# a pick is a place beside objects that are numbers
a b c chosen
7 8 9 1
7 8 9 3
=> kind: odd-one-out
rows: 8 9 7, 7 8 9

# a pick is the name of its column
a b c odd
7 8 9 c
7 8 9 a
=> kind: odd-one-out
rows: 7 8 9, 8 9 7

# a pick is a side
ref left right answer
0 1 2 left
3 1 0 Right
=> kind: anchor
rows: 0 1 2, 3 0 1

# a pick is an object beside a reference
target a b near
0 1 2 2
3 1 0 1
=> kind: anchor
rows: 0 2 1, 3 1 0

# a trial without its last candidate is dropped, whatever was picked | {"columns": {"choices": "choices1,choices2,choices3"}}
ref choices1 choices2 choices3 chosen
q x y z x
q x y z x
q x y z x
q x y · x
q x y · elsewhere
=> kind: nearest-of-n
rows: q x y z, q x y z, q x y z
dropped: 2 an object is missing

# an empty pick is no answer, and 104.0 is 104
a b c chosen
104 163 23 104.0
3 4 5 ·
23 4 5 5.0
=> kind: odd-one-out
rows: 163 23 104, 23 4 5
dropped: 1 no answer

# beside 1.5, 1.0 is a name
a b c chosen
1.0 1.5 2.0 1.5
1.0 2.0 1.5 1.5
=> kind: odd-one-out
rows: 1.0 2.0 1.5, 1.0 2.0 1.5

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

# stated columns, milliseconds, weights, and persons that are integers | {"columns": COLUMNS, "where": {"attention": "0"}}
STATED
=> kind: nearest-of-n
rows: x c a b
person: 7
seconds: 1.5
weights: 2.0
dropped: 1 filtered out by where

# a role has several columns, and equal alternatives are no catch trial | {"columns": {"farther": "f,g"}}
ref near f g
q a b c
q a a b
q q a b
q a b ·
q b a c
· · · ·
=> kind: nearest-of-n
rows: q a b c, q b a c
catch_passed: True
dropped: 1 catch trial, 1 equal alternatives, 2 an object is missing

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
    text = READ.replace("SALMON", SALMON).replace("STATED", STATED)
    for case in text.split("\n\n"):
        head, given = case.split("\n", 1)
        title, _, options = head.partition(" | ")
        file, expected = given.split("\n=> ")
        options = json.loads(options.replace("COLUMNS", COLUMNS) or "{}")
        yield pytest.param(file, options, expected, id=title)


def saved(where, text):
    """A file of this text: JSON as it is, a table with commas for spaces."""
    is_json = text[0] == "["
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


def test_the_columns_of_roles_are_recorded_and_objects_may_be_a_file(tmp_path):
    """The interpretation has the columns of each role, and a file lists the objects."""
    path = saved(folder(tmp_path, ids_txt="c\nb\na\nx\n"), STATED)
    columns = json.loads(COLUMNS)
    imported = import_answers(path, columns=columns, names=tmp_path / "ids.txt")
    assert imported.interpretation["columns"] == columns | {"choices": "o1, o2, o3"}
    assert imported.answers.objects.tolist() == [[3, 0, 2, 1], [3, 2, 1, 0]]


PICKS = """102 | 0 | a c b, e f d, g h i
123 | 1 | b c a, d f e, g h i
121 | 1 | b c a, d f e, h i g
121 | 0 | a c b, d e f, g i h"""


@table("picks, place_base, rows", PICKS)
def test_places_are_counted_from_0_or_from_1(tmp_path, picks, place_base, rows):
    """A pick of place 0, or of the last place counted from 1, tells the base; otherwise
    it is stated.
    """
    text = "a b c chosen\na b c {}\nd e f {}\ng h i {}".format(*picks)
    stated = int(place_base) if picks == "121" else None
    imported = import_answers(saved(tmp_path, text), place_base=stated)
    assert content(imported) == f"kind: odd-one-out\nrows: {rows}"
    assert imported.interpretation["picked"] == f"place counted from {place_base}"


# what is refused


REFUSED = """\
salmon | {"order": "sortindex.txt"}            | ParameterError | order
salmon | {"place_base": 2}                     | ParameterError | place_base
salmon | {"columns": {"person": "who"}}        | DataError      | who
salmon | {"columns": {"rating": "head"}}       | DataError      | role
salmon | {"where": {"puid": "nobody"}}         | DataError      | nobody
salmon | {"columns": {"seconds": "puid"}}      | DataError      | numbers
salmon | {"names": ["egg"]}                    | DataError      | object ids
a b odd; cup egg ball | {"names": ["x"]}       | DataError      | list of object ids
a b odd; x y z | {"columns": {"chosen": "odd2"}} | DataError    | no column 'odd2'
a b odd seconds; 0 1 2 "4,389" | {}            | DataError      | decimal comma
a b c chosen; x y z q           | {}           | DataError      | picked among
anchor x y; 0 1 2               | {}           | DataError      | anchor as reference
one two rating; x y 3; x z 4    | {}           | DataError      | recipe
trial image odd; 1 x 0; 1 y 1   | {}           | DataError      | groupby
[{"stimuli": ["a"], "response": "a"}] | {}     | DataError      | three or more
"""


@table("text, options, error, noun", REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, text, options, error, noun):
    """Unknown options, roles, columns and names, and places of unknown base, are refused."""
    path = saved(tmp_path, SALMON if text == "salmon" else text.replace("; ", "\n"))
    with pytest.raises(getattr(errors, error), match=noun):
        import_answers(path, **json.loads(options))


def test_the_command_says_what_it_did(tmp_path):
    """The command counts what it left out; its file has kind, persons, catch trials, provenance,
    and needs no import.
    """
    out = tmp_path / "answers.npz"
    result = run("data import --json --out", out, saved(tmp_path, SALMON)).json
    expected = {"n": 2, "kind": "anchor", "people": 2, "catch": {"n": 1, "passed": 1}}
    assert result.items() >= expected.items()
    loaded = Answers.load(out)
    assert (loaded.kind, *loaded.catch_person) == ("anchor", "bob")
    assert json.loads(str(np.load(out)["provenance"]))["dropped"] == {"catch trial": 1}
    with pytest.raises(DataError, match="every command"):
        import_answers(out)


ASKED = """\
 | i j k; 0 1 2 | 1 | --column ROLE=COLUMN
--column reference | i j k; 0 1 2 | 2 | NAME=VALUE
--column odd=k --column a=i --column b=j | i j k; 0 1 2 | 0 | interpretation.columns.odd: k
 | a b c chosen; x y z 1; x z y 2 | 1 | --place-base 1
--place-base 1 | a b c chosen; x y z 1; x z y 2 | 0 | interpretation.picked: place counted from 1
"""


@table("options, text, code, words", ASKED)
def test_the_command_asks_for_what_a_table_does_not_say(tmp_path, options, text, code, words):
    """Columns without a known role and places from 0 or 1 are asked for by their options."""
    path = saved(tmp_path, text.replace("; ", "\n"))
    ended = run(f"data import {options}", path, "--out", tmp_path / "a.npz")
    assert ended.code == int(code)
    assert words in ended.out + ended.err


@pytest.mark.data
def test_real_files(data_dir):
    """Eggs of 416 people, and the catch trials of the videos are read."""
    eggs = import_answers(data_dir / "anchors/alien_eggs/answers.csv").answers
    counts = (len(eggs), eggs.kind, eggs.n_people, len(eggs.named_objects()))
    assert counts == (20_086, "anchor", 416, 30)
    videos = import_answers(data_dir / "videos/answers.csv").answers
    assert len(videos) == 23_773
    assert len(videos.catch_passed) == 1_185
    assert videos.catch_passed.all()
