"""The transform is one affine map, which is applied, interpolated, reduced, saved and exported."""

import contextlib
import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from fits import fit_record, heldout
from hypothesis import given
from hypothesis import strategies as st

from glocal.data.features import Features
from glocal.data.rows import row_statistics
from glocal.errors import DataError, DataWarning, FileError, MissingDependencyError, ParameterError
from glocal.evaluation.structure import neighbours_kept
from glocal.files import array_sha256
from glocal.transform import (
    LinearTransform,
    apply_file,
    apply_parquet,
    check_rows,
    formats,
    reduced,
)
from glocal.transform.record import TransformRecord, check_record
from glocal.transform.rows import baseline

RNG = np.random.default_rng(0)
P = 6
W = RNG.normal(size=(P, P)).astype(np.float32)
B = RNG.normal(size=P).astype(np.float32)
X = RNG.normal(0.7, 2.3, size=(40, P)) * np.linspace(2, 0.5, P)
META = {"fit": fit_record()}
BOTH = [LinearTransform(W, b, mean=0.7, std=2.3, meta=META) for b in (B, None)]
both = pytest.mark.parametrize("transform", BOTH, ids=["bias", "no-bias"])
UNIT_FIT = dataclasses.replace(
    BOTH[0], meta=META | {"rows": {"normalised": True, "mean_length": 1.0}}
)
suffixes = pytest.mark.parametrize("suffix", formats.ENDINGS)


def by_hand(x, transform):
    """((x - mean) / std) W + b in float64, as another program that reads the file computes it."""
    z = (
        (np.asarray(x, dtype=np.float64) - transform.mean)
        / transform.std
        @ transform.weights.astype(np.float64)
    )
    return z if transform.bias is None else z + transform.bias


# apply


def arrays(kind):
    """numpy.asarray, and torch.as_tensor if torch is installed."""
    return np.asarray if kind == "numpy" else pytest.importorskip("torch").as_tensor


kinds = pytest.mark.parametrize("kind", ["numpy", "torch"])


other_scale = pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # than that of a fit


