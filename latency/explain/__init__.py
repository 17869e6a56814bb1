"""Where the milliseconds of a network go, and what published claims are worth on this device."""
