"""RSA with people's dissimilarities."""

import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.rdm import check_rdms, join_rdms, load_index, load_rdms
from glocal.errors import CollapseWarning, DataError, ParameterError
from glocal.evaluation.model_rdm import KERNELS, model_rdm
from glocal.evaluation.rsa import object_values, rsa
from glocal.evaluation.statistics import paired_difference, two_way_estimate
from glocal.results import read_rows

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(14, 5))
UPPER = np.triu_indices(14, 1)


def rdm_of(vector, n=14):
    """A symmetric RDM from its upper triangle."""
    rdm = np.zeros((n, n))
    rdm[np.triu_indices(n, 1)] = vector
    return rdm + rdm.T


HUMAN = rdm_of(RNG.uniform(size=91) + 0.3 * model_rdm(Z)[UPPER])
PEOPLE = np.stack([rdm_of(HUMAN[UPPER] + 0.4 * RNG.normal(size=91)) for _ in range(4)])


@pytest.fixture
def rsatoolbox():
    """The peer; tests that compare with it are skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports may warn
        pytest.importorskip("rsatoolbox.rdm")
        import rsatoolbox

        yield rsatoolbox


def choice_by_loops(Z):
    """1 - the mean probability that a pair is chosen beside each third object."""
    S, n = Z @ Z.T, len(Z)
    rdm = np.zeros((n, n))
    for i, j in itertools.permutations(range(n), 2):
        shares = [
            math.exp(S[i, j]) / (math.exp(S[i, j]) + math.exp(S[i, k]) + math.exp(S[j, k]))
            for k in range(n)
            if k not in (i, j)
        ]
        rdm[i, j] = 1 - sum(shares) / len(shares)
    return rdm


def test_model_rdms_equal_scipy_and_loops():
    """Each kernel is 1 - similarity as scipy's distances or plain loops have it, with a diagonal of 0."""
    for kernel in ("cosine", "correlation"):
        assert model_rdm(Z, kernel) == pytest.approx(distance.squareform(distance.pdist(Z, kernel)))
    dots = 1 - Z @ Z.T
    np.fill_diagonal(dots, 0)
    assert model_rdm(Z, "dot") == pytest.approx(dots)
    assert model_rdm(Z, "choice") == pytest.approx(choice_by_loops(Z))


def test_choice_probabilities_of_a_wide_range_are_the_same():
    """Similarities too far apart to be exponentiated once take another way to the same shares."""
    wide = Z.copy()
    wide[0] *= 25.5 / np.linalg.norm(wide[0])  # its similarity with itself is 650, and exp(650) is near the largest
    assert model_rdm(wide, "choice") == pytest.approx(choice_by_loops(wide), rel=1e-9)


def test_choice_probabilities_do_not_overflow():
    """Dot products in the thousands give shares of 0 and 1, not NaN."""
    found = model_rdm(100 * Z, "choice")
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_correlations_equal_scipy(kernel):
    """Spearman and Pearson over the upper triangles are those of scipy."""
    found = rsa(Z, HUMAN, kernel=kernel, replicates=0)
    x, y = model_rdm(Z, kernel)[UPPER], HUMAN[UPPER]
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)
    assert (found.low, found.high, found.ceiling, found.n_objects, found.n_people) == (None, None, None, 14, 1)


def test_ties_share_their_rank():
    """Dissimilarities of few different values have mean ranks, as scipy has them."""
    tied_Z, tied_human = np.round(Z), rdm_of(np.round(4 * HUMAN[UPPER]))
    found = rsa(tied_Z, tied_human, kernel="dot", replicates=0)
    wanted = stats.spearmanr(model_rdm(tied_Z, "dot")[UPPER], tied_human[UPPER]).statistic
    assert found.spearman == pytest.approx(wanted, rel=1e-12)


def test_rounding_does_not_break_ties():
    """Objects at the same two points have tied pairs although their cosines differ in the last digit."""
    side = np.arange(14) % 2
    scales = np.linspace(1, 3, 14)[:, None]
    pair = scales * np.array([[0.1, 0.7, 0.3], [0.9, 0.2, 0.4]])[side]
    found = rsa(pair, HUMAN, replicates=0).spearman
    exact = stats.spearmanr((side[UPPER[0]] != side[UPPER[1]]).astype(float), HUMAN[UPPER]).statistic
    assert found == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("kernel", ["cosine", "dot", "choice"])
