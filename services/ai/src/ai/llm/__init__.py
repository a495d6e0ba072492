"""Speaking to any server of the chat completions API: what it takes, what it refuses, and what it may answer."""
