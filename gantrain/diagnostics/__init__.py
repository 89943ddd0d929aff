"""What is measured while a run trains, and what the doctor concludes from it."""
