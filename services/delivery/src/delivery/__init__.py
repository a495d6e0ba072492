"""Sends replies through ManyChat or the Instagram Graph API, at most once and inside the platform's rules."""