def test_a_reflection_of_many_dimensions_breaks_no_tie(kernel):
    """Ties of binary rows of 2,000 dimensions stay ties after a reflection: both rank correlations are the same."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 2, size=(4, 2000)).astype(float) / 50
    rows = base[np.arange(14) % 4][:, rng.permutation(2000)]
    v = rng.normal(size=2000)
    mirrored = rows - 2 * np.outer(rows @ v, v) / (v @ v)
    before, after = (rsa(Z, HUMAN, kernel=kernel, replicates=0) for Z in (rows, mirrored))
    assert after.spearman == pytest.approx(before.spearman, rel=1e-12)


def test_missing_pairs_are_left_out():
    """NaN pairs count for nobody; each person keeps the others."""
    people = PEOPLE.copy()
    for person, (i, j) in enumerate([(0, 1), (2, 5), (3, 9), (0, 13)]):
        people[person, i, j] = people[person, j, i] = np.nan
    x = model_rdm(Z)[UPPER]
    wanted = []
    for rdm in people:
        known = ~np.isnan(rdm[UPPER])
        assert known.sum() == 90
        wanted.append(stats.spearmanr(x[known], rdm[UPPER][known]).statistic)
    assert rsa(Z, people, replicates=0).spearman == pytest.approx(np.mean(wanted), rel=1e-12)


def bootstrap_by_loops(Z, people, replicates, seed):
    """Objects and people drawn again, self pairs dropped, scipy's correlation on what is left."""
    rng = np.random.default_rng(seed)
    n, x = len(Z), model_rdm(Z)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=replicates)
    share = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=replicates)
    drawn = []
    for count, weight in zip(counts, share, strict=True):
        objects = np.repeat(np.arange(n), count)
        pairs = [(i, j) for i, j in itertools.combinations(objects, 2) if i != j]
        i, j = np.array(pairs).T
        values = [
            (stats.spearmanr(x[i, j], rdm[i, j]).statistic, stats.pearsonr(x[i, j], rdm[i, j]).statistic)
            for rdm in people
        ]
        drawn.append(np.average(values, axis=0, weights=weight))
    return np.quantile(drawn, [0.025, 0.975], axis=0)


def test_the_interval_equals_a_bootstrap_by_loops():
    """Reweighted pairs give exactly the correlations of resampled objects with self pairs dropped."""
    found = rsa(Z, PEOPLE, replicates=60, seed=5)
    (low, pearson_low), (high, pearson_high) = bootstrap_by_loops(Z, PEOPLE, 60, 5)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert (found.pearson_low, found.pearson_high) == pytest.approx((pearson_low, pearson_high), rel=1e-9)
    assert found.low < found.spearman < found.high


def test_the_interval_depends_on_its_seed_and_reports_progress():
    """The same seed gives the same interval; progress ends at the number of replicates."""
    done = []
    first = rsa(Z, HUMAN, replicates=50, seed=1, on_replicate=done.append)
    assert first == rsa(Z, HUMAN, replicates=50, seed=1)
    assert first.low != rsa(Z, HUMAN, replicates=50, seed=2).low
    assert done[-1] == 50


def test_few_objects_have_an_interval_where_it_is_defined():
    """With three objects only replicates that hold all three give a correlation, and NaN never comes out."""
    found = rsa(Z[:3], HUMAN[:3, :3], replicates=1000)
    assert -1 <= found.low <= found.high <= 1
    assert rsa(Z[:3], HUMAN[:3, :3], replicates=60).low is None  # fewer than 40 of them are left


