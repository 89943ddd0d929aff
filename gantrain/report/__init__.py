"""From runs on disk to an answer: what varied, what came out over seeds, and the page that shows it."""
