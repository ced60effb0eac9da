"""Optional libraries: imported when something needs them, or one sentence on how to install them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from glocal.errors import MissingDependencyError, is_interrupt
from glocal.files import one_line

# package and extra of a module; what is not an extra is a dependency of the package itself
_EXTRAS = {
    "PIL": ("pillow", "extract"),
    "altair": ("altair", "report"),
    "distributed": ("distributed", "distributed"),
    "fastapi": ("fastapi", "collect"),
    "h5py": ("h5py", "io"),
    "huggingface_hub": ("huggingface-hub", "hub"),
    "itsdangerous": ("itsdangerous", "collect"),
    "jinja2": ("jinja2", "report"),
    "lightning": ("lightning", "paper"),
    "markdown_it": ("markdown-it-py", "collect"),
    "onnx": ("onnx", "onnx"),
    "open_clip": ("open-clip-torch", "extract"),
    "platformdirs": ("platformdirs", None),
    "psycopg": ("psycopg", "collect"),
    "pyarrow": ("pyarrow", "io"),
    "requests": ("requests", None),
    "safetensors": ("safetensors", "io"),
    "sqlalchemy": ("sqlalchemy", "collect"),
    "timm": ("timm", "extract"),
    "torchvision": ("torchvision", "extract"),
    "umap": ("umap-learn", "umap"),
    "uvicorn": ("uvicorn", "collect"),
    "vl_convert": ("vl-convert-python", "report"),
    "zarr": ("zarr", "io"),
}


def needed(module: str, what: str, *, extra: str | None = None) -> Any:
    """Import a module that `what` needs.

    >>> needed("zarr", "--format zarr").__name__
    'zarr'

    Parameters
    ----------
    module : str
        Of one of the extras, e.g. ``PIL.Image``.
    what : str
        The subject of the sentence.
    extra : str or None
        Where a package is in two extras, the one to name.

    Raises
    ------
    MissingDependencyError
        It is not installed, or it is and cannot be imported.
    KeyboardInterrupt
        The user interrupted the import, which compiled modules report as an ImportError.
    """
    name = module.partition(".")[0]
    package, usual = _EXTRAS[name]
    extra = extra or usual
    try:
        import_module(name)
        return import_module(module)
    except ImportError as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from error
        wanted = f"'glocal[{extra}]'" if extra else package
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == name:
            raise MissingDependencyError(
                f"{what} needs {package}, which is not installed. Install it: pip install {wanted}."
            ) from error
        raise MissingDependencyError(
            f"{what} needs {package}, which is installed but cannot be imported ({one_line(error)[:160]}). "
            f"Install it again with all it needs: pip install --upgrade {wanted} {package}."
        ) from error
