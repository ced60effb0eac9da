"""Structure: neighbours, ranks, kernels, dissimilarities, classes, divergence, spectrum; collapse; the command."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.spatial.distance import pdist
from scipy.special import kl_div, softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics import pairwise_distances, silhouette_score
from sklearn.neighbors import NearestNeighbors

from glocal.cli.app import execute
from glocal.data.splits import local_blocks
from glocal.errors import CollapseWarning, DataError, ParameterError
from glocal.evaluation.structure import collapsed, neighbourhoods, neighbours, neighbours_kept, structure
from glocal.evaluation.structure.collapse import at_chance
from glocal.evaluation.structure.likeness import divergence, linear_cka, local_cka, rdm_correlation
from glocal.evaluation.structure.neighbourhoods import chance_of_ranks, nearest_label_accuracy, shared_by_image
from glocal.evaluation.structure.separation import separation
from glocal.evaluation.structure.spectrum import directions_for, participation_ratio, spectrum, variances
from glocal.objective import LocalLoss
from glocal.results import read_rows
from glocal.similarity import unit_rows

RNG = np.random.default_rng(2)
X = RNG.normal(size=(60, 9))
Z = X @ RNG.normal(size=(9, 5))


def trustworthiness(X, Z, k):
    return structure(X, Z, k=k).trustworthiness


def loop_neighbours(Z, k):
    """The k nearest rows of each row by cosine, by plain Python."""
    found = []
    for i in range(len(Z)):
        cosines = [
            (float(Z[i] @ Z[j]) / float(np.linalg.norm(Z[i]) * np.linalg.norm(Z[j])), j)
            for j in range(len(Z))
            if j != i
        ]
        found.append({j for _, j in sorted(cosines, reverse=True)[:k]})
    return found


@pytest.mark.parametrize("k", [1, 10, 59])
def test_neighbours_equal_explicit_loops(k):
    """The k nearest by cosine, the image itself excluded, are those that loops find."""
    assert [set(row.tolist()) for row in neighbours(Z, k)] == loop_neighbours(Z, k)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_neighbours_kept_equal_explicit_loops(k):
    """Neighbours kept is the mean over images of the shared share of the two neighbourhoods."""
    before, after = loop_neighbours(X, k), loop_neighbours(Z, k)
    wanted = np.mean([len(b & a) / k for b, a in zip(before, after, strict=True)])
    assert neighbours_kept(X, Z, k) == pytest.approx(wanted, rel=1e-12)
    assert 0 < wanted < 1


MANY = np.random.default_rng(3).normal(size=(1500, 4))  # more images than are searched at once


def test_blocks_of_rows_find_the_same_neighbours():
    """The search of many images, block by block, finds what a sort of all their cosines finds."""
    cosines = unit_rows(MANY) @ unit_rows(MANY).T
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(neighbours(MANY, 10), np.argsort(-cosines, axis=1)[:, :10])


def test_the_identity_keeps_all_neighbours():
    """Nothing changes under the identity, a scaling, a rotation, or a scaling of each image of its own."""
    Q = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    lengths = RNG.uniform(0.1, 10, size=(60, 1))
    for same in (X, 1e-3 * X, X @ Q, X * lengths, X.astype(np.float32)):
        assert neighbours_kept(X, same) == 1.0


def test_keeping_neighbours_is_symmetric():
    """Before and after may be exchanged, and relabelling the images changes nothing."""
    order = RNG.permutation(60)
    kept = neighbours_kept(X, Z)
    assert neighbours_kept(Z, X) == pytest.approx(kept, rel=1e-12)
    assert neighbours_kept(X[order], Z[order]) == pytest.approx(kept, rel=1e-12)


def test_unrelated_embeddings_keep_what_chance_keeps():
    """Two independent embeddings share k / (n - 1) of their neighbours on average."""
    kept = neighbours_kept(RNG.normal(size=(400, 20)), RNG.normal(size=(400, 20)), 20)
    assert kept == pytest.approx(20 / 399, abs=0.01)


@pytest.mark.parametrize("k", [0, 60])
def test_a_number_of_neighbours_that_cannot_be_is_refused(k):
    """k is 1 to n - 1."""
    with pytest.raises(ParameterError, match=f"k is {k} but 60 images allow 1 to 59"):
        neighbours_kept(X, Z, k)


def test_other_images_after_than_before_are_refused(as_a_user):
    """The rows before and after must be the same images."""
    with pytest.raises(DataError, match="60 rows before the transform and 59 after"):
        neighbours_kept(X, Z[:-1])


def test_neighbours_come_nearest_first_as_in_scikit_learn():
    """The order of the neighbours is that of scikit-learn's search, so that fewer are the first of more."""
    search = NearestNeighbors(n_neighbors=13, metric="cosine", algorithm="brute").fit(Z)
    np.testing.assert_array_equal(neighbours(Z, 12), search.kneighbors(Z)[1][:, 1:])
    np.testing.assert_array_equal(neighbours(Z, 12)[:, :4], neighbours(Z, 4))


