"""Losses become rows: r_m = ∇_θ L(B_m; θ), a mean over the group, flattened."""
