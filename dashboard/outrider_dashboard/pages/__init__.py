"""The pages: each module reads its panels, builds its view and renders it.

A handler asks for data and nothing else; what it shows is decided by the pure functions beside it.
"""
