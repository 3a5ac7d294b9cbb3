"""Many results as one table, and what can be said about them together. Nothing here opens an image."""
