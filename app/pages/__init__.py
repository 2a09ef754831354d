"""Pages: one a file, found by scanning this folder. They wire; they compute and draw nothing themselves."""