@kinds
@both
@other_scale
@pytest.mark.parametrize(
    ("dtype", "out", "tolerance"),
    [
        ("f8", "f8", 1e-6),
        ("f4", "f4", 1e-5),
        ("f2", "f2", 1e-2),
        ("i2", "f4", 1e-5),
        ("u1", "f4", 1e-5),
    ],
)
def test_what_comes_in_comes_out(kind, transform, dtype, out, tolerance):
    """Arrays give arrays and tensors give tensors, of the same float dtype, and
    integers give float32.
    """
    x = np.abs(X * 3).astype(dtype)
    before = x.copy()
    expected = by_hand(x, transform)
    z = np.asarray(transform(arrays(kind)(x)))
    assert z.dtype == out
    np.testing.assert_allclose(z, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    np.testing.assert_array_equal(x, before)


@pytest.fixture(scope="module")
def torch():
    """torch, if it is installed."""
    return pytest.importorskip("torch")


def test_tensors_keep_type_and_gradient(torch):
    """bfloat16 is computed in float32 and rounded once, and the gradient is that of z = x A + c."""
    x = torch.from_numpy(X).bfloat16()
    assert torch.equal(BOTH[0](x), BOTH[0](x.float()).bfloat16())
    x = torch.from_numpy(X).requires_grad_()
    BOTH[0](x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile(BOTH[0].folded()[0].sum(axis=1), (40, 1)))


def test_rows_of_any_layout_and_number_are_mapped():
    """No rows, views, other memory and byte orders, and more rows than one block are mapped."""
    transform = BOTH[0]
    assert transform(X[:0]).shape == (0, P)
    for x in (X[::-2], np.asfortranarray(X), X.astype(">f8"), np.tile(X, (20_000, 1))):
        np.testing.assert_allclose(transform(x), by_hand(x, transform), atol=1e-6)


@kinds
@other_scale
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-20, 1.0, 1e20, 1e307])
def test_rows_of_any_length_are_normalized(kind, scale):
    """Tiny and huge rows are divided by their length without underflow or overflow."""
    x = np.array([[3.0, -4.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    z = np.asarray(UNIT_FIT(arrays(kind)(scale * x)))
    np.testing.assert_allclose(z, by_hand(unit, BOTH[0]), atol=1e-3 if scale < 1e-310 else 1e-6)


@kinds
@other_scale
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(kind, value):
    """NaN, infinity and results beyond the float type of the rows are refused with the number of
    the row.
    """
    x = X.copy()
    x[7, 2] = value
    with pytest.raises(DataError, match="row 7, column 2"):
        BOTH[0](arrays(kind)(x))
    x[7, 2] = 6e4
    with pytest.raises(DataError, match=r"mapped to -?inf at row 7"):
        LinearTransform(100 * W, None, 0.7, 2.3)(arrays(kind)(x.astype("f2")))


@kinds
def test_values_near_the_end_of_the_type_are_mapped_in_silence(kind):
    """Rows whose squares overflow are mapped correctly, without a warning of numpy."""
    transform = LinearTransform(np.eye(P, dtype=np.float32), None, 0.0, 1e300)
    z = np.asarray(transform(arrays(kind)(1e300 * np.sign(X))))
    np.testing.assert_allclose(z, np.sign(X), atol=1e-6)
    with pytest.raises(DataError, match="too large"):
        reduced(dataclasses.replace(transform, std=1.0), 1e300 * X, 2)


def test_lists_and_tables_are_rows():
    """A list of rows and a data frame give the same as the array of their numbers."""
    pandas = pytest.importorskip("pandas")
    for rows in (X.tolist(), pandas.DataFrame(X)):
        np.testing.assert_array_equal(BOTH[0](rows), BOTH[0](X))


@kinds
@other_scale
def test_an_offset_does_not_cancel_in_the_product(kind):
    """Float32 features far from 0 are mapped as accurately as their differences from the mean."""
    offset = 4096.3
    x = (X + offset).astype(np.float32)
    expected = (x.astype(np.float64) - offset) @ W.astype(np.float64)
    z = np.asarray(LinearTransform(W, None, offset, 1.0)(arrays(kind)(x)))
    np.testing.assert_allclose(z, expected, rtol=0, atol=1e-5)


# strength


@both
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.0])
def test_strength_interpolates_to_the_scaled_identity(transform, strength):
    """W_s = cI + s (W - cI) and b_s = s b with c = tr W / p; strengths multiply, and strength 0
    only scales rows.
    """
    c = np.trace(W.astype(np.float64)) / P
    W_s = c * np.eye(P) + strength * (W - c * np.eye(P))
    b_s = None if transform.bias is None else strength * B
    blended = transform.at_strength(strength)
    np.testing.assert_allclose(
        blended(X), by_hand(X, dataclasses.replace(transform, weights=W_s, bias=b_s)), atol=1e-5
    )
    np.testing.assert_allclose(
        blended.at_strength(0.5)(X), transform.at_strength(strength / 2)(X), atol=1e-5
    )
    assert blended.at_strength(0.5).meta["strength"] == strength / 2
    assert neighbours_kept((X - 0.7) / 2.3, transform.at_strength(0.0)(X), 5) == 1.0
    assert ("strength" in repr(blended)) == (strength != 1)


# reduction


@both
@pytest.mark.parametrize("r", [1, 3, P])
def test_fewer_dimensions_are_the_best_of_their_rank(transform, r):
    """S_r is the best approximation of S of rank r, by numpy's SVD, with the stated energy."""
    Z = transform(X)
    smaller = reduced(transform, X, r)
    R = smaller(X)
    record = smaller.meta["reduced"]
    U, values, _ = np.linalg.svd(Z @ Z.T)
    best = (U[:, :r] * values[:r]) @ U[:, :r].T
    assert np.abs(R @ R.T - best).max() < 1e-5 * values[0]
    error = np.square(Z @ Z.T - best).sum() / np.square(Z @ Z.T).sum()
    assert record["energy"] == pytest.approx(1 - error, abs=1e-9)
    assert record["length"] == pytest.approx(values[:r].sum() / values.sum(), abs=1e-9)
    assert np.allclose(
        smaller.weights, reduced(transform, X, P).weights[:, :r], atol=1e-6
    )  # directions are nested


@pytest.mark.parametrize("transform", [BOTH[0], UNIT_FIT])
def test_directions_of_pieces_are_those_of_all_rows(transform):
    """Rows in pieces give the directions of all rows."""
    pieces = reduced(transform, iter(np.array_split(X, 7)), 3)
    np.testing.assert_allclose(pieces.weights, reduced(transform, X, 3).weights, atol=1e-5)


def test_the_largest_entry_of_a_direction_is_positive():
    """The signs of reduced dimensions depend neither on the library nor on rounding."""
    identity = LinearTransform(np.eye(P, dtype=np.float32), None, 0.7, 2.3)
    U = reduced(identity, X, P).weights
    assert (U[np.abs(U).argmax(axis=0), np.arange(P)] > 0).all()


# search


@other_scale
@pytest.mark.parametrize("transform", [*BOTH, UNIT_FIT])
def test_candidates_are_sorted_by_their_aligned_cosine(transform):
    """`rerank` gives the order of a search among the aligned candidates, for any precision."""
    candidates = np.stack([np.roll(X, shift, axis=0)[:30] for shift in (3, 8)])
    z = transform(X[:2])
    Z = [transform(single) for single in candidates]
    rows, cosines = transform.rerank(X[:2], candidates, 7)
    for i in range(2):
        S = Z[i] @ z[i] / np.linalg.norm(Z[i], axis=1) / np.linalg.norm(z[i])
        np.testing.assert_array_equal(rows[i], np.argsort(-S)[:7])
        np.testing.assert_allclose(cosines[i], np.sort(S)[::-1][:7])
        single = transform.rerank(X[i].astype("f4"), candidates[i].astype("f2"), 7)[1]
        np.testing.assert_allclose(single, cosines[i], atol=5e-3)


# what is refused


def of_parts(weights=W, bias=None, mean=0.0, std=1.0):
    return lambda: LinearTransform(weights, bias, mean, std)


@pytest.mark.parametrize(
    ("make", "error", "noun"),
    [
        (of_parts(W[:3]), DataError, "weights"), (of_parts(W[0]), DataError, "weights"),
        (of_parts(W * np.float32("nan")), DataError, "NaN"),
        (of_parts(bias=B * np.float32("inf")), DataError, "NaN"),
        (of_parts(bias=B[:3]), DataError, "bias"), (of_parts(mean=np.nan), DataError, "mean"),
        (of_parts(std=0.0), DataError, "std"), (of_parts(std=np.inf), DataError, "std"),
        (lambda: BOTH[0].apply(np.zeros((3, P + 1))), DataError, "shape"),
        (lambda: BOTH[0].apply(np.zeros(P)), DataError, "shape"),
        (lambda: BOTH[0].apply([[1.0], [1.0, 2.0]]), DataError, "lengths"),
        (lambda: BOTH[0].apply([["a"] * P]), DataError, "real numbers"),
        (lambda: BOTH[0].apply(np.zeros((P, 3))), DataError, "transpose"),
        (lambda: BOTH[0].apply(X[0]), DataError, r"x\[None\]"),
        (lambda: BOTH[0].apply(X.astype(object)), DataError, "object"),
        (lambda: BOTH[0].apply(X.astype(complex)), DataError, "complex"),
        (lambda: BOTH[0].apply(np.ma.masked_array(X, X > 0)), DataError, "masked"),
        (lambda: BOTH[0].recentred(X[:0]), DataError, "no images"),
        (lambda: reduced(BOTH[0], X, 0), ParameterError, "dimensions"),
        (lambda: reduced(BOTH[0], X, P + 1), ParameterError, "dimensions"),
        (lambda: reduced(BOTH[0], np.vstack([X, 0 * X + np.nan]), 1), DataError, "row 40"),
        (lambda: reduced(BOTH[0], X[:, :5], 1), DataError, "dimensions"),
        (lambda: reduced(BOTH[0], iter(()), 1), DataError, "row"),
        (lambda: reduced(dataclasses.replace(BOTH[1], weights=0 * W), X, 1), DataError, "0"),
        (lambda: BOTH[0].at_strength(-0.1), ParameterError, "strength"),
        (lambda: BOTH[0].at_strength(np.inf), ParameterError, "strength"),
        (lambda: BOTH[0].at_strength("1"), ParameterError, "strength"),
        (lambda: reduced(BOTH[0], X, 2.0), ParameterError, "dimensions"),
        (lambda: reduced(BOTH[0], X, 2).at_strength(0.5), ParameterError, "strength"),
        (lambda: BOTH[0].rerank(X[0], X[None], 5), DataError, "shape"),
        (lambda: BOTH[0].rerank(X[:2], np.stack([X] * 3), 5), DataError, "shape"),
        (lambda: BOTH[0].rerank(X[0], X, 41), ParameterError, "k"),
        (lambda: BOTH[0].rerank(X[0], X, 0), ParameterError, "k"),
        (lambda: BOTH[0].rerank(X[0], X, 2.0), ParameterError, "k"),
        (lambda: BOTH[0].rerank(X[0], np.full((9, P), np.nan), 2), DataError, "nan at row 0"),
        (lambda: BOTH[0].rerank(["a"] * P, [["a"] * P], 1), DataError, "real numbers"),
        (lambda: BOTH[0].rerank(1.0, X[0], 1), DataError, "shape"),
        (lambda: baseline("centered", Features(X)), ParameterError, "centred"),
        (lambda: BOTH[0].rerank(X[0, :5], X[:, :5], 3), DataError, "6"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_refused(as_a_user, make, error, noun):
    """Invalid parts, other rows, negative strengths and invalid candidates are refused."""
    with pytest.raises(error, match=noun):
        make()


# files


@suffixes
@given(
    p=st.integers(1, 8), r=st.integers(1, 8), bias=st.booleans(),
    mean=st.floats(-1e6, 1e6), std=st.floats(1e-6, 1e6),
    meta=st.dictionaries(
        st.text(min_size=1).filter(lambda key: key not in TransformRecord.model_fields),
        st.none() | st.integers(-9, 9) | st.text(),
    ),
)  # fmt: skip
def test_a_saved_transform_is_loaded_whole(tmp_path_factory, suffix, p, bias, mean, std, r, meta):
    """Weights, bias, scalars and meta survive two rounds of saving, bit by bit, for any p and r."""
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    r = min(p, r)
    rng = np.random.default_rng(p)
    b = rng.normal(size=r).astype(np.float32) if bias else None
    transform = LinearTransform(rng.normal(size=(p, r)).astype(np.float32), b, mean, std, meta)
    paths = [tmp_path_factory.mktemp("t") / f"{name}{suffix}" for name in "ab"]
    transform.save(paths[0])
    LinearTransform.load(paths[0]).save(paths[1])
    np.testing.assert_equal(
        vars(LinearTransform.load(paths[1])), {**vars(transform), "meta": {"format": 1, **meta}}
    )


@suffixes
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_another_reader_reads_our_files(tmp_path, suffix, dtype):
    """The arrays that numpy or safetensors reads give the transform by ((x - mean) / std) @ weights
    + bias.
    """
    transform = dataclasses.replace(BOTH[0], weights=W.astype(dtype))
    path = tmp_path / f"t{suffix}"
    if suffix == ".npz":
        transform.save(path)
        content = dict(np.load(path))
        scalar_shape = ()
        record = content.pop("meta")
        assert json.loads(record.item()) == {"format": 1, **META}
        assert record.nbytes == len(record.item())  # a byte a character
    else:
        library = pytest.importorskip("safetensors.numpy")
        transform.save(path)
        content = library.load_file(path)
        scalar_shape = (1,)
    shapes = {name: (array.shape, array.dtype) for name, array in content.items()}
    assert shapes == {
        "weights": ((P, P), dtype),
        "bias": ((P,), "f4"),
        "mean": (scalar_shape, "f8"),
        "std": (scalar_shape, "f8"),
    }
    z = ((X - content["mean"]) / content["std"]) @ content["weights"] + content["bias"]
    np.testing.assert_allclose(LinearTransform.load(path)(X), z, atol=1e-6)


@pytest.mark.parametrize(
    ("save", "dtype", "shape"),
    [(np.savez, "f4", ()), (np.savez_compressed, "f8", (1,)), (np.savez, "f8", (1, 1))],
)
def test_files_of_the_authors_are_read(tmp_path, save, dtype, shape):
    """A mean and a std with one element, in any shape and precision, make a transform."""
    parts = {
        "weights": W.astype(dtype),
        "mean": np.full(shape, 0.7, dtype),
        "std": np.full(shape, 2.3, dtype),
    }
    for transform, bias in zip(BOTH, ({"bias": B.astype(dtype)}, {}), strict=True):
        save(tmp_path / "transform.npz", allow_pickle=False, **parts, **bias)
        loaded = LinearTransform.load(tmp_path / "transform.npz")
        assert loaded.meta == {}
        np.testing.assert_allclose(loaded(X), by_hand(X, transform), atol=1e-5)


def saved(path, **changes):
    """A transform file with some arrays changed or, if None, left out."""
    parts = {
        "weights": W,
        "bias": B,
        "mean": np.float64(0),
        "std": np.float64(1),
        "meta": np.array("{}"),
        **changes,
    }
    np.savez(path, **{key: value for key, value in parts.items() if value is not None})


@pytest.mark.parametrize(
    ("damage", "error", "noun"),
    [
        (lambda path: (saved(path), os.truncate(path, 300)), FileError, "damaged"),
        (lambda path: saved(path, weights=None, std=None), FileError, "weights and std"),
        (lambda path: saved(path, mean=np.zeros(P)), FileError, "damaged"),
        (lambda path: saved(path, meta=np.array('{"fit": 5}')), FileError, "record"),
        (lambda path: saved(path, meta=np.array('{"format": 99}')), FileError, "format 99"),
        (lambda path: saved(path, weights=W[:3]), DataError, "weights"),
        (lambda path: saved(path, weights=np.full((2, 2), "a")), DataError, "real numbers"),
        (lambda path: saved(path, meta=np.array("{")), FileError, "damaged"),
        (lambda path: saved(path, meta=np.array("[" * 100_000)), FileError, "damaged"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, as_a_user, damage, error, noun):
    """Every damaged, foreign or incomplete file is refused in one line that names it."""
    path = tmp_path / "transform.npz"
    damage(path)
    with pytest.raises(error, match=noun) as caught:
        LinearTransform.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        [], 7, {"format": "1"}, {"strength": "1"}, {"strength": -1.0}, {"strength": True},
        {"source": {"model": ["x"]}}, {"fit": {"method": "global"}},
        {"sweep": 5}, {"reduced": [1]}, {"rows": "x"},
        *({"rows": {"mean_length": 1.0, "std_length": 0.0, "normalised": False, "columns": columns}}
          for columns in (None, "x", [1], {"a": 1.0}, {"6": 1.0}, {"0": "y"}, {"9" * 5000: 1.0})),
        {"rows": {"columns": {}}}, {"rows": {"mean_length": "long", "normalised": True}},
        *({"card": card} for card in ([], {"a": 1}, {"licence": [1]}, {"datasets": None},
                                      {"notes": [1]}, {"licence": "a b"}, {"self": 1})),
        *({"fit": fit_record(**fit)} for fit in (
            {"method": 5}, {"keep": {"keep": []}}, {"provenance": {"data": 5}}, {"surplus": 1},
            {"n_answers": "many"}, {"n_local": -1}, {"alpha": "<b>"}, {"status": 5},
            {"heldout": 5}, {"heldout": {}}, {"heldout": heldout(of="images")},
            {"heldout": heldout(n=0.5)}, {"heldout": heldout(agreement="x")},
            {"heldout": heldout(gain_low=1e308)}, {"heldout": heldout(kept=2.0)},
            {"heldout": heldout(expected=1)}, {"keep": {"keep": 0.9, "centre": "x"}},
        )),
        {"sweep": {"heldout": []}},
    ],
    ids=lambda record: str(record)[:60],
)  # fmt: skip
def test_a_record_that_is_none_is_one_sentence(tmp_path, as_a_user, record):
    """A file whose record of the fit, the rows or the card has wrong types is refused."""
    path = tmp_path / "transform.npz"
    saved(path, meta=np.array(json.dumps(record)))
    with pytest.raises(FileError, match="record") as caught:
        LinearTransform.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_previous_file(tmp_path, monkeypatch):
    """A record that contains itself, another ending and a missing library leave the
    previous file.
    """
    path = tmp_path / "transform.npz"
    BOTH[0].save(path)
    endless = {}
    endless["itself"] = endless
    with pytest.raises(ValueError, match="Circular"):
        dataclasses.replace(BOTH[1], meta=endless).save(path)
    with pytest.raises(ParameterError, match="end in"):
        BOTH[1].save(tmp_path / "transform.npy")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[io\]"):
        BOTH[1].save(tmp_path / "t.safetensors")
    assert np.array_equal(LinearTransform.load(path).bias, B)
    assert os.listdir(tmp_path) == ["transform.npz"]


def test_weights_published_under_a_wrong_name_are_recognised(tmp_path, monkeypatch):
    """Weights that were published under a wrong name cause a warning, unless the path names the
    model to which they were fitted.
    """
    weights = np.eye(768, dtype=np.float32)
    monkeypatch.setitem(formats.WRONG, array_sha256(weights), ("right-net", "other-net"))
    (tmp_path / "right-net").mkdir()
    for path in (tmp_path / "renamed.npz", tmp_path / "right-net/t.npz"):
        LinearTransform(weights, None, 0.0, 1.0).save(path)
    with pytest.warns(DataWarning, match="right-net"):
        LinearTransform.load(tmp_path / "renamed.npz")
    LinearTransform.load(tmp_path / "right-net/t.npz")


@pytest.mark.data
def test_published_transforms_are_read_and_applied(data_dir):
    """Every published transform loads, the misnamed one with a warning, and applies its
    own arrays.
    """
    for path in (data_dir / "transforms").rglob("*.npz"):
        wrong = "dinov2" in str(path)
        content = dict(np.load(path, allow_pickle=False))
        with (
            pytest.warns(DataWarning, match="dino-vit-base-p16")
            if wrong
            else contextlib.nullcontext()
        ):
            transform = LinearTransform.load(path)
        x = np.random.default_rng(0).normal(
            content["mean"], content["std"], (5, transform.dimensions)
        )
        z = (x - content["mean"]) / content["std"] @ content["weights"].astype(
            np.float64
        ) + content.get("bias", 0.0)
        np.testing.assert_allclose(transform(x), z, atol=1e-5 * np.abs(z).max())


# other programs


ALL = [*BOTH, reduced(BOTH[0], X, 3)]


@pytest.mark.parametrize("transform", ALL)
def test_to_linear(torch, transform):
    """`to_linear` maps raw features as `apply` does, draws no random numbers, and is frozen."""
    before = torch.get_rng_state()
    x = X.astype("f4")
    layer = transform.to_linear()
    assert torch.equal(before, torch.get_rng_state())
    assert not any(part.requires_grad for part in layer.parameters())
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), transform(x), atol=1e-5)


@other_scale
@pytest.mark.parametrize("transform", [UNIT_FIT, reduced(UNIT_FIT, X, 3)])
@pytest.mark.parametrize("scale", [1e-30, 1e3, 1e30])
def test_exports_contain_the_scaling_to_length_1(torch, tmp_path, transform, scale):
    """`to_linear` and `to_onnx` map rows of any length, and rows of zeros, as `apply` does, for any
    reader of ONNX, and `fold_into` refuses.
    """
    x = (scale * X).astype("f4")
    x[3] = 0
    expected = transform(x)
    layer = transform.to_linear()
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, atol=1e-5)
    assert not any(part.requires_grad for part in layer.parameters())
    with pytest.raises(ParameterError, match="length 1"):
        transform.fold_into(torch.nn.Linear(P, P))
    reference = pytest.importorskip("onnx.reference")
    onnxruntime = pytest.importorskip("onnxruntime")
    file = str(tmp_path / "t.onnx")
    transform.to_onnx(file)
    for session in (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]),
        reference.ReferenceEvaluator(file),
    ):
        aligned = session.run(["aligned"], {"features": x})[0]
        assert aligned.dtype == np.float32
        np.testing.assert_allclose(aligned, expected, atol=1e-5)


