"""Static files of the pages that the gateway serves."""
