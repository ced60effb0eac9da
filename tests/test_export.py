"""A transform in other programs' formats maps features as `apply` does, and comes back from its files unchanged."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import DataError, FileError, MissingDependencyError, ParameterError
from glocal.transform import export
from glocal.transform.linear import LinearTransform

P = 5


def planted(seed: int = 0, p: int = P, bias: bool = True) -> LinearTransform:
    """A random transform of p dimensions whose mean and std are far from 0 and 1."""
    rng = np.random.default_rng(seed)
    b = rng.normal(size=p).astype(np.float32) if bias else None
    weights = (np.eye(p) + 0.3 * rng.normal(size=(p, p))).astype(np.float32)
    return LinearTransform(weights, b, mean=0.7, std=2.3, meta={"method": "glocal", "note": "τ λ", "alpha": 0.1})


def rows(n: int, p: int = P, seed: int = 1) -> np.ndarray:
    """Raw float32 features."""
    return (0.7 + 2.3 * np.random.default_rng(seed).normal(size=(n, p))).astype(np.float32)


def same(a: LinearTransform, b: LinearTransform) -> bool:
    """Whether two transforms agree in every number."""
    biases = (a.bias is None) == (b.bias is None) and (a.bias is None or np.array_equal(a.bias, b.bias))
    return biases and np.array_equal(a.weights, b.weights) and (a.mean, a.std) == (b.mean, b.std)


seeds = st.integers(0, 999)


# --- torch ---------------------------------------------------------------------------------------------------------


@given(seed=seeds, p=st.integers(1, 9), bias=st.booleans())
def test_to_linear(seed, p, bias):
    """to_linear maps raw features as apply does, whether or not the transform has a bias."""
    transform, X = planted(seed, p, bias), rows(4, p)
    layer = transform.to_linear()
    assert layer.weight.dtype == torch.float32
    assert layer.bias is not None
    np.testing.assert_allclose(layer(torch.from_numpy(X)).numpy(), transform.apply(X), atol=1e-5)


def test_to_linear_is_frozen_and_leaves_the_random_state():
    """to_linear draws no random numbers, and trains only if it is asked to."""
    before = torch.get_rng_state()
    layer = planted().to_linear()
    assert torch.equal(before, torch.get_rng_state())
    assert not any(part.requires_grad for part in layer.parameters())
    assert all(part.requires_grad for part in layer.requires_grad_().parameters())


@given(seed=seeds, q=st.integers(1, 9), layer_bias=st.booleans(), bias=st.booleans())
def test_fold_into(seed, q, layer_bias, bias):
    """The folded layer equals the given layer followed by the transform (float64: to rounding)."""
    transform = planted(seed, bias=bias)
    linear = torch.nn.Linear(q, P, bias=layer_bias, dtype=torch.float64)
    Y = torch.from_numpy(np.random.default_rng(seed).normal(size=(6, q)))
    with torch.no_grad():
        torch.testing.assert_close(transform.fold_into(linear)(Y), transform.apply(linear(Y)), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_fold_into_keeps(dtype):
    """The folded layer has the dtype, mode and requires_grad of the given one, which stays as it was."""
    linear = torch.nn.Linear(3, P, dtype=dtype).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in linear.state_dict().items()}
    folded = planted().fold_into(linear)
    assert folded.weight.dtype == folded.bias.dtype == dtype
    assert folded.weight.device == linear.weight.device
    assert not folded.training
    assert not folded.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in linear.state_dict().items())
    Y = torch.from_numpy(rows(6, 3)).to(dtype)
    eps = torch.finfo(dtype).eps  # both ways round a few values below 10 once or twice
    torch.testing.assert_close(folded(Y), planted().apply(linear(Y)), atol=40 * eps, rtol=8 * eps)


@pytest.mark.parametrize("kind", [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d])
def test_fold_into_a_convolution(kind):
    """A convolution of kernel size 1 is folded at every position, its stride and padding kept."""
    layer = kind(3, P, 1, stride=2, padding=1, bias=False, dtype=torch.float64).requires_grad_(False)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *[5] * (layer.weight.ndim - 2))))
    found, raw = planted().fold_into(layer)(x), layer(x)
    wanted = planted().apply(raw.movedim(1, -1).reshape(-1, P))
    torch.testing.assert_close(found.movedim(1, -1).reshape(-1, P), wanted)


def test_fold_into_a_parameter_as_open_clip_has_it():
    """The projection of an open_clip image tower, folded and hooked in, yields the aligned features."""
    transformer = pytest.importorskip("open_clip.transformer", reason="open_clip needs glocal[extract]")
    tower = transformer.VisionTransformer(
        image_size=16, patch_size=8, width=8, layers=1, heads=2, mlp_ratio=2, output_dim=P
    ).eval()
    image = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = planted()(tower(image))
        aligned = planted().fold_into(tower.proj)
        tower.proj = None
        tower.register_forward_hook(lambda module, inputs, pooled: aligned(pooled))
        torch.testing.assert_close(tower(image), wanted, atol=1e-5, rtol=1e-4)
    assert aligned.weight.requires_grad


def test_fold_into_refuses():
    """Another width, another kind of layer and values beyond float16 are refused with what to do."""
    with pytest.raises(ParameterError, match="yields 4 features but the transform maps 5"):
        planted().fold_into(torch.nn.Linear(3, 4))
    for layer in (torch.nn.Conv2d(3, P, 3), torch.nn.Conv2d(P, P, 1, groups=P), torch.nn.Parameter(torch.ones(P))):
        with pytest.raises(ParameterError, match=r"allowed are a torch\.nn\.Linear"):
            planted().fold_into(layer)
    large = LinearTransform(np.eye(P, dtype=np.float32), None, mean=0.0, std=1e-7)
    with pytest.raises(DataError, match=r"leaves the range of torch\.float16"):
        large.fold_into(torch.nn.Linear(3, P, dtype=torch.float16))


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_a_transform_is_a_function(make):
    """Called, a transform maps arrays to arrays and tensors to tensors as apply does, strength and lengths included."""
    X = make(rows(6))
    Z = planted()(X, strength=0.5, normalize=True)
    assert type(Z) is type(X)
    np.testing.assert_array_equal(np.asarray(Z), np.asarray(planted().apply(X, strength=0.5, normalize=True)))


def test_gradients_pass_through_a_transform():
    """Of a tensor that requires gradients, the gradient of a sum of outputs is that of z = x A + c."""
    X = torch.from_numpy(rows(3)).double().requires_grad_()
    planted()(X).sum().backward()
    A, _ = planted().folded()
    np.testing.assert_allclose(X.grad.numpy(), np.tile(A.sum(axis=1), (3, 1)))


@given(seed=seeds, biases=st.tuples(st.booleans(), st.booleans()))
def test_transforms_compose(seed, biases):
    """(second @ first)(X) is second(first(X)), with any biases; its record lists both."""
    first, second = (planted(seed + i, bias=bias) for i, bias in enumerate(biases))
    X = rows(6).astype(np.float64)
    np.testing.assert_allclose((second @ first)(X), second(first(X)), rtol=1e-5, atol=1e-5)
    assert (second @ first).meta == {"composed": [first.meta, second.meta]}


def test_only_transforms_of_one_width_compose():
    """Transforms of different dimensions, or a matrix, do not compose."""
    with pytest.raises(DataError, match="5 dimensions cannot be followed by one of 4"):
        planted(p=4) @ planted(p=5)
    with pytest.raises(TypeError):
        planted() @ "x"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalize", [False, True])
def test_halves_are_computed_in_float32(dtype, normalize):
    """apply on half-precision tensors equals apply in float32, rounded once to the dtype that came in."""
    X = torch.from_numpy(rows(7)).to(dtype)
    Z = planted().apply(X, normalize=normalize)
    assert Z.dtype == dtype
    assert torch.equal(Z, planted().apply(X.float(), normalize=normalize).to(dtype))


def test_numpy_half_is_computed_in_float32():
    """apply on a float16 array equals apply in float32, rounded once."""
    X = rows(7).astype(np.float16)
    Z = planted().apply(X)
    assert Z.dtype == np.float16
    np.testing.assert_array_equal(Z, planted().apply(X.astype(np.float32)).astype(np.float16))


# --- ONNX ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_onnx_equals_apply(tmp_path, bias):
    """onnxruntime maps any number of rows as apply does, to 1e-5."""
    pytest.importorskip("onnx", reason="ONNX needs glocal[onnx]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX needs glocal[onnx]")
    transform = planted(p=16, bias=bias)
    transform.to_onnx(tmp_path / "t.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 2, 33, 500):
        X = rows(n, 16)
        (Z,) = session.run(["aligned"], {"features": X})
        np.testing.assert_allclose(Z, transform.apply(X), atol=1e-5)


def test_onnx_describes_itself(tmp_path):
    """The model passes the checker, names its input, output and free batch, and carries the provenance."""
    onnx = pytest.importorskip("onnx", reason="ONNX needs glocal[onnx]")
    planted().to_onnx(tmp_path / "t.onnx")
    model = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(model, full_check=True)
    (given_,), (taken,) = model.graph.input, model.graph.output
    assert (given_.name, taken.name) == ("features", "aligned")
    for value in (given_, taken):
        n, p = value.type.tensor_type.shape.dim
        assert (n.dim_param, p.dim_value) == ("n", P)
    (prop,) = model.metadata_props
    assert prop.key == "meta"
    assert json.loads(prop.value) == {"format": 1, **planted().meta}
    assert [file.name for file in tmp_path.iterdir()] == ["t.onnx"]


def test_onnx_refuses(tmp_path, monkeypatch):
    """No folder, too many dimensions for one file, and a missing package each have their sentence."""
    pytest.importorskip("onnx", reason="ONNX needs glocal[onnx]")
    with pytest.raises(FileError, match="cannot write"):
        planted().to_onnx(tmp_path / "none" / "t.onnx")
    wide = np.broadcast_to(np.float32(0), (24_000, 24_000))
    with pytest.raises(ParameterError, match=r"maps 24000 dimensions .* less than 2 GiB"):
        export.to_onnx(wide, wide[0], tmp_path / "t.onnx", meta={})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[onnx\]'"):
        planted().to_onnx(tmp_path / "t.onnx")
    assert not list(tmp_path.iterdir())


# --- files ---------------------------------------------------------------------------------------------------------


def file_of(folder: str | Path, suffix: str) -> Path:
    """A path of this format, or a skip where its package is missing."""
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors needs glocal[io]")
    return Path(folder) / f"transform{suffix}"


SUFFIXES = [".npz", ".safetensors"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=20)
@given(
    planted_=st.builds(planted, seeds, st.integers(1, 9), st.booleans()),
    scalars=st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)),
    meta=st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-9, 9), st.text(max_size=9), st.none())),
)
def test_file_round_trip(suffix, planted_, scalars, meta):
    """Weights, bias, mean, std and meta come back from a file exactly as they were saved."""
    meta.pop("format", None)
    transform = LinearTransform(planted_.weights, planted_.bias, *scalars, meta)
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, suffix)
        transform.save(path)
        found = LinearTransform.load(path)
    assert same(transform, found)
    assert found.meta == {"format": 1, **meta}


def test_formats_agree(tmp_path):
    """A transform saved as npz, loaded and saved as safetensors is the same transform."""
    paths = [file_of(tmp_path, suffix) for suffix in SUFFIXES]
    planted().save(paths[0])
    LinearTransform.load(paths[0]).save(paths[1])
    first, second = map(LinearTransform.load, paths)
    assert same(first, second)
    assert first.meta == second.meta


def test_safetensors_is_readable_by_others(tmp_path):
    """Any safetensors reader finds weights, bias, and mean and std as float64 of one element."""
    path = file_of(tmp_path, ".safetensors")
    planted().save(path)
    from safetensors.torch import load_file

    tensors = load_file(path)
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        "weights": ((P, P), torch.float32),
        "bias": ((P,), torch.float32),
        "mean": ((1,), torch.float64),
        "std": ((1,), torch.float64),
    }


def test_safetensors_of_others(tmp_path):
    """Half-precision weights and no metadata, as others may write, are read."""
    path = file_of(tmp_path, ".safetensors")
    from safetensors.torch import save_file

    weights = torch.from_numpy(planted().weights).half()
    save_file({"weights": weights, "mean": torch.zeros(1), "std": torch.ones(1)}, path)
    found = LinearTransform.load(path)
    assert found.meta == {}
    np.testing.assert_array_equal(found.weights, weights.float().numpy())


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_transform(suffix, fraction):
    """A transform file cut anywhere is refused in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, suffix)
        planted().save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(fraction * len(whole))])
        with pytest.raises(FileError, match=r"^transform file [^\n]*$"):
            LinearTransform.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_flipped_transform(suffix, seed):
    """Flipped bytes give a transform or one sentence, never another error."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, suffix)
        planted().save(path)
        damaged = np.frombuffer(path.read_bytes(), np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        said = None
        try:
            LinearTransform.load(path)
        except (FileError, DataError) as error:
            said = str(error)
    assert said is None or (said.startswith("transform file ") and "\n" not in said)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_no_transform(tmp_path, suffix):
    """A feature array, or a file without mean and std, is no transform under any name."""
    path = file_of(tmp_path, suffix)
    with path.open("wb") as stream:
        np.save(stream, rows(3))
    with pytest.raises(FileError, match=r"plain array|not a whole safetensors"):
        LinearTransform.load(path)
    if suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"weights": np.eye(2)}, path)
    else:
        with path.open("wb") as stream:
            np.savez(stream, weights=np.eye(2))
    with pytest.raises(FileError, match=r"has no mean and std \(it has weights\)"):
        LinearTransform.load(path)


@pytest.mark.parametrize("meta", ["[1]", '"x"', '{"format": "1"}', '{"format": 2}', "{"])
def test_strange_meta(tmp_path, meta):
    """A meta record that is damaged, of another kind or of a later format is refused in one sentence."""
    np.savez(tmp_path / "t.npz", weights=np.eye(2), mean=0.0, std=1.0, meta=np.array(meta))
    with pytest.raises(FileError, match=r"damaged meta|not a JSON object|Upgrade glocal"):
        LinearTransform.load(tmp_path / "t.npz")


def test_without_safetensors(tmp_path, monkeypatch):
    """Without safetensors the sentence names the extra, and a failed save leaves nothing behind."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[io\]'"):
        planted().save(tmp_path / "t.safetensors")
    assert not list(tmp_path.iterdir())
    (tmp_path / "t.safetensors").write_bytes(bytes(8))
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[io\]'"):
        LinearTransform.load(tmp_path / "t.safetensors")
