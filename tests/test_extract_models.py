"""Networks of every library, their layers, pooling and weights; random weights, nothing is downloaded."""

import urllib.error

import numpy as np
import pytest
import torch
from torch import nn

from glocal.errors import DataError, FileError, ParameterError
from glocal.extract.layers import list_layers, pooled, read_layers, resolve
from glocal.extract.model import Layer
from glocal.extract.names import ModelName
from glocal.extract.python_models import user_model
from glocal.extract.registry import load_model
from glocal.extract.weights import load_checkpoint, weights_sha256

pytestmark = pytest.mark.nightly

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def run(model, picture, *layers):
    """The layers of one image, by one pass in evaluation mode."""
    model.module.eval()
    batch = model.preprocess(picture)[None]
    return batch, read_layers(model, batch, resolve(model, layers))


# --- timm ---


@pytest.fixture(scope="module")
def vit():
    pytest.importorskip("timm")
    return load_model("timm:test_vit:none")


def test_the_penultimate_layer_of_timm_is_its_pooled_head_input(vit, picture):
    """penultimate equals forward_head(pre_logits=True), logits the network's output, in one pass."""
    batch, found = run(vit, picture, "penultimate", "logits")
    with torch.inference_mode():
        expected = vit.module.forward_head(vit.module.forward_features(batch), pre_logits=True)
        assert torch.equal(found["penultimate"], expected)
        assert torch.equal(found["logits"], vit.module(batch))


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_resnet", "test_vit3", "test_mambaout"])
def test_the_penultimate_layer_is_found_in_every_family(name, picture):
    """Other architectures of timm keep the same meaning of penultimate."""
    pytest.importorskip("timm")
    model = load_model(f"timm:{name}:none")
    batch, found = run(model, picture)
    with torch.inference_mode():
        expected = model.module.forward_head(model.module.forward_features(batch), pre_logits=True)
    assert torch.allclose(found["penultimate"], expected, atol=1e-6)


def test_the_preprocessing_of_timm_is_its_own_and_recorded(vit, picture):
    """The tensor equals timm's evaluation transform, whose parameters the identity holds."""
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(vit.module), is_training=False)
    assert torch.equal(vit.preprocess(picture), transform(picture))
    assert "CenterCrop(size=(160, 160))" in vit.identity["preprocessing"]


def test_the_norm_of_a_dino_network_gives_its_class_token(picture):
    """A ViT without head: penultimate is the class token after norm, as the paper has it."""
    pytest.importorskip("timm")
    import timm

    module = timm.create_model("test_vit", num_classes=0).eval()
    from glocal.extract.timm_models import _named

    model = user_model((module, load_model("timm:test_vit:none").preprocess), "vit")
    batch = model.preprocess(picture)[None]
    layers = {"norm": Layer("norm"), **{"penultimate": _named(module)["penultimate"]}}
    found = read_layers(model, batch, layers)
    assert torch.equal(pooled(found["norm"], "cls"), pooled(found["penultimate"], "auto"))
    assert "logits" not in _named(module)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    """Two loads have one hash; torch's random state is what it was."""
    pytest.importorskip("timm")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (load_model("timm:test_vit", weights="none") for _ in range(2))
    assert first.identity["weights_sha256"] == second.identity["weights_sha256"]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["plain", "wrapped", "safetensors"])
def test_weights_come_from_a_file(vit, tmp_path, kind):
    """A state dict, one inside a checkpoint of data-parallel training, and safetensors give its very weights."""
    with torch.no_grad():
        state = {
            name: value + 1 if value.is_floating_point() else value for name, value in vit.module.state_dict().items()
        }
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, str(file))
    else:
        prefixed = {f"module.{name}": value for name, value in state.items()}
        torch.save(state if kind == "plain" else {"epoch": 3, "state_dict": prefixed}, file)
    loaded = load_model("timm:test_vit", weights=str(file))
    assert all(torch.equal(value, state[name]) for name, value in loaded.module.state_dict().items())
    assert loaded.identity["weights_sha256"] != vit.identity["weights_sha256"]
    assert load_model(f"timm:test_vit:{file}").identity == loaded.identity


