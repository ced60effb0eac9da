"""Bad input on the command line ends with exit code 1 or 2 and one clear sentence, and nothing is
written.
"""

import os
import re
from importlib.util import find_spec

import numpy as np
import processes
import pytest
import systems
import world
from world import contents, run

X = world.X
T = world.answers(300, 30).objects
FIT = "fit --features x.npy --answers t.npy --out o.npz"
SIDES = "--train x.npy --train-labels halves.txt --test x.npy --test-labels halves.txt"
COMMANDS = """
1 | FIT --features cut.npy | damaged
1 | FIT --answers cut.npy | damaged
1 | FIT --answers . | folder
1 | FIT --features missing.npy | does not exist
1 | FIT --features ones.npy | constant
1 | FIT --features flat.npy | (n, p)
1 | FIT --features words.npy | real
1 | FIT --features complex.npy | real
1 | FIT --features two.npy | 2 rows
1 | FIT --features pickled.npy | pickled
1 | FIT --features gap.npy | row 3, column 2
1 | FIT --answers based.npy | glocal data import FILE --base 1 --out answers.npz
2 | FIT --base 1 | --base
2 | FIT --kind anchor | --kind
1 | FIT --answers far.npy | 0..29
1 | FIT --answers halves.npy | integers
1 | FIT --answers nan.npy | such as [nan
1 | FIT --answers negative.npy | at least 0
1 | FIT --answers repeated.npy | differ
1 | FIT --answers none.npy | no answer
2 | FIT --lmbda 0 | lmbda
2 | FIT --lmbda nan | lmbda
2 | FIT --alpha 1 --local-features x.npy | alpha
2 | FIT --alpha much | alpha
2 | FIT --method global --alpha 0.5 | alpha
2 | FIT --keep 0.9 --method global | keep
2 | FIT --method naive | lmbda
2 | FIT --tau 0 --local-features x.npy | tau
2 | FIT --method glocal | --local-features
2 | FIT --method best | glocal
1 | FIT --method naive --lmbda 1e6 | W = 0
1 | FIT --local-features seven.npy | 7
1 | FIT --object-ids ids.txt | names
2 | FIT --holdout 1 | folds
1 | FIT --out no/where.npz | does not exist
1 | FIT --out x.npy/o.npz | does not exist
1 | FIT --out . | folder
2 | FIT --out o.txt | .safetensors
1 | FIT --out nowhere.npz | does not exist
1 | FIT --out /proc/self/o.npz | cannot write
1 | apply missing.npz x.npy --out o.npy | missing.npz
1 | apply w.npz x.npy --out /dev/full | space
2 | evaluate odd-one-out --features x.npy --answers t.npy --out s.xls | .jsonl
2 | evaluate odd-one-out --features x.npy --answers t.npy --out scores | .txt or .csv.
1 | evaluate odd-one-out --features x.npy --answers t.npy --out /dev/full | device
2 | report . --out page.pdf | .html
1 | try seven.npy --labels halves.txt --transform w.npz | 8 dimensions
2 | try x.npy --labels halves.txt --out s.xls | .jsonl
1 | FIT --answers noans.npz | savez(path, answers=
2 | FIT --out no/where.npz --alpha x | alpha
2 | FIT --alpha 2 | --alpha
2 | fit --nope | --nope
2 | fit | --features
2 | swep | 'sweep'
2 | transforms list | transforms pull
1 | data check --features local_features | features local_features does not exist
1 | evaluate odd-one-out --features x.npy --answers t.npy --baseline none.npz | none.npz
2 | evaluate odd-one-out --features x.npy --answers t.npy --baseline orig | orig
2 | evaluate everything | everything
2 | evaluate anomaly --train x.npy --test y.npy | --train-labels
2 | evaluate anomaly SIDES --mode one-vs-rest --superclasses super.csv | --superclasses
2 | evaluate anomaly SIDES --mode shift | --superclasses
2 | evaluate anomaly SIDES --baseline original --means x.npy | --means
2 | evaluate few-shot --train x.npy --train-labels halves.txt --test y.npy | --test-labels
2 | evaluate few-shot SIDES | one file
2 | evaluate few-shot --train x.npy --train-labels halves.txt --shots 0 | --shots 0
2 | evaluate retrieval --labels x | --gallery-labels
2 | evaluate retrieval --queries x.npy --query-labels l --gallery x.npy --gallery-labels m | file
1 | suite shots.toml --out out | test and test_labels
1 | suite kind.toml --out out | 'kind'
2 | report w.npz --answers t.npy --out r.html | --features
2 | anomaly x.npy y.npy --transform centred --out s.csv | --means
2 | anomaly x.npy y.npy --means x.npy --out s.csv | --means
2 | align --images images --answers t.npy --out o | model
2 | align timm:resnet18 --images images --out o | --answers
"""


