"""Settings of the dense CRF, with the two recipes of the published method.

References:
    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (NIPS 2011),
    equation 3: an appearance (bilateral) kernel and a smoothness (Gaussian) kernel under a Potts model.
"""

from dataclasses import dataclass, fields

from toco.model.errors import InvalidOption, shown

MAX_ITERATIONS = 1000
# Beyond them the kernels, in float32, run out of range. A deviation of 0.01 pixels or levels tells all apart already.
LEAST_DEVIATION = 0.01
GREATEST = 1e6
# The least probability that counts: the unary energy is -log(max(p, PROBABILITY_FLOOR)), as in `unary_from_softmax`
# of pydensecrf with its default `clip`, which every published recipe uses.
PROBABILITY_FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True)
class CrfSettings:
    """A fully connected CRF with two Gaussian kernels and Potts compatibility.

    The names and meanings are those of pydensecrf: `addPairwiseGaussian(sxy, compat)` and `addPairwiseBilateral(sxy,
    srgb, compat)` with a diagonal kernel and symmetric normalisation.

    Attributes:
        iterations: mean-field updates; 0 returns the clipped, renormalised probabilities.
        gaussian_sxy: standard deviation of the smoothness kernel, pixels.
        gaussian_weight: its weight in the energy (`compat`); 0 leaves the kernel out.
        bilateral_sxy: spatial standard deviation of the appearance kernel, pixels.
        bilateral_srgb: colour standard deviation of the appearance kernel, levels of 0..255.
        bilateral_weight: its weight in the energy (`compat`); 0 leaves the kernel out.

    Raises:
        InvalidOption: a value is out of range: iterations 0 to `MAX_ITERATIONS`, deviations `LEAST_DEVIATION` to
            `GREATEST`, weights 0 to `GREATEST`.
    """

    iterations: int = 10
    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.iterations <= MAX_ITERATIONS or self.iterations != int(self.iterations):
            raise InvalidOption(
                f"CRF iterations are {shown(self.iterations)}.",
                fix=f"Give a whole number from 0 to {MAX_ITERATIONS}; 10 is usual.",
            )
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            least = 0.0 if field.name.endswith("weight") else LEAST_DEVIATION
            if not least <= value <= GREATEST:
                raise InvalidOption(
                    f"CRF setting {field.name} is {shown(value)}.", fix=f"Give a number from {least:g} to {GREATEST:g}."
                )


# The recipe of the CRF pseudo mask.
PSEUDO_MASK_CRF = CrfSettings(
    gaussian_sxy=3.0,
    gaussian_weight=3.0,
    bilateral_sxy=36.0,
    bilateral_srgb=3.0,
    bilateral_weight=4.0,
)
# The recipe of the segmentation map.
SEGMENTATION_CRF = CrfSettings(
    gaussian_sxy=1.0,
    gaussian_weight=1.0,
    bilateral_sxy=121.0,
    bilateral_srgb=5.0,
    bilateral_weight=4.0,
)
