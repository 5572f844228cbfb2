"""Photos per second, beside what a user would write instead; see `__main__.py`."""
