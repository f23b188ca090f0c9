"""Figures of the whole, measured side by side in one run: `make bench`."""
