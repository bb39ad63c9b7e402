"""An exported encoder, run by OpenVINO; `openvino_encoder` exports it. Knows no torch.

    EncoderGraph(folder, bfloat16=True, threads=2)(images, threads=1)

The graph takes images of any size, and the position embedding of their token grid beside them: it is resized as ToCo
wants it, and a graph that did it would be bound to one size.
"""

import json
import math
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import openvino
from safetensors.numpy import load_file

from toco.model.method.array_maps import Array
from toco.model.method.compiled_graph import CompiledGraph
from toco.model.method.token_grid import token_grid

GRAPH: Final = "encoder.xml"
POSITIONS: Final = "positions.safetensors"
SHAPE: Final = "encoder.json"
_GRIDS: Final = 16  # position embeddings that are kept


class Sequences(NamedTuple):
    """What the encoder makes of images (b, 3, H, W).

    Attributes:
        final: (b, prefix + h * w, d) after the final norm.
        aux: likewise, of the auxiliary block, not normed.
        grid: (h, w).
    """

    final: Array
    aux: Array
    grid: tuple[int, int]


class EncoderGraph:
    """Runs an exported encoder, from any number of threads at once; see `CompiledGraph`.

    Args:
        folder: as written by `openvino_encoder.export_encoder`.
        bfloat16: see `CompiledGraph`.
        threads: likewise.
    """

    def __init__(self, folder: Path, *, bfloat16: bool, threads: int) -> None:
        shape = json.loads((folder / SHAPE).read_text("utf-8"))
        self.patch_size: int = shape["patch_size"]
        self.width: int = shape["width"]
        self.prefix: int = shape["prefix"]
        self._placed_prefix: int = shape["placed_prefix"]
        self._embedding = load_file(folder / POSITIONS)["positions"]
        self._positions: dict[tuple[int, int], Array] = {}
        graph = openvino.Core().read_model(folder / GRAPH)
        self._graph = CompiledGraph(graph, bfloat16=bfloat16, threads=threads, kept_in=folder)

    def __call__(self, images: Array, *, threads: int) -> Sequences:
        """Encode images (b, 3, H, W), normalised.

        Raises:
            InvalidArray: another shape, or smaller than one patch.
        """
        grid = token_grid(images.shape, self.patch_size)
        final, aux = self._graph(np.ascontiguousarray(images), self._position(grid), threads=threads)
        return Sequences(final, aux, grid)

    def _position(self, grid: tuple[int, int]) -> Array:
        found = self._positions.get(grid)
        if found is None:
            found = resized_positions(self._embedding, grid, prefix=self._placed_prefix)
            if len(self._positions) < _GRIDS:
                self._positions[grid] = found
        return found


def resized_positions(embedding: Array, grid: tuple[int, int], *, prefix: int) -> Array:
    """Return the position embedding for a token grid, as `backbone.resized_positions` does.

    Args:
        embedding: (1, prefix + side * side, d) as trained.
        grid: (h, w) of the token grid.
        prefix: how many tokens before those of the patches have a position.

    Returns:
        (1, prefix + h * w, d).
    """
    side = math.isqrt(embedding.shape[1] - prefix)
    if grid == (side, side):
        return embedding
    channels = np.ascontiguousarray(embedding[0, prefix:].T).reshape(-1, side, side)
    # Cubic convolution with torch's constant, -0.75, and no filter against aliasing.
    resized = np.stack(
        [cv2.resize(channel, grid[::-1], interpolation=cv2.INTER_CUBIC) for channel in channels], axis=-1
    )
    return np.concatenate([embedding[:, :prefix], resized.reshape(1, grid[0] * grid[1], -1)], axis=1)
