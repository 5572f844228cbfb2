"""What the shipped mini models get right on unseen scenes, measured through the public nodes.

One file per question; each gives figures by name. Figures of a style that was held out of all
training are the ones that tell how the models generalise.
"""
