"""The HTTP API for the merchant's programs and people."""
