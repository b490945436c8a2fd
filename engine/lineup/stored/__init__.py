"""Resyntheses made elsewhere: what to ask for, what came back, and commands that ask."""
