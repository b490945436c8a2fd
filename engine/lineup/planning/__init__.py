"""Which models are in memory when: from a budget to an order of work."""