def test_a_missing_torch_is_said(monkeypatch):
    """Without torch, `to_linear` and `fold_into` name the package and the extra."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for make in (BOTH[0].to_linear, lambda: BOTH[0].fold_into(None)):
        with pytest.raises(MissingDependencyError, match=r"torch.*\.\["):
            make()


@given(
    q=st.integers(1, 9), transform=st.sampled_from(ALL), bias=st.booleans(),
    dtype=st.sampled_from(["float64", "float32", "float16", "bfloat16"]),
)  # fmt: skip
def test_fold_into_a_linear(torch, q, transform, bias, dtype):
    """The folded layer equals the layer followed by the transform, and the original layer stays
    unchanged.
    """
    dtype = getattr(torch, dtype)
    layer = torch.nn.Linear(q, P, bias=bias, dtype=dtype).requires_grad_(False)
    before = layer.weight.clone()
    folded = transform.fold_into(layer)
    Y = torch.from_numpy(np.random.default_rng(q).normal(size=(6, q))).to(dtype)
    eps = torch.finfo(dtype).eps  # both ways round a few values below 10, once or twice
    torch.testing.assert_close(folded(Y), transform(layer(Y)), atol=40 * eps, rtol=8 * eps)
    assert (folded.out_features, folded.weight.requires_grad) == (transform.out_dimensions, False)
    assert folded.weight.dtype == folded.bias.dtype == dtype
    assert torch.equal(layer.weight, before)


def test_fold_into_a_parameter_as_open_clip_has_it(torch):
    """A projection matrix that a model multiplies by, as in open_clip, becomes a Linear layer that
    is hooked in.
    """
    visual = torch.nn.Identity()
    pooled = torch.from_numpy(X[:4, :3]).float()
    visual.proj = torch.nn.Parameter(torch.from_numpy(X[:3]).float())
    expected = BOTH[0](pooled @ visual.proj)
    aligned = BOTH[0].fold_into(visual.proj)
    visual.proj = None
    visual.register_forward_hook(lambda module, inputs, output: aligned(output))
    torch.testing.assert_close(visual(pooled), expected, atol=1e-4, rtol=1e-4)
    assert aligned.weight.requires_grad


def test_fold_into_refuses(torch):
    """Another width, another kind of layer and values beyond float16 are refused."""
    with pytest.raises(ParameterError, match="4 features"):
        BOTH[0].fold_into(torch.nn.Linear(3, 4))
    for layer in (torch.nn.Conv2d(3, P, 1), torch.nn.Parameter(torch.ones(P))):
        with pytest.raises(ParameterError, match="layer"):
            BOTH[0].fold_into(layer)
    with pytest.raises(DataError, match="float16"):
        dataclasses.replace(BOTH[0], std=1e-7).fold_into(torch.nn.Linear(3, P, dtype=torch.float16))


@pytest.mark.parametrize("transform", ALL)
def test_onnx_equals_apply_and_describes_itself(tmp_path, transform):
    """onnxruntime maps any number of rows as `apply` does, and the model carries the provenance."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    transform.to_onnx(tmp_path / "t.onnx", opset=18, ir_version=9)
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx", providers=["CPUExecutionProvider"])
    for x in (X[:1].astype("f4"), X.astype("f4")):
        np.testing.assert_allclose(
            session.run(["aligned"], {"features": x})[0], transform(x), atol=1e-5
        )
    model = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (18, 9)
    assert json.loads(model.metadata_props[0].value) == json.loads(
        json.dumps({"format": 1, **transform.meta})
    )


