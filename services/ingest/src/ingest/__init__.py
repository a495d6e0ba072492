"""Ingest: the only door from outside. It authenticates, turns what came into events, and answers when Kafka has them.

It depends on Kafka alone and knows no accounts: whose event it is, the consumers decide.
"""
