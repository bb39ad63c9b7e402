"""ToCo itself: network, class activation maps, refinement, pseudo masks and segmentation maps."""
