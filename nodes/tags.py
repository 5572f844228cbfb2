"""Tags without a model: phrases that a detector can be asked for."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

import numpy as np
from pydantic import Field

from visionweave import Node, Tags, node

STOP = frozenset(
    phrase.strip()
    for phrase in """
    indoor, indoors, outdoor, outdoors, inside, outside, scene, scenery, view, landscape, nature
    background, environment, interior, exterior, day, daytime, daylight, night, evening, morning
    dawn, dusk, twilight, spring, summer, autumn, winter, season, weather, atmosphere
    sunny, cloudy, rainy, snowy, windy, foggy, stormy, dark, darkness, sunshine
    photo, photograph, photography, image, snapshot, portrait, selfie, close-up, close up, closeup
    still life, studio shot, black and white, 3d cg rendering, illustration, cartoon style
    white, black, red, green, blue, yellow, brown, gray, grey, purple, pink, beige, teal
    colorful, colourful, color, colour, bright, beautiful, cute, pretty, lovely, big, large, huge
    small, little, tiny, tall, short, long, wide, old, new, young, ancient, modern, classic, retro
    clean, dirty, wet, dry, full, empty, open, closed, broken, fresh, ripe, wooden, metallic
    many, several, few, various, different, other, one, two, three, crowded, single, double
    sit, sitting, stand, standing, lay, lie, lean, hang, hang on, pose, walk, run, jump, climb
    lay on, sit on, sit in, stand on, walk on, hold, carry, wear, catch, throw, pull, push, reach
    look, look at, see, read, write, talk, smile, laugh, eat, cook, sleep, relax, rest, play
    ride, drive, swim, perform, enjoy, celebrate, attach, connect, contain, fill, place
    prepare, serve, make, take, use, work, travel
    design, style, pattern, texture, shape, variety, collection, object, thing, item, stuff
    idea, beauty, love, fun, comfort, emotion, symmetry, silhouette, decor, decorate
    """.replace("\n", ",").split(",")
)
"""What RAM and Tag2Text say of a photo and no detector can box: surroundings, seasons, kinds of
picture, colours, properties, actions, abstractions. Words that are things as well stay out of it:
"orange", "light", "drink", "display", "picture"."""

SYNONYMS = {
    "aeroplane": "airplane",
    "auto": "car",
    "fridge": "refrigerator",
    "human": "person",
    "plane": "airplane",
    "sofa": "couch",
    "tv": "television",
    "tv set": "television",
}
"""Two names of one thing, so that it is not found twice. Phrases as a whole, singular."""


@node("tags.clean", version=2)
class Clean(Node):
    """Turn tags into phrases for a detector: plain, singular, and each thing once.

    Every phrase is put in lower case, single-spaced and without punctuation around it; then into
    the singular; then its synonym takes its place. Phrases on the stop list go, and of equal ones
    the first stays, with the highest score among them. The order is that of first appearance.

    Singulars are English, made by rules and a table of exceptions: "glasses", "jeans", "bus" and
    "series" stay. In a phrase it is the word before the first preposition that changes ("slices of
    bread": "slice of bread"), without one the last. Phrases with "and", in other alphabets or with
    accents are left as they are. The rules are written here and not a library's because taggers
    mostly say singulars, and what counts is to leave those alone: of RAM's 4,584 tags these rules
    change seven, all of them plurals.

    Settings:
        min_score: the lowest score that stays.
        most: at most this many, the best by score, of equal ones the first; null for all.
        singular: whether plurals become singular.
        synonyms: your own, each "other name: name"; they come before the few built in ("tv" is a
            "television", an "auto" a "car"), and may overrule one: {tv: tv}.
        stop: phrases that go; null for the built-in list (surroundings, colours, actions …).
        stop_more: phrases that go as well.
    """

    def __init__(
        self,
        min_score: Annotated[float, Field(ge=0, le=1)] = 0.0,
        most: Annotated[int, Field(ge=1)] | None = None,
        singular: bool = True,
        synonyms: dict[str, str] | None = None,
        stop: tuple[str, ...] | None = None,
        stop_more: tuple[str, ...] = (),
    ) -> None:
        self.min_score, self.most, self.singular = min_score, most, singular
        own = {} if synonyms is None else synonyms
        self.synonyms = SYNONYMS | {plain(name): plain(to) for name, to in own.items()}
        words = STOP if stop is None else map(plain, stop)
        self.stop = frozenset(words) | frozenset(map(plain, stop_more))

    def run(self, tags: Tags) -> Tags:
        """Return the clean tags."""
        best: dict[str, float] = {}
        for phrase, score in zip(tags.phrases, tags.scores.tolist(), strict=True):
            name = self._name(plain(phrase))
            if name is not None and score >= np.float32(self.min_score):
                best[name] = max(score, best.get(name, 0.0))
        scores = np.array(list(best.values()), np.float32)
        merged = Tags(tuple(best), scores, tags.origin)
        return merged[np.sort(np.argsort(-scores, kind="stable")[: self.most])]

    def _name(self, phrase: str) -> str | None:
        """What to ask a detector for, or None for nothing."""
        one = singular_phrase(phrase) if self.singular else phrase
        name = self.synonyms.get(phrase, self.synonyms.get(one, one))
        return None if name == "" or not self.stop.isdisjoint((phrase, one, name)) else name


def plain(phrase: str) -> str:
    """Lower case, single spaces, no punctuation around it; but "c#", "100%" and "crane (bird)"."""
    words = " ".join(phrase.lower().split())
    around = {char for char in words if unicodedata.category(char).startswith("P")}
    bare = words.strip(" " + "".join(around - MEANT))
    for opening, closing in BRACKETS:
        if opening in words and opening not in bare.partition(closing)[0] and closing in bare:
            bare = opening + bare
        if closing in words and closing not in bare.rpartition(opening)[2] and opening in bare:
            bare += closing
    return bare


MEANT = frozenset("#%&@")
"""Punctuation by Unicode, which is a part of the words that it stands at."""

BRACKETS = ("()", "[]", "{}", "\uff08\uff09")
"""One of a pair stays where the other is within the phrase."""


PREPOSITION = re.compile(
    r" (?:of|in|on|with|without|for|from|at|by|to|under|over|near|behind|between|inside) "
)


def singular_phrase(phrase: str) -> str:
    """Put the head of an English phrase in lower case into the singular."""
    if not phrase.isascii() or re.search(r" (?:and|or|&) ", phrase):
        return phrase
    found = PREPOSITION.search(phrase)
    head, rest = (phrase[: found.start()], phrase[found.start() :]) if found else (phrase, "")
    before, gap, noun = head.rpartition(" ")
    return before + gap + singular(noun) + rest


def singular(noun: str) -> str:
    """Put one English noun into the singular; one that is singular, or has none, stays."""
    stem, hyphen, word = noun.rpartition("-")
    if word in UNCHANGED:
        return noun
    if word in IRREGULAR:
        return stem + hyphen + IRREGULAR[word]
    for pattern, ending in RULES:
        if pattern.search(noun):
            return pattern.sub(ending, noun)
    return noun


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


UNCHANGED = _words(
    # Names of pairs and others without a singular …
    """
    glasses sunglasses eyeglasses goggles scissors shears pliers tongs tweezers binoculars
    pants underpants jeans shorts trousers leggings tights pajamas pyjamas overalls dungarees
    underdrawers suspenders clothes underclothes bangs fries oats grits goods
    series species means news headquarters crossroads barracks gallows bellows badlands
    aerobics athletics gymnastics acrobatics physics mathematics economics politics graphics
    electronics logistics
    """
    # … and singulars in -s that no rule below tells from a plural, in -men and in -mice.
    """
    gas bias canvas atlas christmas texas pampas alps chaos cosmos thermos rhinoceros asbestos
    lens mars angeles mercedes corps biceps triceps forceps molasses always perhaps
    omen ramen specimen stamen regimen abdomen cyclamen pumice
    """
)

IRREGULAR = _pairs(
    """
    feet:foot teeth:tooth geese:goose lice:louse oxen:ox cacti:cactus fungi:fungus
    octopi:octopus hippopotami:hippopotamus phenomena:phenomenon criteria:criterion oases:oasis
    tvs:tv cds:cd dvds:dvd pcs:pc menus:menu emus:emu gnus:gnu tutus:tutu gurus:guru skis:ski
    taxis:taxi bikinis:bikini kiwis:kiwi zucchinis:zucchini martinis:martini safaris:safari
    lenses:lens gases:gas canvases:canvas atlases:atlas irises:iris axes:axe quizzes:quiz
    fuses:fuse muses:muse waltzes:waltz oboes:oboe canoes:canoe toes:toe hoes:hoe aloes:aloe
    ties:tie pies:pie magpies:magpie neckties:necktie movies:movie cookies:cookie hoodies:hoodie
    brownies:brownie zombies:zombie selfies:selfie smoothies:smoothie beanies:beanie
    calories:calorie prairies:prairie veggies:veggie collies:collie rookies:rookie pixies:pixie
    genies:genie talkies:talkie birdies:birdie lives:life elves:elf calves:calf halves:half
    thieves:thief hooves:hoof leaves:leaf cloverleaves:cloverleaf quiches:quiche caches:cache
    avalanches:avalanche moustaches:moustache mustaches:mustache headaches:headache
    """
)

RULES = [
    (re.compile(pattern), ending)
    for pattern, ending in (
        (r"people$", "person"),  # people, salespeople
        (r"men$", "man"),  # women, firemen
        (r"children$", "child"),
        (r"mice$", "mouse"),
        (r"(kni|wi)ves$", r"\1fe"),
        (r"(wol|shel|loa|scar)ves$", r"\1f"),  # but gloves, stoves, olives
        (r"('s|ss|us|is)$", r"\g<0>"),  # men's, dress, bus, tennis: singular
        (r"shoes$", "shoe"),
        (r"(s[sh]|ch|x|zz|o)es$", r"\1"),  # dresses, brushes, benches, boxes, tomatoes
        (r"([^aoe]us)es$", r"\1"),  # buses, cactuses; but houses
        (r"(.[^aeiou])ies$", r"\1y"),  # cherries; but movies, in the table
        (r"(...)s$", r"\1"),
    )
]
