"""What changes the values of weights: masks, grids, shared values, and the statistics they are chosen by."""
