"""What a caption can say: the words, and the captions of a scene."""

from __future__ import annotations

from dataclasses import dataclass
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
        return self in (Kind.STAR, Kind.KITE, Kind.MOON, Kind.CLOUD, Kind.HEART)


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
    """Where the subject is, seen from the other group; opposites follow each other."""

    LEFT = "left of"
    RIGHT = "right of"
    ABOVE = "above"
    BELOW = "below"
    BEHIND = "behind"
    FRONT = "in front of"

    @property
    def inverse(self) -> Relation:
        """The same fact, told from the other group."""
        order = list(Relation)
        return order[order.index(self) ^ 1]


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
        return f"{PREPOSITIONS.get(self, 'in')} {self.value}"

    @property
    def indoors(self) -> bool:
        """Whether lamps light it; outdoors the time of day does."""
        return self in (Background.TABLE, Background.WALL, Background.STUDIO)


PREPOSITIONS = {
    Background.MEADOW: "on",
    Background.SEA: "on",
    Background.NIGHT_SKY: "under",
    Background.TABLE: "on",
    Background.WALL: "against",
}
"""Of the places that one is not in."""


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


COUNTS = {2: "two", 3: "three", 4: "four"}
"""Number words; one thing is told by its article."""


@dataclass(frozen=True, slots=True)
class Group:
    """One to four equal things that stand together; the size is compared with the other group."""

    kind: Kind
    colour: Colour
    size: Size
    material: Material
    count: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene; pictures of it differ in everything that is not said here.

    Attributes:
        subject: What the picture shows first.
        relation: Where the subject is, seen from the other group; None without one.
        other: Second group, of another kind and colour; None without one.
    """

    subject: Group
    relation: Relation | None
    other: Group | None
    background: Background
    light: Light
    camera: Camera

    def captions(self) -> tuple[str, ...]:
        """Return true captions, none twice.

        The first tells everything and has at most 24 words; the others leave things out or tell
        the relation from the other side. Words are lower case, parted by single spaces; a comma
        may follow a word.
        """
        if self.other is None or self.relation is None:
            return tuple(dict.fromkeys(_single_captions(self)))
        pair = _pair_captions(self, self.subject, self.other, self.relation)
        return tuple(dict.fromkeys(pair))

    @property
    def groups(self) -> tuple[Group, ...]:
        """The subject, then the other group if there is one."""
        return (self.subject,) if self.other is None else (self.subject, self.other)


def _pair_captions(scene: Scene, first: Group, second: Group, relation: Relation) -> list[str]:
    place, setting, word = scene.background.phrase, _setting(scene), relation.value
    beside = "beside" if relation in (Relation.LEFT, Relation.RIGHT) else word
    return [
        _with_camera(f"{_full(first)} {word} {_full(second)} {setting}", scene.camera),
        f"{_full(second)} {relation.inverse.value} {_full(first)} {place}",
        _with_camera(f"{_coloured(first)} {word} {_coloured(second)} {setting}", scene.camera),
        f"{_coloured(first)} {word} {_coloured(second)} {place}",
        f"{_coloured(second)} {relation.inverse.value} {_coloured(first)}",
        f"{_kinds(first)} {beside} {_kinds(second)} {setting}",
        f"{_kinds(first)} and {_kinds(second)} {place}",
        f"{scene.background.value} with {_kinds(second)} and {_coloured(first)}",
    ]


def _single_captions(scene: Scene) -> list[str]:
    group, place, setting = scene.subject, scene.background.phrase, _setting(scene)
    return [
        _with_camera(f"{_full(group)} {setting}", scene.camera),
        f"{_full(group)} {place}",
        _with_camera(f"{_coloured(group)} {setting}", scene.camera),
        f"{_coloured(group)} {place}",
        f"{_kinds(group)} {setting}",
        f"{_kinds(group)} {place}",
        f"{scene.background.value} with {_coloured(group)}",
        _full(group),
    ]


def _setting(scene: Scene) -> str:
    """Return place and light; a night sky says by itself that it is night."""
    if scene.background is Background.NIGHT_SKY:
        return scene.background.phrase
    return f"{scene.background.phrase} {scene.light.value}"


def _with_camera(text: str, camera: Camera) -> str:
    return f"{text}, {camera.value}" if camera.value else text


def _full(group: Group) -> str:
    return _kinds(group, group.size, group.colour, group.material)


def _coloured(group: Group) -> str:
    return _kinds(group, group.colour)


def _kinds(group: Group, *adjectives: Enum) -> str:
    noun = group.kind.value if group.count == 1 else group.kind.plural
    words = " ".join([*(word.value for word in adjectives), noun])
    if group.count > 1:
        return f"{COUNTS[group.count]} {words}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


_PHRASES = [
    *("a", "an", "and", "beside", "with", *COUNTS.values()),
    *(kind.plural for kind in Kind),
    *(background.phrase for background in Background),
    *(
        word.value
        for words in (Kind, Colour, Size, Material, Relation, Light, Camera)
        for word in words
    ),
]

VOCABULARY = tuple(sorted({word for phrase in _PHRASES for word in phrase.split()}))
"""Every word that a caption can contain, sorted; commas are no words."""