def test_a_model_that_knows_the_people_correlates_perfectly():
    """An RDM made by the model itself gives 1 under each kernel."""
    for kernel in KERNELS:
        found = rsa(Z, model_rdm(Z, kernel) if kernel != "dot" else model_rdm(Z, "dot"), kernel=kernel, replicates=0)
        assert found.spearman == pytest.approx(1)
        assert found.pearson == pytest.approx(1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("points", ["one point", "nearly one point", "zero"])
def test_a_collapsed_model_is_undefined_and_said(kernel, points):
    """All objects at one point: a warning, NaN and no interval, never a perfect score."""
    row = RNG.normal(size=(1, 5))
    collapsed = {
        "one point": np.repeat(row, 14, axis=0),
        "nearly one point": row + 1e-9 * Z,
        "zero": np.zeros((14, 5)),
    }[points]
    with pytest.warns(CollapseWarning, match="RSA is undefined"):
        found = rsa(collapsed, PEOPLE, kernel=kernel)
    assert math.isnan(found.spearman)
    assert math.isnan(found.pearson)
    assert (found.low, found.high, found.pearson_low, found.pearson_high) == (None, None, None, None)
    assert found.ceiling is not None


def ceiling_by_loops(people, method):
    """Upper and lower bound by scipy, person by person."""
    vectors = [rdm[UPPER] for rdm in people]
    scaled = [stats.rankdata(v) if method == "spearman" else stats.zscore(v) for v in vectors]
    correlate = (lambda a, b: stats.spearmanr(a, b).statistic) if method == "spearman" else np.corrcoef
    upper, lower = [], []
    for person, vector in enumerate(vectors):
        others = [scaled[k] for k in range(len(people)) if k != person]
        upper.append(correlate(vector, np.mean(scaled, axis=0)))
        lower.append(correlate(vector, np.mean(others, axis=0)))
    pick = (lambda c: c) if method == "spearman" else (lambda c: c[0, 1])
    return np.mean([pick(c) for c in lower]), np.mean([pick(c) for c in upper])


def test_the_noise_ceiling_equals_loops():
    """Upper: each person with the mean over all; lower: with the mean over the others; the upper is higher."""
    found = rsa(Z, PEOPLE, replicates=0)
    for bound, method in ((found.ceiling, "spearman"), (found.pearson_ceiling, "pearson")):
        assert (bound.lower, bound.upper) == pytest.approx(ceiling_by_loops(PEOPLE, method), rel=1e-12)
        assert bound.lower < bound.upper <= 1


def test_the_noise_ceiling_leaves_missing_pairs_out():
    """A pair that one person did not compare still counts for the others."""
    people = PEOPLE.copy()
    people[0, 2, 5] = people[0, 5, 2] = np.nan
    whole, holed = (rsa(Z, rdms, replicates=0).ceiling for rdms in (PEOPLE, people))
    assert holed.upper == pytest.approx(whole.upper, abs=0.02)
    assert holed.upper != whole.upper


def test_the_noise_ceiling_is_that_of_rsatoolbox(rsatoolbox):
    """Both bounds are those of rsatoolbox, for ranks and for correlations."""
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling

    found = rsa(Z, PEOPLE, replicates=0)
    objects = rsatoolbox.rdm.RDMs(PEOPLE)
    for bound, method in ((found.ceiling, "spearman"), (found.pearson_ceiling, "corr")):
        assert (bound.lower, bound.upper) == pytest.approx(boot_noise_ceiling(objects, method=method), rel=1e-6)


def test_correlations_and_rdms_are_those_of_rsatoolbox(rsatoolbox):
    """Model RDM and its comparison with people are those of rsatoolbox, up to a factor of the RDM."""
    data = rsatoolbox.data.Dataset(Z)
    theirs = rsatoolbox.rdm.calc_rdm(data, method="correlation")
    assert model_rdm(Z, "correlation") == pytest.approx(theirs.get_matrices()[0], rel=1e-9)
    found = rsa(Z, PEOPLE, kernel="correlation", replicates=0)
    people = rsatoolbox.rdm.RDMs(PEOPLE)
    assert found.spearman == pytest.approx(float(rsatoolbox.rdm.compare(theirs, people, "spearman").mean()), rel=1e-9)
    assert found.pearson == pytest.approx(float(rsatoolbox.rdm.compare(theirs, people, "corr").mean()), rel=1e-9)


def values_of(model, human):
    """What people and objects contribute to the correlation of two models with people."""
    return rsa(model, human, replicates=0).units.values


def test_object_values_are_the_jackknife_of_the_correlation():
    """Their mean over objects is the correlation with each person, their spread that of leaving out an object."""
    values = values_of(Z, PEOPLE)
    for person, human in enumerate(PEOPLE):
        whole = rsa(Z, human, replicates=0).spearman
        kept = [np.delete(np.arange(14), i) for i in range(14)]
        left = np.array([rsa(Z[k], human[np.ix_(k, k)], replicates=0).spearman for k in kept])
        np.testing.assert_allclose(values[person], whole + 13 * (left.mean() - left), atol=1e-9)
        assert values[person].mean() == pytest.approx(whole)
    error = math.sqrt(13 / 14 * np.square(left - left.mean()).sum())
    assert two_way_estimate(values[-1:]).error == pytest.approx(error)
    assert values.mean() == pytest.approx(rsa(Z, PEOPLE, replicates=0).spearman)


def test_many_objects_are_left_out_in_groups():
    """Where there are more objects than are left out one at a time, groups of them are; mean and error hardly move."""
    tables = rsa(Z, PEOPLE, replicates=0).tables
    one, few = object_values(tables, 14), object_values(tables, 14, max_groups=9)
    assert few.shape == (4, 9)
    assert few.mean() == pytest.approx(one.mean())
    assert two_way_estimate(few).error == pytest.approx(two_way_estimate(one).error, rel=0.5)


def test_equal_models_are_seldom_told_apart_by_rsa():
    """Two models with noise of one size differ by chance: about 5 % of the paired intervals leave 0 out."""
    rng = np.random.default_rng(1)
    apart = 0
    for _ in range(150):
        mind = rng.normal(size=(25, 4))
        human = 1 - np.corrcoef(np.hstack([mind, 0.5 * rng.normal(size=(25, 4))]))
        human = (human + human.T) / 2 * (1 - np.eye(25))
        first, second = (np.hstack([mind, rng.normal(size=(25, 4))]) for _ in range(2))
        found = paired_difference(*(values_of(model, human) for model in (first, second)))
        apart += found.low > 0 or found.high < 0
    assert 1 <= apart <= 16


def _with(rdm, where, value):
    rdm = rdm.copy()
    rdm[where] = value
    return rdm


BAD_RDMS = {
    "constant": (1 - np.eye(14), "is constant (1 for every pair)"),
    "asymmetric": (_with(HUMAN, (0, 1), 5.0), "is not symmetric: entry (0, 1) is 5"),
    "half missing": (_with(HUMAN, (0, 1), np.nan), "is not symmetric"),
    "similarities": (1 - HUMAN, "has a diagonal that is not 0 (largest 1)"),
    "wrong shape": (HUMAN[:, :5], "must be real numbers of shape (n, n)"),
    "four axes": (HUMAN[None, None], "must be real numbers of shape (n, n)"),
    "strings": (HUMAN.astype(str), "must be real numbers"),
    "two objects": (HUMAN[:2, :2], "is about 2 objects; at least 3"),
    "infinite": (_with(_with(HUMAN, (0, 1), np.inf), (1, 0), np.inf), "holds infinity"),
    "all missing": (np.full((14, 14), np.nan), "has 0 pairs that are not missing"),
    "nobody": (np.empty((0, 14, 14)), "must be real numbers of shape"),
    "second person": (np.stack([HUMAN, 1 - np.eye(14)]), "person 1, is constant"),
}


@pytest.mark.parametrize("case", BAD_RDMS)
@pytest.mark.usefixtures("as_a_user")
def test_bad_rdms_are_one_sentence(case):
    """Each way of being no RDM is refused in one sentence."""
    rdm, words = BAD_RDMS[case]
    with pytest.raises(DataError) as caught:
        check_rdms(rdm)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_small_differences_of_the_two_triangles_are_rounding():
    """float32 RDMs whose triangles differ in the last digits, and a NaN diagonal, are allowed."""
    noisy = HUMAN.astype(np.float32)
    noisy[0, 1] *= 1 + 1e-6
    noisy[np.diag_indices(14)] = np.nan
    assert np.diag(check_rdms(noisy)[0]).tolist() == [0.0] * 14


@pytest.mark.usefixtures("as_a_user")
def test_bad_arguments_are_one_sentence():
    """An unknown kernel, too few replicates and another number of objects are refused."""
    with pytest.raises(ParameterError, match="kernel is 'rbf'; allowed are cosine, correlation, dot, choice"):
        rsa(Z, HUMAN, kernel="rbf")
    with pytest.raises(ParameterError, match="replicates is 3"):
        rsa(Z, HUMAN, replicates=3)
    with pytest.raises(DataError, match="about 14 objects but there are 13 rows"):
        rsa(Z[:13], HUMAN)


# joining and the command line

NAMES = tuple(f"object{i}" for i in range(14))


def test_rdms_join_by_index_and_by_name():
    """An index names rows, or lines of the object ids; objects without features are dropped from all axes."""
    features = Features(Z, tuple(f"images/{name}.jpg" for name in NAMES))
    small = PEOPLE[:, :5, :5]
    index = np.array([9, 3, 0, 7, 12])
    by_row = join_rdms(features, small, index)
    assert (by_row.rows.tolist(), by_row.n_dropped) == (index.tolist(), 0)
    ids = ("nowhere", *reversed(NAMES))
    by_name = join_rdms(features, small, np.array([0, 14, 3, 1, 2]), ids)
    assert (by_name.rows.tolist(), by_name.n_dropped) == ([0, 11, 13, 12], 1)
    np.testing.assert_array_equal(by_name.rdms, small[:, 1:, 1:])
    assert join_rdms(features, PEOPLE).rows.tolist() == list(range(14))


@pytest.mark.usefixtures("as_a_user")
def test_rdms_that_do_not_fit_are_refused():
    """Another size without an index, a bad index, and nothing left are one sentence each."""
    features = Features(Z, NAMES)
    small = PEOPLE[:, :5, :5]
    cases = [
        ((features, small), "rdm_index"),
        ((features, small, np.arange(4)), "its index has 4 entries"),
        ((features, small, np.array([0, 1, 2, 3, 14])), "names object 14 but features has 14 rows"),
        ((features, small, np.array([0, 1, 2, 3, -1])), "names object -1"),
        ((features, small, np.array([0, 1, 2, 3, 3])), "names an object twice"),
        ((features, small, np.arange(5), (*NAMES[:2], "x", "y", "z")), "is about 2 objects; at least 3"),
        ((features, small, None, NAMES), "the list of object ids has 14 lines"),
    ]
    for arguments, words in cases:
        with pytest.raises(DataError) as caught:
            join_rdms(*arguments)
        assert words in str(caught.value)


def test_an_index_is_read_from_npy_and_text(tmp_path):
    """One integer a row, down the lines, along one line or in an array; fractions are refused."""
    for name, content in {"a.txt": "4 0 2\n", "b.txt": "4\n0\n2\n"}.items():
        (tmp_path / name).write_text(content)
        assert load_index(tmp_path / name).tolist() == [4, 0, 2]
    np.save(tmp_path / "d.npy", np.array([4, 0, 2], dtype=np.uint8))
    assert load_index(tmp_path / "d.npy").tolist() == [4, 0, 2]
    (tmp_path / "bad.txt").write_text("0.5\n1\n")
    with pytest.raises(DataError, match="integers"):
        load_index(tmp_path / "bad.txt")


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "features.npy", Z)
    (tmp_path / "file_names.txt").write_text("\n".join(f"{name}.jpg" for name in NAMES))
    (tmp_path / "ids.txt").write_text("\n".join(["nowhere", *reversed(NAMES)]))
    np.save(tmp_path / "rdm.npy", PEOPLE)
    np.save(tmp_path / "small.npy", HUMAN[:5, :5])
    (tmp_path / "index.txt").write_text("0 14 3 1 2")
    np.savez(tmp_path / "t.npz", weights=RNG.normal(size=(5, 5)).astype("f4"), mean=0.1, std=2.0)
    return tmp_path


