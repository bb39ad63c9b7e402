"""CVAT: a detector as its Nuclio functions are called, and the function that CVAT's command line runs."""
