"""Arrays in files: opened without being read, written block by block, picked up again."""
