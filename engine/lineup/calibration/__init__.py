"""From raw scores to log likelihood ratios, and how far they can be trusted."""
