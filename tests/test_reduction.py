"""Fewer dimensions: the best of each number for the similarities, alike from memory and from files, and a transform."""

import json

import numpy as np
import pytest
import torch

from glocal.cli.app import main
from glocal.data.features import Features
from glocal.errors import DataError, ParameterError
from glocal.evaluation.structure.spectrum import spectrum
from glocal.transform import LinearTransform, apply_file, reduced
from glocal.transform.reduction import leading

RNG = np.random.default_rng(0)
P = 8
X = RNG.normal(0.5, 1.5, size=(60, P)) * np.linspace(3, 0.5, P)
W = (RNG.normal(size=(P, P)) / 2 + np.eye(P)).astype(np.float32)
B = RNG.normal(size=P).astype(np.float32)
TRANSFORMS = [LinearTransform(W, b, mean=0.3, std=1.7, meta={"fit": {"method": "global"}}) for b in (None, B)]
both = pytest.mark.parametrize("transform", TRANSFORMS, ids=["plain", "bias"])


@both
def test_all_dimensions_are_a_rotation(transform):
    """With r = p no similarity changes, of these rows or of others."""
    fewer = reduced(transform, X, P)
    for rows in (X, RNG.normal(size=(20, P))):
        Z, R = transform(rows), fewer(rows)
        assert np.abs(R @ R.T - Z @ Z.T).max() < 1e-5 * np.abs(Z @ Z.T).max()


@both
@pytest.mark.parametrize("r", [1, 3, 6])
def test_fewer_dimensions_are_the_best_of_their_rank(transform, r):
    """S_r is the best approximation of S of rank r, which numpy's SVD gives, and its energy is what is stated."""
    Z, R = transform(X), reduced(transform, X, r)(X)
    U, values, _ = np.linalg.svd(Z @ Z.T)
    best = (U[:, :r] * values[:r]) @ U[:, :r].T
    assert R.shape == (60, r)
    assert np.abs(R @ R.T - best).max() < 1e-5 * values[0]
    found = leading(transform, X)
    error = np.square(Z @ Z.T - best).sum() / np.square(Z @ Z.T).sum()
    assert found.energy[r - 1] == pytest.approx(1 - error, abs=1e-9)
    assert found.length[r - 1] == pytest.approx(values[:r].sum() / values.sum(), abs=1e-9)
    assert found.transform(r).meta["reduced"]["energy"] == pytest.approx(1 - error, abs=1e-9)


@both
def test_directions_are_nested(transform):
    """The first r of more dimensions are the r dimensions, and reducing twice is reducing once."""
    five = reduced(transform, X, 5)
    assert np.array_equal(reduced(transform, X, 3).weights, five.weights[:, :3])
    assert np.allclose(np.abs(reduced(five, X, 3)(X)), np.abs(five(X)[:, :3]), atol=1e-5)


def test_streaming_equals_memory(tmp_path):
    """Directions from pieces of a file, and rows written from it, are those in memory."""
    many = np.tile(X, (10_000, 1)).astype(np.float32)  # 38 MB of float64: two pieces
    np.save(tmp_path / "X.npy", many)
    whole = reduced(TRANSFORMS[1], X, 3)
    features = Features.load(tmp_path / "X.npy")
    pieces = reduced(TRANSFORMS[1], features, 3)
    assert np.allclose(pieces.weights, whole.weights, atol=1e-6)
    assert apply_file(pieces, features, tmp_path / "Z.npy") == len(many)
    assert np.allclose(np.load(tmp_path / "Z.npy")[-60:], whole(X), atol=1e-5)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_reduced_transform_is_a_file(tmp_path, suffix):
    """It is saved and loaded whole, with what it was reduced from and how much it keeps."""
    fewer = reduced(TRANSFORMS[1], X, 3)
    fewer.save(tmp_path / f"reduced{suffix}")
    loaded = LinearTransform.load(tmp_path / f"reduced{suffix}")
    assert np.array_equal(loaded.weights, fewer.weights)
    assert np.array_equal(loaded.bias, fewer.bias)
    assert {"dimensions": 3, "of": P, "rows": 60}.items() <= loaded.meta["reduced"].items()
    assert loaded.meta["fit"] == {"method": "global"}
    assert repr(loaded).startswith("LinearTransform(global, 8 to 3 dimensions, bias")


