"""Raw text in, a clean and de-duplicated corpus out."""
