"""The platforms' rules and the precedence of people, as pure functions."""
