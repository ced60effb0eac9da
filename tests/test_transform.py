"""The transform is one affine map, which is applied, interpolated, reduced, saved and exported."""

import contextlib
import inspect
import json
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from fits import fit_record, heldout, record_of, row_record
from hypothesis import given
from hypothesis import strategies as st
from world import folder, matrix, normal, run, table

from glocal import Features, LinearTransform
from glocal.data.rows import row_statistics
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.files import array_sha256
from glocal.transform import apply_file, check_rows, formats, reduced
from glocal.transform.record import TransformRecord

RNG = np.random.default_rng(0)
P = 6
W = RNG.normal(size=(P, P)).astype("f4")
B = RNG.normal(size=P).astype("f4")
X = RNG.normal(0.7, 2.3, size=(40, P)) * np.linspace(2, 0.5, P)
RECORD = record_of(fit=fit_record())
T = LinearTransform(W, B, mean=0.7, std=2.3, record=RECORD)
BOTH = [T, replace(T, bias=None)]
UNIT_FIT = replace(T, record=record_of(fit=fit_record(), rows=row_record(0.7, 2.3)))
ALL = [*BOTH, reduced(T, X, 3)]
both = pytest.mark.parametrize("transform", BOTH)
has_safetensors = find_spec("safetensors") is not None
suffixes = pytest.mark.parametrize("suffix", formats.ENDINGS[: 1 + has_safetensors])
other_scale = pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # than that of a fit


def by_hand(x, transform):
    """((x - mean) / std) W + b in float64, as another program that reads the file computes it."""
    z = (np.asarray(x, "f8") - transform.mean) / transform.std @ transform.weights.astype("f8")
    return z if transform.bias is None else z + transform.bias