def run(files, *arguments):
    named = [str(files / a) if "." in str(a) else str(a) for a in arguments]
    return execute(["evaluate", "rsa", "--features", str(files / "features.npy"), *named])


def test_the_command_prints_one_json_object_and_appends_rows(files, capsys):
    """The JSON holds the correlations, interval and ceiling of the library call; --out gets two rows."""
    assert run(files, "--rdm", "rdm.npy", "--transform", "t.npz", "--out", "s.jsonl", "--json") == 0
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    t = np.load(files / "t.npz")
    wanted = rsa((Z - 0.1) / 2.0 @ t["weights"].astype(float), PEOPLE, seed=42)
    assert found["spearman"] == pytest.approx(wanted.spearman)
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high))
    assert found["ceiling"] == pytest.approx({"lower": wanted.ceiling.lower, "upper": wanted.ceiling.upper})
    assert {"pearson", "pearson_low", "pearson_high", "kernel", "n_objects", "n_people", "n_dropped"} <= set(found)
    rows = read_rows(files / "s.jsonl")
    assert [(row["task"], row["metric"], row["n"], row["split"]) for row in rows] == [
        ("rsa", "spearman_cosine", 14, "rdm.npy"),
        ("rsa", "pearson_cosine", 14, "rdm.npy"),
        ("rsa", "ceiling_lower", 14, "rdm.npy"),
        ("rsa", "ceiling_upper", 14, "rdm.npy"),
    ]
    assert [Path(row["transform"]).name for row in rows] == ["t.npz", "t.npz", "people", "people"]