# rows of another scale, and features of another network


def of(X, **meta):
    """A transform that was fitted on these rows."""
    meta = {"rows": row_statistics(X)} | meta
    return LinearTransform(
        np.eye(16, dtype=np.float32), None, float(X.mean()), float(X.std()), meta
    )


ROWS = np.random.default_rng(3).normal(0.4, 1.5, size=(60, 16))
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
MARKED = ROWS + 12 * (np.arange(16) < 4)  # columns that stand out


def test_a_fit_records_its_rows():
    """A record has the lengths of the rows, whether all are 1, and the columns that stand out."""
    lengths = np.linalg.norm(ROWS, axis=1)
    expected = {
        "spread": 1.0,
        "mean_length": pytest.approx(lengths.mean()),
        "std_length": pytest.approx(lengths.std()),
    }
    assert (
        row_statistics(ROWS)
        == row_statistics(Features(ROWS))
        == expected | {"normalised": False, "columns": {}}
    )
    assert row_statistics(UNIT)["normalised"]
    assert [of(rows).normalised for rows in (UNIT, ROWS)] == [True, False]
    check_record({"rows": {"mean_length": 1.0, "normalised": True, "columns": {"15": 2.0}}}, 16)
    standard = (MARKED - MARKED.mean()) / MARKED.std()
    columns = row_statistics(MARKED)["columns"]
    assert columns == {str(i): pytest.approx(standard[:, i].mean(), abs=1e-4) for i in range(4)}
    doubled = row_statistics(MARKED, MARKED.std() / 2)
    assert doubled["spread"] == pytest.approx(2)
    assert doubled["columns"] == pytest.approx({i: 2 * columns[i] for i in columns}, abs=3e-4)


