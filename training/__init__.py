"""Synthetic images and recipes that made the bundles. Not shipped with the extension."""
