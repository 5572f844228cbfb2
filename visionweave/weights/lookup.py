"""Finding a checkpoint by its name, or by a profile's."""

from __future__ import annotations

from visionweave.errors import WeightsError, did_you_mean
from visionweave.weights.lock import Checkpoint, Lock, read_lock

__all__ = ["ABOUT_MINI", "PROFILES", "checkpoint", "is_profile", "listed", "profiles_of"]

PROFILES = ("mini", "base", "large")
"""The profiles that visionweave speaks of, the default first; a user's list may name more."""

ABOUT_MINI = "small models that come with visionweave: they know stickers, not photographs"
"""What must be said wherever the profile mini is used."""


def checkpoint(name: str, family: str) -> Checkpoint:
    """Return the checkpoint of a family.

    Args:
        name: the checkpoint's name, or a profile's ("mini", "base", "large"), which names one for
            each family.
        family: such as "clip". A family whose tasks have checkpoints of their own puts the task
            after a dot, "blip.answer": a profile may name one for it, else it names the family's.

    Raises:
        WeightsError: there is none of this name, it is of another family, or the profile has none
            for this family.
    """
    lock, stem = read_lock(), family.partition(".")[0]
    if name in lock.checkpoints:
        found = lock.checkpoints[name]
    elif name in PROFILES or name in lock.profiles:
        target = _member(name, family, lock)
        if target is None:
            raise WeightsError(
                f"profile {name} has no checkpoint for {family}; {_way_out(family, lock)}"
            )
        found = listed(target, lock)
    else:
        raise _unknown(name, lock, family)
    if found.family != stem:
        raise WeightsError(
            f"{found.name} is a checkpoint for {found.family}, not for {stem}; "
            f"{_choices(lock, family)}"
        )
    return found


def listed(name: str, lock: Lock | None = None) -> Checkpoint:
    """Return the checkpoint called `name`, of whatever family.

    Raises:
        WeightsError: there is none of this name.
    """
    lock = lock or read_lock()
    if name in lock.profiles:
        chosen = ", ".join(dict.fromkeys(lock.profiles[name].values()))
        raise WeightsError(f"{name!r} is a profile, not a checkpoint; it stands for {chosen}")
    if name not in lock.checkpoints:
        raise _unknown(name, lock)
    return lock.checkpoints[name]


def is_profile(name: str) -> bool:
    """Whether a model setting names a profile, not a checkpoint."""
    lock = read_lock()
    return name not in lock.checkpoints and (name in PROFILES or name in lock.profiles)


def profiles_of(name: str, lock: Lock) -> list[str]:
    """Return the names of the profiles that a checkpoint belongs to."""
    return [profile for profile, chosen in lock.profiles.items() if name in chosen.values()]


def _member(profile: str, family: str, lock: Lock) -> str | None:
    """The checkpoint that a profile names for a family, or for a task of it."""
    chosen = lock.profiles.get(profile, {})
    return chosen.get(family, chosen.get(family.partition(".")[0]))


def _way_out(family: str, lock: Lock) -> str:
    """How else to come by a checkpoint of a family: the first profile that has one, else a name."""
    for profile in lock.profiles:
        target = _member(profile, family, lock)
        if target is not None:
            return (
                f"profile {profile} has {target}: choose it with --profile {profile}, or with the "
                f"setting 'model: {profile}', once it is fetched: visionweave weights pull {target}"
            )
    return _choices(lock, family)


def _unknown(name: str, lock: Lock, family: str = "") -> WeightsError:
    stem = family.partition(".")[0]
    known = [n for n, each in lock.checkpoints.items() if stem in ("", each.family)]
    hint = did_you_mean(name, [*known, *PROFILES])
    hint = f"{hint} " if hint else ""
    where = _choices(lock, family) if family else "see all with: visionweave weights list"
    kind = f" for {stem}" if stem else ""
    return WeightsError(f"there is no checkpoint {name!r}{kind}; {hint}{where}")


def _choices(lock: Lock, family: str) -> str:
    stem = family.partition(".")[0]
    names = [name for name, each in lock.checkpoints.items() if each.family == stem]
    profiles = [name for name in lock.profiles if _member(name, family, lock)]
    if not names:
        return f"none is listed for {stem}"
    also = f"; or a profile: {', '.join(profiles)}" if profiles else ""
    return f"those for {stem}: {', '.join(names)}{also}"
