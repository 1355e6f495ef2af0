"""The loops over epochs, and what they need: layout, data, threads, schedules."""
