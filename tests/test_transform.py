"""The transform: one affine map, applied to arrays and tensors, interpolated, saved and read by others."""

import contextlib
import dataclasses
import json
import os
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glocal.data.features import Features
from glocal.errors import DataError, FileError, ParameterError
from glocal.evaluation.structure import neighbours_kept
from glocal.transform import LinearTransform, apply_file, streaming

RNG = np.random.default_rng(0)
P = 6
W = RNG.normal(size=(P, P)).astype(np.float32)
B = RNG.normal(size=P).astype(np.float32)
X = RNG.normal(1.0, 2.0, size=(40, P))
TRANSFORM = LinearTransform(W, B, mean=0.7, std=2.3, meta={"fit": {"method": "global"}})
PLAIN = LinearTransform(W, None, mean=0.7, std=2.3)


def by_hand(x, transform, W=None, b=None):
    """((x - mean) / std) W + b in float64, as another reader of the file computes it."""
    W = transform.weights if W is None else W
    b = transform.bias if b is None else b
    z = ((np.asarray(x, dtype=np.float64) - transform.mean) / transform.std) @ np.asarray(W, dtype=np.float64)
    return z if b is None else z + b


def same(first, second):
    """Whether two transforms are the same map."""
    return (
        np.array_equal(first.weights, second.weights)
        and (first.mean, first.std) == (second.mean, second.std)
        and (np.array_equal(first.bias, second.bias) if first.bias is not None else second.bias is None)
    )


# apply


