"""What a plan has taken when, so that faults overlap within bounds. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Board:
    """What is taken when, so that faults overlap within bounds."""

    heal_at: float
    taken: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self, resource: str, begin: float, end: float) -> bool:
        """Take a resource for a while if it is free then and ends before all is healed."""
        if end > self.heal_at or not self.free(resource, begin, end):
            return False
        self.taken.setdefault(resource, []).append((begin, end))
        return True

    def free(self, resource: str, begin: float, end: float) -> bool:
        """Tell whether nobody has it then."""
        return all(end <= other or begin >= until for other, until in self.taken.get(resource, ()))

    def take_one_of(self, resources: Sequence[str], begin: float, end: float) -> bool:
        """Take the first that is free."""
        return any(self.take(resource, begin, end) for resource in resources)