def test_shares_by_image_average_to_neighbours_kept():
    """Each image's share is counted by sets, and their mean is neighbours kept."""
    before, after = neighbours(X, 5), neighbours(Z, 5)
    shares = [len(set(b) & set(a)) / 5 for b, a in zip(before.tolist(), after.tolist(), strict=True)]
    np.testing.assert_allclose(shared_by_image(X, Z, 5), shares)
    assert neighbours_kept(X, Z, 5) == pytest.approx(np.mean(shares), rel=1e-12)


# --- ties --------------------------------------------------------------------------------------------------------

# signs: all rows of one length, so that cosines are whole numbers over p and their ties are known exactly
SIGNS = np.random.default_rng(5).choice([-1.0, 1.0], size=(60, 16))
FEWER = SIGNS[:, :9]


def isometries(p):
    """Signed permutation, Hadamard matrix, random rotation."""
    rng = np.random.default_rng(p)
    flip = np.eye(p)[rng.permutation(p)] * rng.choice([-1, 1], size=p)
    return {"signs": flip, "hadamard": hadamard(p) / p**0.5, "random": np.linalg.qr(rng.normal(size=(p, p)))[0]}


def loop_shares(signs, k):
    """P(j among the k nearest of i) by whole numbers, ties in random order."""
    n = len(signs)
    P = np.zeros((n, n))
    for i in range(n):
        dots = {j: int(signs[i] @ signs[j]) for j in range(n) if j != i}
        for j, own in dots.items():
            nearer, tied = sum(s > own for s in dots.values()), sum(s == own for s in dots.values())
            P[i, j] = min(1, max(0, (k - nearer) / tied))
    return P


@pytest.mark.parametrize("p", [16, 128])
@pytest.mark.parametrize("kind", ["signs", "hadamard", "random"])
def test_a_rotation_of_binary_features_keeps_everything(kind, p):
    """Whatever ties there are, duplicates too, a rotation keeps all neighbours, ranks and their correlation exactly."""
    binary = np.random.default_rng(p).integers(0, 2, size=(150, p)).astype(float)
    binary[::7] = binary[1]
    found = structure(binary, 3 * binary @ isometries(p)[kind])
    assert (found.neighbours_kept, found.trustworthiness, found.continuity) == (1, 1, 1)
    assert found.overlap == {1: 1, 5: 1, 10: 1, 50: 1}
    assert found.rdm_spearman == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("k", [1, 5, 10, 59])
def test_ties_share_the_last_places(k):
    """Neighbours kept is the mean over images of Σ min(P, P') / k, P by whole numbers."""
    wanted = np.minimum(loop_shares(SIGNS, k), loop_shares(FEWER, k)).sum(axis=1) / k
    rotation = isometries(16)["random"]
    for rows in (SIGNS, SIGNS @ rotation):
        np.testing.assert_allclose(shared_by_image(rows, FEWER, k), wanted, rtol=1e-12)
        assert neighbours_kept(FEWER, rows, k) == pytest.approx(wanted.mean(), rel=1e-12)


