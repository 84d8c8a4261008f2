"""Names of classes in other people's labels, and which of our classes each stands for."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap


@dataclass(frozen=True)
class ClassMapping:
    """What becomes of each name.

    Attributes:
        label_map: Our classes; a name that is one of them stays unless `targets` says otherwise.
        targets: Our class for each other name; empty where its boxes are dropped.

    Example:
        >>> mapping = parse_class_mapping("mask:with_mask,face:", "", LabelMap(("with_mask",)))
        >>> mapping.target("mask"), mapping.target("face"), mapping.target("hat")
        ('with_mask', '', None)
    """

    label_map: LabelMap
    targets: Mapping[str, str]

    def target(self, name: str) -> str | None:
        """Our class; "" where the boxes are dropped; None where the name maps to nothing."""
        return self.targets.get(name, name if name in self.label_map else None)

    def check(self, counts: Mapping[str, int], source: str) -> None:
        """See that every name of the labels maps to something, and that everything that is mapped is there.

        Args:
            counts: Boxes of each name in the labels.
            source: Where they are, for the message.

        Raises:
            UserError: The names that map to nothing, with their boxes and a guess for each.
        """
        for name in self.targets:
            if name not in counts:
                near = nearest_name(name, list(counts))
                meant = f" Did you mean {near}?" if near else f" Its names are {', '.join(sorted(counts))[:500]}."
                raise UserError(f"{source}: MAP or DROP has {name!r}, and no box has that name.{meant}")
        unknown = {name: count for name, count in counts.items() if self.target(name) is None}
        if not unknown:
            return
        lines, guessed = [], []
        for name, count in sorted(unknown.items(), key=lambda item: (-item[1], item[0])):
            near = nearest_name(name, self.label_map.names)
            guessed.append(f"{name}:{near or self.label_map.names[0]}")
            lines.append(f"  {name[:200]}  {count:,} boxes" + (f"  (did you mean {near}?)" if near else ""))
        shown = lines[:20] + ([f"  ... and {len(lines) - 20} more"] if len(lines) > 20 else [])
        raise UserError(
            "\n".join(
                [
                    f"{source}: {len(unknown)} of its names are none of the classes {', '.join(self.label_map.names)}:",
                    *shown,
                    f"Map each, for example MAP={','.join(guessed[:5])[:300]} (a name without a class, as in "
                    f"MAP={guessed[0].rpartition(':')[0][:100]}:, drops its boxes).",
                ]
            )
        )


def parse_class_mapping(mapped: str, dropped: str, label_map: LabelMap) -> ClassMapping:
    """Read `mask:with_mask,face:` and a list of names to drop.

    Raises:
        UserError: An entry has no colon, maps to what is no class, or a name stands there twice.
    """
    entries = [part.strip() for part in mapped.split(",") if part.strip()]
    pairs = [(name.strip(), colon, target.strip()) for name, colon, target in (e.rpartition(":") for e in entries)]
    pairs += [(name.strip(), ":", "") for name in dropped.split(",") if name.strip()]
    targets: dict[str, str] = {}
    for name, colon, target in pairs:
        if not colon or not name:
            raise UserError(f"MAP: {name or target!r} has no colon. Write NAME:CLASS,NAME:CLASS.")
        if target and target not in label_map:
            near = nearest_name(target, label_map.names)
            meant = f" Did you mean {near}?" if near else ""
            raise UserError(f"MAP: {target!r} is none of the classes {', '.join(label_map.names)}.{meant}")
        if targets.setdefault(name, target) != target:
            raise UserError(f"MAP: {name!r} stands there twice.")
    return ClassMapping(label_map, targets)


def nearest_name(name: str, names: list[str] | tuple[str, ...]) -> str | None:
    """The name most like another, whatever the case, spaces and hyphens; None where none is like it.

    Example:
        >>> nearest_name("With-Mask", ("with_mask", "without_mask"))
        'with_mask'
    """
    plain = {_plain(known): known for known in names}
    near = difflib.get_close_matches(_plain(name[:200]), plain, n=1)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
