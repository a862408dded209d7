"""SciPy's interface to convolutions, with convmat's products behind it.

    from convmat.scipy import ndimage, signal

`ndimage` has the linear filters and the maxima and minima of scipy.ndimage, `signal` the convolutions of scipy.signal:
the same names, arguments, results and errors. Nothing is computed here that can be a product: arguments are read,
borders are laid around strips of the image, and the plans of `convmat.plan` do the rest. SciPy itself is not needed.
"""
