"""The benchmarks that weakly supervised segmentation is reported on, read in the layout they are published in."""
