"""Networks, their layers, pooling and weights, on tiny networks, and nightly on those of the
libraries with random weights.
"""

import functools
import hashlib
import urllib.error
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from world import table

from glocal.errors import DataError, FileError, ParameterError
from glocal.extract import load_model
from glocal.extract.libraries import torchvision_layers, user_model
from glocal.extract.models import (
    Layer,
    load_checkpoint,
    pooled,
    read_layers,
    resolve,
    weights_sha256,
)
from glocal.extract.names import _TO_TIMM, ModelName

Image = pytest.importorskip("PIL.Image")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.act(self.act(self.conv(x))).mean((2, 3)))


def small():
    return user_network(Small().eval(), "python:small")


def test_layers_are_read_before_they_are_overwritten():
    """Three layers equal a run by hand, before a later layer overwrites them in place."""
    model = small()
    batch = torch.rand(2, 3, 8, 8)
    activations = read_layers(model, batch, resolve(model, ["conv", "penultimate", "output"]))
    with torch.inference_mode():
        conv = model.module.conv(batch)
        hidden = conv.relu().mean((2, 3))
        expected = (conv, hidden, model.module.out(hidden))
    assert all(map(torch.equal, activations.values(), expected))


def user_network(network, name="python:own"):
    return user_model((network, lambda image: torch.ones(3, 8, 8)), name)


def test_penultimate_of_a_module_goes_into_its_last_linear_layer():
    """The penultimate layer is the input of the last linear layer, whatever follows; a module
    without a linear layer has none.
    """
    head = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Dropout(), nn.Softmax(1))
    assert user_network(head).named == {"penultimate": Layer("2", "input")}
    assert user_network(nn.Sequential(nn.Flatten(), nn.Softmax(1))).named == {}


def run(model, *layers):
    """A batch of one image, and the outputs of the layers in evaluation mode."""
    batch = model.preprocess(Image.effect_noise((240, 200), 90).convert("RGB"))[None]
    return batch, read_layers(model.on("cpu", "float32"), batch, resolve(model, layers))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: run(user_network(lambda batch: torch.zeros(3, 4))), DataError, "row"),
        (lambda: run(user_network(lambda batch: "text")), DataError, "row"),
        (lambda: run(small(), "act"), DataError, "act of python:small runs 2 times"),
        (lambda: pooled(torch.rand(2, 3, 4, 5), "cls"), DataError, "class token"),
        (lambda: run(small(), "convv"), ParameterError, "mean conv.*output, conv, act, out, penul"),
        (lambda: user_network(None), ParameterError, "preprocess"),
        (lambda: user_model("model", "python:m"), ParameterError, "preprocess"),
        (lambda: user_network(torch.sum).on("cpu", "float16"), ParameterError, "precision"),
        (lambda: small().on("quantum", "float32"), ParameterError, "device"),
    ],
)
def test_what_cannot_be_read_or_run_is_refused(make, error, message):
    """Results without one row for each image, layers that are missing or run twice, wrong pairs and
    unknown devices are refused.
    """
    with pytest.raises(error, match=message):
        make()


def test_pooling_is_what_its_name_says():
    """The poolings cls, mean and flatten of tokens and maps equal plain indexing, and prefix tokens
    are not patches.
    """
    tokens = torch.rand(2, 5, 3)
    maps = torch.rand(2, 3, 4, 5)
    for activations, expected in (
        (pooled(tokens, "cls"), tokens[:, 0]),
        (pooled(tokens, "mean", prefix_tokens=2), tokens[:, 2:].mean(1)),
        (pooled(tokens, "auto", prefix_tokens=1), tokens[:, 0]),
        (pooled(tokens, "auto"), tokens.mean(1)),
        (pooled(tokens[:, :1], "mean", prefix_tokens=1), tokens[:, 0]),
        (pooled(tokens, "flatten"), tokens.flatten(1)),
        (pooled(maps, "auto"), maps.mean((2, 3))),
        (pooled(maps, "mean", channels_last=True), maps.mean((1, 2))),
        (pooled(tokens[:, 0], "cls"), tokens[:, 0]),
    ):
        assert torch.equal(activations, expected)


