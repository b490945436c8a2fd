"""Words of the pocket world: what there is, how it looks, where it is and how it is seen."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """What a thing is; the value is its singular."""

    BALL = "ball"
    CUBE = "cube"
    CONE = "cone"
    CYLINDER = "cylinder"
    RING = "ring"
    HOUSE = "house"
    TREE = "tree"
    CAR = "car"
    BOAT = "boat"
    MUSHROOM = "mushroom"
    STAR = "star"
    FISH = "fish"
    CUP = "cup"
    LAMP = "lamp"
    FLOWER = "flower"
    KITE = "kite"
    MOON = "moon"
    CLOUD = "cloud"
    HEART = "heart"
    BOTTLE = "bottle"

    @property
    def plural(self) -> str:
        """The word for two and more."""
        return self.value if self is Kind.FISH else f"{self.value}s"

    @property
    def floats(self) -> bool:
        """Whether it hangs in the air when nothing says otherwise."""
        return self in FLOATING


FLOATING = frozenset({Kind.STAR, Kind.KITE, Kind.MOON, Kind.CLOUD, Kind.HEART})


class Colour(str, Enum):
    """Colour of a thing's body."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    TURQUOISE = "turquoise"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    WHITE = "white"
    BLACK = "black"


class Size(str, Enum):
    """Height of a thing, compared with the others of its picture."""

    SMALL = "small"
    LARGE = "large"


class Material(str, Enum):
    """Surface of a thing's body."""

    MATTE = "matte"
    SHINY = "shiny"
    STRIPED = "striped"
    DOTTED = "dotted"
    CHECKERED = "checkered"


class Relation(str, Enum):
    """Where the subject is, seen from the other group."""

    LEFT = "left of"
    RIGHT = "right of"
    ABOVE = "above"
    BELOW = "below"
    BEHIND = "behind"
    FRONT = "in front of"

    @property
    def inverse(self) -> Relation:
        """The same fact, told from the other group."""
        return INVERSES[self]


INVERSES = {
    Relation.LEFT: Relation.RIGHT,
    Relation.RIGHT: Relation.LEFT,
    Relation.ABOVE: Relation.BELOW,
    Relation.BELOW: Relation.ABOVE,
    Relation.BEHIND: Relation.FRONT,
    Relation.FRONT: Relation.BEHIND,
}


class Background(str, Enum):
    """Where the scene takes place; the value is the noun with its article."""

    MEADOW = "a meadow"
    DESERT = "a desert"
    SEA = "the sea"
    SNOW = "the snow"
    FOREST = "a forest"
    CITY = "a city"
    MOUNTAINS = "the mountains"
    NIGHT_SKY = "a night sky"
    TABLE = "a wooden table"
    WALL = "a brick wall"
    STUDIO = "a studio"

    @property
    def phrase(self) -> str:
        """The place with its preposition."""
        return f"{PREPOSITIONS[self]} {self.value}"

    @property
    def indoors(self) -> bool:
        """Whether lamps light it; outdoors the time of day does."""
        return self in (Background.TABLE, Background.WALL, Background.STUDIO)


PREPOSITIONS = {
    Background.MEADOW: "on",
    Background.DESERT: "in",
    Background.SEA: "on",
    Background.SNOW: "in",
    Background.FOREST: "in",
    Background.CITY: "in",
    Background.MOUNTAINS: "in",
    Background.NIGHT_SKY: "under",
    Background.TABLE: "on",
    Background.WALL: "against",
    Background.STUDIO: "in",
}


class Light(str, Enum):
    """Time of day outdoors, side of the lamp indoors; the value is the phrase."""

    MORNING = "in the morning"
    NOON = "at noon"
    EVENING = "in the evening"
    NIGHT = "at night"
    FROM_LEFT = "lit from the left"
    FROM_RIGHT = "lit from the right"


LAMPS = (Light.FROM_LEFT, Light.FROM_RIGHT)
HOURS = (Light.MORNING, Light.NOON, Light.EVENING, Light.NIGHT)


class Camera(str, Enum):
    """How the picture was taken; the value is the phrase, empty for an ordinary view."""

    ORDINARY = ""
    CLOSE_UP = "close up"
    WIDE_SHOT = "wide shot"
    SOFT_FOCUS = "soft focus"
    TILTED = "tilted view"


COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
"""Number words; one thing is told by its article."""
