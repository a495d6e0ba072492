"""`jawab`, the operator's command: one module per group of commands, each thin over what the services already know."""
