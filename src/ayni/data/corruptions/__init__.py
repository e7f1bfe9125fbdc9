"""The 15 corruptions of ImageNet-C at 5 severities, and how much a classifier suffers from them.

    kinds.py        names and families; one function: corrupt a batch
    noise.py, blur.py, weather.py, digital.py      what the kinds do, on batches of torch
    filtering.py, textures.py                      blurs of any width; plasma, frost and snow that are drawn
    errors.py       errors of one model at the 75 settings, clean ones beside them
    comparison.py   mean corruption error against a named reference, absolute and relative error with it
    robustness.py   several models side by side, as it is kept and told
    sheet.py        the 75 settings of one image as a picture
    made.py         a data set's images, corrupted, as files

Not covered: the four extra kinds (speckle, Gaussian blur, spatter, saturate), video, detection.
"""
