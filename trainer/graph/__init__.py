"""The graph from the raw camera frame to image score and score map.

Everything between the camera and the score is in it, and nowhere else: resizing, colour order, normalisation, encoders,
projection, Gaussian heads, smoothing, upsampling and fusion.  Training, calibration and evaluation in torch call the
same modules that are exported, so there is no second place in which geometry or normalisation could differ.
"""
