"""Nights of results, kept in columns and searched."""