def test_a_hash_of_weights_sees_every_value_and_type():
    """The hash changes with one value, or with the type of all values, and not if the same weights
    are loaded.
    """
    module, copy = (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2))
    before = weights_sha256(module)
    copy.load_state_dict(module.state_dict())
    assert weights_sha256(copy) == before
    assert weights_sha256(module.bfloat16()) != before
    copy[1].running_mean[1] += 1e-6
    assert weights_sha256(copy) != before


def test_a_callable_is_known_by_its_weights_file(tmp_path):
    """The identity of a callable has the hash of its weights file, and a missing file
    is refused.
    """
    network = functools.partial(torch.sum)
    network.weights_file = tmp_path / "w.bin"
    with pytest.raises(FileError, match="does not exist"):
        user_network(network)
    network.weights_file.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert user_network(network).identity["weights_sha256"] == sha256


def test_weights_come_from_a_file(tmp_path):
    """A state dict of torch.save, and safetensors, are loaded exactly."""
    state = Small().state_dict()
    torch.save(state, tmp_path / "w.pth")
    pytest.importorskip("safetensors.torch").save_file(state, tmp_path / "w.safetensors")
    for file in tmp_path.iterdir():
        load_checkpoint(module := Small(), file)
        assert all(map(torch.equal, module.state_dict().values(), state.values()))


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no", {"a": object()}, {"weight": torch.ones(3)}, [1]]
)
def test_a_weights_file_that_does_not_fit_is_refused(tmp_path, content):
    """A weights file that is damaged, pickled, foreign, or without tensors is refused."""
    file = tmp_path / "w.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(FileError, match=r"^.*weights.*$"):
        load_checkpoint(nn.Linear(2, 2), file)


MEANT = """
clip_ViT-L/14@336px     | openclip:ViT-L-14-336-quickgelu:openai
dino-vit-base-p16       | timm:vit_base_patch16_224.dino
resnet18                | torchvision:resnet18
vit_b_16                | torchvision:vit_b_16
torchvision:resnet50:V2 | torchvision:resnet50:V2
"""


@table("text, meant", MEANT)
def test_names_of_thingsvision_and_the_paper_are_understood(text, meant):
    """Each name as thingsvision or the paper writes it stands for one model of one library."""
    assert str(ModelName.parse(text)) == meant


NAMES = "keras:resnet timm: python:nothing python:no_such_module:f python:json:no_such"
OF_LIBRARIES = (
    "simclr-rn50 timm:vit_bas timm:test_vit:some_tag torchvision:resnet17 torchvision:resnet18:V9 "
    "openclip:ViT-Z openclip:ViT-B-32 openclip:ViT-B-32:nope"
)


@pytest.mark.parametrize("names", [NAMES, pytest.param(OF_LIBRARIES, marks=pytest.mark.nightly)])
def test_a_name_that_means_nothing_is_refused(names):
    """Each wrong name is refused in one sentence."""
    for text in ("", *names.split()):
        with pytest.raises(ParameterError, match=r"^.*(model|weights).*$"):
            load_model(text)


# --- the libraries ---


@pytest.mark.nightly
@pytest.mark.parametrize("name", "vit vit3 convnext efficientnet resnet mambaout".split())
def test_the_penultimate_layer_of_timm_is_its_pooled_head_input(name):
    """`penultimate` equals forward_head(pre_logits=True), `logits` the output of the network, and
    the preprocessing is timm's.
    """
    timm = pytest.importorskip("timm")
    model = load_model(f"timm:test_{name}:none")
    batch, activations = run(model, "penultimate", "logits")
    with torch.inference_mode():
        expected = model.module.forward_head(model.module.forward_features(batch), pre_logits=True)
        assert torch.allclose(activations["penultimate"], expected, atol=1e-6)
        assert torch.equal(activations["logits"], model.module(batch))
    config = timm.data.resolve_model_data_config(model.module)
    transform = timm.data.create_transform(**config, is_training=False)
    assert " ".join(repr(transform).split()) == model.identity["preprocessing"]
    again = load_model(f"timm:test_{name}:none")  # random weights are the same every time
    assert again.identity == model.identity


