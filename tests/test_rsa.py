"""Representational similarity analysis (RSA) with people's dissimilarities."""

import json
import math
import warnings
from functools import partial

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from world import folder, run, table

from glocal import Features, model_rdm, rsa
from glocal.data.rdm import check_rdms, join_rdms, load_rdms
from glocal.errors import CollapseWarning, DataError, DataWarning, FileError, ParameterError
from glocal.evaluation.rsa import KERNELS
from glocal.jsonlines import read_rows

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(14, 5))
UPPER = np.triu_indices(14, 1)


HUMAN = squareform(RNG.uniform(size=91) + 0.3 * model_rdm(Z))
PEOPLE = np.stack([squareform(HUMAN[UPPER] + 0.4 * RNG.normal(size=91)) for _ in range(4)])


@pytest.mark.parametrize("kernel", KERNELS)
def test_dissimilarities_and_correlations_equal_scipy(kernel):
    """1 - similarity is SciPy's distance, and Spearman's correlation over the upper triangles is
    SciPy's, with mean ranks for ties.
    """
    expected = 1 - (Z @ Z.T)[UPPER] if kernel == "dot" else pdist(Z, kernel)
    assert model_rdm(Z, kernel) == pytest.approx(expected)
    for rows, human in ((Z, HUMAN), (np.round(Z), np.round(4 * HUMAN)), (Z, squareform(expected))):
        result = rsa(rows, human, kernel=kernel)
        correlation = stats.spearmanr(model_rdm(rows, kernel), human[UPPER]).statistic
        assert result.spearman == pytest.approx(correlation, rel=1e-12)
        assert result.ceiling is None
        assert result.n == 14


def without(person, *pair):
    """A copy of the RDMs of people, without what one or all of them say about a pair."""
    people = PEOPLE.copy()
    people[person, *pair] = people[person, *pair[::-1]] = np.nan
    return people


