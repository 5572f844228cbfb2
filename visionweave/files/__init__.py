"""Pipeline files: reading them, writing them, and their schema for editors."""