@pytest.mark.nightly
def test_the_penultimate_layer_of_torchvision_is_that_of_the_paper():
    """`penultimate` is avgpool of a ResNet and classifier.3 of a VGG; without weights, images are
    prepared as for the default weights.
    """
    models = pytest.importorskip("torchvision.models")
    model = load_model("torchvision:resnet18:none")
    _, activations = run(model, "penultimate", "avgpool", "logits")
    assert torch.equal(activations["penultimate"], pooled(activations["avgpool"], "auto"))
    assert activations["logits"].shape == (1, 1000)
    assert "crop_size=[224]" in model.identity["preprocessing"]
    with torch.device("meta"):
        layers = torchvision_layers(models.vgg11(init_weights=False))
    assert layers["penultimate"] == Layer("classifier.3")


@pytest.mark.nightly
def test_the_penultimate_layer_of_clip_is_visual(tmp_path):
    """`visual` equals encode_image: projected features that are not scaled to length 1."""
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "tiny-clip.json").write_text(
        """{"embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2,
                     "layers": 1}}""",
        encoding="utf-8",
    )
    open_clip.add_model_config(tmp_path)
    model = load_model("openclip:tiny-clip:none")
    block = "visual.transformer.resblocks.0"
    batch, activations = run(model, "penultimate", block)
    with torch.inference_mode():
        assert torch.equal(activations["penultimate"], model.module.encode_image(batch))
    assert activations[block].shape == (1, 5, 64)
    assert model.prefix_tokens == 1


@pytest.mark.nightly
def test_every_mapped_name_exists_in_its_library():
    """The names to which thingsvision's names are mapped exist in their libraries, and so do their
    weights.
    """
    timm, open_clip = map(pytest.importorskip, ("timm", "open_clip"))
    assert all(map(timm.is_model_pretrained, _TO_TIMM.values()))
    for text in "ViT-L/14 ViT-B/32 ViT-B/16 RN50x64 ViT-L/14@336px".split():
        name = ModelName.parse(f"clip_{text}")
        assert (name.name, name.weights) in open_clip.list_pretrained()


@pytest.mark.nightly
def test_dinov2_of_thingsvision_sees_224_pixels(monkeypatch):
    """The mapped name has thingsvision's input size and not timm's 518, and `penultimate` is the
    class token.
    """
    timm = pytest.importorskip("timm")
    build = timm.create_model
    tiny = lambda name, pretrained, **options: build("test_vit", num_classes=0, **options)
    monkeypatch.setattr(timm, "create_model", tiny)
    model = load_model("dinov2-vit-small-p14")
    assert "CenterCrop(size=(224, 224))" in model.identity["preprocessing"]
    _, activations = run(model, "norm", "penultimate")
    assert torch.equal(pooled(activations["norm"], "cls"), activations["penultimate"])


@pytest.mark.nightly
def test_a_hub_that_cannot_be_reached_gives_the_way_out(monkeypatch):
    """The error for weights that cannot be downloaded names a weights file as the way out."""
    error = RuntimeError("no weights")  # as open_clip raises it
    error.__context__ = urllib.error.URLError("Name or service not known")
    timm = pytest.importorskip("timm")
    monkeypatch.setattr(timm, "create_model", Mock(side_effect=error))
    with pytest.raises(FileError, match="in1k:FILE"):
        load_model("timm:test_vit.r160_in1k")
