"""The method: network, CAMs, refinement, label formats, training and evaluation. Knows no web and no queue."""
