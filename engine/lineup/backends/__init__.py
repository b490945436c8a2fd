"""What runs a graph: one class with a tiny contract per runtime."""
