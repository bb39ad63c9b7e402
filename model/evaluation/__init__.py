"""Judging masks against truth: the confusion matrix, the benchmarks of the field, a labeler's own masks."""