@pytest.mark.parametrize("transform", [TRANSFORM, PLAIN], ids=["bias", "no-bias"])
@pytest.mark.parametrize(
    ("dtype", "out", "tolerance"),
    [
        (np.float64, np.float64, 1e-6),
        (np.float32, np.float32, 1e-5),
        (np.float16, np.float16, 1e-2),
        (np.int16, np.float32, 1e-5),
        (np.uint8, np.float32, 1e-5),
        (np.int64, np.float32, 1e-5),
    ],
)
def test_numpy_and_torch_give_the_same_kind_back(transform, dtype, out, tolerance):
    """Arrays give arrays and tensors tensors of the float dtype that came in (integers float32), of equal values."""
    x = np.abs(X * 3).astype(dtype)
    before = x.copy()
    wanted = by_hand(x, transform)
    as_array, as_tensor = transform.apply(x), transform.apply(torch.from_numpy(x))
    assert isinstance(as_array, np.ndarray)
    assert isinstance(as_tensor, torch.Tensor)
    assert as_array.dtype == as_tensor.numpy().dtype == out
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(as_array, wanted, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(as_tensor.numpy(), wanted, rtol=0, atol=tolerance * scale)
    np.testing.assert_array_equal(x, before)


def test_bfloat16_tensors_stay_bfloat16():
    """A dtype that numpy lacks is computed in float32 and given back."""
    z = TRANSFORM.apply(torch.from_numpy(X).bfloat16())
    assert z.dtype == torch.bfloat16
    np.testing.assert_allclose(z.float().numpy(), by_hand(X, TRANSFORM), atol=0.1)


def test_rows_of_any_layout_and_number_are_mapped():
    """Zero rows, views and memory maps in other orders are rows too."""
    assert TRANSFORM.apply(X[:0]).shape == (0, P)
    np.testing.assert_allclose(TRANSFORM.apply(X[::-2]), by_hand(X[::-2], TRANSFORM), atol=1e-6)
    np.testing.assert_allclose(TRANSFORM.apply(np.asfortranarray(X)), by_hand(X, TRANSFORM), atol=1e-6)
    np.testing.assert_allclose(TRANSFORM.apply(X.astype(">f8")), by_hand(X, TRANSFORM), atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_normalized_rows_have_length_1(kind):
    """`normalize` scales each row to length 1 and leaves directions; a row mapped to 0 stays 0."""
    identity = LinearTransform(np.eye(P, dtype=np.float32), None, 0.0, 1.0)
    x = X.copy()
    x[3] = 0
    z = np.asarray(identity.apply(kind(x), normalize=True))
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(z, np.divide(x, lengths, where=lengths > 0, out=np.zeros_like(x)), atol=1e-6)


def test_the_folded_map_is_the_same_on_raw_features():
    """z = x A + c with A = W / std and c = b - mean/std Σ_rows W needs no standardization."""
    for transform in (TRANSFORM, PLAIN):
        A, c = transform.folded()
        assert A.dtype == c.dtype == np.float64
        np.testing.assert_allclose(X @ A + c, by_hand(X, transform), atol=1e-12)


@pytest.mark.parametrize("x", [np.zeros((3, P + 1)), np.zeros(P), np.zeros((2, 3, P)), torch.zeros(3, P - 1)])
def test_rows_of_another_length_are_refused(x):
    """Features of another model or shape are refused with both shapes."""
    with pytest.raises(DataError, match=rf"features have shape .* but the transform maps {P} dimensions"):
        TRANSFORM.apply(x)


# strength


@pytest.mark.parametrize("transform", [TRANSFORM, PLAIN], ids=["bias", "no-bias"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.0])
def test_strength_interpolates_to_the_scaled_identity(transform, strength):
    """W_s = cI + s (W - cI) and b_s = s b with c = tr W / p."""
    c = np.trace(W.astype(np.float64)) / P
    W_s = c * np.eye(P) + strength * (W - c * np.eye(P))
    b_s = None if transform.bias is None else strength * B
    np.testing.assert_allclose(transform.at_strength(strength).weights, W_s, atol=1e-6)
    np.testing.assert_allclose(
        transform.apply(X, strength=strength),
        by_hand(X, transform, W_s, np.zeros(P) if b_s is None else b_s),
        atol=1e-5,
    )


def test_strength_0_is_the_original_up_to_scale():
    """At s = 0 every neighbour is kept, at s = 1 nothing changes, and the strength is on record."""
    original = (X - TRANSFORM.mean) / TRANSFORM.std
    assert neighbours_kept(original, TRANSFORM.apply(X, strength=0.0), 5) == 1.0
    assert neighbours_kept(original, TRANSFORM.apply(X), 5) < 1.0
    np.testing.assert_array_equal(TRANSFORM.apply(X, strength=1.0), TRANSFORM.apply(X))
    assert same(TRANSFORM.at_strength(1.0), TRANSFORM)
    assert TRANSFORM.at_strength(0.5).at_strength(0.5).meta["strength"] == 0.25
    np.testing.assert_allclose(
        TRANSFORM.at_strength(0.5).at_strength(0.5).weights, TRANSFORM.at_strength(0.25).weights, atol=1e-6
    )


@pytest.mark.parametrize("strength", [-0.1, np.inf, np.nan])
def test_a_strength_out_of_range_is_refused(strength):
    """The strength is finite and at least 0."""
    with pytest.raises(ParameterError, match="strength is"):
        TRANSFORM.apply(X, strength=strength)


# what makes a transform


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((W[:3], None, 0.0, 1.0), r"weights have shape \(3, 6\); they must be \(p, p\), or \(p, r\)"),
        ((W[0], None, 0.0, 1.0), r"shape \(6,\); they must be"),
        ((W, B[:3], 0.0, 1.0), r"bias has shape \(3,\); it must be \(6,\)"),
        ((W * np.float32("nan"), None, 0.0, 1.0), "weights hold NaN or infinity"),
        ((W, B * np.float32("inf"), 0.0, 1.0), "weights hold NaN or infinity"),
        ((W, None, np.nan, 1.0), "mean is nan"),
        ((W, None, 0.0, 0.0), "std 0.0; they must be finite and std above 0"),
        ((W, None, 0.0, -1.0), "std -1.0"),
        ((W, None, 0.0, np.inf), "std inf"),
    ],
)
def test_parts_that_make_no_transform_are_refused(as_a_user, parts, sentence):
    """Shapes that do not fit, values that are not finite and a std of 0 are refused."""
    with pytest.raises(DataError, match=sentence):
        LinearTransform(*parts)