def test_a_weights_file_that_does_not_fit_is_refused_in_one_sentence(tmp_path):
    """Missing, damaged, pickled and foreign files."""
    module = nn.Linear(2, 2)
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 no")
    torch.save({"a": object()}, tmp_path / "pickled.pth")
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for name, part in (
        ("none.pth", "does not exist"), ("damaged.pth", "not a whole PyTorch file"), ("pickled.pth", "holds pickled"),
        ("other.pth", "of another network"), ("list.pth", "holds a list"),
    ):  # fmt: skip
        with pytest.raises(FileError, match=part) as caught:
            load_checkpoint(module, tmp_path / name)
        assert "\n" not in str(caught.value)


def offline(*_, **__):
    raise urllib.error.URLError("Name or service not known")


@pytest.mark.parametrize(
    ("model", "package", "function"),
    [
        ("timm:test_vit.r160_in1k", "timm", "create_model"),
        ("openclip:ViT-B-32:laion2b_s34b_b79k", "open_clip", "create_model_and_transforms"),
        ("torchvision:resnet18", "torchvision.models", "get_model"),
    ],
)
def test_a_hub_that_cannot_be_reached_gives_the_way_out(monkeypatch, model, package, function):
    """Weights that cannot be downloaded give one sentence that names the local-path option."""
    monkeypatch.setattr(pytest.importorskip(package), function, offline)
    with pytest.raises(FileError, match=r"could not be fetched.*--weights PATH") as caught:
        load_model(model)
    assert "\n" not in str(caught.value)


# --- torchvision ---


@pytest.fixture(scope="module")
def resnet():
    pytest.importorskip("torchvision")
    return load_model("torchvision:resnet18:none")


def test_the_penultimate_layer_of_a_resnet_is_avgpool(resnet, picture):
    """penultimate equals the module avgpool, and logits the network's output."""
    batch, found = run(resnet, picture, "penultimate", "avgpool", "logits")
    assert torch.equal(found["penultimate"], pooled(found["avgpool"], "auto"))
    with torch.inference_mode():
        assert torch.equal(found["logits"], resnet.module(batch))


def test_what_comes_after_in_place_does_not_change_a_layer(picture):
    """classifier.3 of VGG is read before the ReLU that overwrites it: it has negative values."""
    models = pytest.importorskip("torchvision.models")
    from glocal.extract.torchvision_models import _named

    with torch.device("meta"):  # its own classifier has a hundred million weights
        module = models.VGG(nn.Identity(), num_classes=5, init_weights=False)
    module.features = nn.Conv2d(3, 512, 64, stride=64)
    parts = (nn.Linear(512 * 49, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(True), nn.Dropout())
    module.classifier = nn.Sequential(*parts, nn.Linear(8, 5))
    module.eval()
    assert _named(module)["penultimate"] == Layer("classifier.3")
    model = user_model((module, lambda image: torch.ones(3, 128, 128)), "vgg")
    batch = model.preprocess(picture)[None]
    found = read_layers(model, batch, {"classifier.3": Layer("classifier.3")})["classifier.3"]
    with torch.inference_mode():
        features = torch.flatten(module.avgpool(module.features(batch)), 1)
        expected = module.classifier[3](module.classifier[:3](features))
    assert torch.equal(found, expected)
    assert (found < 0).any()


def test_torchvision_without_weights_prepares_as_its_default_weights(resnet, picture):
    """The recorded preprocessing is that of the weights the model is published with."""
    from torchvision.models import ResNet18_Weights

    assert torch.equal(resnet.preprocess(picture), ResNet18_Weights.DEFAULT.transforms()(picture))
    assert "crop_size=[224]" in resnet.identity["preprocessing"]


# --- open_clip ---


@pytest.fixture(scope="module")
def clip_config(tmp_path_factory):
    """A tiny architecture that open_clip knows under the name tiny-clip."""
    open_clip = pytest.importorskip("open_clip")
    import json

    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-clip.json").write_text(
        json.dumps({
            "embed_dim": 24,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        })
    )  # fmt: skip
    open_clip.add_model_config(folder)
    return "tiny-clip"


