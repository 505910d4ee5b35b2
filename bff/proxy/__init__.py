"""The proxy: routes and header rules decide, `http` and `websocket` carry requests upstream."""
