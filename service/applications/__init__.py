"""The HTTP applications: the whole service, the annotation tools' protocols alone, and how both listen."""
