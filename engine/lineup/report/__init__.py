"""Answers to look at: the report of a scan, the page of the server, the exhibit of one image."""