@kinds
@pytest.mark.parametrize(
    ("transform", "rows", "noun", "is_certain"),
    [
        (of(ROWS), ROWS, None, False), (of(ROWS), ROWS[:1], None, False),
        (of(MARKED), MARKED[::2], None, False), (of(UNIT), 3 * ROWS, None, False),
        (of(UNIT), UNIT, None, False),
        (of(ROWS), UNIT, "length 1", True), (of(ROWS, rows={}), UNIT, "std 0", False),
        (of(ROWS, rows={}), 10 * ROWS, "std 10", False), (of(ROWS), 3 + ROWS, "mean 2", True),
        (of(MARKED), np.ascontiguousarray(MARKED[:, ::-1]), "columns", False),
    ],
)  # fmt: skip
def test_other_rows_are_warned_of(kind, transform, rows, noun, is_certain):
    """Rows with another length, mean, std or prominent column cause one warning, and similar rows
    none; without `force` a recorded difference of length or scale is an error.
    """
    rows = arrays(kind)(rows)
    transform = dataclasses.replace(transform)
    strict = pytest.raises(DataError, match=noun) if is_certain else contextlib.nullcontext()
    with pytest.warns(DataWarning, match=noun) if noun else contextlib.nullcontext():
        check_rows(transform, rows)
    check_rows(transform, rows)
    with strict:
        check_rows(transform, rows, force=False)


