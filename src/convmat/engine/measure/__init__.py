"""What this machine reaches, measured once and remembered."""