def test_missing_pairs_are_left_out():
    """A pair that a person did not compare (NaN) does not count for that person, whose other pairs
    stay; one that a single person compared is left out of the lower ceiling.
    """
    people = without(1, 2, 5)
    x = model_rdm(Z)
    expected = [stats.spearmanr(x, row[UPPER], nan_policy="omit").statistic for row in people]
    assert rsa(Z, people).spearman == pytest.approx(np.mean(expected), rel=1e-12)
    lower = [rsa(Z, without(who, 0, 1)).ceiling[0] for who in (slice(1, None), slice(None))]
    assert lower[0] == pytest.approx(lower[1], abs=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("noise", [0, 1e-9])
def test_a_collapsed_model_is_undefined_and_said(kernel, noise):
    """If all objects are at one point, the correlation is NaN without an interval, with
    a warning.
    """
    with pytest.warns(CollapseWarning, match="RSA is undefined"):
        result = rsa(Z[0] + noise * Z, PEOPLE, kernel=kernel)
    assert math.isnan(result.spearman) is True
    assert result.low is None
    assert result.units.values.size == 0


def test_the_ceiling_is_that_which_rsatoolbox_computed():
    """Both bounds of the ceiling are the numbers of `boot_noise_ceiling` for the same people."""
    assert rsa(Z, PEOPLE).ceiling == pytest.approx((0.5396127, 0.7484372), rel=1e-6)


def test_the_units_are_the_jackknife_of_the_correlation():
    """The mean of the units over objects is the correlation with each person, and their spread that
    of leaving out an object; an interval ends at 1.
    """
    result = rsa(Z, PEOPLE)
    for values, human in zip(result.units.values, PEOPLE, strict=True):
        whole = rsa(Z, human)
        kept = [np.delete(np.arange(14), i) for i in range(14)]
        others = np.array([rsa(Z[k], human[np.ix_(k, k)]).spearman for k in kept])
        np.testing.assert_allclose(values, whole.spearman + 13 * (others.mean() - others))
        error = math.sqrt(13 / 14 * np.square(others - others.mean()).sum())
        assert (whole.high - whole.low) / 2 == pytest.approx(stats.t.ppf(0.975, 13) * error)
    noise = 0.05 * np.random.default_rng(2).uniform(size=15)
    few = rsa(Z[:6], squareform(model_rdm(Z[:6]) + noise))
    assert few.spearman < few.high == 1


def test_many_objects_are_left_out_in_groups(monkeypatch):
    """With many objects, groups of them are left out instead of single ones, and mean and error
    hardly change.
    """
    single = rsa(Z, PEOPLE)
    monkeypatch.setattr("glocal.evaluation.rsa._MAX_GROUPS", 9)
    grouped = rsa(Z, PEOPLE)
    assert grouped.units.values.shape == (4, 9)
    assert grouped.spearman == pytest.approx(single.spearman)
    assert grouped.low == pytest.approx(single.low, abs=0.2)


BAD_RDMS = {
    "constant": 1 - np.eye(14),
    "symmetric": np.where(np.arange(14) > 12, 5.0, HUMAN),
    "diagonal": 1 - HUMAN,
    "shape": HUMAN[:, :5],
    "real numbers": HUMAN.astype(str),
    "1 infinite": np.where(HUMAN.max() == HUMAN, np.inf, HUMAN),
    "0 known pairs": np.full((14, 14), np.nan),
    r"\(0, 14, 14\)": np.empty((0, 14, 14)),
    "participant 1": np.stack([HUMAN, 1 - np.eye(14)]),
}


@pytest.mark.parametrize("noun", BAD_RDMS)
@pytest.mark.usefixtures("as_a_user")
def test_bad_rdms_are_refused(noun):
    """Each kind of invalid RDM is refused by an error that names what is wrong, and so are an
    unknown kernel and another number of objects.
    """
    with pytest.raises(DataError, match=noun):
        check_rdms(BAD_RDMS[noun])
    with pytest.raises(ParameterError, match="kernel"):
        rsa(Z, HUMAN, kernel="rbf")
    with pytest.raises(DataError, match="14 objects"):
        rsa(Z[:13], HUMAN)


def test_rdms_are_real_symmetric_and_0_on_the_diagonal(tmp_path):
    """float32 RDMs whose triangles differ in the last digits, and a diagonal of NaN, are accepted;
    RDMs of integers become float64, so that nothing is rounded later, and a text is one RDM.
    """
    noisy = HUMAN.astype(np.float32)
    noisy[0, 1] *= 1 + 1e-6
    noisy[np.diag_indices(14)] = np.nan
    assert not np.diag(check_rdms(noisy)[0]).any()
    ranks = squareform(np.arange(91)).astype(int)
    np.savetxt(tmp_path / "r.txt", ranks)
    for checked in (check_rdms(ranks), load_rdms(tmp_path / "r.txt").rdms):
        np.testing.assert_array_equal(checked, ranks[None] * 1.0, strict=True)


NAMES = tuple(f"object{i}" for i in range(14))


def test_rdms_join_by_index_and_by_name():
    """An index names rows, or lines of the object ids, and objects without features are dropped
    from all axes.
    """
    features = Features(Z, tuple(f"images/{name}.jpg" for name in NAMES))
    small = PEOPLE[:, :5, :5]
    index = np.array([9, 3, 0, 7, 12])
    assert join_rdms(features, small, index).rows.tolist() == index.tolist()
    ids = ("nowhere", *reversed(NAMES))
    with pytest.warns(DataWarning, match="1 objects"):
        by_name = join_rdms(features, small, np.array([0, 14, 3, 1, 2]), ids)
    assert by_name.rows.tolist() == [0, 11, 13, 12]
    np.testing.assert_array_equal(by_name.rdms, small[:, 1:, 1:])
    assert join_rdms(features, PEOPLE).rows.tolist() == list(range(14))


INDICES_REFUSED = """
has 4 entries that name 4 | [0, 1, 2, 3]
name 4 .* 0 to 13 | [0, 1, 2, 3, 14]
5 objects, .* name 4 | [0, 1, 2, 3, -1]
has 5 entries that name 4 | [0, 1, 2, 3, 3]
an integer | [0, 1, 2, 3, 0.5]
"""


@table("noun, index", INDICES_REFUSED)
def test_rdms_that_do_not_fit_are_refused(as_a_user, noun, index):
    """Another size without an index, a bad index, and an empty join are refused."""
    join = partial(join_rdms, Features(Z, NAMES), PEOPLE[:, :5, :5])
    with pytest.raises(DataError, match=noun):
        join(np.array(json.loads(index)))
    with pytest.raises(DataError, match="14 entries"):
        join(None, NAMES)


@pytest.mark.data
@pytest.mark.parametrize(
    "embedding, spearman", [("spose_49d", 0.83986), ("spose_66d", 0.86506), ("vice_42d", 0.86365)]
)
def test_published_embeddings_correlate_as_before(data_dir, embedding, spearman):
    """Cosines of published embeddings among 48 objects correlate with the human RDM as measured
    before.
    """
    things = data_dir / "things"
    index = json.loads((things / "rdm48_index.json").read_text("utf-8"))[
        "concept_index0_in_unique_id"
    ]
    result = rsa(np.load(things / f"{embedding}.npy")[index], load_rdms(things / "rdm48.npy").rdms)
    assert result.spearman == pytest.approx(spearman, abs=5e-5)
    assert result.low < spearman < result.high


@pytest.mark.nightly
def test_ceiling_rdms_and_correlations_are_those_of_rsatoolbox():
    """Both bounds, the RDM of the model and its comparison with people equal those of
    rsatoolbox.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the imports of rsatoolbox may warn
        toolbox = pytest.importorskip("rsatoolbox")
        from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    people = toolbox.rdm.RDMs(PEOPLE)
    result = rsa(Z, PEOPLE, kernel="correlation")
    assert result.ceiling == pytest.approx(boot_noise_ceiling(people, method="spearman"), rel=1e-6)
    reference = toolbox.rdm.calc_rdm(toolbox.data.Dataset(Z), method="correlation")
    assert model_rdm(Z, "correlation") == pytest.approx(reference.get_vectors()[0], rel=1e-9)
    compared = toolbox.rdm.compare(reference, people, "spearman")
    assert result.spearman == pytest.approx(compared.mean(), rel=1e-9)


def written_by_r(names, matrix, columns=None):
    """A matrix as ``write.csv`` of R writes it, with its names."""
    lines = [
        ["", *(columns or names)],
        *([name, *row] for name, row in zip(names, matrix.tolist(), strict=True)),
    ]
    cell = lambda value: f'"{value}"' if isinstance(value, str) else str(value)
    return "".join(",".join(map(cell, line)) + "\n" for line in lines)


@pytest.mark.parametrize("suite", [False, True])
def test_a_matrix_with_names_is_joined_by_name(here, suite):
    """The table that R writes, whose objects are in another order and have one more than the
    features, gives the correlation of the same objects in the order of the features.
    """
    names = [f"thing {i}" for i in range(14)]
    order = RNG.permutation(14)
    matrix = HUMAN[np.ix_(order, order)]
    folder(here, rdm_csv=written_by_r([names[i] for i in order], matrix))
    folder(here / "net", features_npy=Z[:13], file_names_txt="\n".join(names[:13]))
    expected = rsa(Z[:13], HUMAN[:13, :13]).spearman
    if suite:
        folder(here, s_toml=SUITE, whole_npy=matrix, ids_txt="\n".join(names[i] for i in order))
        run("suite s.toml --out out")
        rows = read_rows("out/rows.jsonl")
        assert [row["value"] for row in rows] == pytest.approx([expected, expected])
        return
    result = run("evaluate rsa --features net --rdm rdm.csv --json")
    assert result.json["spearman"] == pytest.approx(expected)
    assert "1 objects of the RDM have no features" in result.err
    np.save("bare.npy", Z)
    assert "names" in run("evaluate rsa --features bare.npy --rdm rdm.csv").error(1)


SUITE = """
[networks.net]
features = "net"
[arms.original]
[tasks.named]
kind = "rsa"
rdm = "rdm.csv"
[tasks.listed]
kind = "rsa"
rdm = "whole.npy"
object_ids = "ids.txt"
"""


def test_a_matrix_whose_columns_are_not_its_rows_is_refused(tmp_path):
    """Names of columns in another order than those of the rows are an error."""
    names = [f"thing {i}" for i in range(14)]
    file = folder(tmp_path, rdm_csv=written_by_r(names, HUMAN, names[::-1])) / "rdm.csv"
    with pytest.raises(FileError, match="columns"):
        load_rdms(file)
