"""Tables and charts of the results, for ``render.py``."""
