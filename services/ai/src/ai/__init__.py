"""Decides what to answer a customer: rules first, then a language model, stored before it is published."""
