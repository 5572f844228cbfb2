"""How the `mini` models are made: a world of composed scenes, and a training for each model.

Not installed with visionweave. `python -m training --help` tells what can be done; README.md tells
how the shipped models were made.
"""
