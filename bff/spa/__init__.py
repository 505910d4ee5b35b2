"""The built single-page application: which file answers a request, and how it is described."""