def test_the_penultimate_layer_of_clip_is_visual(clip_config, picture):
    """visual equals encode_image: projected features that are not scaled to length 1."""
    model = load_model(f"openclip:{clip_config}:none")
    batch, found = run(model, picture, "penultimate", "visual", "visual.transformer.resblocks.0")
    with torch.inference_mode():
        expected = model.module.encode_image(batch)
    assert torch.equal(found["penultimate"], expected)
    assert torch.equal(found["visual"], expected)
    assert found["visual.transformer.resblocks.0"].shape == (1, 5, 64)
    assert model.prefix_tokens == 1
    with pytest.raises(ParameterError, match="has no logits layer"):
        resolve(model, ["logits"])


def test_captions_go_through_the_text_tower(clip_config):
    """The features of a caption equal encode_text of its tokens."""
    import open_clip

    model = load_model(f"openclip:{clip_config}:none", text=True)
    tokens = open_clip.get_tokenizer(clip_config)(["a red bird"])
    found = read_layers(model, model.preprocess("a red bird")[None], resolve(model, []))["output"]
    with torch.inference_mode():
        assert torch.equal(found, model.module.encode_text(tokens))
    with pytest.raises(ParameterError, match="captions need a model with a text tower"):
        load_model("timm:test_vit:none", text=True)


# --- names ---


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("clip_ViT-L/14", "openclip:ViT-L-14-quickgelu:openai"),
        ("clip_ViT-L/14@336px", "openclip:ViT-L-14-336-quickgelu:openai"),
        ("clip_RN50", "openclip:RN50-quickgelu:openai"),
        ("OpenCLIP_ViT-L-14_laion2b_s32b_b82k", "openclip:ViT-L-14:laion2b_s32b_b82k"),
        ("OpenCLIP_coca_ViT-B-32_laion2b_s13b_b90k", "openclip:coca_ViT-B-32:laion2b_s13b_b90k"),
        ("dino-vit-base-p16", "timm:vit_base_patch16_224.dino"),
        ("mae-vit-huge-p14", "timm:vit_huge_patch14_224.mae"),
        ("resnet18", "torchvision:resnet18"),
        ("vit_b_16", "torchvision:vit_b_16"),
        ("timm:vit_base_patch14_dinov2.lvd142m", "timm:vit_base_patch14_dinov2.lvd142m"),
        ("torchvision:resnet50:IMAGENET1K_V2", "torchvision:resnet50:IMAGENET1K_V2"),
    ],
)
def test_names_of_thingsvision_and_the_paper_are_understood(given, meant):
    """Each name that is written there means one model of one library."""
    assert str(ModelName.parse(given)) == meant


def test_every_mapped_name_exists_in_its_library():
    """The names that thingsvision's are mapped to are known, weights included."""
    timm, open_clip = pytest.importorskip("timm"), pytest.importorskip("open_clip")
    from glocal.extract.names import _TO_TIMM

    assert all(timm.is_model_pretrained(name) for name in _TO_TIMM.values())
    known = set(open_clip.list_pretrained())
    for given in ("clip_ViT-L/14", "clip_ViT-B/32", "clip_ViT-B/16", "clip_RN50x64", "clip_ViT-L/14@336px"):
        name = ModelName.parse(given)
        assert (name.name, name.weights) in known


