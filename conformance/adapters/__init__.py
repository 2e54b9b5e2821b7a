"""The frameworks: what one must provide (`protocol`), which there are (`registry`), and one file for each."""