def test_the_places_that_ties_share_add_up_to_k():
    """The memberships of each image are those of loops and add up to k."""
    [block] = neighbourhoods.neighbourhoods(SIGNS, 10)
    sure, tied, places, size = block.members(np.arange(60))
    P = sure + tied * (places / size)[:, None]
    np.testing.assert_allclose(P, loop_shares(SIGNS, 10))
    np.testing.assert_allclose(P.sum(axis=1), 10)
    assert 0 < len(block.rows) < 60


def test_tied_neighbours_come_in_the_order_of_the_images():
    """The list of neighbours is that of a stable sort of whole numbers, also after a rotation."""
    dots = SIGNS @ SIGNS.T - 99 * np.eye(60)
    wanted = np.argsort(-dots, axis=1, kind="stable")[:, :10]
    for rows in (SIGNS, SIGNS @ isometries(16)["random"]):
        np.testing.assert_array_equal(neighbours(rows, 10), wanted)


@pytest.mark.parametrize("k", [1, 6])
def test_trustworthiness_of_ties_equals_loops(k):
    """Each neighbour counts by its probability, and its rank is one more than the images that are strictly nearer."""
    P, penalty = loop_shares(FEWER, k), 0.0
    for i in range(60):
        dots = np.delete(SIGNS @ SIGNS[i], i)
        ranks = np.array([1 + np.count_nonzero(dots > dot) for dot in SIGNS @ SIGNS[i]])
        penalty += float(P[i] @ np.maximum(ranks - k, 0))
    wanted = 1 - 2 * penalty / (60 * k * (120 - 3 * k - 1))
    assert trustworthiness(SIGNS @ isometries(16)["hadamard"], FEWER, k) == pytest.approx(wanted, rel=1e-12)


def test_tied_nearest_images_share_the_label():
    """Accuracy of the nearest image: t tied ones count 1/t each."""
    labels = np.arange(60) % 3
    wanted = (loop_shares(SIGNS, 1) * (labels == labels[:, None])).sum() / 60
    for rows in (SIGNS, SIGNS @ isometries(16)["random"]):
        assert nearest_label_accuracy(rows, labels) == pytest.approx(wanted, rel=1e-12)


def test_rank_correlation_of_ties_is_that_of_whole_numbers():
    """Spearman over all pairs is scipy's on the whole numbers behind the cosines, also after a rotation."""
    upper = np.triu_indices(60, 1)
    wanted = spearmanr((SIGNS @ SIGNS.T)[upper], (FEWER @ FEWER.T)[upper]).statistic
    for rows in (SIGNS, SIGNS @ isometries(16)["random"]):
        assert rdm_correlation(rows, FEWER).spearman == pytest.approx(wanted, rel=1e-12)


# --- collapse ----------------------------------------------------------------------------------------------------

COLLAPSES = {
    "point": lambda X: np.ones((len(X), 4)),
    "zero": lambda X: np.zeros((len(X), 4)),
    "nearly": lambda X: 1 + 1e-8 * X,
    "ray": lambda X: np.abs(X[:, :1]) * np.ones((1, 4)),
}


@pytest.mark.parametrize("kind", COLLAPSES)
def test_a_point_and_a_ray_are_collapsed(kind):
    """Rows that are one point, or point one way, up to 1e-12 of their squares are collapsed."""
    assert collapsed(COLLAPSES[kind](X))


def test_a_loss_a_little_below_chance_has_learned():
    """A loss is that of guessing up to a millionth of a nat: what lies ten of them below is not."""
    assert at_chance(math.log(3) - 1e-7, math.log(3))
    assert not at_chance(math.log(3) - 1e-5, math.log(3))


def test_a_spread_is_not_collapsed():
    """A small spread above the rule, a plane, and a line through zero with both its ends are not collapsed."""
    assert not any(collapsed(rows) for rows in (X, 1e-9 * X, 1 + 1e-5 * X, X[:, :2], X[:, :1]))