def test_a_transform_is_frozen():
    """A transform cannot be changed, only replaced."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        TRANSFORM.mean = 0.0


# files


@given(
    p=st.integers(1, 8),
    bias=st.booleans(),
    mean=st.floats(-1e6, 1e6),
    std=st.floats(1e-6, 1e6),
    seed=st.integers(0, 99),
    meta=st.dictionaries(
        st.text(min_size=1).filter(lambda key: key != "format"), st.none() | st.integers(-9, 9) | st.text()
    ),
)
def test_a_saved_transform_is_loaded_whole(tmp_path_factory, p, bias, mean, std, seed, meta):
    """Weights, bias, scalars and meta survive saving, bit by bit, for any p."""
    rng = np.random.default_rng(seed)
    b = rng.normal(size=p).astype(np.float32) if bias else None
    transform = LinearTransform(rng.normal(size=(p, p)).astype(np.float32), b, mean, std, meta)
    path = tmp_path_factory.mktemp("t") / "transform.npz"
    transform.save(path)
    loaded = LinearTransform.load(path)
    assert same(loaded, transform)
    assert {key: value for key, value in loaded.meta.items() if key != "format"} == meta


def test_meta_is_kept_through_a_second_save(tmp_path):
    """Loading and saving again keeps what is on record."""
    TRANSFORM.save(tmp_path / "a.npz")
    LinearTransform.load(tmp_path / "a.npz").save(tmp_path / "b.npz")
    assert LinearTransform.load(tmp_path / "b.npz").meta == {"format": 1, "fit": {"method": "global"}}
    assert TRANSFORM.meta == {"fit": {"method": "global"}}


@pytest.mark.parametrize("transform", [TRANSFORM, PLAIN], ids=["bias", "no-bias"])
def test_another_reader_reads_our_file(tmp_path, transform):
    """numpy without pickles and ((x - mean) / std) @ weights (+ bias) is all that a reader of our files needs."""
    transform.save(tmp_path / "transform.npz")
    with np.load(tmp_path / "transform.npz", allow_pickle=False) as file:
        content = dict(file)
    assert content["weights"].dtype == np.float32
    assert content["mean"].shape == content["std"].shape == ()
    assert json.loads(str(content["meta"]))["format"] == 1
    z = ((X - content["mean"]) / content["std"]) @ content["weights"]
    if "bias" in content:
        z = z + content["bias"]
    assert ("bias" in content) == (transform.bias is not None)
    np.testing.assert_allclose(transform.apply(X), z, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_files_of_the_authors_are_read(tmp_path, dtype, shape, bias):
    """weights, optional bias and a mean and std of one element in any shape and precision make a transform."""
    arrays = {"weights": W.astype(dtype), "mean": np.full(shape, 0.7, dtype), "std": np.full(shape, 2.3, dtype)}
    if bias:
        arrays["bias"] = B.astype(dtype)
    np.savez(tmp_path / "transform.npz", allow_pickle=False, **arrays)
    loaded = LinearTransform.load(tmp_path / "transform.npz")
    assert loaded.meta == {}
    np.testing.assert_allclose(loaded.apply(X), by_hand(X, TRANSFORM if bias else PLAIN), atol=1e-5)


def test_compressed_files_are_read(tmp_path):
    """An archive that numpy compressed is read as well."""
    np.savez_compressed(tmp_path / "t.npz", allow_pickle=False, weights=W, mean=np.float64(0.7), std=np.float64(2.3))
    assert same(LinearTransform.load(tmp_path / "t.npz"), PLAIN)


def saved(path, **changes):
    """A transform file with some arrays changed or (None) left out."""
    arrays = {"weights": W, "bias": B, "mean": np.float64(0), "std": np.float64(1), "meta": np.array("{}"), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda path: None, FileError, "does not exist"),
        (lambda path: path.mkdir(), FileError, "is a folder"),
        (lambda path: path.write_bytes(b""), FileError, "is empty"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no archive"), FileError, "not a whole .npz archive"),
        (lambda path: path.write_text("weights"), FileError, "not a whole .npz archive"),
        (lambda path: (saved(path), os.truncate(path, 300)), FileError, "not a whole .npz archive"),
        (
            lambda path: (np.save(path.with_suffix(".npy"), W), path.with_suffix(".npy").rename(path)),
            FileError,
            "is a plain array, not an .npz",
        ),
        (
            lambda path: saved(path, weights=None, std=None),
            FileError,
            r"has no weights and std \(it has bias, mean, meta\)",
        ),
        (lambda path: saved(path, mean=np.zeros(P)), FileError, "mean and std of 6 and 1 values"),
        (lambda path: saved(path, weights=np.array([[{}]])), FileError, "not a whole .npz archive"),
        (lambda path: saved(path, meta=np.array("{no json")), FileError, "damaged meta record"),
        (lambda path: saved(path, meta=np.array("[1, 2]")), FileError, "meta record that is not a JSON object"),
        (lambda path: saved(path, meta=np.array('{"format": "x"}')), FileError, "not a JSON object of glocal"),
        (
            lambda path: saved(path, meta=np.array('{"format": 99}')),
            FileError,
            "of format 99; this version reads up to 1",
        ),
        (lambda path: saved(path, weights=W[:3]), DataError, r"shape \(3, 6\); they must be"),
        (lambda path: saved(path, bias=B[:2]), DataError, r"bias has shape \(2,\)"),
        (lambda path: saved(path, std=np.float64(0)), DataError, "std above 0"),
        (lambda path: saved(path, weights=np.full((2, 2), "a")), DataError, "they must be real numbers"),
        (lambda path: saved(path, mean=np.array("a")), DataError, "they must be real numbers"),
        (
            lambda path: saved(path, weights=W.astype(complex)),
            DataError,
            "complex128 weights; they must be real numbers",
        ),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, as_a_user, damage, error, sentence):
    """Every damaged, foreign or incomplete file is refused in one line that names it."""
    path = tmp_path / "transform.npz"
    damage(path)
    with pytest.raises(error, match=sentence) as caught:
        LinearTransform.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_flipped_byte_is_noticed(tmp_path, position):
    """A file that changed on its way is refused by its checksums, not applied."""
    path = tmp_path / "transform.npz"
    large = LinearTransform(RNG.normal(size=(64, 64)).astype(np.float32), None, 0.0, 1.0)
    large.save(path)
    content = bytearray(path.read_bytes())
    content[int(position * 64 * 64 * 4)] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"not a whole \.npz archive"):
        LinearTransform.load(path)


def test_a_failed_save_leaves_the_previous_file(tmp_path):
    """A meta record that JSON cannot hold fails before the previous file is touched."""
    path = tmp_path / "transform.npz"
    TRANSFORM.save(path)
    with pytest.raises(TypeError):
        dataclasses.replace(TRANSFORM, meta={"no": object()}).save(path)
    assert same(LinearTransform.load(path), TRANSFORM)
    assert os.listdir(tmp_path) == ["transform.npz"]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:transform file .* dinov2-vit-base-p14:glocal.errors.DataWarning")
def test_published_transforms_are_read_and_applied(data_dir):
    """Every published transform loads, and applying it is the arithmetic of its own arrays."""
    paths = sorted((data_dir / "transforms").rglob("*.npz"))
    assert len(paths) >= 4
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            content = {key: np.asarray(file[key], dtype=np.float64) for key in file.files}
        transform = LinearTransform.load(path)
        x = np.random.default_rng(0).normal(content["mean"].item(), content["std"].item(), (5, transform.dimensions))
        z = ((x - content["mean"].item()) / content["std"].item()) @ content["weights"] + content.get("bias", 0.0)
        np.testing.assert_allclose(transform.apply(x), z, atol=1e-5 * np.abs(z).max())


# streaming

SEVEN_ROWS = P * 4 * 7  # bytes of a chunk


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, ">f4"])
@pytest.mark.parametrize(
    "options", [{}, {"normalize": True}, {"strength": 0.4}], ids=["plain", "normalize", "strength"]
)
def test_streaming_equals_applying_in_memory(tmp_path, dtype, options):
    """The file holds what `apply` gives, over several chunks, in the float dtype of the input."""
    x = np.abs(X * 5).astype(dtype)
    done = []
    n = apply_file(TRANSFORM, Features(x), tmp_path / "z.npy", progress=done.append, chunk_bytes=SEVEN_ROWS, **options)
    z = np.load(tmp_path / "z.npy", allow_pickle=False)
    wanted = TRANSFORM.apply(x, **options)
    assert n == done[-1] == len(z) == 40
    assert len(done) > 3
    assert z.dtype == wanted.dtype.newbyteorder("=")
    np.testing.assert_allclose(z, wanted, rtol=1e-5, atol=1e-5)


def test_streaming_reads_from_the_file(tmp_path):
    """A memory-mapped feature file streams into another file, and a previous output is replaced."""
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "z.npy").write_bytes(b"old")
    apply_file(TRANSFORM, Features.load(tmp_path / "x.npy"), tmp_path / "z.npy", chunk_bytes=SEVEN_ROWS)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), by_hand(X, TRANSFORM), atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "z.npy"]


@pytest.mark.parametrize(("value", "row"), [(np.nan, 0), (np.inf, 17), (-np.inf, 39)])
def test_a_bad_row_is_named_and_leaves_no_output(tmp_path, value, row):
    """NaN or infinity in any chunk is refused with its row and column, and no output or partial file is left."""
    x = X.copy()
    x[row, 2] = value
    with pytest.raises(DataError, match=f"holds {value} at row {row}, column 2"):
        apply_file(TRANSFORM, Features(x), tmp_path / "z.npy", chunk_bytes=SEVEN_ROWS)
    assert os.listdir(tmp_path) == []


def test_a_value_beyond_the_dtype_is_said(tmp_path, recwarn):
    """A float16 output that overflows is an error about the row, not a file with infinities."""
    x = X.astype(np.float16)
    x[5] = 60_000
    with pytest.raises(DataError, match=r"is mapped to .*inf at row 5"):
        apply_file(LinearTransform(10 * W, None, 0.0, 1.0), Features(x), tmp_path / "z.npy")
    assert os.listdir(tmp_path) == []


def test_features_of_another_model_are_refused_before_writing(tmp_path):
    """Features with another number of columns leave a previous output as it was."""
    (tmp_path / "z.npy").write_bytes(b"old")
    with pytest.raises(DataError, match="maps 6 dimensions"):
        apply_file(TRANSFORM, Features(X[:, :4]), tmp_path / "z.npy")
    assert (tmp_path / "z.npy").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("read", "features file features cannot be read: Input/output error"),
        ("write", "cannot write .*: the disk is full"),
    ],
)
def test_a_failing_disk_ends_the_stream(tmp_path, monkeypatch, fails, sentence):
    """An error in the reading or the writing thread is raised, ends both threads and leaves no output."""

    class Failing(Features):
        def chunks(self, rows=None):
            for start, chunk in super().chunks(rows):
                if start > 20:
                    raise OSError(5, "Input/output error")
                yield start, chunk

    @contextlib.contextmanager
    def on_a_full_disk(path):
        with opened(path), open("/dev/full", "wb") as stream:
            yield stream

    opened, many = streaming.atomic_write, np.tile(X, (100, 1))  # more than the buffer of a file holds
    before = threading.active_count()
    if fails == "write":
        monkeypatch.setattr(streaming, "atomic_write", on_a_full_disk)
    with pytest.raises(FileError, match=sentence):
        apply_file(TRANSFORM, (Failing if fails == "read" else Features)(many), tmp_path / "z.npy", chunk_bytes=10_000)
    assert threading.active_count() == before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_an_offset_does_not_cancel_in_the_product(kind):
    """Float32 features far from 0 are mapped as their differences from the mean are: the mean comes off first."""
    offset = 4096.3
    transform = LinearTransform(W, None, offset, 1.0)
    x = (X + offset).astype(np.float32)
    wanted = (x.astype(np.float64) - offset) @ W.astype(np.float64)
    np.testing.assert_allclose(np.asarray(transform.apply(kind(x))), wanted, rtol=0, atol=1e-5)


def test_rows_are_mapped_in_blocks_alike():
    """Many rows, which are mapped some at a time, become what the few that they repeat become."""
    many = np.tile(X, (20_000, 1))  # 38 MB of float64: two blocks
    wanted = np.tile(TRANSFORM.apply(X, normalize=True), (20_000, 1))
    np.testing.assert_allclose(TRANSFORM.apply(many, normalize=True), wanted, rtol=0, atol=1e-12)


def test_what_is_no_array_is_refused(as_a_user):
    """A list or an array of objects is a sentence, not an attribute error."""
    with pytest.raises(DataError, match="features are a list; a transform maps numpy arrays and tensors"):
        TRANSFORM.apply(X.tolist())
    with pytest.raises(DataError, match="features hold object values"):
        TRANSFORM.apply(X.astype(object))


def test_a_file_of_another_width_is_named_with_its_shape(tmp_path):
    """The shape in the sentence is that of the file, not of a sample of it."""
    np.save(tmp_path / "x.npy", np.zeros((5, P + 1)))
    with pytest.raises(DataError, match=rf"features have shape \(5, {P + 1}\)"):
        apply_file(TRANSFORM, Features.load(tmp_path / "x.npy"), tmp_path / "z.npy")


def test_a_transform_is_shown_in_one_line():
    """What is printed of a transform is what it is, not its weights."""
    assert repr(TRANSFORM) == "LinearTransform(global, 6 dimensions, bias, mean 0.7, std 2.3)"