SHOTS = """answers = "t.npy"
[networks.n]
features = "x.npy"
[arms.original]
[tasks.shots]
kind = "few-shot"
train = "x.npy"
train_labels = "halves.txt"
test = "seven.npy"
"""


@pytest.fixture
def folder(here):
    world.folder(here)
    names = [f"object{i}" for i in range(30)]
    world.folder(here, ids_txt=names, halves_txt="a\nb\n" * 15, seven_npy=X[:, :7], cut_npy=X)
    world.folder(
        here,
        super_csv="class,superclass\na,s\nb,t\n",
        shots_toml=SHOTS,
        kind_toml=SHOTS.replace("kind", "# kind"),
    )
    np.savez(here / "noans.npz", x=X)
    world.folder(
        here,
        flat_npy=X[0], words_npy=X.astype(str), two_npy=X[:2], ones_npy=np.ones((30, 8)),
        gap_npy=np.where(np.arange(240).reshape(30, 8) == 26, np.nan, X),
        complex_npy=X.astype("c8"), pickled_npy=np.array([None]),
        based_npy=T + 1, far_npy=T + 9, negative_npy=T - 1, none_npy=T[:0],
        halves_npy=(T + 0.5).astype("f2"), repeated_npy=T[:, [0, 1, 0]],
        nan_npy=np.full((9, 3), np.nan),
    )  # fmt: skip
    os.truncate(here / "cut.npy", 300)
    (here / "nowhere.npz").symlink_to("no/where/o.npz")
    return here


@world.table("code, line, noun", COMMANDS)
def test_a_bad_command_is_refused_in_one_sentence(code, line, noun, folder, monkeypatch):
    """Content that cannot be used and outputs that cannot be written exit with 1, and options that
    are unknown, missing or out of range with 2, in one sentence before anything is asked for.
    """
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    command = line.replace("FIT", FIT).replace("SIDES", SIDES)
    if os.name == "nt" and re.search("/dev/|/proc/", command):
        pytest.skip("Windows has no files under /dev and /proc")
    before = contents(folder)
    ended = run(command)
    assert str(ended.code) == code
    assert ended.out == ""
    assert noun in ended.err
    assert re.fullmatch("error: .*\n", ended.err)
    assert contents(folder) == before
    assert not os.path.isfile("/dev/full"), "a device must not be replaced by a file"


def test_a_text_that_names_no_file_may_be_that_of_the_output(folder):
    """An interrupted extraction of the layer `features` into the folder `features` goes on."""
    world.folder(folder / "features", x_npy=X)
    ended = run("extract none --model timm:none --layer features --out features")
    assert "would replace" not in ended.err


