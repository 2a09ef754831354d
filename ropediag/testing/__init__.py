"""Planted truth: captures and tiny models in which it is known what breaks, for tests of any detector.

``planted`` resamples a real capture and makes chosen pairs drift; ``broken`` edits the weights of a model so
that one known head breaks.
"""
