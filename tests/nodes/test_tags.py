"""From what a tagger says to what a detector can be asked for."""

from __future__ import annotations

import pytest

from visionweave.errors import PipelineError
from visionweave.nodes.tags import Clean
from visionweave.values import Origin, Tags


def cleaned(*phrases: str, **settings: object) -> tuple[str, ...]:
    return Clean(**settings).run(Tags(phrases)).phrases


PLURALS = """
    apples:apple eyes:eye t-shirts:t-shirt cups:cup
    buses:bus boxes:box brushes:brush benches:bench dresses:dress dishes:dish foxes:fox
    minibuses:minibus cactuses:cactus lenses:lens gases:gas irises:iris canvases:canvas
    houses:house blouses:blouse vases:vase roses:rose horses:horse prizes:prize waltzes:waltz
    cherries:cherry berries:berry skies:sky flies:fly puppies:puppy lilies:lily
    cookies:cookie movies:movie ties:tie pies:pie zombies:zombie hoodies:hoodie
    keys:key toys:toy
    knives:knife wives:wife leaves:leaf shelves:shelf bookshelves:bookshelf wolves:wolf
    loaves:loaf scarves:scarf calves:calf halves:half penknives:penknife
    gloves:glove olives:olive stoves:stove sleeves:sleeve hives:hive
    tomatoes:tomato potatoes:potato heroes:hero volcanoes:volcano tacos:taco pianos:piano
    shoes:shoe horseshoes:horseshoe toes:toe canoes:canoe
    mice:mouse children:child grandchildren:grandchild people:person salespeople:salesperson
    men:man women:woman policemen:policeman feet:foot teeth:tooth geese:goose oxen:ox
    cacti:cactus fungi:fungus menus:menu taxis:taxi skis:ski kiwis:kiwi bikinis:bikini
    zebras:zebra sofas:couch pandas:panda cameras:camera stairs:stair autos:car tvs:television
    axes:axe moustaches:moustache quizzes:quiz
"""
SINGULARS = """
    glasses sunglasses scissors pants jeans shorts trousers pliers binoculars clothes fries tongs
    goggles series species news headquarters crossroads aerobics
    bus glass dress compass grass bass chess mattress actress cactus octopus walrus abacus lotus
    tennis iris oasis chassis gas lens canvas atlas christmas rhinoceros thermos mars biceps
    sheep fish deer moose dice police rice eye-glasses specimen ramen pumice steeple men's rubik's
"""


@pytest.mark.parametrize(
    ("plural", "singular"),
    [pair.split(":") for pair in PLURALS.split()],
)
def test_a_plural_becomes_singular(plural: str, singular: str) -> None:
    assert cleaned(plural) == (singular,)


@pytest.mark.parametrize(
    "word",
    SINGULARS.split(),
)
def test_what_is_singular_or_has_no_singular_stays(word: str) -> None:
    assert cleaned(word) == (word,)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        pytest.param("slices of bread", "slice of bread", id="the head is before the preposition"),
        pytest.param("glass of wine", "glass of wine", id="a head that is singular"),
        pytest.param("bag of potatoes", "bag of potatoes", id="behind the preposition nothing"),
        pytest.param("women in red dresses", "woman in red dresses", id="another preposition"),
        pytest.param(
            "pairs of boots on shelves", "pair of boots on shelves", id="the first of two"
        ),
        pytest.param("wine glasses", "wine glasses", id="the last word decides: glasses"),
        pytest.param("tennis shoes", "tennis shoe", id="only the last word changes"),
        pytest.param("butchers shops", "butchers shop", id="the word before it does not"),
        pytest.param("maple leaves", "maple leaf", id="an irregular last word"),
        pytest.param("salt and pepper shakers", "salt and pepper shakers", id="with 'and'"),
        pytest.param("childs room", "childs room", id="what is no English stays"),
        pytest.param("  Red   Apples. ", "red apple", id="case, spaces and full stop"),
        pytest.param("(apples)", "apple", id="brackets"),
        pytest.param("“apples”", "apple", id="curved quotation marks"),
        pytest.param("apples…", "apple", id="an ellipsis in one character"),
        pytest.param("- *apples* -", "apple", id="dashes and stars"),
        pytest.param("苹果。", "苹果", id="a Chinese full stop"),
        pytest.param("（苹果）、", "苹果", id="Chinese brackets"),
        pytest.param("cranes (bird).", "cranes (bird)", id="brackets of what is within"),
        pytest.param("(red) apples,", "(red) apple", id="brackets of what is in front"),
        pytest.param("(red) apples (fruit)", "(red) apples (fruit)", id="both"),
        pytest.param("c++", "c++", id="signs that are no punctuation"),
        pytest.param("C#", "c#", id="a sharp"),
        pytest.param("100%.", "100%", id="per cent"),
        pytest.param("rubik's cubes", "rubik's cube", id="an apostrophe within"),
        pytest.param("人们", "人们", id="Chinese"),
        pytest.param("红色 的 buses", "红色 的 buses", id="Chinese with English"),
        pytest.param("crêpes", "crêpes", id="accents"),
        pytest.param("ÄPFEL", "äpfel", id="lower case in any alphabet"),
    ],
)
def test_phrases(phrase: str, expected: str) -> None:
    assert cleaned(phrase) == (expected,)


