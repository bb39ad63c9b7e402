"""Learning any word from a job's own photos: a partial-label fit on frozen patch tokens.

`learn` makes a `LearntModel` of photos and their words, `label.LearntLabeler` labels with it.
"""
