"""What `bff demo` runs beside the service: a dev provider, a demo API, a demo SPA.

For development and tests, on loopback only. Nothing but the command line imports it.
"""