def test_the_command_joins_by_name_and_says_what_it_dropped(files, capsys):
    """With ids and index the RDM's objects are found by name; a missing one is said on standard error."""
    arguments = ("--rdm", "small.npy", "--rdm-index", "index.txt", "--object-ids", "ids.txt", "--kernel", "dot")
    assert run(files, *arguments, "--replicates", 0) == 0
    streams = capsys.readouterr()
    assert "1 of 5 objects of the RDM have no features" in streams.err
    standardized = (Z - Z.mean()) / Z.std()
    wanted = rsa(standardized[[0, 11, 13, 12]], HUMAN[1:5, 1:5], kernel="dot", replicates=0)
    assert f"Spearman (dot)  {wanted.spearman:.3f}\n" in streams.out
    assert "objects 4, 1 dropped" in streams.out


def test_the_command_says_a_collapse(files, capsys):
    """A transform to one point is a warning and null, exit 0."""
    np.savez(files / "zero.npz", weights=np.zeros((5, 5), "f4"), bias=np.ones(5, "f4"), mean=0.0, std=1.0)
    with pytest.warns(CollapseWarning):
        assert run(files, "--rdm", "rdm.npy", "--transform", "zero.npz", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["spearman"], found["pearson"], found["low"]) == (None, None, None)


def test_bad_files_exit_1_with_one_sentence(files, capsys):
    """A wrong size, a similarity matrix and a missing file are one line on standard error."""
    np.save(files / "ones.npy", np.ones((14, 14)))
    (files / "broken.npy").write_bytes(b"no array")
    for name, words in (
        ("small.npy", "--rdm-index"),
        ("ones.npy", "diagonal"),
        ("none.npy", "does not exist"),
        ("broken.npy", "damaged"),
    ):
        assert run(files, "--rdm", name) == 1
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1


def test_text_rdms_are_read(tmp_path):
    """One RDM may be a table of text."""
    np.savetxt(tmp_path / "r.txt", HUMAN)
    np.testing.assert_allclose(load_rdms(tmp_path / "r.txt"), HUMAN[None])


@pytest.mark.data
@pytest.mark.parametrize(("embedding", "pearson"), [("spose_49d", 0.900), ("spose_66d", 0.906), ("vice_42d", 0.891)])
def test_published_embeddings_correlate_as_published(data_dir, embedding, pearson):
    """Choice probabilities among 48 objects correlate with the exhaustively sampled human RDM as measured before."""
    index = json.loads((data_dir / "things/rdm48_index.json").read_text())["concept_index0_in_unique_id"]
    found = rsa(
        np.load(data_dir / "things" / f"{embedding}.npy")[index],
        load_rdms(data_dir / "things/rdm48.npy"),
        kernel="choice",
        replicates=200,
    )
    assert found.pearson == pytest.approx(pearson, abs=5e-4)
    assert found.pearson_low < pearson < found.pearson_high
