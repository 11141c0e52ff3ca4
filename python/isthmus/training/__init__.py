"""The loop around epochs, and optimizers that run it themselves."""