def test_a_reduced_transform_goes_where_a_square_one_goes():
    """Tensors, composition, torch layers of every kind and the folded map give what `apply` gives."""
    fewer = reduced(TRANSFORMS[1], X, 3)
    Z = fewer(X)
    assert np.allclose(fewer(torch.from_numpy(X)).numpy(), Z, atol=1e-6)
    A, c = fewer.folded()
    assert np.allclose(X @ A + c, Z, atol=1e-5)
    small = torch.from_numpy(X.astype(np.float32))
    assert np.allclose(fewer.to_linear()(small).numpy(), Z, atol=1e-4)
    assert np.allclose((fewer @ TRANSFORMS[0])(X), fewer(TRANSFORMS[0](X)), atol=1e-4)
    for layer, rows in (
        (torch.nn.Linear(5, P), torch.ones(2, 5)),
        (torch.nn.Conv2d(5, P, 1), torch.ones(2, 5, 1, 1)),
        (torch.nn.Parameter(torch.ones(5, P)), torch.ones(2, 5)),
    ):
        folded = fewer.fold_into(layer)
        raw = rows @ layer if isinstance(layer, torch.nn.Parameter) else layer(rows)
        expected = fewer(raw.detach().flatten(1)).numpy()
        assert np.allclose(folded(rows).detach().flatten(1).numpy(), expected, atol=1e-4)
        assert f"out_{'channels' if rows.ndim == 4 else 'features'}=3" in repr(folded) or "5, 3" in repr(folded)


def test_the_spectrum_is_of_the_symmetric_map_with_the_same_similarities():
    """Of a W rotated to another basis, or reduced to all dimensions, the spectrum is that of (W Wᵀ)^½."""
    values, U = np.linalg.eigh(W.astype(np.float64) @ W.T)
    root = (U * np.sqrt(values)) @ U.T
    padded = np.linalg.svd(W[:, :5].astype(np.float64) @ W[:, :5].T)[1][:5] ** 0.5
    found = spectrum(W[:, :5], X)
    assert np.allclose(found.singular_values[:5], padded, atol=1e-6)
    assert found.scale == pytest.approx(padded.sum() / P)
    assert spectrum(root, X).scale == pytest.approx(np.sqrt(values).sum() / P)


@pytest.mark.parametrize("r", [0, P + 1])
def test_a_number_out_of_range_is_refused(r):
    """There are 1 to p dimensions to keep."""
    with pytest.raises(ParameterError, match="allowed are 1 to 8"):
        reduced(TRANSFORMS[0], X, r)


def test_what_has_no_directions_is_refused():
    """Rows mapped to 0, a row that is not finite, rows of another width, a strength after the reduction."""
    with pytest.raises(DataError, match="maps all rows to 0"):
        reduced(LinearTransform(np.zeros((2, 2), np.float32), None, mean=0.0, std=1.0), np.ones((3, 2)), 1)
    with pytest.raises(DataError, match="nan at row 1"):
        reduced(TRANSFORMS[0], np.where(np.arange(60)[:, None] == 1, np.nan, X), 1)
    with pytest.raises(DataError, match="maps 8 dimensions"):
        reduced(TRANSFORMS[0], X[:, :5], 1)
    with pytest.raises(ParameterError, match="has no strength"):
        reduced(TRANSFORMS[0], X, 2).at_strength(0.5)


