"""Captions of a scene, in one canonical wording, so that one answer is right."""

from __future__ import annotations

from training.world.scenes import Placed, Scene

__all__ = ["caption", "phrase"]

_PLURAL = {"grapes", "cherries", "french fries", "scissors", "glasses"}


def phrase(thing: Placed) -> str:
    """Return "an apple", "french fries" or, where there are several colours, "a red book"."""
    words = f"{thing.colour} {thing.name}".strip()
    if thing.name in _PLURAL:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene) -> str:
    """Return the caption of a scene.

    One object: "an apple". Two: "an apple left of a cat" or "an apple above a cat", by the
    direction in which their centres lie farther apart; the left or upper one comes first. More:
    "an apple, a cat and a car", from left to right. None: "nothing".
    """
    things = sorted(scene.objects, key=lambda thing: float(thing.xyxy[0] + thing.xyxy[2]))
    if not things:
        return "nothing"
    if len(things) == 2:
        first, second = things
        across = (second.xyxy[[0, 2]].sum() - first.xyxy[[0, 2]].sum()) / 2
        down = (second.xyxy[[1, 3]].sum() - first.xyxy[[1, 3]].sum()) / 2
        if across >= abs(down):
            return f"{phrase(first)} left of {phrase(second)}"
        upper, lower = (first, second) if down > 0 else (second, first)
        return f"{phrase(upper)} above {phrase(lower)}"
    *others, last = [phrase(thing) for thing in things]
    return f"{', '.join(others)} and {last}" if others else last
