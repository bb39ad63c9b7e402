"""The grid of tokens that images are cut into. Knows no torch."""

from collections.abc import Sequence

from toco.model.errors import InvalidArray


def token_grid(shape: Sequence[int], patch_size: int) -> tuple[int, int]:
    """Return the token grid (h, w) of images of a shape.

    Raises:
        InvalidArray: not (b, 3, H, W), or smaller than one patch.
    """
    if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < patch_size:
        raise InvalidArray(f"Images of shape {tuple(shape)}.", fix=f"Give (b, 3, H, W) with sides of {patch_size} up.")
    return shape[2] // patch_size, shape[3] // patch_size
