"""The dense CRF that sharpens CAMs and segmentation maps along the edges of the photo."""