def test_half_precision_rows_have_a_length():
    """The length of float16 rows whose squares overflow that type is measured in float64."""
    x = (300 * UNIT).astype("f2")
    check_rows(of(x.astype("f8")), x)
    assert np.abs(of(UNIT)(x) - of(UNIT)(UNIT)).max() < 0.1


@kinds
def test_other_rows_are_warned_of_once_where_they_are_used(kind, tmp_path):
    """Calls, `rerank`, files and Parquet warn as `check_rows` does, once for each transform."""
    rows = arrays(kind)(UNIT)
    for use in (
        lambda transform: transform(rows),
        lambda transform: transform.rerank(rows[0], rows),
        lambda transform: transform.recentred(rows),
    ):
        transform = of(ROWS)
        with pytest.warns(DataWarning, match="length 1") as warned:
            use(transform)
        assert len(warned) == 1
        use(transform)
        use(of(UNIT))
    with pytest.warns(DataWarning, match="length 1"):
        apply_file(of(ROWS), Features(UNIT), tmp_path / "z.npy")
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"features": list(UNIT)}).to_parquet(tmp_path / "x.parquet")
    with pytest.warns(DataWarning, match="length 1"):
        apply_parquet(of(ROWS), tmp_path / "x.parquet", tmp_path / "z.parquet")


