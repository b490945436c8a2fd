"""Signals about where a query comes from, one module each."""
