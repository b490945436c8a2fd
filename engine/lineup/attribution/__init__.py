"""Attribution by all evidence of a lineup: fingerprints, resyntheses, calibrated fusion."""