@pytest.mark.parametrize("kind", COLLAPSES)
def test_a_collapsed_transform_scores_chance(kind):
    """Collapsed on either side, even on both alike, neighbours kept is k / (n - 1) and nothing looks kept."""
    C = COLLAPSES[kind](X)
    for before, after in ((X, C), (C, X), (C, C)):
        assert neighbours_kept(before, after, 10) == pytest.approx(10 / 59, rel=1e-12)
        with pytest.warns(CollapseWarning, match="those of chance"):
            found = structure(before, after, labels=np.arange(60) % 3)
        assert found.collapsed
        assert (found.neighbours_kept, found.low, found.high) == (pytest.approx(10 / 59), None, None)
        assert found.overlap == {k: pytest.approx(k / 59) for k in (1, 5, 10, 50)}
        assert found.trustworthiness == found.continuity == chance_of_ranks(60, 10)
        assert (found.cka, found.cka_debiased, found.local_cka) == (0, 0, 0)
        assert (found.rdm_spearman, found.rdm_pearson) == (0, 0)
        flat = found.separation_after if after is C else found.separation_before
        assert (flat.gap, flat.silhouette) == (0, 0)


# --- ranks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 20])
def test_trustworthiness_and_continuity_equal_scikit_learn(k):
    """Both equal sklearn.manifold.trustworthiness on cosine distances; continuity with the two sides exchanged."""
    wanted = sklearn_trustworthiness(X, unit_rows(Z), n_neighbors=k, metric="cosine")
    assert trustworthiness(X, Z, k) == pytest.approx(wanted, rel=1e-12)
    wanted = sklearn_trustworthiness(Z, unit_rows(X), n_neighbors=k, metric="cosine")
    assert trustworthiness(Z, X, k) == pytest.approx(wanted, rel=1e-12)


def test_trustworthiness_in_blocks_and_of_the_same():
    """Of many images, block by block, it is that of scikit-learn, and an embedding trusts its own neighbours to 1."""
    moved = MANY @ np.diag([1, 2, 3, 4])
    wanted = sklearn_trustworthiness(MANY, unit_rows(moved), n_neighbors=5, metric="cosine")
    assert trustworthiness(MANY, moved, 5) == pytest.approx(wanted, rel=1e-12)
    assert trustworthiness(X, 3 * X, 5) == 1


def test_the_chance_of_ranks_is_that_of_random_neighbours():
    """Averaged over unrelated embeddings, trustworthiness is the stated chance."""
    rng = np.random.default_rng(0)
    draws = [trustworthiness(X, rng.normal(size=(60, 9)), 8) for _ in range(100)]
    assert np.mean(draws) == pytest.approx(chance_of_ranks(60, 8), abs=4 * np.std(draws) / 10)


# --- kernels -----------------------------------------------------------------------------------------------------


def gram_cka(X, Z, debiased):
    """CKA from whole Gram matrices: HSIC by centring, or by U-centring for the unbiased one."""
    K, L = X @ X.T, Z @ Z.T
    n = len(K)
    if not debiased:
        H = np.eye(n) - 1 / n
        K, L = H @ K @ H, H @ L @ H
    else:
        for A in (K, L):
            np.fill_diagonal(A, 0)
        K, L = (A - (A.sum(0)[None] + A.sum(1)[:, None]) / (n - 2) + A.sum() / ((n - 1) * (n - 2)) for A in (K, L))
        for A in (K, L):
            np.fill_diagonal(A, 0)
    return float((K * L).sum() / math.sqrt((K * K).sum() * (L * L).sum()))


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_from_features_equals_cka_from_gram_matrices(debiased):
    """The p × q formula equals the n × n one, also with a common part, and is 1 under rotation, scale and shift."""
    assert linear_cka(X + 3, Z - 1, debiased=debiased) == pytest.approx(gram_cka(X, Z, debiased), rel=1e-9)
    R = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    assert linear_cka(X, 2 * X @ R + 5, debiased=debiased) == pytest.approx(1, rel=1e-12)
    assert linear_cka(X, np.ones((60, 3)), debiased=debiased) == 0


