"""Theory: what training and the laws say of a model before it runs."""
