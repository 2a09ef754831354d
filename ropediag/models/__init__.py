"""Models: loading, the attention tap, the measured rotation, the loss by position."""
