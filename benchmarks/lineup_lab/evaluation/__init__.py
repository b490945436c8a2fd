"""Published protocols and tie-correct metrics."""
