"""How many calls are made, and whose is next: limits, pauses, places."""