def test_only_the_debiased_cka_of_unrelated_embeddings_is_zero():
    """With more dimensions than images plain CKA is high for unrelated embeddings, the debiased one is about 0."""
    values = [
        (linear_cka(A, B), linear_cka(A, B, debiased=True))
        for A, B in (np.random.default_rng(seed).normal(size=(2, 30, 200)) for seed in range(20))
    ]
    plain, debiased = np.mean(values, axis=0)
    assert plain > 0.7
    assert abs(debiased) < 0.05
    with pytest.raises(DataError, match="3 images; the debiased CKA needs at least 4"):
        linear_cka(X[:3], Z[:3], debiased=True)


def test_local_cka_is_the_debiased_cka_of_each_neighbourhood():
    """The mean over images of the debiased CKA around each image; 1 for a rotation, about 0 for unrelated ones."""
    before = neighbours(X, 6)
    around = [np.append(before[i], i) for i in range(60)]
    wanted = np.mean([gram_cka(unit_rows(X[rows]), unit_rows(Z[rows]), True) for rows in around])
    many = np.tile(before, (10, 1))  # 600 images, more than are compared at once
    assert local_cka(np.tile(X, (10, 1)), np.tile(Z, (10, 1)), many) == pytest.approx(wanted, rel=1e-9)
    assert local_cka(X, Z, before) == pytest.approx(wanted, rel=1e-9)
    R = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    assert local_cka(X, 4 * X @ R, before) == pytest.approx(1, rel=1e-9)
    assert abs(local_cka(X, RNG.normal(size=(60, 9)), before)) < 0.15


# --- dissimilarities, classes, divergence ------------------------------------------------------------------------


def test_rdm_correlations_equal_scipy():
    """Spearman and Pearson over all pairs are those of scipy on its own cosine distances."""
    found = rdm_correlation(X, Z)
    before, after = pdist(X, "cosine"), pdist(Z, "cosine")
    assert found.spearman == pytest.approx(spearmanr(before, after).statistic, rel=1e-9)
    assert found.pearson == pytest.approx(pearsonr(before, after).statistic, rel=1e-9)
    assert found.n == 60


def test_rdms_of_many_images_are_sampled():
    """Above the limit a seeded sample is compared and its size said; a constant matrix correlates 0."""
    found = rdm_correlation(X, Z, most=25, seed=3)
    rows = np.sort(np.random.RandomState(3).permutation(60)[:25])
    assert found.n == 25
    assert found == rdm_correlation(X[rows], Z[rows])
    assert rdm_correlation(X, np.eye(60)) == (0, 0, 60)


@pytest.mark.parametrize("single", [False, True])
def test_separation_equals_scikit_learn_and_loops(single):
    """Silhouette is silhouette_score with cosine distance, also with a class of one; within and between are loops."""
    labels = np.random.default_rng(0).integers(0, 4, size=60)
    if single:
        labels[7] = 9
    rows = X + 2 * np.eye(9)[labels % 9]
    found = separation(rows, labels)
    assert found.silhouette == pytest.approx(silhouette_score(rows, labels, metric="cosine"), rel=1e-9)
    C = 1 - pairwise_distances(rows, metric="cosine")
    same = labels[:, None] == labels
    off = ~np.eye(60, dtype=bool)
    assert found.within == pytest.approx(C[same & off].mean(), rel=1e-9)
    assert found.between == pytest.approx(C[~same].mean(), rel=1e-9)
    assert found.gap == pytest.approx(found.within - found.between)
    assert found.gap > 0.05


@pytest.mark.parametrize("labels", [np.zeros(60, dtype=int), np.arange(60)])
def test_one_class_or_one_image_a_class_cannot_be_separated(labels):
    """There must be pairs within a class and pairs between two."""
    with pytest.raises(DataError, match="needs two classes and two images"):
        separation(X, labels)


