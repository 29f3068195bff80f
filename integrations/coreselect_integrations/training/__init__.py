"""What training loops share: epochs, schedules, optimisers, and runs that live in a folder."""
