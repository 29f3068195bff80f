"""Small helpers that every room uses: seeding, clocks, type checks, settings and factories."""
