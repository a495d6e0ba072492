"""The outside APIs: what each action is as a request to them, what they take, and what their errors mean."""
