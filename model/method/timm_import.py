"""timm, imported without torch's compiler, which nothing here uses.

At their import timm and torchvision load `torch._dynamo`, only to mark functions that it shall leave alone; that takes
as long as torch itself. Meanwhile a stand-in takes these marks; whoever asks for the compiler later gets the real one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def _marked(function: Any = None, *_: object, **__: object) -> Any:
    """Stand for `torch._dynamo.disable`, a decorator with or without arguments."""
    return _marked if function is None else function


@contextmanager
def _without_compiler() -> Iterator[None]:
    names = (COMPILER, f"{COMPILER}.utils")
    if COMPILER in sys.modules:
        yield
        return
    compiler, parts = (ModuleType(name) for name in names)
    compiler.__dict__.update(__path__=[], utils=parts, disable=_marked)
    parts.__dict__["is_compile_supported"] = lambda _: False
    sys.modules.update({compiler.__name__: compiler, parts.__name__: parts})
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


with _without_compiler():
    import timm
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

__all__ = ["PatchEmbed", "VisionTransformer", "timm"]
