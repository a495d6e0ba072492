"""Removes what must go: what has grown old, and everything about a person who asks for it."""