def close(result, expected, atol=1e-5):
    """Assert that values are equal up to this part of the largest."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol * np.abs(expected).max())


def maybe(expected, kind, noun):
    """The context of a warning or an error with this noun, or of none."""
    return expected(kind, match=noun) if noun else contextlib.nullcontext()


@pytest.fixture(scope="module")
def torch():
    """torch, if it is installed."""
    return pytest.importorskip("torch")


@pytest.fixture(params=["numpy", "torch"])
def rows(request):
    """numpy.asarray, and torch.as_tensor if torch is installed."""
    if request.param == "numpy":
        return np.asarray
    return pytest.importorskip("torch").as_tensor


# apply


MAPPED = [
    *((transform, np.abs(X * 3).astype(dtype))
      for transform in BOTH for dtype in "f8 f4 f2 i2 u1".split()),
    (T, np.tile(X, (9_000, 1))),  # more than one block
    (LinearTransform(np.eye(P, dtype="f4"), None, 0.0, 1e300), 1e300 * X),  # squares overflow
    (replace(T, mean=4096.3), (X + 4096.3).astype("f4")),  # an offset does not cancel
]  # fmt: skip


@other_scale
@pytest.mark.parametrize("transform, x", MAPPED)
def test_what_comes_in_comes_out(rows, transform, x):
    """Arrays give arrays and tensors give tensors, of the same float dtype, and integers give
    float32, as accurately as their differences from the mean are.
    """
    before = x.copy()
    z = np.asarray(transform(rows(x)))
    assert z.dtype == (x.dtype if x.dtype.kind == "f" else "f4")
    close(z, by_hand(x, transform), 1e-6 + 10 * np.finfo(z.dtype).eps)
    np.testing.assert_array_equal(x, before)


def test_tensors_keep_type_and_gradient(torch):
    """bfloat16 is computed in float32 and rounded once, and the gradient is that of z = x A + c."""
    x = torch.from_numpy(X)
    half = x.bfloat16()
    assert torch.equal(T(half), T(half.float()).bfloat16())
    T(x.requires_grad_()).sum().backward()
    close(x.grad[5], T.folded()[0].sum(axis=1))


def test_rows_of_any_layout_are_mapped():
    """No rows, views, other byte orders, lists and tables are mapped."""
    table = pytest.importorskip("pandas").DataFrame(X)
    assert T(X[:0]).shape == (0, P)
    for x in (X[::-2], X.astype(">f8"), X.tolist(), table):
        close(T(x), by_hand(x, T), 1e-6)


@other_scale
@pytest.mark.parametrize("scale, dtype", [(1e-320, "f8"), (1e307, "f8"), (300, "f2")])
def test_rows_of_any_length_are_normalized(rows, scale, dtype):
    """A transform of rows of length 1 scales rows without underflow or overflow, and a row of zeros
    stays a row of zeros.
    """
    unit = matrix("0.6 -0.8 0 0 0 0; 0.5 0.5 0.5 0.5 0 0; 0 0 0 0 0 0")
    z = UNIT_FIT(rows((5 * scale * unit).astype(dtype)))
    close(z, by_hand(unit, T), 1e-3)


@other_scale
def test_rows_that_are_not_finite_are_refused(rows):
    """NaN, infinity and results beyond the float type of the rows are refused with the number of
    the row.
    """
    x = X.copy()
    x[7, 2] = np.nan
    with pytest.raises(DataError, match="row 7, column 2"):
        T(rows(x))
    x[7, 2] = 6e4
    with pytest.raises(DataError, match=r"mapped to -?inf at row 7"):
        replace(T, weights=100 * W)(rows(x.astype("f2")))


# strength


@both
@pytest.mark.parametrize("strength", [0.0, 0.3, 3.0])
def test_strength_interpolates_to_the_scaled_identity(transform, strength):
    """W_s = cI + s (W - cI), b_s = s b and mean_s = s mean with c = tr W / p, so that strength 0
    only scales rows; strengths multiply.
    """
    c = np.trace(W.astype("f8")) / P * np.eye(P)
    b = None if transform.bias is None else strength * B
    blended_by_hand = replace(
        transform, weights=c + strength * (W - c), bias=b, mean=strength * transform.mean
    )
    blended = transform.at_strength(strength)
    half = blended.at_strength(0.5)
    close(blended(X), by_hand(X, blended_by_hand))
    close(half(X), transform.at_strength(strength / 2)(X))
    assert f"strength {strength / 2:g}" in repr(half)


# reduction


@both
@pytest.mark.parametrize("r", [1, 3])
def test_fewer_dimensions_are_the_best_of_their_rank(transform, r):
    """S_r is the best approximation of S of rank r, by numpy's SVD, with the stated energy; the
    signs of the directions depend neither on the library nor on rounding.
    """
    S = transform(X) @ transform(X).T
    smaller = reduced(transform, X, r)
    R = smaller(X)
    U, values, _ = np.linalg.svd(S)
    best = (U[:, :r] * values[:r]) @ U[:, :r].T
    assert np.abs(R @ R.T - best).max() < 1e-5 * values[0]
    energy = 1 - np.square(S - best).sum() / np.square(S).sum()
    record = vars(smaller.record.reduced)
    shares = (energy, values[:r].sum() / values.sum())
    assert (record["energy"], record["length"]) == pytest.approx(shares, abs=1e-9)
    close(smaller.weights, reduced(transform, X, P).weights[:, :r])  # directions are nested
    U = reduced(replace(T, weights=np.eye(P, dtype="f4"), bias=None), X, r).weights
    assert (np.abs(U).max(axis=0) == U.max(axis=0)).all()


# what is refused


REFUSED = [
    ("shape", T, X[:3].T), (r"X\[None\]", T, X[0]), ("real numbers", T, [["a"] * P]),
    ("complex", T, X + 0j), ("masked", T, np.ma.masked_array(X)),
    ("no images", T.recentred, X[:0]),
    ("row 40", reduced, T, np.vstack([X, np.nan * X]), 1),
    ("maps all rows to 0", reduced, replace(T, weights=0 * W, bias=None), X, 1),
    ("too large", reduced, replace(T, std=1.0), 1e300 * X, 2),
    *(("strength", T.at_strength, s) for s in (-0.1, np.inf, "1")),
    *(("`dimensions`", reduced, T, X, r) for r in (0, P + 1, 2.0)),
    ("has no strength", ALL[2].at_strength, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_mapped_is_refused(as_a_user, case):
    """Rows, pools and candidates of other shapes and types, and strengths, dimensions and numbers
    of candidates that do not exist are refused.
    """
    noun, call, *arguments = case
    with pytest.raises((DataError, ParameterError), match=noun):
        call(*arguments)


# files


@suffixes
@given(
    p=st.integers(1, 8), r=st.integers(1, 8), bias=st.booleans(),
    mean=st.floats(-1e6, 1e6), std=st.floats(1e-6, 1e6),
    meta=st.dictionaries(st.text(min_size=9), st.none() | st.integers(-9, 9) | st.text()),
)  # fmt: skip
def test_a_saved_transform_is_loaded_whole(tmp_path_factory, suffix, p, bias, mean, std, r, meta):
    """Weights, bias, scalars and unknown keys survive saving, bit by bit, for any p and r."""
    weights = normal(p, min(p, r), seed=p).astype("f4")
    record = TransformRecord(other=json.dumps(meta))
    transform = LinearTransform(weights, weights[0] if bias else None, mean, std, record)
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    transform.save(path)
    LinearTransform.load(path).save(path)
    np.testing.assert_equal(vars(LinearTransform.load(path)), vars(transform))


@suffixes
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_another_reader_reads_our_files(tmp_path, suffix, dtype):
    """The arrays that numpy or safetensors reads give the transform by ((x - mean) / std) @ weights
    + bias.
    """
    path = tmp_path / f"t{suffix}"
    replace(T, weights=W.astype(dtype)).save(path)
    if suffix == ".npz":
        content = dict(np.load(path))
        assert json.loads(content.pop("meta").item()) == {"format": 1, "fit": fit_record()}
    else:
        content = pytest.importorskip("safetensors.numpy").load_file(path)
    types = {"weights": dtype, "bias": "f4", "mean": "f8", "std": "f8"}
    assert {name: array.dtype for name, array in content.items()} == types
    z = ((X - content["mean"]) / content["std"]) @ content["weights"] + content["bias"]
    close(LinearTransform.load(path)(X), z, 1e-6)


def saved(path, **changes):
    """A transform file with some arrays changed or, if None, left out."""
    parts = {"weights": W, "bias": B, "mean": np.float64(0), "std": np.float64(1)} | changes
    np.savez(path, **{key: value for key, value in parts.items() if value is not None})


@pytest.mark.parametrize("dtype, shape", [("f4", ()), ("f8", (1, 1))])
def test_files_of_the_authors_are_read(tmp_path, dtype, shape):
    """A mean and a std with one element, in any shape and precision, make a transform."""
    scalars = {"mean": np.full(shape, 0.7, dtype), "std": np.full(shape, 2.3, dtype)}
    saved(tmp_path / "t.npz", weights=W.astype(dtype), **scalars)
    loaded = LinearTransform.load(tmp_path / "t.npz")
    assert loaded.record == TransformRecord()
    close(loaded(X), by_hand(X, T))


# what a record is, or what is changed in that of a fit or of its held-out scores
RECORDS = r"""
record []
record 7
record {"format": 99}
record {"format": "1"}
record {"strength": "1"}
record {"strength": -1.0}
record {"strength": true}
record {"source": {"model": ["x"]}}
record {"fit": 5}
record {"fit": {"method": "global"}}
record {"sweep": 5}
record {"sweep": {"fold_unit": []}}
record {"reduced": [1]}
record {"rows": "x"}
record {"rows": {"columns": {}}}
rows {"mean_length": "long", "normalize": true}
rows {"mean_length": 1.0, "normalize": false, "columns": null}
rows {"mean_length": 1.0, "normalize": false, "columns": {"a": 1.0}}
rows {"mean_length": 1.0, "normalize": false, "columns": {"6": 1.0}}
rows {"mean_length": 1.0, "normalize": false, "columns": {"0": "y"}}
rows {"mean_length": 1.0, "normalize": false, "columns": {"999999999999": 1.0}}
record {"card": []}
record {"card": {"a": 1}}
record {"card": {"licence": [1]}}
record {"card": {"licence": "a b"}}
record {"card": {"licence": "mit\nextra: x"}}
record {"card": {"base_model": "a b"}}
record {"card": {"datasets": ["x\ny"]}}
record {"card": {"datasets": null}}
record {"card": {"notes": [1]}}
record {"card": {"self": 1}}
fit {"method": 5}
fit {"keep": {"keep": []}}
fit {"centre": "x"}
fit {"provenance": {"data": 5}}
fit {"surplus": 1}
fit {"n_answers": "many"}
fit {"n_local": -1}
fit {"alpha": "<b>"}
fit {"status": 5}
fit {"heldout": 5}
fit {"heldout": {}}
heldout {"of": "images"}
heldout {"n": 0.5}
heldout {"agreement": "x"}
heldout {"gain_low": 1e308}
heldout {"neighbours_kept": 2.0}
heldout {"expected": 1}
"""


def damaged(line):
    """The damaged record of a line of this text."""
    part, _, content = line.partition(" ")
    record = json.loads(content)
    if part == "heldout":
        record = {"heldout": heldout(**record)}
    if part == "rows":
        return {"rows": {"mean": 0.0, "std": 1.0, **record}}
    return record if part == "record" else {"fit": fit_record(**record)}


@pytest.mark.parametrize(
    "noun, changes",
    [
        ("weights and std", {"weights": None, "std": None}), ("weights", {"weights": W[:3]}),
        ("weights", {"weights": W[0]}), ("real numbers", {"weights": np.full((2, 2), "a")}),
        ("NaN", {"weights": np.nan * W}), ("NaN", {"bias": np.inf * B}), ("bias", {"bias": B[:3]}),
        ("damaged", {"mean": B}), *(("std", {"std": value}) for value in (0.0, np.inf)),
        ("mean", {"mean": np.nan}), ("damaged", {"meta": np.array("[" * 100_000)}),
        *(("record|Record", {"meta": np.array(json.dumps(damaged(line)))})
          for line in RECORDS.strip().split("\n")),
    ],
)  # fmt: skip
def test_a_file_that_is_no_transform_is_one_sentence(tmp_path, as_a_user, noun, changes):
    """An incomplete or foreign file, weights that are not square or finite, other scalars, and a
    record of the fit, the rows or the card of wrong types are refused in one line that names the
    file.
    """
    saved(tmp_path / "transform.npz", **changes)
    with pytest.raises((FileError, DataError), match=rf"^(?=.*transform\.npz).*({noun}).*\Z"):
        LinearTransform.load(tmp_path / "transform.npz")


def test_weights_published_under_a_wrong_name_are_recognised(tmp_path, monkeypatch):
    """Weights that were published under a wrong name cause a warning, unless the path names the
    model to which they were fitted.
    """
    transform = LinearTransform(np.eye(768, dtype="f4"), None, 0.0, 1.0)
    monkeypatch.setattr(formats, "WRONG", array_sha256(transform.weights))
    right = "dino-vit-base-p16"
    with pytest.warns(DataWarning, match=right):
        LinearTransform.load(folder(tmp_path, t_npz=transform) / "t.npz")
    LinearTransform.load(folder(tmp_path / right, t_npz=transform) / "t.npz")


@pytest.mark.data
def test_published_transforms_are_read(data_dir):
    """Every published transform has the arrays of its file, the misnamed one with a warning."""
    for path in (data_dir / "transforms").rglob("*.npz"):
        with maybe(pytest.warns, DataWarning, "dino-" if "dinov2" in str(path) else None):
            transform = LinearTransform.load(path)
        for name, array in np.load(path).items():
            np.testing.assert_allclose(getattr(transform, name), array, rtol=1e-6)


# other programs


@other_scale
@pytest.mark.parametrize(
    "transform, scale",
    [*((transform, 1) for transform in ALL), (UNIT_FIT, 1e-30), (reduced(UNIT_FIT, X, 3), 1e30)],
)
def test_a_layer_equals_apply(torch, transform, scale):
    """`to_linear`, which is frozen and draws no random numbers, maps raw rows as `apply` does, of
    any length and of zeros where it scales them to length 1.
    """
    x = (scale * X).astype("f4")
    x[3] = 0
    before = torch.get_rng_state()
    layer = transform.to_linear()
    assert torch.equal(before, torch.get_rng_state())
    expected = transform(x, force=True)
    close(layer(torch.from_numpy(x)).numpy(), expected)  # which a trainable layer refuses


def test_every_listed_attribute_can_be_read():
    """What `dir` lists can be read, so that completion and `inspect` work on a transform."""
    names = {name for name, _ in inspect.getmembers(T)}
    assert names >= {name for name in dir(T) if not name.startswith("__")}


def test_centring_of_many_columns_needs_no_matrix_of_them():
    """A transform that only subtracts means holds and makes no p × p numbers: for 50,000 columns
    they would be 10 GB, and it maps and recentres in a few MB.
    """
    X = np.random.default_rng(0).normal(size=(20, 50_000)).astype("f4")
    tracemalloc.start()
    transform = LinearTransform.centring(X)
    Z = transform(X)
    transform.recentred(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * X.nbytes
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-5)


# rows of another scale, and features of another network


def of(X, **meta):
    """A transform that was fitted on these rows."""
    fitted = LinearTransform.centring(X)
    parts = {name: getattr(record_of(**meta), name) for name in meta}
    return replace(fitted, record=fitted.record.model_copy(update=parts))


ROWS = np.random.default_rng(3).normal(0.4, 1.5, size=(60, 16))
ONES = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
HALF = (300 * ONES).astype("f2")
MARKED = ROWS + 12 * (np.arange(16) < 4)  # columns that stand out


def faded(share):
    """Rows of the mean and spread of MARKED, whose column means stand out by this share of its."""
    profile = (MARKED.mean(axis=0) - MARKED.mean()) / MARKED.std()
    noise = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    scale = np.sqrt(1 - share**2 * np.mean(profile**2))
    return MARKED.mean() + MARKED.std() * (share * profile + scale * noise)


KINDS = {
    "rows": ROWS, "unrecorded": ROWS, "ones": ONES, "half": HALF, "marked": MARKED,
    "one_row": ROWS[:1], "triple": 3 * ROWS, "tenfold": 10 * ROWS, "moved": 3 + ROWS,
    "half_of_marked": MARKED[::2], "reversed": np.fliplr(MARKED).copy(),
    "by_.45": faded(0.45), "by_.55": faded(0.55),
}  # fmt: skip
# the rows of the fit, other rows, the noun of the warning, and what happens without `force`
WARNINGS = """
rows rows none nothing
rows one_row none nothing
marked half_of_marked none nothing
ones triple none nothing
ones ones none nothing
half half none nothing
rows ones length_1 error
unrecorded ones std_0 nothing
unrecorded tenfold std_10 nothing
rows moved mean_2 error
marked reversed columns error
marked by_.45 columns nothing
marked by_.55 none nothing
"""


def test_a_fit_records_its_rows():
    """A record has the mean and deviation of all entries, the lengths of the rows, whether all are
    1, and the columns that stand out.
    """
    length = pytest.approx(np.linalg.norm(ROWS, axis=1).mean())
    scalars = {"mean": pytest.approx(ROWS.mean()), "std": pytest.approx(ROWS.std())}
    statistics = {"mean_length": length, "normalize": False, "columns": {}}
    assert vars(row_statistics(ROWS)) == scalars | statistics
    standard = (MARKED - MARKED.mean()) / MARKED.std()
    columns = {str(i): standard[:, i].mean() for i in range(4)}
    assert row_statistics(MARKED).columns == pytest.approx(columns, abs=3e-4)


@table("line", WARNINGS)
def test_other_rows_are_warned_of(rows, line):
    """Rows with another length, mean, std or prominent column cause one warning, and similar rows
    none; without `force` a recorded difference of length or scale is an error.
    """
    fitted, other, noun, error = line.split()
    noun = noun.replace("none", "").replace("_", " ")
    transform = of(KINDS[fitted].astype("f8"))
    if fitted == "unrecorded":
        transform = replace(transform, record=TransformRecord())
    x = rows(KINDS[other])
    with maybe(pytest.warns, DataWarning, noun):
        check_rows(transform, x)
    check_rows(transform, x)
    with maybe(pytest.raises, DataError, noun if error == "error" else None):
        check_rows(transform, x, force=False)


def test_other_rows_are_an_error_or_one_warning_where_they_are_used(rows, tmp_path):
    """Calls and files refuse rows that are certainly others, as `check_rows` does without `force`;
    with it they warn once for each transform.
    """
    x = rows(ONES)
    for use in (
        lambda transform, **force: transform(x, **force),
        lambda transform, **force: apply_file(transform, Features(ONES), tmp_path / "z", **force),
    ):
        transform = of(ROWS)
        with pytest.raises(DataError, match=r"length 1.*force=True"):
            use(transform)
        with pytest.warns(DataWarning, match="length 1") as warned:
            use(transform, force=True)
        assert len(warned) == 1
        use(transform, force=True)


def test_a_rotated_network_is_refused(here):
    """`apply` and `evaluate` end with an error for rows of another network of equal width, also
    with ``-q``; with ``--force`` the JSON has the difference.
    """
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(MARKED.shape[1],) * 2))[0]
    rotated = (MARKED - MARKED.mean()) @ rotation + MARKED.mean()
    folder(here, t_npz=of(MARKED), x_npy=MARKED, r_npy=rotated)
    for line in (
        "-q apply t.npz {}.npy --out z.npy",
        "-q evaluate structure --features {}.npy --transform t.npz",
    ):
        refused = run(line.format("r"))
        assert refused.code == 1
        assert "--force" in refused.err
        forced = run(line.format("r") + " --force --json").json
        assert "another network" in forced["row_differences"][0]
        assert run(line.format("x") + " --json").json["row_differences"] == []


def test_rows_of_another_form_are_named(as_a_user):
    """A column of names, a path and a photograph are said to be what they are."""
    frame = pd.DataFrame(X).assign(id=range(len(X)))
    cases = {
        "'id' seems to name": frame, "is a path": "features.npy",
        "is an image": np.zeros((4, 4, 3)), "'id'": frame.assign(id="a").iloc[:, 1:],
    }  # fmt: skip
    for noun, value in cases.items():
        with pytest.raises(DataError, match=noun):
            T(value)
    for value in ("features.npy", np.zeros((4, 4, 3))):
        with pytest.raises(DataError, match=r"path|image"):
            Features(value)


NETWORKS = """
clip_vit-l-14 | visual
resnet50 | visual | resnet50
clip_vit-l-14 | head | head
"""


@table("model, layer, noun", NETWORKS)
def test_features_of_another_network_are_warned_of(tmp_path, model, layer, noun):
    """If the model or the layer recorded beside the features is not that of the fit, a warning says
    so where a transform is recentred; without `force` it is an error.
    """
    transform = of(ROWS, source={"model": "clip_ViT-L/14", "layer": "visual"})
    record = json.dumps({"model": model, "layers": {layer: layer}})
    features = Features.load(folder(tmp_path, features_npy=ROWS, record_json=record))
    with maybe(pytest.warns, DataWarning, noun):
        transform.recentred(features)
    with maybe(pytest.raises, DataError, noun):
        check_rows(transform, features, force=False)
