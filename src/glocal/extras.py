"""Optional libraries: imported when something needs them, or one sentence on how to install them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from glocal.errors import MissingDependencyError
from glocal.files import one_line

_EXTRAS = {
    "io": "h5py safetensors pyarrow",
    "report": "altair jinja2 vl_convert",
    "extract": "torch PIL timm open_clip torchvision",
    "paper": "torch lightning",
    "distributed": "distributed",
    "hub": "huggingface_hub",
    "onnx": "torch onnx",
}
"""The modules of each extra; the others are dependencies of the package itself."""
_PACKAGES = {"PIL": "pillow", "open_clip": "open-clip-torch", "vl_convert": "vl-convert-python"}


def needed(module: str, what: str, *, extra: str | None = None) -> Any:
    """Import a module that `what`, the subject of the sentence, needs; where its package is in two extras, name one.

    Raises
    ------
    MissingDependencyError
        It is not installed, or it is and cannot be imported.
    """
    name = module.partition(".")[0]
    try:
        import_module(name)
        return import_module(module)
    except ImportError as error:
        package = _PACKAGES.get(name, name.replace("_", "-"))
        extra = extra or next((each for each, modules in _EXTRAS.items() if name in modules.split()), None)
        wanted = f"'glocal[{extra}]'" if extra else package
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == name:
            raise MissingDependencyError(
                f"{what} needs {package}, which is not installed. Install it: pip install {wanted}."
            ) from error
        raise MissingDependencyError(
            f"{what} needs {package}, which is installed but cannot be imported ({one_line(error)[:160]}). "
            f"Install it again: pip install --upgrade {wanted} {package}."
        ) from error
