"""Side by side with other libraries: the same layers, on the same machine, in the same minute."""
