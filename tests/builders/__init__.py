"""Builders of small models, made in memory: what the tests feed to converters and to peers."""
