"""Pages: one a file, found by scanning this folder. They wire; they compute and draw nothing themselves.

What a page alone uses, and would make its file too long, lies beside it under a name with an underscore.
"""
