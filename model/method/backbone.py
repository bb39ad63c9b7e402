"""The encoder: any plain timm ViT, with the tokens that ToCo needs.

References:
    ToCo, section 3.1: patch tokens after the final norm, and the un-normed patch tokens of a late inner block.
    Dosovitskiy et al., ICLR 2021 (ViT); Touvron et al., ICML 2021 (DeiT); Oquab et al., TMLR 2024 (DINOv2).
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toco.model.errors import InvalidOption
from toco.model.method.attention import BlockwiseAttention
from toco.model.method.token_grid import token_grid

if TYPE_CHECKING:
    from toco.model.method.timm_import import VisionTransformer


class Tokens(NamedTuple):
    """What the encoder hands on, for a batch of b images on a token grid of h x w.

    Attributes:
        class_token: (b, d) after the final norm.
        patches: (b, d, h, w) patch tokens after the final norm.
        aux_patches: (b, d, h, w) patch tokens that leave the auxiliary block, not normed.
    """

    class_token: Tensor
    patches: Tensor
    aux_patches: Tensor


class Encoder(nn.Module):
    """A timm ViT without its head.

    Args:
        name: timm model name, e.g. `vit_base_patch16_224`, `deit_base_patch16_224`, `vit_small_patch14_dinov2`.
        image_size: side in pixels of the square whose patch grid the position embedding has.
        aux_layer: block whose patch tokens are the auxiliary ones, negative from the end.
        pretrained: let timm fetch its weights (needs a reachable hub).
        arguments: further keyword arguments of `timm.create_model`.

    Raises:
        InvalidOption: the name is not a plain ViT of timm, or the block does not exist.
    """

    def __init__(
        self,
        name: str,
        *,
        image_size: int = 224,
        aux_layer: int = -3,
        pretrained: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        from toco.model.method.timm_import import timm  # noqa: PLC0415 - slow; an exported encoder needs none of it

        try:
            vit = timm.create_model(
                name, pretrained=pretrained, num_classes=0, img_size=image_size, **(arguments or {})
            )
        except (RuntimeError, TypeError, ValueError, AssertionError, OSError) as error:
            advice = "Name a plain ViT of timm.list_models('vit_*')"
            if pretrained:
                advice += ", or give a file of initial weights where no hub is reachable"
            raise InvalidOption(f"timm cannot build backbone {name!r}: {error}.", fix=f"{advice}.") from error
        if not _is_plain(vit):
            raise InvalidOption(
                f"Backbone {name!r} is not a plain ViT with a class token.",
                fix="Name one such as vit_base_patch16_224, deit_base_patch16_224 or vit_small_patch14_dinov2.",
            )
        depth = len(vit.blocks)
        if not -depth <= aux_layer < 0:
            raise InvalidOption(
                f"Auxiliary layer {aux_layer} of a backbone with {depth} blocks.", fix=f"Use -1 to -{depth}."
            )
        self.vit = vit
        self.aux_block = depth + aux_layer
        self.patch_size: int = int(vit.patch_embed.patch_size[0])
        self.width: int = int(vit.embed_dim)

    @property
    def positions(self) -> nn.Parameter:
        """The position embedding as trained: (1, prefix + grid * grid, d); frozen while ToCo trains."""
        return cast("nn.Parameter", self.vit.pos_embed)

    @property
    def prefix(self) -> int:
        """Number of tokens before those of the patches: the class token and any registers."""
        return int(self.vit.num_prefix_tokens)

    @property
    def placed_prefix(self) -> int:
        """How many of them have a position."""
        return 0 if self.vit.no_embed_class else self.prefix

    def position_embedding(self, grid: tuple[int, int]) -> Tensor:
        """Return the position embedding for a token grid; see `resized_positions`."""
        return resized_positions(self.positions, grid, prefix=self.placed_prefix)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn images into the token sequence that enters the first block.

        Args:
            images: (b, 3, H, W) normalised; a remainder of H or W modulo the patch size is dropped.

        Returns:
            (b, prefix + h * w, d) tokens, and the token grid (h, w).

        Raises:
            InvalidArray: not (b, 3, H, W), or smaller than one patch.
        """
        grid = token_grid(images.shape, self.patch_size)
        return self.sequence(images, self.position_embedding(grid)), grid

    def sequence(self, images: Tensor, position: Tensor) -> Tensor:
        """Return the tokens (b, prefix + h * w, d) of images (b, 3, H, W) with the embedding of their positions."""
        vit = self.vit
        patches = vit.patch_embed.proj(images)  # (b, d, h, w)
        tokens = vit.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        position = position.to(tokens.dtype)
        learned = [token for token in (vit.cls_token, vit.reg_token) if token is not None]
        prefix = [token.to(tokens.dtype).expand(tokens.shape[0], -1, -1) for token in learned]
        if vit.no_embed_class:
            tokens = torch.cat([*prefix, tokens + position], dim=1)
        else:
            tokens = torch.cat([*prefix, tokens], dim=1) + position
        embedded: Tensor = vit.norm_pre(vit.pos_drop(tokens))
        return embedded

    def run_blocks(self, tokens: Tensor, grid: tuple[int, int], *, first: int = 0) -> Tokens:
        """Run the blocks from `first` on and split the result into the tokens that ToCo uses.

        Args:
            tokens: (b, prefix + h * w, d) that enter block `first`.
            grid: (h, w).
            first: index of the first block to run; at most the auxiliary block.
        """
        return as_tokens(*self.sequences(tokens, first=first), grid, prefix=self.prefix)

    def sequences(self, tokens: Tensor, *, first: int = 0) -> tuple[Tensor, Tensor]:
        """Return the normed tokens after the last block and those that leave the auxiliary block, all (b, n, d)."""
        aux = tokens
        with BlockwiseAttention():
            for index, block in enumerate(self.vit.blocks):
                if index < first:
                    continue
                tokens = block(tokens)
                if index == self.aux_block:
                    aux = tokens
        return self.vit.norm(tokens), aux

    def forward(self, images: Tensor) -> Tokens:
        """Encode images (b, 3, H, W), normalised; see `Tokens`."""
        tokens, grid = self.embed(images)
        return self.run_blocks(tokens, grid)