@pytest.mark.parametrize("block_size", [1024, 16])
def test_divergence_is_the_local_loss_less_the_entropy_of_the_teacher(block_size):
    """It equals L_local of the objective, written apart, less the teacher's entropy, and loops over rows."""
    W = RNG.normal(size=(9, 9))
    found = divergence(X, X @ W, tau=0.3, block_size=block_size)
    blocks = [torch.as_tensor(X[rows]) for rows in local_blocks(60, block_size, 42)]
    loss, at_identity = (LocalLoss(blocks, 0.3)(torch.as_tensor(A))[0] for A in (W, np.eye(9)))
    assert found == pytest.approx(loss - at_identity, rel=1e-9)
    total = 0.0
    for rows in local_blocks(60, block_size, 42):
        for i in rows:
            others = rows[rows != i]
            P, Q = (softmax(unit_rows(A)[others] @ unit_rows(A)[i] / 0.3) for A in (X, X @ W))
            total += kl_div(P, Q).sum()
    assert found == pytest.approx(total / 60, rel=1e-9)
    assert divergence(X, 5 * X, tau=0.3) == pytest.approx(0, abs=1e-12)
    for tau in (0.0, -1.0, math.nan):
        with pytest.raises(ParameterError, match="temperature above 0"):
            divergence(X, X, tau=tau)


# --- spectrum ----------------------------------------------------------------------------------------------------