OVERWRITING = """
fit --features x.npz --answers t.npy --out x.npz
fit --features x.npy --answers a.npz --out a.npz
fit --features x.npy --answers a.npz --out set/../a.npz
fit --features x.npy --answers a.npz --out soft.npz
fit --features x.npy --answers a.npz --out hard.npz
fit --features x.npy --answers t.npy --local-features x.npz --out x.npz
sweep --features set --answers t.npy --out set
apply w.npz x.npy --out x.npy
apply w.npz set --out set/features.npy
apply w.npz x.npy --recentre seven.npy --out seven.npy
apply w.npz x.npy --out y.npy --save-transform w.npz
evaluate odd-one-out --features x.npy --answers t.npy --object-ids b.txt --out b.txt
evaluate odd-one-out --features x.npy --answers t.npy --out file_names.txt
evaluate odd-one-out --features x.npy --answers t.npy --transform w.npz --baseline b.txt --out b.txt
evaluate rsa --features x.npy --rdm y.txt --out y.txt
evaluate few-shot --train x.npy --train-labels y.txt --test x.npy --test-labels y.txt --out y.txt
evaluate anomaly --train x.npy --train-labels y.txt --test x.npy --test-labels y.txt --out y.txt
evaluate structure --features b.txt --out b.txt
try x.npy --labels y.txt --out y.txt
evaluate retrieval --queries x.npy --query-labels y.txt --out y.txt
suite suite.toml --out set
report run --out page.html --figures run
report w.npz --features set --out page.html --tables set
extract images --model timm:resnet18 --out images
align timm:resnet18 --images images --answers t.npy --out images
align timm:resnet18 --images b.txt --local-images images --answers t.npy --out images
demo --out set
demo --out .
data split --features x.npy --answers set --out set
data split --features x.npy --answers set/train.npz --out set
data import a.npz --out a.npz
data import b.txt --order a.npz --out a.npz
transforms pull w.npz --out w.npz
transforms push pushed/transform.npz pushed
transforms push pushed pushed
collect run images --out images
collect run images --out .
collect run set --out .
collect report set --out page.html --figures set
"""


SUITE = """answers = "t.npy"
[networks.n]
features = "set"
[arms.original]
[tasks.a]
kind = "odd-one-out"
"""


@pytest.fixture
def inputs(folder):
    """Everything that a command may read, with two more names for one file of answers."""
    texts = dict.fromkeys(("y_txt", "b_txt", "file_names_txt"), range(30))
    world.folder(folder, suite_toml=SUITE, **texts)
    np.savez(folder / "x.npz", features=X)
    (folder / "soft.npz").symlink_to("a.npz")
    (folder / "hard.npz").hardlink_to(folder / "a.npz")
    world.folder(folder / "set", features_npy=X, train_npz=(folder / "a.npz").read_bytes())
    world.folder(folder / "pushed", transform_npz=(folder / "w.npz").read_bytes())
    for name in ("run", "images"):
        (folder / name).mkdir()
    return folder


@world.table("command", OVERWRITING)
def test_no_command_writes_over_what_it_reads(command, inputs):
    """An output that is an input, by whatever name, is exit code 2 before any work, and all files
    stay.
    """
    if command.startswith("collect") and find_spec("glocal_collect") is None:
        pytest.skip("no glocal-collect")
    before = contents(inputs)
    ended = run(command)
    assert ended.code == 2
    assert re.fullmatch(".*would replace.*\n", ended.err)
    assert contents(inputs) == before


def test_an_output_beside_its_inputs_is_replaced(inputs):
    """An output in the folder of the features, and a file that is no input, are written anew."""
    out = inputs / "set" / "aligned.npy"
    out.write_bytes(b"previous")
    assert run("apply w.npz set --out", out).code == 0
    np.testing.assert_allclose(np.load(out), X)


@systems.needs_posix
def test_standard_output_on_a_full_disk(folder):
    """A table that cannot be written to standard output ends in one sentence."""
    command = [*processes.COMMAND_LINE, "--version"]
    with open("/dev/full", "w") as full:
        ended = processes.run(command, stdout=full, stderr=processes.PIPE, text=True)
    assert ended.returncode == 1
    assert re.fullmatch("error: cannot write standard output.*\n", ended.stderr)


@systems.needs_posix
def test_a_disk_that_fills_up_while_writing(folder):
    """If the disk fills up in the middle of an output, the previous file stays whole and no partial
    file remains.
    """
    world.folder(folder, many_npy=np.ones((4000, 8), dtype="f4"), o_npy=b"previous")
    before = contents(folder)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    *python, code = processes.COMMAND_LINE
    command = [*python, limit + code, *"apply w.npz many.npy --out o.npy".split()]
    ended = processes.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "\nerror: cannot write o.npy" in "\n" + ended.stderr
    assert contents(folder) == before