def ends(*arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def run(capsys, *arguments):
    assert not ends(*arguments)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", [".npy", ".zarr", ".parquet"])
def test_the_command_writes_the_rows_and_the_transform_of_queries(tmp_path, capsys, kind):
    """`apply --dimensions` writes r columns to any kind of file; the saved transform maps the same rows to the same."""
    TRANSFORMS[1].save(tmp_path / "t.npz")
    source = tmp_path / f"X{kind}"
    if kind == ".npy":
        np.save(source, X)
    elif kind == ".zarr":
        pytest.importorskip("zarr").create_array(str(source), data=X, chunks=(16, 4), shards=(32, 8))
    else:
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        lists = arrow.FixedSizeListArray.from_arrays(arrow.array(X.ravel()), P)
        parquet.write_table(arrow.table({"name": [f"{i}" for i in range(60)], "features": lists}), source)
    told = run(
        capsys, "apply", tmp_path / "t.npz", source, "--dimensions", 3, "--strength", 0.7, "--out",
        tmp_path / f"Z{kind}", "--save-transform", tmp_path / "reduced.npz", "--json",
    )  # fmt: skip
    expected = reduced(TRANSFORMS[1].at_strength(0.7), X, 3)
    assert (told["rows"], told["dimensions"], told["of"]) == (60, 3, P)
    assert told["energy"] == pytest.approx(leading(TRANSFORMS[1].at_strength(0.7), X).energy[2], abs=1e-6)
    Z = np.asarray(Features.load(tmp_path / f"Z{kind}"))
    assert np.allclose(Z, expected(X), atol=1e-5)
    assert np.allclose(LinearTransform.load(tmp_path / "reduced.npz")(X), Z, atol=1e-5)
    if kind == ".npy":
        assert 0 < told["neighbours_kept"] <= 1
        assert told["compared"] == 60


def test_a_reduced_transform_is_scored(tmp_path, capsys):
    """`evaluate odd-one-out` and `structure` take it; with all dimensions the agreement is unchanged."""
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "answers.npy", np.array([RNG.permutation(60)[:3] for _ in range(300)]))
    TRANSFORMS[1].save(tmp_path / "t.npz")
    for r in (3, P):
        reduced(TRANSFORMS[1], X, r).save(tmp_path / f"{r}.npz")
    scored = [
        run(
            capsys, "evaluate", "odd-one-out", "--features", tmp_path / "X.npy", "--triplets", tmp_path / "answers.npy",
            "--transform", tmp_path / f"{name}.npz", "--json",
        )
        for name in ("t", P, 3)
    ]  # fmt: skip
    assert scored[1]["accuracy"] == scored[0]["accuracy"]
    assert scored[2]["n"] == 300
    found = run(
        capsys, "evaluate", "structure", "--features", tmp_path / "X.npy", "--transform", tmp_path / "3.npz", "--json"
    )
    assert 0 < found["neighbours_kept"] <= 1
    assert found["spectrum"]["gain_min"] >= 0


def test_a_fit_does_not_start_from_fewer_dimensions(world):
    """One sentence says what the start must map."""
    from glocal import fit_arm

    start = LinearTransform(np.eye(32, 4, dtype=np.float32), None, mean=0.0, std=1.0)
    with pytest.raises(DataError, match="maps 32 dimensions to 4 but the features have 32"):
        fit_arm(world.objects, world.triplets, method="global", start=start)


def test_the_transform_of_queries_needs_a_number(tmp_path, capsys):
    """`--save-transform` without `--dimensions` is one sentence, and so is a number that there is not."""
    np.save(tmp_path / "X.npy", X)
    TRANSFORMS[0].save(tmp_path / "t.npz")
    call = ["apply", tmp_path / "t.npz", tmp_path / "X.npy", "--out", tmp_path / "Z.npy"]
    for more, sentence in (
        (["--save-transform", tmp_path / "r.npz"], "Pass --dimensions too"),
        (["--dimensions", 9], "--dimensions is 9; the transform has 8"),
    ):
        assert ends(*call, *more) == 1
        assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "Z.npy").exists()