@kinds
def test_a_row_of_zeros_among_rows_of_length_1_is_named(kind, tmp_path):
    """A row of zeros, which has no direction, causes one warning with its number, in a call and in
    a file.
    """
    rows = UNIT.copy()
    rows[[17, 20]] = 0
    transform = of(UNIT)
    with pytest.warns(DataWarning, match="row 17") as warned:
        transform(arrays(kind)(rows))
    assert len(warned) == 1
    transform(arrays(kind)(rows))
    with pytest.warns(DataWarning, match="row 17"):
        apply_file(of(UNIT), Features(rows), tmp_path / "z.npy")


def test_features_of_another_network_are_warned_of(tmp_path):
    """If the model or the layer recorded beside the features is not that of the fit, a warning says
    so, also where a transform is recentred.
    """
    source = {"model": "clip_ViT-L/14", "layer": "visual"}
    np.save(tmp_path / "features.npy", ROWS)
    for model, layer, noun in (
        ("clip_vit-l-14", "visual", None), ("resnet50", "visual", "resnet50"),
        ("clip_ViT-L/14", "head", "head"),
    ):  # fmt: skip
        record = {"model": model, "layers": {layer: layer}, "preprocessing": "none"}
        (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
        for use in (check_rows, LinearTransform.recentred):
            with pytest.warns(DataWarning, match=noun) if noun else contextlib.nullcontext():
                use(of(ROWS, source=source), Features.load(tmp_path / "features.npy"))
