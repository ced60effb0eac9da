"""A transform in other programs' formats maps features as `apply` does."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import DataError, ParameterError
from glocal.transform import LinearTransform, reduced

torch = pytest.importorskip("torch")

P = 5


def planted(seed: int = 0, bias: bool = True) -> LinearTransform:
    """A random transform whose mean and std are far from 0 and 1."""
    rng = np.random.default_rng(seed)
    b = rng.normal(size=P).astype(np.float32) if bias else None
    weights = (np.eye(P) + 0.3 * rng.normal(size=(P, P))).astype(np.float32)
    return LinearTransform(weights, b, mean=0.7, std=2.3, meta={"note": "τ λ", "alpha": 0.1})


def rows(n: int, p: int = P) -> np.ndarray:
    """Raw float32 features."""
    return (0.7 + 2.3 * np.random.default_rng(1).normal(size=(n, p))).astype(np.float32)


@pytest.mark.parametrize("transform", [planted(), planted(bias=False), reduced(planted(), rows(9), 3)])
def test_to_linear(transform):
    """to_linear maps raw features as apply does, draws no random numbers, and trains only if it is asked to."""
    before = torch.get_rng_state()
    layer = transform.to_linear()
    assert torch.equal(before, torch.get_rng_state())
    assert not any(part.requires_grad for part in layer.parameters())
    np.testing.assert_allclose(layer(torch.from_numpy(rows(4))).numpy(), transform(rows(4)), atol=1e-5)


@given(
    seed=st.integers(0, 99), q=st.integers(1, 9), biases=st.tuples(st.booleans(), st.booleans()), r=st.integers(1, P),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
)  # fmt: skip
def test_fold_into_a_linear(seed, q, biases, r, dtype):
    """The folded layer equals the given layer followed by the transform, in its precision, and leaves it as it was."""
    transform = reduced(planted(seed, bias=biases[0]), rows(9), r)
    layer = torch.nn.Linear(q, P, bias=biases[1], dtype=dtype).requires_grad_(False)
    before = layer.weight.clone()
    folded, Y = transform.fold_into(layer), torch.from_numpy(rows(6, q)).to(dtype)
    eps = torch.finfo(dtype).eps  # both ways round a few values below 10 once or twice
    torch.testing.assert_close(folded(Y), transform(layer(Y)), atol=40 * eps, rtol=8 * eps)
    assert (folded.out_features, folded.weight.requires_grad) == (r, False)
    assert folded.weight.dtype == folded.bias.dtype == dtype
    assert torch.equal(layer.weight, before)


def test_fold_into_a_parameter_as_open_clip_has_it():
    """A projection that a model multiplies by, as that of open_clip's towers, becomes a Linear hooked in after it."""
    visual = torch.nn.Identity()
    visual.proj = torch.nn.Parameter(torch.from_numpy(rows(3)))
    pooled = torch.from_numpy(rows(4, 3))
    wanted = planted()(pooled @ visual.proj)
    aligned = planted().fold_into(visual.proj)
    visual.proj = None
    visual.register_forward_hook(lambda module, inputs, output: aligned(output))
    torch.testing.assert_close(visual(pooled), wanted, atol=1e-4, rtol=1e-4)
    assert aligned.weight.requires_grad


def test_fold_into_refuses():
    """Another width, another kind of layer and values beyond float16 are refused."""
    with pytest.raises(ParameterError, match="4 features"):
        planted().fold_into(torch.nn.Linear(3, 4))
    for layer in (torch.nn.Conv2d(3, P, 1), torch.nn.Parameter(torch.ones(P))):
        with pytest.raises(ParameterError, match="layer"):
            planted().fold_into(layer)
    large = LinearTransform(np.eye(P, dtype=np.float32), None, mean=0.0, std=1e-7)
    with pytest.raises(DataError, match="float16"):
        large.fold_into(torch.nn.Linear(3, P, dtype=torch.float16))


@pytest.mark.parametrize("transform", [planted(), planted(bias=False), reduced(planted(), rows(9), 3)])
def test_onnx_equals_apply_and_describes_itself(tmp_path, transform):
    """onnxruntime maps any number of rows as apply does; the model passes the checker and carries the provenance."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    transform.to_onnx(tmp_path / "t.onnx", opset=18, ir_version=9)
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 33):
        (Z,) = session.run(["aligned"], {"features": rows(n)})
        np.testing.assert_allclose(Z, transform(rows(n)), atol=1e-5)
    model = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (18, 9)
    assert json.loads(model.metadata_props[0].value) == json.loads(json.dumps({"format": 1, **transform.meta}))
