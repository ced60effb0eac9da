"""Two networks are compared on the objects that both have, and on the same answers or labels."""

import itertools

import numpy as np
import pytest
import world
from scipy.spatial.distance import cdist
from world import run

from glocal import Answers, Features, LinearTransform, odd_one_out, rsa
from glocal.data.rows import row_statistics
from glocal.errors import DataError, DataWarning
from glocal.scores import Score, Scores, read_scores
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.suite.sources import shared_objects
from glocal.transform.record import TransformRecord

N = 40
RNG = np.random.default_rng(0)
MIND = RNG.normal(size=(N, 4))
NEAR = np.hstack([MIND, RNG.normal(size=(N, 6))]).astype("f4")  # a network like people
FAR = (np.hstack([0.5 * MIND, RNG.normal(size=(N, 3))]) + 3).astype("f4")
ORDER = RNG.permutation(N)[: N - 4]  # of the rows of the other network, which lacks four objects
NAMES = [f"object_{i:02d}" for i in range(N)]
ANSWERS = world.chosen(world.answers(2000, N), MIND)
HAS_BOTH = np.isin(ANSWERS.objects, ORDER).all(axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two networks in folders with names, and each alone in a file without."""
    path = tmp_path_factory.mktemp("networks")
    world.folder(path / "near", features_npy=NEAR, file_names_txt=NAMES)
    others = [f"images/{NAMES[row].upper()}.jpg" for row in ORDER]
    world.folder(path / "far", features_npy=FAR[ORDER], file_names_txt=others)
    scalars = (float(NEAR.mean()), float(NEAR.std()))
    W = np.diag([2.0] * 4 + [1.0] * 6).astype("f4")
    transform = LinearTransform(W, None, *scalars, TransformRecord(rows=row_statistics(NEAR)))
    return world.folder(
        path,
        near_npy=NEAR, far_npy=FAR, rdm_npy=cdist(MIND, MIND), a_npy=ANSWERS.objects,
        named_npz=Answers(ANSWERS.objects, names=NAMES), t_npz=transform,
        y_txt=np.arange(N) % 2, near_odd_npy=NEAR[:20], far_odd_npy=FAR[:25],
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def evaluate(line):
    return run(f"evaluate {line}")


@pytest.mark.parametrize("answers", ["a.npy", "named.npz"])
def test_agreement_of_two_networks_is_compared_on_the_objects_of_both(answers, tmp_path):
    """Answers about objects that one network lacks are left out and counted; the difference is
    paired, and its row names both networks.
    """
    out = tmp_path / "s.jsonl"
    line = f"odd-one-out --features near --answers {answers} --transform t.npz"
    command = run(f"evaluate {line} --baseline far --baseline original --json --out", out)
    record = command.json
    common = ANSWERS.select(HAS_BOTH)
    assert f"{(~HAS_BOTH).sum()} of 2000 answers" in command.err
    transformed = LinearTransform.load("t.npz")(NEAR)
    expected = [odd_one_out(X, common) for X in (transformed, FAR, NEAR)]
    first, far, original = expected
    assert record["n"] == len(common)
    assert record["agreement"] == pytest.approx(first.agreement)
    rows = read_scores(out)
    for network, baseline in {"far": far, "near": original}.items():
        difference = first.units.minus(baseline.units)
        score = rows.score(network, "odd-one-out", "original")
        assert score.value == pytest.approx(baseline.agreement)
        of_other = None if network == "near" else network
        gain = rows.gain("near", "odd-one-out", "t.npz", "original", of_other)
        numbers = (difference.mean, *difference.interval(), difference.p)
        assert (gain.value, gain.low, gain.high, gain.p) == pytest.approx(numbers, rel=1e-6)
    (between,) = rows.network_gains
    assert between.network == "near"
    assert between.baseline_network == "far"
    assert between.transform == "t.npz"
    assert rows.gain("near", "odd-one-out", "t.npz", "original", "far") == between
    assert "minus far" in evaluate(f"{line} --baseline far").out
    pytest.importorskip("altair")
    from glocal.report import load_runs
    from glocal.report.charts import charts_of

    page = run("report --json", out, "--out", tmp_path / "page.html", "--tables", tmp_path).json
    sentence = page["findings"][-1]["sentence"]
    assert sentence.startswith(f"On odd-one-out, near less far is {between.text()}")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "Between networks" in text
    assert sentence in text.split("Methods and results, to copy")[1]
    assert [chart.title for chart in charts_of(load_runs([out])[0])] == ["scores-near"]


def test_the_interval_of_a_difference_is_that_of_a_bootstrap_over_objects():
    """Drawing objects anew, the difference of two networks varies as its interval says."""
    every = np.array([*itertools.combinations(range(N), 3)], dtype=np.int32)
    answers = world.chosen(Answers(every), MIND)
    near, far = (odd_one_out(X, answers).units for X in (NEAR, FAR))
    counts = np.random.default_rng(0).multinomial(N, np.full(N, 1 / N), size=500)
    weights = counts[:, answers.objects].prod(axis=2)  # how often all three objects are drawn
    means = weights @ (near.values - far.values) / weights.sum(axis=1)
    assert near.minus(far).error == pytest.approx(means.std(), rel=0.2)


def test_rsa_of_two_networks_is_compared_on_the_objects_of_both():
    """The RDM of the shared objects is correlated with both networks, in paired values."""
    record = evaluate("rsa --features near --rdm rdm.npy --baseline far --json").json
    rows = np.sort(ORDER)
    rdm = cdist(MIND, MIND)[np.ix_(rows, rows)]
    near, far = (rsa(X[rows], rdm) for X in (NEAR, FAR))
    assert record["spearman"] == pytest.approx(near.spearman)
    scores = Scores(Score(**row) for row in record["rows"])
    assert scores.score("far", "rsa", "original").value == pytest.approx(far.spearman)
    (gain,) = scores.network_gains
    assert gain.value == pytest.approx(near.units.minus(far.units).mean)


def test_without_names_rows_are_taken_to_be_the_same_objects():
    """Files without names are compared row by row, with a warning, if they have as many rows; a
    file with weights is a transform.
    """
    command = evaluate("odd-one-out --features near.npy --answers a.npy --baseline far.npy --json")
    scores = Scores(Score(**row) for row in command.json["rows"])
    agreement = odd_one_out(FAR, ANSWERS).agreement
    assert scores.score("far", "odd-one-out", "original").value == agreement
    assert "row i of each network" in command.err
    with pytest.warns(DataWarning, match="row i of each network"):
        shared_objects([Features(NEAR), Features(FAR)])
    with pytest.raises(DataError, match="numbers of rows"):
        shared_objects([Features(NEAR), Features(FAR[:20])])
    with pytest.raises(DataError, match="no object"):
        shared_objects([Features(NEAR[:2], ("a", "b")), Features(FAR[:2], ("c", "d"))])
    few = evaluate("few-shot --train near.npy --train-labels y.txt --baseline far.npy")
    assert "odd-one-out and rsa" in few.error(2)


SUITE = """
answers = "a.npy"
[networks.near]
features = "near.npy"
[networks.far]
features = "far.npy"
[arms.original]
[arms.centred]
baseline = "centred"
[tasks.people]
kind = "odd-one-out"
[tasks.rdm]
kind = "rsa"
rdm = "rdm.npy"
[tasks.few]
kind = "few-shot"
train = "{network}.npy"
train_labels = "y.txt"
shots = 1
probe = "ncm"
draws = 4
[tasks.odd]
kind = "anomaly"
train = "{network}.npy"
train_labels = "y.txt"
test = "{network}.npy"
anomalies = "{network}_odd.npy"
breeds = "living17"
[tasks.kept]
kind = "structure"
features = "{network}.npy"
"""


@pytest.mark.filterwarnings("ignore:the few-shot score")
def test_a_suite_compares_networks_arm_by_arm_where_the_data_are_the_same(
    folder, tmp_path, as_a_user
):
    """Tasks with the same answers, RDM or labels have rows of the second network less the first,
    corrected within the task; nothing that is said about one network reads them.
    """
    pytest.importorskip("altair")
    from glocal.report import headlines, load_runs, report_page

    alone = SUITE.replace('[networks.near]\nfeatures = "near.npy"\n', "")
    world.folder(folder, s_toml=SUITE, alone_toml=alone)
    result = run_suite(Plan.load("s.toml"), tmp_path / "both")
    gains = result.scores.network_gains
    assert {row.task for row in gains} == {"people", "rdm", "few"}
    assert {(row.network, row.baseline_network) for row in gains} == {("far", "near")}
    of_people = {row.transform: row for row in gains if row.task == "people"}
    for arm, row in of_people.items():
        values = [result.scores.score(network, "people", arm).value for network in ("far", "near")]
        assert row.value == pytest.approx(values[0] - values[1])
        assert row.low < row.value < row.high
    smallest = min(row.p for row in of_people.values())
    assert min(row.p_corrected for row in of_people.values()) == pytest.approx(2 * smallest)
    assert "people, less near" in run("suite s.toml --out", tmp_path / "both").out
    (of_both,) = load_runs([tmp_path / "both"])
    assert "Between networks" in report_page([of_both])
    run_suite(Plan.load("alone.toml"), tmp_path / "alone")
    (of_one,) = load_runs([tmp_path / "alone"])
    (expected,) = headlines(of_one)
    assert expected in headlines(of_both)
