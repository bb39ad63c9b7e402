"""Photos and what is said of them: pixels, tags, class vocabularies, colours, pictures for people."""
