"""A lineup: the models, gallery and calibration that answer together."""
