"""Fitted models: kept, described, looked after, replaced."""
