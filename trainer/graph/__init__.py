"""The one graph: raw camera frame in, image score and score map out.

Everything between the camera and the score is in here, and only here: resizing, colour order, normalisation, encoders,
projection, Gaussian heads, smoothing, upsampling and fusion.  Training, calibration and evaluation in torch call the
same modules that are exported, so there is no second place in which geometry or normalisation could differ.
"""