def resized_positions(embedding: Tensor, grid: tuple[int, int], *, prefix: int) -> Tensor:
    """Return the position embedding for a token grid.

    The class (and register) part is kept; the patch part is resized bicubically without antialiasing.
    timm's own resampling antialiases, which changes the published numbers.

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
    patches = embedding[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches.float(), size=grid, mode="bicubic", align_corners=False)
    patches = patches.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1).to(embedding.dtype)
    return torch.cat([embedding[:, :prefix], patches], dim=1)


def as_tokens(final: Tensor, aux: Tensor, grid: tuple[int, int], *, prefix: int) -> Tokens:
    """Split token sequences (b, prefix + h * w, d), final and auxiliary ones, into what ToCo uses."""
    patches, aux_patches = (
        tokens[:, prefix:].transpose(1, 2).reshape(tokens.shape[0], -1, *grid) for tokens in (final, aux)
    )
    return Tokens(final[:, 0], patches, aux_patches)


def native_image_size(name: str) -> int:
    """Return the side in pixels at which timm's own weights of a backbone were trained; 224 if it has none."""
    from toco.model.method.timm_import import timm  # noqa: PLC0415 - slow; see `Encoder`

    try:
        published = timm.get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag: building the backbone says so
        published = None
    return 224 if published is None else int(published.input_size[-1])


def _is_plain(vit: nn.Module) -> TypeGuard["VisionTransformer"]:
    """Tell a ViT that `Encoder` runs rightly from its relatives.

    Subclasses add tokens or positions that nothing here feeds (a distillation token); hybrids cut patches otherwise.
    """
    from toco.model.method.timm_import import PatchEmbed, VisionTransformer  # noqa: PLC0415 - slow; see `Encoder`

    return (
        type(vit) is VisionTransformer
        and type(vit.patch_embed) is PatchEmbed
        and vit.pos_embed is not None
        and vit.cls_token is not None
    )
