"""What launch/bench measures, and how: `cases` says what trains, `plan` in which order, `floors` what is compared."""
