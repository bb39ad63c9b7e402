"""Kinds of the classes that people label most, taken from WordNet once."""
