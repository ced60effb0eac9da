"""From images to features: any network, several layers in one pass, every image accounted for.

Modules that need torch are imported when they are first used; images are opened without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.extract.images import open_images

if TYPE_CHECKING:
    from glocal.extract.chunks import Extraction
    from glocal.extract.libraries import load_model
    from glocal.extract.run import Extractor

__all__ = ["Extraction", "Extractor", "load_model", "open_images"]
_MODULES = {"Extraction": "chunks", "Extractor": "run", "load_model": "libraries"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_optional("torch", "running a network")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
