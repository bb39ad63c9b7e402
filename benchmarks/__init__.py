"""Figures about quality and speed, computed by one command each."""