def test_dinov2_of_thingsvision_sees_224_pixels(monkeypatch):
    """The mapped name keeps the input size of thingsvision, not timm's 518 pixels."""
    timm = pytest.importorskip("timm")
    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **o: build("test_vit", num_classes=0, **o))
    model = load_model("dinov2-vit-small-p14")
    assert "CenterCrop(size=(224, 224))" in model.identity["preprocessing"]
    assert "Resize(size=256, interpolation=bilinear" in model.identity["preprocessing"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("keras:resnet", "names no library"),
        ("timm:", "names no library"),
        ("", "model is empty"),
        ("simclr-rn50", "in none of timm, open_clip and torchvision"),
        ("python:nothing", "must be python:package.module:factory"),
        ("python:no_such_module:f", "PYTHONPATH"),
        ("python:json:no_such_factory", "Name the factory"),
        ("timm:vit_bas", "timm has no model vit_bas"),
        ("timm:test_vit:some_tag", r"has no weights some_tag; allowed are test_vit\.r160_in1k"),
        ("torchvision:resnet17", r"has no model resnet17\. Did you mean resnet1"),
        ("torchvision:resnet18:V9", "has no weights V9; allowed are IMAGENET1K_V1"),
        ("openclip:ViT-Z", "open_clip has no model"),
        ("openclip:ViT-B-32", "needs the name of its weights; allowed are"),
        ("openclip:ViT-B-32:nope", "has no weights nope"),
    ],
)
def test_a_name_that_means_nothing_is_refused_in_one_sentence(given, sentence):
    """Each wrong name gives one sentence with what is allowed."""
    for package in ("timm", "open_clip", "torchvision"):
        pytest.importorskip(package)
    with pytest.raises(ParameterError, match=sentence) as caught:
        load_model(given)
    assert "\n" not in str(caught.value)


# --- of the user's own ---


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.act(self.act(self.conv(x))).mean((2, 3)))


def small():
    return user_model((Small().eval(), lambda image: torch.ones(3, 8, 8)), "python:small")


def test_several_layers_come_from_one_pass():
    """Three layers of a module are read while it runs once, and equal a run by hand."""
    model, calls = small(), []
    model.module.register_forward_hook(lambda *_: calls.append(1))
    batch = torch.rand(2, 3, 8, 8)
    found = read_layers(model, batch, resolve(model, ["conv", "penultimate", "output"]))
    with torch.inference_mode():
        conv = model.module.conv(batch)
        hidden = conv.relu().mean((2, 3))
        output = model.module.out(hidden)
    assert calls == [1]
    assert torch.equal(found["conv"], conv)
    assert torch.equal(found["penultimate"], hidden)
    assert torch.equal(found["output"], output)


def test_layers_that_cannot_be_read_are_refused_in_one_sentence():
    """A layer that runs twice, one that is not there, and one given twice."""
    model = small()
    with pytest.raises(DataError, match="layer act of python:small runs 2 times"):
        read_layers(model, torch.ones(1, 3, 8, 8), resolve(model, ["act"]))
    with pytest.raises(ParameterError, match=r"has no layer convv\. Did you mean conv\?"):
        resolve(model, ["convv"])
    with pytest.raises(ParameterError, match="name one layer twice"):
        resolve(model, ["conv", "conv"])


def test_a_callable_may_return_several_layers_by_name():
    """The keys of a dict are layers; another name is refused with the ones there are."""
    model = user_model((lambda batch: {"a": batch[:, 0], "b": batch.numpy()[:, 1]}, lambda image: None), "python:two")
    batch = torch.rand(2, 3, 4)
    found = read_layers(model, batch, resolve(model, ["a", "b"]))
    assert torch.equal(found["a"], batch[:, 0])
    assert torch.equal(found["b"], batch[:, 1])
    with pytest.raises(ParameterError, match=r"has no layer c; it returns a, b"):
        read_layers(model, batch, resolve(model, ["c"]))


