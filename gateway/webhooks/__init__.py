"""What the gateway tells an application by HTTP: the event, its signature, where it may go."""
