"""The gradients of the pool: the sweep that reads and attacks it, and the rows r_m = ∇_θ L(B_m; θ) of its groups."""