@pytest.mark.parametrize("result", [torch.zeros(3, 4), "text", torch.zeros(())])
def test_a_result_without_one_row_an_image_is_refused(result):
    """A callable that returns something else than one row for each image."""
    model = user_model((lambda batch: result, lambda image: None), "python:odd")
    with pytest.raises(DataError, match="one row each is due"):
        read_layers(model, torch.rand(2, 3), resolve(model, []))


@pytest.mark.parametrize("pair", [None, (1, 2), (lambda x: x,), "model"])
def test_a_factory_must_return_a_pair(pair):
    """Anything but (callable, callable) is refused in one sentence."""
    with pytest.raises(ParameterError, match=r"must be \(module or callable, preprocess\)"):
        user_model(pair, "python:m")


def test_a_hash_of_weights_sees_every_value_and_type():
    """Changing one value, or the type of all, changes the hash; loading the same weights does not."""
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = weights_sha256(module)
    copy = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    copy.load_state_dict(module.state_dict())
    assert weights_sha256(copy) == before
    assert weights_sha256(module.to(torch.bfloat16)) != before
    with torch.no_grad():
        copy[1].running_mean[1] += 1e-6
    assert weights_sha256(copy) != before


def test_half_precision_of_a_callable_is_refused():
    """Its precision is its own affair; a module is cast."""
    model = user_model((lambda batch: batch, lambda image: image), "python:f")
    with pytest.raises(ParameterError, match="whose precision cannot be set"):
        model.on(torch.device("cpu"), "float16")
    assert small().on(torch.device("cpu"), "bfloat16").module.conv.weight.dtype == torch.bfloat16


# --- pooling ---


def test_pooling_is_what_its_name_says():
    """cls, mean and flatten of tokens and maps against plain indexing; prefix tokens are no patches."""
    tokens, maps = torch.rand(2, 5, 3), torch.rand(2, 3, 4, 5)
    assert torch.equal(pooled(tokens, "cls"), tokens[:, 0])
    assert torch.equal(pooled(tokens, "mean", prefix_tokens=2), tokens[:, 2:].mean(1))
    assert torch.equal(pooled(tokens, "auto", prefix_tokens=1), tokens[:, 0])
    assert torch.equal(pooled(tokens, "auto"), tokens.mean(1))
    assert torch.equal(pooled(tokens, "flatten"), tokens.reshape(2, 15))
    assert torch.equal(pooled(maps, "auto"), maps.mean((2, 3)))
    assert torch.equal(pooled(maps, "mean", channels_last=True), maps.mean((1, 2)))
    assert torch.equal(pooled(maps, "flatten"), maps.reshape(2, 60))
    assert torch.equal(pooled(tokens[:, 0], "cls"), tokens[:, 0])
    assert torch.equal(pooled(tokens[:, 0, 0], "mean"), tokens[:, 0, :1])
    with pytest.raises(DataError, match="no class token"):
        pooled(maps, "cls")


def test_the_list_of_layers_has_every_module_and_its_shape(vit, picture):
    """Names are those of named_modules; the shape is that of one image; what does not run says so."""
    vit.module.eval()
    rows = {name: (kind, shape) for name, kind, shape in list_layers(vit, picture)}
    assert set(rows) == {name for name, _ in vit.module.named_modules() if name} | {"output"}
    assert rows["norm"] == ("LayerNorm", "101 × 64")
    assert rows["output"][1] == "1000"
    assert rows["blocks"][1] == "64" or "101 × 64" in rows["blocks"][1]


def test_a_library_that_warns_leaves_standard_error_clean(monkeypatch, capfd):
    """What a library logs while a model loads is not shown, and logging is as it was afterwards."""
    import logging

    from glocal.extract import registry

    def loud(name):
        logging.warning("no pretrained weights")
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s")
        raise ParameterError("one sentence.")

    monkeypatch.setitem(registry._LOADERS, "timm", loud)
    with pytest.raises(ParameterError, match="one sentence"):
        registry.load_model("timm:test_vit", "none")
    assert capfd.readouterr().err == ""
    assert logging.root.manager.disable == 0