def test_the_spectrum_finds_planted_gains():
    """Of W = U diag(g) Uᵀ on the principal axes U, gains are g over their mean and the shares follow g² λ."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)) * np.array([6, 5, 4, 3, 2, 1.0])
    rows -= rows.mean(axis=0)
    values, axes = np.linalg.eigh(rows.T @ rows / 400)
    values, axes = values[::-1], axes[:, ::-1]
    g = np.array([0.2, 0.5, 0.9, 2.0, 1.5, 0.8])
    found = spectrum((axes * g) @ axes.T, rows + 3)
    np.testing.assert_allclose(found.gains, g / g.mean(), rtol=1e-9)
    assert found.scale == pytest.approx(g.mean(), rel=1e-12)
    assert found.raised == 2
    np.testing.assert_allclose(found.singular_values, np.sort(g)[::-1], rtol=1e-9)
    np.testing.assert_allclose(found.share_before, values / values.sum(), rtol=1e-9)
    np.testing.assert_allclose(found.share_after, g**2 * values / (g**2 * values).sum(), rtol=1e-9)
    np.testing.assert_allclose(variances(rows + 3), values, rtol=1e-9)


def test_shares_of_the_variance_do_not_depend_on_the_scale():
    """Features a thousand times as small have the same shares of the variance before and after, which add up to 1."""
    W = np.diag(np.arange(1.0, 10.0))
    found, small = spectrum(W, X), spectrum(W, X / 1000)
    for name in ("share_before", "share_after"):
        np.testing.assert_allclose(getattr(small, name), getattr(found, name), rtol=1e-9)
        assert getattr(small, name).sum() == pytest.approx(1)


def test_the_smallest_numbers_that_are_measured():
    """10 images have overlaps of 1 and 5 neighbours; inner arrangements are compared from 3 neighbours on."""
    found = structure(X[:10], Z[:10], k=3)
    assert found.overlap.keys() == {1, 5}
    assert found.local_cka == pytest.approx(local_cka(X[:10], Z[:10], neighbours(X[:10], 3)))
    assert structure(X[:10], Z[:10], k=2).local_cka is None


def test_a_transform_without_trace_or_at_zero_has_a_spectrum(as_a_user):
    """With tr W = 0 gains are those of W itself; W = 0 leaves nothing, and nothing is divided by zero."""
    W = np.diag([1.0, -1.0] + [0.0] * 7)
    found = spectrum(W, X)
    assert found.scale == 0
    assert found.gains.max() <= 1 + 1e-12
    assert spectrum(np.eye(9) / 3, X).raised == 0
    assert spectrum(0 * W, X).share_after.tolist() == [0] * 9
    with pytest.raises(DataError, match="maps 9 dimensions but the features have 5"):
        spectrum(W, Z)


def test_effective_directions():
    """p equal variances are p directions, one is 1, none 0; 90 % counts from the largest down."""
    assert participation_ratio(np.ones(7)) == pytest.approx(7)
    assert participation_ratio(np.array([3.0, 0, 0])) == 1
    assert participation_ratio(np.zeros(3)) == 0
    assert directions_for(np.array([8.0, 1, 1])) == 2
    assert directions_for(np.ones(10)) == 9
    assert directions_for(np.zeros(3)) == 0


# --- all of it ---------------------------------------------------------------------------------------------------


def test_structure_gathers_the_measures():
    """Each field is the value of the function of its name, and the interval is over images."""
    labels = np.arange(60) % 4
    found = structure(X, Z, k=7, tau=0.5, labels=labels)
    assert found.neighbours_kept == pytest.approx(neighbours_kept(X, Z, 7), rel=1e-12)
    assert found.low < found.neighbours_kept < found.high
    assert found.overlap == {k: pytest.approx(neighbours_kept(X, Z, k), rel=1e-12) for k in (1, 5, 10, 50)}
    assert found.trustworthiness == trustworthiness(X, Z, 7)
    assert found.continuity == trustworthiness(Z, X, 7)
    assert found.local_cka == local_cka(X, Z, neighbours(X, 7))
    assert found.divergence == divergence(X, Z, tau=0.5)
    assert (found.cka, found.cka_debiased) == (linear_cka(X, Z), linear_cka(X, Z, debiased=True))
    assert (found.rdm_spearman, found.rdm_pearson, found.rdm_images) == rdm_correlation(X, Z)
    assert (found.separation_before, found.separation_after) == (separation(X, labels), separation(Z, labels))
    assert found.participation_after == participation_ratio(variances(Z))
    assert (found.n, found.k, found.tau, found.collapsed) == (60, 7, 0.5, False)


def test_structure_of_the_same_up_to_rotation_is_kept():
    """A rotation and a scale keep everything; relabelling the images changes nothing."""
    R = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    same = structure(X, 3 * X @ R)
    assert (same.neighbours_kept, same.trustworthiness, same.continuity) == (1, 1, 1)
    for value in (same.cka, same.cka_debiased, same.local_cka, same.rdm_spearman, same.rdm_pearson):
        assert value == pytest.approx(1, rel=1e-9)
    assert same.divergence == pytest.approx(0, abs=1e-12)
    order = RNG.permutation(60)
    found, moved = structure(X, Z), structure(X[order], Z[order])
    for name in ("neighbours_kept", "trustworthiness", "cka", "local_cka", "rdm_spearman", "divergence"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name), rel=1e-9)


def test_permuted_images_are_chance():
    """An embedding of other images scores chance everywhere, the interval of neighbours kept holds it."""
    rng = np.random.default_rng(1)
    many = rng.normal(size=(300, 9))
    found = structure(many, many[rng.permutation(300)])
    assert found.low <= 10 / 299 <= found.high
    assert found.trustworthiness == pytest.approx(chance_of_ranks(300, 10), abs=0.03)
    for value in (found.cka_debiased, found.local_cka, found.rdm_spearman):
        assert abs(value) < 0.06


def test_bad_input_to_structure_is_one_sentence(as_a_user):
    """Other images after than before, labels of another number, k without 2k < n, k or tau of 0 are refused."""
    for call, kind, said in (
        (lambda: structure(X, Z[:-1]), DataError, "60 rows before the transform and 59 after"),
        (lambda: structure(X, Z, labels=np.arange(59)), DataError, "59 labels but there are 60 rows"),
        (lambda: structure(X, Z, k=30), ParameterError, r"allows 1 to 29 neighbours"),
        (lambda: structure(X, Z, k=0), ParameterError, "k is 0"),
        (lambda: structure(X, Z, tau=0.0), ParameterError, "tau is 0"),
    ):
        with pytest.raises(kind, match=said) as error:
            call()
        assert "\n" not in str(error.value)


def test_few_neighbours_have_no_local_cka():
    """Two neighbours make no arrangement: local CKA is None there, the rest is measured."""
    assert structure(X, Z, k=2).local_cka is None


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("structure")
    np.save(folder / "x.npy", (2 * X + 1).astype("f4"))
    (folder / "y.txt").write_text("\n".join("abc"[i % 3] for i in range(60)))
    W = np.random.default_rng(0).normal(size=(9, 9)).astype("f4")
    np.savez(folder / "t.npz", weights=W, bias=W[0], mean=0.9, std=2.1)
    np.savez(folder / "zero.npz", weights=0 * W, bias=W[0], mean=0.9, std=2.1)
    np.savez(folder / "seven.npz", weights=W[:7, :7], mean=0.9, std=2.1)
    return folder


def run(files, *more, transform="t.npz"):
    given = ("evaluate", "structure", "--features", files / "x.npy", "--transform", files / transform, *more)
    return execute([str(word) for word in given])


def test_the_command_gives_what_the_library_gives(files, tmp_path, capsys):
    """Before is standardized by the scalars of the transform; --json has every measure, --out a row for each."""
    out = tmp_path / "scores.jsonl"
    assert run(files, "--json", "--labels", files / "y.txt", "--k", 5, "--tau", 0.4, "--out", out) == 0
    found = json.loads(capsys.readouterr().out)
    with np.load(files / "t.npz") as t:
        before = (np.load(files / "x.npy").astype(float) - 0.9) / 2.1
        after = before @ t["weights"].astype(float) + t["bias"]
    wanted = structure(before, after, k=5, tau=0.4, labels=np.array(["abc"[i % 3] for i in range(60)]))
    for name in ("neighbours_kept", "low", "high", "cka", "trustworthiness", "continuity", "divergence", "rdm_pearson"):
        assert found[name] == pytest.approx(getattr(wanted, name), rel=1e-6)
    assert found["overlap"].keys() == {"1", "5", "10", "50"}
    assert found["separation_after"]["gap"] == pytest.approx(wanted.separation_after.gap, rel=1e-6)
    assert found["spectrum"]["raised"] in range(10)
    assert (found["k"], found["tau"], found["n"], found["collapsed"]) == (5, 0.4, 60, False)
    rows = {row["metric"]: row for row in read_rows(out)}
    assert {"neighbours_kept", "neighbours_kept_1", "cka", "silhouette_after", "directions90_before"} <= set(rows)
    assert rows["neighbours_kept"]["low"] == pytest.approx(wanted.low, rel=1e-6)
    assert rows["cka"]["split"] == "x.npy"


def test_the_command_in_words(files, capsys):
    """Without --json each measure has its line, with labels also the classes."""
    assert run(files, "--labels", files / "y.txt") == 0
    told = capsys.readouterr().out
    for words in (
        "neighbours kept (k = 10)",
        "trustworthiness",
        "CKA",
        "Spearman",
        "principal directions",
        "silhouette",
    ):
        assert words in told


def test_the_command_on_a_collapsed_transform(files, capsys):
    """A transform that maps all to one point warns and reports chance."""
    with pytest.warns(CollapseWarning, match="those of chance"):
        assert run(files, "--json", transform="zero.npz") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["collapsed"] is True
    assert found["neighbours_kept"] == pytest.approx(10 / 59)
    assert (found["cka"], found["low"]) == (0, None)


def test_the_command_says_what_is_wrong(files, tmp_path, capsys):
    """No transform exits 2; one of other dimensions, k or tau out of range, or NaN features exit 1 with a sentence."""
    assert execute(["evaluate", "structure", "--features", str(files / "x.npy")]) == 2
    assert "--transform" in capsys.readouterr().err
    broken = np.load(files / "x.npy")
    broken[3, 2] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    for more, transform, said in (
        ((), "seven.npz", "maps 7 dimensions"),
        (("--k", 30), "t.npz", "2k < n"),
        (("--tau", 0), "t.npz", "tau is 0"),
        (("--features", tmp_path / "nan.npy"), "t.npz", "nan at row 3, column 2"),
        (("--labels", files / "none.txt"), "t.npz", "does not exist"),
    ):
        assert run(files, *more, transform=transform) == 1
        streams = capsys.readouterr()
        assert said in streams.err
        assert (streams.err.count("\n"), streams.out) == (1, "")