def test_singulars_can_be_left_out() -> None:
    assert cleaned("Cups", "sofas", "tv", singular=False) == ("cups", "sofas", "television")


def test_what_no_detector_can_box_goes() -> None:
    said = ("indoor", "Sit", "cat", "white", "close-up", "couch", "orange", "design", "photos")
    assert cleaned(*said) == ("cat", "couch", "orange")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"stop_more": ["Cats"]}, ("dog",), id="more, in any case, as it was said"),
        pytest.param({"stop_more": ["cat"]}, ("dog",), id="more, as it becomes"),
        pytest.param({"stop": []}, ("white", "cat", "dog"), id="none"),
        pytest.param({"stop": ["dog"]}, ("white", "cat"), id="others"),
        pytest.param({"stop": [], "stop_more": ["dog"]}, ("white", "cat"), id="both"),
    ],
)
def test_the_stop_list_is_the_users(settings: dict[str, object], expected: tuple[str]) -> None:
    assert cleaned("white", "cats", "dog", **settings) == expected


@pytest.mark.parametrize(
    ("synonyms", "expected"),
    [
        pytest.param(None, ("television", "puppy", "car"), id="those built in"),
        pytest.param({"Puppy": "Dog"}, ("television", "dog", "car"), id="beside those built in"),
        pytest.param({"puppies": "dog"}, ("television", "dog", "car"), id="of the plural"),
        pytest.param({"tv": "tv"}, ("tv", "puppy", "car"), id="overruling one"),
        pytest.param({"puppy": "auto"}, ("television", "auto", "car"), id="not followed further"),
        pytest.param({"puppy": "car"}, ("television", "car"), id="merged with another tag"),
        pytest.param({"puppy": "thing"}, ("television", "car"), id="to a word that goes"),
        pytest.param({"puppy": ""}, ("television", "car"), id="to nothing"),
    ],
)
def test_synonyms(synonyms: dict[str, str] | None, expected: tuple[str]) -> None:
    assert cleaned("TV", "puppies", "autos", synonyms=synonyms) == expected


def test_equal_tags_are_one_with_the_highest_score_at_the_first_place() -> None:
    origin = Origin(photo="street/004.jpg")
    tags = Tags(("cups", "dog", "Cup", "cup"), [0.25, 0.5, 0.75, 0.5], origin)
    assert Clean().run(tags) == Tags(("cup", "dog"), [0.75, 0.5], origin)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"most": 2}, ("cup", "hat"), id="the best two, in their order"),
        pytest.param({"most": 3}, ("cup", "dog", "hat"), id="of equal scores the first"),
        pytest.param({"most": 9}, ("cup", "dog", "cat", "hat"), id="fewer than could stay"),
        pytest.param({"min_score": 0.3}, ("cup", "hat"), id="the lowest score stays"),
    ],
)
def test_scores_decide_what_stays(settings: dict[str, object], expected: tuple[str]) -> None:
    tags = Tags(("cup", "dog", "cat", "hat", "indoor"), [0.3, 0.2, 0.2, 0.9, 1.0])
    assert Clean(**settings).run(tags).phrases == expected


@pytest.mark.parametrize("phrases", [(), ("indoor", "...")], ids=["none given", "none left"])
def test_no_tags_are_an_answer(phrases: tuple[str, ...]) -> None:
    origin = Origin(photo="a.jpg")
    assert Clean(most=1).run(Tags(phrases, origin=origin)) == Tags((), origin=origin)


def test_cleaning_twice_is_cleaning_once() -> None:
    once = Clean().run(Tags(("Buses", "slices of Bread", "people", "TVs", "glasses", "leaves")))
    assert Clean().run(once) == once


def test_synonyms_are_a_table() -> None:
    with pytest.raises(PipelineError, match=r"(?s)setting 'synonyms'.*table"):
        Clean(synonyms=["tv"])  # type: ignore[arg-type]
