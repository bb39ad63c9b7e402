"""A network that says where an object is, whatever it is: a cue for training, and a prior for learning words."""

from torch import Tensor, nn

from toco.model.method.backbone import Encoder

INPUT_SIDE = 224
"""Side in pixels of the square that it looks at."""


class SaliencyNetwork(nn.Module):
    """An encoder with a decoder of its final patch tokens."""

    def __init__(self, encoder: Encoder, decoder: nn.Sequential) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        """Return saliency (b, 1, 8h, 8w) in 0..1 of normalised images (b, 3, H, W) with a token grid of h x w."""
        maps: Tensor = self.decoder(self.encoder(images).patches)
        return maps.sigmoid()
