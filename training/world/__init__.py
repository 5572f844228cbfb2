"""The world that the mini models know: stickers of things, composed into scenes.

artwork      drawings from emoji sets, by style
names        the vocabulary: what each thing is called, and which drawings show it
sprites      drawings as arrays, and how they vary
backgrounds  what lies behind
scenes       `World` puts them together and knows what is where
captions     the one right caption of a scene
words        the tokens that all texts are made of
"""

from training.world.artwork import HELD_OUT, STYLES, TRAINED
from training.world.names import KEYWORDS, NAMES, NAMES_ZH
from training.world.scenes import Placed, Scene, World
from training.world.words import VOCABULARY_SIZE, vocabulary

WORDS = vocabulary()

__all__ = [
    "HELD_OUT",
    "KEYWORDS",
    "NAMES",
    "NAMES_ZH",
    "STYLES",
    "TRAINED",
    "VOCABULARY_SIZE",
    "WORDS",
    "Placed",
    "Scene",
    "World",
    "vocabulary",
]
