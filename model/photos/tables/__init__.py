"""The one reader of tag tables: from a file's bytes to rows, and what was understood on the way."""
