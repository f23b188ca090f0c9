"""The commands that read and change the store from a terminal, and what they show there."""
